//! The network in the configuration: `proxies`, `trusted_services`, `[networks]` and `[[private_endpoint]]`.

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use strongroom_engine::PrivateEndpoint;
use strongroom_model::PoolName;
use strongroom_model::network::{EndpointConnection, EndpointStatus, IpRule, NetworkSettings, SubnetId};

/// Most ranges of `proxies`: each new connection is compared with all of them.
const PROXIES_MAX: usize = 64;
/// Longest name of a private endpoint (Azure: 64 characters).
const NAME_MAX: usize = 64;
/// Longest name of an interface (Linux: IFNAMSIZ, less the NUL).
const INTERFACE_MAX: usize = 15;
/// Longest path of a Unix socket (Linux: sun_path, less the NUL).
const UNIX_PATH_MAX: usize = 107;

/// `[[private_endpoint]]`: a listener with one managed HSM behind it. It has an address, an interface, a Unix socket or a vsock port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateEndpointConfig {
    /// Its name, and that of its connection: up to 64 letters, digits, hyphens, dots and underscores.
    pub name: String,
    /// The managed HSM that answers there, and no other.
    pub resource: String,
    /// An address of this machine.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// An interface of this machine: what comes in through it.
    #[serde(default)]
    pub interface: Option<String>,
    /// The port of address or interface; `port` of the installation unless given.
    #[serde(default)]
    pub port: Option<u16>,
    /// The path of a Unix socket (mode 0660).
    #[serde(default)]
    pub unix: Option<PathBuf>,
    /// A port for the virtual machines of this host.
    #[serde(default)]
    pub vsock: Option<u32>,
    /// Whether its connection needs nobody's approval; the management plane can still reject it.
    #[serde(default)]
    pub approved: bool,
}

/// The network, as it crosses to the service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// See [`super::Config::networks`] and [`super::Config::trusted_services`].
    pub settings: NetworkSettings,
    /// See [`super::Config::proxies`].
    pub proxies: Vec<IpRule>,
    /// See [`super::Config::private_endpoints`].
    pub endpoints: Vec<PrivateEndpointConfig>,
}

impl PrivateEndpointConfig {
    /// Its resource id.
    pub fn id(&self, subscription: impl fmt::Display, group: &str) -> String {
        let name = &self.name;
        format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Network/privateEndpoints/{name}"
        )
    }

    /// As the engine takes it; none when the resource cannot be a managed HSM's name.
    pub fn declared(&self, id: String) -> Option<PrivateEndpoint> {
        let status = if self.approved { EndpointStatus::Approved } else { EndpointStatus::Pending };
        let description = if self.approved { "Approved by the configuration" } else { "Waits for approval" };
        let connection =
            EndpointConnection { name: self.name.clone(), endpoint_id: id, status, description: description.into() };
        Some(PrivateEndpoint { pool: PoolName::parse(&self.resource).ok()?, connection })
    }

    fn problem(&self) -> Option<(&'static str, &'static str)> {
        let fits = (1..=NAME_MAX).contains(&self.name.len());
        if !fits || !self.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
            return Some(("name", "expected 1 to 64 letters, digits, hyphens, dots and underscores"));
        }
        if PoolName::parse(&self.resource).is_err() {
            return Some(("resource", "expected the name of a managed HSM"));
        }
        let over_ip = self.address.is_some() || self.interface.is_some();
        let places = [self.address.is_some(), self.interface.is_some(), self.unix.is_some(), self.vsock.is_some()];
        if places.into_iter().filter(|given| *given).count() != 1 {
            return Some(("address, interface, unix, vsock", "expected exactly one of them"));
        }
        if self.port == Some(0) || (self.port.is_some() && !over_ip) {
            return Some(("port", "expected 1 to 65535, beside an address or interface"));
        }
        if self.address.is_some_and(|ip| ip.is_unspecified() || ip.is_multicast() || ip.to_canonical() != ip) {
            return Some(("address", "expected one address of this machine, such as \"10.0.0.5\""));
        }
        if self.interface.as_deref().is_some_and(|name| !is_interface(name)) {
            return Some(("interface", "expected the name of an interface, such as \"eth1\""));
        }
        if self.unix.as_deref().is_some_and(|path| path.as_os_str().len() > UNIX_PATH_MAX) {
            return Some(("unix", "expected a path of at most 107 bytes"));
        }
        if self.vsock.is_some_and(|port| port == 0 || port == u32::MAX) {
            return Some(("vsock", "expected a port from 1 to 4294967294"));
        }
        None
    }

    /// Two endpoints at one place would share its connections.
    fn same_place(&self, other: &Self) -> bool {
        let place = |e: &Self| (e.address, e.interface.clone(), e.port, e.unix.clone(), e.vsock);
        place(self) == place(other)
    }
}

