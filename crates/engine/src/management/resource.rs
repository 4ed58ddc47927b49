//! What managed HSMs and vaults have in common as resources.

use crate::core::Core;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use strongroom_model::error::{ManagementError, Result};
use strongroom_model::limits::{
    HSM_IP_RULES_MAX, RESOURCE_TAG_NAME_MAX, RESOURCE_TAG_VALUE_MAX, RESOURCE_TAGS_MAX, VAULT_IP_RULES_MAX,
};
use strongroom_model::management::{GroupName, Location, ResourceKind, Scope};
use strongroom_model::network::{
    Bypass, DefaultAction, EndpointStatus, IpRule, NetworkPolicy, PublicNetworkAccess, VirtualNetworkRule,
};
use strongroom_model::principal::PrincipalKind;
use strongroom_model::{PoolName, Principal, Timestamp};
use uuid::Uuid;

/// Longest name of a SKU or its family.
const SKU_TEXT_MAX: usize = 32;

/// Tags of a resource or group, in the order of their names.
pub type Tags = BTreeMap<String, String>;

/// Refuses tags that Azure Resource Manager refuses.
pub(super) fn check_tags(tags: &Tags) -> Result<()> {
    let text = |t: &str, max: usize| t.chars().count() <= max && !t.chars().any(char::is_control);
    let fits = tags.len() <= RESOURCE_TAGS_MAX
        && tags.iter().all(|(name, value)| {
            !name.is_empty() && text(name, RESOURCE_TAG_NAME_MAX) && text(value, RESOURCE_TAG_VALUE_MAX)
        });
    if fits {
        Ok(())
    } else {
        Err(ManagementError::BadProperty("tags", "at most 50, names of 1 to 512 and values of up to 256 characters")
            .into())
    }
}

/// Family and name of a SKU, as the caller spelled them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sku {
    /// `A` for vaults, `B` or `C` for managed HSMs.
    pub family: String,
    /// `standard`, `premium`, `Standard_B1` …
    pub name: String,
}

impl Sku {
    pub(super) fn check(&self, kind: ResourceKind) -> Result<()> {
        let wanted = |family: &[&str], name: bool| {
            family.iter().any(|f| self.family.eq_ignore_ascii_case(f)) && name && self.name.len() <= SKU_TEXT_MAX
        };
        let word = !self.name.is_empty() && self.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let lower = self.name.to_ascii_lowercase();
        let (fits, expected) = match kind {
            ResourceKind::Vault => {
                (wanted(&["A"], ["standard", "premium"].contains(&&*lower)), "family A with standard or premium")
            }
            ResourceKind::ManagedHsm => (wanted(&["B", "C"], word), "family B or C with a name such as Standard_B1"),
        };
        if fits { Ok(()) } else { Err(ManagementError::BadProperty("sku", expected).into()) }
    }
}

/// Who changed something: what `systemData` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Editor {
    /// Object id of an application, user name of a person.
    pub by: String,
    /// Whether an application.
    pub application: bool,
}

impl Editor {
    /// The caller of a request.
    pub fn of(caller: &Principal) -> Self {
        let name = caller.user_name.as_deref().or(caller.app_id.as_deref());
        Self {
            by: name.map_or_else(|| caller.object_id.to_string(), str::to_owned),
            application: caller.kind == PrincipalKind::Application,
        }
    }

    /// The configuration.
    pub(super) fn configuration() -> Self {
        Self { by: "configuration".into(), application: true }
    }
}

/// `systemData`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemData {
    /// Who made it.
    pub created_by: Editor,
    /// When.
    pub created: Timestamp,
    /// Who changed it last.
    pub modified_by: Editor,
    /// When.
    pub modified: Timestamp,
}

impl SystemData {
    pub(super) fn new(by: Editor, at: Timestamp) -> Self {
        Self { created_by: by.clone(), created: at, modified_by: by, modified: at }
    }

    pub(super) fn modified(self, by: Editor, at: Timestamp) -> Self {
        Self { modified_by: by, modified: at, ..self }
    }
}

/// The deletion of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceDeletion {
    /// When.
    pub deleted: Timestamp,
    /// When it is purged.
    pub scheduled_purge: Timestamp,
    /// Served time at the deletion, in seconds.
    pub(crate) served: u64,
}

