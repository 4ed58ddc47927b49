//! The use chains of the partitions, as the service keeps them: signed states, and changes that were chained and not committed.

use crate::core::{Core, finish};
use crate::engine::Recorded;
use crate::pool::Pool;
use crate::records::paths;
use crate::records::shapes::HistoryRecord;
use std::sync::{Arc, PoisonError};
use strongroom_hsm::verbs::History;
use strongroom_model::audit::{AuditRecord, ChangeStamp, Stamp};
use strongroom_model::error::Result;

/// The operation of a record that says: the partition made this, and it reached no key.
const NOT_COMMITTED: &str = "KeyChangeNotCommitted";
/// The status of such a record: the change lost against something else.
const NOT_COMMITTED_STATUS: u16 = 409;

/// A change that a partition has chained. Dropped before it is committed, it is recorded as one that was not: a chain has no
/// gaps.
pub(crate) struct ChainedChange {
    core: Arc<Core>,
    record: Option<AuditRecord>,
}

impl ChainedChange {
    /// The record of the change, if its commit holds.
    pub(crate) fn record(&self, recorded: &Recorded) -> AuditRecord {
        let record = self.record.clone().unwrap_or_else(|| recorded.record.clone());
        AuditRecord { duration_us: recorded.micros(), ..record }
    }

    /// The commit holds: its own record goes into the log.
    pub(crate) fn committed(mut self) {
        self.record = None;
    }
}

impl Drop for ChainedChange {
    fn drop(&mut self) {
        let Some(record) = self.record.take() else { return };
        let record = AuditRecord {
            operation: NOT_COMMITTED.into(),
            status: NOT_COMMITTED_STATUS,
            error_code: "NotCommitted".into(),
            ..record
        };
        self.core.not_committed.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }
}

impl Core {
    /// Takes charge of a change that the partition has just chained for this record's actor.
    pub(crate) fn chained(self: &Arc<Self>, recorded: &Recorded, object: String, stamp: ChangeStamp) -> ChainedChange {
        let record = AuditRecord { stamp: Some(Stamp::Change(stamp)), ..finish(recorded, object) };
        ChainedChange { core: Arc::clone(self), record: Some(record) }
    }

    /// See [`crate::Engine::take_not_committed`].
    pub(crate) fn take_not_committed(&self) -> Vec<AuditRecord> {
        std::mem::take(&mut *self.not_committed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// See [`crate::Engine::keep_history`].
    pub(crate) async fn keep_history(&self, pool: &Pool, history: &History) -> Result<bool> {
        // First the partition's next run is bound to name it, then it is stored, then its caller puts it into the log: so
        // whatever the log holds of a run, the next run names.
        if !pool.live.gateway.remember(history) {
            return Ok(false);
        }
        let path = paths::history(pool.id, self.records.node);
        self.records.replace(&path, |_| HistoryRecord(history.clone())).await?;
        *pool.live.history.lock().unwrap_or_else(PoisonError::into_inner) = history.clone();
        Ok(true)
    }
}
