//! The service behind the listeners: what every request is answered with.

use super::headers::CommonHeaders;
use super::host::Sites;
use super::route::{self, Route};
use super::router::Router;
use crate::audit::{AuditLog, AuditState};
use crate::identity::{Endpoints, Identity, Resource};
use http::HeaderValue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use strongroom_engine::{Engine, WithoutProof};
use strongroom_model::error::{Error, Unavailable};
use strongroom_store::StoreError;
use tokio::sync::Mutex;

/// How long an answer of readiness is good for.
const READINESS_AGE: Duration = Duration::from_secs(1);
/// Longest time for the partitions to prove that they work.
const READINESS_TIME: Duration = Duration::from_secs(5);

/// What is fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The domain below which every host name lies.
    pub domain: String,
    /// The port that clients use, as it stands in URLs.
    pub port: u16,
    /// `x-ms-keyvault-region`
    pub region: String,
    /// `x-ms-build-version`
    pub build_version: String,
    /// Longest time for a request's body to come, where its route does not say less.
    pub body_timeout: Duration,
}

/// What a [`Service`] is made of.
pub struct ServiceParts {
    /// Every rule.
    pub engine: Arc<Engine>,
    /// Who calls.
    pub identity: Arc<Identity>,
    /// The record of every request.
    pub audit: Arc<AuditLog>,
    /// The rest.
    pub settings: HttpSettings,
}

/// Why a service cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The tenant's URL does not fit into a header.
    #[error("the challenge cannot be written into a header: domain {0:?} holds characters that no host name has")]
    Challenge(String),
}

/// What the engine proved at the last question.
#[derive(Clone)]
struct Proofs {
    keys: Result<(), Error>,
    store: Result<(), StoreError>,
}

/// The service; shared by all workers.
pub struct Service {
    pub(super) engine: Arc<Engine>,
    pub(super) identity: Arc<Identity>,
    pub(super) audit: Arc<AuditLog>,
    pub(super) sites: Sites,
    pub(super) router: Router,
    pub(super) headers: CommonHeaders,
    /// `WWW-Authenticate` of every 401 of a managed HSM.
    pub(super) challenge: HeaderValue,
    /// The audience of tokens for managed HSMs.
    pub(super) hsm_audience: String,
    /// The host names of this installation.
    pub(super) endpoints: Endpoints,
    /// `WWW-Authenticate` of every 401 of the management plane.
    pub(super) management_challenge: HeaderValue,
    /// The audience of tokens for it.
    pub(super) management_audience: String,
    /// `WWW-Authenticate` of every 401 of the directory.
    pub(super) graph_challenge: HeaderValue,
    /// The audience of tokens for it.
    pub(super) graph_audience: String,
    body_timeout: Duration,
    readiness: Mutex<Option<(Instant, Proofs)>>,
    stopping: AtomicBool,
}

impl Service {
    /// Puts the parts together.
    pub fn new(parts: ServiceParts) -> Result<Arc<Self>, ServiceError> {
        Self::with_routes(parts, route::all())
    }

    /// The same with a table of the caller's: tests add rows that fail.
    pub(super) fn with_routes(
        parts: ServiceParts,
        rows: impl IntoIterator<Item = &'static Route>,
    ) -> Result<Arc<Self>, ServiceError> {
        let ServiceParts { engine, identity, audit, settings } = parts;
        let endpoints = Endpoints::new(&settings.domain, settings.port);
        let hsm_audience = endpoints.audience(Resource::ManagedHsm);
        let login = identity.challenge_authority();
        let header =
            |text: &str| HeaderValue::from_str(text).map_err(|_| ServiceError::Challenge(settings.domain.clone()));
        let challenge = header(&format!("Bearer authorization=\"{login}\", resource=\"{hsm_audience}\""))?;
        let management_challenge = header(&format!(
            "Bearer authorization_uri=\"{login}\", error=\"invalid_token\", error_description=\"The access token is missing or not valid.\""
        ))?;
        let graph_challenge =
            header(&format!("Bearer realm=\"\", authorization_uri=\"{login}/oauth2/v2.0/authorize\""))?;
        Ok(Arc::new(Self {
            engine,
            identity,
            audit,
            sites: Sites::new(&settings.domain, settings.port),
            router: Router::new(rows),
            headers: CommonHeaders::new(&settings.region, &settings.build_version),
            challenge,
            hsm_audience,
            management_challenge,
            management_audience: endpoints.audience(Resource::Management),
            graph_challenge,
            graph_audience: endpoints.audience(Resource::Graph),
            endpoints,
            body_timeout: settings.body_timeout,
            readiness: Mutex::new(None),
            stopping: AtomicBool::new(false),
        }))
    }

    /// Longest time for a body on a route.
    pub(super) fn body_timeout(&self, route: &Route) -> Duration {
        route.body_timeout.min(self.body_timeout)
    }

    /// From here on the node is not ready: load balancers look elsewhere while it drains.
    pub(super) fn begin_to_stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// What is wrong with the audit log; asks nobody, so it never waits.
    pub(super) fn audit_trouble(&self) -> Vec<String> {
        match self.audit.state() {
            AuditState::Healthy => Vec::new(),
            state @ (AuditState::Degraded(_) | AuditState::Failed(_)) => vec![format!("audit log {state}")],
        }
    }

    /// What does not work as it should while the rest does.
    pub(super) async fn degraded(&self) -> Vec<String> {
        let mut reasons = self.audit_trouble();
        reasons.extend(self.identity.troubles());
        if let Err(error) = self.proofs().await.store {
            reasons.push(format!("store: {error}; changes are refused"));
        }
        if self.engine.unproved() == Some(WithoutProof::Cryptography) {
            reasons.push(format!("{}; cryptographic operations only", Error::Unavailable(Unavailable::Unproved)));
        }
        reasons
    }

    /// Why this node cannot do its work; nothing when it can sign and can audit.
    pub(super) async fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.stopping.load(Ordering::Acquire) {
            reasons.push(Error::Unavailable(Unavailable::Stopping).to_string());
        }
        let proofs = self.proofs().await;
        if let Err(error) = proofs.keys {
            reasons.push(format!("keys: {error}"));
        }
        let unproved = self.engine.unproved();
        match proofs.store {
            // Keys can be used all the same.
            Ok(()) | Err(StoreError::Full) => {}
            Err(_) if unproved == Some(WithoutProof::Cryptography) => {}
            Err(error) => reasons.push(format!("store: {error}")),
        }
        if unproved == Some(WithoutProof::Refuse) {
            reasons.push(Error::Unavailable(Unavailable::Unproved).to_string());
        }
        match self.audit.state() {
            AuditState::Healthy | AuditState::Degraded(_) => {}
            failed @ AuditState::Failed(_) => reasons.push(format!("audit log {failed}")),
        }
        reasons
    }

    /// What the engine proves; it is asked at most once a second, however many ask here.
    async fn proofs(&self) -> Proofs {
        let mut known = self.readiness.lock().await;
        if let Some((at, proofs)) = &*known
            && at.elapsed() < READINESS_AGE
        {
            return proofs.clone();
        }
        let keys = tokio::time::timeout(READINESS_TIME, self.engine.ready()).await;
        let store = tokio::time::timeout(READINESS_TIME, self.engine.store_takes_changes()).await;
        let proofs = Proofs {
            keys: keys.unwrap_or(Err(Error::Unavailable(Unavailable::Partition))),
            store: store.unwrap_or(Err(StoreError::Unknown)),
        };
        *known = Some((Instant::now(), proofs.clone()));
        proofs
    }
}
