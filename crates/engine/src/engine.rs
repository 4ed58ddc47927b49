//! The engine: how it starts, and every operation it offers.

use crate::core::{Core, to_its_end};
use crate::keys::{
    CreateKey, DeletedKeyBundle, DeletedKeyItem, ImportKey, KeyBundle, KeyItem, RotationPolicy, UpdateKey,
};
use crate::management::Management;
use crate::network::PrivateEndpoint;
use crate::pool::{Pool, PoolRequest};
use crate::pools;
use crate::records::Records;
use crate::roles::{AssignmentFilter, CreateRoleAssignment, SetRoleDefinition};
use crate::served::Served;
use crate::sharing::{Currency, Sharing, WithoutProof};
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use strongroom_hsm::verbs::{History, Input, KeyMaterial, Output};
use strongroom_hsm::{Partitions, PublicKey};
use strongroom_model::audit::{AuditRecord, SystemStamp, UseStamp};
use strongroom_model::error::{BadParameter, Error, NotFound, Unavailable};
use strongroom_model::limits::RANDOM_BYTES_MAX;
use strongroom_model::network::{NetworkPolicy, NetworkSettings};
use strongroom_model::role::{RoleAssignment, RoleDefinition};
use strongroom_model::{
    Algorithm, Clock, DataAction, KeyName, KeySpec, KeyVersion, PoolName, Principal, Result, RoleScope, SecretBytes,
};
use strongroom_store::{Store, StoreError};
use tokio::sync::Notify;
use uuid::Uuid;

/// Pause between two looks for a proof.
const PROOF_PAUSE: Duration = Duration::from_millis(10);

/// What an engine is made of.
pub struct EngineParts {
    /// Where everything lies.
    pub store: Arc<dyn Store>,
    /// The seal's second key (32 bytes): opens the store key, or seals a new one in a new store.
    pub store_seal: SecretBytes,
    /// Where partitions come from.
    pub partitions: Arc<dyn Partitions>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For each pool: keys that are kept parsed, as many versions, and as many counters of AES-GCM uses.
    pub cached_keys: usize,
    /// Whether this is `dev`: a new store is marked so for ever; a marked store is refused without it.
    pub development: bool,
    /// Refuses changes while it says why not (the audit log has no room for them); asked before each change.
    pub changes_allowed: Arc<dyn Fn() -> Result<()> + Send + Sync>,
    /// Who else uses the store.
    pub sharing: Sharing,
}

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store failed.
    #[error("the store cannot be used: {0}")]
    Store(#[from] StoreError),
    /// A partition failed.
    #[error("a partition cannot be used: {0}")]
    Hsm(#[from] strongroom_hsm::HsmError),
    /// The store was made under another seal, or somebody changed it.
    #[error("the store does not open under this seal: it was made with another one, or its first record was changed")]
    WrongSeal,
    /// The store was made by `strongroom dev`.
    #[error("this store was made by `strongroom dev` and is marked so for ever: production refuses it")]
    Development,
    /// The store was made by production.
    #[error("this store was made by `strongroom serve`: `strongroom dev` does not touch it")]
    Production,
    /// The store's format is newer than this program.
    #[error("the store has format {found}, this program knows formats up to {known}: start a newer program")]
    NewerFormat {
        /// In the store.
        found: u32,
        /// Known here.
        known: u32,
    },
    /// A record does not open or decode.
    #[error("a record of the store is damaged: {0}")]
    Damaged(String),
    /// A pool of the configuration contradicts the one in the store.
    #[error("pool {0}: {1}")]
    Pool(PoolName, &'static str),
}

/// An audit record on its way into the commit of a change.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The record of the success; the engine fills in `object` and `duration_us`.
    pub record: AuditRecord,
    /// When the request came in.
    pub started: Instant,
}

/// A record in the store's outbox.
#[derive(Clone, Debug)]
pub struct OutboxRow {
    /// Names the row, for its removal.
    pub path: Vec<u8>,
    /// What is to be copied into the log.
    pub record: AuditRecord,
}

/// The right to one action on one scope of one pool, for one caller; only [`Engine::authorise`] makes it.
#[derive(Clone, Debug)]
pub struct Grant {
    pool: Arc<Pool>,
    caller: Arc<Principal>,
    action: DataAction,
    scope: RoleScope,
}

impl Grant {
    /// The pool.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
    /// The caller.
    pub fn caller(&self) -> &Arc<Principal> {
        &self.caller
    }
    /// The action.
    pub fn action(&self) -> DataAction {
        self.action
    }
    /// The scope.
    pub fn scope(&self) -> &RoleScope {
        &self.scope
    }

    /// Refuses what this grant was not made for.
    fn check(&self, action: DataAction, scope: &RoleScope) -> Result<()> {
        if self.action == action && self.scope.covers(scope) {
            Ok(())
        } else {
            Err(Error::AccessDenied { action, scope: scope.clone() })
        }
    }

    fn check_key(&self, action: DataAction, name: &KeyName) -> Result<()> {
        let covered = match &self.scope {
            RoleScope::Hsm | RoleScope::Keys => true,
            RoleScope::Key(mine) => mine == name,
        };
        if self.action == action && covered {
            Ok(())
        } else {
            Err(Error::AccessDenied { action, scope: RoleScope::Key(name.clone()) })
        }
    }
}

/// Carries a change to its end in a task of its own, with its own hold on engine and pool.
macro_rules! change {
    ($engine:ident, $grant:ident, |$core:ident, $pool:ident| $change:expr) => {{
        let ($core, $pool) = (Arc::clone(&$engine.core), Arc::clone(&$grant.pool));
        to_its_end(async move { $change.await }).await
    }};
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default)]
pub struct PageRequest {
    /// `maxresults`, 1 to 25; the server has checked it.
    pub size: usize,
    /// From [`Page::next`]; opaque, 400 when this list did not make it.
    pub after: Option<String>,
}

