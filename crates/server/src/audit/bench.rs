//! What the benches repeat of this module's inside.

use super::AuditOrigin;
use super::chain::{Head, push_line};
use super::entry::Entry;
use super::line::Lines;

/// A log without a file.
pub(crate) struct BenchLog {
    lines: Lines,
    body: Vec<u8>,
    out: Vec<u8>,
    head: Head,
}

impl BenchLog {
    pub(crate) fn new(origin: &AuditOrigin) -> Self {
        Self { lines: Lines::new(origin), body: Vec::new(), out: Vec::new(), head: Head::default() }
    }

    /// Renders a line and chains it; its length.
    pub(crate) fn line(&mut self, entry: &Entry<'_>) -> usize {
        self.body.clear();
        self.out.clear();
        if self.lines.request(&mut self.body, entry, None).is_ok() {
            self.head = push_line(&mut self.out, &self.body, self.head);
        }
        self.out.len()
    }
}
