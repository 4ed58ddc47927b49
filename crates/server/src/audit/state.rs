//! How the log is, in one atomic that every request reads.

use std::sync::atomic::{AtomicU8, Ordering};

/// How the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditState {
    /// Everything is written, and the reserve is whole.
    Healthy,
    /// Uses are recorded in the reserve; changes are refused.
    Degraded(DegradedReason),
    /// Nothing can be recorded: everything is refused.
    Failed(FailedReason),
}

/// Why changes are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DegradedReason {
    /// The disk has no room to keep the reserve whole.
    ReserveNotWhole,
}

/// Why nothing can be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedReason {
    /// The reserve is used up and the disk is full; over as soon as there is room.
    Full,
    /// A write failed; over with the next start of the process.
    Write,
    /// A sync failed: what the disk holds is not known. Over with the next start of the process.
    Sync,
    /// The log was closed.
    Closed,
}

impl std::fmt::Display for AuditState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Degraded(DegradedReason::ReserveNotWhole) => {
                "degraded: the disk has no room for the audit log's reserve; changes are refused until there is"
            }
            Self::Failed(FailedReason::Full) => {
                "failed: the disk is full and the audit log's reserve is used up; free space"
            }
            Self::Failed(FailedReason::Write) => {
                "failed: the audit log could not be written; see the log, then restart"
            }
            Self::Failed(FailedReason::Sync) => {
                "failed: the audit log could not be synced; check the disk, then restart"
            }
            Self::Failed(FailedReason::Closed) => "closed",
        })
    }
}

const HEALTHY: u8 = 0;
const RESERVE_NOT_WHOLE: u8 = 1;
const FULL: u8 = 2;
const WRITE: u8 = 3;
const SYNC: u8 = 4;
const CLOSED: u8 = 5;

/// The state, of which the lasting failures are never left.
#[derive(Default)]
pub(super) struct StateCell(AtomicU8);

impl StateCell {
    pub(super) fn get(&self) -> AuditState {
        match self.0.load(Ordering::Acquire) {
            HEALTHY => AuditState::Healthy,
            RESERVE_NOT_WHOLE => AuditState::Degraded(DegradedReason::ReserveNotWhole),
            FULL => AuditState::Failed(FailedReason::Full),
            WRITE => AuditState::Failed(FailedReason::Write),
            SYNC => AuditState::Failed(FailedReason::Sync),
            _ => AuditState::Failed(FailedReason::Closed),
        }
    }

    /// The log failed; a worse failure than the present one replaces it.
    pub(super) fn fail(&self, reason: FailedReason) {
        let number = match reason {
            FailedReason::Full => FULL,
            FailedReason::Write => WRITE,
            FailedReason::Sync => SYNC,
            FailedReason::Closed => CLOSED,
        };
        self.0.fetch_max(number, Ordering::AcqRel);
    }

    /// What the sync thread found about room; true when that changed the state.
    pub(super) fn room(&self, reserve_whole: bool) -> bool {
        let next = if reserve_whole { HEALTHY } else { RESERVE_NOT_WHOLE };
        let changed = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| match now {
            HEALTHY | RESERVE_NOT_WHOLE => (now != next).then_some(next),
            // A full log accepts again only when the reserve is whole.
            FULL => reserve_whole.then_some(HEALTHY),
            _ => None,
        });
        changed.is_ok()
    }
}
