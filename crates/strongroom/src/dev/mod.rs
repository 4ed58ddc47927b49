//! `strongroom dev`: a managed HSM for development, with ids and secrets that stay the same from start to start.

pub(crate) mod announce;
pub(crate) mod environment;
pub(crate) mod flags;
pub(crate) mod names;
pub(crate) mod state;
pub(crate) mod welcome;

use crate::cli::DevArgs;
use crate::failure::Failure;
use crate::keeper::become_keeper;
use crate::serve::{check_store, listen_settings, now_ms};
use flags::HsmFlag;
use state::DevState;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use strongroom_model::PoolName;
use strongroom_model::limits::RETENTION_DAYS_MAX;
use strongroom_server::audit::{AuditOrigin, AuditSettings, RESERVE_BYTES_DEV, SEGMENT_BYTES};
use strongroom_server::config::{
    CacheSettings, DevelopmentConfig, InitialState, LogFormat, LogSettings, ManagementConfig, NetworkConfig,
    PoolConfig, ServiceConfig, StoreSettings, default_runtimes, is_domain, lock_data_folder, logs, make_private_folder,
};
use strongroom_server::http::{ListenAddress, ListenSettings, Listeners};
use strongroom_server::identity::settings::{IdentitySettings, load_issuers};
use strongroom_server::tls::TlsSettings;

/// The managed HSM when none is asked for.
const DEFAULT_HSM: &str = "demo";
/// `x-ms-keyvault-region`
const REGION: &str = "local";
const RESOURCE_GROUP: &str = "dev";
/// The folder of the log below that of the data.
const AUDIT: &str = "audit";

/// The folder of the directory file: the service reads it, and nothing else of what lies beside the seal.
const IDENTITY: &str = "identity";
const DIRECTORY: &str = "directory.toml";

/// Where the parts of the data folder lie.
struct Layout {
    data: PathBuf,
    seal: PathBuf,
    state: PathBuf,
    directory: PathBuf,
    ca: PathBuf,
}

impl Layout {
    fn of(folder: &Path) -> Self {
        Self {
            data: folder.join("data"),
            seal: folder.join("seal"),
            state: folder.join("dev.json"),
            directory: folder.join(IDENTITY).join(DIRECTORY),
            ca: folder.join("ca.pem"),
        }
    }
}

/// Prepares everything and becomes the keeper.
pub(crate) fn start(args: DevArgs) -> Result<ExitCode, Failure> {
    let started_ms = now_ms();
    let pools = pools(&args.hsm)?;
    if !is_domain(&args.domain) {
        return Err(Failure::configuration(format!("--domain {:?}: expected a host name", args.domain)));
    }
    let log = LogSettings { format: LogFormat::Text, level: args.log };
    logs::check(&log)
        .map_err(|_| Failure::configuration(format!("--log {:?}: expected error, warn, info or debug", log.level)))?;
    // A taken port is said before anything is made.
    let tls = ListenAddress::loopback(args.port, "--port");
    let probe = ListenSettings { tls, workers: 1, ..ListenSettings::default() };
    drop(Listeners::bind(&probe)?);
    let folder = std::path::absolute(&args.data)?;
    make_private_folder(&folder)?;
    let layout = Layout::of(&folder);
    make_private_folder(&layout.data)?;
    // Before anything is changed: another `dev` may run here.
    let lock = lock_data_folder(&layout.data)?;
    make_private_folder(&folder.join(IDENTITY))?;
    make_private_folder(&layout.data.join(AUDIT))?;
    take_over_directory(&folder.join(DIRECTORY), &layout.directory)?;
    let mut state = DevState::load_or_make(&layout.state)?;
    state.managed_identity_port = free_port(state.managed_identity_port, args.port)?;
    state.add_principals(&args.principal)?;
    state.add_users(&args.user, &args.domain)?;
    state.save(&layout.state)?;
    state.write_directory(&layout.directory)?;
    let mut config = service_config(args.domain, args.port, pools, log, &layout, &state)?;
    if let Some(path) = &args.issuers {
        config.identity.issuers = load_issuers(path)?;
    }
    let config = ServiceConfig {
        started_ms,
        cache: cache(args.cache_keys, args.cache_store_mib),
        runtimes: args.runtimes.map_or_else(default_runtimes, usize::from),
        store: args.store.as_deref().map_or_else(|| Ok(StoreSettings::default()), StoreSettings::load)?,
        development: Some(DevelopmentConfig {
            clock_offset: args.clock_offset.0,
            ca_file: layout.ca,
            env_file: args.env_file.map(std::path::absolute).transpose()?,
            state: layout.state,
            principal: state.principal.object_id,
            managed_identity: state.managed_identity.object_id,
            tenant: state.tenant_id,
        }),
        ..config
    };
    drop(Listeners::bind(&ListenSettings { workers: 1, ..listen_settings(&config) })?);
    config.check_seal_place()?;
    check_store(&config)?;
    become_keeper(&config, lock)
}

