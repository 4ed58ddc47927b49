//! An opened key of any kind: made, imported, sealed, opened, used.

use crate::ec::EcKey;
use crate::oct::OctKey;
use crate::rsa::{Padding, RsaKey, Scheme};
use aws_lc_rs::rsa::{KeyPairComponents, KeySize, PublicKeyComponents};
use strongroom_hsm::HsmError;
use strongroom_hsm::error::ValueName;
use strongroom_hsm::verbs::{Input, KeyMaterial, Output, PublicKey};
use strongroom_model::algorithm::Mechanism;
use strongroom_model::{Curve, Digest, KeySpec, SecretBytes};

/// An opened key.
pub struct SoftKey {
    spec: KeySpec,
    secret: Secret,
}

enum Secret {
    Rsa(Box<RsaKey>),
    Ec(Box<EcKey>),
    Oct(Box<OctKey>),
}

/// What a spec asks for, with its size or curve.
enum Kind {
    Rsa(KeySize),
    Ec(Curve),
    Oct(u32),
}

const fn kind(spec: KeySpec) -> Kind {
    match spec {
        KeySpec::Rsa2048 => Kind::Rsa(KeySize::Rsa2048),
        KeySpec::Rsa3072 => Kind::Rsa(KeySize::Rsa3072),
        KeySpec::Rsa4096 => Kind::Rsa(KeySize::Rsa4096),
        KeySpec::EcP256 => Kind::Ec(Curve::P256),
        KeySpec::EcP256K => Kind::Ec(Curve::P256K),
        KeySpec::EcP384 => Kind::Ec(Curve::P384),
        KeySpec::EcP521 => Kind::Ec(Curve::P521),
        KeySpec::Oct128 => Kind::Oct(128),
        KeySpec::Oct192 => Kind::Oct(192),
        KeySpec::Oct256 => Kind::Oct(256),
    }
}

impl SoftKey {
    pub(crate) fn generate(spec: KeySpec) -> Result<Self, HsmError> {
        let secret = match kind(spec) {
            Kind::Rsa(size) => Secret::Rsa(Box::new(RsaKey::generate(size)?)),
            Kind::Ec(curve) => Secret::Ec(Box::new(EcKey::generate(curve)?)),
            Kind::Oct(bits) => Secret::Oct(Box::new(OctKey::generate(bits)?)),
        };
        let key = Self { spec, secret };
        key.pairwise()?;
        Ok(key)
    }

    /// Takes over a key that came in the clear, after every check there is.
    pub(crate) fn import(spec: KeySpec, material: KeyMaterial) -> Result<Self, HsmError> {
        let secret = match (kind(spec), material) {
            (Kind::Rsa(_), KeyMaterial::Rsa { n, e, d, p, q, dp, dq, qi }) => {
                let numbers = KeyPairComponents {
                    public_key: PublicKeyComponents { n: n.as_slice(), e: e.as_slice() },
                    d: d.expose(),
                    p: p.expose(),
                    q: q.expose(),
                    dP: dp.expose(),
                    dQ: dq.expose(),
                    qInv: qi.expose(),
                };
                Secret::Rsa(Box::new(RsaKey::import(spec, &numbers)?))
            }
            (Kind::Ec(wanted), KeyMaterial::Ec { curve, x, y, d }) if wanted == curve => {
                Secret::Ec(Box::new(EcKey::import(curve, &x, &y, d.expose())?))
            }
            (Kind::Oct(bits), KeyMaterial::Oct { k }) if Ok(8 * k.len()) == usize::try_from(bits) => {
                Secret::Oct(Box::new(OctKey::new(k)?))
            }
            (Kind::Rsa(_) | Kind::Ec(_) | Kind::Oct(_), _) => return Err(HsmError::BadMaterial),
        };
        let key = Self { spec, secret };
        // Halves that pass every other check and still do not compute: composite "primes".
        key.pairwise().map_err(|_| HsmError::BadMaterial)?;
        Ok(key)
    }

    /// Parses what [`SoftKey::with_material`] gave for sealing.
    pub(crate) fn open(spec: KeySpec, material: SecretBytes) -> Result<Self, HsmError> {
        let secret = match kind(spec) {
            Kind::Rsa(_) => Secret::Rsa(Box::new(RsaKey::from_material(material.expose())?)),
            Kind::Ec(curve) => Secret::Ec(Box::new(EcKey::from_material(curve, material.expose())?)),
            Kind::Oct(_) => Secret::Oct(Box::new(OctKey::new(material).map_err(|_| HsmError::Unsealable)?)),
        };
        Ok(Self { spec, secret })
    }

