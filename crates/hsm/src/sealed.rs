//! The sealed format: how every value at rest is encrypted (DESIGN 6).
//!
//! `format u8 ‖ suite u8 ‖ key generation u32 ‖ salt 32 ‖ commitment 32 ‖ nonce 12 ‖ ciphertext ‖ tag 16`
//!
//! Each value has a key of its own, derived from a random salt, so no nonce is ever counted; and a commitment to that key,
//! so no value opens under two keys.

use crate::error::HsmError;
use crate::verbs::ProviderName;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::kdf::{KbkdfCtrHmacAlgorithmId, get_kbkdf_ctr_hmac_algorithm, kbkdf_ctr_hmac};
use aws_lc_rs::rand;
use std::ops::Range;
use strongroom_model::SecretBytes;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The only format there is.
const FORMAT: u8 = 1;
/// KBKDF-CTR-HMAC-SHA-256 and AES-256-GCM, computed in software: the number names the provider too.
const SUITE: u8 = ProviderName::Software as u8;
/// Bytes of a sealing key: a root, a store key, a key-encryption key.
pub const KEY_LEN: usize = 32;
const HEAD_LEN: usize = 6;
const SALT: Range<usize> = HEAD_LEN..HEAD_LEN + SALT_LEN;
const SALT_LEN: usize = 32;
/// Where the commitment stands, which names one sealing.
pub const COMMITMENT: Range<usize> = SALT.end..SALT.end + COMMITMENT_LEN;
const COMMITMENT_LEN: usize = 32;
const NONCE: Range<usize> = COMMITMENT.end..COMMITMENT.end + NONCE_LEN;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
/// Bytes that sealing adds to a value.
pub const OVERHEAD: usize = NONCE.end + TAG_LEN;

/// What a sealed value is for; a value sealed for one purpose never opens for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// A pool's roots, under the node's key-encryption key.
    Root,
    /// A key, under a root.
    Key,
    /// The store key, under the second key of the seal.
    StoreKey,
    /// A record, under the store key.
    StoreRecord,
    /// A secret's value, under a root.
    SecretValue,
    /// A part of a backup, under a root.
    BackupPart,
}

impl Label {
    /// Every label.
    pub const ALL: &[Self] =
        &[Self::Root, Self::Key, Self::StoreKey, Self::StoreRecord, Self::SecretValue, Self::BackupPart];

    /// The label of the key derivation: part of the format, never changed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "strongroom/root",
            Self::Key => "strongroom/key",
            Self::StoreKey => "strongroom/store-key",
            Self::StoreRecord => "strongroom/store-record",
            Self::SecretValue => "strongroom/secret-value",
            Self::BackupPart => "strongroom/backup-part",
        }
    }
}

/// Seals `plaintext` for one purpose under `key` (32 bytes), bound to `binding`.
pub fn seal(
    key: &SecretBytes,
    generation: u32,
    label: Label,
    binding: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, HsmError> {
    let mut fresh = [0; SALT_LEN + NONCE_LEN];
    rand::fill(&mut fresh).map_err(|_| HsmError::Provider)?;
    seal_with(key, generation, label, binding, plaintext, &fresh)
}

/// Seals with a given `salt ‖ nonce`, which must be fresh.
fn seal_with(
    key: &SecretBytes,
    generation: u32,
    label: Label,
    binding: &[u8],
    plaintext: &[u8],
    fresh: &[u8; SALT_LEN + NONCE_LEN],
) -> Result<Vec<u8>, HsmError> {
    let (salt, nonce) = fresh.split_at(SALT_LEN);
    let aad = associated_data(generation, binding);
    let derived = derive(key, label, salt, &aad)?;
    let mut sealed = Vec::with_capacity(OVERHEAD + plaintext.len());
    sealed.extend_from_slice(aad.get(..HEAD_LEN).unwrap_or_default());
    sealed.extend_from_slice(salt);
    sealed.extend_from_slice(derived.commitment());
    sealed.extend_from_slice(nonce);
    sealed.resize(OVERHEAD + plaintext.len(), 0);
    let (ciphertext, tag) = sealed[NONCE.end..].split_at_mut(plaintext.len());
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| HsmError::Provider)?;
    let encrypted =
        derived.cipher()?.seal_out_of_place_scatter(nonce, Aad::from(&aad), plaintext, ciphertext, &[], tag);
    encrypted.map_err(|_| HsmError::Provider)?;
    Ok(sealed)
}

/// Opens what [`seal`] made, when key, purpose and binding are the same; `key_of` finds the key of a generation.
///
/// Every failure is [`HsmError::Unsealable`].
pub fn open<'k>(
    key_of: impl FnOnce(u32) -> Option<&'k SecretBytes>,
    label: Label,
    binding: &[u8],
    sealed: &[u8],
) -> Result<SecretBytes, HsmError> {
    let generation = generation(sealed)?;
    let key = key_of(generation).ok_or(HsmError::Unsealable)?;
    let aad = associated_data(generation, binding);
    let derived = derive(key, label, &sealed[SALT], &aad)?;
    if !bool::from(derived.commitment().ct_eq(&sealed[COMMITMENT])) {
        return Err(HsmError::Unsealable);
    }
    let nonce = Nonce::try_assume_unique_for_key(&sealed[NONCE]).map_err(|_| HsmError::Unsealable)?;
    let (ciphertext, tag) = sealed[NONCE.end..].split_at(sealed.len() - OVERHEAD);
    let cipher = derived.cipher()?;
    SecretBytes::fill_with(ciphertext.len(), |plaintext| {
        cipher.open_separate_gather(nonce, Aad::from(&aad), ciphertext, tag, plaintext)
    })
    .map_err(|_| HsmError::Unsealable)
}

