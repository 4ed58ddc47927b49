//! Many at once on one name: everything is explained by some order; dropped requests leave nothing half done.

use super::house::{House, name, recorded};
use crate::Recorded;
use crate::keys::{AttributeChange, UpdateKey};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use strongroom_model::error::{Conflict, Error, NotFound, Result};
use strongroom_model::{Algorithm, DataAction, KeyVersion};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    Create,
    Delete,
    Recover,
    Purge,
    Get,
    GetDeleted,
}

/// One call: when it began and ended, and what came of it.
#[derive(Clone, Debug)]
struct Call {
    did: Did,
    request: Uuid,
    began: u64,
    ended: u64,
    result: std::result::Result<Option<KeyVersion>, Error>,
}

/// The name after some of the changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Live(KeyVersion),
    Deleted(KeyVersion),
}

fn step(state: State, call: &Call) -> State {
    let version = call.result.clone().unwrap();
    match (call.did, state) {
        (Did::Create, State::Free | State::Live(_)) => State::Live(version.unwrap()),
        (Did::Delete, State::Live(v)) if Some(v) == version => State::Deleted(v),
        (Did::Recover, State::Deleted(v)) if Some(v) == version => State::Live(v),
        (Did::Purge, State::Deleted(_)) => State::Free,
        wrong => panic!("no order explains {wrong:?} of {call:?}"),
    }
}

/// Whether a call that changed nothing says what is true in a state.
fn explained(call: &Call, state: State) -> bool {
    let no_key = matches!(call.result, Err(Error::NotFound(NotFound::Key(_))));
    let no_deleted = matches!(call.result, Err(Error::NotFound(NotFound::DeletedKey(_))));
    let taken = matches!(call.result, Err(Error::Conflict(Conflict::KeyDeleted(_))));
    match (call.did, state) {
        (Did::Get, State::Live(v)) | (Did::GetDeleted, State::Deleted(v)) => call.result == Ok(Some(v)),
        (Did::Get | Did::Delete, State::Free | State::Deleted(_)) => no_key,
        (Did::GetDeleted | Did::Recover | Did::Purge, State::Free | State::Live(_)) => no_deleted,
        (Did::Create, State::Deleted(_)) => taken,
        (Did::Create | Did::Delete | Did::Recover | Did::Purge, _) => false,
    }
}

async fn call(house: &House, did: Did, ticks: &AtomicU64) -> Call {
    let r = recorded();
    let request = r.record.request_id;
    let began = ticks.fetch_add(1, Ordering::SeqCst);
    let result = act(house, did, r).await;
    Call { did, request, began, ended: ticks.fetch_add(1, Ordering::SeqCst), result }
}

async fn act(house: &House, did: Did, r: Recorded) -> Result<Option<KeyVersion>> {
    let (engine, key) = (&house.engine, name("one"));
    let version = match did {
        Did::Create => {
            engine.create_key(&house.grant(DataAction::KeysCreate), r, key, super::house::ec()).await?.version
        }
        Did::Delete => engine.delete_key(&house.grant(DataAction::KeysDelete), r, key).await?.key.version,
        Did::Recover => engine.recover_deleted_key(&house.grant(DataAction::DeletedKeysRecover), r, key).await?.version,
        Did::Purge => {
            engine.purge_deleted_key(&house.grant(DataAction::DeletedKeysDelete), r, key).await?;
            return Ok(None);
        }
        Did::Get => engine.get_key(&house.grant(DataAction::KeysRead), &key, None).await?.version,
        Did::GetDeleted => house.get_deleted("one").await?.key.version,
    };
    Ok(Some(version))
}

