//! The engine against a model: sequences of operations on a few names in two pools, restarts among them.

use crate::house::{House, recorded};
use std::cell::RefCell;
use std::collections::BTreeMap;
use strongroom_engine::keys::{AttributeChange, CreateKey, ImportKey, KeyBundle, Tags, UpdateKey};
use strongroom_engine::{Page, PageRequest};
use strongroom_hsm::verbs::{Input, KeyMaterial, Output};
use strongroom_model::error::{Conflict, Error, Forbidden, NotFound, Result};
use strongroom_model::key::{KEY_OPS, KeySpec};
use strongroom_model::{
    Algorithm, DataAction, KeyName, KeyOp, KeyOps, KeyType, KeyVersion, Operation, RoleScope, SecretBytes,
};

/// Names that steps speak of; the second is the first in another spelling, which is the same key.
const NAMES: [&str; 3] = ["a", "A", "b"];
/// Steps of one input, at most.
const STEPS_MAX: usize = 24;
/// Inputs after which the house is made anew, so that it does not fill up.
const LIFE: usize = 50;

/// What the model knows of a version.
#[derive(Clone, Debug)]
struct Version {
    id: KeyVersion,
    spec: KeySpec,
    ops: KeyOps,
    enabled: bool,
}

/// What the model knows of a name.
#[derive(Clone, Debug, Default)]
struct Key {
    versions: Vec<Version>,
    deleted: bool,
}

type Model = BTreeMap<(usize, String), Key>;

thread_local! {
    static HOUSE: RefCell<Option<(House, usize)>> = const { RefCell::new(None) };
}

/// Three bytes for each step: what, on which name of which pool, and with what.
pub(crate) fn run(data: &[u8]) {
    let (mut house, number) = HOUSE.take().filter(|(_, number)| *number < LIFE).unwrap_or_else(|| (House::new(), 0));
    // Each input has names of its own.
    steps(&mut house, &format!("{number:02}"), data);
    HOUSE.set(Some((house, number + 1)));
}

fn steps(house: &mut House, mark: &str, data: &[u8]) {
    let mut model = Model::new();
    let parse = |name: &str| KeyName::parse(&format!("{name}{mark}")).unwrap();
    for step in data.chunks_exact(3).take(STEPS_MAX) {
        let [what, on, with] = [step[0], step[1], step[2]];
        let pool = usize::from(on & 1);
        let name = parse(NAMES[usize::from(on >> 1) % NAMES.len()]);
        let mut place = Place { house, pool, key: (pool, name.folded()), name, mark };
        match what % 16 {
            0 | 1 => place.create(&mut model, with),
            2 => place.import(&mut model, with),
            3 => place.update(&mut model, with),
            4 => place.rotate(&mut model),
            5 => place.delete(&mut model),
            6 => place.recover(&mut model),
            7 => place.purge(&mut model),
            8 | 9 => place.sign(&model, with),
            10 => place.encrypt(&model, with),
            11 => place.get(&model, with),
            12 => place.get_deleted(&model),
            13 => place.list(&model),
            14 => place.list_versions(&model),
            _ => house.restart(),
        }
    }
    for pool in [0, 1] {
        let name = parse("a");
        let place = Place { house, pool, key: (pool, name.folded()), name, mark };
        place.list(&model);
    }
}

struct Place<'h> {
    house: &'h House,
    pool: usize,
    key: (usize, String),
    name: KeyName,
    mark: &'h str,
}

fn spec(with: u8) -> KeySpec {
    [KeySpec::EcP256, KeySpec::Oct256, KeySpec::EcP256K, KeySpec::Oct128][usize::from(with & 3)]
}

/// Some of the operations that a type can have; never `import`.
fn ops(with: u8, kty: KeyType) -> KeyOps {
    let able = KEY_OPS.iter().filter(|(op, _, types)| types.contains(&kty) && *op != KeyOp::Import).map(|(op, ..)| *op);
    able.enumerate().filter(|(at, _)| with >> (at % 6) & 1 == 0).fold(KeyOps::NONE, |ops, (_, op)| ops.with(op))
}

