//! A house to test in: a store, partitions, a clock, an engine with one pool, and callers with roles.

use super::paper::PaperPartitions;
use crate::keys::{AttributeChange, CreateKey, KeyBundle, Tags};
use crate::{Engine, EngineParts, Grant, Pool, PoolRequest, PoolState, Recorded, StartError};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use strongroom_hsm::verbs::Input;
use strongroom_model::audit::{Actor, AuditRecord};
use strongroom_model::clock::ManualClock;
use strongroom_model::error::{Error, Result, Unavailable};
use strongroom_model::principal::PrincipalKind;
use strongroom_model::role::{CRYPTO_OFFICER, CRYPTO_USER};
use strongroom_model::{DataAction, KeyName, KeyOps, KeySpec, PoolName, Principal, RoleScope, SecretBytes, Timestamp};
use strongroom_store::{Change, Condition, MemoryStore, Pending, Revision, Snapshot, Store, StoreError, Watch};
use uuid::Uuid;

/// When tests begin.
pub(crate) const START: Timestamp = Timestamp(1_790_000_000);
/// Administrator by the pool's configuration; gives itself the other two roles.
pub(crate) const ADMIN: Uuid = Uuid::from_u128(0xad);

/// What becomes of the next commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It takes place, and nobody hears of it.
    DoneUnknown,
    /// It does not take place, and nobody knows.
    LostUnknown,
    /// The disk fails before it.
    Failed,
    /// Nobody knows, and it arrives later, with [`FaultyStore::let_arrive`].
    Late,
}

/// Conditions and changes of a commit.
type Commit = (Vec<Condition>, Vec<Change>);

/// A store whose commits can be made to go wrong.
pub(crate) struct FaultyStore {
    pub(crate) inner: Arc<MemoryStore>,
    /// Commits that are on their way.
    late: Mutex<Vec<Commit>>,
    /// Nothing can be read.
    pub(crate) unreadable: AtomicBool,
    /// Watches lose what they should tell.
    pub(crate) blind: Arc<AtomicBool>,
    /// Watches say that they have lost something, once.
    pub(crate) gap: Arc<AtomicBool>,
    faults: Mutex<Vec<Fault>>,
    /// Each commit takes a while.
    pub(crate) slow: AtomicBool,
    /// Commits until the store dies; negative for never.
    lives: AtomicI64,
    /// Whether the commit at which it dies takes place.
    last_one_holds: AtomicBool,
    /// Reads and commits.
    pub(crate) operations: AtomicU64,
    /// Records that reads have given.
    pub(crate) records_read: Arc<AtomicU64>,
    /// Each commit is there a while before its writer hears of it.
    pub(crate) lingering: AtomicBool,
}

impl FaultyStore {
    pub(crate) fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new()))
    }

    /// The way of another node to the same records.
    pub(crate) fn beside(&self) -> Self {
        Self::over(Arc::clone(&self.inner))
    }

    fn over(inner: Arc<MemoryStore>) -> Self {
        Self {
            inner,
            late: Mutex::default(),
            unreadable: AtomicBool::new(false),
            blind: Arc::default(),
            gap: Arc::default(),
            faults: Mutex::default(),
            slow: AtomicBool::new(false),
            lives: AtomicI64::new(-1),
            last_one_holds: AtomicBool::new(false),
            operations: AtomicU64::new(0),
            records_read: Arc::default(),
            lingering: AtomicBool::new(false),
        }
    }

    /// Lets so many commits through and then none, as in a crash; `None` brings it back.
    pub(crate) fn die_after(&self, commits: Option<i64>, last_one_holds: bool) {
        self.lives.store(commits.unwrap_or(-1), Ordering::SeqCst);
        self.last_one_holds.store(last_one_holds, Ordering::SeqCst);
    }

    /// What was late arrives now; tells what became of each.
    pub(crate) async fn let_arrive(&self) -> Vec<std::result::Result<Revision, StoreError>> {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        let mut outcomes = Vec::new();
        for (conditions, changes) in late {
            outcomes.push(self.inner.commit(conditions, changes).await);
        }
        outcomes
    }

    pub(crate) fn fail_next(&self, faults: &[Fault]) {
        let mut queue = faults.to_vec();
        queue.reverse();
        *self.faults.lock().unwrap() = queue;
    }
}

/// A snapshot whose reads count.
struct Counted {
    inner: Box<dyn Snapshot>,
    records_read: Arc<AtomicU64>,
}

