//! What every back end must do: cases over an empty store, run on threads with a runtime each, as the service runs.
//!
//! A case panics where the store is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod commits;
mod concurrency;
mod reads;
mod watches;

use std::future::Future;
use std::sync::Arc;

use crate::{Change, Condition, Revision, Store, StoreError};

/// One demand.
#[derive(Clone, Copy)]
pub struct Case {
    /// What is demanded.
    pub name: &'static str,
    run: fn(Arc<dyn Store>),
}

impl Case {
    /// Runs the case on an empty store.
    pub fn run(&self, store: Arc<dyn Store>) {
        (self.run)(store);
    }
}

macro_rules! cases {
    ($($module:ident::$name:ident),* $(,)?) => {
        /// All cases.
        pub const CASES: &[Case] = &[$(Case { name: stringify!($name), run: $module::$name }),*];
    };
}

cases![
    commits::absent_holds_only_where_nothing_lies,
    commits::unchanged_holds_only_for_the_last_revision,
    commits::a_failed_condition_changes_nothing,
    commits::conditions_are_checked_before_changes,
    commits::all_records_of_a_commit_carry_its_revision,
    commits::revisions_grow_and_never_repeat,
    commits::deleting_nothing_is_no_error,
    commits::the_number_of_changes_is_limited,
    commits::the_number_of_conditions_is_limited,
    commits::the_bytes_of_a_commit_are_limited,
    commits::one_path_changes_once_in_a_commit,
    commits::empty_paths_and_values_are_records,
    commits::paths_and_values_are_any_bytes,
    reads::scans_are_in_order_of_bytes,
    reads::scan_bounds_are_half_open,
    reads::scan_limits_tell_of_more,
    reads::a_snapshot_stands_still,
    reads::a_snapshot_outlives_many_commits,
    reads::snapshots_never_show_half_a_commit,
    watches::a_watch_tells_changes_in_order,
    watches::a_watch_resumes_after_a_revision,
    watches::a_watch_sees_its_prefix_only,
    watches::a_dropped_wait_loses_nothing,
    watches::a_watch_tells_all_up_to_a_revision,
    watches::a_watch_ends_with_its_store,
    watches::a_watch_that_is_too_far_behind_is_told,
    watches::an_acknowledged_commit_has_been_published,
    concurrency::no_increment_is_lost,
    concurrency::only_one_of_many_creates,
    concurrency::a_dropped_commit_goes_on,
    concurrency::a_commit_that_is_never_awaited_goes_on,
    concurrency::a_reader_sees_its_own_commit,
    concurrency::invariants_over_two_records_hold,
];

/// Runs every case, each on a store of its own; prints the name of each first, so a failure names its case.
pub fn run(mut empty: impl FnMut() -> Arc<dyn Store>) {
    for case in CASES {
        tracing::info!(case = case.name, "store conformance");
        let store = empty();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case.run(store)));
        assert!(outcome.is_ok(), "the store fails the case `{}`", case.name);
    }
}

/// Waits on a runtime of this thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(future)
}

/// Runs `work` on `threads` threads, each with its number, and collects what they return.
fn on_threads<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let handles: Vec<_> = (0..threads).map(|number| scope.spawn(move || work(number))).collect();
        handles.into_iter().map(|handle| handle.join().expect("the thread")).collect()
    })
}

fn put(path: &[u8], value: &[u8]) -> Change {
    Change::Put(path.to_vec(), value.to_vec())
}

fn delete(path: &[u8]) -> Change {
    Change::Delete(path.to_vec())
}

fn absent(path: &[u8]) -> Condition {
    Condition::Absent(path.to_vec())
}

fn unchanged(path: &[u8], revision: Revision) -> Condition {
    Condition::Unchanged(path.to_vec(), revision)
}

/// Commits without conditions.
async fn write(store: &dyn Store, changes: Vec<Change>) -> Revision {
    store.commit(vec![], changes).await.expect("a commit without conditions")
}

/// The value at a path.
async fn value(store: &dyn Store, path: &[u8]) -> Option<Vec<u8>> {
    store.get(path).await.expect("a read").map(|entry| entry.value)
}

/// All paths of the store.
async fn paths(store: &dyn Store) -> Vec<Vec<u8>> {
    let page = store.scan(b"", &[0xff; 16], usize::MAX).await.expect("a scan");
    page.entries.into_iter().map(|entry| entry.path).collect()
}

async fn conflicts(store: &dyn Store, conditions: Vec<Condition>, changes: Vec<Change>) {
    assert_eq!(store.commit(conditions, changes).await, Err(StoreError::Conflict));
}
