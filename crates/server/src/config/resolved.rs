//! The resolved configuration: what the service needs to know, and nothing secret.

use crate::audit::{AuditOrigin, AuditSettings};
use crate::config::{
    CacheSettings, Config, LogSettings, MIB, ManagementConfig, NetworkConfig, PoolConfig, StoreSettings,
    default_runtimes,
};
use crate::identity::settings::{IdentitySettings, outgoing_ports};
use crate::tls::TlsSettings;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use strongroom_model::network::NetworkSettings;
use uuid::Uuid;

/// What crosses to the service, as JSON in a memory file. Holds no secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// See [`Config::domain`].
    pub domain: String,
    /// See [`Config::port`].
    pub port: u16,
    /// See [`Config::listen`]; the flag says whether the address may be missing on this machine.
    pub listen: Vec<(IpAddr, bool)>,
    /// See [`Config::managed_identity_port`].
    pub managed_identity_port: Option<u16>,
    /// See [`Config::data`].
    pub data: PathBuf,
    /// See [`Config::seal`].
    pub seal: PathBuf,
    /// See [`Config::runtimes`].
    pub runtimes: usize,
    /// See [`Config::allow_unlocked_memory`].
    pub allow_unlocked_memory: bool,
    /// See [`Config::allow_visible_seal`].
    pub allow_visible_seal: bool,
    /// See [`Config::region`].
    pub region: String,
    /// See [`Config::tls`].
    pub tls: TlsSettings,
    /// See [`Config::identity`].
    pub identity: IdentitySettings,
    /// See [`Config::audit`].
    pub audit: AuditSettings,
    /// What every record says about the installation.
    pub origin: AuditOrigin,
    /// See [`Config::log`].
    pub log: LogSettings,
    /// See [`Config::store`].
    pub store: StoreSettings,
    /// See [`Config::cache`].
    pub cache: CacheSettings,
    /// See [`Config::management`].
    pub management: ManagementConfig,
    /// Proxies, networks, trusted services, private endpoints.
    #[serde(default)]
    pub network: NetworkConfig,
    /// See [`Config::pools`].
    pub pools: Vec<PoolConfig>,
    /// When the command was given, in milliseconds since the Unix epoch: for the duration of the start.
    pub started_ms: u64,
    /// Only for `strongroom dev`.
    pub development: Option<DevelopmentConfig>,
}

/// What only `strongroom dev` has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevelopmentConfig {
    /// Seconds added to the clock.
    pub clock_offset: i64,
    /// The file with ids and secrets, read again by whoever prints them.
    pub state: PathBuf,
    /// Where the private CA's certificate is written for clients.
    pub ca_file: PathBuf,
    /// `--env-file`
    pub env_file: Option<PathBuf>,
    /// The principal that gets every role it needs, and the managed identity.
    pub principal: Uuid,
    /// Gets Crypto User when an HSM is made.
    pub managed_identity: Uuid,
    /// The tenant of both.
    pub tenant: Uuid,
}

impl ServiceConfig {
    /// The TCP ports on other machines that the service connects to, ascending: for a confinement that allows no other. Names are
    /// looked up through the system's resolver besides.
    pub fn outgoing_ports(&self) -> Vec<u16> {
        let mut ports = outgoing_ports(&self.identity.issuers);
        ports.extend(self.store.ports());
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

impl From<Config> for ServiceConfig {
    fn from(config: Config) -> Self {
        let folder = config.audit.folder.unwrap_or_else(|| config.data.join("audit"));
        Self {
            listen: config.listen.iter().map(|ip| (*ip, ip.is_ipv6() && ip.is_unspecified())).collect(),
            audit: AuditSettings {
                folder,
                reserve_bytes: config.audit.reserve_mib.saturating_mul(MIB),
                segment_bytes: config.audit.segment_mib.saturating_mul(MIB),
            },
            origin: AuditOrigin {
                tenant_id: config.identity.tenant_id,
                subscription_id: config.audit.subscription_id,
                resource_group: config.audit.resource_group,
            },
            domain: config.domain,
            port: config.port,
            managed_identity_port: config.managed_identity_port,
            data: config.data,
            seal: config.seal,
            runtimes: config.runtimes.unwrap_or_else(default_runtimes),
            allow_unlocked_memory: config.allow_unlocked_memory,
            allow_visible_seal: config.allow_visible_seal,
            region: config.region,
            tls: config.tls,
            identity: config.identity,
            log: config.log,
            store: config.store,
            cache: config.cache,
            management: config.management,
            network: NetworkConfig {
                settings: NetworkSettings { networks: config.networks, trusted_services: config.trusted_services },
                proxies: config.proxies,
                endpoints: config.private_endpoints,
            },
            pools: config.pools,
            started_ms: 0,
            development: None,
        }
    }
}
