//! Random operations on a back end and on a map have the same outcomes.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use strongroom_store::redb::Options;
use strongroom_store::{
    CHANGES_MAX, Change, Condition, Entry, MemoryStore, Page, RedbStore, Revision, Snapshot, Store, StoreError,
};

#[derive(Clone, Debug)]
enum Expectation {
    Absent(Vec<u8>),
    /// Expects the revision that the record has.
    Present(Vec<u8>),
    Wrong(Vec<u8>, u64),
}

#[derive(Clone, Debug)]
enum Operation {
    Commit(Vec<Expectation>, Vec<Change>),
    Get(Vec<u8>),
    Scan(Vec<u8>, Vec<u8>, usize),
    TakeSnapshot,
    ReadSnapshot(usize, Vec<u8>, Vec<u8>, usize),
    DropSnapshot(usize),
    Reopen,
}

/// Few and short, so that operations meet.
fn path() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0_u8), Just(b'a'), Just(b'b'), Just(0xff)], 0..4)
}

fn change() -> impl Strategy<Value = Change> {
    let value = prop_oneof![8 => vec(any::<u8>(), 0..8), 1 => vec(any::<u8>(), 4090..4100)];
    prop_oneof![
        3 => (path(), value).prop_map(|(path, value)| Change::Put(path, value)),
        1 => path().prop_map(Change::Delete),
    ]
}

fn expectation() -> impl Strategy<Value = Expectation> {
    prop_oneof![
        3 => path().prop_map(Expectation::Absent),
        6 => path().prop_map(Expectation::Present),
        1 => (path(), 0..40_u64).prop_map(|(path, revision)| Expectation::Wrong(path, revision)),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (vec(expectation(), 0..2), vec(change(), 0..5)).prop_map(|(all, changes)| Operation::Commit(all, changes)),
        1 => vec(change(), CHANGES_MAX..CHANGES_MAX + 3).prop_map(|changes| Operation::Commit(vec![], changes)),
        2 => path().prop_map(Operation::Get),
        4 => (path(), path(), 0..6_usize).prop_map(|(from, to, limit)| Operation::Scan(from, to, limit)),
        2 => Just(Operation::TakeSnapshot),
        4 => (0..4_usize, path(), path(), 0..6_usize)
            .prop_map(|(which, from, to, limit)| Operation::ReadSnapshot(which, from, to, limit)),
        1 => (0..4_usize).prop_map(Operation::DropSnapshot),
        1 => Just(Operation::Reopen),
    ]
}

#[derive(Clone, Default)]
struct Model {
    latest: Revision,
    records: BTreeMap<Vec<u8>, (Vec<u8>, Revision)>,
}

impl Model {
    fn get(&self, path: &[u8]) -> Option<Entry> {
        let (value, revision) = self.records.get(path)?;
        Some(Entry { path: path.to_vec(), value: value.clone(), revision: *revision })
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Page {
        let within = |path: &&Vec<u8>| path.as_slice() >= from && path.as_slice() < to;
        let mut entries: Vec<_> = self.records.keys().filter(within).filter_map(|path| self.get(path)).collect();
        let more = entries.len() > limit;
        entries.truncate(limit);
        Page { entries, more }
    }

    fn condition(&self, expectation: Expectation) -> Condition {
        match expectation {
            Expectation::Absent(path) => Condition::Absent(path),
            Expectation::Present(path) => {
                let revision = self.records.get(&path).map_or(Revision(0), |(_, revision)| *revision);
                Condition::Unchanged(path, revision)
            }
            Expectation::Wrong(path, revision) => Condition::Unchanged(path, Revision(revision)),
        }
    }

    fn commit(&mut self, conditions: &[Condition], changes: &[Change]) -> Result<Revision, StoreError> {
        let mut paths: Vec<&[u8]> = changes.iter().map(Change::path).collect();
        paths.sort_unstable();
        if changes.len() > CHANGES_MAX || paths.windows(2).any(|two| two[0] == two[1]) {
            return Err(StoreError::TooLarge);
        }
        let holds = |condition: &Condition| match condition {
            Condition::Absent(path) => !self.records.contains_key(path),
            Condition::Unchanged(path, revision) => self.records.get(path).is_some_and(|(_, found)| found == revision),
        };
        if !conditions.iter().all(holds) {
            return Err(StoreError::Conflict);
        }
        self.latest = Revision(self.latest.0 + 1);
        for change in changes.iter().cloned() {
            match change {
                Change::Put(path, value) => self.records.insert(path, (value, self.latest)),
                Change::Delete(path) => self.records.remove(&path),
            };
        }
        Ok(self.latest)
    }
}

/// Runs the operations on both. `reopen` closes a store and opens it anew, where that makes sense.
fn compare(
    mut store: Arc<dyn Store>,
    operations: Vec<Operation>,
    reopen: impl Fn(Arc<dyn Store>) -> Arc<dyn Store>,
) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    let mut snapshots: Vec<(Box<dyn Snapshot>, Model)> = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for operation in operations {
        match operation {
            Operation::Commit(expectations, changes) => {
                let conditions: Vec<_> = expectations.into_iter().map(|one| model.condition(one)).collect();
                let expected = model.commit(&conditions, &changes);
                prop_assert_eq!(runtime.block_on(store.commit(conditions, changes)), expected);
            }
            Operation::Get(path) => prop_assert_eq!(runtime.block_on(store.get(&path)), Ok(model.get(&path))),
            Operation::Scan(from, to, limit) => {
                let page = runtime.block_on(store.scan(&from, &to, limit));
                prop_assert_eq!(page, Ok(model.scan(&from, &to, limit)));
            }
            Operation::TakeSnapshot => {
                let snapshot = runtime.block_on(store.snapshot()).unwrap();
                prop_assert_eq!(snapshot.revision(), model.latest);
                snapshots.push((snapshot, model.clone()));
            }
            Operation::ReadSnapshot(which, from, to, limit) => {
                let Some((snapshot, then)) = snapshots.get(which) else { continue };
                prop_assert_eq!(runtime.block_on(snapshot.get(&from)), Ok(then.get(&from)));
                let page = runtime.block_on(snapshot.scan(&from, &to, limit));
                prop_assert_eq!(page, Ok(then.scan(&from, &to, limit)));
            }
            Operation::DropSnapshot(which) => {
                if which < snapshots.len() {
                    drop(snapshots.swap_remove(which));
                }
            }
            Operation::Reopen => {
                snapshots.clear();
                store = reopen(store);
            }
        }
    }
    let all = runtime.block_on(store.scan(b"", &[0xff; 9], usize::MAX));
    prop_assert_eq!(all, Ok(model.scan(b"", &[0xff; 9], usize::MAX)));
    Ok(())
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(300))]
    #[test]
    fn memory_is_like_a_map(operations in vec(operation(), 1..80)) {
        compare(Arc::new(MemoryStore::new()), operations, |store| store)?;
    }
}

proptest! {
    #![proptest_config(cases(40))]
    #[test]
    fn redb_is_like_a_map(operations in vec(operation(), 1..60)) {
        let outer = tempfile::tempdir().unwrap();
        let open = || -> Arc<dyn Store> {
            Arc::new(RedbStore::open(&outer.path().join("data"), Options::default()).unwrap())
        };
        compare(open(), operations, |store| {
            drop(store);
            open()
        })?;
    }
}
