//! The use chain: what binds each use and change of a key to all before it, and what a partition signs over it (DESIGN 3).
//!
//! A partition's start makes a *run*: one chain for each of its threads, and an [`Opening`] that names them, the audit key, and
//! the run before with the last signed state of its chains. Each chain begins from its opening; each use and change of a key is
//! an [`Entry`]; a [`Checkpoint`] signs the state of a chain. All encodings are fixed: an auditor computes them again from the
//! audit records, years later. Each begins with a label that no other has, numbers are big-endian, and what has no fixed length
//! stands last or behind its count.

use crate::binding::{Binding, KeyKind};
use crate::verbs::{Checkpoint, Opening, PublicKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use strongroom_model::audit::KeyChange;
use strongroom_model::clock::Timestamp;
use strongroom_model::key::Operation;
use strongroom_model::{Curve, KeyVersion, VaultId};
use uuid::Uuid;

const CHAIN: &[u8] = b"strongroom/chain/2\0";
const ENTRY: &[u8] = b"strongroom/entry/2\0";
const CHECKPOINT: &[u8] = b"strongroom/checkpoint/2\0";
const OPENING: &[u8] = b"strongroom/opening/2\0";
const BINDING: &[u8] = b"strongroom/binding/2\0";

/// What was done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It was used.
    Use(Operation),
    /// It was made or changed.
    Change(KeyChange),
}

/// One use or change of a key, as it enters the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The chain, random at each start of a partition thread.
    pub chain: [u8; 16],
    /// Number of this entry in the chain, from 1.
    pub sequence: u64,
    /// When, by the partition's clock.
    pub time: Timestamp,
    /// The caller's object id.
    pub caller: Uuid,
    /// What the key is for.
    pub kind: KeyKind,
    /// The vault of the key, or [`VaultId::NONE`].
    pub vault: VaultId,
    /// The key's version.
    pub version: KeyVersion,
    /// The generation that was used, or that the change made.
    pub generation: u64,
    /// What was done.
    pub act: Act,
    /// The key's name in ASCII lower case.
    pub name: &'a str,
}

impl Entry<'_> {
    /// The canonical encoding behind the hash before it: all fields in order, the name last and thus without a length.
    fn encode(&self, last: &[u8; 32]) -> Vec<u8> {
        const ROOM: usize = 320; // the fixed fields and the longest name
        let mut out = Vec::with_capacity(ROOM);
        out.extend_from_slice(ENTRY);
        out.extend_from_slice(last);
        out.extend_from_slice(&self.chain);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.time.0.to_be_bytes());
        out.extend_from_slice(self.caller.as_bytes());
        out.push(self.kind as u8);
        out.extend_from_slice(self.vault.0.as_bytes());
        out.extend_from_slice(&self.version.0);
        out.extend_from_slice(&self.generation.to_be_bytes());
        match self.act {
            Act::Use(operation) => out.push(operation_code(operation)),
            Act::Change(change) => encode_change(change, &mut out),
        }
        out.extend_from_slice(self.name.as_bytes());
        out
    }

    /// The hash after this entry: SHA-256 over the canonical encoding, which holds the hash before it.
    pub fn hash_after(&self, last: &[u8; 32]) -> [u8; 32] {
        sha256(&self.encode(last))
    }
}

/// The operation's number in the encoding: never changed.
const fn operation_code(operation: Operation) -> u8 {
    match operation {
        Operation::Encrypt => 1,
        Operation::Decrypt => 2,
        Operation::Sign => 3,
        Operation::Verify => 4,
        Operation::WrapKey => 5,
        Operation::UnwrapKey => 6,
    }
}

/// The change's number, which says how long its detail is: never changed.
fn encode_change(change: KeyChange, out: &mut Vec<u8>) {
    let (code, detail): (u8, &[u8]) = match &change {
        KeyChange::Generate(binding) => (16, binding),
        KeyChange::Import(binding) => (17, binding),
        KeyChange::Rebind(binding) => (18, binding),
        KeyChange::Reserve(up_to) => (19, &up_to.to_be_bytes()),
    };
    out.push(code);
    out.extend_from_slice(detail);
}

