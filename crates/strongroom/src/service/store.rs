//! Opening the store that the configuration names.

use crate::failure::Failure;
use crate::service::parts::patiently;
use std::path::Path;
use std::sync::Arc;
use strongroom_engine::Sharing;
use strongroom_server::config::{EtcdSettings, ServiceConfig};
use strongroom_store::Store;
use strongroom_store::redb::{OpenError, Options, RedbStore};

/// A store, and who else uses it.
pub(super) struct OpenedStore {
    pub(super) store: Arc<dyn Store>,
    pub(super) sharing: Sharing,
}

/// Opens it.
pub(super) async fn open(config: &ServiceConfig) -> Result<OpenedStore, Failure> {
    if let Some(etcd) = config.store.etcd() {
        return open_etcd(&config.data, etcd);
    }
    let options = Options { cache_bytes: config.cache.store_mib.saturating_mul(1 << 20) };
    let folder = config.data.join("store");
    let locked = |error: &OpenError| matches!(error, OpenError::Locked { .. });
    let store = patiently(locked, || RedbStore::open(&folder, options)).await?;
    Ok(OpenedStore { store: Arc::new(store), sharing: Sharing::Alone })
}

#[cfg(not(feature = "etcd"))]
fn open_etcd(_data: &Path, _etcd: EtcdSettings<'_>) -> Result<OpenedStore, Failure> {
    Err(Failure::configuration("store.kind: this program was built without etcd"))
}

#[cfg(feature = "etcd")]
fn open_etcd(data: &Path, etcd: EtcdSettings<'_>) -> Result<OpenedStore, Failure> {
    use strongroom_store::EtcdStore;
    use strongroom_store::etcd::{OpenError, Options};
    let read = |setting: &str, path: &Path| {
        std::fs::read(path).map_err(|error| Failure::configuration(format!("{setting}: {}: {error}", path.display())))
    };
    let key = strongroom_server::config::read_private(etcd.key);
    let options = Options {
        endpoints: etcd.endpoints.to_vec(),
        ca: read("store.ca", etcd.ca)?,
        certificate: read("store.certificate", etcd.certificate)?,
        key: key.map_err(|error| Failure::configuration(format!("store.key: {error}")))?,
        prefix: etcd.prefix.to_owned(),
    };
    let sharing = Sharing::Node { id: node(data)?, without_proof: etcd.without_proof.into() };
    match EtcdStore::open(options) {
        Ok(store) => Ok(OpenedStore { store: Arc::new(store), sharing }),
        // It may answer at the next start.
        Err(error @ (OpenError::Unreachable { .. } | OpenError::Thread(_) | OpenError::Ended)) => {
            Err(Failure::failed(error))
        }
        Err(error @ OpenError::Endpoint(_)) => Err(Failure::configuration(format!("store.endpoints: {error}"))),
        Err(error @ OpenError::Prefix(_)) => Err(Failure::configuration(format!("store.prefix: {error}"))),
        Err(error @ OpenError::Tls(_)) => {
            Err(Failure::configuration(format!("store.ca, store.certificate, store.key: {error}")))
        }
    }
}

/// The id of this node, made at its first start: audit records, use chains and the log's last head lie under it in the store.
#[cfg(feature = "etcd")]
fn node(data: &Path) -> Result<uuid::Uuid, Failure> {
    let path = data.join("node");
    if !path.exists() {
        strongroom_server::config::write_private(&path, format!("{}\n", uuid::Uuid::new_v4()).as_bytes())?;
    }
    let text = strongroom_server::config::read_private(&path)?;
    let id = text.trim().parse();
    id.map_err(|_| {
        Failure::configuration(format!("{}: not a node's id: remove the file, and never copy it", path.display()))
    })
}
