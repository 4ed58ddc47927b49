//! What a partition computes with: one trait, no default bodies, one suite that every implementation must pass.

use crate::binding::Binding;
use crate::error::HsmError;
use crate::verbs::{Capabilities, Input, KeyBlob, KeyMade, KeyMaterial, Output, WrappedRoot};
use strongroom_model::{Algorithm, PoolId, SecretBytes};

/// A store of keys and the cryptography on them, blocking, called from the partition's threads.
///
/// The partition around it keeps the clock, checks [`Binding::permits`] and the algorithm table, chains the uses and holds
/// the table of opened keys; the provider seals, opens and computes.
pub trait Provider: Send + Sync + 'static {
    /// A pool's opened roots, all generations.
    type Root: Send + Sync;
    /// An opened key.
    type Key: Send + Sync;

    /// What this provider is and can do.
    fn describe(&self) -> Capabilities;

    /// Makes the first root of `pool`, sealed under the node's key-encryption key (32 bytes).
    fn create_root(&self, kek: &SecretBytes, pool: PoolId) -> Result<(Self::Root, WrappedRoot), HsmError>;

    /// Opens the roots of `pool`; [`HsmError::WrongSeal`] when they were sealed under another key or for another pool.
    fn open_root(&self, kek: &SecretBytes, pool: PoolId, wrapped: &WrappedRoot) -> Result<Self::Root, HsmError>;

    /// Makes a key and seals it under `binding`, whose `public_key` the provider fills in.
    fn generate(&self, root: &Self::Root, binding: Binding) -> Result<KeyMade, HsmError>;

    /// Checks and seals a key that came in the clear, under `binding`, whose `public_key` the provider fills in.
    fn import(&self, root: &Self::Root, binding: Binding, material: KeyMaterial) -> Result<KeyMade, HsmError>;

    /// Opens `blob` and seals the same key under `next`, which differs only as [`Binding::rebind`] allows.
    fn reseal(&self, root: &Self::Root, blob: &KeyBlob, next: Binding) -> Result<KeyBlob, HsmError>;

    /// Opens a key for use; [`HsmError::Unsealable`] when the blob is not exactly what was sealed for this binding and pool.
    fn open_key(&self, root: &Self::Root, blob: &KeyBlob) -> Result<Self::Key, HsmError>;

    /// Computes. The algorithm fits operation and key already; lengths are the provider's to check.
    fn operate(&self, key: &Self::Key, algorithm: Algorithm, input: &Input) -> Result<Output, HsmError>;

    /// `count` random bytes.
    fn random(&self, count: usize) -> Result<SecretBytes, HsmError>;

    /// Known-answer and pairwise tests of every mechanism; a failure stops the partition.
    fn self_test(&self) -> Result<(), HsmError>;
}
