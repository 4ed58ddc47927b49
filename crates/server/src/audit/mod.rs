//! The audit log: one JSON object a line, in Azure's record shape, chained by SHA-256, in segments of bounded size.
//!
//! A request's record is handed to the operating system before its reply leaves, and synced within a second; the record of
//! a change is a row of the same store commit and is copied here in order. While the disk has no room the log writes on
//! into a reserve allocated ahead, and changes are refused; when nothing can be written everything is refused.

mod bench;
mod chain;
mod entry;
mod line;
mod outbox;
mod proof;
mod recorded;
mod refusals;
mod request;
mod segments;
mod state;
mod syncer;
mod text;
mod turn;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use bench::BenchLog;
pub use chain::Head;
pub use entry::{Entry, Who};
pub use line::time_text;
pub use outbox::{OutboxError, copy_outbox, drain_outbox};
pub use proof::{ChainFinding, ChainFindingKind, ChainsProof, KnownKey, PoolProof, Unproven};
pub use segments::AuditOpenError;
pub use state::{AuditState, DegradedReason, FailedReason};
pub use verify::{Finding, FindingKind, Report, verify, verify_with_keys};

use crate::audit::line::{Lines, Special};
use crate::audit::recorded::Recorded;
use crate::audit::refusals::Refusals;
use crate::audit::state::StateCell;
use crate::audit::writer::Writer;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use strongroom_engine::OutboxRow;
use strongroom_hsm::verbs::{Checkpoint, Opening};
use strongroom_model::audit::{AuditRecord, Stamp, SystemStamp};
use strongroom_model::error::{Error, Unavailable};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

/// How often the log is synced, its reserve topped up and its size looked at.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Room kept behind the end of the log, in production.
pub const RESERVE_BYTES: u64 = 256 << 20;
/// Room kept behind the end of the log by `dev`.
pub const RESERVE_BYTES_DEV: u64 = 16 << 20;
/// Size from which a segment is closed and the next one begun.
pub const SEGMENT_BYTES: u64 = 256 << 20;

/// Where the log lies, and its sizes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditSettings {
    /// The folder of the segments; made when it is not there.
    pub folder: PathBuf,
    /// Room kept allocated behind the end of the log, in bytes.
    pub reserve_bytes: u64,
    /// Size from which the next segment is begun, in bytes.
    pub segment_bytes: u64,
}

/// What every record says about the installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditOrigin {
    /// `TenantId`
    pub tenant_id: Uuid,
    /// In `resourceId`.
    pub subscription_id: Uuid,
    /// `resourceGroup`
    pub resource_group: String,
}

/// The log of one node; the only writer of its folder.
pub struct AuditLog {
    shared: Arc<Shared>,
    syncer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// What the log's callers and its sync thread have in common.
struct Shared {
    /// Tells the logs of one process apart, for the buffers of its threads.
    id: u64,
    lines: Lines,
    settings: AuditSettings,
    writer: Mutex<Writer>,
    state: StateCell,
    wish: Mutex<Wish>,
    wished: Condvar,
    synced: watch::Sender<Head>,
    refusals: Mutex<Refusals>,
    recorded: Mutex<Recorded>,
    requests: AtomicU64,
}

/// What the sync thread is asked for.
#[derive(Clone, Copy, Default)]
struct Wish {
    sync: bool,
    close: bool,
}

/// Locks a mutex whose holders never leave it half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An entry of a use chain: chain and number.
type Place = ([u8; 16], u64);

fn place_of(stamp: &Stamp) -> Place {
    (stamp.place().chain, stamp.place().sequence)
}

const REFUSED: Error = Error::Unavailable(Unavailable::Audit);

impl AuditLog {
    /// Opens the log, or begins a new one: finds the last line, cuts off a torn one, and goes on with its chain.
    pub fn open(settings: &AuditSettings, origin: &AuditOrigin) -> Result<Self, AuditOpenError> {
        let opened = segments::open(settings)?;
        let head = opened.writer.head();
        let shared = Arc::new(Shared {
            id: turn::new_log_id(),
            lines: Lines::new(origin),
            settings: settings.clone(),
            writer: Mutex::new(opened.writer),
            state: StateCell::default(),
            wish: Mutex::default(),
            wished: Condvar::new(),
            synced: watch::Sender::new(head),
            refusals: Mutex::default(),
            recorded: Mutex::default(),
            requests: AtomicU64::new(0),
        });
        shared.keep_reserve();
        if let Some(cut) = opened.cut {
            shared.write_special(&Special::Cut(cut)).map_err(|_| AuditOpenError::NotWritten)?;
        }
        shared.write_special(&Special::Start).map_err(|_| AuditOpenError::NotWritten)?;
        let syncer = syncer::spawn(Arc::clone(&shared)).map_err(AuditOpenError::Thread)?;
        Ok(Self { shared, syncer: Mutex::new(Some(syncer)) })
    }

