//! The use chains of a partition's threads, and the checkpoints signed over them.

use std::sync::{Arc, Mutex, PoisonError};
use strongroom_hsm::chain::{CHAIN_START, UseEntry, next_hash};
use strongroom_hsm::verbs::Checkpoint;
use strongroom_hsm::{Binding, HsmError};
use strongroom_model::audit::UseStamp;
use strongroom_model::clock::Timestamp;
use strongroom_model::{Operation, PoolId};
use uuid::Uuid;

/// Uses after which a thread signs a checkpoint by itself.
pub const USES_PER_CHECKPOINT: u64 = 4_096;
/// Checkpoints of one chain kept for the next call; the first one, which names the chains before it, is never dropped.
const KEPT_MAX: usize = 4;

/// The chain of one thread of a partition.
#[derive(Clone)]
pub struct ThreadChain(Arc<Mutex<Chain>>);

struct Chain {
    id: [u8; 16],
    sequence: u64,
    hash: [u8; 32],
    /// Sequence of the last checkpoint signed; 0 before the first.
    signed: u64,
    kept: Vec<Checkpoint>,
}

/// Signs a checkpoint's digest.
pub(super) type Signer<'a> = &'a dyn Fn(&Checkpoint) -> Result<Vec<u8>, HsmError>;

/// What a checkpoint says besides the chain's own state.
#[derive(Clone, Copy)]
pub(super) struct Stamped<'a> {
    /// By the partition's clock.
    pub(super) now: Timestamp,
    /// Whose partition this is.
    pub(super) pool: PoolId,
    /// Fingerprints of the checkpoints before this start.
    pub(super) previous: &'a [[u8; 32]],
    /// The audit key at work.
    pub(super) signer: Signer<'a>,
}

impl ThreadChain {
    /// A chain with this random id.
    pub(super) fn new(id: [u8; 16]) -> Self {
        Self(Arc::new(Mutex::new(Chain { id, sequence: 0, hash: CHAIN_START, signed: 0, kept: Vec::new() })))
    }

    /// Adds a use; every [`USES_PER_CHECKPOINT`] of them signs a checkpoint. Nothing is added when that fails.
    pub(super) fn add(
        &self,
        operation: Operation,
        binding: &Binding,
        caller: Uuid,
        with: Stamped<'_>,
    ) -> Result<UseStamp, HsmError> {
        let mut chain = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = UseEntry {
            chain: chain.id,
            sequence: chain.sequence + 1,
            operation,
            vault: binding.vault,
            name: &binding.name,
            version: binding.version,
            time: with.now,
            caller,
        };
        let (sequence, hash) = (entry.sequence, next_hash(&chain.hash, &entry));
        if sequence.is_multiple_of(USES_PER_CHECKPOINT) {
            let checkpoint = chain.sign(sequence, hash, with)?;
            chain.keep(checkpoint);
        }
        (chain.sequence, chain.hash) = (sequence, hash);
        Ok(UseStamp { chain: chain.id, sequence, hash, time: with.now })
    }

    /// The checkpoints since the last call: those kept, and one over the present state when it moved.
    pub(super) fn checkpoints(&self, with: Stamped<'_>) -> Result<Vec<Checkpoint>, HsmError> {
        let mut chain = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if chain.sequence > chain.signed {
            let (sequence, hash) = (chain.sequence, chain.hash);
            let checkpoint = chain.sign(sequence, hash, with)?;
            chain.kept.push(checkpoint);
        }
        Ok(std::mem::take(&mut chain.kept))
    }
}

impl Chain {
    fn sign(&mut self, sequence: u64, hash: [u8; 32], with: Stamped<'_>) -> Result<Checkpoint, HsmError> {
        let previous = if self.signed == 0 { with.previous.to_vec() } else { Vec::new() };
        let (chain, time, pool) = (self.id, with.now, with.pool);
        let mut checkpoint = Checkpoint { chain, sequence, hash, time, pool, previous, signature: Vec::new() };
        checkpoint.signature = (with.signer)(&checkpoint)?;
        self.signed = sequence;
        Ok(checkpoint)
    }

    fn keep(&mut self, checkpoint: Checkpoint) {
        if self.kept.len() >= KEPT_MAX {
            self.kept.remove(1);
        }
        self.kept.push(checkpoint);
    }
}
