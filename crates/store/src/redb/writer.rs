//! The one thread that writes: it checks concurrent commits one after the other and syncs them together.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::redb::{Database, StorageError};
use tokio::sync::oneshot;

use super::tables;
use crate::history::History;
use crate::{Change, Condition, Revision, StoreError};

/// Commits that share a sync, at most.
const BATCH_COMMITS_MAX: usize = 1024;
/// Changes that share a sync, at most. A commit is taken whole, so a batch may go over by one commit.
const BATCH_CHANGES_MAX: usize = 2048;
/// Bytes that share a sync, at most. A commit is taken whole, so a batch may go over by one commit.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Commits that make a batch large enough to carry the allocator's state with it, at the cost of a second sync.
/// After a kill right behind such a batch the store opens at once; behind a smaller one it reads the whole file first.
const BATCH_SETTLES_FROM: usize = 16;
/// Idle time after which the allocator's state is written behind a smaller batch.
pub(super) const SETTLE_AFTER: Duration = Duration::from_millis(20);
/// Bytes a change can cost on the disk besides its own: a copied path of pages in three trees.
const CHANGE_PAGES_BYTES: u64 = 16 * 1024;
/// Free bytes that stay free behind every batch: for the store's own pages, and because others write to the disk too.
const ROOM_KEPT: u64 = 16 * 1024 * 1024;

/// Free bytes without which a batch is not begun: what it can cost, twice, and what stays free.
pub(super) fn room_for(changes: usize, bytes: usize) -> u64 {
    ROOM_KEPT + 2 * (changes as u64 * CHANGE_PAGES_BYTES + 2 * bytes as u64)
}

/// How many bytes the file could still take.
pub(super) type Room = Box<dyn Fn() -> std::io::Result<u64> + Send>;

/// A commit on its way to the disk.
pub(super) struct Request {
    pub(super) conditions: Vec<Condition>,
    pub(super) changes: Vec<Change>,
    pub(super) reply: oneshot::Sender<Result<Revision, StoreError>>,
}

impl Request {
    fn bytes(&self) -> usize {
        self.changes.iter().map(Change::bytes).sum()
    }

    fn answer(self, outcome: Result<Revision, StoreError>) {
        // Nobody waits any more: the commit took place, or did not, all the same.
        let _ = self.reply.send(outcome);
    }
}

/// Set once, by the first failure: nothing is accepted or told after it.
#[derive(Clone, Default)]
pub(super) struct Failure(Arc<OnceLock<()>>);

impl Failure {
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.0.get().is_some() { Err(StoreError::Failed) } else { Ok(()) }
    }

    fn set(&self) {
        let _ = self.0.set(());
    }
}

pub(super) struct Writer {
    pub(super) database: Arc<Database>,
    pub(super) history: Arc<History>,
    pub(super) failure: Failure,
    pub(super) latest: Revision,
    pub(super) room: Room,
    /// Whether the allocator's state is on the disk, so that a start after a kill need not read the whole file.
    pub(super) settled: bool,
}

/// What the batch decided on one commit.
enum Decision {
    Accepted(Revision, Vec<Change>),
    Refused,
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A panic in the middle of a batch leaves its outcome open, like a failed write.
        if std::thread::panicking() {
            self.failure.set();
            self.history.end(StoreError::Failed);
        }
    }
}

impl Writer {
    /// Serves commits until nobody can send any more, and all that were sent are answered.
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        while let Some(first) = self.next(requests) {
            let (mut changes, mut bytes) = (first.changes.len(), first.bytes());
            let mut batch = vec![first];
            while batch.len() < BATCH_COMMITS_MAX && changes < BATCH_CHANGES_MAX && bytes < BATCH_BYTES_MAX {
                let Ok(next) = requests.try_recv() else { break };
                changes += next.changes.len();
                bytes += next.bytes();
                batch.push(next);
            }
            self.serve(batch, room_for(changes, bytes));
        }
    }

    /// Waits for a commit; settles when none comes for a while.
    fn next(&mut self, requests: &Receiver<Request>) -> Option<Request> {
        if !self.settled {
            match requests.recv_timeout(SETTLE_AFTER) {
                Ok(first) => return Some(first),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.settle(),
            }
        }
        requests.recv().ok()
    }

    /// Writes the allocator's state, unless there is no room for it.
    fn settle(&mut self) {
        self.settled = true;
        if self.ready(room_for(0, 0)).is_err() {
            return;
        }
        let written = self.database.begin_write().map_err(::redb::Error::from).and_then(|mut writing| {
            writing.set_quick_repair(true);
            Ok(writing.commit()?)
        });
        if let Err(error) = written {
            self.fail(&error);
        }
    }

    fn serve(&mut self, mut batch: Vec<Request>, needed: u64) {
        if let Err(error) = self.ready(needed) {
            batch.into_iter().for_each(|request| request.answer(Err(error)));
            return;
        }
        match self.write(&mut batch) {
            Ok(decisions) => {
                for (request, decision) in batch.into_iter().zip(decisions) {
                    match decision {
                        Decision::Accepted(revision, effective) => {
                            self.history.publish(revision, effective);
                            request.answer(Ok(revision));
                        }
                        Decision::Refused => request.answer(Err(StoreError::Conflict)),
                    }
                }
            }
            Err(error) => {
                self.fail(&error);
                batch.into_iter().for_each(|request| request.answer(Err(StoreError::Failed)));
            }
        }
    }

    fn fail(&self, error: &dyn std::error::Error) {
        tracing::error!(%error, "writing the store failed: it accepts nothing more until a restart");
        self.failure.set();
        self.history.end(StoreError::Failed);
    }

    /// Whether anything may be written now. A write that runs out of room half-way would be a failed one.
    fn ready(&self, needed: u64) -> Result<(), StoreError> {
        self.failure.check()?;
        match (self.room)() {
            Ok(room) if room < needed => Err(StoreError::Full),
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "the free room of the store's disk cannot be read");
                Ok(())
            }
        }
    }

    /// Writes what can be accepted of the batch and makes it durable. After an error the outcome is open.
    fn write(&mut self, batch: &mut [Request]) -> Result<Vec<Decision>, ::redb::Error> {
        let mut writing = self.database.begin_write()?;
        let settles = batch.len() >= BATCH_SETTLES_FROM;
        writing.set_quick_repair(settles);
        let mut decisions = Vec::with_capacity(batch.len());
        let mut latest = self.latest;
        let mut records = writing.open_table(tables::RECORDS)?;
        for request in batch {
            if tables::hold(&records, &request.conditions)? {
                latest = after(latest)?;
                let changes = std::mem::take(&mut request.changes);
                decisions.push(Decision::Accepted(latest, tables::apply(&mut records, changes, latest)?));
            } else {
                decisions.push(Decision::Refused);
            }
        }
        drop(records);
        if latest == self.latest {
            writing.abort()?;
        } else {
            tables::note_revision(&writing, latest)?;
            writing.commit()?;
            self.latest = latest;
            self.settled = settles;
        }
        Ok(decisions)
    }
}

fn after(revision: Revision) -> Result<Revision, StorageError> {
    let used_up = || StorageError::Corrupted("the revisions are used up".to_owned());
    revision.0.checked_add(1).map(Revision).ok_or_else(used_up)
}
