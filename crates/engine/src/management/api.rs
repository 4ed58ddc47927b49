//! Every operation of the management plane that the engine offers. Each takes the right to it.

use super::access::{Assignment, AssignmentRequest, ManagementGrant};
use super::change::{Beside, Step};
use super::groups::{Group, GroupRequest};
use super::hsms::{HsmRequest, HsmUpdate, ManagedHsm};
use super::resource::{ConnectionChange, PurgeStatus, Resource, scope_of};
use super::start::ManagementSettings;
use super::vaults::{AccessPolicy, PolicyChange, Vault, VaultRequest, VaultUpdate};
use crate::core::{Core, to_its_end};
use crate::engine::{Engine, Recorded};
use crate::pool::{Pool, PoolState};
use std::sync::Arc;
use strongroom_model::error::{ManagementError, Result};
use strongroom_model::management::{GroupName, Location, ManagementAction as Action, ResourceKind, Scope};
use strongroom_model::network::{CompiledPolicy, EndpointConnection, EndpointStatus, NetworkPolicy};
use strongroom_model::{PoolName, Principal};
use uuid::Uuid;

/// The scope of a group.
pub(super) fn group_scope(subscription: Uuid, group: &GroupName) -> Scope {
    Scope::subscription(subscription).below(&format!("/resourceGroups/{group}"))
}

/// Carries a change to its end in a task of its own.
macro_rules! change {
    ($engine:ident, |$core:ident| $change:expr) => {{
        let $core = Arc::clone(&$engine.core);
        to_its_end(async move { $change.await }).await
    }};
}

impl Engine {
    // ----- beginning -----

    /// Reads the management plane from the store; called once, before any pool is asked for.
    pub async fn load_management(&self, settings: ManagementSettings) -> Result<()> {
        self.core.load_management(settings).await
    }
    /// Makes owners and resources of what the configuration names; called once its pools are open.
    pub async fn settle_management(&self, configured: &[PoolName], r: &Recorded) -> Result<()> {
        self.core.settle_management(configured, r).await
    }
    /// The settings.
    pub fn management_settings(&self) -> &ManagementSettings {
        self.core.management.settings()
    }

    // ----- pools -----

    /// Whether a managed HSM of this name is there; a look-up without I/O.
    pub fn has_pool(&self, name: &PoolName) -> bool {
        self.core.pools.load().contains_key(name) || self.core.live_hsm(name).is_some()
    }
    /// Whether the managed HSM of this name is deleted.
    pub fn is_deleted(&self, name: &PoolName) -> bool {
        self.core.management.set.load().hsms.get(name).is_some_and(|h| h.resource.deleted.is_some())
    }
    /// The pool of a name, its partition started when it is not yet.
    pub async fn opened_pool(&self, name: &PoolName) -> Result<Option<Arc<Pool>>> {
        self.core.opened_pool(name).await
    }

    // ----- access -----

    /// The right to `action` at `scope`, for the caller or one of the caller's groups. No I/O.
    pub fn authorise_management(
        &self,
        caller: &Arc<Principal>,
        action: Action,
        scope: Scope,
    ) -> Result<ManagementGrant> {
        self.core.authorise_management(caller, action, scope)
    }
    /// Whether the caller has any role in the subscription.
    pub fn sees_subscription(&self, caller: &Principal) -> bool {
        let set = self.core.management.set.load();
        set.assignments.values().any(|a| caller.identities().any(|id| id == a.principal_id))
    }
    /// `RoleAssignments_ListForScope`: those at the scope, above it and below it that the caller may read.
    pub fn management_assignments(&self, caller: &Principal, scope: &Scope) -> Vec<Assignment> {
        let set = self.core.management.set.load();
        let near = |a: &&Assignment| a.scope.covers(scope) || scope.covers(&a.scope);
        let may = |a: &&Assignment| {
            let at = if a.scope.covers(scope) { scope } else { &a.scope };
            set.allows(caller, Action::RoleAssignmentsRead, at)
        };
        set.assignments.values().filter(near).filter(may).cloned().collect()
    }
    /// `RoleAssignments_Get`
    pub fn management_assignment(&self, g: &ManagementGrant, id: Uuid) -> Result<Assignment> {
        g.check(Action::RoleAssignmentsRead, g.scope())?;
        let set = self.core.management.set.load();
        let found = set.assignments.get(&id).filter(|a| a.scope == *g.scope());
        Ok(found.ok_or(ManagementError::RoleAssignmentNotFound)?.clone())
    }
    /// `RoleAssignments_Create`; whether it is new.
    pub async fn put_management_assignment(
        &self,
        g: &ManagementGrant,
        r: Recorded,
        id: Uuid,
        asked: AssignmentRequest,
    ) -> Result<(Assignment, bool)> {
        g.check(Action::RoleAssignmentsWrite, g.scope())?;
        let (scope, by) = (g.scope().clone(), g.editor());
        change!(self, |core| core.put_assignment(r, scope, id, by, asked))
    }
    /// `RoleAssignments_Delete`; `None` when there was none.
    pub async fn remove_management_assignment(
        &self,
        g: &ManagementGrant,
        r: Recorded,
        id: Uuid,
    ) -> Result<Option<Assignment>> {
        g.check(Action::RoleAssignmentsDelete, g.scope())?;
        let scope = g.scope().clone();
        change!(self, |core| core.remove_assignment(r, scope, id))
    }