fn not_found(name: &KeyName, result: Option<Error>) {
    let found = matches!(&result, Some(Error::NotFound(NotFound::Key(key))) if key.eq_ignore_ascii_case(name.as_str()));
    assert!(found, "{result:?}");
}

fn same(bundle: &KeyBundle, version: &Version) {
    assert_eq!((bundle.version, bundle.spec, bundle.ops), (version.id, version.spec, version.ops));
    assert_eq!(bundle.attributes.enabled, version.enabled);
    assert!(!bundle.attributes.exportable);
}

impl Place<'_> {
    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.house.runtime.block_on(work)
    }

    fn grant(&self, action: DataAction) -> strongroom_engine::Grant {
        self.house.grant(self.pool, action, RoleScope::Hsm)
    }

    fn live<'m>(&self, model: &'m Model) -> Option<&'m Key> {
        model.get(&self.key).filter(|key| !key.deleted)
    }

    fn created(&self, model: &mut Model, made: Result<KeyBundle>, spec: KeySpec, ops: KeyOps, enabled: bool) {
        let key = model.entry(self.key.clone()).or_default();
        if key.deleted {
            assert!(matches!(made.err(), Some(Error::Conflict(Conflict::KeyDeleted(_)))));
            return;
        }
        let made = made.unwrap();
        assert!(key.versions.iter().all(|v| v.id != made.version), "a version came twice");
        let version = Version { id: made.version, spec, ops, enabled };
        same(&made, &version);
        key.versions.push(version);
    }

    fn create(&mut self, model: &mut Model, with: u8) {
        let spec = spec(with);
        let (ops, enabled) = (ops(with >> 2, spec.kty()), with < 0xe0);
        let attributes = AttributeChange { enabled: Some(enabled), ..AttributeChange::default() };
        let asked = CreateKey { spec, ops, attributes, tags: Tags::new() };
        let grant = self.grant(DataAction::KeysCreate);
        let made = self.wait(self.house.engine.create_key(&grant, recorded(), self.name.clone(), asked));
        self.created(model, made, spec, ops, enabled);
    }

    fn import(&mut self, model: &mut Model, with: u8) {
        let ops = ops(with, KeyType::Oct);
        let asked = ImportKey { spec: KeySpec::Oct256, ops, attributes: AttributeChange::default(), tags: Tags::new() };
        let material = KeyMaterial::Oct { k: SecretBytes::new(vec![with; 32]) };
        let grant = self.grant(DataAction::KeysImport);
        let made = self.wait(self.house.engine.import_key(&grant, recorded(), self.name.clone(), asked, material));
        self.created(model, made, KeySpec::Oct256, ops, true);
    }

    fn update(&mut self, model: &mut Model, with: u8) {
        let versions = self.live(model).map_or(0, |key| key.versions.len());
        let at = usize::from(with >> 4) % versions.max(1);
        let known = self.live(model).and_then(|key| key.versions.get(at)).cloned();
        let kty = known.as_ref().map_or(KeyType::Ec, |v| v.spec.kty());
        let enabled = with & 1 == 0;
        let asked = UpdateKey {
            ops: (with & 2 == 0).then(|| ops(with >> 2, kty)),
            attributes: AttributeChange { enabled: Some(enabled), ..AttributeChange::default() },
            tags: None,
        };
        let (grant, ops) = (self.grant(DataAction::KeysWrite), asked.ops);
        let id = known.as_ref().map(|v| v.id);
        let made = self.wait(self.house.engine.update_key(&grant, recorded(), self.name.clone(), id, asked));
        let Some(key) = model.get_mut(&self.key).filter(|key| !key.deleted && !key.versions.is_empty()) else {
            return not_found(&self.name, made.err());
        };
        let version = &mut key.versions[at];
        version.ops = ops.unwrap_or(version.ops);
        version.enabled = enabled;
        same(&made.unwrap(), version);
    }

    fn rotate(&mut self, model: &mut Model) {
        let grant = self.grant(DataAction::KeysRotate);
        let made = self.wait(self.house.engine.rotate_key(&grant, recorded(), self.name.clone()));
        match self.live(model).and_then(|key| key.versions.last()).cloned() {
            None => not_found(&self.name, made.err()),
            Some(newest) if !newest.enabled => {
                assert_eq!(made.err(), Some(Error::Forbidden(Forbidden::RotateDisabled)))
            }
            Some(newest) => self.created(model, made, newest.spec, newest.ops, true),
        }
    }

    fn delete(&mut self, model: &mut Model) {
        let grant = self.grant(DataAction::KeysDelete);
        let done = self.wait(self.house.engine.delete_key(&grant, recorded(), self.name.clone()));
        match model.get_mut(&self.key).filter(|key| !key.deleted && !key.versions.is_empty()) {
            None => not_found(&self.name, done.err()),
            Some(key) => {
                same(&done.unwrap().key, key.versions.last().unwrap());
                key.deleted = true;
            }
        }
    }

    fn recover(&mut self, model: &mut Model) {
        let grant = self.grant(DataAction::DeletedKeysRecover);
        let done = self.wait(self.house.engine.recover_deleted_key(&grant, recorded(), self.name.clone()));
        match model.get_mut(&self.key).filter(|key| key.deleted) {
            None => assert!(matches!(done.err(), Some(Error::NotFound(NotFound::DeletedKey(_))))),
            Some(key) => {
                same(&done.unwrap(), key.versions.last().unwrap());
                key.deleted = false;
            }
        }
    }

    fn purge(&mut self, model: &mut Model) {
        let grant = self.grant(DataAction::DeletedKeysDelete);
        let done = self.wait(self.house.engine.purge_deleted_key(&grant, recorded(), self.name.clone()));
        match model.get(&self.key).filter(|key| key.deleted) {
            None => assert!(matches!(done.err(), Some(Error::NotFound(NotFound::DeletedKey(_))))),
            Some(_) if self.pool == 1 => assert_eq!(done.err(), Some(Error::Forbidden(Forbidden::PurgeProtected))),
            Some(_) => {
                done.unwrap();
                model.remove(&self.key);
            }
        }
    }

    /// A use of a version: works when it is there, enabled and has the operation, and never else.
    fn operate(
        &self,
        model: &Model,
        with: u8,
        kty: KeyType,
        op: KeyOp,
        algorithm: fn(KeySpec) -> Algorithm,
        input: Input,
    ) {
        let versions = self.live(model).map(|key| key.versions.as_slice()).unwrap_or_default();
        let at = usize::from(with) % versions.len().max(1);
        let operation = input.operation();
        let action = if operation == Operation::Sign { DataAction::KeysSign } else { DataAction::KeysEncrypt };
        let grant = self.grant(action);
        let Some(version) = versions.get(at) else {
            let used = self.house.engine.operate(&grant, &self.name, None, algorithm(KeySpec::EcP256), input);
            return not_found(&self.name, self.wait(used).err());
        };
        let algorithm = algorithm(version.spec);
        let used = self.house.engine.operate(&grant, &self.name, Some(version.id), algorithm, input);
        let used = self.wait(used);
        if version.spec.kty() != kty {
            assert!(matches!(used.err(), Some(Error::BadParameter(_))));
        } else if !version.ops.contains(op) {
            assert_eq!(used.err(), Some(Error::Forbidden(Forbidden::OperationNotPermitted(operation))));
        } else if !version.enabled && operation == Operation::Sign {
            // A disabled key encrypts, as at Azure: what was encrypted before is not in danger.
            assert_eq!(used.err(), Some(Error::Forbidden(Forbidden::KeyDisabled(operation))));
        } else {
            let (bundle, output, _) = used.unwrap();
            same(&bundle, version);
            assert!(matches!(output, Output::Signature(_) | Output::Ciphertext { .. }));
        }
    }

    fn sign(&self, model: &Model, with: u8) {
        let algorithm = |spec| if spec == KeySpec::EcP256K { Algorithm::Es256K } else { Algorithm::Es256 };
        self.operate(model, with, KeyType::Ec, KeyOp::Sign, algorithm, Input::Sign { digest: vec![3; 32] });
    }

    fn encrypt(&self, model: &Model, with: u8) {
        let algorithm = |spec| if spec == KeySpec::Oct128 { Algorithm::A128Gcm } else { Algorithm::A256Gcm };
        let input = Input::Encrypt { plaintext: SecretBytes::new(vec![4; 16]), iv: None, aad: None };
        self.operate(model, with, KeyType::Oct, KeyOp::Encrypt, algorithm, input);
    }

    fn get(&self, model: &Model, with: u8) {
        let grant = self.grant(DataAction::KeysRead);
        let newest = self.wait(self.house.engine.get_key(&grant, &self.name, None));
        let Some(key) = self.live(model).filter(|key| !key.versions.is_empty()) else {
            return not_found(&self.name, newest.err());
        };
        same(&newest.unwrap(), key.versions.last().unwrap());
        let version = &key.versions[usize::from(with) % key.versions.len()];
        same(&self.wait(self.house.engine.get_key(&grant, &self.name, Some(version.id))).unwrap(), version);
    }

    fn get_deleted(&self, model: &Model) {
        let grant = self.grant(DataAction::DeletedKeysRead);
        let found = self.wait(self.house.engine.get_deleted_key(&grant, &self.name));
        match model.get(&self.key).filter(|key| key.deleted) {
            None => assert!(matches!(found.err(), Some(Error::NotFound(NotFound::DeletedKey(_))))),
            Some(key) => same(&found.unwrap().key, key.versions.last().unwrap()),
        }
    }

    fn list(&self, model: &Model) {
        let names = |deleted: bool| {
            let of_pool = model
                .iter()
                .filter(|((pool, _), key)| *pool == self.pool && !key.versions.is_empty() && key.deleted == deleted);
            of_pool.map(|((_, name), _)| name.clone()).collect::<Vec<_>>()
        };
        let (engine, live) = (&self.house.engine, self.grant(DataAction::KeysRead));
        let found = self.all(|page| self.wait(engine.get_keys(&live, page)).unwrap(), |item| item.name.folded());
        assert_eq!(found, names(false));
        let deleted = self.grant(DataAction::DeletedKeysRead);
        let found =
            self.all(|page| self.wait(engine.get_deleted_keys(&deleted, page)).unwrap(), |item| item.key.name.folded());
        assert_eq!(found, names(true));
    }

    /// The names of this input on all pages of a list.
    fn all<T>(&self, ask: impl Fn(PageRequest) -> Page<T>, name: impl Fn(&T) -> String) -> Vec<String> {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = ask(PageRequest { size: 25, after });
            names.extend(page.items.iter().map(&name).filter(|name| name.ends_with(self.mark)));
            after = page.next;
            if after.is_none() {
                return names;
            }
        }
    }

    fn list_versions(&self, model: &Model) {
        let grant = self.grant(DataAction::KeysRead);
        let found = self.wait(self.house.engine.get_key_versions(&grant, &self.name, PageRequest::default()));
        let Some(key) = self.live(model).filter(|key| !key.versions.is_empty()) else {
            return not_found(&self.name, found.err());
        };
        let mut known: Vec<KeyVersion> = key.versions.iter().map(|v| v.id).collect();
        let mut found: Vec<KeyVersion> = found.unwrap().items.iter().filter_map(|i| i.version).collect();
        known.sort_by_key(|v| v.0);
        found.sort_by_key(|v| v.0);
        assert_eq!(found, known);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    vec![
        // Create, use, update, use, rotate, list, delete, recover, use, purge.
        vec![
            0, 0, 0, 8, 0, 0, 3, 2, 1, 8, 0, 0, 3, 0, 2, 4, 0, 0, 14, 0, 0, 5, 0, 0, 6, 2, 0, 8, 0, 1, 5, 0, 0, 7, 0, 0,
        ],
        // The same under purge protection, with restarts between.
        vec![0, 1, 1, 10, 1, 0, 15, 0, 0, 5, 1, 0, 7, 1, 0, 15, 0, 0, 0, 1, 0, 12, 1, 0, 6, 1, 0, 10, 1, 0, 13, 1, 0],
        // Imports, two names, versions of another type.
        vec![
            2, 0, 0, 2, 4, 7, 0, 2, 2, 11, 0, 0, 11, 0, 1, 8, 0, 1, 10, 0, 0, 5, 4, 0, 13, 0, 0, 0, 4, 0, 6, 4, 0, 14,
            4, 0,
        ],
    ]
}