impl Snapshot for Counted {
    fn revision(&self) -> Revision {
        self.inner.revision()
    }
    fn get<'a>(&'a self, path: &'a [u8]) -> Pending<'a, Option<strongroom_store::Entry>> {
        self.records_read.fetch_add(1, Ordering::SeqCst);
        self.inner.get(path)
    }
    fn scan<'a>(&'a self, from: &'a [u8], to: &'a [u8], limit: usize) -> Pending<'a, strongroom_store::Page> {
        counted(&self.records_read, self.inner.scan(from, to, limit))
    }
}

fn counted<'a>(count: &'a AtomicU64, scan: Pending<'a, strongroom_store::Page>) -> Pending<'a, strongroom_store::Page> {
    Box::pin(async move {
        let page = scan.await?;
        count.fetch_add(page.entries.len() as u64, Ordering::SeqCst);
        Ok(page)
    })
}

impl Store for FaultyStore {
    fn get<'a>(&'a self, path: &'a [u8]) -> Pending<'a, Option<strongroom_store::Entry>> {
        self.operations.fetch_add(1, Ordering::SeqCst);
        self.records_read.fetch_add(1, Ordering::SeqCst);
        let unreadable = self.unreadable.load(Ordering::SeqCst);
        Box::pin(async move { if unreadable { Err(StoreError::Unreachable) } else { self.inner.get(path).await } })
    }
    fn scan<'a>(&'a self, from: &'a [u8], to: &'a [u8], limit: usize) -> Pending<'a, strongroom_store::Page> {
        self.operations.fetch_add(1, Ordering::SeqCst);
        counted(&self.records_read, self.inner.scan(from, to, limit))
    }
    fn snapshot(&self) -> Pending<'_, Box<dyn Snapshot>> {
        self.operations.fetch_add(1, Ordering::SeqCst);
        let unreadable = self.unreadable.load(Ordering::SeqCst);
        Box::pin(async move {
            if unreadable {
                return Err(StoreError::Unreachable);
            }
            let inner = self.inner.snapshot().await?;
            Ok(Box::new(Counted { inner, records_read: Arc::clone(&self.records_read) }) as Box<dyn Snapshot>)
        })
    }
    fn commit(&self, conditions: Vec<Condition>, changes: Vec<Change>) -> Pending<'_, Revision> {
        self.operations.fetch_add(1, Ordering::SeqCst);
        let fault = self.faults.lock().unwrap().pop();
        let left = self.lives.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| (n > 0).then(|| n - 1));
        Box::pin(async move {
            if left == Err(0) {
                return Err(StoreError::Failed);
            }
            if left == Ok(1) {
                if self.last_one_holds.load(Ordering::SeqCst) {
                    self.inner.commit(conditions, changes).await?;
                }
                return Err(StoreError::Failed);
            }
            if self.slow.load(Ordering::SeqCst) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            match fault {
                None => {
                    let done = self.inner.commit(conditions, changes).await;
                    if self.lingering.load(Ordering::SeqCst) {
                        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                    }
                    done
                }
                Some(Fault::DoneUnknown) => {
                    self.inner.commit(conditions, changes).await?;
                    Err(StoreError::Unknown)
                }
                Some(Fault::LostUnknown) => Err(StoreError::Unknown),
                Some(Fault::Failed) => Err(StoreError::Failed),
                Some(Fault::Late) => {
                    self.late.lock().unwrap().push((conditions, changes));
                    Err(StoreError::Unknown)
                }
            }
        })
    }
    fn watch(&self, prefix: &[u8], since: Revision) -> Pending<'_, Box<dyn Watch>> {
        let watch = self.inner.watch(prefix, since);
        let (blind, gap) = (Arc::clone(&self.blind), Arc::clone(&self.gap));
        Box::pin(async move {
            let watch: Box<dyn Watch> = Box::new(FaultyWatch { watch: watch.await?, blind, gap });
            Ok(watch)
        })
    }
}

struct FaultyWatch {
    watch: Box<dyn Watch>,
    blind: Arc<AtomicBool>,
    gap: Arc<AtomicBool>,
}

impl FaultyWatch {
    /// Whether it keeps what it was told to itself.
    fn lost(&self) -> std::result::Result<bool, StoreError> {
        if self.gap.swap(false, Ordering::SeqCst) {
            return Err(StoreError::Unknown);
        }
        Ok(self.blind.load(Ordering::SeqCst))
    }
}

