//! The configuration: what `serve --config FILE` reads, and the resolved form that crosses to the service.

mod error;
mod folder;
pub mod logs;
mod network;
mod reach;
mod resolved;
mod store;

#[cfg(test)]
mod tests;

pub use error::ConfigError;
pub use folder::{
    FolderError, check_data_folder, lock_data_folder, make_private_folder, read_private, write_private, write_public,
};
pub use logs::{LogFormat, LogSettings};
pub use network::{NetworkConfig, PrivateEndpointConfig};
pub use reach::WorkFolder;
pub use resolved::{DevelopmentConfig, ServiceConfig};
pub use store::{EtcdSettings, StoreKind, StoreSettings, WithoutProofSetting};

use crate::audit::{RESERVE_BYTES, SEGMENT_BYTES};
use crate::identity::settings::IdentitySettings;
use crate::tls::TlsSettings;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use strongroom_engine::{EngineParts, PoolState};
use strongroom_model::PoolName;
use strongroom_model::limits::{RETENTION_DAYS_MAX, RETENTION_DAYS_MIN};
use strongroom_model::management::{GroupName, Location};
use strongroom_model::network::{IpRule, SubnetId};
use uuid::Uuid;

/// Bytes in a mebibyte, the unit of sizes in the file.
const MIB: u64 = 1 << 20;
/// The port of HTTPS.
const HTTPS_PORT: u16 = 443;
/// Most runtimes: each has two sockets to every partition.
const RUNTIMES_MAX: usize = 256;
/// How many keys can be cached: fewer would be none for some shards.
const CACHED_KEYS: std::ops::RangeInclusive<usize> = 64..=10_000_000;
/// How large the store's cache can be, in MiB.
const CACHED_STORE_MIB: std::ops::RangeInclusive<usize> = 1..=1 << 20;

/// The file of `serve --config FILE` (TOML). Relative paths are below the folder that the file lies in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The end of every host name: clients reach a managed HSM at `NAME.managedhsm.DOMAIN`.
    pub domain: String,
    /// The HTTPS port, as it stands in every URL.
    #[serde(default = "https_port")]
    pub port: u16,
    /// Addresses to listen on: all of IPv4 and all of IPv6 unless given.
    #[serde(default = "every_address")]
    pub listen: Vec<IpAddr>,
    /// Port on 127.0.0.1 where managed identities get their tokens over plain HTTP; closed unless given.
    #[serde(default)]
    pub managed_identity_port: Option<u16>,
    /// The data folder (mode 0700), with the store in `store`; made by hand, once.
    pub data: PathBuf,
    /// The seal file (mode 0600), outside of the data folder; made by `strongroom seal create`.
    pub seal: PathBuf,
    /// Runtimes of the service, each on a thread of its own: one for each processor unless given.
    #[serde(default)]
    pub runtimes: Option<usize>,
    /// Start although memory cannot be locked: key bytes may then reach the swap space.
    #[serde(default)]
    pub allow_unlocked_memory: bool,
    /// Start although the kernel cannot hide the seal from the service.
    #[serde(default)]
    pub allow_visible_seal: bool,
    /// `x-ms-keyvault-region` of every answer.
    #[serde(default = "default_region")]
    pub region: String,
    /// Ranges of the proxies and load balancers in front: their TLS connections begin with a PROXY header (version 1 or 2) that
    /// names the real peer; nobody else's may.
    #[serde(default)]
    pub proxies: Vec<IpRule>,
    /// Object ids of the services that a managed HSM whose `bypass` is `AzureServices` lets pass its firewall.
    #[serde(default)]
    pub trusted_services: Vec<Uuid>,
    /// `[tls]`: the server's certificate.
    #[serde(default)]
    pub tls: TlsSettings,
    /// `[identity]`: the tenant and its directory.
    pub identity: IdentitySettings,
    /// `[audit]`: the log of requests.
    #[serde(default)]
    pub audit: AuditConfig,
    /// `[log]`: what the processes say about themselves, on standard error.
    #[serde(default)]
    pub log: LogSettings,
    /// `[store]`: where keys and roles lie.
    #[serde(default)]
    pub store: StoreSettings,
    /// `[cache]`: the memory that grows with use.
    #[serde(default)]
    pub cache: CacheSettings,
    /// `[networks]`: the ranges of each subnet, by its resource id, that virtual-network rules may name.
    #[serde(default, deserialize_with = "network::networks", skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<SubnetId, Vec<IpRule>>,
    /// `[management]`: the management plane.
    #[serde(default)]
    pub management: ManagementConfig,
    /// `[[pool]]`: the managed HSMs that are made at the start; the management plane makes others.
    #[serde(default, rename = "pool")]
    pub pools: Vec<PoolConfig>,
    /// `[[private_endpoint]]`: listeners with one managed HSM behind each.
    #[serde(default, rename = "private_endpoint", skip_serializing_if = "Vec::is_empty")]
    pub private_endpoints: Vec<PrivateEndpointConfig>,
}

