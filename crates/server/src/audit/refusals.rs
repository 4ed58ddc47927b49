//! Refusals from before authentication: anybody can cause them, so above a rate they are counted instead of written.

use std::time::Instant;
use strongroom_model::audit::AuditRecord;

/// Refusals of one second that are written one by one.
pub(super) const EACH_SECOND: u32 = 50;
/// Kinds of refusal counted apart in one second; what is beyond them is counted with the last one.
const KINDS_MAX: usize = 64;

/// The present second.
#[derive(Default)]
pub(super) struct Refusals {
    since: Option<Instant>,
    written: u32,
    folded: Vec<AuditRecord>,
}

impl Refusals {
    /// The record back when it is to be written, nothing when it was counted.
    pub(super) fn admit(&mut self, record: AuditRecord) -> Option<AuditRecord> {
        let now = Instant::now();
        if self.since.is_none_or(|since| now.duration_since(since).as_secs() >= 1) {
            self.since = Some(now);
            self.written = 0;
        }
        if self.written < EACH_SECOND {
            self.written += 1;
            return Some(record);
        }
        let full = self.folded.len() >= KINDS_MAX;
        let same = self.folded.iter().position(|kept| same_kind(kept, &record));
        match same.or(full.then_some(KINDS_MAX - 1)).and_then(|i| self.folded.get_mut(i)) {
            Some(kept) => kept.folded = kept.folded.saturating_add(record.folded.saturating_add(1)),
            None => self.folded.push(record),
        }
        None
    }

    /// The counted records, which are now to be written.
    pub(super) fn take(&mut self) -> Vec<AuditRecord> {
        std::mem::take(&mut self.folded)
    }
}

fn same_kind(a: &AuditRecord, b: &AuditRecord) -> bool {
    a.resource == b.resource
        && a.status == b.status
        && a.error_code == b.error_code
        && a.operation == b.operation
        && a.caller_address == b.caller_address
        && a.private_endpoint == b.private_endpoint
}