impl Watch for FaultyWatch {
    fn next(&mut self) -> Pending<'_, (Revision, Vec<Change>)> {
        Box::pin(async move {
            loop {
                let told = self.watch.next().await?;
                if !self.lost()? {
                    return Ok(told);
                }
            }
        })
    }
    fn next_up_to(&mut self, limit: Revision) -> Pending<'_, Option<(Revision, Vec<Change>)>> {
        Box::pin(async move {
            loop {
                let told = self.watch.next_up_to(limit).await?;
                if told.is_none() || !self.lost()? {
                    return Ok(told);
                }
            }
        })
    }
}

pub(crate) struct House {
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) partitions: Arc<PaperPartitions>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) audit_full: Arc<AtomicBool>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) pool: Arc<Pool>,
}

pub(crate) fn request() -> PoolRequest {
    PoolRequest {
        name: PoolName::parse("demo").unwrap(),
        state: PoolState::Activated,
        retention_days: 7,
        purge_protection: false,
        administrators: vec![ADMIN],
    }
}

pub(crate) fn seal() -> SecretBytes {
    SecretBytes::new(vec![9; 32])
}

pub(crate) fn caller(id: Uuid, groups: &[Uuid]) -> Arc<Principal> {
    Arc::new(Principal {
        object_id: id,
        tenant_id: Uuid::nil(),
        app_id: None,
        user_name: None,
        groups: groups.into(),
        kind: PrincipalKind::User,
        issuer: "https://issuer.example".into(),
    })
}

pub(crate) fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

pub(crate) fn recorded() -> Recorded {
    let record = AuditRecord {
        time_ms: 0,
        resource: "demo".into(),
        operation: "Test".into(),
        operation_version: "7.6".into(),
        status: 200,
        error_code: String::new(),
        duration_us: 0,
        caller_address: None,
        private_endpoint: String::new(),
        actor: Actor::Anonymous,
        request_id: Uuid::new_v4(),
        correlation_id: None,
        client_info: String::new(),
        request_uri: String::new(),
        object: String::new(),
        stamp: None,
        folded: 0,
    };
    Recorded { record, started: Instant::now() }
}

pub(crate) fn ec() -> CreateKey {
    of(KeySpec::EcP256)
}

pub(crate) fn of(spec: KeySpec) -> CreateKey {
    CreateKey { spec, ops: KeyOps::default_for(spec.kty()), attributes: AttributeChange::default(), tags: Tags::new() }
}

pub(crate) fn sign() -> Input {
    Input::Sign { digest: vec![3; 32] }
}

/// What an engine of a house is made of.
pub(crate) fn parts(
    store: &Arc<FaultyStore>,
    partitions: &Arc<PaperPartitions>,
    clock: &Arc<ManualClock>,
    audit_full: &Arc<AtomicBool>,
) -> EngineParts {
    let full = Arc::clone(audit_full);
    EngineParts {
        store: Arc::clone(store) as Arc<dyn Store>,
        store_seal: seal(),
        partitions: Arc::clone(partitions) as Arc<dyn strongroom_hsm::Partitions>,
        clock: Arc::clone(clock) as Arc<dyn strongroom_model::Clock>,
        cached_keys: EngineParts::CACHED_KEYS,
        development: true,
        sharing: crate::Sharing::Alone,
        changes_allowed: Arc::new(move || {
            if full.load(Ordering::SeqCst) { Err(Error::Unavailable(Unavailable::Audit)) } else { Ok(()) }
        }),
    }
}

impl House {
    /// A house whose administrator holds every built-in role that a key needs.
    pub(crate) async fn new() -> Self {
        Self::with(request()).await
    }

