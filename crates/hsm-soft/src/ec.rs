//! ECDSA over P-256, P-384, P-521 (AWS-LC) and secp256k1 (`k256`, several times faster there).

use crate::rsa::{hashed, stripped};
use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::rand;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_FIXED,
    ECDSA_P256K1_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    EcdsaVerificationAlgorithm, KeyPair as _, ParsedPublicKey,
};
use k256::ecdsa::signature::hazmat::{PrehashVerifier, RandomizedPrehashSigner};
use k256::ecdsa::{Signature, SigningKey, VerifyingKey};
use k256::elliptic_curve::rand_core::{TryCryptoRng, TryRng};
use strongroom_hsm::HsmError;
use strongroom_hsm::verbs::PublicKey;
use strongroom_model::{Curve, Digest, SecretBytes};
use zeroize::{Zeroize, Zeroizing};

/// A public key on its curve.
pub(crate) struct EcPublic {
    curve: Curve,
    /// `4 ‖ x ‖ y`.
    point: Vec<u8>,
    verifying: Verifying,
}

enum Verifying {
    AwsLc(ParsedPublicKey),
    K256(Box<VerifyingKey>),
}

impl EcPublic {
    /// A point given as `4 ‖ x ‖ y`: both coordinates in range, on the curve, not at infinity.
    fn new(curve: Curve, point: Vec<u8>) -> Result<Self, HsmError> {
        if point.len() != 1 + 2 * curve.coordinate_len() || point.first() != Some(&4) {
            return Err(HsmError::BadMaterial);
        }
        let verifying = match curve {
            Curve::P256K => {
                let key = VerifyingKey::from_sec1_bytes(&point).map_err(|_| HsmError::BadMaterial)?;
                Verifying::K256(Box::new(key))
            }
            Curve::P256 | Curve::P384 | Curve::P521 => {
                let key = ParsedPublicKey::new(verification(curve), &point).map_err(|_| HsmError::BadMaterial)?;
                Verifying::AwsLc(key)
            }
        };
        Ok(Self { curve, point, verifying })
    }

    /// A point given by its coordinates, leading zeros allowed or missing.
    pub(crate) fn from_coordinates(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, HsmError> {
        let len = curve.coordinate_len();
        let mut point = vec![0; 1 + 2 * len];
        point[0] = 4;
        right_aligned(x, &mut point[1..=len])?;
        right_aligned(y, &mut point[1 + len..])?;
        Self::new(curve, point)
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        let (x, y) = self.point[1..].split_at(self.curve.coordinate_len());
        PublicKey::Ec { curve: self.curve, x: x.to_vec(), y: y.to_vec() }
    }

    /// Whether `signature` is `r ‖ s` over `digest`; of `s` and `n - s` both count.
    pub(crate) fn verify(&self, digest: &[u8], signature: &[u8]) -> Result<bool, HsmError> {
        let hash = hash_of(self.curve);
        let digest = hashed(hash, digest)?;
        if signature.len() != 2 * self.curve.coordinate_len() {
            return Ok(false);
        }
        Ok(match &self.verifying {
            Verifying::AwsLc(key) => key.verify_digest_sig(&digest, signature).is_ok(),
            Verifying::K256(key) => Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_prehash(digest.as_ref(), &signature.normalize_s()).is_ok()),
        })
    }
}

/// A private key, parsed.
pub(crate) struct EcKey {
    pub(crate) public: EcPublic,
    signing: Signing,
}

enum Signing {
    AwsLc(EcdsaKeyPair),
    K256(Box<SigningKey>),
}

impl EcKey {
    pub(crate) fn generate(curve: Curve) -> Result<Self, HsmError> {
        // The library draws the scalar for every curve; k256 only computes with it.
        let pair = EcdsaKeyPair::generate(signature(curve)).map_err(|_| HsmError::Provider)?;
        let scalar: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().map_err(|_| HsmError::Provider)?;
        Self::new(curve, scalar.as_ref(), pair.public_key().as_ref().to_vec())
    }

    /// A key given by its scalar, `1 ≤ d < n` at full length, and the point that must belong to it.
    fn new(curve: Curve, scalar: &[u8], point: Vec<u8>) -> Result<Self, HsmError> {
        let signing = match curve {
            Curve::P256K => {
                let key = SigningKey::from_slice(scalar).map_err(|_| HsmError::BadMaterial)?;
                if key.verifying_key().to_sec1_point(false).as_bytes() != point {
                    return Err(HsmError::BadMaterial);
                }
                Signing::K256(Box::new(key))
            }
            Curve::P256 | Curve::P384 | Curve::P521 => {
                let pair = EcdsaKeyPair::from_private_key_and_public_key(signature(curve), scalar, &point);
                Signing::AwsLc(pair.map_err(|_| HsmError::BadMaterial)?)
            }
        };
        Ok(Self { public: EcPublic::new(curve, point)?, signing })
    }

