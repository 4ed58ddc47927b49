//! Several nodes on one store: what one changes the others take in, and nothing is done twice.

use super::house::{ADMIN, Fault, FaultyStore, House, caller, name, parts, recorded, request};
use super::paper::PaperPartitions;
use crate::keys::{AttributeChange, IsoDuration, RotateTrigger, RotationPolicy, UpdateKey};
use crate::outbox::TAKEN_OVER_AFTER;
use crate::{Engine, EngineParts, PoolRequest, Sharing, WithoutProof};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use strongroom_model::clock::{DAY, ManualClock};
use strongroom_model::error::{Error, Forbidden, Unavailable};
use strongroom_model::role::{CRYPTO_OFFICER, CRYPTO_USER};
use strongroom_model::{DataAction, KeyName, RoleScope};
use strongroom_store::StoreError;
use tokio::task::JoinHandle;
use uuid::Uuid;

const ALICE: Uuid = Uuid::from_u128(0xa11ce);
const UNPROVED: Error = Error::Unavailable(Unavailable::Unproved);

/// A node with its following task.
struct Node {
    house: House,
    following: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl std::ops::Deref for Node {
    type Target = House;
    fn deref(&self) -> &House {
        &self.house
    }
}

/// A node with the store, partitions and clock of another one, or with its own.
async fn node(beside: Option<&House>, number: u128, without_proof: WithoutProof, request: PoolRequest) -> Node {
    let clock =
        beside.map_or_else(|| Arc::new(ManualClock::new(super::house::START)), |house| Arc::clone(&house.clock));
    let own = || Arc::new(PaperPartitions::new(Arc::clone(&clock)));
    let partitions = beside.map_or_else(own, |house| Arc::clone(&house.partitions));
    let store = Arc::new(beside.map_or_else(FaultyStore::new, |house| house.store.beside()));
    let audit_full = Arc::new(AtomicBool::new(false));
    let sharing = Sharing::Node { id: Uuid::from_u128(number), without_proof };
    let parts = EngineParts { sharing, ..parts(&store, &partitions, &clock, &audit_full) };
    let engine = Engine::start(parts).await.unwrap();
    let pool = engine.ensure_pool(request).await.unwrap();
    let house = House { store, partitions, clock, audit_full, engine, pool };
    assert_eq!(house.may(ADMIN, DataAction::KeysRead, RoleScope::Hsm).err(), Some(UNPROVED), "nothing is proved yet");
    let following = tokio::spawn(Arc::clone(&house.engine).follow());
    let node = Node { house, following };
    until(|| node.engine.unproved().is_none()).await;
    node
}

/// Two nodes; the administrator has every role.
async fn two() -> (Node, Node) {
    let one = node(None, 1, WithoutProof::Refuse, request()).await;
    for (id, role) in [(1, CRYPTO_USER), (2, CRYPTO_OFFICER)] {
        one.assign(Uuid::from_u128(id), ADMIN, role, RoleScope::Hsm).await.unwrap();
    }
    let two = node(Some(&one), 2, WithoutProof::Refuse, request()).await;
    (one, two)
}

/// Waits; what never comes fails the test.
async fn until(mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it never comes");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn revoke(house: &House, id: Uuid) {
    let g = house.grant(DataAction::RoleAssignmentsDelete);
    house.engine.delete_role_assignment(&g, recorded(), RoleScope::Hsm, id).await.unwrap();
}

#[tokio::test]
async fn what_one_node_changes_the_other_takes_in() {
    let (one, two) = two().await;
    let allowed = || two.may(ALICE, DataAction::KeysSign, RoleScope::Hsm).is_ok();
    one.assign(ALICE, ALICE, CRYPTO_USER, RoleScope::Hsm).await.unwrap();
    until(allowed).await;
    revoke(&one, ALICE).await;
    until(|| !allowed()).await;

    one.create("k").await.unwrap();
    let first = two.get("k").await.unwrap();
    two.sign("k").await.unwrap();
    let newer = one.rotate("k").await.unwrap();
    let cached = |house: &House, key: &str| house.pool.live.cache.head(&name(key));
    until(|| cached(&two, "k").is_none()).await;
    assert_eq!(two.get("k").await.unwrap().version, newer.version);
    assert_ne!(first.version, newer.version);

    // The version itself, too.
    let disable = AttributeChange { enabled: Some(false), ..AttributeChange::default() };
    one.update("k", UpdateKey { attributes: disable, ..UpdateKey::default() }).await.unwrap();
    until(|| cached(&two, "k").is_none()).await;
    assert!(!two.get("k").await.unwrap().attributes.enabled);
    one.delete("k").await.unwrap();
    until(|| cached(&two, "k").is_none()).await;
    assert!(two.get("k").await.is_err() && two.sign("k").await.is_err());
}

#[tokio::test]
async fn a_node_that_missed_something_reads_everything_anew() {
    let (one, two) = two().await;
    one.create("k").await.unwrap();
    one.assign(ALICE, ALICE, CRYPTO_USER, RoleScope::Hsm).await.unwrap();
    let allowed = || two.may(ALICE, DataAction::KeysSign, RoleScope::Hsm).is_ok();
    until(allowed).await;
    let first = two.get("k").await.unwrap().version;
    two.store.blind.store(true, Ordering::SeqCst);
    revoke(&one, ALICE).await;
    let newer = one.rotate("k").await.unwrap().version;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(allowed(), "the watch alone tells of it");
    assert_eq!(two.get("k").await.unwrap().version, first);
    two.store.blind.store(false, Ordering::SeqCst);
    two.store.gap.store(true, Ordering::SeqCst);
    one.create("other").await.unwrap();
    until(|| !allowed()).await;
    assert_eq!(two.get("k").await.unwrap().version, newer);
}

#[tokio::test]
async fn without_proof_a_node_refuses_or_uses_keys_only() {
    let (one, two) = two().await;
    let three = node(Some(&one), 3, WithoutProof::Cryptography, request()).await;
    one.create("k").await.unwrap();
    for node in [&two, &three] {
        node.sign("k").await.unwrap();
        node.store.unreadable.store(true, Ordering::SeqCst);
    }
    until(|| two.engine.unproved() == Some(WithoutProof::Refuse)).await;
    until(|| three.engine.unproved() == Some(WithoutProof::Cryptography)).await;
    for action in DataAction::ALL {
        assert_eq!(two.may(ADMIN, *action, RoleScope::Hsm).err(), Some(UNPROVED), "{action:?}");
    }
    three.sign("k").await.unwrap();
    for action in [DataAction::KeysRead, DataAction::KeysCreate, DataAction::RoleAssignmentsDelete] {
        assert_eq!(three.may(ADMIN, action, RoleScope::Hsm).err(), Some(UNPROVED), "{action:?}");
    }
    assert!(matches!(three.may(ALICE, DataAction::KeysSign, RoleScope::Hsm).err(), Some(Error::AccessDenied { .. })));
    assert_eq!(one.engine.unproved(), None);
    for node in [&two, &three] {
        node.store.unreadable.store(false, Ordering::SeqCst);
        until(|| node.engine.unproved().is_none()).await;
        node.get("k").await.unwrap();
    }
}

#[tokio::test]
async fn roles_that_may_have_changed_and_cannot_be_read_allow_nothing() {
    let house = House::new().await;
    house.assign(ALICE, ALICE, CRYPTO_USER, RoleScope::Hsm).await.unwrap();
    let g = house.grant(DataAction::RoleAssignmentsDelete);
    house.store.fail_next(&[Fault::DoneUnknown]);
    house.store.unreadable.store(true, Ordering::SeqCst);
    let outcome = house.engine.delete_role_assignment(&g, recorded(), RoleScope::Hsm, ALICE).await;
    assert_eq!(outcome.err(), Some(Error::Unavailable(Unavailable::Store)));
    let signs = || house.engine.authorise(&house.pool, &caller(ALICE, &[]), DataAction::KeysSign, RoleScope::Hsm);
    assert_eq!(signs().err(), Some(Error::Unavailable(Unavailable::Store)));
    let following = tokio::spawn(Arc::clone(&house.engine).follow());
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(signs().err(), Some(Error::Unavailable(Unavailable::Store)));
    house.store.unreadable.store(false, Ordering::SeqCst);
    until(|| matches!(signs().err(), Some(Error::AccessDenied { .. }))).await;
    house.may(ADMIN, DataAction::KeysSign, RoleScope::Hsm).unwrap();
    following.abort();
}

#[tokio::test]
async fn a_change_that_arrives_late_is_refused_and_nothing_is_done_twice() {
    let (one, two) = two().await;
    one.store.fail_next(&[Fault::Late]);
    let made = one.create("k").await.unwrap();
    assert_eq!(one.store.let_arrive().await, [Err(StoreError::Conflict)]);
    let head = two.core().stored_head(&two.pool, &name("k")).await.unwrap().unwrap().value;
    assert_eq!((head.versions, head.newest.version), (1, made.version));

    // The answer was lost, and before anybody asked others had changed the key twice.
    one.store.fail_next(&[Fault::DoneUnknown]);
    one.rotate("k").await.unwrap();
    two.rotate("k").await.unwrap();
    assert_eq!(two.core().stored_head(&two.pool, &name("k")).await.unwrap().unwrap().value.versions, 3);

    // What has no head is written on the condition of what was there.
    one.store.fail_next(&[Fault::Late]);
    one.engine.put_document("d", b"old".to_vec()).await.unwrap();
    two.engine.put_document("d", b"new".to_vec()).await.unwrap();
    assert_eq!(one.store.let_arrive().await, [Err(StoreError::Conflict)]);
    assert_eq!(one.engine.document("d").await.unwrap().unwrap(), b"new");

    // Served time that was written late neither counts twice nor back.
    one.serve(1000);
    one.store.fail_next(&[Fault::Late]);
    one.core().save_served().await.unwrap();
    two.core().save_served().await.unwrap();
    assert_eq!(one.store.let_arrive().await, [Err(StoreError::Conflict)]);
    let (mine, theirs) = (one.core().served_seconds(), two.core().served_seconds());
    assert!((1000..1100).contains(&mine) && (1000..1100).contains(&theirs), "{mine} {theirs}");
}

#[tokio::test]
async fn a_role_given_elsewhere_does_not_outlive_a_purge() {
    let (one, two) = two().await;
    one.create("k").await.unwrap();
    one.delete("k").await.unwrap();
    two.store.blind.store(true, Ordering::SeqCst);
    one.assign(ALICE, ALICE, CRYPTO_USER, RoleScope::Key(name("k"))).await.unwrap();
    two.purge("k").await.unwrap();
    until(|| one.may(ALICE, DataAction::KeysSign, RoleScope::Key(name("k"))).is_err()).await;
}

#[tokio::test]
async fn purge_protection_that_another_node_turned_on_holds_at_once() {
    let (one, _two) = two().await;
    one.create("k").await.unwrap();
    one.delete("k").await.unwrap();
    let _three = node(Some(&one), 3, WithoutProof::Refuse, PoolRequest { purge_protection: true, ..request() }).await;
    assert_eq!(one.purge("k").await.err(), Some(Error::Forbidden(Forbidden::PurgeProtected)));
}

#[tokio::test]
async fn jobs_of_several_nodes_do_everything_once() {
    let (one, two) = two().await;
    one.create("rotated").await.unwrap();
    let after = IsoDuration { text: "P30D".into(), days: 30 };
    let policy =
        RotationPolicy { rotate: Some(RotateTrigger::AfterCreate(after)), expiry: None, created: None, updated: None };
    let g = one.grant(DataAction::KeysWrite);
    one.engine.update_key_rotation_policy(&g, recorded(), name("rotated"), policy).await.unwrap();
    one.create("purged").await.unwrap();
    one.delete("purged").await.unwrap();
    one.clock.advance(31 * DAY);
    for node in [&one, &two] {
        node.serve(31 * DAY as u64);
        node.store.slow.store(true, Ordering::SeqCst);
    }
    for _ in 0..3 {
        tokio::join!(one.core().do_what_is_due(), two.core().do_what_is_due());
    }
    let head = async |key: KeyName| one.core().stored_head(&one.pool, &key).await.unwrap();
    assert_eq!(head(name("rotated")).await.unwrap().value.versions, 2);
    assert!(head(name("purged")).await.is_none());
    let mut rows = one.engine.outbox(100).await.unwrap();
    rows.extend(two.engine.outbox(100).await.unwrap());
    for (operation, count) in [("KeyRotateIfDue", 1), ("KeyPurge", 1)] {
        assert_eq!(rows.iter().filter(|row| row.record.operation == operation).count(), count, "{operation}");
    }
}

#[tokio::test]
async fn audit_rows_go_to_their_node_and_those_of_a_lost_node_to_one_other() {
    let (one, two) = two().await;
    let three = node(Some(&one), 3, WithoutProof::Refuse, request()).await;
    let objects = |rows: Vec<crate::OutboxRow>| -> Vec<String> {
        let keys = rows.into_iter().map(|row| row.record.object).filter(|object| object.starts_with("keys/"));
        keys.map(|object| object.split('/').nth(1).unwrap().to_owned()).collect()
    };
    one.create("a").await.unwrap();
    two.create("b").await.unwrap();
    one.create("c").await.unwrap();
    assert_eq!(objects(one.engine.outbox(100).await.unwrap()), ["a", "c"]);
    assert_eq!(objects(two.engine.outbox(100).await.unwrap()), ["b"]);
    assert!(objects(three.engine.outbox(100).await.unwrap()).is_empty());
    // The records of these tests are made at the beginning of time.
    one.clock.advance(-super::house::START.0 + TAKEN_OVER_AFTER - 1);
    tokio::join!(two.core().do_what_is_due(), three.core().do_what_is_due());
    assert_eq!(objects(two.engine.outbox(100).await.unwrap()), ["b"]);
    one.clock.advance(1);
    for node in [&two, &three] {
        node.store.slow.store(true, Ordering::SeqCst);
    }
    tokio::join!(two.core().do_what_is_due(), three.core().do_what_is_due());
    let mut all = objects(two.engine.outbox(100).await.unwrap());
    all.extend(objects(three.engine.outbox(100).await.unwrap()));
    all.sort();
    assert_eq!(all, ["a", "b", "c"]);
    assert!(one.engine.outbox(100).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_row_waits_until_its_commit_stands() {
    let (one, _two) = two().await;
    let unsettled = || one.core().unsettled.lock().unwrap().clone();
    one.store.slow.store(true, Ordering::SeqCst);
    let (made, ()) = tokio::join!(one.create("k"), until(|| !unsettled().is_empty()));
    made.unwrap();
    assert!(unsettled().is_empty());
    one.create("l").await.unwrap();
    let rows = one.engine.outbox(100).await.unwrap();
    // What comes behind it waits, too: the log is in the order of the commits.
    let doubtful = rows[rows.len() - 2].path.clone();
    one.core().unsettled.lock().unwrap().insert(doubtful);
    assert_eq!(one.engine.outbox(100).await.unwrap().len(), rows.len() - 2);
    one.core().unsettled.lock().unwrap().clear();
    assert_eq!(one.engine.outbox(100).await.unwrap().len(), rows.len());
}
