//! Managed HSMs as resources: each with its own pool, partition and keys.

use super::change::{Beside, Step, Turn};
use super::merge::ResourceRequest;
use super::resource::{CreateMode, Editor, Resource};
use crate::core::{Core, to_its_end};
use crate::engine::Recorded;
use crate::pool::{Pool, PoolRequest, PoolState};
use crate::pools;
use crate::records::paths;
use crate::records::shapes::{PoolRecord, PurgedRecord};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use strongroom_model::error::{Error, Internal, ManagementError, Result};
use strongroom_model::limits::INITIAL_ADMINISTRATORS_MAX;
use strongroom_model::management::{GroupName, ResourceKind};
use strongroom_model::{PoolId, PoolName};
use strongroom_store::Change;
use uuid::Uuid;

const KIND: ResourceKind = ResourceKind::ManagedHsm;

/// A managed HSM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManagedHsm {
    /// What every resource has. Retention and purge protection stand in the pool's record as well, where keys are deleted by
    /// them; both are written by one commit.
    pub resource: Resource,
    /// The tenant whose tokens count.
    pub tenant_id: Uuid,
    /// Who got Managed HSM Administrator when it was made; nothing is given later by this list.
    pub administrators: Vec<Uuid>,
    /// Its pool.
    pub pool: PoolId,
}

/// `ManagedHsms_CreateOrUpdate`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HsmRequest {
    /// What every resource has.
    pub common: ResourceRequest,
    /// Must be the tenant of this installation.
    pub tenant_id: Option<Uuid>,
    /// `initialAdminObjectIds`: wanted at creation, cannot change.
    pub administrators: Option<Vec<Uuid>>,
}

/// `ManagedHsms_Update`: the same members, none of them wanted.
pub type HsmUpdate = HsmRequest;

impl Core {
    /// Makes, changes or recovers a managed HSM; whether it is new.
    pub(super) async fn put_managed_hsm(
        &self,
        r: Recorded,
        group: GroupName,
        name: PoolName,
        by: Editor,
        asked: HsmRequest,
    ) -> Result<(ManagedHsm, bool)> {
        self.check_hsm_request(&asked)?;
        let turn = self.management_turn().await?;
        turn.set.group(&group)?;
        match turn.set.hsms.get(&name) {
            Some(hsm) if hsm.resource.deleted.is_some() => match asked.common.mode {
                CreateMode::Recover if hsm.resource.group == group => {
                    Ok((self.change_hsm(&turn, r, hsm, by, asked).await?, false))
                }
                CreateMode::Recover | CreateMode::Default => {
                    Err(ManagementError::NameDeleted(KIND, name.to_string()).into())
                }
            },
            Some(hsm) if hsm.resource.group == group => Ok((self.change_hsm(&turn, r, hsm, by, asked).await?, false)),
            Some(_) => Err(ManagementError::NameTaken(KIND, name.to_string()).into()),
            None => match asked.common.mode {
                CreateMode::Recover => Err(ManagementError::DeletedNotFound(KIND, name.to_string()).into()),
                CreateMode::Default => Ok((self.create_hsm(&turn, r, group, name, by, asked).await?, true)),
            },
        }
    }

