//! Pools: managed HSMs and the built-in pools `system` and `vaults`.

use strongroom_model::{PoolId, PoolName};
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
    pub purge_protection: bool,
    /// `attributes.hsmPlatform` of its keys, as its provider says.
    pub hsm_platform: String,
}
