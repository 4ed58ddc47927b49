//! The use chains of a partition's threads, and the checkpoints signed over them.

use std::sync::{Arc, Mutex, PoisonError};
use strongroom_hsm::verbs::{Checkpoint, Opening};
use strongroom_hsm::{Act, Binding, Entry, HsmError};
use strongroom_model::PoolId;
use strongroom_model::audit::UseStamp;
use strongroom_model::clock::Timestamp;
use uuid::Uuid;

/// Entries after which a thread signs a checkpoint by itself.
pub const ENTRIES_PER_CHECKPOINT: u64 = 4_096;
/// Checkpoints of one chain kept for the next call.
const KEPT_MAX: usize = 4;

/// The chain of one thread of a partition.
#[derive(Clone)]
pub struct ThreadChain(Arc<Mutex<Chain>>);

struct Chain {
    id: [u8; 16],
    sequence: u64,
    /// Nothing before the run was opened.
    hash: Option<[u8; 32]>,
    /// Sequence of the last checkpoint signed; 0 before the first.
    signed: u64,
    kept: Vec<Checkpoint>,
}

/// Signs a message with the audit key.
pub(super) type Signer<'a> = &'a dyn Fn(&[u8]) -> Result<Vec<u8>, HsmError>;

/// What a checkpoint says besides the chain's own state.
#[derive(Clone, Copy)]
pub(super) struct Stamped<'a> {
    /// By the partition's clock.
    pub(super) now: Timestamp,
    /// Whose partition this is.
    pub(super) pool: PoolId,
    /// The audit key at work.
    pub(super) signer: Signer<'a>,
}

impl ThreadChain {
    /// A chain with this random id.
    pub(super) fn new(id: [u8; 16]) -> Self {
        Self(Arc::new(Mutex::new(Chain { id, sequence: 0, hash: None, signed: 0, kept: Vec::new() })))
    }

    pub(super) fn id(&self) -> [u8; 16] {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).id
    }

    /// Begins from the opening that names it.
    pub(super) fn open(&self, opening: &Opening) {
        let mut chain = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        chain.hash = Some(opening.start_of(&chain.id));
    }

    /// Adds an entry; every [`ENTRIES_PER_CHECKPOINT`] of them signs a checkpoint. Nothing is added when that fails.
    pub(super) fn add(
        &self,
        act: Act,
        binding: &Binding,
        caller: Uuid,
        with: Stamped<'_>,
    ) -> Result<UseStamp, HsmError> {
        let mut chain = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = chain.hash.ok_or(HsmError::NotOpen)?;
        let entry = Entry {
            chain: chain.id,
            sequence: chain.sequence + 1,
            time: with.now,
            caller,
            kind: binding.kind,
            vault: binding.vault,
            version: binding.version,
            generation: binding.generation,
            act,
            name: &binding.name,
        };
        let (sequence, hash) = (entry.sequence, entry.hash_after(&last));
        if sequence.is_multiple_of(ENTRIES_PER_CHECKPOINT) {
            let checkpoint = chain.sign(sequence, hash, with)?;
            if chain.kept.len() >= KEPT_MAX {
                chain.kept.remove(0);
            }
            chain.kept.push(checkpoint);
        }
        (chain.sequence, chain.hash) = (sequence, Some(hash));
        Ok(UseStamp { chain: chain.id, sequence, hash, time: with.now, generation: binding.generation })
    }

    /// The checkpoints since the last call: those kept, and one over the present state when it moved.
    pub(super) fn checkpoints(&self, with: Stamped<'_>) -> Result<Vec<Checkpoint>, HsmError> {
        let mut chain = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hash) = chain.hash.filter(|_| chain.sequence > chain.signed) {
            let sequence = chain.sequence;
            let checkpoint = chain.sign(sequence, hash, with)?;
            chain.kept.push(checkpoint);
        }
        Ok(std::mem::take(&mut chain.kept))
    }
}

impl Chain {
    fn sign(&mut self, sequence: u64, hash: [u8; 32], with: Stamped<'_>) -> Result<Checkpoint, HsmError> {
        let (pool, chain, time) = (with.pool, self.id, with.now);
        let mut checkpoint = Checkpoint { pool, chain, sequence, hash, time, signature: Vec::new() };
        checkpoint.signature = (with.signer)(&checkpoint.message())?;
        self.signed = sequence;
        Ok(checkpoint)
    }
}
