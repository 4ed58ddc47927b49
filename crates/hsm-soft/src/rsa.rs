//! RSA: 2048, 3072 and 4096 bits, public exponent 65537 (RFC 8017).

use crate::fault;
use crate::once::once;
use aws_lc_rs::digest::{self, Digest as Hashed};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{
    KeyPair, KeyPairComponents, KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm,
    OaepPrivateDecryptingKey, OaepPublicEncryptingKey, Pkcs1PrivateDecryptingKey, Pkcs1PublicEncryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey, PublicKeyComponents,
};
use aws_lc_rs::signature::{
    KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaParameters,
};
use crypto_bigint::BoxedUint;
use crypto_primes::Flavor;
use std::sync::OnceLock;
use strongroom_hsm::HsmError;
use strongroom_hsm::error::ValueName;
use strongroom_hsm::verbs::PublicKey;
use strongroom_model::{Digest, KeySpec, SecretBytes};
use zeroize::Zeroizing;

/// 65537, the only public exponent.
const EXPONENT: &[u8] = &[1, 0, 1];
/// Top bytes of the primes' difference, one of which must not be zero: at least the distance that FIPS 186-5, A.1.3, asks for
/// (there 100 bits, here 96).
const PRIMES_DIFFER_IN: usize = 12;

/// How a signature is padded.
#[derive(Clone, Copy)]
pub(crate) enum Scheme {
    Pkcs1 = 0,
    Pss = 1,
}

/// How a plaintext is padded.
#[derive(Clone, Copy)]
pub(crate) enum Padding {
    Pkcs1,
    OaepSha1,
    OaepSha256,
}

impl Padding {
    /// Bytes that the padding takes at least.
    const fn overhead(self) -> usize {
        match self {
            Self::Pkcs1 => 11,
            Self::OaepSha1 => 2 * 20 + 2,
            Self::OaepSha256 => 2 * 32 + 2,
        }
    }

    const fn oaep(self) -> Option<&'static OaepAlgorithm> {
        match self {
            Self::Pkcs1 => None,
            Self::OaepSha1 => Some(&OAEP_SHA1_MGF1SHA1),
            Self::OaepSha256 => Some(&OAEP_SHA256_MGF1SHA256),
        }
    }
}

/// A public key, parsed.
pub(crate) struct RsaPublic {
    n: Vec<u8>,
    encrypting: PublicEncryptingKey,
    /// One for each scheme and digest, made on first use.
    verifying: [OnceLock<ParsedPublicKey>; 6],
}

impl RsaPublic {
    /// A key of an offered size with exponent 65537; integers without leading zeros.
    pub(crate) fn new(n: &[u8], e: &[u8]) -> Result<Self, HsmError> {
        let bits = bit_len(n);
        if !matches!(bits, 2048 | 3072 | 4096) || e != EXPONENT || n.last().is_none_or(|last| last % 2 == 0) {
            return Err(HsmError::BadMaterial);
        }
        let encrypting = components(n).try_into().map_err(|_| HsmError::BadMaterial)?;
        Ok(Self { n: n.to_vec(), encrypting, verifying: Default::default() })
    }

    /// Bytes of the modulus.
    pub(crate) const fn size(&self) -> usize {
        self.n.len()
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        PublicKey::Rsa { n: self.n.clone(), e: EXPONENT.to_vec() }
    }

    /// Whether `signature` is one over `digest`.
    pub(crate) fn verify(
        &self,
        scheme: Scheme,
        hash: Digest,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, HsmError> {
        let digest = hashed(hash, digest)?;
        let cell = &self.verifying[3 * scheme as usize + hash as usize];
        let key = once(cell, || {
            components(&self.n).to_parsed_public_key(parameters(scheme, hash)).map_err(|_| HsmError::Provider)
        })?;
        Ok(signature.len() == self.size() && key.verify_digest_sig(&digest, signature).is_ok())
    }

    pub(crate) fn encrypt(&self, padding: Padding, plaintext: &[u8]) -> Result<Vec<u8>, HsmError> {
        if plaintext.len() + padding.overhead() > self.size() {
            return Err(HsmError::BadLength(ValueName::Value));
        }
        let mut ciphertext = vec![0; self.size()];
        let key = self.encrypting.clone();
        let written = match padding.oaep() {
            Some(oaep) => OaepPublicEncryptingKey::new(key)
                .and_then(|key| key.encrypt(oaep, plaintext, &mut ciphertext, None).map(|c| c.len())),
            None => Pkcs1PublicEncryptingKey::new(key)
                .and_then(|key| key.encrypt(plaintext, &mut ciphertext).map(|c| c.len())),
        };
        match written {
            Ok(len) if len == self.size() => Ok(ciphertext),
            Ok(_) | Err(_) => Err(HsmError::Provider),
        }
    }
}

/// A private key, parsed.
pub(crate) struct RsaKey {
    pub(crate) public: RsaPublic,
    signing: KeyPair,
    /// The same key in the library's other type, made on the first decryption.
    decrypting: OnceLock<PrivateDecryptingKey>,
}

impl RsaKey {
    fn new(signing: KeyPair) -> Result<Self, HsmError> {
        let public = PublicKeyComponents::<Vec<u8>>::from(signing.public_key());
        let public = RsaPublic::new(&public.n, &public.e)?;
        Ok(Self { public, signing, decrypting: OnceLock::new() })
    }