    // ----- resource groups -----

    /// The scope of a group.
    pub fn group_scope(&self, group: &GroupName) -> Scope {
        group_scope(self.core.subscription(), group)
    }
    /// The scope of a resource.
    pub fn resource_scope(&self, group: &GroupName, kind: ResourceKind, name: &str) -> Scope {
        scope_of(self.core.subscription(), group, kind, name)
    }
    /// The groups that the caller may read.
    pub fn resource_groups(&self, caller: &Principal) -> Vec<Group> {
        let set = self.core.management.set.load();
        let may = |g: &&Group| set.allows(caller, Action::GroupsRead, &self.group_scope(&g.name));
        set.groups.values().filter(may).cloned().collect()
    }
    /// One group.
    pub fn resource_group(&self, g: &ManagementGrant, name: &GroupName) -> Result<Group> {
        g.check(Action::GroupsRead, &self.group_scope(name))?;
        self.core.management.set.load().group(name).cloned()
    }
    /// Makes or changes a group; whether it is new.
    pub async fn put_resource_group(
        &self,
        g: &ManagementGrant,
        r: Recorded,
        name: GroupName,
        asked: GroupRequest,
    ) -> Result<(Group, bool)> {
        g.check(Action::GroupsWrite, &self.group_scope(&name))?;
        change!(self, |core| core.put_group(r, name, asked))
    }
    /// Changes a group's tags.
    pub async fn patch_resource_group(
        &self,
        g: &ManagementGrant,
        r: Recorded,
        name: GroupName,
        asked: GroupRequest,
    ) -> Result<Group> {
        g.check(Action::GroupsWrite, &self.group_scope(&name))?;
        change!(self, |core| core.patch_group(r, name, asked.tags))
    }
    /// Deletes a group with everything in it; the caller must be allowed to delete each thing.
    pub async fn delete_resource_group(&self, g: &ManagementGrant, r: Recorded, name: GroupName) -> Result<()> {
        g.check(Action::GroupsDelete, &self.group_scope(&name))?;
        for action in [Action::ManagedHsmsDelete, Action::VaultsDelete] {
            self.authorise_management(g.caller(), action, self.group_scope(&name))?;
        }
        let by = g.editor();
        change!(self, |core| core.delete_group(r, name, by))
    }

    // ----- managed HSMs -----

    /// Live managed HSMs that the caller may read, in one group or in all.
    pub fn managed_hsms(&self, caller: &Principal, group: Option<&GroupName>) -> Vec<ManagedHsm> {
        let set = self.core.management.set.load();
        let may = |h: &&ManagedHsm| self.may_read(&set, caller, ResourceKind::ManagedHsm, &h.resource, group);
        set.hsms.values().filter(|h| h.resource.deleted.is_none()).filter(may).cloned().collect()
    }
    /// Live vaults that the caller may read, in one group or in all.
    pub fn vaults(&self, caller: &Principal, group: Option<&GroupName>) -> Vec<Vault> {
        let set = self.core.management.set.load();
        let may = |v: &&Vault| self.may_read(&set, caller, ResourceKind::Vault, &v.resource, group);
        set.vaults.values().filter(|v| v.resource.deleted.is_none()).filter(may).cloned().collect()
    }