fn is_interface(name: &str) -> bool {
    (1..=INTERFACE_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':')
        && name != "."
        && name != ".."
}

impl super::Config {
    pub(super) fn resolve_endpoints(&mut self, base: &Path) {
        for endpoint in &mut self.private_endpoints {
            endpoint.unix = endpoint.unix.take().map(|path| base.join(path));
            if endpoint.address.is_some() || endpoint.interface.is_some() {
                endpoint.port.get_or_insert(self.port);
            }
        }
    }

    pub(super) fn network_problem(&self) -> Option<(String, String)> {
        let own = |setting: &str, problem: &str| Some((setting.to_owned(), problem.to_owned()));
        if self.proxies.len() > PROXIES_MAX {
            return own("proxies", "expected at most 64 ranges");
        }
        if let Some((id, _)) = self.networks.iter().find(|(_, ranges)| ranges.is_empty()) {
            return own(&format!("networks: {id}"), "expected at least one range, such as \"10.0.0.0/24\"");
        }
        let public = |e: &PrivateEndpointConfig| {
            e.address.is_some_and(|ip| self.listen.contains(&ip)) && e.port == Some(self.port)
        };
        self.private_endpoints.iter().enumerate().find_map(|(index, endpoint)| {
            let before = || self.private_endpoints.iter().take(index);
            let (member, problem) = if let Some(problem) = endpoint.problem() {
                problem
            } else if before().any(|other| other.name.eq_ignore_ascii_case(&endpoint.name)) {
                ("name", "expected a name that no other [[private_endpoint]] has")
            } else if before().any(|other| other.same_place(endpoint)) {
                ("address, interface, unix, vsock", "expected a place that no other [[private_endpoint]] has")
            } else if public(endpoint) {
                ("address", "expected an address and port that listen does not name: it is public")
            } else {
                return None;
            };
            own(&format!("private_endpoint {:?}: {member}", endpoint.name), problem)
        })
    }
}

impl super::ServiceConfig {
    /// The private endpoints, with their resource ids.
    pub fn private_endpoints(&self) -> impl Iterator<Item = (&PrivateEndpointConfig, String)> {
        let origin = &self.origin;
        self.network.endpoints.iter().map(|e| (e, e.id(origin.subscription_id, &origin.resource_group)))
    }
}

/// Reads `[networks]`; a subnet that is there twice, in two spellings, is refused.
pub(super) fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<SubnetId, Vec<IpRule>>, D::Error> {
    struct Networks;
    impl<'de> Visitor<'de> for Networks {
        type Value = BTreeMap<SubnetId, Vec<IpRule>>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of subnets, each with its ranges")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut networks = BTreeMap::new();
            while let Some((id, ranges)) = map.next_entry::<SubnetId, Vec<IpRule>>()? {
                let shown = id.to_string();
                if networks.insert(id, ranges).is_some() {
                    return Err(A::Error::custom(format!("{shown} is there twice: case does not count")));
                }
            }
            Ok(networks)
        }
    }
    from.deserialize_map(Networks)
}
