//! Logs as a running system writes them, and what somebody who has the whole service could make of them: every line that follows
//! is chained anew, so that only the partition's signatures can tell.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::audit::chain::{Head, push_line};
use crate::audit::segments::CURRENT;
use crate::audit::tests::{open, record, run, settings};
use crate::audit::{AuditLog, AuditSettings, Report, verify, verify_with_keys};
use serde_json::Value;
use std::fs;
use std::sync::Arc;
use strongroom_engine::OutboxRow;
use strongroom_hsm::verbs::{Envelope, History, Input, KeyMade, Operate, RootParts, WrappedRoot};
use strongroom_hsm::{KeyBlob, KeyDraft, KeyKind, RebindChange, Reply, Request};
use strongroom_hsm_soft::SoftProvider;
use strongroom_model::audit::{Actor, AuditRecord, Stamp, SystemStamp};
use strongroom_model::clock::SystemClock;
use strongroom_model::principal::PrincipalKind;
use strongroom_model::{Algorithm, KeyOps, KeySpec, KeyType, KeyVersion, Principal, SecretBytes, VaultId};
use strongroom_partition::core::{Core, ThreadChain};
use tempfile::TempDir;

const POOL: PoolId = PoolId(Uuid::from_bytes([7; 16]));
const CALLER: Uuid = Uuid::from_bytes([9; 16]);
const VERSION: KeyVersion = KeyVersion([4; 16]);

/// A run of a partition with one thread.
struct Partition {
    core: Core<SoftProvider>,
    chain: ThreadChain,
}

impl Partition {
    fn new() -> Self {
        let kek = SecretBytes::new(vec![1; 32]);
        let core = Core::new(Arc::new(SoftProvider), POOL, kek, Box::new(SystemClock { offset: 0 }), false);
        let chain = core.thread_chain().unwrap();
        Self { core, chain }
    }

    fn ask(&self, request: Request) -> Reply {
        self.core.handle(&self.chain, Envelope { id: 1, clock_offset: 0, request }).result.unwrap()
    }

    fn state(&self) -> History {
        let Reply::Signed(history) = self.ask(Request::Checkpoint) else { panic!("a state") };
        history
    }
}

/// A pool whose uses are logged.
struct World {
    _folder: TempDir,
    settings: AuditSettings,
    log: AuditLog,
    partition: Partition,
    root: WrappedRoot,
    audit: KeyMade,
    key: Arc<KeyBlob>,
    numbers: u128,
}

fn draft(kind: KeyKind, name: &str) -> KeyDraft {
    KeyDraft {
        vault: VaultId::NONE,
        kind,
        name: name.into(),
        version: VERSION,
        spec: KeySpec::EcP256,
        ops: KeyOps::default_for(KeyType::Ec),
        enabled: true,
        not_before: None,
        expires: None,
    }
}

fn caller() -> Actor {
    Actor::Principal(Principal {
        object_id: CALLER,
        tenant_id: Uuid::from_u128(2),
        app_id: None,
        user_name: None,
        groups: Vec::new().into(),
        kind: PrincipalKind::Application,
        issuer: "https://issuer".into(),
    })
}

