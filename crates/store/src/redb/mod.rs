//! The embedded store: one redb file in a folder of its own.
//!
//! Reads happen on the caller's thread and take microseconds while the pages are cached; commits go to one writer
//! thread, so no caller waits for the disk but by awaiting.

mod folder;
mod open;
mod tables;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Instant;

use ::redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, StorageError};
use tokio::sync::oneshot;

pub use folder::FILE_NAME;
use folder::Folder;
pub use open::OpenError;
use open::Opened;
use writer::{Failure, Request, Room, Writer};

use crate::history::History;
use crate::{Change, Condition, Entry, Page, Pending, Revision, Snapshot, Store, StoreError, Watch, limits};

/// Memory for cached pages, unless the options say otherwise.
pub const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// How the store is to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Memory for cached pages, in bytes.
    pub cache_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache_bytes: CACHE_BYTES }
    }
}

/// A store in a folder that only its owner can reach. Dropping it ends every commit begun and closes the file.
pub struct RedbStore {
    /// Given up only by [`Drop`].
    database: Option<Arc<Database>>,
    requests: Option<Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    history: Arc<History>,
    failure: Failure,
    closed: Arc<OnceLock<()>>,
}

fn open_database(folder: &Path, options: Options) -> Result<(Folder, PathBuf, Opened), OpenError> {
    let folder = Folder::open(folder)?;
    let path = folder.file_path();
    let database = |file| open::database(&path, open::file_backend(&path, file)?, options.cache_bytes);
    let file = folder.file(|draft| open::close(&path, database(draft)?.database))?;
    let opened = database(file)?;
    Ok((folder, path, opened))
}

impl RedbStore {
    /// Opens the store in a folder, or makes both.
    ///
    /// The folder must have mode 0700 and belong to the user of this process; nobody else may have the store open.
    pub fn open(folder: &Path, options: Options) -> Result<Self, OpenError> {
        let begun = Instant::now();
        let (folder, path, opened) = open_database(folder, options)?;
        if opened.repaired {
            tracing::warn!(path = %path.display(), elapsed = ?begun.elapsed(), "the store is sound");
        }
        let room = move || {
            let found = rustix::fs::fstatvfs(&folder.handle)?;
            Ok(found.f_bavail.saturating_mul(found.f_frsize))
        };
        Self::start(opened, Box::new(room)).map_err(|source| OpenError::Io { path, source })
    }

    /// Makes the file in a folder as small as its records allow; nobody may have the store open.
    ///
    /// Returns how many bytes it gave back. Takes as long as copying the file a few times.
    pub fn compact(folder: &Path, options: Options) -> Result<u64, OpenError> {
        let (_folder, path, Opened { mut database, .. }) = open_database(folder, options)?;
        let length = || std::fs::metadata(&path).map(|found| found.len());
        let io = |source| OpenError::Io { path: path.clone(), source };
        let before = length().map_err(io)?;
        database.compact().map_err(|error| OpenError::of(&path, error))?;
        open::close(&path, database)?;
        Ok(before.saturating_sub(length().map_err(io)?))
    }

    fn start(opened: Opened, room: Room) -> std::io::Result<Self> {
        let Opened { database, latest, repaired } = opened;
        let database = Arc::new(database);
        let history = History::new(latest);
        let failure = Failure::default();
        let (sender, receiver) = channel();
        let writer = Writer {
            database: Arc::clone(&database),
            history: Arc::clone(&history),
            failure: failure.clone(),
            latest,
            room,
            // A clean close leaves the allocator's state.
            settled: !repaired,
        };
        let writer =
            std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || writer.run(&receiver))?;
        Ok(Self {
            database: Some(database),
            requests: Some(sender),
            writer: Some(writer),
            history,
            failure,
            closed: Arc::default(),
        })
    }

    /// The records in their last durable state.
    fn records(&self) -> Result<(ReadTransaction, Records), StoreError> {
        self.failure.check()?;
        let database = self.database.as_ref().ok_or(StoreError::Closed)?;
        let begun = database.begin_read().map_err(::redb::Error::from);
        begun
            .and_then(|reading| Ok((reading.open_table(tables::RECORDS)?, reading)))
            .map(|(records, reading)| (reading, records))
            .map_err(|error| unreadable(&error))
    }

    fn view(&self) -> Result<RedbSnapshot, StoreError> {
        let (reading, records) = self.records()?;
        let revision = tables::revision(&reading).map_err(|error| unreadable(&error))?;
        let (failure, closed) = (self.failure.clone(), Arc::clone(&self.closed));
        Ok(RedbSnapshot { records, revision, _reading: reading, failure, closed })
    }

    fn submit(&self, conditions: Vec<Condition>, changes: Vec<Change>) -> Result<Answer, StoreError> {
        limits::check(&conditions, &changes)?;
        self.failure.check()?;
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or(StoreError::Closed)?;
        requests.send(Request { conditions, changes, reply }).map_err(|_| StoreError::Failed)?;
        Ok(answer)
    }
}

