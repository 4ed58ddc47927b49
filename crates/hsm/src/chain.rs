//! The use chain: what binds each use of a key to all uses before it, and the checkpoints signed over it (DESIGN 3).
//!
//! Both encodings are fixed: an auditor computes them again from the audit record, years later.

use crate::verbs::{Checkpoint, PublicKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use strongroom_model::clock::Timestamp;
use strongroom_model::key::Operation;
use strongroom_model::{Curve, KeyVersion, VaultId};
use uuid::Uuid;

/// The hash before the first use of a chain.
pub const CHAIN_START: [u8; 32] = [0; 32];
/// First bytes of a use's encoding.
const USE: &[u8] = b"strongroom/use/1\0";
/// First bytes of a checkpoint's encoding.
const CHECKPOINT: &[u8] = b"strongroom/checkpoint/1\0";

/// One use of a key, as it enters the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UseEntry<'a> {
    /// The chain, random at each start of a partition thread.
    pub chain: [u8; 16],
    /// Number of this use in the chain, from 1.
    pub sequence: u64,
    /// What was done.
    pub operation: Operation,
    /// The vault of the key, or [`VaultId::NONE`].
    pub vault: VaultId,
    /// The key's name in ASCII lower case.
    pub name: &'a str,
    /// The key's version.
    pub version: KeyVersion,
    /// When, by the partition's clock.
    pub time: Timestamp,
    /// The caller's object id.
    pub caller: Uuid,
}

impl UseEntry<'_> {
    /// Appends the canonical encoding: all fields in order, numbers big-endian, the name last and thus without a length.
    fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(USE);
        out.extend_from_slice(&self.chain);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.push(operation_code(self.operation));
        out.extend_from_slice(self.vault.0.as_bytes());
        out.extend_from_slice(&self.version.0);
        out.extend_from_slice(&self.time.0.to_be_bytes());
        out.extend_from_slice(self.caller.as_bytes());
        out.extend_from_slice(self.name.as_bytes());
    }
}

/// The hash after a use: SHA-256 over the hash before it and the canonical encoding of the use.
pub fn next_hash(last: &[u8; 32], entry: &UseEntry<'_>) -> [u8; 32] {
    const ROOM: usize = 256; // hash, fixed fields and the longest name
    let mut bytes = Vec::with_capacity(ROOM);
    bytes.extend_from_slice(last);
    entry.encode_into(&mut bytes);
    sha256(&bytes)
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

impl Checkpoint {
    /// The canonical encoding of all but the signature; what ES256 signs.
    pub fn message(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(CHECKPOINT.len() + 80 + 32 * self.previous.len());
        out.extend_from_slice(CHECKPOINT);
        out.extend_from_slice(&self.chain);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.hash);
        out.extend_from_slice(&self.time.0.to_be_bytes());
        out.extend_from_slice(self.pool.0.as_bytes());
        for previous in &self.previous {
            out.extend_from_slice(previous);
        }
        out
    }

    /// SHA-256 of the message: the digest to sign.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.message())
    }

    /// SHA-256 of message and signature: how later checkpoints name this one in [`Checkpoint::previous`].
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut bytes = self.message();
        bytes.extend_from_slice(&self.signature);
        sha256(&bytes)
    }

    /// Whether the pool's audit key made the signature.
    #[must_use]
    pub fn verify(&self, audit_key: &PublicKey) -> bool {
        let Some((Curve::P256, point)) = audit_key.point() else { return false };
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        key.verify(&self.message(), &self.signature).is_ok()
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use aws_lc_rs::digest::Digest;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use strongroom_model::PoolId;

    fn entry() -> UseEntry<'static> {
        UseEntry {
            chain: [1; 16],
            sequence: 2,
            operation: Operation::Sign,
            vault: VaultId::NONE,
            name: "invoice-key",
            version: KeyVersion([3; 16]),
            time: Timestamp(1_790_000_000),
            caller: Uuid::from_bytes([4; 16]),
        }
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            chain: [1; 16],
            sequence: 2,
            hash: next_hash(&CHAIN_START, &entry()),
            time: Timestamp(1_790_000_001),
            pool: PoolId(Uuid::from_bytes([5; 16])),
            previous: vec![[6; 32], [7; 32]],
            signature: vec![8; 64],
        }
    }

    #[test]
    fn the_encodings_are_pinned_to_the_byte() {
        let mut encoded = Vec::new();
        entry().encode_into(&mut encoded);
        let lines = [
            hex::encode(encoded),
            hex::encode(next_hash(&CHAIN_START, &entry())),
            hex::encode(checkpoint().message()),
            hex::encode(checkpoint().fingerprint()),
        ];
        assert_eq!(lines.join("\n"), include_str!("../tests/golden/chain.hex").trim());
    }

    #[test]
    fn every_field_counts() {
        let last = [9; 32];
        let base = next_hash(&last, &entry());
        let changed = [
            UseEntry { chain: [2; 16], ..entry() },
            UseEntry { sequence: 3, ..entry() },
            UseEntry { operation: Operation::Verify, ..entry() },
            UseEntry { vault: VaultId(Uuid::from_bytes([1; 16])), ..entry() },
            UseEntry { name: "invoice-ke", ..entry() },
            UseEntry { version: KeyVersion([4; 16]), ..entry() },
            UseEntry { time: Timestamp(0), ..entry() },
            UseEntry { caller: Uuid::nil(), ..entry() },
        ];
        for other in changed {
            assert_ne!(next_hash(&last, &other), base, "{other:?}");
        }
        assert_ne!(next_hash(&[8; 32], &entry()), base);
    }

    #[test]
    fn a_checkpoint_verifies_under_its_audit_key_only() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let mut signed = checkpoint();
        let digest = Digest::import_less_safe(&signed.digest(), &SHA256).unwrap();
        signed.signature = pair.sign_digest(&digest).unwrap().as_ref().to_vec();
        let point = pair.public_key().as_ref();
        let public = PublicKey::Ec { curve: Curve::P256, x: point[1..33].to_vec(), y: point[33..].to_vec() };
        assert!(signed.verify(&public));

        let PublicKey::Ec { x, y, .. } = &public else { unreachable!() };
        let elsewhere = PublicKey::Ec { curve: Curve::P256K, x: x.clone(), y: y.clone() };
        assert!(!signed.verify(&elsewhere) && !signed.verify(&PublicKey::Oct));
        for wrong in [
            Checkpoint { sequence: 3, ..signed.clone() },
            Checkpoint { hash: [0; 32], ..signed.clone() },
            Checkpoint { previous: vec![[6; 32]], ..signed.clone() },
            Checkpoint { signature: vec![0; 64], ..signed.clone() },
            Checkpoint { signature: Vec::new(), ..signed.clone() },
        ] {
            assert!(!wrong.verify(&public));
        }
    }
}