    pub(crate) fn generate(size: KeySize) -> Result<Self, HsmError> {
        Self::new(KeyPair::generate(size).map_err(|_| HsmError::Provider)?)
    }

    /// Takes over a key given by its numbers, which must all be there and agree.
    pub(crate) fn import(spec: KeySpec, numbers: &KeyPairComponents<&[u8]>) -> Result<Self, HsmError> {
        let numbers = KeyPairComponents {
            public_key: PublicKeyComponents { n: stripped(numbers.public_key.n), e: stripped(numbers.public_key.e) },
            d: stripped(numbers.d),
            p: stripped(numbers.p),
            q: stripped(numbers.q),
            dP: stripped(numbers.dP),
            dQ: stripped(numbers.dQ),
            qInv: stripped(numbers.qInv),
        };
        let n = numbers.public_key.n;
        let half = 8 * n.len() / 2;
        let sizes = Ok(bit_len(n)) == usize::try_from(spec.row().bits)
            && bit_len(numbers.p) == half
            && bit_len(numbers.q) == half
            && numbers.d.len() <= n.len()
            && [numbers.dP, numbers.dQ, numbers.qInv].iter().all(|part| part.len() <= n.len() / 2);
        if !sizes || numbers.public_key.e != EXPONENT || !far_apart(numbers.p, numbers.q) {
            return Err(HsmError::BadMaterial);
        }
        let key = KeyPair::from_components(&numbers).map_err(|_| HsmError::BadMaterial)?;
        if !is_prime(numbers.p) || !is_prime(numbers.q) {
            return Err(HsmError::BadMaterial);
        }
        Self::new(key)
    }

    /// The private key as PKCS#8: what is sealed.
    pub(crate) fn material(&self) -> Result<Pkcs8V1Der<'static>, HsmError> {
        self.signing.as_der().map_err(|_| HsmError::Provider)
    }

    pub(crate) fn from_material(material: &[u8]) -> Result<Self, HsmError> {
        Self::new(KeyPair::from_pkcs8(material).map_err(|_| HsmError::Unsealable)?)
    }

    /// Signs a digest; the signature leaves only when it verifies.
    pub(crate) fn sign(&self, scheme: Scheme, hash: Digest, digest: &[u8]) -> Result<Vec<u8>, HsmError> {
        let mut signature = vec![0; self.public.size()];
        let signed = self.signing.sign_digest(encoding(scheme, hash), &hashed(hash, digest)?, &mut signature);
        signed.map_err(|_| HsmError::SelfCheck)?;
        fault::strike(&mut signature);
        if self.public.verify(scheme, hash, digest, &signature)? { Ok(signature) } else { Err(HsmError::SelfCheck) }
    }

    /// Decrypts; every failure is the same [`HsmError::Undecryptable`].
    pub(crate) fn decrypt(&self, padding: Padding, ciphertext: &[u8]) -> Result<SecretBytes, HsmError> {
        if ciphertext.len() != self.public.size() {
            return Err(HsmError::Undecryptable);
        }
        let key = once(&self.decrypting, || {
            PrivateDecryptingKey::from_pkcs8(self.material()?.as_ref()).map_err(|_| HsmError::Provider)
        })?
        .clone();
        let mut buffer = Zeroizing::new(vec![0; ciphertext.len()]);
        let plaintext = match padding.oaep() {
            Some(oaep) => OaepPrivateDecryptingKey::new(key).and_then(|key| {
                key.decrypt(oaep, ciphertext, &mut buffer, None).map(|plaintext| SecretBytes::copy_of(plaintext))
            }),
            None => Pkcs1PrivateDecryptingKey::new(key)
                .and_then(|key| key.decrypt(ciphertext, &mut buffer).map(|plaintext| SecretBytes::copy_of(plaintext))),
        };
        plaintext.map_err(|_| HsmError::Undecryptable)
    }

    /// One signature made and verified: proves that the two halves belong together.
    pub(crate) fn pairwise(&self) -> Result<(), HsmError> {
        self.sign(Scheme::Pkcs1, Digest::Sha256, &[0x5a; 32]).map(|_| ())
    }
}

fn components(n: &[u8]) -> PublicKeyComponents<&[u8]> {
    PublicKeyComponents { n, e: EXPONENT }
}

