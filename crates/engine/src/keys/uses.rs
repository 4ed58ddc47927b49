//! AES-GCM encryptions, counted per version in blocks reserved ahead: random 96-bit IVs stay safe for 2^32 of them.

use super::cache::VersionId;
use crate::core::Core;
use crate::pool::Pool;
use crate::records::shapes::UsesRecord;
use crate::records::store_error;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use strongroom_model::error::{Conflict, Error, Forbidden, NotFound, Result};
use strongroom_model::limits::GCM_USES_MAX;
use strongroom_store::{Condition, StoreError};

/// The first block.
const BLOCK_MIN: u64 = 1 << 10;
/// The largest block.
const BLOCK_MAX: u64 = 1 << 20;
/// A block that was used up faster than this is followed by one twice as large.
const BLOCK_TIME: Duration = Duration::from_secs(10);
/// From so many uses on each reservation is logged: the key should be rotated.
const WARN_FROM: u64 = 1 << 31;
/// Attempts at one reservation.
const ATTEMPTS: usize = 16;

/// What is left of the blocks reserved for one version.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    left: AtomicU64,
    reserving: tokio::sync::Mutex<Option<(u64, Instant)>>,
}

impl Uses {
    /// Takes one use, when one is left.
    fn take(&self) -> bool {
        self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok()
    }

    /// Gives back a use that was not made.
    pub(crate) fn give_back(&self) {
        self.left.fetch_add(1, Ordering::AcqRel);
    }
}

/// The counters in use; one that is pushed out loses its block, which is safe.
pub(crate) struct UsesTable(Cache<VersionId, Arc<Uses>>);

impl UsesTable {
    pub(crate) fn new(cached_keys: usize) -> Self {
        Self(Cache::new(cached_keys))
    }
}

impl Core {
    /// Takes one AES-GCM use of a version.
    pub(crate) async fn take_use(&self, pool: &Pool, id: VersionId) -> Result<Arc<Uses>> {
        let uses = match pool.live.uses.0.get(&id) {
            Some(uses) => uses,
            None => {
                let fresh = || Ok::<_, std::convert::Infallible>(Arc::new(Uses::default()));
                pool.live.uses.0.get_or_insert_with(&id, fresh).unwrap_or_default()
            }
        };
        while !uses.take() {
            let mut last = uses.reserving.lock().await;
            // Somebody else may have reserved while we waited.
            if uses.take() {
                break;
            }
            let now = Instant::now();
            let block = match *last {
                Some((block, at)) if now.duration_since(at) < BLOCK_TIME => (block * 2).min(BLOCK_MAX),
                Some(_) | None => BLOCK_MIN,
            };
            let got = self.reserve_uses(pool, id, block).await?;
            *last = Some((block, now));
            uses.left.fetch_add(got, Ordering::AcqRel);
        }
        Ok(uses)
    }

    /// Reserves up to `block` uses durably; what is reserved and never used is lost, never used twice.
    async fn reserve_uses(&self, pool: &Pool, id: VersionId, block: u64) -> Result<u64> {
        let (path, version) = (pool.live.paths.uses(&id.0, id.1), pool.live.paths.version(&id.0, id.1));
        for _ in 0..ATTEMPTS {
            // Conditional on the version, so that nothing stays behind a purge.
            let Some(entry) = self.records.store.get(&version).await.map_err(store_error)? else {
                return Err(Error::NotFound(NotFound::Key(id.1.to_string())));
            };
            let stored = self.records.get::<UsesRecord>(&path).await?;
            let reserved = stored.as_ref().map_or(0, |s| s.value.reserved);
            let got = block.min(GCM_USES_MAX.saturating_sub(reserved));
            if got == 0 {
                return Err(Error::Forbidden(Forbidden::UsesExhausted));
            }
            if reserved >= WARN_FROM {
                tracing::warn!(pool = %pool.name, version = %id.1, reserved, "a key has made half of the AES-GCM encryptions it may make: rotate it");
            }
            let condition = match &stored {
                Some(s) => Condition::Unchanged(path.clone(), s.revision),
                None => Condition::Absent(path.clone()),
            };
            let change = self.records.put(path.clone(), &UsesRecord { reserved: reserved + got })?;
            let conditions = vec![Condition::Unchanged(version.clone(), entry.revision), condition];
            match self.records.store.commit(conditions, vec![change]).await {
                Ok(_) => return Ok(got),
                // After an unknown outcome too: a block that was reserved twice is only lost.
                Err(StoreError::Conflict | StoreError::Unknown) => {}
                Err(error) => return Err(store_error(error)),
            }
        }
        Err(Error::Conflict(Conflict::Concurrent))
    }

    /// Gives back what is left of every block; nobody may use a key of this pool any more.
    pub(crate) async fn return_uses(&self, pool: &Pool) {
        for (id, uses) in pool.live.uses.0.iter() {
            let left = uses.left.swap(0, Ordering::AcqRel);
            let path = pool.live.paths.uses(&id.0, id.1);
            if left == 0 {
                continue;
            }
            let Ok(Some(stored)) = self.records.get::<UsesRecord>(&path).await else { continue };
            let record = UsesRecord { reserved: stored.value.reserved.saturating_sub(left) };
            let Ok(change) = self.records.put(path.clone(), &record) else { continue };
            // When this fails the block is lost, no more.
            let _ = self.records.store.commit(vec![Condition::Unchanged(path, stored.revision)], vec![change]).await;
        }
    }
}