    /// Gives the bytes to seal to `seal`; they are wiped after it.
    pub(crate) fn with_material<T>(&self, seal: impl FnOnce(&[u8]) -> Result<T, HsmError>) -> Result<T, HsmError> {
        match &self.secret {
            Secret::Rsa(key) => seal(key.material()?.as_ref()),
            Secret::Ec(key) => seal(key.material()?.expose()),
            Secret::Oct(key) => seal(key.material().expose()),
        }
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        match &self.secret {
            Secret::Rsa(key) => key.public.public_key(),
            Secret::Ec(key) => key.public.public_key(),
            Secret::Oct(_) => PublicKey::Oct,
        }
    }

    pub(crate) const fn spec(&self) -> KeySpec {
        self.spec
    }

    fn pairwise(&self) -> Result<(), HsmError> {
        match &self.secret {
            Secret::Rsa(key) => key.pairwise(),
            Secret::Ec(key) => key.pairwise(),
            Secret::Oct(_) => Ok(()),
        }
    }

    /// Computes; the algorithm was found to fit key and operation.
    pub(crate) fn operate(&self, mechanism: Mechanism, input: &Input) -> Result<Output, HsmError> {
        match mechanism {
            Mechanism::RsaPkcs1Encryption => rsa_cipher(self.rsa()?, Padding::Pkcs1, input),
            Mechanism::RsaOaepSha1 => rsa_cipher(self.rsa()?, Padding::OaepSha1, input),
            Mechanism::RsaOaepSha256 => rsa_cipher(self.rsa()?, Padding::OaepSha256, input),
            Mechanism::RsaPkcs1Signature(hash) => rsa_signature(self.rsa()?, Scheme::Pkcs1, hash, input),
            Mechanism::RsaPss(hash) => rsa_signature(self.rsa()?, Scheme::Pss, hash, input),
            Mechanism::Ecdsa(_, _) => ecdsa(self.ec()?, input),
            Mechanism::AesKeyWrap => key_wrap(self.oct()?, input),
            Mechanism::AesKeyWrapPad => key_wrap_padded(self.oct()?, input),
            Mechanism::AesGcm => gcm(self.oct()?, input),
            Mechanism::AesCbc => cbc(self.oct()?, false, input),
            Mechanism::AesCbcPad => cbc(self.oct()?, true, input),
            Mechanism::Hmac(hash) => hmac(self.oct()?, hash, input),
        }
    }

    fn rsa(&self) -> Result<&RsaKey, HsmError> {
        if let Secret::Rsa(key) = &self.secret { Ok(key) } else { Err(HsmError::AlgorithmMismatch) }
    }

    fn ec(&self) -> Result<&EcKey, HsmError> {
        if let Secret::Ec(key) = &self.secret { Ok(key) } else { Err(HsmError::AlgorithmMismatch) }
    }

    fn oct(&self) -> Result<&OctKey, HsmError> {
        if let Secret::Oct(key) = &self.secret { Ok(key) } else { Err(HsmError::AlgorithmMismatch) }
    }
}

fn rsa_cipher(key: &RsaKey, padding: Padding, input: &Input) -> Result<Output, HsmError> {
    match input {
        Input::Encrypt { plaintext, iv, aad } => {
            absent([(iv, ValueName::Iv), (aad, ValueName::Aad)])?;
            key.public.encrypt(padding, plaintext.expose()).map(bare)
        }
        Input::Decrypt { ciphertext, iv, aad, tag } => {
            absent([(iv, ValueName::Iv), (aad, ValueName::Aad), (tag, ValueName::Tag)])?;
            key.decrypt(padding, ciphertext).map(Output::Plaintext)
        }
        Input::WrapKey { key: wanted } => key.public.encrypt(padding, wanted.expose()).map(bare),
        Input::UnwrapKey { wrapped } => key.decrypt(padding, wrapped).map(Output::Plaintext),
        Input::Sign { .. } | Input::Verify { .. } => Err(HsmError::AlgorithmMismatch),
    }
}

fn rsa_signature(key: &RsaKey, scheme: Scheme, hash: Digest, input: &Input) -> Result<Output, HsmError> {
    match input {
        Input::Sign { digest } => key.sign(scheme, hash, digest).map(Output::Signature),
        Input::Verify { digest, signature } => key.public.verify(scheme, hash, digest, signature).map(Output::Verified),
        Input::Encrypt { .. } | Input::Decrypt { .. } | Input::WrapKey { .. } | Input::UnwrapKey { .. } => {
            Err(HsmError::AlgorithmMismatch)
        }
    }
}

