//! Ordered transactional keys and values with snapshot and watch: memory, redb, etcd, and the suite every back end must pass.
//!
//! Paths are bytes in lexicographic order; values are opaque. Nothing here knows what is stored, or that it is sealed.
#![forbid(unsafe_code)]

pub mod conformance;
#[cfg(feature = "etcd")]
pub mod etcd;
mod history;
mod limits;
pub mod memory;
pub mod redb;

#[cfg(feature = "etcd")]
pub use etcd::EtcdStore;
pub use memory::MemoryStore;
pub use redb::RedbStore;

use std::future::Future;
use std::pin::Pin;

/// Changes of one commit, at most, in every back end.
pub const CHANGES_MAX: usize = 64;
/// Conditions of one commit, at most, in every back end.
pub const CONDITIONS_MAX: usize = 64;
/// Bytes of all paths and values of one commit, at most, in every back end.
pub const COMMIT_BYTES_MAX: usize = 512 * 1024;

/// A result that is on its way.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The number of a commit; a record carries that of the commit that last wrote it. Grows with every commit, never repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it lies.
    pub path: Vec<u8>,
    /// What it holds.
    pub value: Vec<u8>,
    /// The commit that last wrote it.
    pub revision: Revision,
}

/// What must hold for a commit to take place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing lies there.
    Absent(Vec<u8>),
    /// What lies there was last written by this commit.
    Unchanged(Vec<u8>, Revision),
}

/// One change of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes a record, whether one lies there or not.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a record; nothing happens where there is none.
    Delete(Vec<u8>),
}

/// Part of a range of records, in order of their paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The records.
    pub entries: Vec<Entry>,
    /// Whether the range holds more of them after the last one.
    pub more: bool,
}

/// Why the store did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A condition did not hold; nothing was changed.
    #[error("a condition of the commit does not hold")]
    Conflict,
    /// More than [`CHANGES_MAX`] changes, [`CONDITIONS_MAX`] conditions or [`COMMIT_BYTES_MAX`] bytes, or two changes of
    /// one path; nothing was changed.
    #[error("the commit is larger than a commit may be")]
    TooLarge,
    /// No room on the disk; nothing was changed.
    #[error("the disk is full")]
    Full,
    /// Reading or writing failed. After a failed write nothing more is accepted until the process starts anew.
    #[error("the store failed")]
    Failed,
    /// The outcome of a commit is not known (a time-out on the network): settle it by reading.
    #[error("the outcome is unknown")]
    Unknown,
    /// The store cannot be reached now; nothing was changed.
    #[error("the store cannot be reached")]
    Unreachable,
    /// The state that a snapshot shows is not held any more: take another snapshot.
    #[error("the snapshot is older than what the store still holds")]
    Compacted,
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
}

/// The state of the whole store at one revision; later commits do not show in it.
pub trait Snapshot: Send + Sync {
    /// The revision it shows.
    fn revision(&self) -> Revision;
    /// The record at a path.
    fn get<'a>(&'a self, path: &'a [u8]) -> Pending<'a, Option<Entry>>;
    /// At most `limit` records of `from..to`, in order.
    fn scan<'a>(&'a self, from: &'a [u8], to: &'a [u8], limit: usize) -> Pending<'a, Page>;
}

/// The changes of a prefix, in order of their revisions.
pub trait Watch: Send {
    /// Waits for the next commit that touched the prefix: its revision and its changes there that had an effect.
    ///
    /// [`StoreError::Unknown`] when the watcher fell so far behind that changes are no longer held: read the present
    /// state and watch from there.
    fn next(&mut self) -> Pending<'_, (Revision, Vec<Change>)>;
    /// Like [`Watch::next`], or `None` once every such commit up to `limit` was told.
    fn next_up_to(&mut self, limit: Revision) -> Pending<'_, Option<(Revision, Vec<Change>)>>;
}

/// An ordered transactional store.
pub trait Store: Send + Sync + 'static {
    /// The record at a path, with everything acknowledged so far.
    fn get<'a>(&'a self, path: &'a [u8]) -> Pending<'a, Option<Entry>>;
    /// At most `limit` records of `from..to`, in order.
    fn scan<'a>(&'a self, from: &'a [u8], to: &'a [u8], limit: usize) -> Pending<'a, Page>;
    /// The present state.
    fn snapshot(&self) -> Pending<'_, Box<dyn Snapshot>>;
    /// Makes all changes durable if all conditions hold, else none. The commit goes on when the future is dropped.
    fn commit(&self, conditions: Vec<Condition>, changes: Vec<Change>) -> Pending<'_, Revision>;
    /// Every change below `prefix` after `since`.
    ///
    /// [`StoreError::Unknown`] when not all of them are held any more (the embedded stores hold those of this process,
    /// up to a bound): read the present state and watch from the revision of that snapshot.
    fn watch(&self, prefix: &[u8], since: Revision) -> Pending<'_, Box<dyn Watch>>;
}
