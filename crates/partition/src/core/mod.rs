//! What a partition does, without any process around it: the state of one pool, and an answer to each request.

mod chains;
mod rules;
mod table;

pub use chains::{ThreadChain, USES_PER_CHECKPOINT};
pub use table::{KNOWN_GENERATIONS_MAX, OPENED_KEYS_MAX};

use chains::Stamped;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use strongroom_hsm::binding::Binding;
use strongroom_hsm::error::ValueName;
use strongroom_hsm::verbs::{Answer, BlobId, Checkpoint, Envelope, Input, KeyMaterial, Operate, Output, WrappedRoot};
use strongroom_hsm::{HsmError, KeyBlob, KeyDraft, KeyMade, Provider, RebindChange, Reply, Request};
use strongroom_model::clock::Timestamp;
use strongroom_model::key::Origin;
use strongroom_model::limits::RANDOM_BYTES_MAX;
use strongroom_model::{Algorithm, Clock, KeyVersion, PoolId, SecretBytes};
use table::{Opened, Table};

/// Checkpoints that [`Request::OpenRoot`] may hand over: one for each chain of a machine with 128 cores.
pub const LAST_CHECKPOINTS_MAX: usize = 256;
/// Bytes of checkpoints in one reply; what does not fit comes with the next call.
const CHECKPOINT_REPLY_MAX: usize = 64 * 1024;

/// The state of one partition, shared by its threads.
pub struct Core<P: Provider> {
    provider: Arc<P>,
    pool: PoolId,
    clock: Box<dyn Clock>,
    dev: bool,
    /// Wiped as soon as the root is open: nothing needs it after that.
    kek: Mutex<Option<SecretBytes>>,
    roots: OnceLock<Roots<P>>,
    keys: Table<P::Key>,
    chains: Mutex<Vec<ThreadChain>>,
    /// The chain that the next [`Request::Checkpoint`] begins with, so that all get their turn.
    first_chain: AtomicUsize,
}

struct Roots<P: Provider> {
    root: P::Root,
    audit_key: P::Key,
    /// Fingerprints of the checkpoints handed over at the start.
    previous: Vec<[u8; 32]>,
}

impl<P: Provider> Core<P> {
    /// A partition of `pool` whose root is still to be created or opened. `dev` lets requests carry a clock offset.
    pub fn new(provider: Arc<P>, pool: PoolId, kek: SecretBytes, clock: Box<dyn Clock>, dev: bool) -> Self {
        Self {
            provider,
            pool,
            clock,
            dev,
            kek: Mutex::new(Some(kek)),
            roots: OnceLock::new(),
            keys: Table::new(),
            chains: Mutex::new(Vec::new()),
            first_chain: AtomicUsize::new(0),
        }
    }

    /// Opens the use chain of one more thread.
    pub fn thread_chain(&self) -> Result<ThreadChain, HsmError> {
        let chain = ThreadChain::new(self.random_id()?);
        self.chains.lock().unwrap_or_else(PoisonError::into_inner).push(chain.clone());
        Ok(chain)
    }

    /// Answers one request on the thread of `chain`.
    pub fn handle(&self, chain: &ThreadChain, envelope: Envelope) -> Answer {
        let Envelope { id, clock_offset, request } = envelope;
        let result = if clock_offset == 0 || self.dev {
            self.answer(chain, self.clock.now().plus(clock_offset), request)
        } else {
            Err(HsmError::Protocol)
        };
        Answer { id, result }
    }

    fn answer(&self, chain: &ThreadChain, now: Timestamp, request: Request) -> Result<Reply, HsmError> {
        match request {
            Request::Describe => Ok(Reply::Described(self.provider.describe())),
            Request::CreateRoot => self.create_root(now),
            Request::OpenRoot { wrapped, audit_key, last } => self.open_root(&wrapped, &audit_key, &last),
            Request::Generate(draft) => self.generate(draft, now).map(Reply::KeyMade),
            Request::Import(draft, material) => self.import(draft, material, now).map(Reply::KeyMade),
            Request::Rebind(blob, change) => self.rebind(&blob, &change).map(Reply::Rebound),
            Request::Operate(operate) => self.operate(chain, operate, now),
            Request::Random { count } => self.random(count),
            Request::Checkpoint => self.checkpoint(now).map(Reply::Checkpoints),
            Request::SelfTest => self.provider.self_test().map(|()| Reply::Healthy),
        }
    }

    fn roots(&self) -> Result<&Roots<P>, HsmError> {
        self.roots.get().ok_or(HsmError::NotOpen)
    }

    fn random_id(&self) -> Result<[u8; 16], HsmError> {
        self.provider.random(16)?.expose().try_into().map_err(|_| HsmError::Provider)
    }

    fn create_root(&self, now: Timestamp) -> Result<Reply, HsmError> {
        let mut slot = self.kek.lock().unwrap_or_else(PoisonError::into_inner);
        let kek = slot.as_ref().ok_or(HsmError::AlreadyOpen)?;
        let (root, wrapped) = self.provider.create_root(kek, self.pool)?;
        let binding = rules::audit_binding(self.pool, KeyVersion(self.random_id()?), now);
        let made = self.provider.generate(&root, binding)?;
        let audit_key = self.provider.open_key(&root, &made.blob)?;
        self.roots.set(Roots { root, audit_key, previous: Vec::new() }).map_err(|_| HsmError::AlreadyOpen)?;
        *slot = None;
        Ok(Reply::RootCreated { wrapped, audit_key: made })
    }

