//! Vaults as resources.

use super::{Connection, Days, NetworkRuleSet, Sku, SystemData, Tags};
use crate::object;
use serde::{Deserialize, Serialize};

/// `PUT`, `PATCH` of a vault.
#[derive(Deserialize)]
pub struct VaultParameters {
    /// Where it lies.
    pub location: Option<String>,
    /// The rest.
    #[serde(default, deserialize_with = "object::optional")]
    pub properties: Option<VaultInput>,
    /// All of its tags.
    #[serde(default, deserialize_with = "object::tags")]
    pub tags: Option<Tags>,
}

/// `properties` of a request.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultInput {
    /// Who may do what.
    #[serde(default, deserialize_with = "object::list")]
    pub access_policies: Option<Vec<AccessPolicyEntry>>,
    /// `default` or `recover`.
    pub create_mode: Option<String>,
    /// Once on, it stays on.
    pub enable_purge_protection: Option<bool>,
    /// Whether roles decide.
    pub enable_rbac_authorization: Option<bool>,
    /// Cannot be off.
    pub enable_soft_delete: Option<bool>,
    /// For virtual machines.
    pub enabled_for_deployment: Option<bool>,
    /// For disks.
    pub enabled_for_disk_encryption: Option<bool>,
    /// For templates.
    pub enabled_for_template_deployment: Option<bool>,
    /// Addresses.
    #[serde(default, deserialize_with = "object::optional")]
    pub network_acls: Option<NetworkRuleSet>,
    /// `Enabled` or `Disabled`.
    pub public_network_access: Option<String>,
    /// `standard` or `premium`.
    #[serde(default, deserialize_with = "object::optional")]
    pub sku: Option<Sku>,
    /// 7 to 90.
    pub soft_delete_retention_in_days: Option<Days>,
    /// Its tenant.
    pub tenant_id: Option<String>,
}

/// What one principal may do.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicyEntry {
    /// Only by way of this application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_id: Option<String>,
    /// The principal.
    pub object_id: Option<String>,
    /// What it may do.
    #[serde(default, deserialize_with = "object::optional")]
    pub permissions: Option<Permissions>,
    /// Its tenant.
    pub tenant_id: Option<String>,
}

/// `permissions`
#[derive(Default, Serialize, Deserialize)]
pub struct Permissions {
    /// To certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Vec<String>>,
    /// To keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<String>>,
    /// To secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,
    /// To storage accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Vec<String>>,
}

/// A vault.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vault {
    /// Its path.
    pub id: String,
    /// Where it lies.
    pub location: String,
    /// Its name.
    pub name: String,
    /// The rest.
    pub properties: VaultProperties,
    /// Who made and changed it.
    pub system_data: SystemData,
    /// Its tags.
    pub tags: Tags,
    /// `Microsoft.KeyVault/vaults`
    #[serde(rename = "type")]
    pub kind: String,
}

/// `properties` as answered.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultProperties {
    /// Who may do what.
    pub access_policies: Vec<AccessPolicyEntry>,
    /// Set when on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_purge_protection: Option<bool>,
    /// Whether roles decide.
    pub enable_rbac_authorization: bool,
    /// True.
    pub enable_soft_delete: bool,
    /// As set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled_for_deployment: Option<bool>,
    /// As set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled_for_disk_encryption: Option<bool>,
    /// As set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled_for_template_deployment: Option<bool>,
    /// Addresses.
    pub network_acls: NetworkRuleSet,
    /// Private endpoints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub private_endpoint_connections: Vec<Connection>,
    /// `Succeeded` …
    pub provisioning_state: String,
    /// `Enabled` or `Disabled`.
    pub public_network_access: String,
    /// `standard` or `premium`.
    pub sku: Sku,
    /// 7 to 90.
    pub soft_delete_retention_in_days: u32,
    /// Its tenant.
    pub tenant_id: String,
    /// Where it answers.
    pub vault_uri: String,
}

/// `PUT …/accessPolicies/{kind}`
#[derive(Deserialize)]
pub struct AccessPolicyParameters {
    /// The policies.
    #[serde(default, deserialize_with = "object::optional")]
    pub properties: Option<AccessPolicyInput>,
}

/// `properties` of a request.
#[derive(Deserialize)]
pub struct AccessPolicyInput {
    /// The policies.
    #[serde(default, rename = "accessPolicies", deserialize_with = "object::list")]
    pub access_policies: Option<Vec<AccessPolicyEntry>>,
}

/// Its answer.
#[derive(Serialize, Deserialize)]
pub struct AccessPolicyResult {
    /// Its path.
    pub id: String,
    /// All policies.
    pub properties: AccessPolicyOutput,
    /// `Microsoft.KeyVault/vaults/accessPolicies`
    #[serde(rename = "type")]
    pub kind: String,
}

/// `properties` as answered.
#[derive(Serialize, Deserialize)]
pub struct AccessPolicyOutput {
    /// All policies.
    #[serde(rename = "accessPolicies")]
    pub access_policies: Vec<AccessPolicyEntry>,
}
