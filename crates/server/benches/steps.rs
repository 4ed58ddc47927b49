//! The steps between the head of a request and its answer, without any socket.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use strongroom_engine::{Engine, EngineParts, PoolRequest, PoolState};
use strongroom_hsm_soft::SoftProvider;
use strongroom_model::audit::{Actor, AuditRecord, Stamp, UseStamp};
use strongroom_model::clock::SystemClock;
use strongroom_model::{
    Algorithm, DataAction, KeyName, KeySpec, PoolName, Principal, RoleScope, SecretBytes, Timestamp,
};
use strongroom_partition::local::LocalPartitions;
use strongroom_server::audit::AuditOrigin;
use strongroom_server::identity::settings::{Application, DirectoryFile, IdentitySettings};
use strongroom_server::identity::{Endpoints, Identity, IdentityParts, Resource, SystemSigner, TokenRequest};
use strongroom_server::steps::Steps;
use uuid::Uuid;

const TENANT: Uuid = Uuid::from_u128(0x7e);
const PATH: &str = "/keys/payments/0123456789abcdef0123456789abcdef/encrypt";

fn origin() -> AuditOrigin {
    AuditOrigin { tenant_id: TENANT, subscription_id: TENANT, resource_group: "bench".into() }
}

fn record() -> AuditRecord {
    AuditRecord {
        time_ms: 1_795_511_887_175,
        resource: "demo".into(),
        operation: "KeyEncrypt".into(),
        operation_version: "7.6".into(),
        status: 200,
        error_code: String::new(),
        duration_us: 912,
        caller_address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        actor: Actor::Anonymous,
        request_id: Uuid::from_u128(77),
        correlation_id: None,
        client_info: "azsdk-python-keyvault-keys/4.11.0 Python/3.11.7 (Linux-6.1.0-x86_64-with-glibc2.36)".into(),
        request_uri: format!("https://demo.managedhsm.localhost:8443{PATH}?api-version=7.6"),
        object: "keys/payments/0123456789abcdef0123456789abcdef".into(),
        stamp: Some(Stamp::Use(UseStamp {
            chain: [9; 16],
            sequence: 123_456,
            hash: [1; 32],
            time: Timestamp(1_795_515_057),
            generation: 1,
        })),
        folded: 0,
        private_endpoint: String::new(),
    }
}

async fn engine(administrator: Uuid) -> Arc<Engine> {
    let engine = Engine::start(EngineParts {
        store: Arc::new(strongroom_store::MemoryStore::new()),
        store_seal: SecretBytes::new(vec![7; 32]),
        partitions: Arc::new(LocalPartitions::new(SoftProvider, SecretBytes::new(vec![8; 32]), true)),
        clock: Arc::new(SystemClock { offset: 0 }),
        cached_keys: EngineParts::CACHED_KEYS,
        sharing: strongroom_engine::Sharing::Alone,
        development: true,
        changes_allowed: Arc::new(|| Ok(())),
    });
    let engine = engine.await.unwrap();
    let request = PoolRequest {
        name: PoolName::parse("demo").unwrap(),
        state: PoolState::Activated,
        retention_days: 7,
        purge_protection: false,
        administrators: vec![administrator],
    };
    engine.ensure_pool(request).await.unwrap();
    engine
}

/// The issuer with one application, a token of it, and the audience that the token is for.
async fn identity(engine: &Arc<Engine>, folder: &std::path::Path) -> (Arc<Identity>, String, String) {
    let (application, secret) = Application::generate("bench").unwrap();
    let client = application.client_id;
    let directory = folder.join("directory.toml");
    DirectoryFile { applications: vec![application], ..DirectoryFile::default() }.save(&directory).unwrap();
    let endpoints = Endpoints::new("localhost", 8443);
    let audience = endpoints.audience(Resource::ManagedHsm);
    let signer = SystemSigner::of_engine(engine, "issuer", KeySpec::Rsa2048, Algorithm::Rs256).await.unwrap();
    let settings = IdentitySettings {
        tenant_id: TENANT,
        directory,
        additional_audiences: Vec::new(),
        public_clients: Vec::new(),
        identity_header_sha256: None,
        issuers: Vec::new(),
        challenge_authority: None,
    };
    let clock = Arc::new(SystemClock { offset: 0 });
    let identity = Identity::start(IdentityParts { settings, endpoints, clock, signer }).unwrap();
    let (secret, scope) = (std::str::from_utf8(secret.expose()).unwrap(), format!("{audience}/.default"));
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", &client.to_string())
        .append_pair("client_secret", secret)
        .append_pair("scope", &scope)
        .finish();
    let request = TokenRequest {
        tenant: &TENANT.to_string(),
        authorization: None,
        content_type: Some("application/x-www-form-urlencoded"),
        body: form.as_bytes(),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        correlation_id: Uuid::nil(),
    };
    let answer: serde_json::Value = serde_json::from_slice(&identity.token(request).await.body).unwrap();
    (identity, answer["access_token"].as_str().unwrap().to_owned(), audience)
}

fn steps(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let engine = runtime.block_on(engine(Uuid::from_u128(1)));
    let (identity, token, audience) = runtime.block_on(identity(&engine, folder.path()));
    let caller = identity.validate(&token, &audience).unwrap();
    c.bench_function("token, cached", |b| b.iter(|| identity.validate(&token, &audience).unwrap()));
    c.bench_function("token, cold", |b| {
        // Every reload of the directory makes what is cached worthless.
        let forget = || identity.reload().unwrap();
        b.iter_batched(forget, |()| identity.validate(&token, &audience).unwrap(), BatchSize::PerIteration);
    });

    let pool = engine.pool(&PoolName::parse("demo").unwrap()).unwrap();
    let administrator = Arc::new(Principal { object_id: Uuid::from_u128(1), ..Principal::clone(&caller) });
    let scope = RoleScope::Key(KeyName::parse("payments").unwrap());
    c.bench_function("authorise", |b| {
        b.iter(|| engine.authorise(&pool, &administrator, DataAction::RoleAssignmentsRead, scope.clone()).unwrap());
    });

    let mut steps = Steps::new(&origin());
    assert_eq!(steps.path_and_route(PATH), Some(2));
    c.bench_function("path and route", |b| b.iter(|| steps.path_and_route(PATH)));
    c.bench_function("head of an answer", |b| b.iter(|| steps.answer_head()));
    let record = record();
    assert!(steps.audit_line(&record, &caller) > 1_000);
    c.bench_function("audit line and chain", |b| b.iter(|| steps.audit_line(&record, &caller)));
}

criterion_group!(benches, steps);
criterion_main!(benches);