impl World {
    /// A pool with one key, its opening in the log.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let (log, partition) = (open(&settings), Partition::new());
        let Reply::RootCreated { wrapped: root, audit_key: audit, opening } = partition.ask(Request::CreateRoot) else {
            panic!("a root")
        };
        run(log.append_opening("demo", &opening, false)).unwrap();
        let Reply::KeyMade(made, stamp) = partition.ask(Request::Generate(draft(KeyKind::Customer, "k"), CALLER))
        else {
            panic!("a key")
        };
        let key = Arc::new(made.blob);
        let mut world = Self { _folder: folder, settings, log, partition, root, audit, key, numbers: 1 };
        world.change("KeyCreate", stamp);
        world
    }

    fn record(&mut self, operation: &str, stamp: Stamp) -> AuditRecord {
        self.numbers += 1;
        let object = format!("keys/K/{VERSION}");
        let record = record(self.numbers);
        AuditRecord { operation: operation.into(), actor: caller(), object, stamp: Some(stamp), ..record }
    }

    fn change(&mut self, operation: &str, stamp: strongroom_model::audit::ChangeStamp) {
        let record = self.record(operation, Stamp::Change(stamp));
        let row = OutboxRow { path: self.numbers.to_string().into_bytes(), record };
        run(self.log.append_durable(&[row])).unwrap();
    }

    fn operate(&self, blob: &Arc<KeyBlob>, caller: Uuid) -> strongroom_model::audit::UseStamp {
        let operate = Operate {
            key: blob.id().unwrap(),
            blob: Some(Arc::clone(blob)),
            algorithm: Algorithm::Es256,
            input: Input::Sign { digest: vec![5; 32] },
            caller,
        };
        let Reply::Done(_, stamp) = self.partition.ask(Request::Operate(operate)) else { panic!("a signature") };
        stamp
    }

    fn sign(&mut self) {
        let stamp = self.operate(&self.key, CALLER);
        let record = self.record("KeySign", Stamp::Use(stamp));
        run(self.log.append(record)).unwrap();
    }

    /// What a second does: shows what is signed.
    fn show(&self) -> History {
        let state = self.partition.state();
        run(self.log.append_checkpoints(&state.checkpoints)).unwrap();
        state
    }

    /// The next run of the partition, opened after `last`.
    fn restart(&mut self, last: History) -> Opening {
        self.partition = Partition::new();
        let parts = RootParts {
            wrapped: self.root.clone(),
            audit_key: Arc::new(self.audit.blob.clone()),
            audit_public: self.audit.public.clone(),
            last,
        };
        let Reply::RootOpened(opening) = self.partition.ask(Request::OpenRoot(parts)) else { panic!("a run") };
        opening
    }

    /// Two runs: keys made, changed and used; what is signed covers all but the last use.
    fn busy() -> Self {
        let mut world = Self::new();
        world.sign();
        let off = RebindChange { enabled: Some(true), ..RebindChange::default() };
        let Reply::Rebound(blob, stamp) = world.partition.ask(Request::Rebind(Arc::clone(&world.key), off, CALLER))
        else {
            panic!("a blob")
        };
        world.change("KeyUpdate", stamp);
        world.key = Arc::new(blob);
        world.sign();
        let Reply::KeyMade(made, stamp) =
            world.partition.ask(Request::Generate(draft(KeyKind::Internal, "issuer"), Uuid::nil()))
        else {
            panic!("a key")
        };
        let key: Arc<str> = format!("systemkeys/issuer/{VERSION}").into();
        let own =
            AuditRecord { actor: Actor::System("start".into()), ..world.record("KeyCreate", Stamp::Change(stamp)) };
        run(world.log.append(AuditRecord { object: key.to_string(), ..own })).unwrap();
        let place = world.operate(&Arc::new(made.blob), Uuid::nil());
        let record = world.record("Token", Stamp::System(SystemStamp { place, key }));
        run(world.log.append(record)).unwrap();
        let first = world.show();
        let opening = world.restart(first);
        run(world.log.append_opening("demo", &opening, false)).unwrap();
        world.sign();
        world.sign();
        world.show();
        world.sign();
        world
    }

    fn report(&self) -> Report {
        verify(&self.settings.folder, None).unwrap()
    }

    fn kinds(&self) -> Vec<ChainFindingKind> {
        let report = self.report();
        assert_eq!(report.finding, None, "the lines themselves are whole");
        report.use_chains.findings.iter().map(|f| f.kind).collect()
    }

    fn bodies(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.settings.folder.join(CURRENT)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Writes the whole log anew, as its writer could.
    fn write(&self, bodies: &[Value]) {
        let (mut buffer, mut head) = (Vec::new(), Head::default());
        for body in bodies {
            let mut body = body.clone();
            body.as_object_mut().unwrap().remove("chain");
            let mut bytes = serde_json::to_vec(&body).unwrap();
            bytes.pop();
            head = push_line(&mut buffer, &bytes, head);
        }
        fs::write(self.settings.folder.join(CURRENT), buffer).unwrap();
    }
}

fn is_entry(body: &Value) -> bool {
    body.get("use").is_some() || body.get("change").is_some()
}