    fn may_read(
        &self,
        set: &super::ManagementSet,
        caller: &Principal,
        kind: ResourceKind,
        resource: &Resource,
        group: Option<&GroupName>,
    ) -> bool {
        let action = match kind {
            ResourceKind::ManagedHsm => Action::ManagedHsmsRead,
            ResourceKind::Vault => Action::VaultsRead,
        };
        let scope = self.resource_scope(&resource.group, kind, resource.name.as_str());
        group.is_none_or(|g| *g == resource.group) && set.allows(caller, action, &scope)
    }

    /// `ManagedHsms_Get`, or any other reading of one: the grant is for an action at its scope.
    pub fn managed_hsm(&self, g: &ManagementGrant, group: &GroupName, name: &PoolName) -> Result<ManagedHsm> {
        self.inside(g, group, ResourceKind::ManagedHsm, name)?;
        let set = self.core.management.set.load();
        set.group(group)?;
        set.hsm(group, name).cloned()
    }
    /// `Vaults_Get`, or any other reading of one.
    pub fn vault(&self, g: &ManagementGrant, group: &GroupName, name: &PoolName) -> Result<Vault> {
        self.inside(g, group, ResourceKind::Vault, name)?;
        let set = self.core.management.set.load();
        set.group(group)?;
        set.vault(group, name).cloned()
    }

    fn inside(&self, g: &ManagementGrant, group: &GroupName, kind: ResourceKind, name: &PoolName) -> Result<()> {
        let scope = self.resource_scope(group, kind, name.as_str());
        if g.scope().covers(&scope) { Ok(()) } else { Err(ManagementError::BadScope.into()) }
    }

    /// Where the pool of a managed HSM is in its life.
    pub async fn state_of(&self, hsm: &ManagedHsm) -> Result<PoolState> {
        self.core.state_of(hsm).await
    }
    /// `ManagedHsms_CreateOrUpdate`; whether it is new.
    pub async fn put_managed_hsm(
        &self,
        g: &ManagementGrant,
        r: Recorded,
        group: GroupName,
        name: PoolName,
        asked: HsmRequest,
    ) -> Result<(ManagedHsm, bool)> {
        g.check(Action::ManagedHsmsWrite, &self.resource_scope(&group, ResourceKind::ManagedHsm, name.as_str()))?;
        let by = g.editor();
        change!(self, |core| core.put_managed_hsm(r, group, name, by, asked))
    }
    /// `ManagedHsms_Update`
    pub async fn update_managed_hsm(
        &self,
        g: &ManagementGrant,
        r: Recorded,
        group: GroupName,
        name: PoolName,
        asked: HsmUpdate,
    ) -> Result<ManagedHsm> {
        g.check(Action::ManagedHsmsWrite, &self.resource_scope(&group, ResourceKind::ManagedHsm, name.as_str()))?;
        let by = g.editor();
        change!(self, |core| core.update_managed_hsm(r, group, name, by, asked))
    }
    /// `ManagedHsms_Delete`
    pub async fn delete_managed_hsm(
        &self,
        g: &ManagementGrant,
        r: Recorded,
        group: GroupName,
        name: PoolName,
    ) -> Result<()> {
        g.check(Action::ManagedHsmsDelete, &self.resource_scope(&group, ResourceKind::ManagedHsm, name.as_str()))?;
        let by = g.editor();
        change!(self, |core| core.delete_managed_hsm(r, group, name, by))
    }

    // ----- vaults -----

