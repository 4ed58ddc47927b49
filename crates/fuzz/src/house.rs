//! What the targets share: an engine with one caller who may everything, and ways to take an input apart.

use std::sync::Arc;
use std::time::Instant;
use strongroom_engine::roles::CreateRoleAssignment;
use strongroom_engine::{Engine, EngineParts, Grant, Pool, PoolRequest, PoolState, Recorded};
use strongroom_hsm_soft::SoftProvider;
use strongroom_model::audit::{Actor, AuditRecord};
use strongroom_model::clock::SystemClock;
use strongroom_model::principal::PrincipalKind;
use strongroom_model::role::{CRYPTO_OFFICER, CRYPTO_USER};
use strongroom_model::{DataAction, PoolName, Principal, Result, RoleScope, SecretBytes};
use strongroom_partition::local::LocalPartitions;
use strongroom_store::{MemoryStore, Store};
use tokio::runtime::Runtime;
use uuid::Uuid;

/// The caller.
pub(crate) const CALLER: Uuid = Uuid::from_u128(0xca11);

/// An engine on a store in memory, with two pools: `demo`, and `kept` under purge protection.
pub(crate) struct House {
    pub(crate) runtime: Runtime,
    pub(crate) engine: Arc<Engine>,
    pub(crate) pools: [Arc<Pool>; 2],
    pub(crate) caller: Arc<Principal>,
    store: Arc<dyn Store>,
    partitions: Arc<LocalPartitions<SoftProvider>>,
}

fn secret() -> SecretBytes {
    SecretBytes::new(vec![7; 32])
}

fn request(name: &str, purge_protection: bool) -> PoolRequest {
    PoolRequest {
        name: PoolName::parse(name).unwrap(),
        state: PoolState::Activated,
        retention_days: 7,
        purge_protection,
        administrators: vec![CALLER],
    }
}

async fn open(
    store: &Arc<dyn Store>,
    partitions: &Arc<LocalPartitions<SoftProvider>>,
) -> (Arc<Engine>, [Arc<Pool>; 2]) {
    let parts = EngineParts {
        store: Arc::clone(store),
        store_seal: secret(),
        partitions: Arc::clone(partitions) as Arc<dyn strongroom_hsm::Partitions>,
        clock: Arc::new(SystemClock { offset: 0 }),
        cached_keys: EngineParts::CACHED_KEYS,
        development: true,
        sharing: strongroom_engine::Sharing::Alone,
        changes_allowed: Arc::new(|| Ok(())),
    };
    let engine = Engine::start(parts).await.unwrap();
    let demo = engine.ensure_pool(request("demo", false)).await.unwrap();
    let kept = engine.ensure_pool(request("kept", true)).await.unwrap();
    (engine, [demo, kept])
}

impl House {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let partitions = Arc::new(LocalPartitions::new(SoftProvider, secret(), true));
        let (engine, pools) = runtime.block_on(open(&store, &partitions));
        let caller = Principal {
            object_id: CALLER,
            tenant_id: Uuid::nil(),
            app_id: None,
            user_name: None,
            groups: Arc::new([]),
            kind: PrincipalKind::User,
            issuer: "https://issuer.example".into(),
        };
        let house = Self { runtime, engine, pools, caller: Arc::new(caller), store, partitions };
        for pool in [0, 1] {
            for (id, role_definition_id) in [(1, CRYPTO_USER), (2, CRYPTO_OFFICER)] {
                let grant = house.grant(pool, DataAction::RoleAssignmentsWrite, RoleScope::Hsm);
                let asked = CreateRoleAssignment { principal_id: CALLER, role_definition_id, scope: RoleScope::Hsm };
                let made = house.engine.create_role_assignment(&grant, recorded(), Uuid::from_u128(id), asked);
                house.runtime.block_on(made).unwrap();
            }
        }
        house
    }

    /// A new engine on the same store, as after a kill.
    pub(crate) fn restart(&mut self) {
        for pool in &self.pools {
            self.partitions.kill(pool.id);
        }
        let fresh = Arc::new(LocalPartitions::new(SoftProvider, secret(), true));
        (self.engine, self.pools) = self.runtime.block_on(open(&self.store, &fresh));
        self.partitions = fresh;
    }

    pub(crate) fn may(&self, pool: usize, action: DataAction, scope: RoleScope) -> Result<Grant> {
        self.engine.authorise(&self.pools[pool], &self.caller, action, scope)
    }

    pub(crate) fn grant(&self, pool: usize, action: DataAction, scope: RoleScope) -> Grant {
        self.may(pool, action, scope).unwrap()
    }
}

/// A record for a change.
pub(crate) fn recorded() -> Recorded {
    let record = AuditRecord {
        time_ms: 0,
        resource: "demo".into(),
        operation: "Fuzz".into(),
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

/// The first byte and the rest.
pub(crate) fn first(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, &[]), |(first, rest)| (*first, rest))
}

/// The parts of an input between zero bytes: at most `N`, the last one with all that is left.
pub(crate) fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut split = data.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| split.next().unwrap_or_default())
}

/// Whether `needle` stands anywhere in `haystack`.
pub(crate) fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len().max(1)).any(|window| window == needle)
}