/// Part of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The items; may be empty though there is a next page.
    pub items: Vec<T>,
    /// What to ask for the next part with; `None` after the last one.
    pub next: Option<String>,
}

/// A signing key of the product, in pool `system`.
#[derive(Clone, Debug)]
pub struct SystemKey {
    /// Its name there.
    pub name: String,
    /// Its public half.
    pub public: PublicKey,
}

/// See the crate.
pub struct Engine {
    pub(crate) core: Arc<Core>,
}

impl Engine {
    /// Opens the store, the built-in pools and their partitions. Scheduled work starts with [`Engine::run_jobs`].
    pub async fn start(parts: EngineParts) -> std::result::Result<Arc<Self>, StartError> {
        let EngineParts { store, store_seal, partitions, clock, cached_keys, development, changes_allowed, sharing } =
            parts;
        let records = Records::start(store, store_seal, development, sharing.node()).await?;
        let now = clock.now();
        let (system, vaults) = (pools::built_in(pools::SYSTEM)?, pools::built_in(pools::VAULTS)?);
        let system = async {
            let record = pools::made(&records, &*partitions, now, &system).await?;
            pools::open(&records, &*partitions, record.value, cached_keys).await
        };
        // Its root is made with the store; it is opened when the first vault is.
        let vaults = pools::made(&records, &*partitions, now, &vaults);
        let (system, _vaults) = tokio::try_join!(system, vaults)?;
        let served = Served::load(&records, now).await.map_err(pools::start_error)?;
        let core = Core {
            records,
            partitions,
            clock,
            cached_keys,
            changes_allowed,
            system,
            system_keys: ArcSwap::default(),
            pools: ArcSwap::default(),
            management: Management::new(),
            outbox_filled: Notify::new(),
            served: Mutex::new(served),
            currency: Currency::new(sharing),
            roles_doubted: Notify::new(),
            unsettled: Mutex::default(),
            surroundings: Mutex::default(),
            not_committed: Mutex::default(),
        };
        // Rows may be left over from the last run.
        core.outbox_filled.notify_one();
        Ok(Arc::new(Self { core: Arc::new(core) }))
    }

