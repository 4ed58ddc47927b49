//! The canonical encoding of bindings and public keys: one string of bytes for each value, and no other accepted.
//!
//! A binding is its fields in ascending order of tag, each `tag u8 ‖ length u16 ‖ value`, every tag exactly once, numbers
//! big-endian, an absent value empty. Tags and codes are part of the format: never changed, never used again.

use crate::binding::{Binding, KeyKind};
use crate::chain::sha256;
use crate::error::HsmError;
use crate::verbs::PublicKey;
use strongroom_model::clock::Timestamp;
use strongroom_model::key::{KEY_SPECS, KeyOps, KeySpec, Origin};
use strongroom_model::{Curve, KeyType, KeyVersion, PoolId, VaultId, limits};
use uuid::Uuid;

mod tag {
    pub(super) const POOL: u8 = 1;
    pub(super) const VAULT: u8 = 2;
    pub(super) const KIND: u8 = 3;
    pub(super) const NAME: u8 = 4;
    pub(super) const VERSION: u8 = 5;
    pub(super) const KTY: u8 = 6;
    pub(super) const CURVE_OR_BITS: u8 = 7;
    pub(super) const OPS: u8 = 8;
    pub(super) const ENABLED: u8 = 9;
    pub(super) const NOT_BEFORE: u8 = 10;
    pub(super) const EXPIRES: u8 = 11;
    pub(super) const EXPORTABLE: u8 = 12;
    pub(super) const RELEASE_POLICY: u8 = 13;
    pub(super) const RELEASE_POLICY_IMMUTABLE: u8 = 14;
    pub(super) const ORIGIN: u8 = 15;
    pub(super) const CREATED: u8 = 16;
    pub(super) const PUBLIC_KEY: u8 = 17;
    pub(super) const GENERATION: u8 = 18;
}

const KINDS: &[(KeyKind, u8)] = &[(KeyKind::Customer, 1), (KeyKind::Internal, 2)];
const TYPES: &[(KeyType, u8)] = &[(KeyType::Rsa, 1), (KeyType::Ec, 2), (KeyType::Oct, 3)];
const ORIGINS: &[(Origin, u8)] =
    &[(Origin::Generated, 1), (Origin::Imported, 2), (Origin::Byok, 3), (Origin::Restored, 4)];

fn code<T: Copy + PartialEq>(table: &[(T, u8)], value: T) -> u8 {
    // Every value has its row: a test walks them.
    table.iter().find(|(v, _)| *v == value).map_or(0, |(_, code)| *code)
}

fn decoded<T: Copy>(table: &[(T, u8)], bytes: &[u8]) -> Result<T, HsmError> {
    let [code] = fixed(bytes)?;
    table.iter().find(|(_, c)| *c == code).map(|(v, _)| *v).ok_or(HsmError::Unsealable)
}

/// Curve name for EC, size in bits as `u32` for the other types.
fn curve_or_bits(spec: KeySpec) -> Vec<u8> {
    let row = spec.row();
    row.curve.map_or_else(|| row.bits.to_be_bytes().to_vec(), |c| c.as_str().as_bytes().to_vec())
}

impl Binding {
    /// The canonical encoding: the associated data of the sealed format.
    pub fn encode(&self) -> Vec<u8> {
        const ROOM: usize = 384; // every field at its longest
        let mut out = Vec::with_capacity(ROOM);
        let time = |t: Option<Timestamp>| t.map_or_else(Vec::new, |t| t.0.to_be_bytes().to_vec());
        let hash = |h: Option<[u8; 32]>| h.map_or_else(Vec::new, Vec::from);
        put(&mut out, tag::POOL, self.pool.0.as_bytes());
        put(&mut out, tag::VAULT, self.vault.0.as_bytes());
        put(&mut out, tag::KIND, &[code(KINDS, self.kind)]);
        put(&mut out, tag::NAME, self.name.as_bytes());
        put(&mut out, tag::VERSION, &self.version.0);
        put(&mut out, tag::KTY, &[code(TYPES, self.spec.kty())]);
        put(&mut out, tag::CURVE_OR_BITS, &curve_or_bits(self.spec));
        put(&mut out, tag::OPS, &self.ops.bits().to_be_bytes());
        put(&mut out, tag::ENABLED, &[u8::from(self.enabled)]);
        put(&mut out, tag::NOT_BEFORE, &time(self.not_before));
        put(&mut out, tag::EXPIRES, &time(self.expires));
        put(&mut out, tag::EXPORTABLE, &[u8::from(self.exportable)]);
        put(&mut out, tag::RELEASE_POLICY, &hash(self.release_policy));
        put(&mut out, tag::RELEASE_POLICY_IMMUTABLE, &[u8::from(self.release_policy_immutable)]);
        put(&mut out, tag::ORIGIN, &[code(ORIGINS, self.origin)]);
        put(&mut out, tag::CREATED, &self.created.0.to_be_bytes());
        put(&mut out, tag::PUBLIC_KEY, &hash(self.public_key));
        put(&mut out, tag::GENERATION, &self.generation.to_be_bytes());
        out
    }

