//! Symmetric keys of 128, 192 and 256 bits: AES-GCM, AES-CBC, AES key wrap, HMAC.

use crate::once::once;
use aes_kw::{KeyInit, KwAes192, KwpAes192};
use aws_lc_rs::aead::{self, AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{self, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::key_wrap::{self, AesBlockCipher, KeyEncryptionKey, KeyWrap, KeyWrapPadded};
use aws_lc_rs::{hmac, rand};
use std::sync::OnceLock;
use strongroom_hsm::HsmError;
use strongroom_hsm::error::ValueName;
use strongroom_model::limits::OPERAND_MAX;
use strongroom_model::{Digest, SecretBytes};
use subtle::{Choice, ConstantTimeEq, ConstantTimeGreater};
use zeroize::Zeroizing;

/// Bytes of an AES block, and of a CBC IV.
const BLOCK: usize = 16;
/// Bytes of a GCM IV.
const NONCE: usize = 12;
/// Bytes of a GCM tag.
const TAG: usize = 16;
/// Bytes that key wrap works in, and adds.
const SEMIBLOCK: usize = 8;

/// The three AES key sizes.
#[derive(Clone, Copy)]
enum Size {
    Aes128,
    Aes192,
    Aes256,
}

/// A symmetric key; what each mechanism makes of it is made on first use.
pub(crate) struct OctKey {
    key: SecretBytes,
    size: Size,
    gcm: OnceLock<Box<LessSafeKey>>,
    cbc: OnceLock<Box<(EncryptingKey, DecryptingKey)>>,
    hmac: [OnceLock<hmac::Key>; 3],
}

/// What GCM encryption gives.
pub(crate) struct GcmSealed {
    pub(crate) ciphertext: Vec<u8>,
    pub(crate) nonce: [u8; NONCE],
    pub(crate) tag: [u8; TAG],
}

impl OctKey {
    pub(crate) fn generate(bits: u32) -> Result<Self, HsmError> {
        let len = usize::try_from(bits / 8).map_err(|_| HsmError::Provider)?;
        Self::new(SecretBytes::fill_with(len, rand::fill).map_err(|_| HsmError::Provider)?)
    }

    /// A key of one of the three sizes.
    pub(crate) fn new(key: SecretBytes) -> Result<Self, HsmError> {
        let size = match key.len() {
            16 => Size::Aes128,
            24 => Size::Aes192,
            32 => Size::Aes256,
            _ => return Err(HsmError::BadMaterial),
        };
        Ok(Self { key, size, gcm: OnceLock::new(), cbc: OnceLock::new(), hmac: Default::default() })
    }

    /// The key itself: what is sealed.
    pub(crate) const fn material(&self) -> &SecretBytes {
        &self.key
    }

    /// Encrypts with AES-GCM under a fresh random IV.
    pub(crate) fn gcm_encrypt(&self, plaintext: &[u8], aad: &[u8]) -> Result<GcmSealed, HsmError> {
        let mut nonce = [0; NONCE];
        rand::fill(&mut nonce).map_err(|_| HsmError::Provider)?;
        self.gcm_encrypt_with(nonce, plaintext, aad)
    }

    /// Encrypts with an IV that was never used with this key.
    pub(crate) fn gcm_encrypt_with(
        &self,
        nonce: [u8; NONCE],
        plaintext: &[u8],
        aad: &[u8],
    ) -> Result<GcmSealed, HsmError> {
        at_most(plaintext, ValueName::Value)?;
        at_most(aad, ValueName::Aad)?;
        let mut sealed = GcmSealed { ciphertext: vec![0; plaintext.len()], nonce, tag: [0; TAG] };
        let nonce = Nonce::assume_unique_for_key(nonce);
        let (out, tag) = (&mut sealed.ciphertext, &mut sealed.tag);
        let done = self.gcm()?.seal_out_of_place_scatter(nonce, Aad::from(aad), plaintext, out, &[], tag);
        done.map(|()| sealed).map_err(|_| HsmError::Provider)
    }

    pub(crate) fn gcm_decrypt(
        &self,
        ciphertext: &[u8],
        iv: Option<&[u8]>,
        aad: &[u8],
        tag: Option<&[u8]>,
    ) -> Result<SecretBytes, HsmError> {
        let nonce: [u8; NONCE] = exactly(iv, ValueName::Iv)?;
        let tag: [u8; TAG] = exactly(tag, ValueName::Tag)?;
        at_most(aad, ValueName::Aad)?;
        let key = self.gcm()?;
        SecretBytes::fill_with(ciphertext.len(), |out| {
            key.open_separate_gather(Nonce::assume_unique_for_key(nonce), Aad::from(aad), ciphertext, &tag, out)
        })
        .map_err(|_| HsmError::Undecryptable)
    }

    /// Encrypts whole blocks with AES-CBC, or anything when `pad` adds PKCS#7 padding.
    pub(crate) fn cbc_encrypt(&self, plaintext: &[u8], iv: Option<&[u8]>, pad: bool) -> Result<Vec<u8>, HsmError> {
        let iv: [u8; BLOCK] = exactly(iv, ValueName::Iv)?;
        at_most(plaintext, ValueName::Value)?;
        let padding = BLOCK - plaintext.len() % BLOCK;
        if !pad && (padding != BLOCK || plaintext.is_empty()) {
            return Err(HsmError::BadLength(ValueName::Value));
        }
        let mut buffer = Zeroizing::new(Vec::with_capacity(plaintext.len() + BLOCK));
        buffer.extend_from_slice(plaintext);
        if pad {
            // 1 to 16, so the conversion cannot fail.
            let byte = u8::try_from(padding).map_err(|_| HsmError::Provider)?;
            buffer.extend(std::iter::repeat_n(byte, padding));
        }
        let context = EncryptionContext::Iv128(FixedLength::from(iv));
        self.cbc()?.0.less_safe_encrypt(&mut buffer, context).map_err(|_| HsmError::Provider)?;
        Ok(std::mem::take(&mut *buffer))
    }

    /// Decrypts AES-CBC; a wrong length and wrong padding are the same [`HsmError::Undecryptable`].
    pub(crate) fn cbc_decrypt(&self, ciphertext: &[u8], iv: Option<&[u8]>, pad: bool) -> Result<SecretBytes, HsmError> {
        let iv: [u8; BLOCK] = exactly(iv, ValueName::Iv)?;
        if ciphertext.is_empty() || !ciphertext.len().is_multiple_of(BLOCK) {
            return Err(HsmError::Undecryptable);
        }
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let context = DecryptionContext::Iv128(FixedLength::from(iv));
        let decrypted = self.cbc()?.1.decrypt(&mut buffer, context).map_err(|_| HsmError::Undecryptable)?;
        let padding = if pad { padding_of(decrypted)? } else { 0 };
        let kept = decrypted.len() - padding;
        Ok(SecretBytes::copy_of(&decrypted[..kept]))
    }

    /// Wraps with KW: whole semiblocks, two at least.
    pub(crate) fn wrap(&self, plaintext: &[u8]) -> Result<Vec<u8>, HsmError> {
        at_most(plaintext, ValueName::Value)?;
        if plaintext.len() < 2 * SEMIBLOCK || !plaintext.len().is_multiple_of(SEMIBLOCK) {
            return Err(HsmError::BadLength(ValueName::Value));
        }
        let mut out = vec![0; plaintext.len() + SEMIBLOCK];
        let wrapped = match self.wrapper() {
            Some(cipher) => self.wrapping(cipher)?.wrap(plaintext, &mut out).is_ok(),
            None => self.kw192()?.wrap_key(plaintext, &mut out).is_ok(),
        };
        if wrapped { Ok(out) } else { Err(HsmError::Provider) }
    }

    pub(crate) fn unwrap(&self, wrapped: &[u8]) -> Result<SecretBytes, HsmError> {
        if wrapped.len() < 3 * SEMIBLOCK || !wrapped.len().is_multiple_of(SEMIBLOCK) {
            return Err(HsmError::Undecryptable);
        }
        let mut out = Zeroizing::new(vec![0; wrapped.len() - SEMIBLOCK]);
        let unwrapped = match self.wrapper() {
            Some(cipher) => self.wrapping(cipher)?.unwrap(wrapped, &mut out).is_ok(),
            None => self.kw192()?.unwrap_key(wrapped, &mut out).is_ok(),
        };
        if unwrapped { Ok(SecretBytes::copy_of(&out)) } else { Err(HsmError::Undecryptable) }
    }

    /// Wraps with KWP: any length but zero.
    pub(crate) fn wrap_padded(&self, plaintext: &[u8]) -> Result<Vec<u8>, HsmError> {
        at_most(plaintext, ValueName::Value)?;
        if plaintext.is_empty() {
            return Err(HsmError::BadLength(ValueName::Value));
        }
        let mut out = vec![0; plaintext.len().next_multiple_of(SEMIBLOCK) + SEMIBLOCK];
        let written = match self.wrapper() {
            Some(cipher) => self.wrapping(cipher)?.wrap_with_padding(plaintext, &mut out).map(|w| w.len()).ok(),
            None => self.kwp192()?.wrap_key(plaintext, &mut out).map(<[u8]>::len).ok(),
        };
        if written == Some(out.len()) { Ok(out) } else { Err(HsmError::Provider) }
    }

    pub(crate) fn unwrap_padded(&self, wrapped: &[u8]) -> Result<SecretBytes, HsmError> {
        if wrapped.len() < 2 * SEMIBLOCK || !wrapped.len().is_multiple_of(SEMIBLOCK) {
            return Err(HsmError::Undecryptable);
        }
        let mut out = Zeroizing::new(vec![0; wrapped.len()]);
        let unwrapped = match self.wrapper() {
            Some(cipher) => {
                self.wrapping(cipher)?.unwrap_with_padding(wrapped, &mut out).map(|p| SecretBytes::copy_of(p)).ok()
            }
            None => self.kwp192()?.unwrap_key(wrapped, &mut out).map(SecretBytes::copy_of).ok(),
        };
        unwrapped.ok_or(HsmError::Undecryptable)
    }

    /// HMAC over a value as long as the digest.
    pub(crate) fn mac(&self, hash: Digest, digest: &[u8]) -> Result<Vec<u8>, HsmError> {
        if digest.len() != hash.size() {
            return Err(HsmError::BadLength(ValueName::Digest));
        }
        self.mac_any(hash, digest)
    }

    /// Whether `signature` is the HMAC of `digest`, compared in constant time.
    pub(crate) fn mac_verify(&self, hash: Digest, digest: &[u8], signature: &[u8]) -> Result<bool, HsmError> {
        let mac = Zeroizing::new(self.mac(hash, digest)?);
        Ok(mac.ct_eq(signature).into())
    }

    /// HMAC over a message of any length.
    pub(crate) fn mac_any(&self, hash: Digest, message: &[u8]) -> Result<Vec<u8>, HsmError> {
        let algorithm = match hash {
            Digest::Sha256 => hmac::HMAC_SHA256,
            Digest::Sha384 => hmac::HMAC_SHA384,
            Digest::Sha512 => hmac::HMAC_SHA512,
        };
        let key = once(&self.hmac[hash as usize], || Ok(hmac::Key::new(algorithm, self.key.expose())))?;
        Ok(hmac::sign(key, message).as_ref().to_vec())
    }

    fn gcm(&self) -> Result<&LessSafeKey, HsmError> {
        let algorithm: &'static aead::Algorithm = match self.size {
            Size::Aes128 => &AES_128_GCM,
            Size::Aes192 => &AES_192_GCM,
            Size::Aes256 => &AES_256_GCM,
        };
        let key = once(&self.gcm, || {
            let key = UnboundKey::new(algorithm, self.key.expose()).map_err(|_| HsmError::Provider)?;
            Ok(Box::new(LessSafeKey::new(key)))
        })?;
        Ok(key)
    }

    fn cbc(&self) -> Result<&(EncryptingKey, DecryptingKey), HsmError> {
        let algorithm = match self.size {
            Size::Aes128 => &cipher::AES_128,
            Size::Aes192 => &cipher::AES_192,
            Size::Aes256 => &cipher::AES_256,
        };
        let key = once(&self.cbc, || {
            let unbound = || UnboundCipherKey::new(algorithm, self.key.expose());
            let pair = EncryptingKey::cbc(unbound().map_err(|_| HsmError::Provider)?)
                .and_then(|encrypting| Ok((encrypting, DecryptingKey::cbc(unbound()?)?)));
            pair.map(Box::new).map_err(|_| HsmError::Provider)
        })?;
        Ok(key)
    }

    /// AWS-LC's key wrap cipher; its Rust interface has none for 192 bits.
    const fn wrapper(&self) -> Option<&'static AesBlockCipher> {
        match self.size {
            Size::Aes128 => Some(&key_wrap::AES_128),
            Size::Aes192 => None,
            Size::Aes256 => Some(&key_wrap::AES_256),
        }
    }

    fn wrapping(&self, cipher: &'static AesBlockCipher) -> Result<KeyEncryptionKey<AesBlockCipher>, HsmError> {
        KeyEncryptionKey::new(cipher, self.key.expose()).map_err(|_| HsmError::Provider)
    }

    fn kw192(&self) -> Result<KwAes192, HsmError> {
        KwAes192::new_from_slice(self.key.expose()).map_err(|_| HsmError::Provider)
    }

    fn kwp192(&self) -> Result<KwpAes192, HsmError> {
        KwpAes192::new_from_slice(self.key.expose()).map_err(|_| HsmError::Provider)
    }
}