fn ecdsa(key: &EcKey, input: &Input) -> Result<Output, HsmError> {
    match input {
        Input::Sign { digest } => key.sign(digest).map(Output::Signature),
        Input::Verify { digest, signature } => key.public.verify(digest, signature).map(Output::Verified),
        Input::Encrypt { .. } | Input::Decrypt { .. } | Input::WrapKey { .. } | Input::UnwrapKey { .. } => {
            Err(HsmError::AlgorithmMismatch)
        }
    }
}

fn hmac(key: &OctKey, hash: Digest, input: &Input) -> Result<Output, HsmError> {
    match input {
        Input::Sign { digest } => key.mac(hash, digest).map(Output::Signature),
        Input::Verify { digest, signature } => key.mac_verify(hash, digest, signature).map(Output::Verified),
        Input::Encrypt { .. } | Input::Decrypt { .. } | Input::WrapKey { .. } | Input::UnwrapKey { .. } => {
            Err(HsmError::AlgorithmMismatch)
        }
    }
}

fn key_wrap(key: &OctKey, input: &Input) -> Result<Output, HsmError> {
    match input {
        Input::WrapKey { key: wanted } => key.wrap(wanted.expose()).map(bare),
        Input::UnwrapKey { wrapped } => key.unwrap(wrapped).map(Output::Plaintext),
        Input::Sign { .. } | Input::Verify { .. } | Input::Encrypt { .. } | Input::Decrypt { .. } => {
            Err(HsmError::AlgorithmMismatch)
        }
    }
}

fn key_wrap_padded(key: &OctKey, input: &Input) -> Result<Output, HsmError> {
    match input {
        Input::WrapKey { key: wanted } => key.wrap_padded(wanted.expose()).map(bare),
        Input::UnwrapKey { wrapped } => key.unwrap_padded(wrapped).map(Output::Plaintext),
        Input::Sign { .. } | Input::Verify { .. } | Input::Encrypt { .. } | Input::Decrypt { .. } => {
            Err(HsmError::AlgorithmMismatch)
        }
    }
}

fn gcm(key: &OctKey, input: &Input) -> Result<Output, HsmError> {
    match input {
        Input::Encrypt { plaintext, iv, aad } => {
            absent([(iv, ValueName::Iv)])?;
            let sealed = key.gcm_encrypt(plaintext.expose(), aad.as_deref().unwrap_or_default())?;
            let (iv, tag) = (Some(sealed.nonce.to_vec()), Some(sealed.tag.to_vec()));
            Ok(Output::Ciphertext { value: sealed.ciphertext, iv, tag })
        }
        Input::Decrypt { ciphertext, iv, aad, tag } => {
            let aad = aad.as_deref().unwrap_or_default();
            key.gcm_decrypt(ciphertext, iv.as_deref(), aad, tag.as_deref()).map(Output::Plaintext)
        }
        Input::Sign { .. } | Input::Verify { .. } | Input::WrapKey { .. } | Input::UnwrapKey { .. } => {
            Err(HsmError::AlgorithmMismatch)
        }
    }
}

fn cbc(key: &OctKey, pad: bool, input: &Input) -> Result<Output, HsmError> {
    match input {
        Input::Encrypt { plaintext, iv, aad } => {
            absent([(aad, ValueName::Aad)])?;
            let value = key.cbc_encrypt(plaintext.expose(), iv.as_deref(), pad)?;
            Ok(Output::Ciphertext { value, iv: iv.clone(), tag: None })
        }
        Input::Decrypt { ciphertext, iv, aad, tag } => {
            absent([(aad, ValueName::Aad), (tag, ValueName::Tag)])?;
            key.cbc_decrypt(ciphertext, iv.as_deref(), pad).map(Output::Plaintext)
        }
        Input::Sign { .. } | Input::Verify { .. } | Input::WrapKey { .. } | Input::UnwrapKey { .. } => {
            Err(HsmError::AlgorithmMismatch)
        }
    }
}

/// A ciphertext with nothing beside it.
fn bare(value: Vec<u8>) -> Output {
    Output::Ciphertext { value, iv: None, tag: None }
}

/// Refuses a value that the algorithm has no place for: to ignore an `aad` would let a caller believe in it.
fn absent<const N: usize>(values: [(&Option<Vec<u8>>, ValueName); N]) -> Result<(), HsmError> {
    match values.iter().find(|(value, _)| value.is_some()) {
        Some((_, name)) => Err(HsmError::BadLength(*name)),
        None => Ok(()),
    }
}
