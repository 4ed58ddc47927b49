//! The copier: takes the records of committed changes out of the store and into the log, in order.

use crate::audit::AuditLog;
use std::sync::Arc;
use std::time::Duration;
use strongroom_engine::Engine;
use strongroom_model::error::Error;

/// Rows copied with one sync, at most. The rows lie in no order: each look for the oldest ones reads them all, so many are
/// taken at once.
const BATCH: usize = 4096;
/// Wait before the next attempt when the log or the store refuses.
const PAUSE: Duration = Duration::from_millis(250);

/// Why a pass of the copier ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// The store.
    #[error("the outbox cannot be read or emptied: {0}")]
    Store(Error),
    /// The log.
    #[error("the outbox cannot be copied: {0}")]
    Log(Error),
}

/// Copies until the future is dropped. A row is removed only after its line is safe on the disk, so a kill in between
/// copies it twice; its line carries the row's hash in `outbox`, and the verification counts such lines as repeated.
pub async fn copy_outbox(engine: Arc<Engine>, log: Arc<AuditLog>) {
    loop {
        match drain_outbox(&engine, &log).await {
            Ok(()) => engine.outbox_changed().await,
            Err(error) => {
                tracing::warn!(%error, "records of changes wait in the store");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Copies all there is now: at a clean stop, after the last request.
pub async fn drain_outbox(engine: &Engine, log: &AuditLog) -> Result<(), OutboxError> {
    loop {
        let rows = engine.outbox(BATCH).await.map_err(OutboxError::Store)?;
        if rows.is_empty() {
            return Ok(());
        }
        log.append_durable(&rows).await.map_err(OutboxError::Log)?;
        engine.remove_from_outbox(&rows).await.map_err(OutboxError::Store)?;
    }
}
