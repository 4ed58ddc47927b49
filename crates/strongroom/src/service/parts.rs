//! The parts of the service, in the order in which they can be started.

use crate::failure::Failure;
use crate::service::roles::give_first_roles;
use crate::service::store::{self, OpenedStore};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use strongroom_engine::management::ManagementSettings;
use strongroom_engine::{Engine, EngineParts, PoolRequest, Recorded, StartError};
use strongroom_model::audit::{Actor, AuditRecord, Stamp, SystemStamp};
use strongroom_model::clock::SystemClock;
use strongroom_model::management::{GroupName, Location};
use strongroom_model::{Algorithm, Clock, KeySpec, PoolName, SecretBytes};
use strongroom_partition::client::KeeperClient;
use strongroom_server::audit::{AuditLog, AuditOpenError};
use strongroom_server::config::ServiceConfig;
use strongroom_server::http::{HttpSettings, Service, ServiceParts};
use strongroom_server::identity::{Endpoints, Identity, IdentityParts, SystemSigner};
use strongroom_server::tls::{Tls, TlsParts};
use strongroom_store::StoreError;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Longest time for a request's body to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time until a store that others share has answered for the first time.
const PROOF_PATIENCE: Duration = Duration::from_secs(30);
/// The issuer's key in pool `system`.
const ISSUER: &str = "issuer";

/// How long what another process holds is asked for again: the service of a keeper that was killed takes a moment to end.
const LOCKED_PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two tries.
const LOCKED_PAUSE: Duration = Duration::from_millis(20);

/// Everything that serves.
pub(super) struct Parts {
    pub(super) engine: Arc<Engine>,
    pub(super) audit: Arc<AuditLog>,
    pub(super) identity: Arc<Identity>,
    pub(super) tls: Arc<Tls>,
    pub(super) service: Arc<Service>,
}

impl Parts {
    pub(super) async fn start(
        config: &ServiceConfig,
        store_seal: SecretBytes,
        keeper: Arc<KeeperClient>,
    ) -> Result<Self, Failure> {
        let locked = |error: &AuditOpenError| matches!(error, AuditOpenError::Locked(_));
        let audit = patiently(locked, || AuditLog::open(&config.audit, &config.origin)).await?;
        let audit = Arc::new(audit);
        let engine = start_engine(config, store_seal, keeper, &audit).await?;
        engine.load_management(management_settings(config)?).await?;
        // Before the pools are there: none is ever open to more than its surroundings say.
        let endpoints = config.private_endpoints().filter_map(|(endpoint, id)| endpoint.declared(id)).collect();
        engine.set_network_surroundings(config.network.settings.clone(), endpoints);
        // To the end of the process: the work of a clean stop wants it, too.
        drop(tokio::spawn(Arc::clone(&engine).follow()));
        if !engine.proved_within(PROOF_PATIENCE).await {
            return Err(Failure::failed("the store does not answer"));
        }
        // Tokens and certificates are compared with the clients' clocks, which nobody moved.
        let clock: Arc<dyn Clock> = Arc::new(SystemClock { offset: 0 });
        let tls = Tls::start(TlsParts {
            settings: config.tls.clone(),
            domain: config.domain.clone(),
            hsm_names: config.pools.iter().map(|pool| pool.name.clone()).collect(),
            clock: Arc::clone(&clock),
            engine: Arc::clone(&engine),
            record_use: record_use(&audit),
        });
        let issuer = SystemSigner::of_engine(&engine, ISSUER, KeySpec::Rsa2048, Algorithm::Rs256);
        // Each waits for a process of its own: together they take as long as the slowest.
        let ((), tls, signer) = tokio::try_join!(open_pools(config, &engine), own(tls), own(issuer))?;
        settle_management(config, &engine).await?;
        let identity = Identity::start(IdentityParts {
            settings: config.identity.clone(),
            endpoints: Endpoints::new(&config.domain, config.port),
            clock,
            signer,
        })?;
        let settings = HttpSettings {
            domain: config.domain.clone(),
            port: config.port,
            region: config.region.clone(),
            build_version: env!("CARGO_PKG_VERSION").into(),
            body_timeout: BODY_TIMEOUT,
        };
        let (engine_, identity_, audit_) = (Arc::clone(&engine), Arc::clone(&identity), Arc::clone(&audit));
        let service = Service::new(ServiceParts { engine: engine_, identity: identity_, audit: audit_, settings })?;
        Ok(Self { engine, audit, identity, tls, service })
    }
}

