//! Deletion against a model, and against clocks that jump.

use super::house::{House, name};
use proptest::prelude::*;
use strongroom_model::KeyVersion;
use strongroom_model::audit::Actor;
use strongroom_model::clock::DAY;
use strongroom_model::error::{Conflict, Error, NotFound};
use strongroom_store::{Change, Store};

#[derive(Clone, Copy, Debug)]
enum Step {
    Create,
    Delete,
    Recover,
    Purge,
    Get,
    Restart,
    Due,
}

/// What one name is: free, live with its versions, or deleted with them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Free,
    Live(Vec<KeyVersion>),
    Deleted(Vec<KeyVersion>),
}

fn steps() -> impl Strategy<Value = Vec<(Step, usize)>> {
    let step = prop_oneof![
        3 => Just(Step::Create),
        2 => Just(Step::Delete),
        2 => Just(Step::Recover),
        2 => Just(Step::Purge),
        2 => Just(Step::Get),
        1 => Just(Step::Restart),
        1 => Just(Step::Due),
    ];
    prop::collection::vec((step, 0..2_usize), 1..40)
}

async fn run(steps: Vec<(Step, usize)>) {
    let names = ["one", "two"];
    let mut states = [State::Free, State::Free];
    let mut house = House::new().await;
    for (step, which) in steps {
        let (key, state) = (names[which], states[which].clone());
        let no_key = Some(Error::NotFound(NotFound::Key(key.into())));
        let no_deleted = Some(Error::NotFound(NotFound::DeletedKey(key.into())));
        states[which] = match (step, state) {
            (Step::Create, State::Deleted(v)) => {
                let taken = Some(Error::Conflict(Conflict::KeyDeleted(key.into())));
                assert_eq!(house.create(key).await.err(), taken);
                State::Deleted(v)
            }
            (Step::Create, state) => {
                let mut versions = if let State::Live(v) = state { v } else { Vec::new() };
                versions.push(house.create(key).await.unwrap().version);
                State::Live(versions)
            }
            (Step::Delete, State::Live(v)) => {
                assert_eq!(Some(&house.delete(key).await.unwrap().key.version), v.last());
                State::Deleted(v)
            }
            (Step::Delete, state) => {
                assert_eq!(house.delete(key).await.err(), no_key);
                state
            }
            (Step::Recover, State::Deleted(v)) => {
                assert_eq!(Some(&house.recover(key).await.unwrap().version), v.last());
                State::Live(v)
            }
            (Step::Recover, state) => {
                assert_eq!(house.recover(key).await.err(), no_deleted);
                state
            }
            (Step::Purge, State::Deleted(_)) => {
                house.purge(key).await.unwrap();
                State::Free
            }
            (Step::Purge, state) => {
                assert_eq!(house.purge(key).await.err(), no_deleted);
                state
            }
            (Step::Get, state) => {
                let (live, deleted) = (house.get(key).await, house.get_deleted(key).await);
                match &state {
                    State::Free => assert_eq!((live.err(), deleted.err()), (no_key, no_deleted)),
                    State::Live(v) => {
                        assert_eq!((Some(&live.unwrap().version), deleted.err()), (v.last(), no_deleted));
                    }
                    State::Deleted(v) => {
                        assert_eq!((live.err(), Some(&deleted.unwrap().key.version)), (no_key, v.last()));
                    }
                }
                state
            }
            (Step::Restart, state) => {
                house = house.restart().await;
                state
            }
            (Step::Due, state) => {
                house.core().do_what_is_due().await;
                state
            }
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn deletion_follows_its_model(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(steps));
    }
}

#[tokio::test]
async fn both_clocks_must_agree_before_a_purge() {
    let house = House::new().await;
    house.create("k").await.unwrap();
    house.delete("k").await.unwrap();
    let mut house = house;
    // A wall clock that jumps forward shortens nothing, however often.
    for _ in 0..3 {
        house.clock.advance(90 * DAY);
        house.core().do_what_is_due().await;
        assert!(house.get_deleted("k").await.is_ok());
    }
    house.serve(5 * 86_400);
    house.core().do_what_is_due().await;
    // Switched off, whatever the clock says: a day.
    house.clock.advance(90 * DAY);
    house = house.restart().await;
    house.core().do_what_is_due().await;
    assert!(house.get_deleted("k").await.is_ok());
    house.clock.advance(-400 * DAY);
    house.serve(86_400);
    house.core().do_what_is_due().await;
    // Served long enough, but the wall clock went back before the date.
    assert!(house.get_deleted("k").await.is_ok());
    house = house.restart().await;
    house.clock.advance(400 * DAY);
    house.core().do_what_is_due().await;
    assert_eq!(house.get_deleted("k").await.err(), Some(Error::NotFound(NotFound::DeletedKey("k".into()))));
    let rows = house.engine.outbox(1000).await.unwrap();
    let purged = rows.iter().filter(|r| r.record.actor == Actor::System("purge".into())).count();
    assert_eq!(purged, 1);
    house.create("k").await.unwrap();
}

#[tokio::test]
async fn the_retention_is_held_to_the_second_even_under_purge_protection() {
    let house = House::with(crate::PoolRequest { purge_protection: true, ..super::house::request() }).await;
    house.create("k").await.unwrap();
    house.delete("k").await.unwrap();
    house.clock.advance(7 * DAY - 1);
    house.serve(7 * 86_400);
    house.core().do_what_is_due().await;
    assert!(house.get_deleted("k").await.is_ok());
    house.clock.advance(1);
    house.core().do_what_is_due().await;
    assert!(house.get_deleted("k").await.is_err());
}

#[tokio::test]
async fn a_recovered_key_is_not_purged_at_its_old_date() {
    let house = House::new().await;
    house.create("k").await.unwrap();
    house.delete("k").await.unwrap();
    house.recover("k").await.unwrap();
    house.clock.advance(8 * DAY);
    house.serve(8 * 86_400);
    house.core().do_what_is_due().await;
    assert!(house.get("k").await.is_ok());
    house.delete("k").await.unwrap();
    house.core().do_what_is_due().await;
    assert!(house.get_deleted("k").await.is_ok());
}

#[tokio::test]
async fn what_a_crash_left_behind_a_purge_is_collected_and_never_seen() {
    let house = House::new().await;
    for _ in 0..100 {
        house.create("k").await.unwrap();
    }
    let before = house.dump().await;
    house.delete("k").await.unwrap();
    house.purge("k").await.unwrap();
    house.create("k").await.unwrap();
    let object = before.iter().find(|e| e.path.windows(10).any(|w| w == b"/versions/")).unwrap().path.clone();
    // As after a crash between the head and what lies behind it.
    let (prefix, object) = (object.len() - 65, &object[object.len() - 65..object.len() - 33]);
    let mut id = [0; 16];
    hex::decode_to_slice(object, &mut id).unwrap();
    for part in before.iter().filter(|e| e.path.len() > prefix).collect::<Vec<_>>().chunks(60) {
        let back = part.iter().filter(|e| e.path.windows(32).any(|w| w == object));
        let changes: Vec<_> = back.map(|e| Change::Put(e.path.clone(), e.value.clone())).collect();
        house.store.commit(vec![], changes).await.unwrap();
    }
    let note = house.pool.live.paths.leftovers(&id);
    let note = house.core().records.put(note, &crate::records::shapes::IndexRecord).unwrap();
    house.store.commit(vec![], vec![note]).await.unwrap();
    let house = house.restart().await;
    let g = house.grant(strongroom_model::DataAction::KeysRead);
    let page = house.engine.get_key_versions(&g, &name("k"), crate::PageRequest::default()).await.unwrap();
    assert_eq!(page.items.len(), 1);
    house.core().do_what_is_due().await;
    let left = house.dump().await;
    assert_eq!(left.iter().filter(|e| e.path.windows(32).any(|w| w == object)).count(), 0);
    assert!(house.get("k").await.is_ok());
}

/// What a script did before the store died: the steps that were acknowledged, and the one that was not.
async fn script(house: &House) -> (Vec<&'static str>, Option<&'static str>) {
    let mut done = Vec::new();
    for step in ["create", "create", "assign", "delete", "recover", "delete", "purge", "create", "delete"] {
        let outcome = match step {
            "create" => house.create("k").await.map(|_| ()),
            "assign" => {
                let (id, scope) = (uuid::Uuid::from_u128(99), strongroom_model::RoleScope::Key(name("k")));
                house.assign(id, id, strongroom_model::role::CRYPTO_USER, scope).await.map(|_| ())
            }
            "delete" => house.delete("k").await.map(|_| ()),
            "recover" => house.recover("k").await.map(|_| ()),
            _ => house.purge("k").await,
        };
        if outcome.is_err() {
            return (done, Some(step));
        }
        done.push(step);
    }
    (done, None)
}

/// Versions of the live key, whether it is deleted, and assignments at its scope.
async fn picture(house: &House) -> (Option<(u32, bool)>, usize) {
    let head = house.core().stored_head(&house.pool, &name("k")).await.unwrap();
    let at_key = house.pool.live.roles.read().at_key(&name("k")).len();
    (head.map(|h| (h.value.versions, h.value.deleted.is_some())), at_key)
}

fn expected(steps: &[&str]) -> (Option<(u32, bool)>, usize) {
    let (mut key, mut roles) = (None, 0);
    for step in steps {
        match *step {
            "create" => key = Some((key.map_or(0, |(n, _)| n) + 1, false)),
            "assign" => roles = 1,
            "delete" => key = key.map(|(n, _)| (n, true)),
            "recover" => key = key.map(|(n, _)| (n, false)),
            _ => (key, roles) = (None, 0),
        }
    }
    (key, roles)
}

#[tokio::test]
async fn a_crash_at_any_commit_loses_nothing_acknowledged_and_leaves_nothing_half_done() {
    for last_one_holds in [false, true] {
        for commits in 1..20 {
            let house = House::new().await;
            house.store.die_after(Some(commits), last_one_holds);
            let (mut done, failed) = script(&house).await;
            house.store.die_after(None, false);
            let house = house.restart().await;
            let mut possible = vec![expected(&done)];
            done.extend(failed);
            possible.push(expected(&done));
            let found = picture(&house).await;
            assert!(possible.contains(&found), "{commits} {last_one_holds}: {found:?} is none of {possible:?}");
            house.core().do_what_is_due().await;
            assert_eq!(picture(&house).await, found);
            let versions = found.0.map_or(0, |(n, _)| n as usize);
            let left = house.dump().await;
            let count = |part: &str| left.iter().filter(|e| String::from_utf8_lossy(&e.path).contains(part)).count();
            assert_eq!((count("/versions/"), count("/leftovers/")), (versions, 0), "{commits} {last_one_holds}");
            assert_eq!(count("/deleted/"), usize::from(found.0.is_some_and(|(_, deleted)| deleted)));
            if failed.is_none() {
                break;
            }
        }
    }
}