    /// Runs the scheduled work until the future is dropped: rotation, purge of what is due, served time.
    pub async fn run_jobs(self: Arc<Self>) {
        Arc::clone(&self.core).run_jobs().await;
    }

    /// Keeps what is in memory in step with the store until the future is dropped. Runs beside every engine; where the store
    /// is shared nothing is authorised before it has proved for the first time that what is in memory is current.
    pub async fn follow(self: Arc<Self>) {
        Arc::clone(&self.core).follow().await;
    }

    /// Waits until what is in memory is proved to be current, or for so long; whether it is.
    pub async fn proved_within(&self, time: Duration) -> bool {
        let begun = Instant::now();
        while self.unproved().is_some() {
            if begun.elapsed() >= time {
                return false;
            }
            tokio::time::sleep(PROOF_PAUSE).await;
        }
        true
    }

    /// This node, where several share the store.
    pub fn node(&self) -> Option<Uuid> {
        self.core.records.node
    }

    /// What this node does now without a proof that what it keeps in memory is current; `None` while it has one.
    pub fn unproved(&self) -> Option<WithoutProof> {
        self.core.currency.unproved()
    }

    /// Gives back what was reserved ahead. Call once, when no request is under way any more.
    pub async fn stop(&self) {
        self.core.stop().await;
    }

    #[cfg(test)]
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    // ----- pools -----

    /// Makes a pool, or checks that the one of that name is as asked and opens it.
    pub async fn ensure_pool(&self, request: PoolRequest) -> std::result::Result<Arc<Pool>, StartError> {
        self.core.ensure_pool(request).await
    }

    /// The pool of a name; a map look-up without I/O.
    pub fn pool(&self, name: &PoolName) -> Option<Arc<Pool>> {
        self.core.pools.load().get(name).map(Arc::clone)
    }

    /// Sets what surrounds the network rules of every pool: ranges of subnets, trusted services, private endpoints. Every pool is
    /// compiled anew, and those that are opened later are compiled with it.
    pub fn set_network_surroundings(&self, settings: NetworkSettings, endpoints: Vec<PrivateEndpoint>) {
        self.core.set_network_surroundings(settings, endpoints);
    }

    /// What was set last; for checks of rules before they are kept.
    pub fn network_settings(&self) -> NetworkSettings {
        self.core.network_settings()
    }

    /// Puts the network rules of a pool into force: the next request is decided by them, on connections that are open already too.
    ///
    /// Nothing is stored: whoever keeps the rules calls this at the start and after each change, in the order of the changes.
    pub fn set_network_policy(&self, pool: &Pool, policy: NetworkPolicy) {
        self.core.set_network_policy(pool, policy);
    }

    /// Whether every open pool can sign now (each partition answers a self-test or a use within its time).
    pub async fn ready(&self) -> Result<()> {
        self.core.ready().await
    }

    /// Whether the store takes a change now: not while its disk is full, nor after it failed.
    pub async fn store_takes_changes(&self) -> std::result::Result<(), StoreError> {
        self.core.store_takes_changes().await
    }

    // ----- the product's own keys and documents, in pool `system` -----

    /// The signing key of this name, made when there is none.
    pub async fn system_key(&self, name: &str, spec: KeySpec) -> Result<SystemKey> {
        self.core.system_key(name, spec).await
    }

    /// Signs a digest with a key of the product.
    pub async fn sign_with_system_key(
        &self,
        name: &str,
        algorithm: Algorithm,
        digest: Vec<u8>,
    ) -> Result<(Vec<u8>, SystemStamp)> {
        self.core.sign_with_system_key(name, algorithm, digest).await
    }