/// Moves the directory file to its folder: earlier versions had it beside the seal.
fn take_over_directory(old: &Path, new: &Path) -> Result<(), Failure> {
    if old.exists() && !new.exists() {
        std::fs::rename(old, new)?;
    }
    Ok(())
}

fn cache(keys: Option<u32>, store_mib: Option<u32>) -> CacheSettings {
    let default = CacheSettings::default();
    let number = |given: Option<u32>| given.and_then(|n| usize::try_from(n).ok());
    CacheSettings {
        keys: number(keys).unwrap_or(default.keys),
        store_mib: number(store_mib).unwrap_or(default.store_mib),
    }
}

fn service_config(
    domain: String,
    port: u16,
    mut pools: Vec<PoolConfig>,
    log: LogSettings,
    layout: &Layout,
    state: &DevState,
) -> Result<ServiceConfig, Failure> {
    for pool in &mut pools {
        pool.administrators = vec![state.principal.object_id];
    }
    Ok(ServiceConfig {
        domain: domain.to_ascii_lowercase(),
        port,
        listen: vec![(Ipv4Addr::LOCALHOST.into(), false), (Ipv6Addr::LOCALHOST.into(), true)],
        managed_identity_port: Some(state.managed_identity_port),
        seal: layout.seal.clone(),
        runtimes: 1,
        allow_unlocked_memory: false,
        region: REGION.into(),
        allow_visible_seal: true,
        tls: TlsSettings::default(),
        identity: identity_settings(layout, state)?,
        audit: AuditSettings {
            folder: layout.data.join(AUDIT),
            reserve_bytes: RESERVE_BYTES_DEV,
            segment_bytes: SEGMENT_BYTES,
        },
        origin: AuditOrigin {
            tenant_id: state.tenant_id,
            subscription_id: state.subscription_id,
            resource_group: RESOURCE_GROUP.into(),
        },
        data: layout.data.clone(),
        log,
        cache: CacheSettings::default(),
        management: ManagementConfig { owners: vec![state.principal.object_id], ..ManagementConfig::default() },
        network: NetworkConfig::default(),
        pools,
        store: StoreSettings::default(),
        started_ms: 0,
        development: None,
    })
}

/// `[identity]`, read as from a file, so that everything not said has its default.
fn identity_settings(layout: &Layout, state: &DevState) -> Result<IdentitySettings, Failure> {
    let json = serde_json::json!({
        "tenant_id": state.tenant_id,
        "directory": layout.directory,
        "identity_header_sha256": state::sha256_hex(&state.identity_header),
    });
    Ok(serde_json::from_value(json)?)
}

fn pools(flags: &[HsmFlag]) -> Result<Vec<PoolConfig>, Failure> {
    let default = [HsmFlag { name: PoolName::parse(DEFAULT_HSM)?, inactive: false }];
    let flags = if flags.is_empty() { &default[..] } else { flags };
    let mut pools: Vec<PoolConfig> = Vec::new();
    for flag in flags {
        if pools.iter().any(|p| p.name == flag.name.as_str()) {
            return Err(Failure::configuration(format!("--hsm {}: given twice", flag.name)));
        }
        pools.push(PoolConfig {
            name: flag.name.to_string(),
            retention_days: RETENTION_DAYS_MAX,
            purge_protection: false,
            administrators: Vec::new(),
            state: if flag.inactive { InitialState::Provisioned } else { InitialState::Activated },
        });
    }
    Ok(pools)
}

/// The remembered port when it is free, else another free one.
fn free_port(remembered: u16, not: u16) -> Result<u16, Failure> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|l| l.local_addr()).map(|a| a.port());
    match bind(remembered) {
        Ok(port) if port != not => Ok(port),
        _ => Ok(bind(0)?),
    }
}
