//! The engine over the real provider, partitions in threads of this process, and the store on the disk.

use super::house::{ADMIN, caller, name, recorded, request, seal};
use crate::keys::{CreateKey, ImportKey, UpdateKey};
use crate::{Engine, EngineParts, Pool, StartError};
use std::path::Path;
use std::sync::Arc;
use strongroom_hsm::HsmError;
use strongroom_hsm::verbs::{Input, KeyMaterial, Output};
use strongroom_hsm_soft::SoftProvider;
use strongroom_model::algorithm::{ALGORITHMS, Mechanism};
use strongroom_model::clock::SystemClock;
use strongroom_model::error::{BadParameter, Error, Forbidden, Result};
use strongroom_model::key::KEY_SPECS;
use strongroom_model::role::CRYPTO_USER;
use strongroom_model::{Algorithm, DataAction, KeyOps, KeySpec, KeyType, Operation, RoleScope, SecretBytes};
use strongroom_partition::local::LocalPartitions;
use strongroom_store::redb::Options;
use strongroom_store::{RedbStore, Store};
use uuid::Uuid;

/// An engine over the real provider.
pub(crate) struct Real {
    pub(crate) engine: Arc<Engine>,
    pub(crate) pool: Arc<Pool>,
    partitions: Arc<LocalPartitions<SoftProvider>>,
}

impl Real {
    async fn start(folder: &Path, kek: u8) -> std::result::Result<Self, StartError> {
        let store = RedbStore::open(&folder.join("store"), Options::default()).unwrap();
        Self::on(Arc::new(store), kek).await
    }

    pub(crate) async fn on(store: Arc<dyn Store>, kek: u8) -> std::result::Result<Self, StartError> {
        let kek = SecretBytes::new(vec![kek; 32]);
        let partitions = Arc::new(LocalPartitions::new(SoftProvider, kek, false));
        let parts = EngineParts {
            store,
            store_seal: seal(),
            partitions: Arc::clone(&partitions) as Arc<dyn strongroom_hsm::Partitions>,
            clock: Arc::new(SystemClock { offset: 0 }),
            cached_keys: EngineParts::CACHED_KEYS,
            development: true,
            sharing: crate::Sharing::Alone,
            changes_allowed: Arc::new(|| Ok(())),
        };
        let engine = Engine::start(parts).await?;
        let pool = engine.ensure_pool(request()).await?;
        let real = Self { engine, pool, partitions };
        let g = real.grant(DataAction::RoleAssignmentsWrite);
        let asked = crate::roles::CreateRoleAssignment {
            principal_id: ADMIN,
            role_definition_id: CRYPTO_USER,
            scope: RoleScope::Hsm,
        };
        real.engine.create_role_assignment(&g, recorded(), Uuid::from_u128(1), asked).await.unwrap();
        Ok(real)
    }

    pub(crate) fn grant(&self, action: DataAction) -> crate::Grant {
        self.engine.authorise(&self.pool, &caller(ADMIN, &[]), action, RoleScope::Hsm).unwrap()
    }

    pub(crate) async fn create(&self, key: &str, spec: KeySpec, ops: KeyOps) -> crate::keys::KeyBundle {
        let what = CreateKey { ops, ..super::house::of(spec) };
        self.engine.create_key(&self.grant(DataAction::KeysCreate), recorded(), name(key), what).await.unwrap()
    }

    pub(crate) async fn operate(&self, key: &str, algorithm: Algorithm, input: Input) -> Result<Output> {
        let g = self.grant(input.operation().row().action);
        self.engine.operate(&g, &name(key), None, algorithm, input).await.map(|(_, output, _)| output)
    }

    async fn round_trip(&self, key: &str, algorithm: Algorithm) {
        let row = algorithm.row();
        if let Some(digest) = algorithm.digest() {
            let digest = vec![7; digest.size()];
            let signed = self.operate(key, algorithm, Input::Sign { digest: digest.clone() }).await.unwrap();
            let Output::Signature(signature) = signed else { panic!("no signature") };
            let verified = self.operate(key, algorithm, Input::Verify { digest, signature }).await.unwrap();
            assert!(matches!(verified, Output::Verified(true)), "{}", row.name);
            return;
        }
        if row.uses.contains(&Operation::Encrypt) {
            let iv = matches!(row.mechanism, Mechanism::AesCbc | Mechanism::AesCbcPad).then(|| vec![1; 16]);
            let input = Input::Encrypt { plaintext: SecretBytes::new(vec![5; 32]), iv: iv.clone(), aad: None };
            let encrypted = self.operate(key, algorithm, input).await.unwrap();
            let Output::Ciphertext { value, iv, tag } = encrypted else { panic!("no ciphertext") };
            let input = Input::Decrypt { ciphertext: value, iv, aad: None, tag };
            let Output::Plaintext(plain) = self.operate(key, algorithm, input).await.unwrap() else { panic!() };
            assert!(plain.same_as(&[5; 32]), "{}", row.name);
        }
        if row.uses.contains(&Operation::WrapKey) {
            let input = Input::WrapKey { key: SecretBytes::new(vec![6; 32]) };
            let Output::Ciphertext { value, .. } = self.operate(key, algorithm, input).await.unwrap() else { panic!() };
            let input = Input::UnwrapKey { wrapped: value };
            let Output::Plaintext(plain) = self.operate(key, algorithm, input).await.unwrap() else { panic!() };
            assert!(plain.same_as(&[6; 32]), "{}", row.name);
        }
    }
}

