//! A disk that fails when told to, and forgets what was not synced when its machine loses power.

use std::collections::HashSet;
use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use ::redb::StorageBackend;

/// What goes wrong, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// EIO, nothing happens.
    Broken,
    /// ENOSPC, nothing happens.
    Full,
    /// Half of the bytes are written, then EIO. Like `Broken` where there are no bytes.
    Short,
}

/// What a power failure leaves of what was not synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Crash {
    /// Nothing.
    Lost,
    /// Everything, as after kill -9.
    Kept,
    /// Each sector or not, as the seed has it.
    Torn(u64),
}

#[derive(Clone, Debug)]
enum Unsynced {
    Bytes(u64, Vec<u8>),
    Length(u64),
}

#[derive(Debug, Default)]
struct State {
    /// What a read sees.
    seen: Vec<u8>,
    /// What survives a power failure for sure.
    durable: Vec<u8>,
    unsynced: Vec<Unsynced>,
    /// Unsynced for ever: a later sync reports success and does not write them again.
    given_up: usize,
    writes: u64,
    reads: u64,
    /// Sectors that were ever written to: those that cost room.
    touched: HashSet<usize>,
    write_fault: Option<(u64, Fault)>,
    read_fault: Option<u64>,
    /// Whether a write, sync or change of length failed.
    failed: bool,
}

/// A handle to the disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

const SECTOR: usize = 512;

impl Disk {
    pub(super) fn fail_write(&self, number: u64, fault: Fault) {
        self.state().write_fault = Some((number, fault));
    }

    pub(super) fn fail_read(&self, number: u64) {
        self.state().read_fault = Some(number);
    }

    /// Writes, syncs and changes of length so far; reads so far.
    pub(super) fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.writes, state.reads)
    }

    /// Bytes that the file takes on a disk that gives room to what is written only.
    pub(super) fn touched(&self) -> u64 {
        (self.state().touched.len() * SECTOR) as u64
    }

    pub(super) fn failed(&self) -> bool {
        self.state().failed
    }

    /// The disk after a power failure.
    pub(super) fn after(&self, crash: Crash) -> Disk {
        let state = self.state();
        let mut image = state.durable.clone();
        let mut random = match crash {
            Crash::Torn(seed) => seed | 1,
            Crash::Lost | Crash::Kept => 1,
        };
        let mut survives = || match crash {
            Crash::Lost => false,
            Crash::Kept => true,
            Crash::Torn(_) => {
                // xorshift64
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random >> 63 == 0
            }
        };
        for change in &state.unsynced {
            match change {
                Unsynced::Length(length) if survives() => image.resize(*length as usize, 0),
                Unsynced::Length(_) => {}
                Unsynced::Bytes(offset, bytes) => {
                    for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                        let start = *offset as usize + number * SECTOR;
                        if survives() && start + sector.len() <= image.len() {
                            image[start..start + sector.len()].copy_from_slice(sector);
                        }
                    }
                }
            }
        }
        Disk(Arc::new(Mutex::new(State { seen: image.clone(), durable: image, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Counts an operation that changes the disk; tells the fault that is due.
    fn due(state: &mut State) -> Option<Fault> {
        state.writes += 1;
        let due = state.write_fault.filter(|(number, _)| *number == state.writes).map(|(_, fault)| fault);
        state.failed |= due.is_some();
        due
    }
}

fn error(fault: Fault) -> Error {
    match fault {
        Fault::Full => Error::from(ErrorKind::StorageFull),
        Fault::Broken | Fault::Short => Error::other("injected"),
    }
}

impl State {
    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let start = offset as usize;
        self.seen[start..start + bytes.len()].copy_from_slice(bytes);
        self.touched.extend(start / SECTOR..(start + bytes.len()).div_ceil(SECTOR));
        self.unsynced.push(Unsynced::Bytes(offset, bytes.to_vec()));
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.state().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let mut state = self.state();
        state.reads += 1;
        if state.read_fault == Some(state.reads) {
            return Err(error(Fault::Broken));
        }
        let start = offset as usize;
        let found = state.seen.get(start..start + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), Error> {
        let mut state = self.state();
        if let Some(fault) = Self::due(&mut state) {
            return Err(error(fault));
        }
        state.seen.resize(length as usize, 0);
        state.unsynced.push(Unsynced::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), Error> {
        let mut state = self.state();
        if let Some(fault) = Self::due(&mut state) {
            // What the kernel could not write is marked clean: a second sync "succeeds" without it.
            state.given_up = state.unsynced.len();
            return Err(error(fault));
        }
        let given_up = state.given_up;
        for change in state.unsynced.split_off(given_up) {
            match change {
                Unsynced::Length(length) => state.durable.resize(length as usize, 0),
                Unsynced::Bytes(offset, bytes) => {
                    let (start, end) = (offset as usize, offset as usize + bytes.len());
                    if state.durable.len() < end {
                        state.durable.resize(end, 0);
                    }
                    state.durable[start..end].copy_from_slice(&bytes);
                }
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut state = self.state();
        match Self::due(&mut state) {
            None => {
                state.write(offset, bytes);
                Ok(())
            }
            Some(fault) => {
                if fault == Fault::Short {
                    state.write(offset, &bytes[..bytes.len() / 2]);
                }
                Err(error(fault))
            }
        }
    }
}
