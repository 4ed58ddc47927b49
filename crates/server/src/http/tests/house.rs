//! A service in this process: engine, identity, audit log, two workers, and a client that speaks bytes.

use crate::audit::{AuditLog, AuditOrigin, AuditSettings};
use crate::http::call::{Call, HandlerFuture};
use crate::http::route::{Access, Route, Run, ScopeSource, Surface, all};
use crate::http::trail::blank_record;
use crate::http::{
    HttpLimits, HttpSettings, ListenAddress, ListenSettings, Listeners, OnRuntimeStart, Service, ServiceParts, run,
};
use crate::identity::settings::{Application, DirectoryFile, IdentitySettings, ManagedIdentity};
use crate::identity::{Endpoints, Identity, IdentityParts, SystemSigner};
use http::Method;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use strongroom_engine::management::ManagementSettings;
use strongroom_engine::{Engine, EngineParts, PoolRequest, PoolState, Recorded};
use strongroom_hsm_soft::SoftProvider;
use strongroom_model::clock::SystemClock;
use strongroom_model::error::Error;
use strongroom_model::limits::BODY_MAX;
use strongroom_model::management::{GroupName, Location};
use strongroom_model::{Algorithm, DataAction, KeySpec, PoolName, SecretBytes};
use strongroom_partition::local::LocalPartitions;
use strongroom_store::{
    Change, Condition, Entry, MemoryStore, Page, Pending, Revision, Snapshot, Store, StoreError, Watch,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use uuid::Uuid;

pub(super) const VERSION: &str = "0123456789abcdef0123456789abcdef";
pub(super) const TENANT: Uuid = Uuid::from_u128(0x7e);

fn panics(_: Call) -> HandlerFuture {
    panic!("as the test wants")
}

fn slow(call: Call) -> HandlerFuture {
    Box::pin(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(call);
        Err(Error::Throttled)
    })
}

const fn extra(operation: &'static str, pattern: &'static str, run: crate::http::call::Handler) -> Route {
    Route {
        operation,
        log_name: operation,
        surface: Surface::Hsm,
        method: Method::POST,
        pattern,
        since: Some("2015-06-01"),
        states: &[PoolState::Activated],
        access: Access::Hsm { action: DataAction::RoleAssignmentsRead, scope: ScopeSource::Hsm },
        changes: false,
        success: 200,
        body_limit: BODY_MAX,
        body_timeout: Duration::from_secs(30),
        run: Run::Hsm(run),
    }
}

/// Rows that do what no operation should.
static EXTRA: &[Route] = &[extra("Panic", "test/panic", panics), extra("Slow", "test/slow", slow)];

/// An answer, taken apart.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (n, value) = line.split_once(": ")?;
            n.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub(super) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }

    pub(super) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }
}

/// A store that fails for good when it is told to.
struct FailingStore {
    store: MemoryStore,
    failed: Arc<AtomicBool>,
}

impl FailingStore {
    fn check(&self) -> Result<(), StoreError> {
        if self.failed.load(Ordering::Relaxed) { Err(StoreError::Failed) } else { Ok(()) }
    }
}

impl Store for FailingStore {
    fn get<'a>(&'a self, path: &'a [u8]) -> Pending<'a, Option<Entry>> {
        Box::pin(async move {
            self.check()?;
            self.store.get(path).await
        })
    }

    fn scan<'a>(&'a self, from: &'a [u8], to: &'a [u8], limit: usize) -> Pending<'a, Page> {
        Box::pin(async move {
            self.check()?;
            self.store.scan(from, to, limit).await
        })
    }

    fn snapshot(&self) -> Pending<'_, Box<dyn Snapshot>> {
        self.store.snapshot()
    }

    fn commit(&self, conditions: Vec<Condition>, changes: Vec<Change>) -> Pending<'_, Revision> {
        Box::pin(async move {
            self.check()?;
            self.store.commit(conditions, changes).await
        })
    }

    fn watch(&self, prefix: &[u8], since: Revision) -> Pending<'_, Box<dyn Watch>> {
        self.store.watch(prefix, since)
    }
}

pub(super) struct House {
    pub(super) address: SocketAddr,
    pub(super) managed_identity: SocketAddr,
    /// An application without any role.
    pub(super) stranger: (Uuid, String),
    /// The administrator of the pools.
    pub(super) admin: (Uuid, String),
    pub(super) audit: Arc<AuditLog>,
    pub(super) engine: Arc<Engine>,
    /// Makes the store fail.
    pub(super) store_failed: Arc<AtomicBool>,
    pub(super) client: Arc<ClientConfig>,
    /// Where private endpoints with addresses are.
    pub(super) endpoints: Vec<SocketAddr>,
    folder: tempfile::TempDir,
    stop: watch::Sender<bool>,
    workers: Option<JoinHandle<Result<(), crate::http::ListenError>>>,
}

impl House {
    pub(super) async fn new() -> Self {
        Self::with(HttpLimits::default(), Duration::from_secs(30)).await
    }

    pub(super) async fn with(limits: HttpLimits, body_timeout: Duration) -> Self {
        Self::build(limits, body_timeout, Arc::new(|_| {})).await
    }

