//! The latest commits of a store that lives in this process, for its watchers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::{Change, Pending, Revision, StoreError, Watch};

/// Commits held for watchers that are behind, at most.
pub(crate) const HISTORY_COMMITS_MAX: usize = 4096;
/// Bytes of paths and values held for watchers that are behind, at most.
pub(crate) const HISTORY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One commit as watchers see it: no-op deletions left out.
struct Commit {
    revision: Revision,
    changes: Vec<Change>,
    bytes: usize,
}

struct Ring {
    /// In order of their revisions.
    commits: VecDeque<Arc<Commit>>,
    bytes: usize,
    /// Every commit after this one is held.
    complete_after: Revision,
}

/// How far the store has come, and why it goes no further.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Progress {
    latest: Revision,
    end: Option<StoreError>,
}

/// The latest commits, bounded in number and bytes.
pub(crate) struct History {
    ring: Mutex<Ring>,
    progress: watch::Sender<Progress>,
}

impl History {
    /// Starts after a revision.
    pub(crate) fn new(latest: Revision) -> Arc<Self> {
        Arc::new(Self {
            ring: Mutex::new(Ring { commits: VecDeque::new(), bytes: 0, complete_after: latest }),
            progress: watch::Sender::new(Progress { latest, end: None }),
        })
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells watchers of a commit. Called in order of revisions, before the commit is acknowledged.
    pub(crate) fn publish(&self, revision: Revision, changes: Vec<Change>) {
        let bytes = changes.iter().map(Change::bytes).sum();
        let mut ring = self.ring();
        if !changes.is_empty() {
            ring.bytes += bytes;
            ring.commits.push_back(Arc::new(Commit { revision, changes, bytes }));
        }
        while ring.commits.len() > HISTORY_COMMITS_MAX || ring.bytes > HISTORY_BYTES_MAX {
            let Some(oldest) = ring.commits.pop_front() else { break };
            ring.bytes -= oldest.bytes;
            ring.complete_after = oldest.revision;
        }
        drop(ring);
        self.progress.send_modify(|progress| progress.latest = revision);
    }

    /// Goes on after a gap: changes up to `latest` are not known, and every watcher that has not seen them is told so.
    #[cfg(feature = "etcd")]
    pub(crate) fn reset(&self, latest: Revision) {
        let mut ring = self.ring();
        ring.commits.clear();
        ring.bytes = 0;
        ring.complete_after = latest;
        drop(ring);
        self.progress.send_modify(|progress| progress.latest = latest);
    }

    /// Waits until everything up to `revision` was told, or never will be.
    #[cfg(feature = "etcd")]
    pub(crate) async fn reached(&self, revision: Revision) {
        let mut progress = self.progress.subscribe();
        // The sender lives as long as the history.
        let _told = progress.wait_for(|progress| progress.latest >= revision || progress.end.is_some()).await;
    }

    /// How far the store has come, as far as it was told.
    #[cfg(feature = "etcd")]
    pub(crate) fn latest(&self) -> Revision {
        self.progress.borrow().latest
    }

    /// Ends every watch, once its watcher has seen all that was committed. The first reason stays.
    pub(crate) fn end(&self, reason: StoreError) {
        self.progress.send_modify(|progress| progress.end = progress.end.or(Some(reason)));
    }

    /// Watches a prefix from a revision on.
    pub(crate) fn watch(self: &Arc<Self>, prefix: &[u8], since: Revision) -> Result<Box<dyn Watch>, StoreError> {
        if since < self.ring().complete_after {
            return Err(StoreError::Unknown);
        }
        Ok(Box::new(Watcher {
            history: Arc::clone(self),
            progress: self.progress.subscribe(),
            prefix: prefix.to_vec(),
            seen: since,
        }))
    }

    /// The first commit after `seen` that touches the prefix, or how far it looked in vain.
    fn after(&self, seen: Revision, prefix: &[u8]) -> Result<Found, StoreError> {
        let ring = self.ring();
        if seen < ring.complete_after {
            return Err(StoreError::Unknown);
        }
        let start = ring.commits.partition_point(|commit| commit.revision <= seen);
        for commit in ring.commits.range(start..) {
            let touched: Vec<Change> =
                commit.changes.iter().filter(|change| change.path().starts_with(prefix)).cloned().collect();
            if !touched.is_empty() {
                return Ok(Found::Commit(commit.revision, touched));
            }
        }
        Ok(Found::NothingUpTo(ring.commits.back().map_or(seen, |last| last.revision.max(seen))))
    }
}

enum Found {
    Commit(Revision, Vec<Change>),
    NothingUpTo(Revision),
}

struct Watcher {
    history: Arc<History>,
    progress: watch::Receiver<Progress>,
    prefix: Vec<u8>,
    /// Every commit up to this one was told.
    seen: Revision,
}

impl Watcher {
    /// The next commit; `None` once everything up to `limit` was told.
    async fn step(&mut self, limit: Option<Revision>) -> Result<Option<(Revision, Vec<Change>)>, StoreError> {
        loop {
            // Taken before looking: a commit that comes after the look wakes the wait below.
            let Progress { latest, end } = *self.progress.borrow_and_update();
            match self.history.after(self.seen, &self.prefix)? {
                Found::Commit(revision, _) if limit.is_some_and(|limit| revision > limit) => return Ok(None),
                Found::Commit(revision, changes) => {
                    self.seen = revision;
                    return Ok(Some((revision, changes)));
                }
                Found::NothingUpTo(revision) => self.seen = revision,
            }
            if let Some(reason) = end {
                return Err(reason);
            }
            if limit.is_some_and(|limit| latest >= limit) {
                return Ok(None);
            }
            if self.progress.changed().await.is_err() {
                return Err(StoreError::Closed);
            }
        }
    }
}

impl Watch for Watcher {
    fn next(&mut self) -> Pending<'_, (Revision, Vec<Change>)> {
        Box::pin(async move {
            // Without a limit there is always a commit or an error.
            self.step(None).await?.ok_or(StoreError::Closed)
        })
    }

    fn next_up_to(&mut self, limit: Revision) -> Pending<'_, Option<(Revision, Vec<Change>)>> {
        Box::pin(self.step(Some(limit)))
    }
}
