//! Parsed records of keys, so that a use reads no store.
//!
//! A change takes the name out before it commits and keeps it out until its outcome stands; a reader keeps what it read
//! only when no change began or ended meanwhile. So nobody sees the old state after the new one was acknowledged, or after
//! somebody else saw the new one.

use super::{KeyBundle, Tags};
use crate::records::shapes::Head;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use strongroom_hsm::KeyBlob;
use strongroom_model::{KeyName, KeyVersion};

/// Names a version for ever: object id and version.
pub(crate) type VersionId = ([u8; 16], KeyVersion);

/// A version, ready for use.
#[derive(Debug)]
pub(crate) struct Version {
    /// What callers see.
    pub(crate) bundle: Arc<KeyBundle>,
    /// What the partition gets.
    pub(crate) blob: Arc<KeyBlob>,
}

/// Names that share one guard of the cache.
const SHARDS: usize = 64;

/// What an entry takes of the room: 1, and 1 more for each KiB of tags, the one part of a key that callers can make long.
#[derive(Clone)]
struct ByTags;

impl ByTags {
    fn weigh(tags: &Tags) -> u64 {
        let bytes: usize = tags.iter().map(|(name, value)| name.len() + value.len()).sum();
        1 + bytes as u64 / 1024
    }
}

impl Weighter<KeyName, Arc<Head>> for ByTags {
    fn weight(&self, _: &KeyName, head: &Arc<Head>) -> u64 {
        Self::weigh(&head.newest.tags)
    }
}

impl Weighter<VersionId, Arc<Version>> for ByTags {
    fn weight(&self, _: &VersionId, version: &Arc<Version>) -> u64 {
        Self::weigh(&version.bundle.tags)
    }
}

#[derive(Default)]
struct Shard {
    /// Changes that ended.
    ended: u64,
    /// Changes under way.
    under_way: usize,
}

/// See the module.
pub(crate) struct KeyCache {
    heads: Cache<KeyName, Arc<Head>, ByTags>,
    versions: Cache<VersionId, Arc<Version>, ByTags>,
    shards: Vec<Mutex<Shard>>,
}

/// The state of a name before it was read from the store.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    ended: u64,
}

/// A change under way; its end is the drop.
pub(crate) struct Changing<'a> {
    cache: &'a KeyCache,
    name: &'a KeyName,
    version: Option<VersionId>,
}

/// Which of `count` a name belongs to.
pub(crate) fn shard(name: &KeyName, count: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    usize::try_from(hasher.finish() % count as u64).unwrap_or(0)
}

impl KeyCache {
    /// Room for so many keys and so many versions of usual size.
    pub(crate) fn new(keys: usize) -> Self {
        Self {
            heads: Cache::with_weighter(keys, keys as u64, ByTags),
            versions: Cache::with_weighter(keys, keys as u64, ByTags),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    fn shard(&self, name: &KeyName) -> Option<MutexGuard<'_, Shard>> {
        let shard = self.shards.get(shard(name, SHARDS))?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn head(&self, name: &KeyName) -> Option<Arc<Head>> {
        self.heads.get(name)
    }

    pub(crate) fn version(&self, id: &VersionId) -> Option<Arc<Version>> {
        self.versions.get(id)
    }

    /// To be taken before the store is read; `None` while the name is changed, and then nothing is kept.
    pub(crate) fn ticket(&self, name: &KeyName) -> Option<Ticket> {
        let shard = self.shard(name)?;
        (shard.under_way == 0).then_some(Ticket { ended: shard.ended })
    }

    fn keep(&self, ticket: Option<Ticket>, name: &KeyName, insert: impl FnOnce()) {
        let (Some(ticket), Some(shard)) = (ticket, self.shard(name)) else { return };
        if shard.under_way == 0 && shard.ended == ticket.ended {
            insert();
        }
    }

    pub(crate) fn keep_head(&self, ticket: Option<Ticket>, head: &Arc<Head>) {
        self.keep(ticket, &head.name, || self.heads.insert(head.name.clone(), Arc::clone(head)));
    }

    pub(crate) fn keep_version(&self, ticket: Option<Ticket>, id: VersionId, version: &Arc<Version>) {
        self.keep(ticket, &version.bundle.name, || self.versions.insert(id, Arc::clone(version)));
    }

    /// Begins a change of a name, and of one of its versions.
    pub(crate) fn change<'a>(&'a self, name: &'a KeyName, version: Option<VersionId>) -> Changing<'a> {
        if let Some(mut shard) = self.shard(name) {
            shard.under_way += 1;
            self.forget(name, version.as_ref());
        }
        Changing { cache: self, name, version }
    }

    /// Takes in that another node has changed a name, and these versions with it.
    pub(crate) fn changed_elsewhere(&self, name: &KeyName, versions: &[VersionId]) {
        if let Some(mut shard) = self.shard(name) {
            shard.ended = shard.ended.wrapping_add(1);
            self.heads.remove(name);
            versions.iter().for_each(|id| drop(self.versions.remove(id)));
        }
    }

    /// Forgets everything, and what is being read.
    pub(crate) fn clear(&self) {
        let mut shards: Vec<_> =
            self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner)).collect();
        shards.iter_mut().for_each(|shard| shard.ended = shard.ended.wrapping_add(1));
        self.heads.clear();
        self.versions.clear();
    }

    fn forget(&self, name: &KeyName, version: Option<&VersionId>) {
        self.heads.remove(name);
        if let Some(id) = version {
            self.versions.remove(id);
        }
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        if let Some(mut shard) = self.cache.shard(self.name) {
            shard.under_way = shard.under_way.saturating_sub(1);
            shard.ended = shard.ended.wrapping_add(1);
            self.cache.forget(self.name, self.version.as_ref());
        }
    }
}
