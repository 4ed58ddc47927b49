//! Tenants, subscriptions, places, providers, resource groups, and resources as the list of all kinds shows them.

use super::{Sku, Tags};
use crate::object;
use serde::{Deserialize, Serialize};

/// `GET /tenants`
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    /// The domain of the installation.
    pub default_domain: String,
    /// A name for people.
    pub display_name: String,
    /// `/tenants/{id}`
    pub id: String,
    /// `Home`
    pub tenant_category: String,
    /// Its GUID.
    pub tenant_id: String,
}

/// `GET /subscriptions`
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// `RoleBased`
    pub authorization_source: String,
    /// A name for people.
    pub display_name: String,
    /// `/subscriptions/{id}`
    pub id: String,
    /// Nobody else.
    pub managed_by_tenants: Vec<Tenant>,
    /// `Enabled`
    pub state: String,
    /// Its GUID.
    pub subscription_id: String,
    /// What it may have.
    pub subscription_policies: SubscriptionPolicies,
    /// Its tenant.
    pub tenant_id: String,
}

/// `subscriptionPolicies`
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionPolicies {
    /// Said by Azure; says nothing here.
    pub location_placement_id: String,
    /// Said by Azure; says nothing here.
    pub quota_id: String,
    /// `Off`
    pub spending_limit: String,
}

/// `GET /subscriptions/{id}/locations`
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocationEntry {
    /// A name for people.
    pub display_name: String,
    /// Its path.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The same as for people.
    pub regional_display_name: String,
}

/// `GET /subscriptions/{id}/providers/{namespace}`
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// Its path.
    pub id: String,
    /// `Microsoft.KeyVault` …
    pub namespace: String,
    /// `Registered`
    pub registration_state: String,
    /// What it has.
    pub resource_types: Vec<ProviderResourceType>,
}

/// One kind of a provider.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderResourceType {
    /// Newest first.
    pub api_versions: Vec<String>,
    /// Where it can be made.
    pub locations: Vec<String>,
    /// `vaults` …
    pub resource_type: String,
}

/// `PUT`, `PATCH` of a resource group.
#[derive(Deserialize)]
pub struct GroupParameters {
    /// Where what is known about it lies.
    pub location: Option<String>,
    /// All of its tags.
    #[serde(default, deserialize_with = "object::tags")]
    pub tags: Option<Tags>,
}

/// A resource group.
#[derive(Serialize, Deserialize)]
pub struct Group {
    /// Its path.
    pub id: String,
    /// Where what is known about it lies.
    pub location: String,
    /// Its name.
    pub name: String,
    /// How far it has come.
    pub properties: GroupProperties,
    /// Its tags.
    pub tags: Tags,
    /// `Microsoft.Resources/resourceGroups`
    #[serde(rename = "type")]
    pub kind: String,
}

/// `properties` of a group.
#[derive(Serialize, Deserialize)]
pub struct GroupProperties {
    /// `Succeeded`
    #[serde(rename = "provisioningState")]
    pub provisioning_state: String,
}

/// A resource in the list of all kinds.
#[derive(Serialize, Deserialize)]
pub struct GenericResource {
    /// Its path.
    pub id: String,
    /// Where it lies.
    pub location: String,
    /// Its name.
    pub name: String,
    /// Its SKU, of managed HSMs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sku: Option<Sku>,
    /// Its tags.
    pub tags: Tags,
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: String,
}