#[test]
fn a_log_as_it_is_written_is_proven_up_to_its_last_signed_states() {
    let world = World::busy();
    let report = world.report();
    assert!(report.is_sound(), "{report:?}");
    let [pool] = &report.use_chains.pools[..] else { panic!("one pool") };
    assert_eq!((pool.name.as_str(), pool.pool, pool.runs), ("demo", POOL.0, 2));
    assert_eq!((pool.entries, pool.proven), (9, 8));
    assert_eq!(pool.audit_key, hex::encode(world.audit.public.fingerprint().unwrap()));
    let [unproven] = &report.use_chains.unproven[..] else { panic!("one chain goes on") };
    assert_eq!((unproven.from, unproven.recorded_to, unproven.recorded), (3, 3, 1));
    assert!(unproven.between.is_some_and(|(first, last)| first == last && first > 0));
    world.show();
    assert_eq!(world.report().use_chains.unproven, []);
    // Written anew without a change, it is the same log.
    world.write(&world.bodies());
    assert_eq!(world.kinds(), []);
}

#[test]
fn every_edited_field_of_every_record_of_a_key_is_found() {
    let world = World::busy();
    world.show();
    let whole = world.bodies();
    let other_hash = Value::from("ab".repeat(32));
    let edits: &[(&str, Value)] = &[
        ("/operationName", "KeyVerify".into()),
        ("/id", format!("keys/other/{VERSION}").into()),
        ("/id", format!("keys/K/{}", KeyVersion([5; 16])).into()),
        ("/identity", r#"{"claim":{}}"#.into()),
        ("/use/key", format!("systemkeys/other/{VERSION}").into()),
        ("/use/chain", "cd".repeat(16).into()),
        ("/use/sequence", 77.into()),
        ("/use/hash", other_hash.clone()),
        ("/use/time", 5.into()),
        ("/use/generation", 9.into()),
        ("/change/chain", "cd".repeat(16).into()),
        ("/change/sequence", 77.into()),
        ("/change/hash", other_hash.clone()),
        ("/change/time", 5.into()),
        ("/change/generation", 9.into()),
        ("/change/verb", "import".into()),
        ("/change/verb", "reserve".into()),
        ("/change/binding", other_hash),
    ];
    let mut found = 0;
    for at in 0..whole.len() {
        for (path, value) in edits.iter().filter(|_| is_entry(&whole[at])) {
            let mut edited = whole.clone();
            let Some(field) = edited[at].pointer_mut(path) else { continue };
            // What a record of the product's own use says of operation and caller is not what was chained.
            let own = whole[at].pointer("/use/key").is_some() && !path.starts_with("/use");
            let changed = *path == "/operationName" && whole[at].get("change").is_some();
            let nobody = *path == "/identity" && whole[at]["id"].as_str().unwrap_or("").starts_with("systemkeys/");
            if own || changed || nobody {
                continue;
            }
            *field = value.clone();
            world.write(&edited);
            assert_ne!(world.kinds(), [], "{path} of {}", whole[at]);
            found += 1;
        }
    }
    assert!(found > 80, "{found} edits");
}

#[test]
fn every_record_that_is_taken_out_is_named() {
    let world = World::busy();
    world.show();
    let whole = world.bodies();
    for at in (0..whole.len()).filter(|at| is_entry(&whole[*at])) {
        let mut cut = whole.clone();
        let gone = cut.remove(at);
        world.write(&cut);
        let report = world.report();
        let [finding] = &report.use_chains.findings[..] else { panic!("{:?}", report.use_chains.findings) };
        let place = gone.get("use").or(gone.get("change")).unwrap();
        assert_eq!(
            (finding.kind, finding.chain.as_str()),
            (ChainFindingKind::Missing, place["chain"].as_str().unwrap())
        );
        assert_eq!((Some(finding.from), Some(finding.to)), (place["sequence"].as_u64(), place["sequence"].as_u64()));
    }
    // Records overtake each other: another order is nobody's fault.
    let mut turned = whole.clone();
    turned[1..].reverse();
    turned[1..].sort_by_key(|body| !is_entry(body));
    let statements = whole.iter().skip(1).filter(|b| !is_entry(b)).cloned();
    let entries: Vec<_> = turned[1..].iter().filter(|b| is_entry(b)).cloned().collect();
    let again: Vec<_> = whole[..1].iter().cloned().chain(entries).chain(statements).collect();
    world.write(&again);
    assert_eq!(world.kinds(), []);
    // But the place of one record is not that of another.
    let uses: Vec<usize> = (0..whole.len()).filter(|at| whole[*at].get("use").is_some()).collect();
    let mut swapped = whole;
    let (a, b) = (swapped[uses[0]]["use"].take(), swapped[uses[1]]["use"].take());
    (swapped[uses[0]]["use"], swapped[uses[1]]["use"]) = (b, a);
    swapped[uses[0]]["operationName"] = "KeyVerify".into();
    world.write(&swapped);
    assert_ne!(world.kinds(), []);
}

#[test]
fn every_edited_statement_of_a_partition_is_found() {
    let world = World::busy();
    let whole = world.bodies();
    let other = "ab".repeat(32);
    for (kind, paths) in [
        ("checkpoint", &["pool", "chain", "sequence", "hash", "time", "signature"][..]),
        ("opening", &["pool", "time", "key", "previous", "chains", "checkpoints", "signature"]),
    ] {
        for at in (0..whole.len()).filter(|at| whole[*at]["kind"] == kind) {
            for path in paths {
                let mut edited = whole.clone();
                let field = &mut edited[at][kind][*path];
                *field = match &*field {
                    Value::Number(_) => 7.into(),
                    Value::Array(_) => Value::Array(Vec::new()),
                    Value::Object(_) => serde_json::json!({"x": "AAAA", "y": "AAAA"}),
                    Value::String(text) if text.contains('-') => Uuid::nil().to_string().into(),
                    Value::String(text) if text.len() == 32 => other[..32].into(),
                    Value::String(_) | Value::Null | Value::Bool(_) => other.clone().into(),
                };
                if edited[at] == whole[at] {
                    continue;
                }
                world.write(&edited);
                assert_ne!(world.kinds(), [], "{path} of {}", whole[at]);
            }
            let mut cut = whole.clone();
            cut.remove(at);
            world.write(&cut);
            let last = at == whole.len() - 2;
            assert_eq!(world.kinds().is_empty(), last, "{} is gone", whole[at]);
        }
    }
}

#[test]
fn a_state_that_another_key_signed_is_forged() {
    let mut world = World::new();
    world.sign();
    let other = World::new();
    let foreign = other.partition.state();
    let mut state = world.partition.state();
    state.checkpoints[0].signature.clone_from(&foreign.checkpoints[0].signature);
    run(world.log.append_checkpoints(&state.checkpoints)).unwrap();
    assert_eq!(world.kinds(), [ChainFindingKind::Forged]);
    // The opening of another root of the same pool has another key, though it is rightly signed.
    run(world.log.append_opening("demo", &foreign.opening, false)).unwrap();
    assert_eq!(world.kinds(), [ChainFindingKind::Forged; 2]);
}

#[test]
fn a_past_that_was_put_under_a_run_is_found() {
    // The states of the first run were shown, and the next run was given older ones.
    let mut world = World::new();
    world.sign();
    let old = world.show();
    world.sign();
    world.show();
    let opening = world.restart(old.clone());
    run(world.log.append_opening("demo", &opening, false)).unwrap();
    assert_eq!(world.kinds(), [ChainFindingKind::PastDiffers]);

    // A run that was hidden: the one after it names it, or the one before it.
    for named in [false, true] {
        let mut world = World::new();
        world.sign();
        let first = world.show();
        let hidden = world.restart(first.clone());
        let hidden = History { opening: hidden, checkpoints: Vec::new() };
        let hides = !named;
        if hides {
            run(world.log.append_opening("demo", &hidden.opening, false)).unwrap();
        }
        let opening = world.restart(if named { hidden } else { first });
        run(world.log.append_opening("demo", &opening, false)).unwrap();
        assert_eq!(world.kinds(), [ChainFindingKind::PastDiffers]);
    }

    // A state of a run that has ended, and a state behind the last one.
    let mut world = World::new();
    world.sign();
    let first = world.show();
    world.sign();
    let late = world.partition.state();
    let opening = world.restart(first.clone());
    run(world.log.append_opening("demo", &opening, false)).unwrap();
    run(world.log.append_checkpoints(&late.checkpoints)).unwrap();
    assert_eq!(world.kinds(), [ChainFindingKind::Unopened]);
    let mut world = World::new();
    let old = world.partition.state();
    world.sign();
    world.show();
    run(world.log.append_checkpoints(&old.checkpoints)).unwrap();
    assert_eq!(world.kinds(), [ChainFindingKind::StateDiffers]);
    // What is told again after a start is one and the same.
    let mut world = World::new();
    world.sign();
    let first = world.show();
    run(world.log.append_opening("demo", &first.opening, true)).unwrap();
    run(world.log.append_checkpoints(&first.checkpoints)).unwrap();
    assert_eq!(world.kinds(), []);
}

#[test]
fn a_crash_leaves_a_range_unproven_and_no_contradiction() {
    // The partition died with uses on their way: the third was recorded, the second never left.
    let mut world = World::new();
    let first = world.show();
    world.operate(&world.key, CALLER);
    world.sign();
    let opening = world.restart(first);
    // A run that was killed before its opening came into the log.
    world.sign();
    let kept = History { opening: opening.clone(), checkpoints: Vec::new() };
    run(world.log.append_opening("demo", &opening, false)).unwrap();
    let lost = world.restart(kept.clone());
    world.sign();
    assert_ne!(lost, opening);
    let next = world.restart(kept);
    run(world.log.append_opening("demo", &next, false)).unwrap();
    world.sign();
    world.show();
    let report = world.report();
    assert!(report.is_sound(), "{report:?}");
    let mut ranges: Vec<_> =
        report.use_chains.unproven.iter().map(|u| (u.pool.as_str(), u.from, u.recorded_to, u.recorded)).collect();
    ranges.sort_unstable();
    assert_eq!(ranges, [("", 1, 1, 1), ("demo", 1, 1, 1), ("demo", 2, 3, 1)]);
}

#[test]
fn a_change_recorded_twice_must_be_one_and_the_same() {
    let mut world = World::new();
    let Reply::Rebound(_, stamp) =
        world.partition.ask(Request::Rebind(Arc::clone(&world.key), RebindChange::default(), CALLER))
    else {
        panic!("a blob")
    };
    // The commit's outcome was in doubt: recorded as not committed, and by the outbox.
    let record = world.record("KeyChangeNotCommitted", Stamp::Change(stamp));
    run(world.log.append(record.clone())).unwrap();
    world.change("KeyUpdate", stamp);
    world.sign();
    world.show();
    assert_eq!(world.kinds(), []);
    run(world.log.append(AuditRecord { object: format!("keys/other/{VERSION}"), ..record })).unwrap();
    assert_eq!(world.kinds(), [ChainFindingKind::Twice]);
}

#[test]
fn a_log_that_begins_in_the_middle_proves_what_it_holds() {
    let world = World::busy();
    world.show();
    let whole = fs::read_to_string(world.settings.folder.join(CURRENT)).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    for from in 1..lines.len() {
        fs::write(world.settings.folder.join(CURRENT), lines[from..].concat()).unwrap();
        let report = world.report();
        assert!(report.is_sound(), "from line {from}: {report:?}");
    }
    // A log that was begun anew beside a store with a past.
    let mut world = World::new();
    world.sign();
    let past = world.show();
    world.write(&world.bodies()[..1]);
    let log = { open(&AuditSettings { folder: world.settings.folder.join("new"), ..world.settings.clone() }) };
    run(log.append_opening("demo", &past.opening, true)).unwrap();
    run(log.append_checkpoints(&past.checkpoints)).unwrap();
    let report = verify(&world.settings.folder.join("new"), None).unwrap();
    assert!(report.is_sound() && report.use_chains.elsewhere == 2, "{report:?}");
}

#[test]
fn an_audit_key_that_was_given_must_be_the_one() {
    let world = World::busy();
    let key = world.audit.public.fingerprint().unwrap();
    let with = |pool: &str, key| {
        let report = verify_with_keys(&world.settings.folder, None, vec![(pool.to_owned(), key)]).unwrap();
        (report.use_chains.pools.iter().any(|p| p.pinned), report.use_chains.findings.first().map(|f| f.kind))
    };
    assert_eq!(with("demo", key), (true, None));
    assert_eq!(with(&POOL.0.to_string(), key), (true, None));
    assert_eq!(with("demo", [1; 32]), (false, Some(ChainFindingKind::Forged)));
    assert_eq!(with("other", key), (false, Some(ChainFindingKind::Absent)));
}
