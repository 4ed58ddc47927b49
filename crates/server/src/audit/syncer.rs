//! The thread beside the log: syncs once a second or when asked, keeps the reserve whole, begins new segments.

use crate::audit::segments;
use crate::audit::state::{AuditState, FailedReason};
use crate::audit::{SYNC_INTERVAL, Shared, Wish, lock};
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// The reserve is topped up in steps of this part of it.
const RESERVE_STEPS: u64 = 8;
/// Bytes at the end of the log that stay in the page cache, for those who follow it.
const CACHED_BEHIND: u64 = 16 << 20;
/// The smallest step, in bytes.
const STEP_MIN: u64 = 64 << 10;

pub(super) fn spawn(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("audit-sync".into()).spawn(move || run(&shared))
}

fn run(shared: &Shared) {
    let mut chores_done = Instant::now();
    loop {
        let wish = wait(shared, chores_done);
        if wish.close || chores_done.elapsed() >= SYNC_INTERVAL {
            shared.write_folded();
            shared.keep_reserve();
            shared.begin_next_segment();
            chores_done = Instant::now();
        }
        shared.sync();
        if wish.close {
            return;
        }
    }
}

/// Waits for a wish, at most until the next second's chores.
fn wait(shared: &Shared, chores_done: Instant) -> Wish {
    let mut wish = lock(&shared.wish);
    while !wish.sync && !wish.close {
        let left = SYNC_INTERVAL.saturating_sub(chores_done.elapsed());
        if left.is_zero() {
            break;
        }
        wish = shared.wished.wait_timeout(wish, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    let taken = *wish;
    wish.sync = false;
    taken
}

impl Shared {
    fn write_folded(&self) {
        let folded = lock(&self.refusals).take();
        let bodies: Vec<_> = folded.iter().filter_map(|record| self.body(record, None).ok()).collect();
        if !bodies.is_empty() && self.write_now(&bodies, &[]).is_err() {
            tracing::error!(records = bodies.len(), "counted refusals could not be recorded");
        }
    }

    /// Makes what is written durable; after a failure nothing is ever accepted again, for nobody knows what the disk holds.
    fn sync(&self) {
        let (file, head, len) = {
            let writer = lock(&self.writer);
            (Arc::clone(&writer.file), writer.head(), writer.len)
        };
        if head.sequence <= self.synced.borrow().sequence || self.is_beyond_repair() {
            self.synced.send_modify(|_| ());
            return;
        }
        match file.sync_data() {
            Ok(()) => {
                self.synced.send_modify(|synced| *synced = head);
                forget(&file, len);
            }
            Err(error) => {
                tracing::error!(%error, "the audit log cannot be synced; nothing is accepted any more");
                self.state.fail(FailedReason::Sync);
                self.synced.send_modify(|_| ());
            }
        }
    }

    fn is_beyond_repair(&self) -> bool {
        matches!(self.state.get(), AuditState::Failed(FailedReason::Write | FailedReason::Sync | FailedReason::Closed))
    }

    /// Tops the reserve up and says whether it is whole.
    pub(super) fn keep_reserve(&self) {
        let whole = self.top_up().unwrap_or_else(|error| {
            tracing::warn!(%error, "the audit log's reserve cannot be kept");
            false
        });
        if self.state.room(whole) {
            tracing::warn!(state = %self.state.get(), "the audit log's state has changed");
        }
    }

    fn top_up(&self) -> io::Result<bool> {
        let reserve = self.settings.reserve_bytes;
        let step = (reserve / RESERVE_STEPS).max(STEP_MIN).min(reserve);
        let (file, len, allocated) = {
            let writer = lock(&self.writer);
            (Arc::clone(&writer.file), writer.len, writer.allocated)
        };
        let missing = (len + reserve).saturating_sub(allocated.max(len));
        if missing < step.max(1) {
            return Ok(true);
        }
        match allocate(&file, allocated.max(len), missing)? {
            Room::Allocated => {
                let mut writer = lock(&self.writer);
                if Arc::ptr_eq(&writer.file, &file) {
                    writer.allocated = len + reserve;
                }
                Ok(true)
            }
            Room::None => Ok(false),
            Room::NotSupported => free_space(&file).map(|free| free >= reserve),
        }
    }

    /// Closes the segment when it is large enough and its follower has its reserve already.
    fn begin_next_segment(&self) {
        let large = {
            let writer = lock(&self.writer);
            writer.len >= self.settings.segment_bytes && writer.last.sequence >= writer.first
        };
        if !large || self.state.get() != AuditState::Healthy {
            return;
        }
        match self.next_segment() {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "no new segment of the audit log could be begun; the old one goes on"),
        }
    }

    fn next_segment(&self) -> io::Result<()> {
        let folder = &self.settings.folder;
        let next = segments::prepare_next(folder)?;
        if allocate(&next, 0, self.settings.reserve_bytes)? == Room::None {
            return segments::discard_next(folder);
        }
        let (old, old_len) = {
            let mut writer = lock(&self.writer);
            // The old segment is whole on the disk before a line of the new one can be.
            writer.file.sync_data().inspect_err(|_| self.state.fail(FailedReason::Sync))?;
            segments::swap(folder, writer.first)?;
            let old = std::mem::replace(&mut writer.file, Arc::new(next));
            let old_len = std::mem::take(&mut writer.len);
            writer.allocated = self.settings.reserve_bytes;
            writer.first = writer.last.sequence + 1;
            (old, old_len)
        };
        segments::sync_folder(folder).inspect_err(|_| self.state.fail(FailedReason::Sync))?;
        old.set_len(old_len)
    }
}

/// Lets go of what lies far behind the end: a log is written and hardly ever read, and in the page cache it would push out
/// what is, and be given ever new memory instead of its own.
fn forget(file: &File, len: u64) {
    let Some(behind) = NonZeroU64::new(len.saturating_sub(CACHED_BEHIND)) else { return };
    // A wish: whoever refuses it keeps the pages.
    let _wished = rustix::fs::fadvise(file, 0, Some(behind), rustix::fs::Advice::DontNeed);
}

/// What came of asking for room.
#[derive(PartialEq, Eq)]
enum Room {
    Allocated,
    None,
    /// The file system cannot allocate ahead: its free space is watched instead.
    NotSupported,
}

fn allocate(file: &File, offset: u64, len: u64) -> io::Result<Room> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    if len == 0 {
        return Ok(Room::Allocated);
    }
    loop {
        return match fallocate(file.as_fd(), FallocateFlags::KEEP_SIZE, offset, len) {
            Ok(()) => Ok(Room::Allocated),
            Err(Errno::INTR) => continue,
            Err(Errno::NOSPC | Errno::DQUOT) => Ok(Room::None),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(Room::NotSupported),
            Err(error) => Err(error.into()),
        };
    }
}

fn free_space(file: &File) -> io::Result<u64> {
    let stat = rustix::fs::fstatvfs(file.as_fd())?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
