//! `networkAcls` and private endpoint connections, the same for vaults and managed HSMs.

use crate::object;
use serde::{Deserialize, Serialize};

/// `networkAcls`
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkRuleSet {
    /// `AzureServices` or `None`.
    pub bypass: Option<String>,
    /// `Allow` or `Deny`.
    pub default_action: Option<String>,
    /// Addresses.
    #[serde(default, deserialize_with = "object::list")]
    pub ip_rules: Option<Vec<IpRule>>,
    /// Service tags, as given: none are known here.
    #[serde(default, deserialize_with = "object::list", skip_serializing_if = "Option::is_none")]
    pub service_tags: Option<Vec<ServiceTagRule>>,
    /// Subnets.
    #[serde(default, deserialize_with = "object::list")]
    pub virtual_network_rules: Option<Vec<VirtualNetworkRule>>,
}

/// One address or range.
#[derive(Serialize, Deserialize)]
pub struct IpRule {
    /// CIDR notation.
    pub value: Option<String>,
}

/// One service tag.
#[derive(Serialize, Deserialize)]
pub struct ServiceTagRule {
    /// Its name.
    pub tag: Option<String>,
}

/// One subnet.
#[derive(Serialize, Deserialize)]
pub struct VirtualNetworkRule {
    /// Its resource id.
    pub id: Option<String>,
}

/// `PUT …/privateEndpointConnections/{name}`
#[derive(Deserialize)]
pub struct ConnectionParameters {
    /// Its state.
    #[serde(default, deserialize_with = "object::optional")]
    pub properties: Option<ConnectionInput>,
}

/// `properties` of a request.
#[derive(Deserialize)]
pub struct ConnectionInput {
    /// What its owner says.
    #[serde(default, rename = "privateLinkServiceConnectionState", deserialize_with = "object::optional")]
    pub state: Option<ConnectionState>,
}

/// `privateLinkServiceConnectionState`
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionState {
    /// `None`
    pub actions_required: Option<String>,
    /// Why.
    pub description: Option<String>,
    /// `Pending`, `Approved`, `Rejected` or `Disconnected`.
    pub status: Option<String>,
}

/// A private endpoint connection.
#[derive(Serialize, Deserialize)]
pub struct Connection {
    /// Its path.
    pub id: String,
    /// Its name; left out inside its resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its state.
    pub properties: ConnectionProperties,
    /// Its kind; left out inside its resource.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// `properties` as answered.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionProperties {
    /// The endpoint.
    pub private_endpoint: PrivateEndpoint,
    /// What its owner said.
    pub private_link_service_connection_state: ConnectionState,
    /// `Succeeded` or `Disconnected`.
    pub provisioning_state: String,
}

/// `privateEndpoint`
#[derive(Serialize, Deserialize)]
pub struct PrivateEndpoint {
    /// Its resource id.
    pub id: String,
}

/// A private link resource.
#[derive(Serialize, Deserialize)]
pub struct PrivateLinkResource {
    /// Its path.
    pub id: String,
    /// `vault` or `managedhsm`.
    pub name: String,
    /// What it takes.
    pub properties: PrivateLinkProperties,
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: String,
}

/// `properties` of a private link resource.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrivateLinkProperties {
    /// `vault` or `managedhsm`.
    pub group_id: String,
    /// `default`
    pub required_members: Vec<String>,
    /// The zone of the names.
    pub required_zone_names: Vec<String>,
}
