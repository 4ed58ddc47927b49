//! What every operation works on.

use crate::engine::{EngineParts, Recorded, SystemKey};
use crate::management::Management;
use crate::network::Surroundings;
use crate::pool::Pool;
use crate::records::Records;
use crate::served::Served;
use crate::sharing::Currency;
use arc_swap::ArcSwap;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use strongroom_hsm::{KeyBlob, Partitions};
use strongroom_model::audit::AuditRecord;
use strongroom_model::error::{Error, Internal, Result};
use strongroom_model::{Clock, PoolName, Timestamp};
use tokio::sync::Notify;

/// A key of the product, ready for use.
#[derive(Clone)]
pub(crate) struct OpenSystemKey {
    pub(crate) key: SystemKey,
    pub(crate) blob: Arc<KeyBlob>,
    /// `systemkeys/{name}/{version}`
    pub(crate) object: Arc<str>,
}

/// The engine's inside, shared with the tasks that carry changes to their end.
pub(crate) struct Core {
    pub(crate) records: Records,
    pub(crate) partitions: Arc<dyn Partitions>,
    pub(crate) clock: Arc<dyn Clock>,
    /// See [`EngineParts::cached_keys`].
    pub(crate) cached_keys: usize,
    pub(crate) changes_allowed: Arc<dyn Fn() -> Result<()> + Send + Sync>,
    /// The built-in pool for the product's own keys.
    pub(crate) system: Arc<Pool>,
    /// The product's keys by name.
    pub(crate) system_keys: ArcSwap<HashMap<String, OpenSystemKey>>,
    /// Managed HSMs by name.
    pub(crate) pools: ArcSwap<HashMap<PoolName, Arc<Pool>>>,
    /// Resource groups, resources and who may manage them.
    pub(crate) management: Management,
    /// Keeps a permit when a row was added while nobody waited.
    pub(crate) outbox_filled: Notify,
    pub(crate) served: Mutex<Served>,
    /// Whether what is kept in memory is current.
    pub(crate) currency: Currency,
    /// Keeps a permit when the roles of a pool came into doubt.
    pub(crate) roles_doubted: Notify,
    /// Audit rows of commits whose outcome does not stand yet; kept where it can be unknown.
    pub(crate) unsettled: Mutex<HashSet<Vec<u8>>>,
    /// What surrounds the network rules of every pool; held while a pool's rules are compiled.
    pub(crate) surroundings: Mutex<Surroundings>,
    /// Records of changes that a partition chained and no commit holds.
    pub(crate) not_committed: Mutex<Vec<AuditRecord>>,
}

impl Core {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Asked at the beginning of each change.
    pub(crate) fn check_changes_allowed(&self) -> Result<()> {
        (self.changes_allowed)()
    }
}

/// Carries a change to its end, though its caller may stop waiting.
pub(crate) async fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(change).await.unwrap_or(Err(Error::Internal(Internal::Panic)))
}

/// Finishes the audit record of a change.
pub(crate) fn finish(recorded: &Recorded, object: String) -> AuditRecord {
    AuditRecord { object, duration_us: recorded.micros(), ..recorded.record.clone() }
}

impl Recorded {
    /// Microseconds since the request came in.
    pub(crate) fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Who enters the use chain.
    pub(crate) fn caller(&self) -> uuid::Uuid {
        self.record.actor.object_id()
    }
}

impl EngineParts {
    /// [`EngineParts::cached_keys`] unless somebody says otherwise.
    pub const CACHED_KEYS: usize = 16_384;
}
