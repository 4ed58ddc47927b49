//! The store in memory: for tests, and for development without a data folder.
//!
//! Each path keeps its versions as long as a snapshot can see them; a snapshot costs nothing to take.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::history::History;
use crate::{Change, Condition, Entry, Page, Pending, Revision, Snapshot, Store, StoreError, Watch, limits};

/// What a path held from one commit on; `None` after a deletion.
struct Version {
    revision: Revision,
    value: Option<Arc<[u8]>>,
}

#[derive(Default)]
struct State {
    latest: Revision,
    /// The versions of a path, oldest first; never empty.
    paths: BTreeMap<Vec<u8>, Vec<Version>>,
    /// How many living snapshots show a revision.
    snapshots: BTreeMap<Revision, usize>,
    /// Paths that keep a version only for the snapshots before this revision.
    superseded: BTreeMap<Revision, Vec<Vec<u8>>>,
}

/// A store that is gone with its process.
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    state: RwLock<State>,
    history: Arc<History>,
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn get(&self, path: &[u8], at: Revision) -> Option<Entry> {
        let (path, versions) = self.paths.get_key_value(path)?;
        entry(path, versions, at)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize, at: Revision) -> Page {
        let mut page = Page::default();
        if from >= to {
            return page;
        }
        let range = self.paths.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        for found in range.filter_map(|(path, versions)| entry(path, versions, at)) {
            if page.entries.len() == limit {
                page.more = true;
                break;
            }
            page.entries.push(found);
        }
        page
    }

    fn holds(&self, condition: &Condition) -> bool {
        let found = self.get(condition.path(), self.latest);
        match condition {
            Condition::Absent(_) => found.is_none(),
            Condition::Unchanged(_, revision) => found.is_some_and(|found| found.revision == *revision),
        }
    }

    /// Applies a commit whose conditions hold; returns its revision and the changes that had an effect.
    fn apply(&mut self, changes: Vec<Change>) -> (Revision, Vec<Change>) {
        let revision = Revision(self.latest.0 + 1);
        self.latest = revision;
        let mut effective = Vec::with_capacity(changes.len());
        for change in changes {
            match &change {
                Change::Put(path, value) => self.supersede(path, revision, Some(Arc::from(value.as_slice()))),
                Change::Delete(path) => {
                    if self.get(path, revision).is_none() {
                        continue;
                    }
                    self.supersede(path, revision, None);
                }
            }
            effective.push(change);
        }
        (revision, effective)
    }

    fn supersede(&mut self, path: &[u8], revision: Revision, value: Option<Arc<[u8]>>) {
        let first = value.is_some() && !self.paths.contains_key(path);
        self.paths.entry(path.to_vec()).or_default().push(Version { revision, value });
        if first {
            return;
        }
        let oldest = self.snapshots.keys().next().copied().unwrap_or(revision);
        self.prune(path, oldest);
        if oldest < revision {
            self.superseded.entry(revision).or_default().push(path.to_vec());
        }
    }

    /// Drops the versions of a path that no snapshot from `oldest` on can see.
    fn prune(&mut self, path: &[u8], oldest: Revision) {
        let Some(versions) = self.paths.get_mut(path) else { return };
        let visible = versions.partition_point(|version| version.revision <= oldest);
        versions.drain(..visible.saturating_sub(1));
        let deleted = versions.first().is_some_and(|first| first.value.is_none() && first.revision <= oldest);
        if deleted {
            versions.remove(0);
        }
        if versions.is_empty() {
            self.paths.remove(path);
        }
    }

    /// Forgets a snapshot, and what only it could see.
    fn release(&mut self, at: Revision) {
        let Some(count) = self.snapshots.get_mut(&at) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.snapshots.remove(&at);
        let oldest = self.snapshots.keys().next().copied().unwrap_or(self.latest);
        while let Some(first) = self.superseded.first_entry().filter(|first| *first.key() <= oldest) {
            for path in first.remove() {
                self.prune(&path, oldest);
            }
        }
    }
}

