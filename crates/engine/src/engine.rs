//! The engine: how it starts, and every operation it offers.

use crate::keys::{
    CreateKey, DeletedKeyBundle, DeletedKeyItem, ImportKey, KeyBundle, KeyItem, RotationPolicy, UpdateKey,
};
use crate::pool::{Pool, PoolRequest};
use crate::roles::{AssignmentFilter, CreateRoleAssignment, SetRoleDefinition};
use std::sync::Arc;
use std::time::Instant;
use strongroom_hsm::verbs::{Checkpoint, Input, KeyMaterial, Output};
use strongroom_hsm::{Partitions, PublicKey};
use strongroom_model::audit::{AuditRecord, UseStamp};
use strongroom_model::role::{RoleAssignment, RoleDefinition};
use strongroom_model::{
    Algorithm, Clock, DataAction, KeyName, KeySpec, KeyVersion, PoolName, Principal, Result, RoleScope, SecretBytes,
};
use strongroom_store::Store;
use uuid::Uuid;

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
    /// Whether this is `dev`: a new store is marked so for ever; a marked store is refused without it.
    pub development: bool,
    /// Refuses changes while it says why not (the audit log has no room for them); asked before each change.
    pub changes_allowed: Arc<dyn Fn() -> Result<()> + Send + Sync>,
}

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store failed.
    #[error("the store cannot be used: {0}")]
    Store(#[from] strongroom_store::StoreError),
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
pub struct Engine {}

#[allow(unused_variables, clippy::unused_async, clippy::unimplemented)]
impl Engine {
    /// Opens the store, the built-in pools and their partitions. Scheduled work starts with [`Engine::run_jobs`].
    pub async fn start(parts: EngineParts) -> std::result::Result<Arc<Self>, StartError> {
        unimplemented!()
    }

    /// Runs the scheduled work until the future is dropped: rotation, purge of what is due, served time, use checkpoints.
    pub async fn run_jobs(self: Arc<Self>) {
        unimplemented!()
    }

    /// Gives back what was reserved ahead. Call once, when no request is under way any more.
    pub async fn stop(&self) {
        unimplemented!()
    }

    // ----- pools -----

    /// Makes a pool, or checks that the one of that name is as asked and opens it.
    pub async fn ensure_pool(&self, request: PoolRequest) -> std::result::Result<Arc<Pool>, StartError> {
        unimplemented!()
    }

    /// The pool of a name; a map look-up without I/O.
    pub fn pool(&self, name: &PoolName) -> Option<Arc<Pool>> {
        unimplemented!()
    }

    /// Whether every open pool can sign now (each partition answers a self-test or a use within its time).
    pub async fn ready(&self) -> Result<()> {
        unimplemented!()
    }

    // ----- the product's own keys and documents, in pool `system` -----

    /// The signing key of this name, made when there is none.
    pub async fn system_key(&self, name: &str, spec: KeySpec) -> Result<SystemKey> {
        unimplemented!()
    }

    /// Signs a digest with a key of the product.
    pub async fn sign_with_system_key(
        &self,
        name: &str,
        algorithm: Algorithm,
        digest: Vec<u8>,
    ) -> Result<(Vec<u8>, UseStamp)> {
        unimplemented!()
    }

    /// A small document of the product (the private CA's certificate), sealed like every record.
    pub async fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        unimplemented!()
    }

    /// Writes such a document.
    pub async fn put_document(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        unimplemented!()
    }

    // ----- access -----

    /// Local RBAC: the right to `action` at `scope`, for the caller or one of the caller's groups. No I/O.
    pub fn authorise(
        &self,
        pool: &Arc<Pool>,
        caller: &Arc<Principal>,
        action: DataAction,
        scope: RoleScope,
    ) -> Result<Grant> {
        unimplemented!()
    }

    // ----- keys: one function per operation of the API, with its name -----

    /// `CreateKey`
    pub async fn create_key(&self, g: &Grant, r: Recorded, name: KeyName, key: CreateKey) -> Result<KeyBundle> {
        unimplemented!()
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
        unimplemented!()
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
        unimplemented!()
    }
    /// `GetKey`; without a version the newest.
    pub async fn get_key(&self, g: &Grant, name: &KeyName, version: Option<KeyVersion>) -> Result<Arc<KeyBundle>> {
        unimplemented!()
    }
    /// `GetKeys`
    pub async fn get_keys(&self, g: &Grant, page: PageRequest) -> Result<Page<KeyItem>> {
        unimplemented!()
    }
    /// `GetKeyVersions`
    pub async fn get_key_versions(&self, g: &Grant, name: &KeyName, page: PageRequest) -> Result<Page<KeyItem>> {
        unimplemented!()
    }
    /// `DeleteKey`
    pub async fn delete_key(&self, g: &Grant, r: Recorded, name: KeyName) -> Result<DeletedKeyBundle> {
        unimplemented!()
    }
    /// `GetDeletedKey`
    pub async fn get_deleted_key(&self, g: &Grant, name: &KeyName) -> Result<DeletedKeyBundle> {
        unimplemented!()
    }
    /// `GetDeletedKeys`
    pub async fn get_deleted_keys(&self, g: &Grant, page: PageRequest) -> Result<Page<DeletedKeyItem>> {
        unimplemented!()
    }
    /// `RecoverDeletedKey`
    pub async fn recover_deleted_key(&self, g: &Grant, r: Recorded, name: KeyName) -> Result<KeyBundle> {
        unimplemented!()
    }
    /// `PurgeDeletedKey`
    pub async fn purge_deleted_key(&self, g: &Grant, r: Recorded, name: KeyName) -> Result<()> {
        unimplemented!()
    }
    /// `RotateKey`
    pub async fn rotate_key(&self, g: &Grant, r: Recorded, name: KeyName) -> Result<KeyBundle> {
        unimplemented!()
    }
    /// `GetKeyRotationPolicy`
    pub async fn get_key_rotation_policy(&self, g: &Grant, name: &KeyName) -> Result<RotationPolicy> {
        unimplemented!()
    }
    /// `UpdateKeyRotationPolicy`
    pub async fn update_key_rotation_policy(
        &self,
        g: &Grant,
        r: Recorded,
        name: KeyName,
        policy: RotationPolicy,
    ) -> Result<RotationPolicy> {
        unimplemented!()
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
        unimplemented!()
    }
    /// `GetRandomBytes`
    pub async fn get_random_bytes(&self, g: &Grant, count: u16) -> Result<SecretBytes> {
        unimplemented!()
    }

    // ----- roles -----

    /// `RoleAssignments_ListForScope`
    pub async fn list_role_assignments(
        &self,
        g: &Grant,
        scope: RoleScope,
        filter: AssignmentFilter,
    ) -> Result<Vec<RoleAssignment>> {
        unimplemented!()
    }
    /// `RoleAssignments_Get`
    pub async fn get_role_assignment(&self, g: &Grant, scope: RoleScope, id: Uuid) -> Result<RoleAssignment> {
        unimplemented!()
    }
    /// `RoleAssignments_Create`
    pub async fn create_role_assignment(
        &self,
        g: &Grant,
        r: Recorded,
        id: Uuid,
        assignment: CreateRoleAssignment,
    ) -> Result<RoleAssignment> {
        unimplemented!()
    }
    /// `RoleAssignments_Delete`
    pub async fn delete_role_assignment(
        &self,
        g: &Grant,
        r: Recorded,
        scope: RoleScope,
        id: Uuid,
    ) -> Result<RoleAssignment> {
        unimplemented!()
    }
    /// `RoleDefinitions_List`
    pub async fn list_role_definitions(&self, g: &Grant) -> Result<Vec<RoleDefinition>> {
        unimplemented!()
    }
    /// `RoleDefinitions_Get`
    pub async fn get_role_definition(&self, g: &Grant, id: Uuid) -> Result<RoleDefinition> {
        unimplemented!()
    }
    /// `RoleDefinitions_CreateOrUpdate`
    pub async fn set_role_definition(
        &self,
        g: &Grant,
        r: Recorded,
        id: Uuid,
        definition: SetRoleDefinition,
    ) -> Result<RoleDefinition> {
        unimplemented!()
    }
    /// `RoleDefinitions_Delete`
    pub async fn delete_role_definition(&self, g: &Grant, r: Recorded, id: Uuid) -> Result<RoleDefinition> {
        unimplemented!()
    }

    // ----- audit -----

    /// The oldest rows of the outbox, in the order of their commits.
    pub async fn outbox(&self, limit: usize) -> Result<Vec<OutboxRow>> {
        unimplemented!()
    }
    /// Removes rows that are safe in the log.
    pub async fn remove_from_outbox(&self, rows: &[OutboxRow]) -> Result<()> {
        unimplemented!()
    }
    /// Completes after a commit has put a row into the outbox.
    pub async fn outbox_changed(&self) {
        unimplemented!()
    }
    /// Signs the state of every use chain that moved; the checkpoints go into the log.
    pub async fn checkpoints(&self) -> Result<Vec<Checkpoint>> {
        unimplemented!()
    }
}