/// `[audit]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// The folder of the log: `audit` in the data folder unless given.
    #[serde(default)]
    pub folder: Option<PathBuf>,
    /// Room kept allocated behind the end of the log, in MiB: what is recorded on a full disk before everything is refused.
    #[serde(default = "default_reserve")]
    pub reserve_mib: u64,
    /// Size from which the next file of the log is begun, in MiB.
    #[serde(default = "default_segment")]
    pub segment_mib: u64,
    /// The subscription that records name; all zero unless given.
    #[serde(default)]
    pub subscription_id: Uuid,
    /// The resource group that records name.
    #[serde(default = "default_group")]
    pub resource_group: String,
}

/// `[cache]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSettings {
    /// Keys that are kept ready for use in the service, for each managed HSM; one takes about 1 KiB, and its tags.
    #[serde(default = "default_cached_keys")]
    pub keys: usize,
    /// Pages of the store that are kept, in MiB.
    #[serde(default = "default_store_mib")]
    pub store_mib: usize,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { keys: default_cached_keys(), store_mib: default_store_mib() }
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            folder: None,
            reserve_mib: default_reserve(),
            segment_mib: default_segment(),
            subscription_id: Uuid::nil(),
            resource_group: default_group(),
        }
    }
}

/// `[management]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagementConfig {
    /// The name of the subscription for people; its id is `audit.subscription_id`.
    #[serde(default = "default_subscription_name")]
    pub subscription_name: String,
    /// Object ids that become Owner of the subscription when it has none.
    #[serde(default)]
    pub owners: Vec<Uuid>,
    /// The state in which the management plane makes a managed HSM: `activated`, or `provisioned`.
    #[serde(default)]
    pub new_hsm_state: InitialState,
}

impl Default for ManagementConfig {
    fn default() -> Self {
        Self {
            subscription_name: default_subscription_name(),
            owners: Vec::new(),
            new_hsm_state: InitialState::default(),
        }
    }
}

/// `[[pool]]`: one managed HSM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// Its name: 3 to 24 letters, digits and single hyphens, a letter first.
    pub name: String,
    /// How long a deleted key can be recovered, in days; cannot be changed later.
    #[serde(default = "longest_retention")]
    pub retention_days: u32,
    /// Whether nothing can be purged before its retention is over; cannot be taken back.
    #[serde(default)]
    pub purge_protection: bool,
    /// Object ids that get Managed HSM Administrator when the HSM is made.
    pub administrators: Vec<Uuid>,
    /// `activated`, or `provisioned`: the challenge is answered and the rest refused.
    #[serde(default)]
    pub state: InitialState,
}

/// The state a managed HSM is made in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InitialState {
    /// In use.
    #[default]
    Activated,
    /// Made, its security domain not downloaded yet.
    Provisioned,
}

impl From<InitialState> for PoolState {
    fn from(state: InitialState) -> Self {
        match state {
            InitialState::Activated => Self::Activated,
            InitialState::Provisioned => Self::Provisioned,
        }
    }
}

fn default_subscription_name() -> String {
    "Strongroom".into()
}
const fn https_port() -> u16 {
    HTTPS_PORT
}
fn every_address() -> Vec<IpAddr> {
    vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
}
fn default_region() -> String {
    "onpremises".into()
}
const fn default_reserve() -> u64 {
    RESERVE_BYTES / MIB
}
const fn default_segment() -> u64 {
    SEGMENT_BYTES / MIB
}
fn default_group() -> String {
    "strongroom".into()
}
const fn default_cached_keys() -> usize {
    EngineParts::CACHED_KEYS
}
const fn default_store_mib() -> usize {
    strongroom_store::redb::CACHE_BYTES / (1 << 20)
}
const fn longest_retention() -> u32 {
    RETENTION_DAYS_MAX
}

