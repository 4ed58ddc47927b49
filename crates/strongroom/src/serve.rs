//! `strongroom serve`: reads the configuration, checks what can be checked before anything runs, and becomes the keeper.

use crate::cli::ServeArgs;
use crate::failure::Failure;
use crate::keeper::become_keeper;
use std::io::Write;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};
use strongroom_model::PoolName;
use strongroom_partition::confine::{ConfineError, can_limit_files};
use strongroom_server::config::{
    Config, PrivateEndpointConfig, ServiceConfig, StoreKind, StoreSettings, check_data_folder, lock_data_folder, logs,
    make_private_folder, read_private,
};
use strongroom_server::http::{EndpointPlace, ListenAddress, ListenEndpoint, ListenSettings, Listeners};

/// Where production is told what to do.
const LISTEN: &str = "the settings listen and port";
const MANAGED_IDENTITY: &str = "the setting managed_identity_port";

pub(crate) fn start(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let config = Config::load(&args.config)?;
    logs::check(&config.log)?;
    check_kind(&config.store)?;
    let printed = config.to_toml()?;
    let mut config = ServiceConfig::from(config);
    config.check_seal_place()?;
    if !config.allow_visible_seal && !can_limit_files() {
        return Err(ConfineError::VisibleSeal.into());
    }
    if args.check {
        let _closed = std::io::stdout().lock().write_all(printed.as_bytes());
        return Ok(ExitCode::SUCCESS);
    }
    config.started_ms = now_ms();
    // Bound and let go again: a taken port is said before anything else is done.
    drop(Listeners::bind(&ListenSettings { workers: 1, ..listen_settings(&config) })?);
    check_store(&config)?;
    check_data_folder(&config.data)?;
    let lock = lock_data_folder(&config.data)?;
    make_private_folder(&config.audit.folder)?;
    config.check_work_folders()?;
    if !config.seal.exists() {
        let path = config.seal.display();
        return Err(Failure::configuration(format!(
            "{path}: there is no seal: make one with `strongroom seal create {path}`, or put back the one that the store was \
             made with"
        )));
    }
    become_keeper(&config, lock)
}

/// Refuses a store that this program was built without.
fn check_kind(store: &StoreSettings) -> Result<(), Failure> {
    match store.kind {
        StoreKind::Etcd if !cfg!(feature = "etcd") => Err(Failure::configuration(
            "store.kind: this program was built without etcd: build it with `--features etcd`, or use kind = \"redb\"",
        )),
        StoreKind::Redb | StoreKind::Etcd => Ok(()),
    }
}

/// Checks what can be checked of the store before anything runs: whether the files are there and the key is nobody else's.
pub(crate) fn check_store(config: &ServiceConfig) -> Result<(), Failure> {
    check_kind(&config.store)?;
    let Some(etcd) = config.store.etcd() else { return Ok(()) };
    for (setting, path) in [("store.ca", etcd.ca), ("store.certificate", etcd.certificate)] {
        std::fs::read(path)
            .map_err(|error| Failure::configuration(format!("{setting}: {}: {error}", path.display())))?;
    }
    read_private(etcd.key).map(drop).map_err(|error| Failure::configuration(format!("store.key: {error}")))
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Where to listen, as the listeners take it.
pub(crate) fn listen_settings(config: &ServiceConfig) -> ListenSettings {
    let (tls, managed) = match &config.development {
        Some(_) => ("--port", "--data (another folder gets another port)"),
        None => (LISTEN, MANAGED_IDENTITY),
    };
    let address = |(ip, optional): &(std::net::IpAddr, bool)| ListenAddress {
        address: (*ip, config.port).into(),
        setting: tls,
        optional: *optional,
    };
    let managed_identity = config.managed_identity_port.map(|port| ListenAddress {
        address: (std::net::Ipv4Addr::LOCALHOST, port).into(),
        setting: managed,
        optional: false,
    });
    ListenSettings {
        tls: config.listen.iter().map(address).collect(),
        managed_identity: managed_identity.into_iter().collect(),
        endpoints: config.private_endpoints().filter_map(|(endpoint, id)| listen_endpoint(endpoint, id)).collect(),
        proxies: config.network.proxies.clone(),
        workers: config.runtimes,
    }
}

/// None when the name of its managed HSM cannot be one: the configuration was checked for it.
fn listen_endpoint(endpoint: &PrivateEndpointConfig, id: String) -> Option<ListenEndpoint> {
    let port = endpoint.port.unwrap_or_default();
    let place = match (endpoint.address, &endpoint.interface, &endpoint.unix, endpoint.vsock) {
        (Some(address), ..) => EndpointPlace::Address((address, port).into()),
        (_, Some(name), ..) => EndpointPlace::Interface { name: name.clone(), port },
        (_, _, Some(path), _) => EndpointPlace::Unix(path.clone()),
        (_, _, _, Some(port)) => EndpointPlace::Vsock(port),
        (None, None, None, None) => return None,
    };
    let resource = PoolName::parse(&endpoint.resource).ok()?;
    Some(ListenEndpoint { name: endpoint.name.clone(), id, resource, place })
}
