//! Every algorithm of the keys API, one row each.

use crate::error::{BadParameter, Error, Result};
use crate::key::{Curve, KeySpec, KeyType, Operation};
use serde::{Deserialize, Serialize};

/// A hash function that signs take their digest from (FIPS 180-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of FIPS 180-4")]
pub enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    /// Bytes of the digest.
    pub const fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// What an algorithm does, with all that a provider must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Mechanism {
    /// RSAES-PKCS1-v1_5, RFC 8017 7.2.
    RsaPkcs1Encryption,
    /// RSAES-OAEP with SHA-1 and MGF1-SHA-1, RFC 8017 7.1.
    RsaOaepSha1,
    /// RSAES-OAEP with SHA-256 and MGF1-SHA-256.
    RsaOaepSha256,
    /// RSASSA-PKCS1-v1_5, RFC 8017 8.2.
    RsaPkcs1Signature(Digest),
    /// RSASSA-PSS, salt as long as the digest, MGF1 with the same hash, RFC 8017 8.1.
    RsaPss(Digest),
    /// ECDSA, FIPS 186-5 6; signature `r ‖ s`, each as long as a coordinate (RFC 7518 3.4).
    Ecdsa(Curve, Digest),
    /// AES key wrap, RFC 3394 / SP 800-38F KW.
    AesKeyWrap,
    /// AES key wrap with padding, RFC 5649 / SP 800-38F KWP.
    AesKeyWrapPad,
    /// AES-GCM with a 96-bit IV made by the provider and a 128-bit tag, SP 800-38D.
    AesGcm,
    /// AES-CBC without padding: the plaintext is whole blocks, SP 800-38A.
    AesCbc,
    /// AES-CBC with PKCS#7 padding, RFC 5652 6.3.
    AesCbcPad,
    /// HMAC over the given bytes as they are, RFC 2104; the API calls them a digest and holds them to the digest's length.
    Hmac(Digest),
}

macro_rules! algorithms {
    ($($variant:ident = $name:literal, $kty:ident, $bits:expr, $uses:ident, $mechanism:expr, $since:literal;)*) => {
        /// An algorithm name of the API (`alg`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[allow(non_camel_case_types, missing_docs, reason = "the names are the API's; ALGORITHMS says what each one is")]
        pub enum Algorithm { $($variant,)* }

        /// Every algorithm.
        pub static ALGORITHMS: &[AlgorithmRow] = &[$(AlgorithmRow {
            algorithm: Algorithm::$variant, name: $name, kty: KeyType::$kty, bits: $bits, uses: $uses, mechanism: $mechanism,
            since: $since,
        },)*];
    };
}

/// The facts about one [`Algorithm`].
#[derive(Debug)]
pub struct AlgorithmRow {
    /// Which one.
    pub algorithm: Algorithm,
    /// `alg` as it travels.
    pub name: &'static str,
    /// The key type it needs.
    pub kty: KeyType,
    /// The key size it needs; `None` where any size of the type will do (for EC the curve decides).
    pub bits: Option<u32>,
    /// The operations it serves.
    pub uses: &'static [Operation],
    /// What it computes.
    pub mechanism: Mechanism,
    /// The first API version that has it.
    pub since: &'static str,
}

const CIPHER: &[Operation] = &[Operation::Encrypt, Operation::Decrypt];
const WRAP: &[Operation] = &[Operation::WrapKey, Operation::UnwrapKey];
const BOTH: &[Operation] = &[Operation::Encrypt, Operation::Decrypt, Operation::WrapKey, Operation::UnwrapKey];
const SIGN: &[Operation] = &[Operation::Sign, Operation::Verify];

use Digest::{Sha256, Sha384, Sha512};
use Mechanism as M;