type Records = ReadOnlyTable<&'static [u8], &'static [u8]>;
type Answer = oneshot::Receiver<Result<Revision, StoreError>>;

fn unreadable(error: &::redb::Error) -> StoreError {
    tracing::error!(%error, "reading the store failed");
    StoreError::Failed
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        // The writer answers what was sent and ends.
        drop(self.requests.take());
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the store's writer died");
        }
        self.history.end(StoreError::Closed);
        let _ = self.closed.set(());
        let Some(database) = self.database.take().and_then(Arc::into_inner) else { return };
        if let Err(error) = database.close()
            && self.failure.check().is_ok()
        {
            tracing::error!(%error, "closing the store failed: the next start checks all of it");
        }
    }
}

impl Store for RedbStore {
    fn get<'a>(&'a self, path: &'a [u8]) -> Pending<'a, Option<Entry>> {
        Box::pin(async move {
            let (_reading, records) = self.records()?;
            tables::guarded(|| tables::get(&records, path)).map_err(|error| unreadable(&error.into()))
        })
    }

    fn scan<'a>(&'a self, from: &'a [u8], to: &'a [u8], limit: usize) -> Pending<'a, Page> {
        Box::pin(async move {
            let (_reading, records) = self.records()?;
            tables::guarded(|| tables::scan(&records, from, to, limit)).map_err(|error| unreadable(&error.into()))
        })
    }

    fn snapshot(&self) -> Pending<'_, Box<dyn Snapshot>> {
        Box::pin(async move {
            let snapshot: Box<dyn Snapshot> = Box::new(self.view()?);
            Ok(snapshot)
        })
    }

    fn commit(&self, conditions: Vec<Condition>, changes: Vec<Change>) -> Pending<'_, Revision> {
        // Sent before the future is polled, so dropping it changes nothing.
        let sent = self.submit(conditions, changes);
        Box::pin(async move { sent?.await.unwrap_or(Err(StoreError::Failed)) })
    }

    fn watch(&self, prefix: &[u8], since: Revision) -> Pending<'_, Box<dyn Watch>> {
        let watch = self.failure.check().and_then(|()| self.history.watch(prefix, since));
        Box::pin(std::future::ready(watch))
    }
}

/// A read transaction: the state of one revision.
struct RedbSnapshot {
    records: Records,
    revision: Revision,
    /// Keeps the pages of that state.
    _reading: ReadTransaction,
    failure: Failure,
    closed: Arc<OnceLock<()>>,
}

impl RedbSnapshot {
    fn usable(&self) -> Result<(), StoreError> {
        self.failure.check()?;
        if self.closed.get().is_some() { Err(StoreError::Closed) } else { Ok(()) }
    }

    /// A read can meet the closing of the store half-way.
    fn told<T>(&self, read: Result<T, StorageError>) -> Result<T, StoreError> {
        read.map_err(|error| match self.usable() {
            Ok(()) => unreadable(&error.into()),
            Err(reason) => reason,
        })
    }

    fn get_now(&self, path: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.usable()?;
        self.told(tables::guarded(|| tables::get(&self.records, path)))
    }

    fn scan_now(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Page, StoreError> {
        self.usable()?;
        self.told(tables::guarded(|| tables::scan(&self.records, from, to, limit)))
    }
}

impl Snapshot for RedbSnapshot {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn get<'a>(&'a self, path: &'a [u8]) -> Pending<'a, Option<Entry>> {
        Box::pin(std::future::ready(self.get_now(path)))
    }

    fn scan<'a>(&'a self, from: &'a [u8], to: &'a [u8], limit: usize) -> Pending<'a, Page> {
        Box::pin(std::future::ready(self.scan_now(from, to, limit)))
    }
}
