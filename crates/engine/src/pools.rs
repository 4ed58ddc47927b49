//! How pools are made and opened.

use crate::commit::ATTEMPTS;
use crate::core::Core;
use crate::engine::StartError;
use crate::pool::{Live, Pool, PoolRequest, PoolState};
use crate::records::paths::{self, PoolPaths};
use crate::records::shapes::{AssignmentRecord, Domain, EpochRecord, HistoryRecord, PoolRecord, RolesRecord};
use crate::records::{Records, Stored, random_id, store_error};
use crate::roles::change::load_roles;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use strongroom_hsm::verbs::{History, RootParts};
use strongroom_hsm::{HsmError, Partitions};
use strongroom_model::error::{Error, Internal, Unavailable};
use strongroom_model::limits::{RETENTION_DAYS_MAX, RETENTION_DAYS_MIN, ROLE_ASSIGNMENTS_AT_HSM_MAX};
use strongroom_model::role::{ADMINISTRATOR, RoleAssignment};
use strongroom_model::{PoolId, PoolName, RoleScope, Timestamp};
use strongroom_store::{Change, Condition, StoreError};
use uuid::Uuid;

/// The built-in pool of the product's own keys.
pub(crate) const SYSTEM: &str = "system";
/// The built-in pool that seals for all vaults.
pub(crate) const VAULTS: &str = "vaults";
/// The epoch that a new pool begins with.
const FIRST_EPOCH: u32 = 1;

/// What an operation's failure is at the start.
pub(crate) fn start_error(error: Error) -> StartError {
    if error == Error::Unavailable(Unavailable::Store) {
        return StartError::Store(StoreError::Failed);
    }
    StartError::Damaged(error.to_string())
}

/// What a failure at the start is when a pool is opened later.
pub(crate) fn operation_error(error: StartError) -> Error {
    match error {
        StartError::Hsm(error) => error.into(),
        StartError::Store(error) => store_error(error),
        StartError::WrongSeal
        | StartError::Development
        | StartError::Production
        | StartError::NewerFormat { .. }
        | StartError::Damaged(_)
        | StartError::Pool(..) => {
            tracing::error!(%error, "a managed HSM does not open");
            Error::Internal(Internal::CorruptRecord)
        }
    }
}

/// A request for a built-in pool.
pub(crate) fn built_in(name: &str) -> Result<PoolRequest, StartError> {
    Ok(PoolRequest {
        name: PoolName::parse(name).map_err(start_error)?,
        state: PoolState::Activated,
        retention_days: RETENTION_DAYS_MAX,
        purge_protection: true,
        administrators: Vec::new(),
    })
}