/// What every resource has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// Its name, without regard to case among its kind in the whole installation.
    pub name: PoolName,
    /// Its group, as spelled at creation.
    pub group: GroupName,
    /// Where it lies.
    pub location: Location,
    /// Its SKU.
    pub sku: Sku,
    /// Its tags.
    pub tags: Tags,
    /// Days that a deleted one, and deleted objects in it, can be recovered.
    pub retention_days: u32,
    /// Whether nothing can be purged before its time.
    pub purge_protection: bool,
    /// Who may reach it.
    pub network: NetworkPolicy,
    /// Who made and changed it.
    pub system_data: SystemData,
    /// Set while it is deleted.
    pub deleted: Option<ResourceDeletion>,
}

/// `createMode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CreateMode {
    /// A new one, or a change of the one that is there.
    #[default]
    Default,
    /// The deleted one of the name comes back.
    Recover,
}

/// What a request says about the network; what it does not say stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkChange {
    /// `publicNetworkAccess`
    pub public_access: Option<PublicNetworkAccess>,
    /// `networkAcls.bypass`
    pub bypass: Option<Bypass>,
    /// `networkAcls.defaultAction`
    pub default_action: Option<DefaultAction>,
    /// `networkAcls.ipRules`
    pub ip_rules: Option<Vec<IpRule>>,
    /// `networkAcls.virtualNetworkRules`
    pub virtual_network_rules: Option<Vec<VirtualNetworkRule>>,
}

impl NetworkChange {
    /// The policy after the change.
    pub(super) fn apply(self, mut policy: NetworkPolicy, kind: ResourceKind) -> Result<NetworkPolicy> {
        if let Some(access) = self.public_access {
            policy.public_access = access;
        }
        if let Some(bypass) = self.bypass {
            policy.bypass = bypass;
        }
        if let Some(action) = self.default_action {
            policy.default_action = action;
        }
        if let Some(rules) = self.ip_rules {
            policy.ip_rules = rules;
        }
        if let Some(rules) = self.virtual_network_rules {
            policy.virtual_network_rules = rules;
        }
        let policy = policy.without_repeats();
        policy.check(ip_rules_max(kind))?;
        Ok(policy)
    }
}

/// A change of one private endpoint connection.
#[derive(Clone, Debug, PartialEq)]
pub enum ConnectionChange {
    /// Approved or rejected by its owner.
    Set {
        /// Its name.
        name: String,
        /// What it is from now on.
        status: EndpointStatus,
        /// Why; what was said before stays when nothing is said.
        description: Option<String>,
    },
    /// Disconnected.
    Remove {
        /// Its name.
        name: String,
    },
}

/// How far a purge has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PurgeStatus {
    /// Nothing of it opens any more; records are still being removed.
    UnderWay,
    /// All of it has gone.
    Done,
}

impl Core {
    /// The deletion of a resource that is kept for so many days, now.
    pub(super) fn deletion(&self, retention_days: u32) -> ResourceDeletion {
        let deleted = self.now();
        let retention = i64::from(retention_days).saturating_mul(strongroom_model::clock::DAY);
        ResourceDeletion { deleted, scheduled_purge: deleted.plus(retention), served: self.served_seconds() }
    }

    /// Whether the wall clock and the served time both say that a deleted resource's retention is over.
    pub(super) fn resource_is_due(&self, resource: &Resource) -> bool {
        resource.deleted.is_some_and(|mark| {
            let retention = i64::from(resource.retention_days).saturating_mul(strongroom_model::clock::DAY);
            let served = self.served_seconds().saturating_sub(mark.served);
            self.now() >= mark.scheduled_purge && served >= retention.unsigned_abs()
        })
    }
}

/// The scope of a resource.
pub(super) fn scope_of(subscription: Uuid, group: &GroupName, kind: ResourceKind, name: &str) -> Scope {
    Scope::subscription(subscription).below(&format!("/resourceGroups/{group}/providers/{}/{name}", kind.as_str()))
}

/// Most IP rules of a resource.
pub(super) const fn ip_rules_max(kind: ResourceKind) -> usize {
    match kind {
        ResourceKind::ManagedHsm => HSM_IP_RULES_MAX,
        ResourceKind::Vault => VAULT_IP_RULES_MAX,
    }
}