    /// A small document of the product (the private CA's certificate), sealed like every record.
    pub async fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.core.document(name).await
    }

    /// Writes such a document.
    pub async fn put_document(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        self.core.put_document(name, bytes).await
    }

    // ----- access -----

    /// Local RBAC: the right to `action` at `scope`, for the caller or one of the caller's groups. No I/O.
    ///
    /// Refused as unavailable while it is not known what the roles are.
    pub fn authorise(
        &self,
        pool: &Arc<Pool>,
        caller: &Arc<Principal>,
        action: DataAction,
        scope: RoleScope,
    ) -> Result<Grant> {
        self.core.currency.check(action)?;
        if pool.live.roles_in_doubt() {
            return Err(Error::Unavailable(Unavailable::Store));
        }
        if pool.live.roles.read().allows(caller.identities(), action, &scope) {
            Ok(Grant { pool: Arc::clone(pool), caller: Arc::clone(caller), action, scope })
        } else {
            Err(Error::AccessDenied { action, scope })
        }
    }

    // ----- keys: one function per operation of the API, with its name -----

    /// `CreateKey`
    pub async fn create_key(&self, g: &Grant, r: Recorded, name: KeyName, key: CreateKey) -> Result<KeyBundle> {
        g.check_key(DataAction::KeysCreate, &name)?;
        change!(self, g, |core, pool| core.create_key(&pool, r, name, key))
    }
    /// `ImportKey`
    pub async fn import_key(
        &self,
        g: &Grant,
        r: Recorded,
        name: KeyName,
        key: ImportKey,
        material: KeyMaterial,
    ) -> Result<KeyBundle> {
        g.check_key(DataAction::KeysImport, &name)?;
        change!(self, g, |core, pool| core.import_key(&pool, r, name, key, material))
    }
    /// `UpdateKey`; without a version the newest.
    pub async fn update_key(
        &self,
        g: &Grant,
        r: Recorded,
        name: KeyName,
        version: Option<KeyVersion>,
        change: UpdateKey,
    ) -> Result<KeyBundle> {
        g.check_key(DataAction::KeysWrite, &name)?;
        change!(self, g, |core, pool| core.update_key(&pool, r, name, version, change))
    }
    /// `GetKey`; without a version the newest.
    pub async fn get_key(&self, g: &Grant, name: &KeyName, version: Option<KeyVersion>) -> Result<Arc<KeyBundle>> {
        g.check_key(DataAction::KeysRead, name)?;
        let (_, found) = self.core.live_version(&g.pool, name, version).await?;
        Ok(Arc::clone(&found.bundle))
    }
    /// `GetKeys`
    pub async fn get_keys(&self, g: &Grant, page: PageRequest) -> Result<Page<KeyItem>> {
        g.check(DataAction::KeysRead, &RoleScope::Keys)?;
        self.core.get_keys(&g.pool, page).await
    }
    /// `GetKeyVersions`
    pub async fn get_key_versions(&self, g: &Grant, name: &KeyName, page: PageRequest) -> Result<Page<KeyItem>> {
        g.check_key(DataAction::KeysRead, name)?;
        self.core.get_key_versions(&g.pool, name, page).await
    }
    /// `DeleteKey`
    pub async fn delete_key(&self, g: &Grant, r: Recorded, name: KeyName) -> Result<DeletedKeyBundle> {
        g.check_key(DataAction::KeysDelete, &name)?;
        change!(self, g, |core, pool| core.delete_key(&pool, r, name))
    }
    /// `GetDeletedKey`
    pub async fn get_deleted_key(&self, g: &Grant, name: &KeyName) -> Result<DeletedKeyBundle> {
        g.check_key(DataAction::DeletedKeysRead, name)?;
        self.core.get_deleted_key(&g.pool, name).await
    }
    /// `GetDeletedKeys`
    pub async fn get_deleted_keys(&self, g: &Grant, page: PageRequest) -> Result<Page<DeletedKeyItem>> {
        g.check(DataAction::DeletedKeysRead, &RoleScope::Keys)?;
        self.core.get_deleted_keys(&g.pool, page).await
    }
    /// `RecoverDeletedKey`
    pub async fn recover_deleted_key(&self, g: &Grant, r: Recorded, name: KeyName) -> Result<KeyBundle> {
        g.check_key(DataAction::DeletedKeysRecover, &name)?;
        change!(self, g, |core, pool| core.recover_deleted_key(&pool, r, name))
    }
    /// `PurgeDeletedKey`
    pub async fn purge_deleted_key(&self, g: &Grant, r: Recorded, name: KeyName) -> Result<()> {
        g.check_key(DataAction::DeletedKeysDelete, &name)?;
        change!(self, g, |core, pool| core.purge_deleted_key(&pool, r, name))
    }
    /// `RotateKey`
    pub async fn rotate_key(&self, g: &Grant, r: Recorded, name: KeyName) -> Result<KeyBundle> {
        g.check_key(DataAction::KeysRotate, &name)?;
        change!(self, g, |core, pool| core.rotate_key(&pool, r, name))
    }
    /// `GetKeyRotationPolicy`
    pub async fn get_key_rotation_policy(&self, g: &Grant, name: &KeyName) -> Result<RotationPolicy> {
        g.check_key(DataAction::KeysRead, name)?;
        self.core.get_key_rotation_policy(&g.pool, name).await
    }
    /// `UpdateKeyRotationPolicy`
    pub async fn update_key_rotation_policy(
        &self,
        g: &Grant,
        r: Recorded,
        name: KeyName,
        policy: RotationPolicy,
    ) -> Result<RotationPolicy> {
        g.check_key(DataAction::KeysWrite, &name)?;
        change!(self, g, |core, pool| core.update_key_rotation_policy(&pool, r, name, policy))
    }
    /// `encrypt`, `decrypt`, `sign`, `verify`, `wrapKey`, `unwrapKey`: the version used, the result, its place in the use chain.
    pub async fn operate(
        &self,
        g: &Grant,
        name: &KeyName,
        version: Option<KeyVersion>,
        algorithm: Algorithm,
        input: Input,
    ) -> Result<(Arc<KeyBundle>, Output, UseStamp)> {
        g.check_key(input.operation().row().action, name)?;
        self.core.operate(&g.pool, g.caller.object_id, name, version, algorithm, input).await
    }
    /// `GetRandomBytes`
    pub async fn get_random_bytes(&self, g: &Grant, count: u16) -> Result<SecretBytes> {
        g.check(DataAction::Rng, &RoleScope::Hsm)?;
        if count == 0 || usize::from(count) > RANDOM_BYTES_MAX {
            let (min, max) = (1, i64::try_from(RANDOM_BYTES_MAX).unwrap_or(i64::MAX));
            return Err(Error::BadParameter(BadParameter::Range { parameter: "count", min, max }));
        }
        Ok(g.pool.live.gateway.random(count).await?)
    }

    // ----- roles -----

    /// `RoleAssignments_ListForScope`
    #[allow(clippy::unused_async, reason = "answered from memory today; callers must not depend on it")]
    pub async fn list_role_assignments(
        &self,
        g: &Grant,
        scope: RoleScope,
        filter: AssignmentFilter,
        page: PageRequest,
    ) -> Result<Page<RoleAssignment>> {
        g.check(DataAction::RoleAssignmentsRead, &scope)?;
        g.pool.live.roles.read().list_assignments(&scope, filter, &page)
    }
    /// `RoleAssignments_Get`
    #[allow(clippy::unused_async, reason = "answered from memory today; callers must not depend on it")]
    pub async fn get_role_assignment(&self, g: &Grant, scope: RoleScope, id: Uuid) -> Result<RoleAssignment> {
        g.check(DataAction::RoleAssignmentsRead, &scope)?;
        g.pool.live.roles.read().assignment_at(&scope, id)
    }
    /// `RoleAssignments_Create`
    pub async fn create_role_assignment(
        &self,
        g: &Grant,
        r: Recorded,
        id: Uuid,
        assignment: CreateRoleAssignment,
    ) -> Result<RoleAssignment> {
        g.check(DataAction::RoleAssignmentsWrite, &assignment.scope)?;
        change!(self, g, |core, pool| core.create_role_assignment(&pool, r, id, assignment))
    }
    /// `RoleAssignments_Delete`
    pub async fn delete_role_assignment(
        &self,
        g: &Grant,
        r: Recorded,
        scope: RoleScope,
        id: Uuid,
    ) -> Result<RoleAssignment> {
        g.check(DataAction::RoleAssignmentsDelete, &scope)?;
        change!(self, g, |core, pool| core.delete_role_assignment(&pool, r, scope, id))
    }
    /// `RoleDefinitions_List`
    #[allow(clippy::unused_async, reason = "answered from memory today; callers must not depend on it")]
    pub async fn list_role_definitions(&self, g: &Grant) -> Result<Vec<RoleDefinition>> {
        g.check(DataAction::RoleDefinitionsRead, &g.scope)?;
        Ok(g.pool.live.roles.read().list_definitions())
    }
    /// `RoleDefinitions_Get`
    #[allow(clippy::unused_async, reason = "answered from memory today; callers must not depend on it")]
    pub async fn get_role_definition(&self, g: &Grant, id: Uuid) -> Result<RoleDefinition> {
        g.check(DataAction::RoleDefinitionsRead, &g.scope)?;
        g.pool.live.roles.read().definition(id).ok_or(Error::NotFound(NotFound::RoleDefinition))
    }
    /// `RoleDefinitions_CreateOrUpdate`: definitions live at `/` only, and so must the right to write them.
    pub async fn set_role_definition(
        &self,
        g: &Grant,
        r: Recorded,
        id: Uuid,
        definition: SetRoleDefinition,
    ) -> Result<RoleDefinition> {
        g.check(DataAction::RoleDefinitionsWrite, &RoleScope::Hsm)?;
        change!(self, g, |core, pool| core.set_role_definition(&pool, r, id, definition))
    }
    /// `RoleDefinitions_Delete`: definitions live at `/` only, and so must the right to delete them.
    pub async fn delete_role_definition(&self, g: &Grant, r: Recorded, id: Uuid) -> Result<RoleDefinition> {
        g.check(DataAction::RoleDefinitionsDelete, &RoleScope::Hsm)?;
        change!(self, g, |core, pool| core.delete_role_definition(&pool, r, id))
    }

    // ----- audit -----

    /// The oldest rows of the outbox, in the order of their commits.
    pub async fn outbox(&self, limit: usize) -> Result<Vec<OutboxRow>> {
        self.core.outbox(limit).await
    }
    /// Removes rows that are safe in the log.
    pub async fn remove_from_outbox(&self, rows: &[OutboxRow]) -> Result<()> {
        self.core.remove_from_outbox(rows).await
    }
    /// Completes after a commit has put a row into the outbox; for one waiter. Once at the start, for rows left over.
    pub async fn outbox_changed(&self) {
        self.core.outbox_filled.notified().await;
    }
    /// Every open pool, the built-in ones too.
    pub fn open_pools(&self) -> Vec<Arc<Pool>> {
        self.core.open_pools()
    }
    /// Has the pool's partition sign the state of every use chain that moved: the run that goes on, and what is new.
    pub async fn sign_chains(&self, pool: &Pool) -> Result<History> {
        Ok(pool.live.gateway.checkpoint().await?)
    }
    /// The run that the store names; it belongs into the log, in case the last process did not come so far.
    pub fn history(&self, pool: &Pool) -> History {
        pool.live.history.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Keeps this run and these states for the next start to name; behind that they belong into the log. `false` when the
    /// partition has ended meanwhile: then they are to be forgotten.
    pub async fn keep_history(&self, pool: &Pool, history: &History) -> Result<bool> {
        self.core.keep_history(pool, history).await
    }
    /// Records of changes that a partition chained and no commit holds: they go into the log.
    pub fn take_not_committed(&self) -> Vec<AuditRecord> {
        self.core.take_not_committed()
    }
}