    /// `Vaults_CreateOrUpdate`; whether it is new.
    pub async fn put_vault(
        &self,
        g: &ManagementGrant,
        r: Recorded,
        group: GroupName,
        name: PoolName,
        asked: VaultRequest,
    ) -> Result<(Vault, bool)> {
        g.check(Action::VaultsWrite, &self.resource_scope(&group, ResourceKind::Vault, name.as_str()))?;
        let by = g.editor();
        change!(self, |core| core.put_vault(r, group, name, by, asked))
    }
    /// `Vaults_Update`
    pub async fn update_vault(
        &self,
        g: &ManagementGrant,
        r: Recorded,
        group: GroupName,
        name: PoolName,
        asked: VaultUpdate,
    ) -> Result<Vault> {
        g.check(Action::VaultsWrite, &self.resource_scope(&group, ResourceKind::Vault, name.as_str()))?;
        let by = g.editor();
        change!(self, |core| core.update_vault(r, group, name, by, asked))
    }
    /// `Vaults_UpdateAccessPolicy`
    pub async fn update_access_policy(
        &self,
        g: &ManagementGrant,
        r: Recorded,
        group: GroupName,
        name: PoolName,
        change: PolicyChange,
        asked: Vec<AccessPolicy>,
    ) -> Result<Vault> {
        g.check(Action::AccessPoliciesWrite, &self.resource_scope(&group, ResourceKind::Vault, name.as_str()))?;
        let by = g.editor();
        change!(self, |core| core.update_access_policy(r, group, name, by, change, asked))
    }
    /// `Vaults_Delete`
    pub async fn delete_vault(&self, g: &ManagementGrant, r: Recorded, group: GroupName, name: PoolName) -> Result<()> {
        g.check(Action::VaultsDelete, &self.resource_scope(&group, ResourceKind::Vault, name.as_str()))?;
        let by = g.editor();
        change!(self, |core| core.delete_vault(r, group, name, by))
    }

    // ----- what is deleted -----

    /// Deleted resources of a kind, all of them or the one of a name; the grant is for the subscription.
    pub fn deleted_resources(
        &self,
        g: &ManagementGrant,
        kind: ResourceKind,
        name: Option<&PoolName>,
    ) -> Result<Vec<Resource>> {
        let scope = Scope::subscription(self.core.subscription());
        match (kind, name) {
            (ResourceKind::ManagedHsm, None) => g.check(Action::DeletedManagedHsmsRead, &scope)?,
            (ResourceKind::ManagedHsm, Some(_)) => g.check(Action::DeletedManagedHsmRead, &scope)?,
            (ResourceKind::Vault, None) => g.check(Action::DeletedVaultsRead, &scope)?,
            (ResourceKind::Vault, Some(_)) => g.check(Action::DeletedVaultRead, &scope)?,
        }
        let set = self.core.management.set.load();
        let wanted = |x: &&Resource| x.deleted.is_some() && name.is_none_or(|n| *n == x.name);
        Ok(match kind {
            ResourceKind::ManagedHsm => set.hsms.values().map(|h| &h.resource).filter(wanted).cloned().collect(),
            ResourceKind::Vault => set.vaults.values().map(|v| &v.resource).filter(wanted).cloned().collect(),
        })
    }
    /// `ManagedHsms_PurgeDeleted`, `Vaults_PurgeDeleted`: the id of the operation.
    pub async fn purge_resource(
        &self,
        g: &ManagementGrant,
        r: Recorded,
        kind: ResourceKind,
        name: PoolName,
    ) -> Result<Uuid> {
        let scope = Scope::subscription(self.core.subscription());
        match kind {
            ResourceKind::ManagedHsm => {
                g.check(Action::DeletedManagedHsmPurge, &scope)?;
                change!(self, |core| core.purge_managed_hsm(r, name, false))
            }
            ResourceKind::Vault => {
                g.check(Action::DeletedVaultPurge, &scope)?;
                change!(self, |core| core.purge_vault(r, name, false))
            }
        }
    }
    /// How far a purge has come; `None` when there is none of this id.
    pub async fn purge_status(&self, g: &ManagementGrant, kind: ResourceKind, id: Uuid) -> Result<Option<PurgeStatus>> {
        let scope = Scope::subscription(self.core.subscription());
        match kind {
            ResourceKind::ManagedHsm => g.check(Action::ManagedHsmResultsRead, &scope)?,
            ResourceKind::Vault => g.check(Action::VaultResultsRead, &scope)?,
        }
        self.core.purge_status(id).await
    }
    /// Where a deleted resource lay.
    pub fn deleted_location(&self, kind: ResourceKind, name: &PoolName) -> Option<Location> {
        let set = self.core.management.set.load();
        let resource = match kind {
            ResourceKind::ManagedHsm => set.hsms.get(name).map(|h| &h.resource),
            ResourceKind::Vault => set.vaults.get(name).map(|v| &v.resource),
        };
        resource.filter(|x| x.deleted.is_some()).map(|x| x.location.clone())
    }
    /// Whether a name can be given to a new resource.
    pub fn name_is_free(&self, g: &ManagementGrant, kind: ResourceKind, name: &PoolName) -> Result<bool> {
        let scope = Scope::subscription(self.core.subscription());
        let set = self.core.management.set.load();
        Ok(match kind {
            ResourceKind::ManagedHsm => {
                g.check(Action::ManagedHsmNamesRead, &scope)?;
                !set.hsms.contains_key(name) && !crate::pools::is_built_in(name)
            }
            ResourceKind::Vault => {
                g.check(Action::VaultNamesRead, &scope)?;
                !set.vaults.contains_key(name)
            }
        })
    }

