//! Watches.

use std::sync::Arc;
use std::time::Duration;

use super::{delete, on_threads, put, wait, write};
use crate::{Change, Revision, Store, StoreError, Watch};

/// Long enough for any machine; a right store never waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

async fn next(watch: &mut Box<dyn Watch>) -> Result<(Revision, Vec<Change>), StoreError> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("the watch hangs")
}

async fn now(store: &dyn Store) -> Revision {
    store.snapshot().await.unwrap().revision()
}

pub(super) fn a_watch_tells_changes_in_order(store: Arc<dyn Store>) {
    let since = wait(now(&*store));
    let mut watch = wait(store.watch(b"", since)).unwrap();
    let committed = on_threads(4, |thread| {
        wait(async {
            let mut own = Vec::new();
            for number in 0..10_u8 {
                let changes = vec![put(&[thread as u8, number], &[number])];
                own.push((write(&*store, changes.clone()).await, changes));
            }
            own
        })
    });
    let mut expected: Vec<_> = committed.into_iter().flatten().collect();
    expected.sort_by_key(|(revision, _)| *revision);
    wait(async {
        for commit in expected {
            assert_eq!(next(&mut watch).await.unwrap(), commit);
        }
    });
}

pub(super) fn a_watch_resumes_after_a_revision(store: Arc<dyn Store>) {
    wait(async {
        let start = now(&*store).await;
        let first = write(&*store, vec![put(b"a", b"1")]).await;
        let second = write(&*store, vec![put(b"a", b"2"), put(b"b", b"2")]).await;
        let third = write(&*store, vec![delete(b"a")]).await;
        let all = [
            (first, vec![put(b"a", b"1")]),
            (second, vec![put(b"a", b"2"), put(b"b", b"2")]),
            (third, vec![delete(b"a")]),
        ];
        for (since, skipped) in [(start, 0), (first, 1), (second, 2)] {
            let mut watch = store.watch(b"", since).await.unwrap();
            for commit in &all[skipped..] {
                assert_eq!(next(&mut watch).await.unwrap(), *commit);
            }
        }
        let mut watch = store.watch(b"", third).await.unwrap();
        let fourth = write(&*store, vec![put(b"c", b"4")]).await;
        assert_eq!(next(&mut watch).await.unwrap(), (fourth, vec![put(b"c", b"4")]));
    });
}

pub(super) fn a_watch_sees_its_prefix_only(store: Arc<dyn Store>) {
    wait(async {
        let mut watch = store.watch(b"a/", now(&*store).await).await.unwrap();
        write(&*store, vec![put(b"a", b""), put(b"a0", b""), put(b"b/1", b"")]).await;
        // Nothing happens where a deletion finds nothing, so nothing is told.
        write(&*store, vec![delete(b"a/none")]).await;
        let mixed = write(&*store, vec![put(b"b/2", b""), put(b"a/1", b"1"), delete(b"a/none")]).await;
        let bare = write(&*store, vec![put(b"a/", b"2")]).await;
        assert_eq!(next(&mut watch).await.unwrap(), (mixed, vec![put(b"a/1", b"1")]));
        assert_eq!(next(&mut watch).await.unwrap(), (bare, vec![put(b"a/", b"2")]));
    });
}

pub(super) fn a_dropped_wait_loses_nothing(store: Arc<dyn Store>) {
    wait(async {
        let mut watch = store.watch(b"a", now(&*store).await).await.unwrap();
        for round in 0..20_u8 {
            tokio::select! {
                biased;
                told = watch.next() => panic!("nothing was written, {told:?} was told"),
                () = tokio::task::yield_now() => {}
            }
            let changes = vec![put(b"a", &[round])];
            let revision = write(&*store, changes.clone()).await;
            write(&*store, vec![put(b"other", &[round])]).await;
            assert_eq!(next(&mut watch).await.unwrap(), (revision, changes));
        }
    });
}

pub(super) fn a_watch_tells_all_up_to_a_revision(store: Arc<dyn Store>) {
    wait(async {
        let mut watch = store.watch(b"a", now(&*store).await).await.unwrap();
        let first = write(&*store, vec![put(b"a", b"1")]).await;
        // Neither touches the prefix with an effect; both count for how far the store has come.
        write(&*store, vec![put(b"b", b"")]).await;
        let last = write(&*store, vec![delete(b"a/none")]).await;
        let later = write(&*store, vec![put(b"a", b"2")]).await;
        assert_eq!(upto(&mut watch, last).await, Some((first, vec![put(b"a", b"1")])));
        assert_eq!(upto(&mut watch, last).await, None);
        assert_eq!(upto(&mut watch, last).await, None);
        assert_eq!(upto(&mut watch, later).await, Some((later, vec![put(b"a", b"2")])));
        assert_eq!(upto(&mut watch, later).await, None);
    });
}

async fn upto(watch: &mut Box<dyn Watch>, limit: Revision) -> Option<(Revision, Vec<Change>)> {
    tokio::time::timeout(PATIENCE, watch.next_up_to(limit)).await.expect("the watch hangs").unwrap()
}

pub(super) fn a_watch_ends_with_its_store(store: Arc<dyn Store>) {
    wait(async {
        let since = now(&*store).await;
        let (mut early, mut late) = (store.watch(b"", since).await.unwrap(), store.watch(b"", since).await.unwrap());
        let revision = write(&*store, vec![put(b"a", b"")]).await;
        drop(store);
        // What was committed is told first.
        assert_eq!(next(&mut early).await.unwrap().0, revision);
        assert_eq!(next(&mut early).await, Err(StoreError::Closed));
        assert_eq!(next(&mut early).await, Err(StoreError::Closed));
        assert_eq!(next(&mut late).await.unwrap().0, revision);
    });
}

pub(super) fn a_watch_that_is_too_far_behind_is_told(store: Arc<dyn Store>) {
    wait(async {
        let start = now(&*store).await;
        let mut slow = store.watch(b"a", start).await.unwrap();
        let first = write(&*store, vec![put(b"a", b"1")]).await;
        // More than a store has to hold for a watcher that does not come.
        let mut last = first;
        for _ in 0..40 {
            last = write(&*store, vec![put(b"a", &[7; 500 * 1024])]).await;
        }
        match next(&mut slow).await {
            // A store may hold everything; then it tells everything.
            Ok(told) => assert_eq!(told, (first, vec![put(b"a", b"1")])),
            Err(error) => {
                assert_eq!(error, StoreError::Unknown);
                assert_eq!(store.watch(b"a", start).await.err(), Some(StoreError::Unknown));
            }
        }
        let mut anew = store.watch(b"a", last).await.unwrap();
        let revision = write(&*store, vec![delete(b"a")]).await;
        assert_eq!(next(&mut anew).await.unwrap(), (revision, vec![delete(b"a")]));
    });
}

pub(super) fn an_acknowledged_commit_has_been_published(store: Arc<dyn Store>) {
    wait(async {
        let mut watch = store.watch(b"", now(&*store).await).await.unwrap();
        for number in 0..20_u8 {
            let revision = write(&*store, vec![put(b"a", &[number])]).await;
            tokio::select! {
                biased;
                told = watch.next() => assert_eq!(told.unwrap().0, revision),
                () = tokio::task::yield_now() => panic!("acknowledged before it was published"),
            }
        }
    });
}