    pub(crate) async fn with(request: PoolRequest) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let partitions = Arc::new(PaperPartitions::new(Arc::clone(&clock)));
        Self::on(Arc::new(FaultyStore::new()), partitions, clock, request).await
    }

    async fn on(
        store: Arc<FaultyStore>,
        partitions: Arc<PaperPartitions>,
        clock: Arc<ManualClock>,
        request: PoolRequest,
    ) -> Self {
        let house = Self::open(store, partitions, clock, request).await.unwrap();
        for (id, role) in [(1, CRYPTO_USER), (2, CRYPTO_OFFICER)] {
            house.assign(Uuid::from_u128(id), ADMIN, role, RoleScope::Hsm).await.unwrap();
        }
        house
    }

    async fn open(
        store: Arc<FaultyStore>,
        partitions: Arc<PaperPartitions>,
        clock: Arc<ManualClock>,
        request: PoolRequest,
    ) -> std::result::Result<Self, StartError> {
        let audit_full = Arc::new(AtomicBool::new(false));
        let engine = Engine::start(parts(&store, &partitions, &clock, &audit_full)).await?;
        let pool = engine.ensure_pool(request).await?;
        Ok(Self { store, partitions, clock, audit_full, engine, pool })
    }

    /// Another engine on the same store, which may have been touched.
    pub(crate) async fn second_node_unchecked(&self) -> std::result::Result<Self, StartError> {
        Self::open(self.store.clone(), self.partitions.clone(), self.clock.clone(), request()).await
    }

    /// The same store with a new engine on it, as after a crash.
    pub(crate) async fn restart(self) -> Self {
        let house = self.second_node().await;
        drop(self);
        house
    }

    /// Another engine on the same store.
    pub(crate) async fn second_node(&self) -> Self {
        let request = PoolRequest { purge_protection: self.pool.purge_protection(), ..request() };
        let (store, partitions, clock) = (self.store.clone(), self.partitions.clone(), self.clock.clone());
        Self::on(store, partitions, clock, request).await
    }

    pub(crate) fn parts(&self) -> EngineParts {
        parts(&self.store, &self.partitions, &self.clock, &self.audit_full)
    }

    pub(crate) async fn rotate(&self, key: &str) -> Result<KeyBundle> {
        self.engine.rotate_key(&self.grant(DataAction::KeysRotate), recorded(), name(key)).await
    }

    pub(crate) async fn update(&self, key: &str, change: crate::keys::UpdateKey) -> Result<KeyBundle> {
        self.engine.update_key(&self.grant(DataAction::KeysWrite), recorded(), name(key), None, change).await
    }

    pub(crate) async fn sign(&self, key: &str) -> Result<Arc<KeyBundle>> {
        let g = self.grant(DataAction::KeysSign);
        let used = self.engine.operate(&g, &name(key), None, strongroom_model::Algorithm::Es256, sign()).await;
        used.map(|(key, _, _)| key)
    }

    /// The engine's inside.
    pub(crate) fn core(&self) -> &Arc<crate::core::Core> {
        self.engine.core()
    }

    pub(crate) fn may(&self, id: Uuid, action: DataAction, scope: RoleScope) -> Result<Grant> {
        self.engine.authorise(&self.pool, &caller(id, &[]), action, scope)
    }

    pub(crate) fn grant(&self, action: DataAction) -> Grant {
        self.may(ADMIN, action, RoleScope::Hsm).unwrap()
    }

    pub(crate) async fn assign(
        &self,
        id: Uuid,
        principal_id: Uuid,
        role_definition_id: Uuid,
        scope: RoleScope,
    ) -> Result<strongroom_model::role::RoleAssignment> {
        let g = self.grant(DataAction::RoleAssignmentsWrite);
        let asked = crate::roles::CreateRoleAssignment { principal_id, role_definition_id, scope };
        self.engine.create_role_assignment(&g, recorded(), id, asked).await
    }

    pub(crate) async fn create(&self, key: &str) -> Result<KeyBundle> {
        self.create_as(key, ec()).await
    }

    pub(crate) async fn create_as(&self, key: &str, what: CreateKey) -> Result<KeyBundle> {
        self.engine.create_key(&self.grant(DataAction::KeysCreate), recorded(), name(key), what).await
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Arc<KeyBundle>> {
        self.engine.get_key(&self.grant(DataAction::KeysRead), &name(key), None).await
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<crate::keys::DeletedKeyBundle> {
        self.engine.delete_key(&self.grant(DataAction::KeysDelete), recorded(), name(key)).await
    }

    pub(crate) async fn get_deleted(&self, key: &str) -> Result<crate::keys::DeletedKeyBundle> {
        self.engine.get_deleted_key(&self.grant(DataAction::DeletedKeysRead), &name(key)).await
    }

    pub(crate) async fn recover(&self, key: &str) -> Result<KeyBundle> {
        self.engine.recover_deleted_key(&self.grant(DataAction::DeletedKeysRecover), recorded(), name(key)).await
    }

    pub(crate) async fn purge(&self, key: &str) -> Result<()> {
        self.engine.purge_deleted_key(&self.grant(DataAction::DeletedKeysDelete), recorded(), name(key)).await
    }

    /// Every record of the store.
    pub(crate) async fn dump(&self) -> Vec<strongroom_store::Entry> {
        self.store.scan(b"", &[0xff], usize::MAX).await.unwrap().entries
    }

    /// Lets the installation serve for so long, by the monotonic clock alone.
    pub(crate) fn serve(&self, seconds: u64) {
        self.core().served.lock().unwrap().count(std::time::Duration::from_secs(seconds));
    }
}
