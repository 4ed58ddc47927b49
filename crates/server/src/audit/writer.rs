//! The end of the log: chain, file and reserve, under one lock.

use crate::audit::chain::{Head, push_line};
use crate::audit::state::FailedReason;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Capacity above which a buffer is not kept after its write.
const BUFFER_KEPT: usize = 1 << 20;

/// Why lines were not written.
#[derive(Debug)]
pub(super) struct WriteFailure {
    pub(super) reason: FailedReason,
    pub(super) error: io::Error,
}

/// The end of the log.
pub(super) struct Writer {
    /// The open segment.
    pub(super) file: Arc<File>,
    /// Its size, which is where the next line goes.
    pub(super) len: u64,
    /// Up to where room has been allocated.
    pub(super) allocated: u64,
    /// Number of its first line.
    pub(super) first: u64,
    /// The last line.
    pub(super) last: Head,
    buffer: Vec<u8>,
    /// Holds the folder's lock as long as it is open.
    _lock: File,
}

impl Writer {
    pub(super) fn new(file: File, lock: File, len: u64, first: u64, last: Head) -> Self {
        Self { file: Arc::new(file), len, allocated: len, first, last, buffer: Vec::new(), _lock: lock }
    }

    pub(super) fn head(&self) -> Head {
        self.last
    }

    /// Chains the bodies and writes them with one write, all or none; the number of the last one.
    pub(super) fn append<'a>(&mut self, bodies: impl Iterator<Item = &'a [u8]>) -> Result<u64, WriteFailure> {
        let mut head = self.last;
        self.buffer.clear();
        for body in bodies {
            head = push_line(&mut self.buffer, body, head);
        }
        match self.file.write_all_at(&self.buffer, self.len) {
            Ok(()) => {
                self.len += self.buffer.len() as u64;
                self.last = head;
                if self.buffer.capacity() > BUFFER_KEPT {
                    self.buffer = Vec::new();
                }
                Ok(head.sequence)
            }
            Err(error) => Err(self.undo(error)),
        }
    }

    /// Takes back what a failed write may have left behind the last line.
    fn undo(&mut self, error: io::Error) -> WriteFailure {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let undone = self.file.set_len(self.len).is_ok();
        self.allocated = self.len;
        let reason = if full && undone { FailedReason::Full } else { FailedReason::Write };
        WriteFailure { reason, error }
    }
}