    /// Takes over a key given as a JWK has it, leading zeros allowed or missing.
    pub(crate) fn import(curve: Curve, x: &[u8], y: &[u8], d: &[u8]) -> Result<Self, HsmError> {
        let public = EcPublic::from_coordinates(curve, x, y)?;
        let mut scalar = Zeroizing::new(vec![0; curve.coordinate_len()]);
        right_aligned(d, &mut scalar)?;
        Self::new(curve, &scalar, public.point)
    }

    /// `d ‖ 4 ‖ x ‖ y`: what is sealed.
    pub(crate) fn material(&self) -> Result<SecretBytes, HsmError> {
        let len = self.public.curve.coordinate_len();
        SecretBytes::fill_with(len + self.public.point.len(), |out| {
            let (scalar, point) = out.split_at_mut(len);
            point.copy_from_slice(&self.public.point);
            match &self.signing {
                Signing::AwsLc(pair) => {
                    let bytes: EcPrivateKeyBin<'_> =
                        pair.private_key().as_be_bytes().map_err(|_| HsmError::Provider)?;
                    scalar.copy_from_slice(bytes.as_ref());
                }
                Signing::K256(key) => {
                    let mut bytes = key.to_bytes();
                    scalar.copy_from_slice(&bytes);
                    bytes.as_mut_slice().zeroize();
                }
            }
            Ok(())
        })
    }

    pub(crate) fn from_material(curve: Curve, material: &[u8]) -> Result<Self, HsmError> {
        let (scalar, point) = material.split_at_checked(curve.coordinate_len()).ok_or(HsmError::Unsealable)?;
        Self::new(curve, scalar, point.to_vec()).map_err(|_| HsmError::Unsealable)
    }

    /// Signs a digest as `r ‖ s`.
    pub(crate) fn sign(&self, digest: &[u8]) -> Result<Vec<u8>, HsmError> {
        let digest = hashed(hash_of(self.public.curve), digest)?;
        match &self.signing {
            Signing::AwsLc(pair) => {
                let signature = pair.sign_digest(&digest).map_err(|_| HsmError::Provider)?;
                Ok(signature.as_ref().to_vec())
            }
            Signing::K256(key) => {
                let signature: Signature =
                    key.sign_prehash_with_rng(&mut Random, digest.as_ref()).map_err(|_| HsmError::Provider)?;
                Ok(signature.to_bytes().to_vec())
            }
        }
    }

    /// One signature made and verified: proves that the two halves belong together.
    pub(crate) fn pairwise(&self) -> Result<(), HsmError> {
        let digest = [0x5a; 64];
        let digest = &digest[..hash_of(self.public.curve).size()];
        let signature = self.sign(digest)?;
        if self.public.verify(digest, &signature)? { Ok(()) } else { Err(HsmError::SelfCheck) }
    }
}

/// AWS-LC's random generator, as `k256` takes one: it hedges the deterministic nonce of RFC 6979.
struct Random;

impl TryRng for Random {
    type Error = aws_lc_rs::error::Unspecified;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        rand::fill(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        rand::fill(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        rand::fill(out)
    }
}

impl TryCryptoRng for Random {}

/// The hash that the API pairs with each curve.
const fn hash_of(curve: Curve) -> Digest {
    match curve {
        Curve::P256 | Curve::P256K => Digest::Sha256,
        Curve::P384 => Digest::Sha384,
        Curve::P521 => Digest::Sha512,
    }
}

const fn verification(curve: Curve) -> &'static EcdsaVerificationAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_FIXED,
        Curve::P256K => &ECDSA_P256K1_SHA256_FIXED,
        Curve::P384 => &ECDSA_P384_SHA384_FIXED,
        Curve::P521 => &ECDSA_P521_SHA512_FIXED,
    }
}

const fn signature(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
        Curve::P256K => &ECDSA_P256K1_SHA256_FIXED_SIGNING,
        Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        Curve::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
    }
}

/// Writes an integer to the end of `out`, which is zero before it.
fn right_aligned(integer: &[u8], out: &mut [u8]) -> Result<(), HsmError> {
    let digits = stripped(integer);
    let start = out.len().checked_sub(digits.len()).ok_or(HsmError::BadMaterial)?;
    out[start..].copy_from_slice(digits);
    Ok(())
}