/// Takes the order of the changes from their audit rows, replays them, and looks for a place for every other call.
async fn check(house: &House, calls: &[Call]) {
    let rows = house.engine.outbox(100_000).await.unwrap();
    let by_request: HashMap<Uuid, &Call> = calls.iter().map(|c| (c.request, c)).collect();
    let changes: Vec<&Call> = rows.iter().filter_map(|r| by_request.get(&r.record.request_id).copied()).collect();
    let successes = calls.iter().filter(|c| c.result.is_ok() && !matches!(c.did, Did::Get | Did::GetDeleted));
    assert_eq!(successes.count(), changes.len());
    let mut states = vec![State::Free];
    for (i, change) in changes.iter().enumerate() {
        assert!(changes[..i].iter().all(|earlier| earlier.began < change.ended), "an order against the clock");
        states.push(step(states[i], change));
    }
    let mut others: Vec<&Call> = calls.iter().filter(|c| !changes.iter().any(|x| x.request == c.request)).collect();
    others.retain(|c| c.result != Err(Error::Conflict(Conflict::Concurrent)));
    others.sort_by_key(|c| c.ended);
    // Each finds the earliest state that explains it, not before one that somebody had seen when it began.
    let mut seen: Vec<(u64, usize)> = Vec::new();
    for call in others {
        let settled = changes.iter().rposition(|c| c.ended < call.began).map_or(0, |i| i + 1);
        let known = seen.iter().filter(|(ended, _)| *ended < call.began).map(|(_, at)| *at).max();
        let first = settled.max(known.unwrap_or(0));
        let last = changes.iter().position(|c| c.began > call.ended).unwrap_or(changes.len());
        let at = (first..=last).find(|i| explained(call, states[*i]));
        let Some(at) = at else { panic!("no state explains {call:?}: {:?}", states.get(first..=last)) };
        seen.push((call.ended, at));
    }
}

const DOES: [Did; 8] =
    [Did::Create, Did::Get, Did::Delete, Did::GetDeleted, Did::Recover, Did::Get, Did::Delete, Did::Purge];