fn entry(path: &[u8], versions: &[Version], at: Revision) -> Option<Entry> {
    let version = versions.iter().rev().find(|version| version.revision <= at)?;
    let value = version.value.as_ref()?;
    Some(Entry { path: path.to_vec(), value: value.to_vec(), revision: version.revision })
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        let history = History::new(Revision::default());
        Self { shared: Arc::new(Shared { state: RwLock::default(), history }) }
    }

    fn commit_now(&self, conditions: &[Condition], changes: Vec<Change>) -> Result<Revision, StoreError> {
        limits::check(conditions, &changes)?;
        let mut state = self.shared.write();
        if !conditions.iter().all(|condition| state.holds(condition)) {
            return Err(StoreError::Conflict);
        }
        let (revision, effective) = state.apply(changes);
        // Under the lock: watchers get commits in order, and before a reader can see a later one.
        self.shared.history.publish(revision, effective);
        Ok(revision)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.shared.history.end(StoreError::Closed);
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, path: &'a [u8]) -> Pending<'a, Option<Entry>> {
        Box::pin(async move {
            let state = self.shared.read();
            Ok(state.get(path, state.latest))
        })
    }

    fn scan<'a>(&'a self, from: &'a [u8], to: &'a [u8], limit: usize) -> Pending<'a, Page> {
        Box::pin(async move {
            let state = self.shared.read();
            Ok(state.scan(from, to, limit, state.latest))
        })
    }

    fn snapshot(&self) -> Pending<'_, Box<dyn Snapshot>> {
        Box::pin(async move {
            let mut state = self.shared.write();
            let at = state.latest;
            *state.snapshots.entry(at).or_default() += 1;
            drop(state);
            let snapshot: Box<dyn Snapshot> = Box::new(MemorySnapshot { shared: Arc::clone(&self.shared), at });
            Ok(snapshot)
        })
    }

    fn commit(&self, conditions: Vec<Condition>, changes: Vec<Change>) -> Pending<'_, Revision> {
        Box::pin(std::future::ready(self.commit_now(&conditions, changes)))
    }

    fn watch(&self, prefix: &[u8], since: Revision) -> Pending<'_, Box<dyn Watch>> {
        Box::pin(std::future::ready(self.shared.history.watch(prefix, since)))
    }
}

/// The state at one revision.
struct MemorySnapshot {
    shared: Arc<Shared>,
    at: Revision,
}

impl Drop for MemorySnapshot {
    fn drop(&mut self) {
        self.shared.write().release(self.at);
    }
}

impl Snapshot for MemorySnapshot {
    fn revision(&self) -> Revision {
        self.at
    }

    fn get<'a>(&'a self, path: &'a [u8]) -> Pending<'a, Option<Entry>> {
        Box::pin(async move { Ok(self.shared.read().get(path, self.at)) })
    }

    fn scan<'a>(&'a self, from: &'a [u8], to: &'a [u8], limit: usize) -> Pending<'a, Page> {
        Box::pin(async move { Ok(self.shared.read().scan(from, to, limit, self.at)) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn put(path: &[u8], value: &[u8]) -> Vec<Change> {
        vec![Change::Put(path.to_vec(), value.to_vec())]
    }

    #[tokio::test]
    async fn versions_live_as_long_as_a_snapshot_sees_them() {
        let store = MemoryStore::new();
        store.commit(vec![], put(b"a", b"1")).await.unwrap();
        let first = store.snapshot().await.unwrap();
        store.commit(vec![], put(b"a", b"2")).await.unwrap();
        let second = store.snapshot().await.unwrap();
        store.commit(vec![], vec![Change::Delete(b"a".to_vec())]).await.unwrap();
        assert_eq!(store.shared.read().paths.get(b"a".as_slice()).unwrap().len(), 3);
        drop(first);
        assert_eq!(second.get(b"a").await.unwrap().unwrap().value, b"2");
        drop(second);
        let state = store.shared.read();
        assert!(state.paths.is_empty() && state.superseded.is_empty() && state.snapshots.is_empty());
    }

    #[tokio::test]
    async fn overwriting_without_snapshots_keeps_one_version() {
        let store = MemoryStore::new();
        for value in 0..100_u8 {
            store.commit(vec![], put(b"a", &[value])).await.unwrap();
        }
        assert_eq!(store.shared.read().paths.get(b"a".as_slice()).unwrap().len(), 1);
        assert!(store.shared.read().superseded.is_empty());
    }
}