impl Binding {
    /// SHA-256 of the canonical encoding behind a label: how the chain names a binding.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&[BINDING, &self.encode()].concat())
    }
}

impl Checkpoint {
    /// The canonical encoding of all but the signature; what ES256 signs.
    pub fn message(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(CHECKPOINT.len() + 80);
        out.extend_from_slice(CHECKPOINT);
        out.extend_from_slice(self.pool.0.as_bytes());
        out.extend_from_slice(&self.chain);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.hash);
        out.extend_from_slice(&self.time.0.to_be_bytes());
        out
    }

    /// Whether the pool's audit key made the signature.
    #[must_use]
    pub fn verify(&self, audit_key: &PublicKey) -> bool {
        signed(audit_key, &self.message(), &self.signature)
    }
}

impl Opening {
    /// The canonical encoding of all but the signature; what ES256 signs.
    pub fn message(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(OPENING.len() + 160 + 16 * self.chains.len() + 56 * self.checkpoints.len());
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
        out.extend_from_slice(OPENING);
        out.extend_from_slice(self.pool.0.as_bytes());
        out.extend_from_slice(&self.time.0.to_be_bytes());
        out.extend_from_slice(&sha256(&self.audit_key.canonical()));
        out.extend_from_slice(&self.previous.unwrap_or_default());
        out.extend_from_slice(&count(self.chains.len()));
        for chain in &self.chains {
            out.extend_from_slice(chain);
        }
        out.extend_from_slice(&count(self.checkpoints.len()));
        for named in &self.checkpoints {
            out.extend_from_slice(&named.chain);
            out.extend_from_slice(&named.sequence.to_be_bytes());
            out.extend_from_slice(&named.hash);
        }
        out
    }

    /// SHA-256 of the message: how the next opening names this one.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.message())
    }

    /// The hash before the first entry of a chain of this run.
    pub fn start_of(&self, chain: &[u8; 16]) -> [u8; 32] {
        sha256(&[CHAIN, &self.digest(), chain].concat())
    }

    /// Whether the audit key that it names made the signature.
    #[must_use]
    pub fn verify(&self) -> bool {
        signed(&self.audit_key, &self.message(), &self.signature)
    }
}

/// SHA-256: the digest that ES256 signs.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

