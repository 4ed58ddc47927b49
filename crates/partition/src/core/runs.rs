//! Runs: how a pool's root is made or opened, and how the chains of this run are tied to those of the run before.

use super::chains::ThreadChain;
use super::{Core, Roots, rules};
use std::collections::HashSet;
use std::sync::PoisonError;
use strongroom_hsm::chain::sha256;
use strongroom_hsm::verbs::{History, Input, Named, Opening, Output, RootParts};
use strongroom_hsm::{HsmError, Provider, PublicKey, Reply};
use strongroom_model::clock::Timestamp;
use strongroom_model::{Algorithm, KeyVersion};

/// Checkpoints that [`Request::OpenRoot`](strongroom_hsm::Request::OpenRoot) may hand over, and chains of one run: one for each
/// lane of a machine with 128 cores.
pub const CHAINS_MAX: usize = 256;

impl<P: Provider> Core<P> {
    /// Makes the use chain of one more thread: all of them before the root is opened, which names them.
    pub fn thread_chain(&self) -> Result<ThreadChain, HsmError> {
        let chain = ThreadChain::new(self.random_id()?);
        let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        if self.roots.get().is_some() || chains.len() >= CHAINS_MAX {
            return Err(HsmError::AlreadyOpen);
        }
        chains.push(chain.clone());
        Ok(chain)
    }

    pub(super) fn create_root(&self, now: Timestamp) -> Result<Reply, HsmError> {
        let mut slot = self.kek.lock().unwrap_or_else(PoisonError::into_inner);
        let kek = slot.as_ref().ok_or(HsmError::AlreadyOpen)?;
        let (root, wrapped) = self.provider.create_root(kek, self.pool)?;
        let binding = rules::audit_binding(self.pool, KeyVersion(self.random_id()?), now);
        let made = self.provider.generate(&root, binding)?;
        let audit_key = self.provider.open_key(&root, &made.blob)?;
        let opening = self.begin_run(root, audit_key, made.public.clone(), None, now)?;
        *slot = None;
        Ok(Reply::RootCreated { wrapped, audit_key: made, opening })
    }

    pub(super) fn open_root(&self, parts: &RootParts, now: Timestamp) -> Result<Reply, HsmError> {
        let RootParts { wrapped, audit_key, audit_public, last } = parts;
        let mut slot = self.kek.lock().unwrap_or_else(PoisonError::into_inner);
        let kek = slot.as_ref().ok_or(HsmError::AlreadyOpen)?;
        if !rules::is_audit_key(audit_key.binding.kind, &audit_key.binding.name) {
            return Err(HsmError::Protocol);
        }
        let root = self.provider.open_root(kek, self.pool, wrapped)?;
        self.own(&audit_key.binding)?;
        let opened = self.provider.open_key(&root, audit_key)?;
        if audit_public.fingerprint() != audit_key.binding.public_key {
            return Err(HsmError::Unsealable);
        }
        self.check_history(&opened, audit_public, last)?;
        let opening = self.begin_run(root, opened, audit_public.clone(), Some(last), now)?;
        *slot = None;
        Ok(Reply::RootOpened(opening))
    }

    /// Refuses a run before that this pool's own audit key did not sign, or whose parts do not belong together.
    fn check_history(&self, key: &P::Key, public: &PublicKey, last: &History) -> Result<(), HsmError> {
        let History { opening, checkpoints } = last;
        if checkpoints.len() > CHAINS_MAX || opening.pool != self.pool || opening.audit_key != *public {
            return Err(HsmError::History);
        }
        self.check_signature(key, &opening.message(), &opening.signature)?;
        let mut seen = HashSet::new();
        for checkpoint in checkpoints {
            let known = opening.chains.contains(&checkpoint.chain) && seen.insert(checkpoint.chain);
            if !known || checkpoint.pool != self.pool {
                return Err(HsmError::History);
            }
            self.check_signature(key, &checkpoint.message(), &checkpoint.signature)?;
        }
        Ok(())
    }

    /// Signs the opening and begins all chains from it.
    fn begin_run(
        &self,
        root: P::Root,
        audit_key: P::Key,
        public: PublicKey,
        last: Option<&History>,
        now: Timestamp,
    ) -> Result<Opening, HsmError> {
        let chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |h: &History| {
            h.checkpoints.iter().map(|c| Named { chain: c.chain, sequence: c.sequence, hash: c.hash }).collect()
        };
        let mut opening = Opening {
            pool: self.pool,
            time: now,
            audit_key: public,
            previous: last.map(|h| h.opening.digest()),
            chains: chains.iter().map(ThreadChain::id).collect(),
            checkpoints: last.map(named).unwrap_or_default(),
            signature: Vec::new(),
        };
        opening.signature = self.sign(&audit_key, &opening.message())?;
        let roots = Roots { root, audit_key, opening: opening.clone() };
        self.roots.set(roots).map_err(|_| HsmError::AlreadyOpen)?;
        for chain in chains.iter() {
            chain.open(&opening);
        }
        Ok(opening)
    }

    /// ES256 by the audit key: the one use that is not itself in a chain.
    pub(super) fn sign(&self, key: &P::Key, message: &[u8]) -> Result<Vec<u8>, HsmError> {
        let input = Input::Sign { digest: sha256(message).to_vec() };
        match self.provider.operate(key, Algorithm::Es256, &input)? {
            Output::Signature(signature) => Ok(signature),
            Output::Verified(_) | Output::Ciphertext { .. } | Output::Plaintext(_) => Err(HsmError::Provider),
        }
    }

    /// Refuses what the audit key did not sign.
    pub(super) fn check_signature(&self, key: &P::Key, message: &[u8], signature: &[u8]) -> Result<(), HsmError> {
        let input = Input::Verify { digest: sha256(message).to_vec(), signature: signature.to_vec() };
        match self.provider.operate(key, Algorithm::Es256, &input)? {
            Output::Verified(true) => Ok(()),
            Output::Verified(false) => Err(HsmError::History),
            Output::Signature(_) | Output::Ciphertext { .. } | Output::Plaintext(_) => Err(HsmError::Provider),
        }
    }
}