    pub(super) async fn build(limits: HttpLimits, body_timeout: Duration, on_start: OnRuntimeStart) -> Self {
        Self::listening(limits, body_timeout, on_start, ListenSettings::default()).await
    }

    /// With private endpoints and proxies.
    pub(super) async fn on_network(network: ListenSettings) -> Self {
        Self::listening(HttpLimits::default(), Duration::from_secs(30), Arc::new(|_| {}), network).await
    }

    pub(super) async fn listening(
        limits: HttpLimits,
        body_timeout: Duration,
        on_start: OnRuntimeStart,
        network: ListenSettings,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listeners = Listeners::bind(&ListenSettings {
            tls: if network.tls.is_empty() { ListenAddress::loopback(0, "--port") } else { network.tls },
            managed_identity: ListenAddress::loopback(0, "--managed-identity-port"),
            workers: 2,
            endpoints: network.endpoints,
            proxies: network.proxies,
        })
        .unwrap();
        let endpoints = listeners.endpoint_addresses().to_vec();
        let (address, managed_identity) = (listeners.addresses()[0], listeners.managed_identity_addresses()[0]);
        let audit = Arc::new(open_audit(folder.path().join("audit")));
        let (file, admin, stranger) = directory();
        let store_failed = Arc::new(AtomicBool::new(false));
        let engine = engine(&audit, admin.0, &store_failed).await;
        let directory = folder.path().join("directory.toml");
        file.save(&directory).unwrap();
        let identity = identity(&engine, directory, address.port()).await;
        let parts = ServiceParts {
            engine: Arc::clone(&engine),
            identity,
            audit: Arc::clone(&audit),
            settings: HttpSettings {
                domain: "localhost".into(),
                port: address.port(),
                region: "local".into(),
                build_version: "1.2.3".into(),
                body_timeout,
            },
        };
        let service = Service::with_routes(parts, all().chain(EXTRA)).unwrap();
        let (tls, client) = certificates();
        let (stop, stopped) = watch::channel(false);
        let workers = std::thread::spawn(move || run(service, listeners, tls, limits, stopped, on_start));
        let workers = Some(workers);
        Self {
            address,
            managed_identity,
            stranger,
            admin,
            audit,
            store_failed,
            engine,
            client,
            endpoints,
            folder,
            stop,
            workers,
        }
    }

    /// Asks the workers to stop and waits for them.
    pub(super) fn stop(&mut self) {
        self.stop.send(true).unwrap();
        self.workers.take().unwrap().join().unwrap().unwrap();
    }

    /// Waits until the workers have ended without being asked.
    pub(super) fn ended(&mut self) -> Result<(), crate::http::ListenError> {
        self.workers.take().unwrap().join().unwrap()
    }

    pub(super) fn ask_to_stop(&self) {
        self.stop.send(true).unwrap();
    }

    pub(super) async fn connect(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        self.secure(stream).await.unwrap()
    }

    /// TLS on whatever stream.
    pub(super) async fn secure<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> std::io::Result<TlsStream<S>> {
        let name = ServerName::try_from("demo.managedhsm.localhost").unwrap();
        TlsConnector::from(Arc::clone(&self.client)).connect(name, stream).await
    }

    /// Sends bytes, and reads until the other end closes.
    pub(super) async fn send(&self, bytes: &[u8]) -> Answer {
        self.send_on(self.connect().await, bytes).await
    }

