//! Key types, curves, sizes, permitted operations: the rows that every check, text and document reads.

use crate::action::DataAction;
use crate::error::{BadParameter, Error, Result};
use serde::{Deserialize, Serialize};

/// The family of a key (`kty` without its `-HSM` ending).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyType {
    /// RSA, RFC 8017.
    Rsa,
    /// Elliptic curve over a prime field, FIPS 186-5 and SEC 2.
    Ec,
    /// A symmetric key ("octet sequence", RFC 7518 6.4).
    Oct,
}

impl KeyType {
    /// The name that a managed HSM answers with: every key there is an HSM key.
    pub const fn hsm_name(self) -> &'static str {
        match self {
            Self::Rsa => "RSA-HSM",
            Self::Ec => "EC-HSM",
            Self::Oct => "oct-HSM",
        }
    }

    /// Parses `kty`; on a managed HSM `RSA` means `RSA-HSM`, and so on.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "RSA" | "RSA-HSM" => Ok(Self::Rsa),
            "EC" | "EC-HSM" => Ok(Self::Ec),
            "oct" | "oct-HSM" => Ok(Self::Oct),
            _ => Err(Error::BadParameter(BadParameter::Unknown("kty"))),
        }
    }
}

/// A named curve (`crv`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// secp256k1, Azure's `P-256K`.
    P256K,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
}

impl Curve {
    /// Every curve.
    pub const ALL: &[Self] = &[Self::P256, Self::P256K, Self::P384, Self::P521];

    /// `crv` as it travels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P256K => "P-256K",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Parses `crv`; `SECP256K1` is the old spelling of `P-256K`.
    pub fn parse(text: &str) -> Result<Self> {
        let found = Self::ALL.iter().copied().find(|c| c.as_str() == text);
        found.or((text == "SECP256K1").then_some(Self::P256K)).ok_or(Error::BadParameter(BadParameter::Unknown("crv")))
    }