/// Bytes of PKCS#7 padding at the end of whole blocks; the time taken does not depend on them.
fn padding_of(blocks: &[u8]) -> Result<usize, HsmError> {
    let Some(last_block) = blocks.last_chunk::<BLOCK>() else { return Err(HsmError::Undecryptable) };
    let count = last_block[BLOCK - 1];
    let mut good = count.ct_gt(&0) & !count.ct_gt(&(BLOCK as u8));
    for (distance, byte) in (0_u8..).zip(last_block.iter().rev()) {
        let in_padding: Choice = count.ct_gt(&distance);
        good &= !in_padding | byte.ct_eq(&count);
    }
    if bool::from(good) { Ok(usize::from(count)) } else { Err(HsmError::Undecryptable) }
}

fn at_most(value: &[u8], name: ValueName) -> Result<(), HsmError> {
    if value.len() <= OPERAND_MAX { Ok(()) } else { Err(HsmError::BadLength(name)) }
}

fn exactly<const N: usize>(value: Option<&[u8]>, name: ValueName) -> Result<[u8; N], HsmError> {
    value.and_then(|v| v.try_into().ok()).ok_or(HsmError::BadLength(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The rule written plainly, to hold the constant-time one against.
    fn plainly(block: &[u8]) -> Option<usize> {
        let count = usize::from(*block.last()?);
        let padded = (1..=BLOCK).contains(&count) && block[BLOCK - count..].iter().all(|b| usize::from(*b) == count);
        padded.then_some(count)
    }

    #[test]
    fn padding_is_read_as_the_plain_rule_reads_it() {
        for count in 0..=255_u8 {
            let mut block = [count; BLOCK];
            assert_eq!(padding_of(&block).ok(), plainly(&block), "all {count}");
            for at in 0..BLOCK {
                block[at] ^= 0x40;
                assert_eq!(padding_of(&block).ok(), plainly(&block), "{count} with byte {at} changed");
                block[at] ^= 0x40;
            }
            let mut filled = [0; BLOCK];
            for byte in filled.iter_mut().rev().take(usize::from(count)) {
                *byte = count;
            }
            filled[BLOCK - 1] = count;
            assert_eq!(padding_of(&filled).ok(), plainly(&filled), "{count} bytes of {count}");
        }
        assert_eq!(padding_of(&[]), Err(HsmError::Undecryptable));
    }

    #[test]
    fn every_length_survives_padding_and_wrapping() {
        for bits in [128, 192, 256] {
            let key = OctKey::generate(bits).unwrap();
            for len in 0..80 {
                let value: Vec<u8> = (0..len).collect();
                let ciphertext = key.cbc_encrypt(&value, Some(&[1; BLOCK]), true).unwrap();
                assert!(key.cbc_decrypt(&ciphertext, Some(&[1; BLOCK]), true).unwrap().same_as(&value));
                let Ok(wrapped) = key.wrap_padded(&value) else {
                    assert!(value.is_empty());
                    continue;
                };
                assert!(key.unwrap_padded(&wrapped).unwrap().same_as(&value));
                for bit in 0..wrapped.len() * 8 {
                    let mut changed = wrapped.clone();
                    changed[bit / 8] ^= 1 << (bit % 8);
                    assert_eq!(key.unwrap_padded(&changed).err(), Some(HsmError::Undecryptable));
                }
            }
        }
    }
}
