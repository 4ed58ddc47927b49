//! Served time: what no clock that jumps can shorten or lengthen by more than a day.
//!
//! A deleted key is purged when the wall clock is past its date *and* the installation has served it for its retention.
//! Served time grows by the monotonic clock while the engine runs, and by at most a day for each time it was off.

use crate::core::Core;
use crate::records::shapes::ServedRecord;
use crate::records::{Records, paths};
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use strongroom_model::Timestamp;
use strongroom_model::clock::DAY;
use strongroom_model::error::Result;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    seconds: u64,
    counted_to: Instant,
}

impl Served {
    /// What was saved last, and at most a day for the time since then.
    pub(crate) async fn load(records: &Records, now: Timestamp) -> Result<Self> {
        let saved = records.get::<ServedRecord>(paths::SERVED).await?;
        let Some(saved) = saved.map(|s| s.value) else { return Ok(Self { seconds: 0, counted_to: Instant::now() }) };
        let off = now.0.saturating_sub(saved.saved).clamp(0, DAY);
        Ok(Self { seconds: saved.seconds.saturating_add(off.unsigned_abs()), counted_to: Instant::now() })
    }
}

impl Served {
    /// Adds the whole seconds that the monotonic clock has counted since the last call, and `more`.
    pub(crate) fn count(&mut self, more: Duration) -> u64 {
        let elapsed = self.counted_to.elapsed().as_secs();
        self.counted_to += Duration::from_secs(elapsed);
        self.seconds = self.seconds.saturating_add(elapsed).saturating_add(more.as_secs());
        self.seconds
    }
}

impl Core {
    /// Served time up to now, in seconds.
    pub(crate) fn served_seconds(&self) -> u64 {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.count(Duration::ZERO)
    }

    /// Saves the served time, so that a crash loses no more than what comes after.
    pub(crate) async fn save_served(&self) -> Result<()> {
        let (seconds, saved) = (self.served_seconds(), self.now().0);
        // Of several nodes the one that has counted longest is right: the others were not there.
        let longest = |present: Option<ServedRecord>| ServedRecord {
            seconds: present.map_or(seconds, |present| present.seconds.max(seconds)),
            saved,
        };
        let written = self.records.replace(paths::SERVED, longest).await?;
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.seconds = served.seconds.max(written.seconds);
        Ok(())
    }
}
