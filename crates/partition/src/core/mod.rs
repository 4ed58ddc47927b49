//! What a partition does, without any process around it: the state of one pool, and an answer to each request.

mod chains;
mod rules;
mod runs;
mod table;

pub use chains::{ENTRIES_PER_CHECKPOINT, ThreadChain};
pub use runs::CHAINS_MAX;
pub use table::{KNOWN_GENERATIONS_MAX, OPENED_KEYS_MAX};

use chains::Stamped;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use strongroom_hsm::binding::Binding;
use strongroom_hsm::error::ValueName;
use strongroom_hsm::verbs::{Answer, BlobId, Envelope, History, KeyMaterial, Opening, Operate};
use strongroom_hsm::{Act, HsmError, KeyBlob, KeyDraft, Provider, RebindChange, Reply, Request};
use strongroom_model::audit::{ChangeStamp, KeyChange};
use strongroom_model::clock::Timestamp;
use strongroom_model::key::Origin;
use strongroom_model::limits::RANDOM_BYTES_MAX;
use strongroom_model::{Clock, PoolId, SecretBytes};
use table::{Opened, Table};
use uuid::Uuid;

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
    /// How this run began.
    opening: Opening,
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
            Request::OpenRoot(parts) => self.open_root(&parts, now),
            Request::Generate(draft, caller) => self.generate(chain, draft, caller, now),
            Request::Import(draft, material, caller) => self.import(chain, draft, material, caller, now),
            Request::Rebind(blob, change, caller) => self.rebind(chain, &blob, &change, caller, now),
            Request::Operate(operate) => self.operate(chain, operate, now),
            Request::Random { count } => self.random(count),
            Request::Checkpoint => self.checkpoint(now).map(Reply::Signed),
            Request::SelfTest => self.provider.self_test().map(|()| Reply::Healthy),
        }
    }

    fn roots(&self) -> Result<&Roots<P>, HsmError> {
        self.roots.get().ok_or(HsmError::NotOpen)
    }

    fn random_id(&self) -> Result<[u8; 16], HsmError> {
        self.provider.random(16)?.expose().try_into().map_err(|_| HsmError::Provider)
    }

    /// Refuses a blob of another pool before the provider sees it.
    fn own(&self, binding: &Binding) -> Result<(), HsmError> {
        if binding.pool == self.pool { Ok(()) } else { Err(HsmError::Unsealable) }
    }

    fn generate(&self, chain: &ThreadChain, draft: KeyDraft, caller: Uuid, now: Timestamp) -> Result<Reply, HsmError> {
        let roots = self.roots()?;
        let binding = draft.bind(self.pool, Origin::Generated, now);
        rules::check(&binding)?;
        let made = self.provider.generate(&roots.root, binding)?;
        let stamp = self.chain_change(roots, chain, &made.blob.binding, KeyChange::Generate, caller, now)?;
        Ok(Reply::KeyMade(made, stamp))
    }

    fn import(
        &self,
        chain: &ThreadChain,
        draft: KeyDraft,
        material: KeyMaterial,
        caller: Uuid,
        now: Timestamp,
    ) -> Result<Reply, HsmError> {
        let roots = self.roots()?;
        let binding = draft.bind(self.pool, Origin::Imported, now);
        rules::check(&binding)?;
        let made = self.provider.import(&roots.root, binding, material)?;
        let stamp = self.chain_change(roots, chain, &made.blob.binding, KeyChange::Import, caller, now)?;
        Ok(Reply::KeyMade(made, stamp))
    }

    fn rebind(
        &self,
        chain: &ThreadChain,
        blob: &KeyBlob,
        change: &RebindChange,
        caller: Uuid,
        now: Timestamp,
    ) -> Result<Reply, HsmError> {
        let roots = self.roots()?;
        self.own(&blob.binding)?;
        let next = blob.binding.rebind(change)?;
        rules::check(&next)?;
        let resealed = self.provider.reseal(&roots.root, blob, next)?;
        // Only now is the old binding known to be authentic.
        self.keys.know(&blob.binding)?;
        let stamp = self.chain_change(roots, chain, &resealed.binding, KeyChange::Rebind, caller, now)?;
        Ok(Reply::Rebound(resealed, stamp))
    }

    /// Chains what was made of a key; its blob leaves only behind this.
    fn chain_change(
        &self,
        roots: &Roots<P>,
        chain: &ThreadChain,
        binding: &Binding,
        change: impl FnOnce([u8; 32]) -> KeyChange,
        caller: Uuid,
        now: Timestamp,
    ) -> Result<ChangeStamp, HsmError> {
        let change = change(binding.digest());
        let place = self.stamped(roots, now, |with| chain.add(Act::Change(change), binding, caller, with))?;
        Ok(ChangeStamp { place, change })
    }

    /// Does what may sign a checkpoint.
    fn stamped<T>(&self, roots: &Roots<P>, now: Timestamp, work: impl FnOnce(Stamped<'_>) -> T) -> T {
        let signer = |message: &[u8]| self.sign(&roots.audit_key, message);
        work(Stamped { now, pool: self.pool, signer: &signer })
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
        let act = Act::Use(operation);
        let stamp = self.stamped(roots, now, |with| chain.add(act, &opened.binding, caller, with))?;
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

    fn checkpoint(&self, now: Timestamp) -> Result<History, HsmError> {
        let roots = self.roots()?;
        let chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let first = self.first_chain.load(Ordering::Relaxed);
        let (mut checkpoints, mut bytes) = (Vec::new(), 0);
        for i in 0..chains.len() {
            let at = (first + i) % chains.len();
            if bytes > CHECKPOINT_REPLY_MAX {
                self.first_chain.store(at, Ordering::Relaxed);
                break;
            }
            let some = self.stamped(roots, now, |with| chains[at].checkpoints(with))?;
            bytes += some.iter().map(|c| c.message().len() + c.signature.len()).sum::<usize>();
            checkpoints.extend(some);
        }
        Ok(History { opening: roots.opening.clone(), checkpoints })
    }
}

#[cfg(test)]
mod tests;