/// A digest that came from outside, as the library takes it.
pub(crate) fn hashed(hash: Digest, digest: &[u8]) -> Result<Hashed, HsmError> {
    let algorithm = match hash {
        Digest::Sha256 => &digest::SHA256,
        Digest::Sha384 => &digest::SHA384,
        Digest::Sha512 => &digest::SHA512,
    };
    Hashed::import_less_safe(digest, algorithm).map_err(|_| HsmError::BadLength(ValueName::Digest))
}

fn encoding(scheme: Scheme, hash: Digest) -> &'static dyn RsaEncoding {
    match (scheme, hash) {
        (Scheme::Pkcs1, Digest::Sha256) => &RSA_PKCS1_SHA256,
        (Scheme::Pkcs1, Digest::Sha384) => &RSA_PKCS1_SHA384,
        (Scheme::Pkcs1, Digest::Sha512) => &RSA_PKCS1_SHA512,
        (Scheme::Pss, Digest::Sha256) => &RSA_PSS_SHA256,
        (Scheme::Pss, Digest::Sha384) => &RSA_PSS_SHA384,
        (Scheme::Pss, Digest::Sha512) => &RSA_PSS_SHA512,
    }
}

fn parameters(scheme: Scheme, hash: Digest) -> &'static RsaParameters {
    match (scheme, hash) {
        (Scheme::Pkcs1, Digest::Sha256) => &RSA_PKCS1_2048_8192_SHA256,
        (Scheme::Pkcs1, Digest::Sha384) => &RSA_PKCS1_2048_8192_SHA384,
        (Scheme::Pkcs1, Digest::Sha512) => &RSA_PKCS1_2048_8192_SHA512,
        (Scheme::Pss, Digest::Sha256) => &RSA_PSS_2048_8192_SHA256,
        (Scheme::Pss, Digest::Sha384) => &RSA_PSS_2048_8192_SHA384,
        (Scheme::Pss, Digest::Sha512) => &RSA_PSS_2048_8192_SHA512,
    }
}

/// A big-endian integer without its leading zeros.
pub(crate) fn stripped(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    &bytes[zeros..]
}

/// Bits of an integer without leading zeros.
fn bit_len(bytes: &[u8]) -> usize {
    bytes.first().map_or(0, |first| 8 * bytes.len() - first.leading_zeros() as usize)
}

/// Baillie, Pomerance, Selfridge and Wagstaff's test (FIPS 186-5, appendix B.3 and C.5): no composite is known to pass it.
/// AWS-LC compares the numbers of an imported key and does not ask this; Carmichael numbers agree with everything it compares.
fn is_prime(number: &[u8]) -> bool {
    let number = Zeroizing::new(BoxedUint::from_be_slice_vartime(number));
    crypto_primes::is_prime(Flavor::Any, &*number)
}

/// Whether the difference of two numbers of equal length is so large that Fermat's method finds neither.
fn far_apart(p: &[u8], q: &[u8]) -> bool {
    let (larger, smaller) = if p > q { (p, q) } else { (q, p) };
    let mut difference = Zeroizing::new(vec![0; larger.len()]);
    let mut borrow = false;
    for (out, (a, b)) in difference.iter_mut().zip(larger.iter().zip(smaller)).rev() {
        let (partial, first) = a.overflowing_sub(*b);
        let (digit, second) = partial.overflowing_sub(u8::from(borrow));
        *out = digit;
        borrow = first || second;
    }
    difference.iter().take(PRIMES_DIFFER_IN).any(|byte| *byte != 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_faulty_signature_never_leaves() {
        let key = RsaKey::generate(KeySize::Rsa2048).unwrap();
        let digest = [7; 64];
        for hash in [Digest::Sha256, Digest::Sha384, Digest::Sha512] {
            for scheme in [Scheme::Pkcs1, Scheme::Pss] {
                let sign = || key.sign(scheme, hash, &digest[..hash.size()]);
                for bit in [0, 1, 1024, 2047] {
                    fault::BIT.set(Some(bit));
                    assert_eq!(sign(), Err(HsmError::SelfCheck), "bit {bit}");
                }
                fault::BIT.set(None);
                assert!(sign().is_ok());
            }
        }
        fault::BIT.set(Some(5));
        assert_eq!(key.pairwise(), Err(HsmError::SelfCheck));
        fault::BIT.set(None);
    }

    #[test]
    fn near_primes_are_seen_across_a_carry_too() {
        let number = |top: u8, rest: u8| [vec![0xc0, top], vec![rest; 126]].concat();
        assert!(!far_apart(&number(1, 0), &number(0, 0xff)), "neighbours that share no byte");
        assert!(!far_apart(&number(1, 0), &number(1, 0)));
        let mut other = number(1, 0);
        other[PRIMES_DIFFER_IN] = 0xff;
        assert!(!far_apart(&number(1, 0), &other));
        other[PRIMES_DIFFER_IN - 1] = 1;
        assert!(far_apart(&number(1, 0), &other) && far_apart(&other, &number(1, 0)));
    }
}