    /// The same on a stream.
    pub(super) async fn send_on<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S, bytes: &[u8]) -> Answer {
        // The other end may refuse before it has everything.
        let _sent = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _closed = stream.read_to_end(&mut answer).await;
        Answer::parse(&answer)
    }

    pub(super) fn host(&self, name: &str) -> String {
        format!("{name}.localhost:{}", self.address.port())
    }

    /// A request with a body of JSON, and the headers given.
    pub(super) async fn request(&self, method: &str, host: &str, target: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        self.send([head.as_bytes(), body.as_bytes()].concat().as_slice()).await
    }

    /// A request to the pool `demo`.
    pub(super) async fn hsm(&self, method: &str, target: &str, token: Option<&str>, body: &str) -> Answer {
        let headers = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        self.request(method, &self.host("demo.managedhsm"), target, &headers, body).await
    }

    /// A token of an application.
    pub(super) async fn token(&self, who: &(Uuid, String)) -> String {
        self.token_for(who, "managedhsm").await
    }

    /// A token of an application for another service.
    pub(super) async fn token_for(&self, who: &(Uuid, String), service: &str) -> String {
        let (client, secret) = self.credentials(who);
        let scope = format!("https%3A%2F%2F{service}.localhost%3A{}%2F.default", self.address.port());
        let body = format!("grant_type=client_credentials&client_id={client}&client_secret={secret}&scope={scope}");
        let form = "Content-Type: application/x-www-form-urlencoded\r\n";
        let answer = self.request("POST", &self.host("login"), "/adfs/oauth2/v2.0/token", form, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    fn credentials<'a>(&self, who: &'a (Uuid, String)) -> (&'a str, &'a str) {
        who.1.split_once(' ').unwrap()
    }

    /// The lines of the audit log that hold a text.
    pub(super) fn audit_lines(&self, text: &str) -> Vec<serde_json::Value> {
        let mut lines = Vec::new();
        for entry in std::fs::read_dir(self.folder.path().join("audit")).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let content = String::from_utf8_lossy(&bytes).into_owned();
            lines.extend(
                content.lines().filter(|line| line.contains(text)).filter_map(|l| serde_json::from_str(l).ok()),
            );
        }
        lines
    }

    /// Waits for a line of the audit log.
    pub(super) async fn audited(&self, text: &str) -> serde_json::Value {
        for _ in 0..500 {
            if let Some(line) = self.audit_lines(text).pop() {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no audit record with {text}")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _gone = self.stop.send(true);
        if let Some(workers) = self.workers.take() {
            let _ended = workers.join();
        }
    }
}

fn open_audit(folder: PathBuf) -> AuditLog {
    let settings = AuditSettings { folder, reserve_bytes: 1 << 20, segment_bytes: 64 << 20 };
    let origin = AuditOrigin { tenant_id: TENANT, subscription_id: TENANT, resource_group: "test".into() };
    AuditLog::open(&settings, &origin).unwrap()
}

/// Client id and secret in one text, beside the object id.
fn application(name: &str) -> (Application, (Uuid, String)) {
    let (application, secret) = Application::generate(name).unwrap();
    let secret = std::str::from_utf8(secret.expose()).unwrap();
    let who = (application.object_id, format!("{} {secret}", application.client_id));
    (application, who)
}

fn directory() -> (DirectoryFile, (Uuid, String), (Uuid, String)) {
    let ((a, admin), (s, stranger)) = (application("admin"), application("stranger"));
    let identity = ManagedIdentity {
        name: "machine".into(),
        client_id: Uuid::from_u128(1),
        object_id: Uuid::from_u128(2),
        resource_id: None,
        default: true,
        enabled: true,
    };
    let file =
        DirectoryFile { applications: vec![a, s], managed_identities: vec![identity], ..DirectoryFile::default() };
    (file, admin, stranger)
}

async fn engine(audit: &Arc<AuditLog>, admin: Uuid, failed: &Arc<AtomicBool>) -> Arc<Engine> {
    let log = Arc::clone(audit);
    let engine = Engine::start(EngineParts {
        store: Arc::new(FailingStore { store: MemoryStore::new(), failed: Arc::clone(failed) }),
        store_seal: SecretBytes::new(vec![7; 32]),
        partitions: Arc::new(LocalPartitions::new(SoftProvider, SecretBytes::new(vec![8; 32]), true)),
        clock: Arc::new(SystemClock { offset: 0 }),
        cached_keys: EngineParts::CACHED_KEYS,
        development: true,
        sharing: strongroom_engine::Sharing::Alone,
        changes_allowed: Arc::new(move || log.changes_allowed()),
    })
    .await
    .unwrap();
    let settings = ManagementSettings {
        subscription_id: TENANT,
        subscription_name: "test".into(),
        tenant_id: TENANT,
        location: Location::parse("local").unwrap(),
        owners: vec![admin],
        group: GroupName::parse("test").unwrap(),
        initial_state: PoolState::Activated,
    };
    engine.load_management(settings).await.unwrap();
    for (name, state) in [("demo", PoolState::Activated), ("sleepy", PoolState::Provisioned)] {
        let request = PoolRequest {
            name: PoolName::parse(name).unwrap(),
            state,
            retention_days: 7,
            purge_protection: false,
            administrators: vec![admin],
        };
        engine.ensure_pool(request).await.unwrap();
    }
    let names = ["demo", "sleepy"].map(|name| PoolName::parse(name).unwrap());
    let recorded = Recorded { record: blank_record(), started: Instant::now() };
    engine.settle_management(&names, &recorded).await.unwrap();
    engine
}

async fn identity(engine: &Arc<Engine>, directory: PathBuf, port: u16) -> Arc<Identity> {
    let signer = SystemSigner::of_engine(engine, "issuer", KeySpec::Rsa2048, Algorithm::Rs256).await.unwrap();
    Identity::start(IdentityParts {
        settings: IdentitySettings {
            tenant_id: TENANT,
            directory,
            additional_audiences: Vec::new(),
            public_clients: Vec::new(),
            identity_header_sha256: None,
            issuers: Vec::new(),
            challenge_authority: None,
        },
        endpoints: Endpoints::new("localhost", port),
        clock: Arc::new(SystemClock { offset: 0 }),
        signer,
    })
    .unwrap()
}

fn certificates() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let names = ["demo.managedhsm.localhost", "demo.privatelink.managedhsm.localhost", "login.localhost"]
        .map(String::from)
        .to_vec();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let certificate = CertificateDer::from(made.cert.der().to_vec());
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

/// Where to reach the plain listener.
pub(super) async fn plain(address: SocketAddr, bytes: &[u8]) -> Answer {
    assert_eq!(address.ip(), Ipv4Addr::LOCALHOST);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    Answer::parse(&answer)
}
