#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod disk;
mod faults;
mod full;
mod settling;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::redb::StorageBackend;

use super::{OpenError, RedbStore, open};
use disk::Disk;

/// Small enough that pages are read from the disk again.
const CACHE_BYTES: usize = 64 * 1024;

/// Opens a store over a disk of the test, with as much room as the number says.
fn open_over(disk: Disk, room: &Arc<AtomicU64>) -> Result<RedbStore, OpenError> {
    let opened = open::database(Path::new("test"), disk, CACHE_BYTES)?;
    let room = Arc::clone(room);
    Ok(RedbStore::start(opened, Box::new(move || Ok(room.load(Ordering::Relaxed)))).unwrap())
}

/// Makes a new disk a store, as it happens before the store's file gets its name.
fn lay_out(disk: &Disk) -> Result<(), OpenError> {
    let path = Path::new("test");
    open::close(path, open::database(path, disk.clone(), CACHE_BYTES)?.database)?;
    disk.sync_data().map_err(|source| OpenError::Io { path: path.to_path_buf(), source })
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