    fn open_root(&self, wrapped: &WrappedRoot, audit: &KeyBlob, last: &[Checkpoint]) -> Result<Reply, HsmError> {
        let mut slot = self.kek.lock().unwrap_or_else(PoisonError::into_inner);
        let kek = slot.as_ref().ok_or(HsmError::AlreadyOpen)?;
        if last.len() > LAST_CHECKPOINTS_MAX || !rules::is_audit_key(audit.binding.kind, &audit.binding.name) {
            return Err(HsmError::Protocol);
        }
        let root = self.provider.open_root(kek, self.pool, wrapped)?;
        self.own(&audit.binding)?;
        let audit_key = self.provider.open_key(&root, audit)?;
        let previous = last.iter().map(Checkpoint::fingerprint).collect();
        self.roots.set(Roots { root, audit_key, previous }).map_err(|_| HsmError::AlreadyOpen)?;
        *slot = None;
        Ok(Reply::RootOpened)
    }

    /// Refuses a blob of another pool before the provider sees it.
    fn own(&self, binding: &Binding) -> Result<(), HsmError> {
        if binding.pool == self.pool { Ok(()) } else { Err(HsmError::Unsealable) }
    }

    fn generate(&self, draft: KeyDraft, now: Timestamp) -> Result<KeyMade, HsmError> {
        let roots = self.roots()?;
        let binding = draft.bind(self.pool, Origin::Generated, now);
        rules::check(&binding)?;
        self.provider.generate(&roots.root, binding)
    }

    fn import(&self, draft: KeyDraft, material: KeyMaterial, now: Timestamp) -> Result<KeyMade, HsmError> {
        let roots = self.roots()?;
        let binding = draft.bind(self.pool, Origin::Imported, now);
        rules::check(&binding)?;
        self.provider.import(&roots.root, binding, material)
    }

    fn rebind(&self, blob: &KeyBlob, change: &RebindChange) -> Result<KeyBlob, HsmError> {
        let roots = self.roots()?;
        self.own(&blob.binding)?;
        let next = blob.binding.rebind(change)?;
        rules::check(&next)?;
        let resealed = self.provider.reseal(&roots.root, blob, next)?;
        // Only now is the old binding known to be authentic.
        self.keys.know(&blob.binding)?;
        Ok(resealed)
    }

    fn operate(&self, chain: &ThreadChain, operate: Operate, now: Timestamp) -> Result<Reply, HsmError> {
        let roots = self.roots()?;
        let Operate { key: id, blob, algorithm, input, caller } = operate;
        let opened = match (self.keys.get(&id)?, blob) {
            (Some(opened), _) => opened,
            (None, None) => return Ok(Reply::NeedBlob),
            (None, Some(blob)) => self.open(roots, &blob, id)?,
        };
        let operation = input.operation();
        opened.binding.permits(operation, now)?;
        algorithm.check(operation, opened.binding.spec).map_err(|_| HsmError::AlgorithmMismatch)?;
        let output = self.provider.operate(&opened.key, algorithm, &input)?;
        let signer = |c: &Checkpoint| self.sign(roots, c);
        let with = Stamped { now, pool: self.pool, previous: &roots.previous, signer: &signer };
        let stamp = chain.add(operation, &opened.binding, caller, with)?;
        Ok(Reply::Done(output, stamp))
    }

    fn open(&self, roots: &Roots<P>, blob: &Arc<KeyBlob>, id: BlobId) -> Result<Arc<Opened<P::Key>>, HsmError> {
        self.own(&blob.binding)?;
        if blob.id()? != id || rules::is_audit_key(blob.binding.kind, &blob.binding.name) {
            return Err(HsmError::Protocol);
        }
        let key = self.provider.open_key(&roots.root, blob)?;
        self.keys.admit(id, key, blob.binding.clone())
    }

    fn random(&self, count: u16) -> Result<Reply, HsmError> {
        let count = usize::from(count);
        if !(1..=RANDOM_BYTES_MAX).contains(&count) {
            return Err(HsmError::BadLength(ValueName::Count));
        }
        self.provider.random(count).map(Reply::Random)
    }

    fn checkpoint(&self, now: Timestamp) -> Result<Vec<Checkpoint>, HsmError> {
        let roots = self.roots()?;
        let signer = |c: &Checkpoint| self.sign(roots, c);
        let with = Stamped { now, pool: self.pool, previous: &roots.previous, signer: &signer };
        let chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let first = self.first_chain.load(Ordering::Relaxed);
        let (mut all, mut bytes) = (Vec::new(), 0);
        for i in 0..chains.len() {
            let at = (first + i) % chains.len();
            if bytes > CHECKPOINT_REPLY_MAX {
                self.first_chain.store(at, Ordering::Relaxed);
                break;
            }
            let some = chains[at].checkpoints(with)?;
            bytes += some.iter().map(|c| c.message().len() + c.signature.len()).sum::<usize>();
            all.extend(some);
        }
        Ok(all)
    }

    /// ES256 over the checkpoint, by the audit key: the one use that is not itself in a chain.
    fn sign(&self, roots: &Roots<P>, checkpoint: &Checkpoint) -> Result<Vec<u8>, HsmError> {
        let input = Input::Sign { digest: checkpoint.digest().to_vec() };
        match self.provider.operate(&roots.audit_key, Algorithm::Es256, &input)? {
            Output::Signature(signature) => Ok(signature),
            Output::Verified(_) | Output::Ciphertext { .. } | Output::Plaintext(_) => Err(HsmError::Provider),
        }
    }
}

#[cfg(test)]
mod tests;