    /// Bytes of one coordinate, and of the private scalar.
    pub const fn coordinate_len(self) -> usize {
        match self {
            Self::P256 | Self::P256K => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// What a key is made of: one row of [`KEY_SPECS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the row of KEY_SPECS says what each one is")]
pub enum KeySpec {
    Rsa2048,
    Rsa3072,
    Rsa4096,
    EcP256,
    EcP256K,
    EcP384,
    EcP521,
    Oct128,
    Oct192,
    Oct256,
}

/// The facts about one [`KeySpec`].
#[derive(Debug)]
pub struct KeySpecRow {
    /// Which one.
    pub spec: KeySpec,
    /// Its family.
    pub kty: KeyType,
    /// Its curve, for EC.
    pub curve: Option<Curve>,
    /// Modulus, field or key size in bits.
    pub bits: u32,
    /// Whether it is what `create` makes when neither size nor curve is given.
    pub default: bool,
}

const fn row(spec: KeySpec, kty: KeyType, curve: Option<Curve>, bits: u32, default: bool) -> KeySpecRow {
    KeySpecRow { spec, kty, curve, bits, default }
}

/// Every key that can be made or imported.
pub static KEY_SPECS: &[KeySpecRow] = &[
    row(KeySpec::Rsa2048, KeyType::Rsa, None, 2048, true),
    row(KeySpec::Rsa3072, KeyType::Rsa, None, 3072, false),
    row(KeySpec::Rsa4096, KeyType::Rsa, None, 4096, false),
    row(KeySpec::EcP256, KeyType::Ec, Some(Curve::P256), 256, true),
    row(KeySpec::EcP256K, KeyType::Ec, Some(Curve::P256K), 256, false),
    row(KeySpec::EcP384, KeyType::Ec, Some(Curve::P384), 384, false),
    row(KeySpec::EcP521, KeyType::Ec, Some(Curve::P521), 521, false),
    row(KeySpec::Oct128, KeyType::Oct, None, 128, false),
    row(KeySpec::Oct192, KeyType::Oct, None, 192, false),
    row(KeySpec::Oct256, KeyType::Oct, None, 256, true),
];

impl KeySpec {
    /// The facts about this spec.
    pub fn row(self) -> &'static KeySpecRow {
        // The table has a row for each variant, in order: `every_spec_has_its_row` proves it.
        &KEY_SPECS[self as usize]
    }

    /// The family.
    pub fn kty(self) -> KeyType {
        self.row().kty
    }

    /// The spec of a family with a size, or its default size.
    pub fn sized(kty: KeyType, bits: Option<u32>) -> Result<Self> {
        let found = KEY_SPECS.iter().find(|r| r.kty == kty && bits.map_or(r.default, |b| r.bits == b));
        found.map(|r| r.spec).ok_or(Error::BadParameter(BadParameter::Unsupported("key_size")))
    }

    /// The spec of a curve, or the default curve.
    pub fn on_curve(curve: Option<Curve>) -> Result<Self> {
        let found = KEY_SPECS.iter().find(|r| r.kty == KeyType::Ec && curve.map_or(r.default, |c| r.curve == Some(c)));
        found.map(|r| r.spec).ok_or(Error::BadParameter(BadParameter::Unsupported("crv")))
    }
}

/// One entry of `key_ops`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of JsonWebKeyOperation")]
pub enum KeyOp {
    Encrypt,
    Decrypt,
    Sign,
    Verify,
    WrapKey,
    UnwrapKey,
    Import,
    Export,
    DeriveKey,
}

/// `key_ops` names, and the key types that may have them.
pub static KEY_OPS: &[(KeyOp, &str, &[KeyType])] = &[
    (KeyOp::Encrypt, "encrypt", &[KeyType::Rsa, KeyType::Oct]),
    (KeyOp::Decrypt, "decrypt", &[KeyType::Rsa, KeyType::Oct]),
    (KeyOp::Sign, "sign", &[KeyType::Rsa, KeyType::Ec, KeyType::Oct]),
    (KeyOp::Verify, "verify", &[KeyType::Rsa, KeyType::Ec, KeyType::Oct]),
    (KeyOp::WrapKey, "wrapKey", &[KeyType::Rsa, KeyType::Oct]),
    (KeyOp::UnwrapKey, "unwrapKey", &[KeyType::Rsa, KeyType::Oct]),
    (KeyOp::Import, "import", &[KeyType::Rsa]),
    (KeyOp::Export, "export", &[KeyType::Rsa, KeyType::Ec, KeyType::Oct]),
    (KeyOp::DeriveKey, "deriveKey", &[KeyType::Ec, KeyType::Oct]),
];

/// A set of [`KeyOp`], one bit each in the order of [`KEY_OPS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyOps(u16);

impl KeyOps {
    /// The empty set, which the API allows.
    pub const NONE: Self = Self(0);

    /// The set as bits, for the canonical encoding of bindings.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The set of these bits, when all are known.
    pub fn from_bits(bits: u16) -> Option<Self> {
        (bits >> KEY_OPS.len() == 0).then_some(Self(bits))
    }

    /// This set and `op`.
    #[must_use]
    pub const fn with(self, op: KeyOp) -> Self {
        Self(self.0 | 1 << op as u16)
    }

    /// Whether `op` is in the set.
    pub const fn contains(self, op: KeyOp) -> bool {
        self.0 & (1 << op as u16) != 0
    }

    /// The members, in the table's order.
    pub fn iter(self) -> impl Iterator<Item = KeyOp> {
        KEY_OPS.iter().map(|(op, _, _)| *op).filter(move |op| self.contains(*op))
    }

    /// The names, in the table's order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        KEY_OPS.iter().filter(move |(op, _, _)| self.contains(*op)).map(|(_, name, _)| *name)
    }

    /// Parses `key_ops` for a key type; an operation that the type cannot do is refused, and `import` never mixes with another.
    pub fn parse<'a>(kty: KeyType, names: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut set = Self::NONE;
        for name in names {
            let row = KEY_OPS.iter().find(|(_, known, _)| *known == name);
            let (op, _, types) = row.ok_or(Error::BadParameter(BadParameter::Unknown("key_ops")))?;
            if !types.contains(&kty) {
                return Err(Error::BadParameter(BadParameter::Unsupported("key_ops")));
            }
            set = set.with(*op);
        }
        if set.contains(KeyOp::Import) && set != Self::NONE.with(KeyOp::Import) {
            return Err(Error::BadParameter(BadParameter::ImportMixed));
        }
        Ok(set)
    }