    /// Hands the record to the operating system; callers of the same turn of a runtime share one write.
    ///
    /// The record is written even when this future is dropped after its first poll.
    pub async fn append(&self, record: AuditRecord) -> Result<(), Error> {
        self.append_entry(&Entry::from(&record)).await
    }

    /// The same for facts that are only lent. They are taken at the call: the record is written though the future is never
    /// polled.
    pub fn append_entry(&self, entry: &Entry<'_>) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let gathered = self.shared.accepting().and_then(|()| self.gather(entry));
        async { gathered?.await.map_err(|_| REFUSED)? }
    }

    /// Records a refusal from before authentication. Above [`refusals::EACH_SECOND`] of them in a second, those of the
    /// same kind are counted and written as one record within the next second.
    pub async fn append_refusal(&self, record: AuditRecord) -> Result<(), Error> {
        self.shared.accepting()?;
        if record.stamp.is_some() {
            // A line for each entry of a use chain.
            return self.append(record).await;
        }
        let admitted = lock(&self.shared.refusals).admit(record);
        match admitted {
            Some(record) => self.append(record).await,
            None => Ok(()),
        }
    }

    /// Writes the records of store commits and returns when they are safe on the disk.
    pub async fn append_durable(&self, rows: &[OutboxRow]) -> Result<(), Error> {
        self.shared.accepting()?;
        let body = |row: &OutboxRow| self.shared.body(&row.record, Some(&row.path));
        let bodies: Result<Vec<_>, _> = rows.iter().map(body).collect();
        let places: Vec<_> = rows.iter().filter_map(|row| row.record.stamp.as_ref()).map(place_of).collect();
        let sequence = self.shared.write_now(&bodies?, &places)?;
        self.shared.requests.fetch_add(rows.len() as u64, Ordering::Relaxed);
        self.shared.durable(sequence).await
    }

    /// Writes how a run of a partition began; the pool's name beside it. `again`: it was another process's run, whose log may
    /// lack this.
    pub async fn append_opening(&self, pool: &str, opening: &Opening, again: bool) -> Result<(), Error> {
        self.enqueue(&self.shared.lines.special(&Special::Opening { pool, opening, again })?, None).await?;
        lock(&self.shared.recorded).begin(opening.pool, &opening.chains);
        Ok(())
    }

    /// Writes the signed states of use chains.
    pub async fn append_checkpoints(&self, checkpoints: &[Checkpoint]) -> Result<(), Error> {
        for checkpoint in checkpoints {
            self.enqueue(&self.shared.lines.special(&Special::Checkpoint(checkpoint))?, None).await?;
        }
        Ok(())
    }

    /// Up to which number every entry of this chain is in the log, of those that came since this process started.
    pub fn recorded_up_to(&self, chain: &[u8; 16]) -> u64 {
        lock(&self.shared.recorded).up_to(chain)
    }

    /// Writes a signed head of this log: what `strongroom audit verify` holds against the lines before it.
    pub async fn append_head(
        &self,
        head: Head,
        signature: &[u8],
        key: &(Vec<u8>, Vec<u8>),
        stamp: &SystemStamp,
    ) -> Result<(), Error> {
        let body = self.shared.lines.special(&Special::Head { head, signature, x: &key.0, y: &key.1, stamp })?;
        self.enqueue(&body, Some((stamp.place.chain, stamp.place.sequence))).await
    }