    fn check_hsm_request(&self, asked: &HsmRequest) -> Result<()> {
        asked.common.check(KIND)?;
        if asked.tenant_id.is_some_and(|tenant| tenant != self.tenant()) {
            return Err(ManagementError::BadProperty("tenantId", "the tenant of this installation").into());
        }
        match asked.administrators.as_ref().map(Vec::len) {
            Some(len) if len > INITIAL_ADMINISTRATORS_MAX => {
                Err(ManagementError::BadProperty("initialAdminObjectIds", "1 to 10 object ids").into())
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn create_hsm(
        &self,
        turn: &Turn<'_>,
        r: Recorded,
        group: GroupName,
        name: PoolName,
        by: Editor,
        asked: HsmRequest,
    ) -> Result<ManagedHsm> {
        let wanted = ManagementError::BadProperty("initialAdminObjectIds", "1 to 10 object ids");
        let administrators = asked.administrators.filter(|ids| !ids.is_empty()).ok_or(wanted)?;
        turn.set.check_room()?;
        if pools::is_built_in(&name) {
            return Err(ManagementError::NameTaken(KIND, name.to_string()).into());
        }
        let resource = asked.common.create(KIND, group, name.clone(), by, self.now())?;
        let request = PoolRequest {
            name,
            state: self.management.settings().initial_state,
            retention_days: resource.retention_days,
            purge_protection: resource.purge_protection,
            administrators: administrators.clone(),
        };
        let draft = pools::draft(&self.records, &*self.partitions, self.now(), &request).await?;
        let pool = draft.record.id;
        let hsm = ManagedHsm { resource, tenant_id: self.tenant(), administrators, pool };
        let beside = Beside { conditions: draft.conditions, changes: draft.changes };
        let object = format!("managedHSMs/{}", request.name);
        let made = self.commit_management(turn, &r, object, &[Step::PutHsm(Box::new(hsm.clone()))], beside).await;
        if made.is_err() {
            self.partitions.close(pool);
        }
        made.map(|()| hsm)
    }

    /// Changes one that is there, or brings a deleted one back.
    async fn change_hsm(
        &self,
        turn: &Turn<'_>,
        r: Recorded,
        before: &ManagedHsm,
        by: Editor,
        asked: HsmRequest,
    ) -> Result<ManagedHsm> {
        let sorted = |ids: &[Uuid]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        if asked.administrators.as_deref().is_some_and(|ids| sorted(ids) != sorted(&before.administrators)) {
            return Err(ManagementError::Immutable("initialAdminObjectIds").into());
        }
        let resource = asked.common.change(KIND, &before.resource, by, self.now())?;
        let mut beside = Beside::default();
        if resource.purge_protection && !before.resource.purge_protection {
            let record = self.pool_record(&resource.name, before.pool).await?;
            let record = PoolRecord { purge_protection: true, ..record };
            beside.changes.push(self.records.put(paths::pool(&resource.name), &record)?);
        }
        let hsm = ManagedHsm { resource, ..before.clone() };
        let object = format!("managedHSMs/{}", hsm.resource.name);
        self.commit_management(turn, &r, object, &[Step::PutHsm(Box::new(hsm.clone()))], beside).await?;
        self.follow_resource(&hsm);
        Ok(hsm)
    }

    /// `ManagedHsms_Update`
    pub(super) async fn update_managed_hsm(
        &self,
        r: Recorded,
        group: GroupName,
        name: PoolName,
        by: Editor,
        asked: HsmUpdate,
    ) -> Result<ManagedHsm> {
        self.check_hsm_request(&asked)?;
        let turn = self.management_turn().await?;
        let before = turn.set.hsm(&group, &name)?;
        self.change_hsm(&turn, r, before, by, asked).await
    }

    /// Deletes a managed HSM: its keys wait for the purge, and nothing answers at its name.
    pub(super) async fn delete_managed_hsm(
        &self,
        r: Recorded,
        group: GroupName,
        name: PoolName,
        by: Editor,
    ) -> Result<()> {
        let turn = self.management_turn().await?;
        let before = turn.set.hsm(&group, &name)?;
        let deleted = Some(self.deletion(before.resource.retention_days));
        let system_data = before.resource.system_data.clone().modified(by, self.now());
        let hsm =
            ManagedHsm { resource: Resource { deleted, system_data, ..before.resource.clone() }, ..before.clone() };
        let object = format!("managedHSMs/{name}");
        let pool = hsm.pool;
        self.commit_management(&turn, &r, object, &[Step::PutHsm(Box::new(hsm))], Beside::default()).await?;
        self.close_pool(&name, pool);
        Ok(())
    }

    /// Purges a deleted managed HSM: with its wrapped root nothing of it opens any more; what is left is removed in parts.
    /// Its id names the operation.
    pub(super) async fn purge_managed_hsm(&self, r: Recorded, name: PoolName, due: bool) -> Result<Uuid> {
        let scope = {
            let set = self.management.set.load();
            set.hsms
                .get(&name)
                .map(|h| super::resource::scope_of(self.subscription(), &h.resource.group, KIND, name.as_str()))
        };
        if let Some(scope) = scope {
            self.unassign_most_below(&r, &scope).await?;
        }
        let turn = self.management_turn().await?;
        let found = turn.set.hsms.get(&name).filter(|h| h.resource.deleted.is_some());
        let hsm = found.ok_or_else(|| ManagementError::DeletedNotFound(KIND, name.to_string()))?;
        if due && !self.resource_is_due(&hsm.resource) {
            return Err(ManagementError::DeletedNotFound(KIND, name.to_string()).into());
        }
        if !due && hsm.resource.purge_protection {
            return Err(ManagementError::PurgeProtected(KIND, name.to_string()).into());
        }
        let scope = super::resource::scope_of(self.subscription(), &hsm.resource.group, KIND, name.as_str());
        let mut steps = vec![Step::RemoveHsm(name.clone())];
        steps.extend(self.unassign_below(&turn.set, &scope));
        let note = PurgedRecord { purged: self.now(), pool: Some(hsm.pool), done: None };
        let beside = Beside {
            conditions: Vec::new(),
            changes: vec![Change::Delete(paths::pool(&name)), self.records.put(paths::purged(hsm.pool.0), &note)?],
        };
        self.commit_management(&turn, &r, format!("deletedManagedHSMs/{name}"), &steps, beside).await?;
        self.close_pool(&name, hsm.pool);
        Ok(hsm.pool.0)
    }

    /// The record of a pool, which must be the one that a resource names.
    pub(super) async fn pool_record(&self, name: &PoolName, id: PoolId) -> Result<PoolRecord> {
        let stored = self.records.get::<PoolRecord>(&paths::pool(name)).await?.map(|s| s.value);
        stored.filter(|record| record.id == id).ok_or(Error::Internal(Internal::CorruptRecord))
    }

    /// Where the pool of a managed HSM is in its life.
    pub(super) async fn state_of(&self, hsm: &ManagedHsm) -> Result<PoolState> {
        Ok(self.pool_record(&hsm.resource.name, hsm.pool).await?.state)
    }

    /// Brings an open pool to what its resource says.
    pub(super) fn follow_resource(&self, hsm: &ManagedHsm) {
        if let Some(pool) = self.pools.load().get(&hsm.resource.name) {
            self.bring(pool, hsm);
        }
    }

    pub(crate) fn bring(&self, pool: &Pool, hsm: &ManagedHsm) {
        if hsm.resource.purge_protection {
            pool.protect_from_purge();
        }
        self.set_network_policy(pool, hsm.resource.network.clone());
    }

    /// The pool of a managed HSM, opened when it is not open yet; `None` when there is none of that name.
    pub(crate) async fn opened_pool(self: &Arc<Self>, name: &PoolName) -> Result<Option<Arc<Pool>>> {
        if let Some(pool) = self.pools.load().get(name) {
            return Ok(Some(Arc::clone(pool)));
        }
        let (core, name) = (Arc::clone(self), name.clone());
        to_its_end(async move { core.open_pool_of(&name).await }).await
    }

    async fn open_pool_of(&self, name: &PoolName) -> Result<Option<Arc<Pool>>> {
        let _turn = self.management.opening(name).lock().await;
        if let Some(pool) = self.pools.load().get(name) {
            return Ok(Some(Arc::clone(pool)));
        }
        let Some(hsm) = self.live_hsm(name) else { return Ok(None) };
        let record = self.pool_record(name, hsm.pool).await?;
        let opened = pools::open(&self.records, &*self.partitions, record, self.cached_keys).await;
        let pool = opened.map_err(pools::operation_error)?;
        self.bring(&pool, &hsm);
        self.pools.rcu(|pools| {
            let mut next = HashMap::clone(pools);
            next.insert(name.clone(), Arc::clone(&pool));
            next
        });
        match self.live_hsm(name).filter(|now| now.pool == hsm.pool) {
            Some(now) => {
                // It may have been changed since it was read.
                self.bring(&pool, &now);
                Ok(Some(pool))
            }
            None => {
                self.close_pool(name, hsm.pool);
                Ok(None)
            }
        }
    }

    /// Whether there is a live managed HSM of the name; asks nobody.
    pub(crate) fn live_hsm(&self, name: &PoolName) -> Option<ManagedHsm> {
        self.management.set.load().hsms.get(name).filter(|h| h.resource.deleted.is_none()).cloned()
    }

    pub(super) fn close_pool(&self, name: &PoolName, id: PoolId) {
        self.pools.rcu(|pools| {
            let mut next = HashMap::clone(pools);
            if next.get(name).is_some_and(|pool| pool.id == id) {
                next.remove(name);
            }
            next
        });
        self.partitions.close(id);
    }
}