algorithms! {
    Rsa1_5 = "RSA1_5", Rsa, None, BOTH, M::RsaPkcs1Encryption, "2015-06-01";
    RsaOaep = "RSA-OAEP", Rsa, None, BOTH, M::RsaOaepSha1, "2015-06-01";
    RsaOaep256 = "RSA-OAEP-256", Rsa, None, BOTH, M::RsaOaepSha256, "2016-10-01";
    Rs256 = "RS256", Rsa, None, SIGN, M::RsaPkcs1Signature(Sha256), "2015-06-01";
    Rs384 = "RS384", Rsa, None, SIGN, M::RsaPkcs1Signature(Sha384), "2015-06-01";
    Rs512 = "RS512", Rsa, None, SIGN, M::RsaPkcs1Signature(Sha512), "2015-06-01";
    Ps256 = "PS256", Rsa, None, SIGN, M::RsaPss(Sha256), "2016-10-01";
    Ps384 = "PS384", Rsa, None, SIGN, M::RsaPss(Sha384), "2016-10-01";
    Ps512 = "PS512", Rsa, None, SIGN, M::RsaPss(Sha512), "2016-10-01";
    Es256 = "ES256", Ec, None, SIGN, M::Ecdsa(Curve::P256, Sha256), "2016-10-01";
    Es256K = "ES256K", Ec, None, SIGN, M::Ecdsa(Curve::P256K, Sha256), "7.0";
    Es384 = "ES384", Ec, None, SIGN, M::Ecdsa(Curve::P384, Sha384), "2016-10-01";
    Es512 = "ES512", Ec, None, SIGN, M::Ecdsa(Curve::P521, Sha512), "2016-10-01";
    A128Kw = "A128KW", Oct, Some(128), WRAP, M::AesKeyWrap, "7.2";
    A192Kw = "A192KW", Oct, Some(192), WRAP, M::AesKeyWrap, "7.2";
    A256Kw = "A256KW", Oct, Some(256), WRAP, M::AesKeyWrap, "7.2";
    CkmAesKeyWrap = "CKM_AES_KEY_WRAP", Oct, None, WRAP, M::AesKeyWrap, "7.6-preview.1";
    CkmAesKeyWrapPad = "CKM_AES_KEY_WRAP_PAD", Oct, None, WRAP, M::AesKeyWrapPad, "7.6-preview.1";
    A128Gcm = "A128GCM", Oct, Some(128), CIPHER, M::AesGcm, "7.2";
    A192Gcm = "A192GCM", Oct, Some(192), CIPHER, M::AesGcm, "7.2";
    A256Gcm = "A256GCM", Oct, Some(256), CIPHER, M::AesGcm, "7.2";
    A128Cbc = "A128CBC", Oct, Some(128), CIPHER, M::AesCbc, "7.2";
    A192Cbc = "A192CBC", Oct, Some(192), CIPHER, M::AesCbc, "7.2";
    A256Cbc = "A256CBC", Oct, Some(256), CIPHER, M::AesCbc, "7.2";
    A128CbcPad = "A128CBCPAD", Oct, Some(128), CIPHER, M::AesCbcPad, "7.2";
    A192CbcPad = "A192CBCPAD", Oct, Some(192), CIPHER, M::AesCbcPad, "7.2";
    A256CbcPad = "A256CBCPAD", Oct, Some(256), CIPHER, M::AesCbcPad, "7.2";
    Hs256 = "HS256", Oct, None, SIGN, M::Hmac(Sha256), "7.6-preview.1";
    Hs384 = "HS384", Oct, None, SIGN, M::Hmac(Sha384), "7.6-preview.1";
    Hs512 = "HS512", Oct, None, SIGN, M::Hmac(Sha512), "7.6-preview.1";
}

/// Names the API knows and this product refuses, with the reason (DESIGN 5).
pub static UNSUPPORTED: &[(&str, &str)] = &[("RSNULL", "no maintained safe interface signs an unhashed value")];

impl Algorithm {
    /// The facts about this algorithm.
    pub fn row(self) -> &'static AlgorithmRow {
        &ALGORITHMS[self as usize]
    }

    /// Parses `alg`.
    pub fn parse(text: &str) -> Result<Self> {
        let found = ALGORITHMS.iter().find(|r| r.name == text);
        found.map(|r| r.algorithm).ok_or(Error::BadParameter(BadParameter::Unknown("alg")))
    }

    /// Refuses an operation that this algorithm does not serve, and a key that it does not fit.
    pub fn check(self, operation: Operation, spec: KeySpec) -> Result<()> {
        let (row, key) = (self.row(), spec.row());
        let curve_fits = match row.mechanism {
            Mechanism::Ecdsa(curve, _) => key.curve == Some(curve),
            Mechanism::RsaPkcs1Encryption
            | Mechanism::RsaOaepSha1
            | Mechanism::RsaOaepSha256
            | Mechanism::RsaPkcs1Signature(_)
            | Mechanism::RsaPss(_)
            | Mechanism::AesKeyWrap
            | Mechanism::AesKeyWrapPad
            | Mechanism::AesGcm
            | Mechanism::AesCbc
            | Mechanism::AesCbcPad
            | Mechanism::Hmac(_) => true,
        };
        let key_fits = row.kty == key.kty && row.bits.is_none_or(|b| b == key.bits) && curve_fits;
        if key_fits && row.uses.contains(&operation) {
            Ok(())
        } else {
            Err(Error::BadParameter(BadParameter::AlgorithmMismatch { algorithm: self, operation, spec }))
        }
    }

    /// The digest whose length `value` of sign and `digest` of verify must have.
    pub fn digest(self) -> Option<Digest> {
        match self.row().mechanism {
            Mechanism::RsaPkcs1Signature(d) | Mechanism::RsaPss(d) | Mechanism::Ecdsa(_, d) | Mechanism::Hmac(d) => {
                Some(d)
            }
            Mechanism::RsaPkcs1Encryption
            | Mechanism::RsaOaepSha1
            | Mechanism::RsaOaepSha256
            | Mechanism::AesKeyWrap
            | Mechanism::AesKeyWrapPad
            | Mechanism::AesGcm
            | Mechanism::AesCbc
            | Mechanism::AesCbcPad => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KEY_SPECS, OPERATIONS};

    #[test]
    fn rows_stand_in_the_order_of_their_variants() {
        for (i, row) in ALGORITHMS.iter().enumerate() {
            assert_eq!(row.algorithm as usize, i, "{}", row.name);
            assert!(crate::ApiVersion::known(row.since).is_some(), "{}", row.name);
        }
    }

    #[test]
    fn only_the_cells_of_the_table_are_allowed() {
        let mut allowed = 0;
        for row in ALGORITHMS {
            for op in OPERATIONS {
                for key in KEY_SPECS {
                    allowed += usize::from(row.algorithm.check(op.operation, key.spec).is_ok());
                }
            }
        }
        // 3 RSA sizes x (3 algorithms x 4 uses + 6 x 2), 4 curves x 2, wraps (3 + 2 x 3) x 2, ciphers 9 x 2, HMAC 3 x 3 x 2.
        assert_eq!(allowed, 3 * (12 + 12) + 4 * 2 + 9 * 2 + 9 * 2 + 9 * 2);
    }
}