    /// Reads a canonical encoding; [`HsmError::Unsealable`] for anything that [`Binding::encode`] would not have written.
    pub fn decode(bytes: &[u8]) -> Result<Self, HsmError> {
        let mut rest = bytes;
        let mut next = |tag| take(&mut rest, tag);
        let binding = Self {
            pool: PoolId(Uuid::from_bytes(fixed(next(tag::POOL)?)?)),
            vault: VaultId(Uuid::from_bytes(fixed(next(tag::VAULT)?)?)),
            kind: decoded(KINDS, next(tag::KIND)?)?,
            name: name(next(tag::NAME)?)?,
            version: KeyVersion(fixed(next(tag::VERSION)?)?),
            spec: spec(next(tag::KTY)?, next(tag::CURVE_OR_BITS)?)?,
            ops: KeyOps::from_bits(u16::from_be_bytes(fixed(next(tag::OPS)?)?)).ok_or(HsmError::Unsealable)?,
            enabled: flag(next(tag::ENABLED)?)?,
            not_before: optional(next(tag::NOT_BEFORE)?, time)?,
            expires: optional(next(tag::EXPIRES)?, time)?,
            exportable: flag(next(tag::EXPORTABLE)?)?,
            release_policy: optional(next(tag::RELEASE_POLICY)?, fixed)?,
            release_policy_immutable: flag(next(tag::RELEASE_POLICY_IMMUTABLE)?)?,
            origin: decoded(ORIGINS, next(tag::ORIGIN)?)?,
            created: time(next(tag::CREATED)?)?,
            public_key: optional(next(tag::PUBLIC_KEY)?, fixed)?,
            generation: u64::from_be_bytes(fixed(next(tag::GENERATION)?)?),
        };
        if rest.is_empty() { Ok(binding) } else { Err(HsmError::Unsealable) }
    }

    /// Whether the name is one that a binding may hold: that of a key, in ASCII lower case.
    pub fn has_canonical_name(&self) -> bool {
        canonical_name(&self.name)
    }
}

fn put(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    // No value is longer than a name, which `canonical_name` bounds; a longer one would not decode.
    let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.push(tag);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(value);
}

fn take<'a>(rest: &mut &'a [u8], tag: u8) -> Result<&'a [u8], HsmError> {
    let Some(([found, high, low], after)) = rest.split_first_chunk() else { return Err(HsmError::Unsealable) };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    if *found != tag || after.len() < len {
        return Err(HsmError::Unsealable);
    }
    let (value, after) = after.split_at(len);
    *rest = after;
    Ok(value)
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], HsmError> {
    bytes.try_into().map_err(|_| HsmError::Unsealable)
}

fn time(bytes: &[u8]) -> Result<Timestamp, HsmError> {
    fixed(bytes).map(|b| Timestamp(i64::from_be_bytes(b)))
}

fn flag(bytes: &[u8]) -> Result<bool, HsmError> {
    match bytes {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(HsmError::Unsealable),
    }
}

fn optional<T>(bytes: &[u8], parse: impl FnOnce(&[u8]) -> Result<T, HsmError>) -> Result<Option<T>, HsmError> {
    if bytes.is_empty() { Ok(None) } else { parse(bytes).map(Some) }
}

