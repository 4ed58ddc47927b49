//! Many at once, and some that go away.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::{absent, on_threads, paths, put, unchanged, value, wait, write};
use crate::{Revision, Store, StoreError};

const THREADS: usize = 4;
const INCREMENTS: u64 = 25;
/// Long enough for any machine; a right store never waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.try_into().unwrap())
}

/// Raises the counter by one, however often others come first.
async fn increment(store: &dyn Store, path: &[u8]) -> Revision {
    loop {
        let found = store.get(path).await.unwrap();
        let (condition, count) = match &found {
            Some(entry) => (unchanged(path, entry.revision), number(&entry.value)),
            None => (absent(path), 0),
        };
        match store.commit(vec![condition], vec![put(path, &(count + 1).to_be_bytes())]).await {
            Ok(revision) => return revision,
            Err(error) => assert_eq!(error, StoreError::Conflict),
        }
    }
}

pub(super) fn no_increment_is_lost(store: Arc<dyn Store>) {
    let revisions = on_threads(THREADS, |_| {
        wait(async {
            let mut own = Vec::new();
            for _ in 0..INCREMENTS {
                own.push(increment(&*store, b"counter").await);
            }
            own
        })
    });
    assert!(revisions.iter().all(|own| own.is_sorted()));
    let mut all: Vec<_> = revisions.into_iter().flatten().collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len() as u64, THREADS as u64 * INCREMENTS);
    let last = wait(value(&*store, b"counter")).unwrap();
    assert_eq!(number(&last), THREADS as u64 * INCREMENTS);
}

pub(super) fn only_one_of_many_creates(store: Arc<dyn Store>) {
    for round in 0..20_u8 {
        let outcomes = on_threads(THREADS, |thread| {
            let me = [thread as u8];
            wait(store.commit(vec![absent(&[round])], vec![put(&[round], &me), put(&[round, 0, me[0]], &me)]))
        });
        let winners: Vec<u8> = (0..THREADS as u8).filter(|&thread| outcomes[usize::from(thread)].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        assert!(outcomes.iter().all(|outcome| outcome.is_ok() || *outcome == Err(StoreError::Conflict)));
        wait(async {
            assert_eq!(value(&*store, &[round]).await.unwrap(), winners);
            let own = store.scan(&[round, 0], &[round, 1], 9).await.unwrap().entries;
            assert_eq!(own.len(), 1, "a loser left something");
        });
    }
}

async fn appears(store: &dyn Store, path: &[u8]) {
    let start = Instant::now();
    while value(store, path).await.is_none() {
        assert!(start.elapsed() < PATIENCE, "the commit did not go on");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(super) fn a_dropped_commit_goes_on(store: Arc<dyn Store>) {
    wait(async {
        for round in 0..20_u8 {
            {
                let mut commit = pin!(store.commit(vec![], vec![put(&[round], b"")]));
                // Polled once, then dropped, most likely before it is done.
                let _ = commit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
            appears(&*store, &[round]).await;
        }
    });
}

pub(super) fn a_commit_that_is_never_awaited_goes_on(store: Arc<dyn Store>) {
    wait(async {
        for round in 0..20_u8 {
            drop(store.commit(vec![], vec![put(&[round], b"")]));
        }
        // In whatever order: only a commit that was acknowledged comes before one that is begun later.
        for round in 0..20_u8 {
            appears(&*store, &[round]).await;
        }
        assert_eq!(paths(&*store).await.len(), 20);
    });
}

pub(super) fn a_reader_sees_its_own_commit(store: Arc<dyn Store>) {
    on_threads(THREADS, |thread| {
        wait(async {
            let path = [thread as u8];
            for round in 0..25_u8 {
                let revision = write(&*store, vec![put(&path, &[round])]).await;
                let entry = store.get(&path).await.unwrap().unwrap();
                assert_eq!((entry.value.as_slice(), entry.revision), ([round].as_slice(), revision));
                assert!(store.snapshot().await.unwrap().revision() >= revision);
            }
        });
    });
}

/// Two records, at least one of which must stay: each thread removes one only while it sees the other unchanged.
pub(super) fn invariants_over_two_records_hold(store: Arc<dyn Store>) {
    for _ in 0..20 {
        wait(write(&*store, vec![put(b"0", b""), put(b"1", b"")]));
        let outcomes = on_threads(2, |thread| {
            wait(async {
                let (mine, other): (&[u8], &[u8]) = if thread == 0 { (b"0", b"1") } else { (b"1", b"0") };
                let Some(other_entry) = store.get(other).await.unwrap() else { return false };
                let condition = unchanged(other, other_entry.revision);
                store.commit(vec![condition], vec![super::delete(mine)]).await.is_ok()
            })
        });
        assert_eq!(outcomes.iter().filter(|removed| **removed).count(), 1);
        assert_eq!(wait(paths(&*store)).len(), 1);
    }
}