fn all_ops(spec: KeySpec) -> KeyOps {
    let default = KeyOps::default_for(spec.kty());
    if spec.kty() == KeyType::Oct {
        return default.with(strongroom_model::KeyOp::Sign).with(strongroom_model::KeyOp::Verify);
    }
    default
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_algorithm_works_before_and_after_a_restart_and_a_partition_that_dies() {
    let folder = tempfile::tempdir().unwrap();
    let mut real = Real::start(folder.path(), 1).await.unwrap();
    let specs: Vec<_> = KEY_SPECS.iter().filter(|r| r.kty != KeyType::Rsa || r.default).map(|r| r.spec).collect();
    for spec in &specs {
        real.create(&format!("{spec:?}"), *spec, all_ops(*spec)).await;
    }
    for round in 0..3 {
        for spec in &specs {
            for row in ALGORITHMS.iter().filter(|r| r.algorithm.check(r.uses[0], *spec).is_ok()) {
                real.round_trip(&format!("{spec:?}"), row.algorithm).await;
            }
        }
        match round {
            0 => real.partitions.kill(real.pool.id),
            1 => {
                real.engine.stop().await;
                drop(real);
                real = Real::start(folder.path(), 1).await.unwrap();
            }
            _ => {}
        }
    }
    assert!(real.engine.ready().await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_partition_enforces_what_an_update_said() {
    let folder = tempfile::tempdir().unwrap();
    let real = Real::start(folder.path(), 1).await.unwrap();
    real.create("k", KeySpec::EcP256, KeyOps::default_for(KeyType::Ec)).await;
    let sign = async || real.operate("k", Algorithm::Es256, Input::Sign { digest: vec![1; 32] }).await.err();
    assert_eq!(sign().await, None);
    let enabled = |enabled| UpdateKey {
        attributes: crate::keys::AttributeChange { enabled: Some(enabled), ..Default::default() },
        ..UpdateKey::default()
    };
    let g = real.grant(DataAction::KeysWrite);
    real.engine.update_key(&g, recorded(), name("k"), None, enabled(false)).await.unwrap();
    assert_eq!(sign().await, Some(Error::Forbidden(Forbidden::KeyDisabled(Operation::Sign))));
    real.engine.update_key(&g, recorded(), name("k"), None, enabled(true)).await.unwrap();
    assert_eq!(sign().await, None);
    let none = UpdateKey { ops: Some(KeyOps::NONE), ..UpdateKey::default() };
    real.engine.update_key(&g, recorded(), name("k"), None, none).await.unwrap();
    assert_eq!(sign().await, Some(Error::Forbidden(Forbidden::OperationNotPermitted(Operation::Sign))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_imported_and_bad_ones_refused() {
    let folder = tempfile::tempdir().unwrap();
    let real = Real::start(folder.path(), 1).await.unwrap();
    let g = real.grant(DataAction::KeysImport);
    let import = async |k: Vec<u8>| {
        let (spec, ops) = (KeySpec::Oct256, KeyOps::default_for(KeyType::Oct));
        let key = ImportKey { spec, ops, attributes: Default::default(), tags: Default::default() };
        let material = KeyMaterial::Oct { k: SecretBytes::new(k) };
        real.engine.import_key(&g, recorded(), name("k"), key, material).await
    };
    assert_eq!(import(vec![1; 31]).await.err(), Some(Error::BadParameter(BadParameter::KeyMaterial)));
    let made = import(vec![1; 32]).await.unwrap();
    assert_eq!(made.spec, KeySpec::Oct256);
    real.round_trip("k", Algorithm::A256Gcm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_go_on_where_the_last_run_signed_them() {
    let folder = tempfile::tempdir().unwrap();
    let real = Real::start(folder.path(), 1).await.unwrap();
    real.create("k", KeySpec::EcP256, KeyOps::default_for(KeyType::Ec)).await;
    let signed = async |real: &Real| {
        real.operate("k", Algorithm::Es256, Input::Sign { digest: vec![1; 32] }).await.unwrap();
        real.engine.sign_chains(&real.pool).await.unwrap()
    };
    let first = signed(&real).await;
    assert_eq!(first.checkpoints.len(), 1);
    assert!(real.engine.keep_history(&real.pool, &first).await.unwrap());
    let unkept = signed(&real).await;
    assert!(unkept.checkpoints[0].sequence > first.checkpoints[0].sequence && unkept.opening == first.opening);
    drop(real);
    let real = Real::start(folder.path(), 1).await.unwrap();
    assert_eq!(real.engine.history(&real.pool), first, "what the log may lack");
    let next = signed(&real).await;
    assert_eq!(next.opening.previous, Some(first.opening.digest()));
    assert_eq!(next.opening.checkpoints[0].hash, first.checkpoints[0].hash);
    // A partition that dies: the run that ended is no longer kept, the next one is.
    real.partitions.kill(real.pool.id);
    let healed = signed(&real).await;
    assert!(!real.engine.keep_history(&real.pool, &next).await.unwrap());
    assert!(real.engine.keep_history(&real.pool, &healed).await.unwrap());
    assert_eq!(healed.opening.previous, Some(first.opening.digest()));
    let path = crate::records::paths::history(real.pool.id, None);
    drop(real);
    // Without a history nobody knows what came before: no pool opens.
    let store = RedbStore::open(&folder.path().join("store"), Options::default()).unwrap();
    store.commit(vec![], vec![strongroom_store::Change::Delete(path)]).await.unwrap();
    let store = Arc::new(store);
    assert!(matches!(Real::on(store, 1).await.err(), Some(StartError::Damaged(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_encryption_key_opens_no_pool() {
    let folder = tempfile::tempdir().unwrap();
    drop(Real::start(folder.path(), 1).await.unwrap());
    let other = Real::start(folder.path(), 2).await.err();
    assert!(matches!(other, Some(StartError::Hsm(HsmError::WrongSeal))), "{other:?}");
}
