//! The management plane in memory: one immutable set, replaced at each change.

use super::access::Assignment;
use super::groups::Group;
use super::hsms::ManagedHsm;
use super::vaults::Vault;
use crate::records::shapes::ManagementRecord;
use crate::records::{Records, Stored, paths, store_error};
use std::collections::BTreeMap;
use strongroom_model::error::{Error, ManagementError, Result};
use strongroom_model::limits::RESOURCES_MAX;
use strongroom_model::management::{GroupName, ManagementAction, ResourceKind, Scope, built_in_role};
use strongroom_model::{PoolName, Principal};
use strongroom_store::Revision;
use uuid::Uuid;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct ManagementSet {
    /// The commit that wrote [`ManagementRecord`]; `None` before the first change.
    pub(crate) revision: Option<Revision>,
    pub(crate) generation: u64,
    pub(crate) groups: BTreeMap<String, Group>,
    pub(crate) hsms: BTreeMap<PoolName, ManagedHsm>,
    pub(crate) vaults: BTreeMap<PoolName, Vault>,
    pub(crate) assignments: BTreeMap<Uuid, Assignment>,
}

impl ManagementSet {
    /// Reads all of it.
    pub(crate) async fn load(records: &Records) -> Result<Self> {
        let snapshot = records.store.snapshot().await.map_err(store_error)?;
        let head = records.get_from::<ManagementRecord>(&*snapshot, paths::MANAGEMENT).await?;
        let groups = records.scan_all::<Group>(&*snapshot, paths::GROUPS).await?;
        let hsms = records.scan_all::<ManagedHsm>(&*snapshot, paths::MANAGED_HSMS).await?;
        let vaults = records.scan_all::<Vault>(&*snapshot, paths::MANAGED_VAULTS).await?;
        let assignments = records.scan_all::<Assignment>(&*snapshot, paths::MANAGEMENT_ASSIGNMENTS).await?;
        let values = |Stored { value, .. }| value;
        Ok(Self {
            revision: head.as_ref().map(|h| h.revision),
            generation: head.map_or(0, |h| h.value.generation),
            groups: groups.into_iter().map(values).map(|g: Group| (g.name.folded(), g)).collect(),
            hsms: hsms.into_iter().map(|s| (s.value.resource.name.clone(), s.value)).collect(),
            vaults: vaults.into_iter().map(|s| (s.value.resource.name.clone(), s.value)).collect(),
            assignments: assignments.into_iter().map(|s| (s.value.id, s.value)).collect(),
        })
    }

    /// Whether the caller, or one of the caller's groups, has a role that allows `action` at `scope`.
    pub(crate) fn allows(&self, caller: &Principal, action: ManagementAction, scope: &Scope) -> bool {
        self.assignments.values().any(|assignment| {
            assignment.scope.covers(scope)
                && caller.identities().any(|id| id == assignment.principal_id)
                && built_in_role(assignment.role_definition_id).is_some_and(|role| role.allows(action))
        })
    }

    /// The group of a name.
    pub(crate) fn group(&self, name: &GroupName) -> Result<&Group> {
        self.groups.get(&name.folded()).ok_or_else(|| ManagementError::GroupNotFound(name.to_string()).into())
    }

    /// The live managed HSM of a name, in a group.
    pub(crate) fn hsm(&self, group: &GroupName, name: &PoolName) -> Result<&ManagedHsm> {
        let found = self.hsms.get(name).filter(|h| h.resource.deleted.is_none() && h.resource.group == *group);
        found.ok_or_else(|| not_found(ResourceKind::ManagedHsm, group, name))
    }

    /// The live vault of a name, in a group.
    pub(crate) fn vault(&self, group: &GroupName, name: &PoolName) -> Result<&Vault> {
        let found = self.vaults.get(name).filter(|v| v.resource.deleted.is_none() && v.resource.group == *group);
        found.ok_or_else(|| not_found(ResourceKind::Vault, group, name))
    }

    /// Refuses one more resource than there may be.
    pub(crate) fn check_room(&self) -> Result<()> {
        if self.hsms.len().saturating_add(self.vaults.len()) < RESOURCES_MAX {
            Ok(())
        } else {
            Err(ManagementError::LimitReached("vaults and managed HSMs").into())
        }
    }
}

fn not_found(kind: ResourceKind, group: &GroupName, name: &PoolName) -> Error {
    ManagementError::ResourceNotFound { kind, name: name.to_string(), group: group.to_string() }.into()
}