/// Runtimes when nobody says how many: one for each processor.
pub fn default_runtimes() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl Config {
    /// Reads, resolves and checks the file: paths are absolute then, and every setting has its value.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let config = Self::read(path)?;
        match config.problem() {
            None => Ok(config),
            Some((setting, problem)) => Err(ConfigError::Value { path: path.into(), setting, problem }),
        }
    }

    /// Reads and resolves the file without judging its values: for commands that lead to a whole configuration, such as the one
    /// that adds the first administrator.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path.into(), error })?;
        let mut config: Self = toml::from_str(&text).map_err(|error| ConfigError::syntax(path, &text, &error))?;
        let base = std::path::absolute(path).map_err(|error| ConfigError::Read { path: path.into(), error })?;
        config.resolve(base.parent().unwrap_or(Path::new("/")));
        Ok(config)
    }

    fn resolve(&mut self, base: &Path) {
        for path in [&mut self.data, &mut self.seal, &mut self.identity.directory] {
            *path = base.join(&*path);
        }
        for path in
            [&mut self.tls.certificate_chain, &mut self.tls.private_key, &mut self.tls.ca_file].into_iter().flatten()
        {
            *path = base.join(&*path);
        }
        for path in self.identity.issuers.iter_mut().filter_map(|issuer| issuer.ca_file.as_mut()) {
            *path = base.join(&*path);
        }
        let folder = self.audit.folder.take().map_or_else(|| self.data.join("audit"), |folder| base.join(folder));
        self.audit.folder = Some(folder);
        self.store.resolve(base);
        self.runtimes.get_or_insert_with(default_runtimes);
        self.domain.make_ascii_lowercase();
        self.resolve_endpoints(base);
    }

    /// The first setting with a value that it cannot have, and what it can have.
    fn problem(&self) -> Option<(String, String)> {
        let own = |setting: &str, problem: &str| Some((setting.to_owned(), problem.to_owned()));
        if !is_domain(&self.domain) {
            return own("domain", "expected a host name, such as hsm.example.org");
        }
        if self.port == 0 {
            return own("port", "expected 1 to 65535");
        }
        if self.listen.is_empty() {
            return own("listen", "expected at least one address, such as \"0.0.0.0\"");
        }
        if self.managed_identity_port.is_some_and(|port| port == 0 || port == self.port) {
            return own("managed_identity_port", "expected a port of its own, 1 to 65535");
        }
        if !(1..=RUNTIMES_MAX).contains(&self.runtimes.unwrap_or(1)) {
            return own("runtimes", "expected 1 to 256");
        }
        if self.audit.reserve_mib > u64::MAX / MIB / 4 || !(1..u64::MAX / MIB).contains(&self.audit.segment_mib) {
            return own("audit.reserve_mib, audit.segment_mib", "expected a size in MiB");
        }
        if !CACHED_KEYS.contains(&self.cache.keys) {
            return own("cache.keys", "expected 64 to 10000000");
        }
        if !CACHED_STORE_MIB.contains(&self.cache.store_mib) {
            return own("cache.store_mib", "expected 1 to 1048576");
        }
        if Location::parse(&self.region).is_err() {
            return own("region", "expected the name of a place: letters, digits and hyphens");
        }
        if GroupName::parse(&self.audit.resource_group).is_err() {
            return own("audit.resource_group", "expected the name of a resource group");
        }
        if self.seal.starts_with(&self.data) {
            return own("seal", "expected a path outside of the data folder: whoever has both has the keys");
        }
        let authority = self.identity.challenge_authority.as_deref();
        if authority.is_some_and(|url| !crate::identity::settings::is_authority(url)) {
            return own("identity.challenge_authority", "expected an https URL that ends in the tenant");
        }
        crate::identity::settings::issuers_problem(&self.identity.issuers)
            .or_else(|| self.store.problem())
            .or_else(|| self.pool_problem())
            .or_else(|| self.network_problem())
    }

    fn pool_problem(&self) -> Option<(String, String)> {
        if self.pools.is_empty() && self.management.owners.is_empty() {
            let expected =
                "expected at least one [[pool]] with its name and administrators, or management.owners, who make them";
            return Some(("pool".into(), expected.into()));
        }
        self.pools.iter().enumerate().find_map(|(index, pool)| {
            let before = self.pools.iter().take(index);
            let (member, problem) = if PoolName::parse(&pool.name).is_err() {
                ("name", "expected 3 to 24 letters, digits and single hyphens, a letter first, no hyphen last")
            } else if before.into_iter().any(|p| p.name.eq_ignore_ascii_case(&pool.name)) {
                ("name", "expected a name that no other [[pool]] has")
            } else if !(RETENTION_DAYS_MIN..=RETENTION_DAYS_MAX).contains(&pool.retention_days) {
                ("retention_days", "expected 7 to 90")
            } else if pool.administrators.is_empty() {
                (
                    "administrators",
                    "expected at least one object id, as `strongroom principal --config FILE add NAME` prints it: nobody else \
                     could give anybody a role",
                )
            } else {
                return None;
            };
            Some((format!("pool {:?}: {member}", pool.name), problem.to_owned()))
        })
    }

    /// The resolved configuration as TOML, as `--check` prints it. There is no secret in it.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

/// Whether a text can be the end of host names.
pub fn is_domain(text: &str) -> bool {
    const LABEL_MAX: usize = 63;
    const DOMAIN_MAX: usize = 200;
    let label = |l: &str| {
        (1..=LABEL_MAX).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    text.len() <= DOMAIN_MAX && text.split('.').all(label)
}
