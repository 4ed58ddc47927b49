//! Vaults as resources.

use super::change::{Beside, Step};
use super::merge::ResourceRequest;
use super::resource::{CreateMode, Editor, Resource};
use crate::core::Core;
use crate::engine::Recorded;
use crate::records::paths;
use crate::records::shapes::PurgedRecord;
use serde::{Deserialize, Serialize};
use strongroom_model::error::{ManagementError, Result};
use strongroom_model::limits::ACCESS_POLICIES_MAX;
use strongroom_model::management::{GroupName, ResourceKind};
use strongroom_model::{PoolName, VaultId};
use uuid::Uuid;

const KIND: ResourceKind = ResourceKind::Vault;

/// What one principal may do in a vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessPolicy {
    /// The tenant of the principal.
    pub tenant_id: Uuid,
    /// The principal.
    pub object_id: Uuid,
    /// Only by way of this application.
    pub application_id: Option<Uuid>,
    /// Permissions to keys, in the order sent.
    pub keys: Vec<String>,
    /// To secrets.
    pub secrets: Vec<String>,
    /// To certificates.
    pub certificates: Vec<String>,
    /// To storage accounts.
    pub storage: Vec<String>,
}

impl AccessPolicy {
    fn same_principal(&self, other: &Self) -> bool {
        (self.tenant_id, self.object_id, self.application_id)
            == (other.tenant_id, other.object_id, other.application_id)
    }

    /// Adds permissions that are not there yet.
    fn add(&mut self, other: Self) {
        let join = |mine: &mut Vec<String>, theirs: Vec<String>| {
            for text in theirs {
                if !mine.iter().any(|m| m.eq_ignore_ascii_case(&text)) {
                    mine.push(text);
                }
            }
        };
        join(&mut self.keys, other.keys);
        join(&mut self.secrets, other.secrets);
        join(&mut self.certificates, other.certificates);
        join(&mut self.storage, other.storage);
    }

    /// Takes permissions away.
    fn remove(&mut self, other: &Self) {
        let cut = |mine: &mut Vec<String>, theirs: &[String]| {
            mine.retain(|m| !theirs.iter().any(|t| t.eq_ignore_ascii_case(m)));
        };
        cut(&mut self.keys, &other.keys);
        cut(&mut self.secrets, &other.secrets);
        cut(&mut self.certificates, &other.certificates);
        cut(&mut self.storage, &other.storage);
    }

    fn is_empty(&self) -> bool {
        [&self.keys, &self.secrets, &self.certificates, &self.storage].iter().all(|list| list.is_empty())
    }
}

/// `accessPolicies/{operationKind}`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyChange {
    /// Adds permissions.
    Add,
    /// Puts the given policies in the place of all.
    Replace,
    /// Takes permissions away.
    Remove,
}

/// A vault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vault {
    /// What every resource has.
    pub resource: Resource,
    /// Its identity: names may be used again, ids never.
    pub id: VaultId,
    /// The tenant whose tokens count.
    pub tenant_id: Uuid,
    /// Whether roles decide, and not access policies.
    pub rbac: bool,
    /// Who may do what, when access policies decide.
    pub access_policies: Vec<AccessPolicy>,
    /// `enabledForDeployment`, as set.
    pub for_deployment: Option<bool>,
    /// `enabledForDiskEncryption`, as set.
    pub for_disk_encryption: Option<bool>,
    /// `enabledForTemplateDeployment`, as set.
    pub for_template_deployment: Option<bool>,
}

/// `Vaults_CreateOrUpdate`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VaultRequest {
    /// What every resource has.
    pub common: ResourceRequest,
    /// Must be the tenant of this installation.
    pub tenant_id: Option<Uuid>,
    /// `enableRbacAuthorization`
    pub rbac: Option<bool>,
    /// What `enableRbacAuthorization` is in a new vault when nothing is said: the API version decides.
    pub rbac_default: bool,
    /// `accessPolicies`
    pub access_policies: Option<Vec<AccessPolicy>>,
    /// See [`Vault::for_deployment`].
    pub for_deployment: Option<bool>,
    /// See [`Vault::for_disk_encryption`].
    pub for_disk_encryption: Option<bool>,
    /// See [`Vault::for_template_deployment`].
    pub for_template_deployment: Option<bool>,
}

/// `Vaults_Update`: the same members, none of them wanted.
pub type VaultUpdate = VaultRequest;