    /// Syncs now, and gives the last line that is safe on the disk.
    pub async fn sync(&self) -> Result<Head, Error> {
        let last = lock(&self.shared.writer).head();
        self.shared.durable(last.sequence).await?;
        Ok(self.synced_head())
    }

    /// How many requests this process has recorded: grows with each, and with nothing else.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Holds an earlier head against the log: false when the log ends before it or has another line there. The finding is
    /// a record of its own, so it stays visible for ever.
    pub fn check_head(&self, head: Head) -> Result<bool, AuditOpenError> {
        let agrees = segments::hash_at(&self.shared.settings.folder, head.sequence)? == Some(head.hash);
        if !agrees {
            self.shared.write_special(&Special::Truncated(head)).map_err(|_| AuditOpenError::NotWritten)?;
        }
        Ok(agrees)
    }

    /// The last line that is safe on the disk.
    pub fn synced_head(&self) -> Head {
        *self.shared.synced.borrow()
    }

    /// Whether a change may be made now: not while the log lives on its reserve.
    pub fn changes_allowed(&self) -> Result<(), Error> {
        match self.state() {
            AuditState::Healthy => Ok(()),
            AuditState::Degraded(_) | AuditState::Failed(_) => Err(REFUSED),
        }
    }

    /// How the log is.
    pub fn state(&self) -> AuditState {
        self.shared.state.get()
    }

    /// Writes what is pending, syncs and ends; nothing is accepted afterwards. False when the last sync failed.
    pub fn close(&self) -> bool {
        lock(&self.shared.wish).close = true;
        self.shared.wished.notify_one();
        let syncer = lock(&self.syncer).take();
        if let Some(syncer) = syncer {
            // A panic of the thread is a failed sync.
            if syncer.join().is_err() {
                self.shared.state.fail(FailedReason::Sync);
            }
        }
        let sound = !matches!(self.state(), AuditState::Failed(_));
        self.shared.state.fail(FailedReason::Closed);
        sound
    }

    fn gather(&self, entry: &Entry<'_>) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let written =
            turn::enqueue(&self.shared, entry.stamp.map(place_of), |out| self.shared.lines.request(out, entry, None))?;
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        Ok(written)
    }

    async fn enqueue(&self, body: &[u8], place: Option<Place>) -> Result<(), Error> {
        let copy = |out: &mut Vec<u8>| {
            out.extend_from_slice(body);
            Ok(())
        };
        turn::enqueue(&self.shared, place, copy)?.await.map_err(|_| REFUSED)?
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// The body of a record's line.
    fn body(&self, record: &AuditRecord, outbox: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        self.lines.request(&mut out, &Entry::from(record), outbox)?;
        Ok(out)
    }

    fn accepting(&self) -> Result<(), Error> {
        match self.state.get() {
            AuditState::Healthy | AuditState::Degraded(_) => Ok(()),
            AuditState::Failed(_) => Err(REFUSED),
        }
    }

    /// Writes lines under the chain's lock; the number of the last one. `places`: the entries of use chains that they show.
    fn write_now<B: AsRef<[u8]>>(&self, bodies: &[B], places: &[Place]) -> Result<u64, Error> {
        self.accepting()?;
        let result = {
            let mut writer = lock(&self.writer);
            writer.append(bodies.iter().map(AsRef::as_ref))
        };
        if result.is_ok() && !places.is_empty() {
            lock(&self.recorded).note(places);
        }
        result.map_err(|failure| {
            tracing::error!(reason = ?failure.reason, error = %failure.error, "the audit log cannot be written");
            self.state.fail(failure.reason);
            REFUSED
        })
    }

    fn write_special(&self, special: &Special<'_>) -> Result<u64, Error> {
        self.write_now(&[self.lines.special(special)?], &[])
    }

    /// Waits until the line with this number is on the disk.
    async fn durable(&self, sequence: u64) -> Result<(), Error> {
        let mut synced = self.synced.subscribe();
        lock(&self.wish).sync = true;
        self.wished.notify_one();
        loop {
            if synced.borrow_and_update().sequence >= sequence {
                return Ok(());
            }
            self.accepting()?;
            synced.changed().await.map_err(|_| REFUSED)?;
        }
    }
}
