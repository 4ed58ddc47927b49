//! A pool with one caller who holds every role a handler needs.

use crate::http::call::{Answer, Call, Handler};
use serde_json::Value;
use std::sync::Arc;
use std::time::Instant;
use strongroom_engine::roles::CreateRoleAssignment;
use strongroom_engine::{Engine, EngineParts, Pool, PoolRequest, PoolState, Recorded};
use strongroom_hsm_soft::SoftProvider;
use strongroom_model::audit::{Actor, AuditRecord};
use strongroom_model::clock::SystemClock;
use strongroom_model::error::Result;
use strongroom_model::principal::PrincipalKind;
use strongroom_model::role::{CRYPTO_OFFICER, CRYPTO_USER};
use strongroom_model::{ApiVersion, DataAction, PoolName, Principal, RoleScope, SecretBytes};
use strongroom_partition::local::LocalPartitions;
use strongroom_store::MemoryStore;
use uuid::Uuid;

pub(super) const BASE: &str = "https://demo.managedhsm.localhost:8443";
pub(super) const CALLER: Uuid = Uuid::from_u128(0xca11);

pub(super) struct House {
    engine: Arc<Engine>,
    pool: Arc<Pool>,
    caller: Arc<Principal>,
}

/// What of a request differs from call to call.
#[derive(Clone, Default)]
pub(super) struct Asked<'a> {
    pub(super) scope: Option<&'a str>,
    pub(super) params: Vec<(&'static str, &'a str)>,
    pub(super) query: Vec<(&'a str, &'a str)>,
    pub(super) body: Option<Value>,
    /// Sent in place of `body`.
    pub(super) raw: Option<Vec<u8>>,
}

/// A request for a key, or a version of it.
pub(super) fn key(name: &str) -> Asked<'_> {
    let mut parts = name.splitn(2, '/');
    let params = ["name", "version"].into_iter().zip(parts.by_ref()).collect();
    Asked { params, ..Asked::default() }
}

impl Asked<'_> {
    pub(super) fn with(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}

impl House {
    pub(super) async fn new() -> Self {
        let secret = || SecretBytes::new(vec![7; 32]);
        let engine = Engine::start(EngineParts {
            store: Arc::new(MemoryStore::new()),
            store_seal: secret(),
            partitions: Arc::new(LocalPartitions::new(SoftProvider, secret(), true)),
            clock: Arc::new(SystemClock { offset: 0 }),
            cached_keys: EngineParts::CACHED_KEYS,
            development: true,
            sharing: strongroom_engine::Sharing::Alone,
            changes_allowed: Arc::new(|| Ok(())),
        });
        let engine = engine.await.unwrap();
        let request = PoolRequest {
            name: PoolName::parse("demo").unwrap(),
            state: PoolState::Activated,
            retention_days: 7,
            purge_protection: false,
            administrators: vec![CALLER],
        };
        let pool = engine.ensure_pool(request).await.unwrap();
        let caller = Principal {
            object_id: CALLER,
            tenant_id: Uuid::nil(),
            app_id: None,
            user_name: None,
            groups: Arc::new([]),
            kind: PrincipalKind::User,
            issuer: "https://issuer.example".into(),
        };
        let house = Self { engine, pool, caller: Arc::new(caller) };
        for (id, role_definition_id) in [(1, CRYPTO_USER), (2, CRYPTO_OFFICER)] {
            let action = DataAction::RoleAssignmentsWrite;
            let grant = house.engine.authorise(&house.pool, &house.caller, action, RoleScope::Hsm).unwrap();
            let asked = CreateRoleAssignment { principal_id: CALLER, role_definition_id, scope: RoleScope::Hsm };
            house.engine.create_role_assignment(&grant, recorded(), Uuid::from_u128(id), asked).await.unwrap();
        }
        house
    }

    pub(super) async fn call(&self, handler: Handler, action: DataAction, asked: Asked<'_>) -> Result<Answer> {
        self.call_by("2026-04-01", handler, action, asked).await
    }

    pub(super) async fn call_by(
        &self,
        version: &str,
        handler: Handler,
        action: DataAction,
        asked: Asked<'_>,
    ) -> Result<Answer> {
        let scope = RoleScope::parse(asked.scope.unwrap_or("/")).unwrap();
        let mut query = vec![("api-version".to_owned(), version.to_owned())];
        query.extend(asked.query.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        handler(Call {
            engine: Arc::clone(&self.engine),
            grant: self.engine.authorise(&self.pool, &self.caller, action, scope.clone())?,
            recorded: recorded(),
            version: ApiVersion::parse(version).unwrap(),
            base: BASE.into(),
            scope,
            params: asked.params.iter().map(|(n, v)| (*n, (*v).to_owned())).collect(),
            query,
            body: SecretBytes::new(match (asked.raw, asked.body) {
                (Some(raw), _) => raw,
                (None, Some(body)) => body.to_string().into_bytes(),
                (None, None) => Vec::new(),
            }),
        })
        .await
    }
}

/// The body of an answer.
pub(super) fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

fn recorded() -> Recorded {
    let record = AuditRecord {
        time_ms: 0,
        resource: "demo".into(),
        operation: "Test".into(),
        operation_version: "2026-04-01".into(),
        status: 200,
        error_code: String::new(),
        duration_us: 0,
        caller_address: None,
        private_endpoint: String::new(),
        actor: Actor::Anonymous,
        request_id: Uuid::from_u128(1),
        correlation_id: None,
        client_info: String::new(),
        request_uri: String::new(),
        object: String::new(),
        stamp: None,
        folded: 0,
    };
    Recorded { record, started: Instant::now() }
}