impl Core {
    /// Makes, changes or recovers a vault; whether it is new.
    pub(super) async fn put_vault(
        &self,
        r: Recorded,
        group: GroupName,
        name: PoolName,
        by: Editor,
        asked: VaultRequest,
    ) -> Result<(Vault, bool)> {
        self.check_vault_request(&asked)?;
        let turn = self.management_turn().await?;
        turn.set.group(&group)?;
        let (vault, new) = match (turn.set.vaults.get(&name), asked.common.mode) {
            (Some(vault), mode) if vault.resource.deleted.is_some() => match mode {
                CreateMode::Recover if vault.resource.group == group => (self.changed_vault(vault, by, asked)?, false),
                CreateMode::Recover | CreateMode::Default => {
                    return Err(ManagementError::NameDeleted(KIND, name.to_string()).into());
                }
            },
            (Some(vault), _) if vault.resource.group == group => (self.changed_vault(vault, by, asked)?, false),
            (Some(_), _) => return Err(ManagementError::NameTaken(KIND, name.to_string()).into()),
            (None, CreateMode::Recover) => return Err(ManagementError::DeletedNotFound(KIND, name.to_string()).into()),
            (None, CreateMode::Default) => {
                turn.set.check_room()?;
                (self.new_vault(group, name, by, asked)?, true)
            }
        };
        let object = format!("vaults/{}", vault.resource.name);
        self.commit_management(&turn, &r, object, &[Step::PutVault(Box::new(vault.clone()))], Beside::default())
            .await?;
        Ok((vault, new))
    }

    fn check_vault_request(&self, asked: &VaultRequest) -> Result<()> {
        asked.common.check(KIND)?;
        if asked.tenant_id.is_some_and(|tenant| tenant != self.tenant()) {
            return Err(ManagementError::BadProperty("tenantId", "the tenant of this installation").into());
        }
        if asked.common.purge_protection == Some(false) {
            return Err(ManagementError::BadProperty("enablePurgeProtection", "true, or nothing").into());
        }
        asked.access_policies.as_deref().map_or(Ok(()), check_policies)
    }

    fn new_vault(&self, group: GroupName, name: PoolName, by: Editor, asked: VaultRequest) -> Result<Vault> {
        if asked.tenant_id.is_none() {
            return Err(ManagementError::BadProperty("tenantId", "the tenant of this installation").into());
        }
        let rbac = asked.rbac.unwrap_or(asked.rbac_default);
        if !rbac && asked.access_policies.is_none() {
            return Err(ManagementError::BadProperty("accessPolicies", "a list, as roles do not decide").into());
        }
        Ok(Vault {
            resource: asked.common.create(KIND, group, name, by, self.now())?,
            id: VaultId(Uuid::new_v4()),
            tenant_id: self.tenant(),
            rbac,
            access_policies: asked.access_policies.unwrap_or_default(),
            for_deployment: asked.for_deployment,
            for_disk_encryption: asked.for_disk_encryption,
            for_template_deployment: asked.for_template_deployment,
        })
    }

    fn changed_vault(&self, before: &Vault, by: Editor, asked: VaultRequest) -> Result<Vault> {
        Ok(Vault {
            resource: asked.common.change(KIND, &before.resource, by, self.now())?,
            id: before.id,
            tenant_id: before.tenant_id,
            rbac: asked.rbac.unwrap_or(before.rbac),
            access_policies: asked.access_policies.unwrap_or_else(|| before.access_policies.clone()),
            for_deployment: asked.for_deployment.or(before.for_deployment),
            for_disk_encryption: asked.for_disk_encryption.or(before.for_disk_encryption),
            for_template_deployment: asked.for_template_deployment.or(before.for_template_deployment),
        })
    }

    /// `Vaults_Update`
    pub(super) async fn update_vault(
        &self,
        r: Recorded,
        group: GroupName,
        name: PoolName,
        by: Editor,
        asked: VaultUpdate,
    ) -> Result<Vault> {
        self.check_vault_request(&asked)?;
        let turn = self.management_turn().await?;
        let vault = self.changed_vault(turn.set.vault(&group, &name)?, by, asked)?;
        let steps = [Step::PutVault(Box::new(vault.clone()))];
        self.commit_management(&turn, &r, format!("vaults/{name}"), &steps, Beside::default()).await?;
        Ok(vault)
    }

    /// `Vaults_UpdateAccessPolicy`
    pub(super) async fn update_access_policy(
        &self,
        r: Recorded,
        group: GroupName,
        name: PoolName,
        by: Editor,
        change: PolicyChange,
        asked: Vec<AccessPolicy>,
    ) -> Result<Vault> {
        check_policies(&asked)?;
        let turn = self.management_turn().await?;
        let before = turn.set.vault(&group, &name)?;
        let access_policies = changed_policies(before.access_policies.clone(), change, asked);
        check_policies(&access_policies)?;
        let system_data = before.resource.system_data.clone().modified(by, self.now());
        let resource = Resource { system_data, ..before.resource.clone() };
        let vault = Vault { resource, access_policies, ..before.clone() };
        let steps = [Step::PutVault(Box::new(vault.clone()))];
        self.commit_management(&turn, &r, format!("vaults/{name}"), &steps, Beside::default()).await?;
        Ok(vault)
    }

