//! Whether store and log still take what is written. What a disk says after a failed write or sync cannot be believed, so the
//! service ends then, and the next one reads what is really there.

use std::time::Duration;
use strongroom_engine::Engine;
use strongroom_server::audit::{AuditLog, AuditState, FailedReason};
use strongroom_store::StoreError;
use tokio::time::{MissedTickBehavior, interval};

/// How often both are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// What failed for the rest of this process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum StorageFailed {
    /// The store.
    #[error("the store failed: this service ends and is started anew; check the disk if that happens again")]
    Store,
    /// The log.
    #[error("the audit log failed: this service ends and is started anew; check the disk if that happens again")]
    Audit,
}

/// Waits until one of them has failed for good. A full disk is none of that: it heals with room.
pub(super) async fn failed(engine: &Engine, audit: &AuditLog) -> StorageFailed {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match audit.state() {
            AuditState::Failed(FailedReason::Write | FailedReason::Sync) => return StorageFailed::Audit,
            AuditState::Failed(FailedReason::Full | FailedReason::Closed)
            | AuditState::Degraded(_)
            | AuditState::Healthy => {}
        }
        if engine.store_takes_changes().await == Err(StoreError::Failed) {
            return StorageFailed::Store;
        }
    }
}