fn signed(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let Some((Curve::P256, point)) = key.point() else { return false };
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::verbs::Named;
    use aws_lc_rs::digest::Digest;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use strongroom_model::PoolId;

    const LAST: [u8; 32] = [9; 32];

    fn entry() -> Entry<'static> {
        Entry {
            chain: [1; 16],
            sequence: 2,
            time: Timestamp(1_790_000_000),
            caller: Uuid::from_bytes([4; 16]),
            kind: KeyKind::Customer,
            vault: VaultId::NONE,
            version: KeyVersion([3; 16]),
            generation: 7,
            act: Act::Use(Operation::Sign),
            name: "invoice-key",
        }
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            pool: PoolId(Uuid::from_bytes([5; 16])),
            chain: [1; 16],
            sequence: 2,
            hash: entry().hash_after(&LAST),
            time: Timestamp(1_790_000_001),
            signature: vec![8; 64],
        }
    }

    fn opening() -> Opening {
        Opening {
            pool: PoolId(Uuid::from_bytes([5; 16])),
            time: Timestamp(1_790_000_002),
            audit_key: PublicKey::Ec { curve: Curve::P256, x: vec![1; 32], y: vec![2; 32] },
            previous: Some([6; 32]),
            chains: vec![[1; 16], [2; 16]],
            checkpoints: vec![Named { chain: [7; 16], sequence: 8, hash: [9; 32] }],
            signature: vec![8; 64],
        }
    }

    fn changes() -> [Act; 4] {
        use KeyChange as C;
        [C::Generate([1; 32]), C::Import([1; 32]), C::Rebind([1; 32]), C::Reserve(1)].map(Act::Change)
    }

    #[test]
    fn the_encodings_are_pinned_to_the_byte() {
        let mut lines = vec![hex::encode(entry().encode(&LAST)), hex::encode(entry().hash_after(&LAST))];
        lines.extend(changes().map(|act| hex::encode(Entry { act, ..entry() }.encode(&LAST))));
        lines.push(hex::encode(checkpoint().message()));
        lines.push(hex::encode(opening().message()));
        lines.push(hex::encode(opening().start_of(&[1; 16])));
        assert_eq!(lines.join("\n"), include_str!("../tests/golden/chain.hex").trim());
    }

    #[test]
    fn every_field_counts() {
        let base = entry().hash_after(&LAST);
        let mut changed = vec![
            Entry { chain: [2; 16], ..entry() },
            Entry { sequence: 3, ..entry() },
            Entry { time: Timestamp(0), ..entry() },
            Entry { caller: Uuid::nil(), ..entry() },
            Entry { kind: KeyKind::Internal, ..entry() },
            Entry { vault: VaultId(Uuid::from_bytes([1; 16])), ..entry() },
            Entry { version: KeyVersion([4; 16]), ..entry() },
            Entry { generation: 8, ..entry() },
            Entry { act: Act::Use(Operation::Verify), ..entry() },
            Entry { act: Act::Change(KeyChange::Rebind([2; 32])), ..entry() },
            Entry { name: "invoice-ke", ..entry() },
        ];
        changed.extend(changes().map(|act| Entry { act, ..entry() }));
        let mut hashes: Vec<_> = changed.iter().map(|e| e.hash_after(&LAST)).collect();
        hashes.extend([base, entry().hash_after(&[8; 32])]);
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }

    #[test]
    fn what_was_signed_verifies_under_its_audit_key_only() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let sign = |message: &[u8]| {
            let digest = Digest::import_less_safe(&sha256(message), &SHA256).unwrap();
            pair.sign_digest(&digest).unwrap().as_ref().to_vec()
        };
        let point = pair.public_key().as_ref();
        let public = PublicKey::Ec { curve: Curve::P256, x: point[1..33].to_vec(), y: point[33..].to_vec() };
        let mut signed = checkpoint();
        signed.signature = sign(&signed.message());
        assert!(signed.verify(&public));
        let PublicKey::Ec { x, y, .. } = &public else { unreachable!() };
        let elsewhere = PublicKey::Ec { curve: Curve::P256K, x: x.clone(), y: y.clone() };
        assert!(!signed.verify(&elsewhere) && !signed.verify(&PublicKey::Oct));
        for wrong in [
            Checkpoint { pool: PoolId(Uuid::nil()), ..signed.clone() },
            Checkpoint { chain: [2; 16], ..signed.clone() },
            Checkpoint { sequence: 3, ..signed.clone() },
            Checkpoint { hash: [0; 32], ..signed.clone() },
            Checkpoint { time: Timestamp(0), ..signed.clone() },
            Checkpoint { signature: vec![0; 64], ..signed.clone() },
            Checkpoint { signature: Vec::new(), ..signed.clone() },
        ] {
            assert!(!wrong.verify(&public));
        }

        let mut signed = Opening { audit_key: public, ..opening() };
        signed.signature = sign(&signed.message());
        assert!(signed.verify());
        for wrong in [
            Opening { pool: PoolId(Uuid::nil()), ..signed.clone() },
            Opening { time: Timestamp(0), ..signed.clone() },
            Opening { audit_key: elsewhere, ..signed.clone() },
            Opening { previous: None, ..signed.clone() },
            Opening { chains: vec![[1; 16]], ..signed.clone() },
            Opening { checkpoints: Vec::new(), ..signed.clone() },
            Opening { signature: Vec::new(), ..signed.clone() },
        ] {
            assert!(!wrong.verify());
        }
    }
}