/// A pool's record, made when there is none.
pub(crate) async fn made(
    records: &Records,
    partitions: &dyn Partitions,
    now: Timestamp,
    request: &PoolRequest,
) -> Result<Stored<PoolRecord>, StartError> {
    let path = paths::pool(&request.name);
    for _ in 0..ATTEMPTS {
        if let Some(stored) = records.get(&path).await.map_err(start_error)? {
            return Ok(stored);
        }
        match make(records, partitions, now, request).await {
            // Another node was first, or nobody knows: the next look says whose root holds.
            Ok(()) | Err(StartError::Store(StoreError::Conflict | StoreError::Unknown)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StartError::Damaged(format!("pool {} was made and is not there", request.name)))
}

/// Whether a name belongs to a built-in pool.
pub(crate) fn is_built_in(name: &PoolName) -> bool {
    [SYSTEM, VAULTS].contains(&name.as_str())
}

/// A pool that is not in the store yet: its root made, its records ready for a commit.
pub(crate) struct PoolDraft {
    pub(crate) record: PoolRecord,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) changes: Vec<Change>,
}

async fn make(
    records: &Records,
    partitions: &dyn Partitions,
    now: Timestamp,
    request: &PoolRequest,
) -> Result<(), StartError> {
    let draft = draft(records, partitions, now, request).await.map_err(start_error)?;
    records.store.commit(draft.conditions, draft.changes).await?;
    Ok(())
}

/// Makes a pool's root in its partition, and the records that go into the store.
pub(crate) async fn draft(
    records: &Records,
    partitions: &dyn Partitions,
    now: Timestamp,
    request: &PoolRequest,
) -> Result<PoolDraft, Error> {
    let id = PoolId(Uuid::new_v4());
    let (root, audit_key, opening) = partitions.gateway(id).await?.create_root().await?;
    let record = PoolRecord {
        id,
        name: request.name.clone(),
        state: request.state,
        domain: Domain::None,
        retention_days: request.retention_days,
        purge_protection: request.purge_protection,
        created: now,
        root,
        audit_key: audit_key.blob,
        audit_public: audit_key.public,
    };
    let of_pool = PoolPaths::new(id, FIRST_EPOCH);
    let mut administrators = request.administrators.clone();
    administrators.sort_unstable();
    administrators.dedup();
    let (scope, role_definition_id) = (RoleScope::Hsm, ADMINISTRATOR);
    let assign = |principal_id| {
        let (id, scope) = (Uuid::new_v4(), scope.clone());
        let assignment = RoleAssignment { id, principal_id, role_definition_id, scope };
        records.put(of_pool.assignment(id), &AssignmentRecord(assignment))
    };
    let first = [
        records.put(paths::pool(&request.name), &record),
        records.put(paths::epoch(id), &EpochRecord(FIRST_EPOCH)),
        records.put(paths::history(id, None), &HistoryRecord(History { opening, checkpoints: Vec::new() })),
        records.put(of_pool.roles(), &RolesRecord { generation: 1, commit: random_id() }),
    ];
    let changes = first.into_iter().chain(administrators.into_iter().map(assign)).collect::<Result<Vec<_>, _>>();
    let changes = changes?;
    let path = |change: &Change| match change {
        Change::Put(path, _) | Change::Delete(path) => path.clone(),
    };
    let conditions = changes.iter().map(|c| Condition::Absent(path(c))).collect();
    Ok(PoolDraft { record, conditions, changes })
}

/// The last run of this node's partition; for its first one on a node, the run that made the root.
async fn history(records: &Records, id: PoolId) -> Result<Option<History>, Error> {
    if let Some(node) = records.node
        && let Some(own) = records.get::<HistoryRecord>(&paths::history(id, Some(node))).await?
    {
        return Ok(Some(own.value.0));
    }
    Ok(records.get::<HistoryRecord>(&paths::history(id, None)).await?.map(|stored| stored.value.0))
}

/// Opens a pool: its partition, its root, its role set.
pub(crate) async fn open(
    records: &Records,
    partitions: &dyn Partitions,
    record: PoolRecord,
    cached_keys: usize,
) -> Result<Arc<Pool>, StartError> {
    let epoch = records.get::<EpochRecord>(&paths::epoch(record.id)).await.map_err(start_error)?;
    let epoch = epoch.ok_or_else(|| StartError::Damaged(format!("pool {} has no epoch", record.name)))?;
    let of_pool = PoolPaths::new(record.id, epoch.value.0);
    let history = history(records, record.id).await.map_err(start_error)?;
    let history = history.ok_or_else(|| StartError::Damaged(format!("pool {} has no history", record.name)))?;
    let gateway = partitions.gateway(record.id).await?;
    let parts = RootParts {
        wrapped: record.root,
        audit_key: Arc::new(record.audit_key),
        audit_public: record.audit_public,
        last: history.clone(),
    };
    match gateway.open_root(parts).await {
        // This process made the root a moment ago.
        Ok(_) | Err(HsmError::AlreadyOpen) => {}
        Err(error) => return Err(error.into()),
    }
    let hsm_platform = gateway.describe().await?.hsm_platform;
    let roles = load_roles(records, &of_pool).await.map_err(start_error)?;
    Ok(Arc::new(Pool {
        id: record.id,
        name: record.name,
        state: record.state,
        retention_days: record.retention_days,
        purge_protection: AtomicBool::new(record.purge_protection),
        hsm_platform,
        network: ArcSwap::default(),
        live: Live::new(gateway, of_pool, roles, history, cached_keys),
    }))
}

impl Core {
    /// See [`crate::Engine::ensure_pool`].
    pub(crate) async fn ensure_pool(&self, request: PoolRequest) -> Result<Arc<Pool>, StartError> {
        let refuse = |why| StartError::Pool(request.name.clone(), why);
        if is_built_in(&request.name) {
            return Err(refuse("the name belongs to a built-in pool: choose another one"));
        }
        if !(RETENTION_DAYS_MIN..=RETENTION_DAYS_MAX).contains(&request.retention_days) {
            return Err(refuse("soft-deleted keys are kept for 7 to 90 days: choose a retention in that range"));
        }
        if request.administrators.len() > ROLE_ASSIGNMENTS_AT_HSM_MAX {
            return Err(refuse(
                "it has more administrators than the 50 role assignments that fit at its scope: use a group",
            ));
        }
        if let Some(pool) = self.pools.load().get(&request.name) {
            return Ok(Arc::clone(pool));
        }
        let stored = made(&self.records, &*self.partitions, self.now(), &request).await?;
        if stored.value.retention_days != request.retention_days {
            return Err(refuse("its retention was fixed when it was made: set it back to the old value"));
        }
        if stored.value.purge_protection && !request.purge_protection {
            return Err(refuse("its purge protection is on and can never be turned off: set it back to on"));
        }
        if stored.value.state == PoolState::Provisioned && request.state == PoolState::Activated {
            return Err(refuse(
                "it was made inactive, and only its security domain activates it: ask for it as inactive",
            ));
        }
        let record = self.protected(stored, &request).await?;
        let pool = open(&self.records, &*self.partitions, record, self.cached_keys).await?;
        // Its rules hold before anybody can reach it.
        match self.live_hsm(&pool.name).filter(|hsm| hsm.pool == pool.id) {
            Some(hsm) => self.bring(&pool, &hsm),
            None => self.surround(&pool),
        }
        // Whoever was first stays: a pool has one cache.
        self.pools.rcu(|pools| {
            let mut next = HashMap::clone(pools);
            next.entry(pool.name.clone()).or_insert_with(|| Arc::clone(&pool));
            next
        });
        if self.currency.is_shared() {
            // What others changed between the first look and now was told to nobody.
            self.refresh_roles(&pool).await.map_err(start_error)?;
        }
        Ok(self.pools.load().get(&request.name).map_or(pool, Arc::clone))
    }

    /// Turns purge protection on when the request wants it.
    async fn protected(&self, stored: Stored<PoolRecord>, request: &PoolRequest) -> Result<PoolRecord, StartError> {
        let Stored { mut value, revision } = stored;
        if request.purge_protection && !value.purge_protection {
            value.purge_protection = true;
            let path = paths::pool(&request.name);
            let change = self.records.put(path.clone(), &value).map_err(start_error)?;
            self.records.store.commit(vec![Condition::Unchanged(path, revision)], vec![change]).await?;
        }
        Ok(value)
    }

    /// Every open pool, the built-in ones too.
    pub(crate) fn open_pools(&self) -> Vec<Arc<Pool>> {
        let mut pools: Vec<_> = self.pools.load().values().cloned().collect();
        pools.push(Arc::clone(&self.system));
        pools
    }
}
