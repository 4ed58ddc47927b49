//! The steps of a request that have no name outside of this crate, for its benches (`cargo bench -p strongroom-server`).
#![doc(hidden)]
#![allow(missing_docs, reason = "not for use")]

use crate::audit::{AuditOrigin, BenchLog, Entry, Who};
use crate::http::bench::{BenchHeaders, BenchRouter};
use std::sync::Arc;
use strongroom_model::Principal;
use strongroom_model::audit::AuditRecord;

/// Routing, the audit line and the head of an answer, each ready to be repeated.
pub struct Steps {
    router: BenchRouter,
    headers: BenchHeaders,
    log: BenchLog,
}

impl Steps {
    pub fn new(origin: &AuditOrigin) -> Self {
        Self { router: BenchRouter::new(), headers: BenchHeaders::new(), log: BenchLog::new(origin) }
    }

    /// The path taken apart, and its route; the number of its parameters.
    pub fn path_and_route(&self, path: &str) -> Option<usize> {
        self.router.find(path)
    }

    /// A caller's line with its place in the chain; its length.
    pub fn audit_line(&mut self, record: &AuditRecord, caller: &Arc<Principal>) -> usize {
        self.log.line(&Entry { who: Who::Caller(caller), ..Entry::from(record) })
    }

    /// The head of a good answer; the number of its headers.
    pub fn answer_head(&self) -> usize {
        self.headers.answer()
    }
}