fn canonical_name(name: &str) -> bool {
    let fits = (1..=limits::KEY_NAME_MAX).contains(&name.len());
    fits && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn name(bytes: &[u8]) -> Result<String, HsmError> {
    let name = std::str::from_utf8(bytes).map_err(|_| HsmError::Unsealable)?;
    if canonical_name(name) { Ok(name.to_owned()) } else { Err(HsmError::Unsealable) }
}

fn spec(kty: &[u8], size: &[u8]) -> Result<KeySpec, HsmError> {
    let kty = decoded(TYPES, kty)?;
    let found = KEY_SPECS.iter().find(|r| r.kty == kty && curve_or_bits(r.spec) == size);
    found.map(|r| r.spec).ok_or(HsmError::Unsealable)
}

impl PublicKey {
    /// The canonical encoding: `kty ‖ length u16 ‖ n ‖ length u16 ‖ e`, or `kty ‖ curve name ‖ 0 ‖ x ‖ y`; empty for a
    /// symmetric key.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Rsa { n, e } => {
                put(&mut out, code(TYPES, KeyType::Rsa), n);
                let len = u16::try_from(e.len()).unwrap_or(u16::MAX);
                out.extend_from_slice(&len.to_be_bytes());
                out.extend_from_slice(e);
            }
            Self::Ec { curve, x, y } => {
                out.push(code(TYPES, KeyType::Ec));
                out.extend_from_slice(curve.as_str().as_bytes());
                out.push(0);
                out.extend_from_slice(x);
                out.extend_from_slice(y);
            }
            Self::Oct => {}
        }
        out
    }

    /// SHA-256 of the canonical encoding, as in [`Binding::public_key`]; `None` for a symmetric key.
    pub fn fingerprint(&self) -> Option<[u8; 32]> {
        match self {
            Self::Rsa { .. } | Self::Ec { .. } => Some(sha256(&self.canonical())),
            Self::Oct => None,
        }
    }

    /// The curve and the uncompressed point `4 ‖ x ‖ y` (SEC 1, 2.3.3); `None` for other key types.
    pub fn point(&self) -> Option<(Curve, Vec<u8>)> {
        match self {
            Self::Ec { curve, x, y } => Some((*curve, [&[4], x.as_slice(), y.as_slice()].concat())),
            Self::Rsa { .. } | Self::Oct => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const FULL: &str = include_str!("../tests/golden/binding-full.hex");
    const LEAST: &str = include_str!("../tests/golden/binding-least.hex");

    fn full() -> Binding {
        Binding {
            pool: PoolId(Uuid::from_bytes([0x11; 16])),
            vault: VaultId(Uuid::from_bytes([0x22; 16])),
            kind: KeyKind::Customer,
            name: "invoice-key-1".to_owned(),
            version: KeyVersion([0x33; 16]),
            spec: KeySpec::EcP256K,
            ops: KeyOps::default_for(KeyType::Ec),
            enabled: true,
            not_before: Some(Timestamp(1_700_000_000)),
            expires: Some(Timestamp(1_900_000_000)),
            exportable: true,
            release_policy: Some([0x44; 32]),
            release_policy_immutable: true,
            origin: Origin::Byok,
            created: Timestamp(1_790_000_000),
            public_key: Some([0x55; 32]),
            generation: 0x0102_0304_0506_0708,
        }
    }

    fn least() -> Binding {
        Binding {
            vault: VaultId::NONE,
            kind: KeyKind::Internal,
            name: "a".to_owned(),
            spec: KeySpec::Oct192,
            ops: KeyOps::NONE,
            enabled: false,
            not_before: None,
            expires: None,
            exportable: false,
            release_policy: None,
            release_policy_immutable: false,
            origin: Origin::Generated,
            public_key: None,
            generation: 1,
            ..full()
        }
    }

    #[test]
    fn the_encoding_is_pinned_to_the_byte() {
        assert_eq!(hex::encode(full().encode()), FULL.trim());
        assert_eq!(hex::encode(least().encode()), LEAST.trim());
        assert_eq!(Binding::decode(&hex::decode(FULL.trim()).unwrap()), Ok(full()));
        assert_eq!(Binding::decode(&hex::decode(LEAST.trim()).unwrap()), Ok(least()));
    }

    #[test]
    fn every_code_has_its_row() {
        for row in KEY_SPECS {
            let binding = Binding { spec: row.spec, ..full() };
            assert_eq!(Binding::decode(&binding.encode()), Ok(binding));
        }
        for origin in [Origin::Generated, Origin::Imported, Origin::Byok, Origin::Restored] {
            assert_ne!(code(ORIGINS, origin), 0);
        }
        for kind in [KeyKind::Customer, KeyKind::Internal] {
            assert_ne!(code(KINDS, kind), 0);
        }
    }

    /// The fields of an encoding: tag, and the whole field.
    fn fields(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut fields = Vec::new();
        while let Some(([_, high, low], _)) = bytes.split_first_chunk() {
            let (field, rest) = bytes.split_at(3 + usize::from(u16::from_be_bytes([*high, *low])));
            fields.push(field.to_vec());
            bytes = rest;
        }
        fields
    }

    #[test]
    fn a_missing_repeated_moved_or_unknown_field_is_refused() {
        let all = fields(&full().encode());
        assert_eq!(all.len(), 18);
        for i in 0..all.len() {
            let mut missing = all.clone();
            let field = missing.remove(i);
            assert!(Binding::decode(&missing.concat()).is_err(), "without {i}");
            let mut twice = all.clone();
            twice.insert(i, field.clone());
            assert!(Binding::decode(&twice.concat()).is_err(), "twice {i}");
            if i > 0 {
                let mut moved = all.clone();
                moved.swap(i - 1, i);
                assert!(Binding::decode(&moved.concat()).is_err(), "moved {i}");
            }
            let mut unknown = all.clone();
            unknown.insert(i, vec![99, 0, 0]);
            assert!(Binding::decode(&unknown.concat()).is_err(), "unknown before {i}");
            let mut longer = all.clone();
            longer[i].push(0);
            let len = u16::try_from(longer[i].len() - 3).unwrap();
            longer[i][1..3].copy_from_slice(&len.to_be_bytes());
            assert!(Binding::decode(&longer.concat()).is_err(), "longer {i}");
        }
        let mut tail = full().encode();
        tail.push(0);
        assert!(Binding::decode(&tail).is_err());
        for len in 0..tail.len() - 1 {
            assert!(Binding::decode(&tail[..len]).is_err());
        }
    }

    #[test]
    fn values_outside_their_range_are_refused() {
        let mut bad: Vec<Vec<u8>> = ["", "Upper", "a b", "é", "a\0", &"x".repeat(128)]
            .map(|name| Binding { name: name.to_owned(), ..full() }.encode())
            .into();
        for (tag, value) in [(3, vec![0]), (6, vec![4]), (7, b"P-257".to_vec()), (8, vec![0xff, 0xff]), (9, vec![2])] {
            let mut all = fields(&full().encode());
            let mut field = Vec::new();
            put(&mut field, tag, &value);
            all[usize::from(tag) - 1] = field;
            bad.push(all.concat());
        }
        for bytes in bad {
            assert_eq!(Binding::decode(&bytes), Err(HsmError::Unsealable));
        }
    }

    fn bindings() -> impl Strategy<Value = Binding> {
        let ids = (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<[u8; 16]>(), "[0-9a-z-]{1,127}");
        let times = (any::<Option<i64>>(), any::<Option<i64>>(), any::<i64>());
        let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
        let rest = (0..KEY_SPECS.len(), 0..512_u16, 0..ORIGINS.len(), any::<u64>());
        let hashes = (any::<Option<[u8; 32]>>(), any::<Option<[u8; 32]>>());
        (ids, times, flags, rest, hashes).prop_map(|(ids, times, flags, rest, hashes)| Binding {
            pool: PoolId(Uuid::from_bytes(ids.0)),
            vault: VaultId(Uuid::from_bytes(ids.1)),
            kind: if flags.0 { KeyKind::Customer } else { KeyKind::Internal },
            name: ids.3,
            version: KeyVersion(ids.2),
            spec: KEY_SPECS[rest.0].spec,
            ops: KeyOps::from_bits(rest.1).unwrap(),
            enabled: flags.1,
            not_before: times.0.map(Timestamp),
            expires: times.1.map(Timestamp),
            exportable: flags.2,
            release_policy: hashes.0,
            release_policy_immutable: flags.3,
            origin: ORIGINS[rest.2].0,
            created: Timestamp(times.2),
            public_key: hashes.1,
            generation: rest.3,
        })
    }

    proptest! {
        #[test]
        fn every_binding_comes_back(binding in bindings()) {
            prop_assert_eq!(Binding::decode(&binding.encode()), Ok(binding));
        }

        #[test]
        fn what_decodes_was_canonical(binding in bindings(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let mut bytes = binding.encode();
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(other) = Binding::decode(&bytes) {
                prop_assert_eq!(other.encode(), bytes);
            }
        }
    }

    #[test]
    fn public_keys_of_different_kinds_never_share_a_fingerprint() {
        let ec = |curve| PublicKey::Ec { curve, x: vec![1; 32], y: vec![2; 32] };
        assert_ne!(ec(Curve::P256).fingerprint(), ec(Curve::P256K).fingerprint());
        let rsa = |n: &[u8], e: &[u8]| PublicKey::Rsa { n: n.to_vec(), e: e.to_vec() }.fingerprint();
        assert_ne!(rsa(&[1, 2], &[3]), rsa(&[1], &[2, 3]));
        assert_eq!(PublicKey::Oct.fingerprint(), None);
    }
}