/// The key generation that a sealed value names; an error when it is none of this format.
pub fn generation(sealed: &[u8]) -> Result<u32, HsmError> {
    match sealed.first_chunk::<HEAD_LEN>() {
        Some([FORMAT, SUITE, generation @ ..]) if sealed.len() >= OVERHEAD => Ok(u32::from_be_bytes(*generation)),
        Some(_) | None => Err(HsmError::Unsealable),
    }
}

/// `format ‖ suite ‖ generation ‖ binding`.
fn associated_data(generation: u32, binding: &[u8]) -> Vec<u8> {
    let mut aad = Vec::with_capacity(HEAD_LEN + binding.len());
    aad.extend_from_slice(&[FORMAT, SUITE]);
    aad.extend_from_slice(&generation.to_be_bytes());
    aad.extend_from_slice(binding);
    aad
}

/// An AES-256 key and the commitment to it.
struct Derived(Zeroizing<[u8; KEY_LEN + COMMITMENT_LEN]>);

impl Derived {
    fn commitment(&self) -> &[u8] {
        &self.0[KEY_LEN..]
    }

    fn cipher(&self) -> Result<LessSafeKey, HsmError> {
        let key = UnboundKey::new(&AES_256_GCM, &self.0[..KEY_LEN]);
        key.map(LessSafeKey::new).map_err(|_| HsmError::Provider)
    }
}

/// SP 800-108, 4.1: the fixed input is `label ‖ 0 ‖ context ‖ length in bits`, the context `salt ‖ SHA-256(AAD)`.
fn derive(key: &SecretBytes, label: Label, salt: &[u8], aad: &[u8]) -> Result<Derived, HsmError> {
    const BITS: u32 = 8 * (KEY_LEN + COMMITMENT_LEN) as u32;
    if key.len() != KEY_LEN {
        return Err(HsmError::Provider);
    }
    let mut hash = Context::new(&SHA256);
    hash.update(aad);
    let mut info = Vec::with_capacity(128);
    info.extend_from_slice(label.as_str().as_bytes());
    info.push(0);
    info.extend_from_slice(salt);
    info.extend_from_slice(hash.finish().as_ref());
    info.extend_from_slice(&BITS.to_be_bytes());
    let kdf = get_kbkdf_ctr_hmac_algorithm(KbkdfCtrHmacAlgorithmId::Sha256).ok_or(HsmError::Provider)?;
    let mut derived = Derived(Zeroizing::new([0; KEY_LEN + COMMITMENT_LEN]));
    kbkdf_ctr_hmac(kdf, key.expose(), &info, derived.0.as_mut_slice()).map_err(|_| HsmError::Provider)?;
    Ok(derived)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BINDING: &[u8] = b"pool and name";

    fn key(byte: u8) -> SecretBytes {
        SecretBytes::new(vec![byte; KEY_LEN])
    }

    fn open_with(key: &SecretBytes, label: Label, binding: &[u8], sealed: &[u8]) -> Result<SecretBytes, HsmError> {
        open(|generation| (generation == 7).then_some(key), label, binding, sealed)
    }

    #[test]
    fn the_format_is_pinned_to_the_byte() {
        let fresh: [u8; SALT_LEN + NONCE_LEN] = std::array::from_fn(|i| i as u8);
        let sealed = seal_with(&key(0x42), 7, Label::Key, BINDING, b"a value", &fresh).unwrap();
        assert_eq!(hex::encode(&sealed), include_str!("../tests/golden/sealed.hex").trim());
        assert_eq!(sealed.len(), OVERHEAD + 7);
        assert_eq!(open_with(&key(0x42), Label::Key, BINDING, &sealed).unwrap().expose(), b"a value");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let key = key(1);
        let sealed = seal(&key, 7, Label::StoreRecord, BINDING, b"value").unwrap();
        assert!(open(|_| Some(&key), Label::StoreRecord, BINDING, &sealed).is_ok());
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let opened = open(|_| Some(&key), Label::StoreRecord, BINDING, &changed);
            assert_eq!(opened.err(), Some(HsmError::Unsealable), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert!(open_with(&key, Label::StoreRecord, BINDING, &sealed[..len]).is_err(), "{len}");
        }
        let longer = [sealed.as_slice(), &[0]].concat();
        assert!(open_with(&key, Label::StoreRecord, BINDING, &longer).is_err());
    }

    #[test]
    fn a_value_opens_for_its_purpose_binding_key_and_generation_only() {
        for label in Label::ALL {
            let sealed = seal(&key(1), 7, *label, BINDING, b"").unwrap();
            assert_eq!(generation(&sealed), Ok(7));
            for other in Label::ALL {
                assert_eq!(open_with(&key(1), *other, BINDING, &sealed).is_ok(), label == other);
            }
            assert!(open_with(&key(2), *label, BINDING, &sealed).is_err());
            assert!(open(|_| None, *label, BINDING, &sealed).is_err());
            for binding in [&b""[..], b"pool and namf", b"pool and name2", b"pool and nam"] {
                assert!(open_with(&key(1), *label, binding, &sealed).is_err());
            }
        }
    }

    #[test]
    fn the_same_value_never_seals_to_the_same_bytes() {
        let (a, b) = (seal(&key(1), 7, Label::Key, b"", b"x"), seal(&key(1), 7, Label::Key, b"", b"x"));
        assert_ne!(a.unwrap()[SALT.start..], b.unwrap()[SALT.start..]);
    }

    #[test]
    fn a_key_of_another_length_is_no_key() {
        for len in [0, 16, 31, 33] {
            assert_eq!(seal(&SecretBytes::new(vec![1; len]), 1, Label::Key, b"", b"x").err(), Some(HsmError::Provider));
        }
    }
}