    /// What a key may do when `key_ops` is not given (behaviour notes, section 10).
    pub const fn default_for(kty: KeyType) -> Self {
        match kty {
            KeyType::Rsa => Self::default_for(KeyType::Oct).with(KeyOp::Sign).with(KeyOp::Verify),
            KeyType::Ec => Self::NONE.with(KeyOp::Sign).with(KeyOp::Verify),
            KeyType::Oct => {
                Self::NONE.with(KeyOp::Encrypt).with(KeyOp::Decrypt).with(KeyOp::WrapKey).with(KeyOp::UnwrapKey)
            }
        }
    }
}

/// A cryptographic operation of the API with a key of the HSM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the API's")]
pub enum Operation {
    Encrypt,
    Decrypt,
    Sign,
    Verify,
    WrapKey,
    UnwrapKey,
}

/// The rules of one operation (behaviour notes, sections 2 and 5).
#[derive(Debug)]
pub struct OperationRow {
    /// Which one.
    pub operation: Operation,
    /// Its spelling in texts.
    pub name: &'static str,
    /// The `key_ops` entry it needs.
    pub key_op: KeyOp,
    /// The data action it needs.
    pub action: DataAction,
    /// Whether a disabled key refuses it.
    pub needs_enabled: bool,
    /// Whether it is refused before `nbf` and from `exp` on.
    pub needs_validity: bool,
}

/// The rules of every operation.
pub static OPERATIONS: &[OperationRow] = &[
    operation(Operation::Encrypt, "encrypt", KeyOp::Encrypt, DataAction::KeysEncrypt, false, true),
    operation(Operation::Decrypt, "decrypt", KeyOp::Decrypt, DataAction::KeysDecrypt, true, false),
    operation(Operation::Sign, "sign", KeyOp::Sign, DataAction::KeysSign, true, true),
    operation(Operation::Verify, "verify", KeyOp::Verify, DataAction::KeysVerify, false, false),
    operation(Operation::WrapKey, "wrapKey", KeyOp::WrapKey, DataAction::KeysWrap, false, true),
    operation(Operation::UnwrapKey, "unwrapKey", KeyOp::UnwrapKey, DataAction::KeysUnwrap, true, false),
];

const fn operation(
    operation: Operation,
    name: &'static str,
    key_op: KeyOp,
    action: DataAction,
    needs_enabled: bool,
    needs_validity: bool,
) -> OperationRow {
    OperationRow { operation, name, key_op, action, needs_enabled, needs_validity }
}

impl Operation {
    /// The rules of this operation.
    pub fn row(self) -> &'static OperationRow {
        &OPERATIONS[self as usize]
    }
}

/// Where a key came from; part of its binding, never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// Made in the partition.
    Generated,
    /// Imported in the clear (JWK).
    Imported,
    /// Imported as a BYOK transfer blob.
    Byok,
    /// Restored from a backup.
    Restored,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_spec_operation_and_op_has_its_row() {
        for (i, row) in KEY_SPECS.iter().enumerate() {
            assert_eq!(row.spec as usize, i);
            assert_eq!(row.spec.row().bits, row.bits);
        }
        assert_eq!(KeySpec::Oct256 as usize + 1, KEY_SPECS.len());
        for (i, row) in OPERATIONS.iter().enumerate() {
            assert_eq!(row.operation as usize, i);
        }
        assert_eq!(Operation::UnwrapKey as usize + 1, OPERATIONS.len());
        for (i, (op, _, _)) in KEY_OPS.iter().enumerate() {
            assert_eq!(*op as usize, i);
        }
        for kty in [KeyType::Rsa, KeyType::Ec, KeyType::Oct] {
            assert_eq!(KEY_SPECS.iter().filter(|r| r.kty == kty && r.default).count(), 1);
        }
    }

    #[test]
    fn key_ops_are_held_to_the_key_type() {
        assert!(KeyOps::parse(KeyType::Ec, ["sign", "verify"]).is_ok());
        assert!(KeyOps::parse(KeyType::Ec, ["encrypt"]).is_err());
        assert!(KeyOps::parse(KeyType::Rsa, ["import"]).is_ok());
        assert!(KeyOps::parse(KeyType::Rsa, ["import", "sign"]).is_err());
        assert!(KeyOps::parse(KeyType::Rsa, ["Sign"]).is_err());
        assert_eq!(KeyOps::parse(KeyType::Oct, []).unwrap(), KeyOps::NONE);
        assert_eq!(KeyOps::default_for(KeyType::Rsa).names().count(), 6);
        assert!(KeyOps::from_bits(1 << 9).is_none());
    }
}
