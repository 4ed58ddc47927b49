//! Who may reach a vault or managed HSM over the network: the rules (`networkAcls`, `publicNetworkAccess`, private endpoint
//! connections) as plain data, and their compiled form, which decides.
//!
//! Rules are data of the resource (Azure Resource Manager, `Microsoft.KeyVault`); what surrounds them, the ranges of virtual
//! networks and the identities of trusted services, is configuration of the installation ([`NetworkSettings`]).

mod decision;
mod rule;

#[cfg(test)]
mod tests;

pub use decision::{Admission, CompiledPolicy, NetworkRefusal, Origin};
pub use rule::{IpRule, SubnetId};

use crate::error::{BadParameter, Error, Result};
use crate::limits::{CONNECTION_TEXT_MAX, PRIVATE_ENDPOINTS_MAX, VIRTUAL_NETWORK_RULES_MAX};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// `publicNetworkAccess`: whether the resource answers anywhere but at its private endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PublicNetworkAccess {
    /// At every listener, within the rules.
    #[default]
    Enabled,
    /// At private endpoints, and for trusted services; the rules for addresses count for nothing.
    Disabled,
}

/// `networkAcls.defaultAction`: what happens to an address that no rule names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DefaultAction {
    /// It passes.
    #[default]
    Allow,
    /// It does not.
    Deny,
}

/// `networkAcls.bypass`: who passes whatever the address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bypass {
    /// The trusted services of the configuration.
    #[default]
    AzureServices,
    /// Nobody.
    None,
}

/// `networkAcls.virtualNetworkRules[]`: the addresses of a subnet pass.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VirtualNetworkRule {
    /// The subnet.
    pub id: SubnetId,
}

/// `privateLinkServiceConnectionState.status`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointStatus {
    /// Waits for approval: nothing passes.
    Pending,
    /// Requests pass.
    Approved,
    /// Somebody said no.
    Rejected,
    /// It was deleted. Keep the connection with this status: the endpoint of the configuration would be pending anew without it.
    Disconnected,
}

impl EndpointStatus {
    /// As Azure spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Approved => "Approved",
            Self::Rejected => "Rejected",
            Self::Disconnected => "Disconnected",
        }
    }
}

/// One of `privateEndpointConnections`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointConnection {
    /// Its name: that of the private endpoint in the configuration. Compared in ASCII lower case.
    pub name: String,
    /// Resource id of the private endpoint.
    pub endpoint_id: String,
    /// Whether it may be used.
    pub status: EndpointStatus,
    /// Why, in the words of whoever approved or rejected it.
    pub description: String,
}

/// The network rules of one resource. The default is Azure's: everything is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPolicy {
    /// `publicNetworkAccess`
    pub public_access: PublicNetworkAccess,
    /// `networkAcls.defaultAction`
    pub default_action: DefaultAction,
    /// `networkAcls.bypass`
    pub bypass: Bypass,
    /// `networkAcls.ipRules`
    pub ip_rules: Vec<IpRule>,
    /// `networkAcls.virtualNetworkRules`
    pub virtual_network_rules: Vec<VirtualNetworkRule>,
    /// `privateEndpointConnections`: those that somebody decided about. The endpoints of the configuration come on top of them.
    pub connections: Vec<EndpointConnection>,
}

impl NetworkPolicy {
    /// Checks the numbers: [`crate::limits::HSM_IP_RULES_MAX`] for managed HSMs, [`crate::limits::VAULT_IP_RULES_MAX`] for vaults.
    pub fn check(&self, ip_rules_max: usize) -> Result<()> {
        let within = |parameter, found: usize, max| match found <= max {
            true => Ok(()),
            false => Err(Error::BadParameter(BadParameter::Length { parameter, min: 0, max })),
        };
        within("networkAcls.ipRules", self.ip_rules.len(), ip_rules_max)?;
        within("networkAcls.virtualNetworkRules", self.virtual_network_rules.len(), VIRTUAL_NETWORK_RULES_MAX)?;
        within("privateEndpointConnections", self.connections.len(), PRIVATE_ENDPOINTS_MAX)?;
        self.connections.iter().try_for_each(|connection| {
            let length = connection.description.chars().count();
            within("privateLinkServiceConnectionState.description", length, CONNECTION_TEXT_MAX)
        })
    }

    /// Drops rules that are there twice, the first stays: addresses are compared as parsed, subnets without case.
    pub fn without_repeats(mut self) -> Self {
        let mut seen = std::collections::HashSet::new();
        self.ip_rules.retain(|rule| seen.insert(*rule));
        let mut seen = std::collections::HashSet::new();
        self.virtual_network_rules.retain(|rule| seen.insert(rule.id.clone()));
        self
    }

    /// The connection of this name.
    pub fn connection(&self, name: &str) -> Option<&EndpointConnection> {
        self.connections.iter().find(|connection| connection.name.eq_ignore_ascii_case(name))
    }

    /// Puts a connection in place of the one with its name, or behind the others.
    pub fn decide(&mut self, connection: EndpointConnection) {
        match self.connections.iter_mut().find(|c| c.name.eq_ignore_ascii_case(&connection.name)) {
            Some(known) => *known = connection,
            None => self.connections.push(connection),
        }
    }

    /// The same rules with the endpoints of the configuration that nobody has decided about yet.
    pub fn with_endpoints(mut self, endpoints: &[EndpointConnection]) -> Self {
        for endpoint in endpoints {
            if self.connection(&endpoint.name).is_none() {
                self.connections.push(endpoint.clone());
            }
        }
        self
    }
}

/// What surrounds every policy: configuration of the installation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSettings {
    /// The ranges of each subnet that virtual-network rules may name.
    pub networks: BTreeMap<SubnetId, Vec<IpRule>>,
    /// Object ids that pass where `bypass` is `AzureServices`.
    pub trusted_services: Vec<Uuid>,
}

impl NetworkSettings {
    /// Refuses a rule for a subnet whose ranges nobody configured: it would let nobody pass.
    pub fn check(&self, rule: &VirtualNetworkRule) -> Result<()> {
        match self.networks.contains_key(&rule.id) {
            true => Ok(()),
            false => Err(Error::BadParameter(BadParameter::UnknownNetwork)),
        }
    }
}