/// So many tasks at once on one name, each with so many calls.
async fn race(tasks: usize, each: usize, two_nodes: bool, lingering: bool) {
    let house = Arc::new(House::new().await);
    house.store.lingering.store(lingering, Ordering::SeqCst);
    let other = if two_nodes { Arc::new(house.second_node().await) } else { Arc::clone(&house) };
    let ticks = Arc::new(AtomicU64::new(1));
    let running: Vec<_> = (0..tasks)
        .map(|n| {
            let house = Arc::clone(if n % 2 == 0 { &house } else { &other });
            let ticks = Arc::clone(&ticks);
            tokio::spawn(async move {
                let mut calls = Vec::new();
                if lingering && n >= 2 {
                    // Readers only, as fast as they can.
                    for i in 0..each * 20 {
                        calls.push(call(&house, [Did::Get, Did::GetDeleted][(n + i) % 2], &ticks).await);
                        tokio::task::yield_now().await;
                    }
                    return calls;
                }
                for i in 0..each {
                    let did = DOES[(n * 5 + i * 3) % DOES.len()];
                    // Nodes hear of each other's changes on etcd alone, which this store is not.
                    if !(two_nodes && did == Did::Get) {
                        calls.push(call(&house, did, &ticks).await);
                    }
                }
                calls
            })
        })
        .collect();
    let mut calls = Vec::new();
    for task in running {
        calls.extend(task.await.unwrap());
    }
    check(&house, &calls).await;
    let concurrent = calls.iter().filter(|c| c.result == Err(Error::Conflict(Conflict::Concurrent))).count();
    assert!(two_nodes || concurrent == 0);
    assert!(calls.iter().filter(|c| c.result.is_ok()).count() > tasks);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_at_once_on_one_name_are_explained_by_some_order() {
    race(64, 12, false, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_few_at_once_are_explained_by_some_order() {
    // Few enough for each call to overlap with two or three changes only.
    race(4, 400, false, false).await;
    // Readers of the store see what its writer has not heard of yet: then readers of the cache must see it too.
    race(6, 60, false, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_at_once_are_explained_by_some_order() {
    race(4, 200, true, false).await;
    race(32, 12, true, false).await;
}

#[tokio::test]
async fn a_dropped_request_is_carried_to_its_end() {
    let house = House::new().await;
    house.create("one").await.unwrap();
    house.sign("one").await.unwrap();
    house.store.slow.store(true, Ordering::SeqCst);
    let until = async |done: &dyn Fn(&Result<Arc<crate::keys::KeyBundle>>) -> bool| {
        for _ in 0..200 {
            if done(&house.get("one").await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("never carried to its end");
    };
    let first = house.get("one").await.unwrap().version;
    let dropped = tokio::time::timeout(Duration::from_millis(5), house.create("one")).await;
    assert!(dropped.is_err());
    until(&|got| got.as_ref().is_ok_and(|k| k.version != first)).await;
    let disable = UpdateKey {
        attributes: AttributeChange { enabled: Some(false), ..AttributeChange::default() },
        ..UpdateKey::default()
    };
    assert!(tokio::time::timeout(Duration::from_millis(5), house.update("one", disable)).await.is_err());
    until(&|got| got.as_ref().is_ok_and(|k| !k.attributes.enabled)).await;
    assert!(house.sign("one").await.is_err());
    assert!(tokio::time::timeout(Duration::from_millis(5), house.delete("one")).await.is_err());
    until(&|got| got.is_err()).await;
    let rows = house.engine.outbox(1000).await.unwrap();
    assert_eq!(rows.iter().filter(|r| r.record.object.starts_with("keys/one/")).count(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn uses_go_on_while_a_key_is_updated() {
    let house = Arc::new(House::new().await);
    house.create("one").await.unwrap();
    let stop = Arc::new(AtomicU64::new(0));
    let users: Vec<_> = (0..4)
        .map(|_| {
            let (house, stop) = (Arc::clone(&house), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut uses = 0;
                while stop.load(Ordering::SeqCst) == 0 {
                    house.sign("one").await.unwrap();
                    uses += 1;
                }
                uses
            })
        })
        .collect();
    for i in 0..100 {
        let attributes =
            AttributeChange { expires: Some(super::house::START.plus(1000 + i)), ..AttributeChange::default() };
        house.update("one", UpdateKey { attributes, ..UpdateKey::default() }).await.unwrap();
        let seen = house.get("one").await.unwrap().attributes.expires;
        assert_eq!(seen, Some(super::house::START.plus(1000 + i)));
        assert_eq!(house.sign("one").await.unwrap().attributes.expires, seen);
    }
    stop.store(1, Ordering::SeqCst);
    for user in users {
        assert!(user.await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_generated_key_is_kept_over_a_conflict() {
    let house = House::new().await;
    let other = house.second_node().await;
    house.store.slow.store(true, Ordering::SeqCst);
    let gateway = house.partitions.of(house.pool.id);
    let before = gateway.made.load(Ordering::SeqCst);
    let (a, b) = tokio::join!(house.create("one"), other.create("one"));
    assert_ne!(a.unwrap().version, b.unwrap().version);
    assert_eq!(gateway.made.load(Ordering::SeqCst) - before, 2);
    assert_eq!(house.core().stored_head(&house.pool, &name("one")).await.unwrap().unwrap().value.versions, 2);
}

#[tokio::test]
async fn a_partition_that_dies_once_is_asked_again() {
    let house = House::new().await;
    house.create("one").await.unwrap();
    let gateway = house.partitions.of(house.pool.id);
    gateway.losses.store(1, Ordering::SeqCst);
    house.sign("one").await.unwrap();
    gateway.losses.store(2, Ordering::SeqCst);
    assert!(matches!(house.sign("one").await, Err(Error::Unavailable(_))));
    let g = house.grant(DataAction::KeysSign);
    let used = house.engine.operate(&g, &name("one"), None, Algorithm::Es256, super::house::sign()).await;
    assert!(used.is_ok());
}