/// Opens what may still be held by a service that is ending.
pub(super) async fn patiently<T, E>(locked: impl Fn(&E) -> bool, open: impl Fn() -> Result<T, E>) -> Result<T, E> {
    let begun = Instant::now();
    loop {
        match open() {
            Err(error) if locked(&error) && begun.elapsed() < LOCKED_PATIENCE => {
                tokio::time::sleep(LOCKED_PAUSE).await;
            }
            result => return result,
        }
    }
}

/// Brings every error into one type.
async fn own<T, E: Into<Failure>>(work: impl Future<Output = Result<T, E>>) -> Result<T, Failure> {
    work.await.map_err(Into::into)
}

/// Makes or opens the managed HSMs, all at the same time.
async fn open_pools(config: &ServiceConfig, engine: &Arc<Engine>) -> Result<(), Failure> {
    let mut opening = JoinSet::new();
    for pool in config.pools.clone() {
        if engine.is_deleted(&PoolName::parse(&pool.name)?) {
            tracing::warn!(pool = pool.name, "this managed HSM is deleted: it is not opened, and not made anew");
            continue;
        }
        let (engine, development) = (Arc::clone(engine), config.development.clone());
        opening.spawn(async move {
            let pool = engine
                .ensure_pool(PoolRequest {
                    name: PoolName::parse(&pool.name)?,
                    state: pool.state.into(),
                    retention_days: pool.retention_days,
                    purge_protection: pool.purge_protection,
                    administrators: pool.administrators,
                })
                .await?;
            match development {
                Some(development) => give_first_roles(&engine, &pool, &development).await,
                None => Ok(()),
            }
        });
    }
    while let Some(opened) = opening.join_next().await {
        opened??;
    }
    Ok(())
}

/// What this installation is to Azure Resource Manager.
fn management_settings(config: &ServiceConfig) -> Result<ManagementSettings, Failure> {
    Ok(ManagementSettings {
        subscription_id: config.origin.subscription_id,
        subscription_name: config.management.subscription_name.clone(),
        tenant_id: config.identity.tenant_id,
        location: Location::parse(&config.region)?,
        owners: config.management.owners.clone(),
        group: GroupName::parse(&config.origin.resource_group)?,
        initial_state: config.management.new_hsm_state.into(),
    })
}

/// Makes the owners and the resources that the configuration names.
async fn settle_management(config: &ServiceConfig, engine: &Arc<Engine>) -> Result<(), Failure> {
    let names = config.pools.iter().map(|pool| PoolName::parse(&pool.name)).collect::<Result<Vec<_>, _>>()?;
    let record = system_record("ManagementSettle", "configuration", None);
    Ok(engine.settle_management(&names, &Recorded { record, started: Instant::now() }).await?)
}

async fn start_engine(
    config: &ServiceConfig,
    store_seal: SecretBytes,
    keeper: Arc<KeeperClient>,
    audit: &Arc<AuditLog>,
) -> Result<Arc<Engine>, Failure> {
    let OpenedStore { store, sharing } = store::open(config).await?;
    let allowed = Arc::clone(audit);
    let parts = EngineParts {
        store,
        store_seal,
        partitions: keeper,
        clock: Arc::new(SystemClock { offset: config.development.as_ref().map_or(0, |d| d.clock_offset) }),
        cached_keys: config.cache.keys,
        development: config.development.is_some(),
        changes_allowed: Arc::new(move || allowed.changes_allowed()),
        sharing,
    };
    match Engine::start(parts).await {
        // It may answer at the next start.
        Err(error @ StartError::Store(StoreError::Unreachable | StoreError::Unknown)) => Err(Failure::failed(error)),
        started => Ok(started?),
    }
}

/// Records the uses of the private CA's key.
fn record_use(audit: &Arc<AuditLog>) -> Arc<dyn Fn(SystemStamp) + Send + Sync> {
    let (audit, runtime) = (Arc::clone(audit), tokio::runtime::Handle::current());
    Arc::new(move |stamp| {
        let audit = Arc::clone(&audit);
        runtime.spawn(async move {
            let record = system_record("CertificateIssue", "tls", Some(Stamp::System(stamp)));
            if let Err(error) = audit.append(record).await {
                tracing::error!(%error, "a use of the private CA's key could not be recorded");
            }
        });
    })
}

/// The record of an act of this node itself.
pub(super) fn system_record(operation: &str, job: &str, stamp: Option<Stamp>) -> AuditRecord {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    AuditRecord {
        time_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        resource: String::new(),
        operation: operation.into(),
        operation_version: String::new(),
        status: 200,
        error_code: String::new(),
        duration_us: 0,
        caller_address: None,
        private_endpoint: String::new(),
        actor: Actor::System(format!("system:{job}")),
        request_id: Uuid::new_v4(),
        correlation_id: None,
        client_info: String::new(),
        request_uri: String::new(),
        object: String::new(),
        stamp,
        folded: 0,
    }
}
