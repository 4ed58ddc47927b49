//! Pools: managed HSMs and the built-in pools `system` and `vaults`.

use crate::keys::cache::KeyCache;
use crate::keys::uses::UsesTable;
use crate::records::paths::PoolPaths;
use crate::roles::set::{RoleSet, Roles};
use arc_swap::ArcSwap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use strongroom_hsm::Gateway;
use strongroom_hsm::verbs::History;
use strongroom_model::network::CompiledPolicy;
use strongroom_model::{KeyName, PoolId, PoolName};
use uuid::Uuid;

/// Where a pool is in its life; routes say in which states they answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum PoolState {
    /// Made, security domain not downloaded yet: the challenge and the security-domain operations answer.
    Provisioned,
    /// In use.
    Activated,
    /// Its root waits for the security domain after a start with a `quorum` seal.
    Sealed,
}

/// What is fixed when a pool is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRequest {
    /// Its name.
    pub name: PoolName,
    /// [`PoolState::Activated`] or [`PoolState::Provisioned`].
    pub state: PoolState,
    /// Soft-delete retention in days, 7 to 90.
    pub retention_days: u32,
    /// Whether nothing can be purged before its retention is over.
    pub purge_protection: bool,
    /// Object ids that get Managed HSM Administrator at `/`.
    pub administrators: Vec<Uuid>,
}

/// A pool as the service sees it.
#[derive(Debug)]
pub struct Pool {
    /// Its identity.
    pub id: PoolId,
    /// Its name.
    pub name: PoolName,
    /// Where it is in its life.
    pub state: PoolState,
    /// See [`PoolRequest::retention_days`].
    pub retention_days: u32,
    /// See [`PoolRequest::purge_protection`].
    pub(crate) purge_protection: AtomicBool,
    /// `attributes.hsmPlatform` of its keys, as its provider says.
    pub hsm_platform: String,
    /// Who reaches it over the network; asked for each request. See [`crate::Engine::set_network_policy`].
    pub network: ArcSwap<CompiledPolicy>,
    /// What the engine needs to work on it.
    pub(crate) live: Live,
}

impl Pool {
    /// See [`PoolRequest::purge_protection`]; it goes on, and never off.
    pub fn purge_protection(&self) -> bool {
        self.purge_protection.load(Ordering::Acquire)
    }

    pub(crate) fn protect_from_purge(&self) {
        self.purge_protection.store(true, Ordering::Release);
    }
}

/// Names that share a lock for their changes.
const TURNS: usize = 256;

/// The working parts of an open pool.
pub(crate) struct Live {
    /// The way to its partition.
    pub(crate) gateway: Arc<dyn Gateway>,
    /// Where its records lie.
    pub(crate) paths: PoolPaths,
    /// Parsed records of its keys.
    pub(crate) cache: KeyCache,
    /// Its role set.
    pub(crate) roles: Roles,
    /// How often a change of the role set may have taken place that is not in memory, and up to which time it was read since.
    roles_doubts: AtomicU64,
    roles_settled: AtomicU64,
    /// Held while the role set is changed.
    pub(crate) roles_turn: tokio::sync::Mutex<()>,
    /// AES-GCM uses reserved ahead.
    pub(crate) uses: UsesTable,
    /// The run of its partition that the store names.
    pub(crate) history: Mutex<History>,
    /// When its partition last proved that it works.
    pub(crate) proved: Mutex<Option<Instant>>,
    /// Where the scheduler goes on in the index of dates, when its last round left keys to this one.
    pub(crate) visited: Mutex<Option<Vec<u8>>>,
    /// Writers of one name wait here for each other instead of undoing each other's work; the store's conditions decide.
    turns: Vec<tokio::sync::Mutex<()>>,
}

impl Live {
    pub(crate) fn new(
        gateway: Arc<dyn Gateway>,
        paths: PoolPaths,
        roles: RoleSet,
        history: History,
        cached_keys: usize,
    ) -> Self {
        Self {
            gateway,
            paths,
            cache: KeyCache::new(cached_keys),
            roles: Roles::new(roles),
            roles_doubts: AtomicU64::new(0),
            roles_settled: AtomicU64::new(0),
            roles_turn: tokio::sync::Mutex::new(()),
            uses: UsesTable::new(cached_keys),
            history: Mutex::new(history),
            proved: Mutex::new(None),
            visited: Mutex::new(None),
            turns: (0..TURNS).map(|_| tokio::sync::Mutex::new(())).collect(),
        }
    }

    /// From here on nobody is authorised until the roles have been read.
    pub(crate) fn doubt_roles(&self) {
        self.roles_doubts.fetch_add(1, Ordering::AcqRel);
    }

    /// The doubts so far: taken before the roles are read, and handed to [`Self::settle_roles`] when they are kept.
    pub(crate) fn roles_doubts(&self) -> u64 {
        self.roles_doubts.load(Ordering::Acquire)
    }

    /// The roles were read after so many doubts.
    pub(crate) fn settle_roles(&self, doubts: u64) {
        self.roles_settled.fetch_max(doubts, Ordering::AcqRel);
    }

    /// Whether nobody knows what the roles are.
    pub(crate) fn roles_in_doubt(&self) -> bool {
        self.roles_settled.load(Ordering::Acquire) < self.roles_doubts()
    }

    /// Waits until no other writer of this process works on the name.
    pub(crate) async fn turn(&self, name: &KeyName) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        Some(self.turns.get(crate::keys::cache::shard(name, TURNS))?.lock().await)
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("paths", &self.paths).finish_non_exhaustive()
    }
}