    /// Deletes a vault: it waits for its purge.
    pub(super) async fn delete_vault(&self, r: Recorded, group: GroupName, name: PoolName, by: Editor) -> Result<()> {
        let turn = self.management_turn().await?;
        let before = turn.set.vault(&group, &name)?;
        let deleted = Some(self.deletion(before.resource.retention_days));
        let system_data = before.resource.system_data.clone().modified(by, self.now());
        let vault = Vault { resource: Resource { deleted, system_data, ..before.resource.clone() }, ..before.clone() };
        let steps = [Step::PutVault(Box::new(vault))];
        self.commit_management(&turn, &r, format!("vaults/{name}"), &steps, Beside::default()).await
    }

    /// Purges a deleted vault; its id names the operation.
    pub(super) async fn purge_vault(&self, r: Recorded, name: PoolName, due: bool) -> Result<Uuid> {
        let scope = {
            let set = self.management.set.load();
            set.vaults
                .get(&name)
                .map(|v| super::resource::scope_of(self.subscription(), &v.resource.group, KIND, name.as_str()))
        };
        if let Some(scope) = scope {
            self.unassign_most_below(&r, &scope).await?;
        }
        let turn = self.management_turn().await?;
        let found = turn.set.vaults.get(&name).filter(|v| v.resource.deleted.is_some());
        let vault = found.ok_or_else(|| ManagementError::DeletedNotFound(KIND, name.to_string()))?;
        if due && !self.resource_is_due(&vault.resource) {
            return Err(ManagementError::DeletedNotFound(KIND, name.to_string()).into());
        }
        if !due && vault.resource.purge_protection {
            return Err(ManagementError::PurgeProtected(KIND, name.to_string()).into());
        }
        let scope = super::resource::scope_of(self.subscription(), &vault.resource.group, KIND, name.as_str());
        let mut steps = vec![Step::RemoveVault(name.clone())];
        steps.extend(self.unassign_below(&turn.set, &scope));
        let now = self.now();
        // There are no records behind a vault yet.
        let note = PurgedRecord { purged: now, pool: None, done: Some(now) };
        let beside =
            Beside { conditions: Vec::new(), changes: vec![self.records.put(paths::purged(vault.id.0), &note)?] };
        self.commit_management(&turn, &r, format!("deletedVaults/{name}"), &steps, beside).await?;
        Ok(vault.id.0)
    }
}

fn check_policies(policies: &[AccessPolicy]) -> Result<()> {
    if policies.len() > ACCESS_POLICIES_MAX {
        return Err(ManagementError::BadProperty("accessPolicies", "at most 1024").into());
    }
    Ok(())
}

fn changed_policies(mut all: Vec<AccessPolicy>, change: PolicyChange, asked: Vec<AccessPolicy>) -> Vec<AccessPolicy> {
    match change {
        PolicyChange::Replace => asked,
        PolicyChange::Add => {
            for policy in asked {
                match all.iter_mut().find(|p| p.same_principal(&policy)) {
                    Some(mine) => mine.add(policy),
                    None => all.push(policy),
                }
            }
            all
        }
        PolicyChange::Remove => {
            for policy in &asked {
                for mine in all.iter_mut().filter(|p| p.same_principal(policy)) {
                    mine.remove(policy);
                }
            }
            all.retain(|policy| !policy.is_empty());
            all
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(id: u128, keys: &[&str], secrets: &[&str]) -> AccessPolicy {
        let texts = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect();
        AccessPolicy {
            object_id: Uuid::from_u128(id),
            keys: texts(keys),
            secrets: texts(secrets),
            ..AccessPolicy::default()
        }
    }

    #[test]
    fn policies_are_added_replaced_and_removed_by_principal() {
        let before = vec![policy(1, &["get"], &[]), policy(2, &["sign"], &["list"])];
        let added = changed_policies(
            before.clone(),
            PolicyChange::Add,
            vec![policy(1, &["GET", "list"], &["get"]), policy(3, &["get"], &[])],
        );
        assert_eq!(
            added,
            [policy(1, &["get", "list"], &["get"]), policy(2, &["sign"], &["list"]), policy(3, &["get"], &[])]
        );
        let removed = changed_policies(
            added.clone(),
            PolicyChange::Remove,
            vec![policy(1, &["Get"], &["get"]), policy(3, &["get"], &[])],
        );
        assert_eq!(removed, [policy(1, &["list"], &[]), policy(2, &["sign"], &["list"])]);
        assert_eq!(changed_policies(added, PolicyChange::Replace, before.clone()), before);
    }
}
