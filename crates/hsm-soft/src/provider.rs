//! The provider itself: roots, sealing, opening, and the way to the mechanisms.

use crate::key::SoftKey;
use crate::root::SoftRoot;
use crate::self_test;
use aws_lc_rs::rand;
use strongroom_hsm::sealed::{self, Label};
use strongroom_hsm::verbs::{Capabilities, Input, KeyMaterial, Output, ProviderName, WrappedRoot};
use strongroom_hsm::{Binding, HsmError, KeyBlob, KeyMade, Provider};
use strongroom_model::algorithm::ALGORITHMS;
use strongroom_model::{Algorithm, PoolId, SecretBytes};

/// Keys and cryptography in this process's memory, by AWS-LC.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoftProvider;

impl Provider for SoftProvider {
    type Root = SoftRoot;
    type Key = SoftKey;

    fn describe(&self) -> Capabilities {
        Capabilities {
            provider: ProviderName::Software,
            hsm_platform: "0".to_owned(),
            algorithms: ALGORITHMS.iter().map(|row| row.algorithm).collect(),
            // No verb asks for it yet.
            exports_security_domain: false,
        }
    }

    fn create_root(&self, kek: &SecretBytes, pool: PoolId) -> Result<(SoftRoot, WrappedRoot), HsmError> {
        let root = SoftRoot::create(pool)?;
        let wrapped = root.wrap(kek)?;
        Ok((root, wrapped))
    }

    fn open_root(&self, kek: &SecretBytes, pool: PoolId, wrapped: &WrappedRoot) -> Result<SoftRoot, HsmError> {
        SoftRoot::unwrap(kek, pool, wrapped)
    }

    fn generate(&self, root: &SoftRoot, binding: Binding) -> Result<KeyMade, HsmError> {
        check_new(root, &binding)?;
        let key = SoftKey::generate(binding.spec)?;
        seal_new(root, binding, &key)
    }

    fn import(&self, root: &SoftRoot, binding: Binding, material: KeyMaterial) -> Result<KeyMade, HsmError> {
        check_new(root, &binding)?;
        let key = SoftKey::import(binding.spec, material)?;
        seal_new(root, binding, &key)
    }

    fn reseal(&self, root: &SoftRoot, blob: &KeyBlob, next: Binding) -> Result<KeyBlob, HsmError> {
        let material = unseal(root, blob)?;
        blob.binding.may_become(&next)?;
        seal(root, next, material.expose())
    }

    fn open_key(&self, root: &SoftRoot, blob: &KeyBlob) -> Result<SoftKey, HsmError> {
        let key = SoftKey::open(blob.binding.spec, unseal(root, blob)?)?;
        // Sealed together, so a difference is a defect of this code, not of the store: refuse it all the same.
        if key.public_key().fingerprint() == blob.binding.public_key { Ok(key) } else { Err(HsmError::Unsealable) }
    }

    fn operate(&self, key: &SoftKey, algorithm: Algorithm, input: &Input) -> Result<Output, HsmError> {
        algorithm.check(input.operation(), key.spec()).map_err(|_| HsmError::AlgorithmMismatch)?;
        key.operate(algorithm.row().mechanism, input)
    }

    fn random(&self, count: usize) -> Result<SecretBytes, HsmError> {
        SecretBytes::fill_with(count, rand::fill).map_err(|_| HsmError::Provider)
    }

    fn self_test(&self) -> Result<(), HsmError> {
        self_test::run()
    }
}

/// Refuses a binding that no new key of this pool has.
fn check_new(root: &SoftRoot, binding: &Binding) -> Result<(), HsmError> {
    let fresh = binding.generation == 1 && binding.public_key.is_none();
    if binding.pool == root.pool() && fresh && binding.has_canonical_name() {
        Ok(())
    } else {
        Err(HsmError::BindingRule)
    }
}

fn seal_new(root: &SoftRoot, mut binding: Binding, key: &SoftKey) -> Result<KeyMade, HsmError> {
    let public = key.public_key();
    binding.public_key = public.fingerprint();
    let blob = key.with_material(|material| seal(root, binding, material))?;
    Ok(KeyMade { blob, public })
}

fn seal(root: &SoftRoot, binding: Binding, material: &[u8]) -> Result<KeyBlob, HsmError> {
    let (generation, secret) = root.newest()?;
    let sealed = sealed::seal(secret, generation, Label::Key, &binding.encode(), material)?;
    Ok(KeyBlob { binding, sealed })
}

fn unseal(root: &SoftRoot, blob: &KeyBlob) -> Result<SecretBytes, HsmError> {
    if blob.binding.pool != root.pool() {
        return Err(HsmError::Unsealable);
    }
    sealed::open(|generation| root.of(generation), Label::Key, &blob.binding.encode(), &blob.sealed)
}
