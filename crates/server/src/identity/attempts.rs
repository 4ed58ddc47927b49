//! Failing attempts, counted per key in a bounded table.

use quick_cache::sync::Cache;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use strongroom_model::Timestamp;

/// Keys remembered; the least used one gives way to a new one.
const KEYS_MAX: usize = 8192;
/// Seconds for which failures count together.
pub(super) const WINDOW: i64 = 60;

/// Counts failures of each key in windows of [`WINDOW`] seconds.
pub(super) struct Attempts<K> {
    table: Cache<K, Arc<Window>>,
}

struct Window {
    since: AtomicI64,
    failures: AtomicU32,
}

impl<K: Hash + Eq + Clone> Attempts<K> {
    pub(super) fn new() -> Self {
        Self { table: Cache::new(KEYS_MAX) }
    }

    /// Failures of the present window.
    pub(super) fn failures(&self, key: &K, now: Timestamp) -> u32 {
        let Some(window) = self.table.get(key) else { return 0 };
        if window.is_over(now) { 0 } else { window.failures.load(Ordering::Relaxed) }
    }

    /// Counts one more and returns how many there are now.
    pub(super) fn failed(&self, key: K, now: Timestamp) -> u32 {
        let window = match self.table.get(&key) {
            Some(window) => window,
            None => {
                let window = Arc::new(Window { since: AtomicI64::new(now.0), failures: AtomicU32::new(0) });
                self.table.insert(key, Arc::clone(&window));
                window
            }
        };
        if window.is_over(now) {
            window.since.store(now.0, Ordering::Relaxed);
            window.failures.store(0, Ordering::Relaxed);
        }
        window.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Takes one back that was counted ahead: it was no failure.
    pub(super) fn forgive(&self, key: &K) {
        if let Some(window) = self.table.get(key) {
            // Refused only at zero, where nothing is left to take back.
            let _ = window.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        }
    }

    /// Forgets a key: somebody proved to be who they claim.
    pub(super) fn succeeded(&self, key: &K) {
        self.table.remove(key);
    }
}

impl Window {
    fn is_over(&self, now: Timestamp) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        !(since..since.saturating_add(WINDOW)).contains(&now.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_within_a_window_and_the_table_stays_bounded() {
        let attempts = Attempts::new();
        assert_eq!(attempts.failed(1, Timestamp(100)), 1);
        assert_eq!(attempts.failed(1, Timestamp(159)), 2);
        assert_eq!(attempts.failures(&1, Timestamp(159)), 2);
        assert_eq!(attempts.failures(&1, Timestamp(160)), 0);
        assert_eq!(attempts.failures(&1, Timestamp(99)), 0, "a clock set back starts anew");
        assert_eq!(attempts.failed(1, Timestamp(160)), 1);
        attempts.succeeded(&1);
        assert_eq!(attempts.failures(&1, Timestamp(160)), 0);
        for key in 2..100_000 {
            attempts.failed(key, Timestamp(160));
        }
        assert!(attempts.table.len() <= KEYS_MAX);
    }
}
