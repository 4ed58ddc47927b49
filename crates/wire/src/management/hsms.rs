//! Managed HSMs as resources, and their keys seen from the management plane.

use super::{Connection, Days, NetworkRuleSet, Sku, SystemData, Tags};
use crate::object;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// `PUT`, `PATCH` of a managed HSM.
#[derive(Deserialize)]
pub struct ManagedHsmParameters {
    /// Where it lies.
    pub location: Option<String>,
    /// The rest.
    #[serde(default, deserialize_with = "object::optional")]
    pub properties: Option<ManagedHsmInput>,
    /// Its SKU.
    #[serde(default, deserialize_with = "object::optional")]
    pub sku: Option<Sku>,
    /// All of its tags.
    #[serde(default, deserialize_with = "object::tags")]
    pub tags: Option<Tags>,
}

/// `properties` of a request.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedHsmInput {
    /// `default` or `recover`.
    pub create_mode: Option<String>,
    /// Once on, it stays on.
    pub enable_purge_protection: Option<bool>,
    /// Cannot be off.
    pub enable_soft_delete: Option<bool>,
    /// Who becomes its administrator.
    pub initial_admin_object_ids: Option<Vec<String>>,
    /// Addresses.
    #[serde(default, deserialize_with = "object::optional")]
    pub network_acls: Option<NetworkRuleSet>,
    /// `Enabled` or `Disabled`.
    pub public_network_access: Option<String>,
    /// 7 to 90.
    pub soft_delete_retention_in_days: Option<Days>,
    /// Its tenant.
    pub tenant_id: Option<String>,
}

/// A managed HSM.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedHsm {
    /// Its path.
    pub id: String,
    /// Where it lies.
    pub location: String,
    /// Its name.
    pub name: String,
    /// The rest.
    pub properties: ManagedHsmProperties,
    /// Its SKU.
    pub sku: Sku,
    /// Who made and changed it.
    pub system_data: SystemData,
    /// Its tags.
    pub tags: Tags,
    /// `Microsoft.KeyVault/managedHSMs`
    #[serde(rename = "type")]
    pub kind: String,
}

/// `properties` as answered.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedHsmProperties {
    /// `default`
    pub create_mode: String,
    /// Whether nothing is purged before its time.
    pub enable_purge_protection: bool,
    /// True.
    pub enable_soft_delete: bool,
    /// Where it answers.
    pub hsm_uri: String,
    /// Who became its administrator.
    pub initial_admin_object_ids: Vec<String>,
    /// Addresses.
    pub network_acls: NetworkRuleSet,
    /// Private endpoints.
    pub private_endpoint_connections: Vec<Connection>,
    /// `Succeeded` …
    pub provisioning_state: String,
    /// `Enabled` or `Disabled`.
    pub public_network_access: String,
    /// None but its own.
    pub regions: Vec<Region>,
    /// Whether it is activated.
    pub security_domain_properties: SecurityDomainProperties,
    /// 7 to 90.
    pub soft_delete_retention_in_days: u32,
    /// For people.
    pub status_message: String,
    /// Its tenant.
    pub tenant_id: String,
}

/// `securityDomainProperties`
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityDomainProperties {
    /// `Active`, `NotActivated`, `Unknown` or `Failed`.
    pub activation_status: String,
    /// For people.
    pub activation_status_message: String,
}

/// One place that a managed HSM lies in.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Region {
    /// Whether the first one.
    pub is_primary: bool,
    /// Its name.
    pub name: String,
    /// `Succeeded` …
    pub provisioning_state: String,
}

/// `PUT …/managedHSMs/{name}/keys/{keyName}`
#[derive(Deserialize)]
pub struct ResourceKeyParameters {
    /// What the key is.
    #[serde(default, deserialize_with = "object::optional")]
    pub properties: Option<ResourceKeyInput>,
    /// Its tags.
    #[serde(default, deserialize_with = "object::tags")]
    pub tags: Option<Tags>,
}

/// `properties` of a request for a key.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceKeyInput {
    /// Validity.
    #[serde(default, deserialize_with = "object::optional")]
    pub attributes: Option<ResourceKeyAttributesInput>,
    /// `P-256` …
    pub curve_name: Option<String>,
    /// What it may do.
    pub key_ops: Option<Vec<String>>,
    /// In bits.
    pub key_size: Option<u32>,
    /// `EC-HSM` …
    pub kty: Option<String>,
    /// How it can leave: not yet.
    pub release_policy: Option<Box<RawValue>>,
    /// When it rotates: not here.
    pub rotation_policy: Option<Box<RawValue>>,
}

/// `attributes` of a request for a key.
#[derive(Deserialize)]
pub struct ResourceKeyAttributesInput {
    /// Whether it can be used.
    pub enabled: Option<bool>,
    /// Not after, in seconds since 1970.
    pub exp: Option<i64>,
    /// Whether it can leave.
    pub exportable: Option<bool>,
    /// Not before, in seconds since 1970.
    pub nbf: Option<i64>,
}

/// A key, seen from the management plane.
#[derive(Serialize, Deserialize)]
pub struct ResourceKey {
    /// Its path.
    pub id: String,
    /// Its name, or its version.
    pub name: String,
    /// What it is.
    pub properties: ResourceKeyProperties,
    /// Its tags.
    #[serde(default, deserialize_with = "object::tags", skip_serializing_if = "Option::is_none")]
    pub tags: Option<Tags>,
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: String,
}

/// `properties` of a key.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceKeyProperties {
    /// Validity and dates.
    pub attributes: ResourceKeyAttributes,
    /// `P-256` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve_name: Option<String>,
    /// What it may do; lists leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_ops: Option<Vec<String>>,
    /// In bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_size: Option<u32>,
    /// Its address on the data plane, without version.
    pub key_uri: String,
    /// The same with version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_uri_with_version: Option<String>,
    /// `EC-HSM` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kty: Option<String>,
}

/// `attributes` of a key.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceKeyAttributes {
    /// Seconds since 1970.
    pub created: i64,
    /// Whether it can be used.
    pub enabled: bool,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// Whether it can leave.
    pub exportable: bool,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// What becomes of it when it is deleted.
    pub recovery_level: String,
    /// Seconds since 1970.
    pub updated: i64,
}