    // ----- the network -----

    /// The rules of a managed HSM whose pool is not open yet; `None` when there is none of that name.
    pub fn closed_network(&self, name: &PoolName) -> Option<Arc<CompiledPolicy>> {
        self.core.closed_network(name)
    }

    /// The network rules of a resource, with the private endpoints that the configuration gives it.
    pub fn network_of(&self, kind: ResourceKind, resource: &Resource) -> NetworkPolicy {
        self.core.network_of(kind, resource)
    }

    /// Approves, rejects or removes a private endpoint connection; the connection afterwards.
    pub async fn change_connection(
        &self,
        g: &ManagementGrant,
        r: Recorded,
        kind: ResourceKind,
        group: GroupName,
        name: PoolName,
        change: ConnectionChange,
    ) -> Result<EndpointConnection> {
        let action = match (kind, &change) {
            (ResourceKind::ManagedHsm, ConnectionChange::Set { .. }) => Action::ManagedHsmConnectionsWrite,
            (ResourceKind::ManagedHsm, ConnectionChange::Remove { .. }) => Action::ManagedHsmConnectionsDelete,
            (ResourceKind::Vault, ConnectionChange::Set { .. }) => Action::VaultConnectionsWrite,
            (ResourceKind::Vault, ConnectionChange::Remove { .. }) => Action::VaultConnectionsDelete,
        };
        g.check(action, &self.resource_scope(&group, kind, name.as_str()))?;
        change!(self, |core| core.change_connection(r, kind, group, name, change))
    }
}

impl Core {
    /// The network rules of a resource, with the private endpoints that the configuration gives it.
    fn network_of(&self, kind: ResourceKind, resource: &Resource) -> NetworkPolicy {
        match kind {
            ResourceKind::ManagedHsm => self.with_configured_endpoints(&resource.name, resource.network.clone()),
            ResourceKind::Vault => resource.network.clone(),
        }
    }

    async fn change_connection(
        &self,
        r: Recorded,
        kind: ResourceKind,
        group: GroupName,
        name: PoolName,
        change: ConnectionChange,
    ) -> Result<EndpointConnection> {
        let turn = self.management_turn().await?;
        let changed = |resource: &Resource| -> Result<(Resource, EndpointConnection)> {
            let (wanted, status, description) = match &change {
                ConnectionChange::Set { name, status, description } => (name, *status, description.as_deref()),
                ConnectionChange::Remove { name } => (name, EndpointStatus::Disconnected, None),
            };
            let policy = self.network_of(kind, resource);
            let known = policy
                .connection(wanted)
                .cloned()
                .ok_or_else(|| ManagementError::ConnectionNotFound(wanted.clone()))?;
            let description = description.map_or(known.description.clone(), str::to_owned);
            let connection = EndpointConnection { status, description, ..known };
            let mut network = resource.network.clone();
            network.decide(connection.clone());
            network.check(super::resource::ip_rules_max(kind))?;
            Ok((Resource { network, ..resource.clone() }, connection))
        };
        let object = format!("{}/{name}/privateEndpointConnections", kind.as_str());
        match kind {
            ResourceKind::ManagedHsm => {
                let before = turn.set.hsm(&group, &name)?;
                let (resource, connection) = changed(&before.resource)?;
                let hsm = ManagedHsm { resource, ..before.clone() };
                let steps = [Step::PutHsm(Box::new(hsm.clone()))];
                self.commit_management(&turn, &r, object, &steps, Beside::default()).await?;
                self.follow_resource(&hsm);
                Ok(connection)
            }
            ResourceKind::Vault => {
                let before = turn.set.vault(&group, &name)?;
                let (resource, connection) = changed(&before.resource)?;
                let steps = [Step::PutVault(Box::new(Vault { resource, ..before.clone() }))];
                self.commit_management(&turn, &r, object, &steps, Beside::default()).await?;
                Ok(connection)
            }
        }
    }
}
