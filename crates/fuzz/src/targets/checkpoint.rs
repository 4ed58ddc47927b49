//! Use chains: two checkpoints that differ are signed as different messages, and no signature comes from nowhere.

use crate::house::parts;
use strongroom_hsm::verbs::Checkpoint;
use strongroom_hsm::{PublicKey, UseEntry, next_hash};
use strongroom_model::clock::Timestamp;
use strongroom_model::key::Operation;
use strongroom_model::{Curve, KeyVersion, VaultId};
use strongroom_partition::codec::decode;
use uuid::Uuid;

/// The base point of P-256: a public key whose private half nobody used here.
const X: &str = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
const Y: &str = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";

fn audit_key() -> PublicKey {
    let decode = |text: &str| hex::decode(text).unwrap_or_default();
    PublicKey::Ec { curve: Curve::P256, x: decode(X), y: decode(Y) }
}

/// `checkpoint ‖ 0xff × 4 ‖ checkpoint`, each as on a lane, or a use's name and hash.
pub(crate) fn run(data: &[u8]) {
    uses(data);
    let at = data.windows(4).position(|w| w == [0xff; 4]).unwrap_or(data.len());
    let (a, b) = data.split_at(at);
    let a = decode::<Checkpoint>(a);
    if let Ok(a) = &a {
        assert!(!a.verify(&audit_key()), "a forged signature");
        let unsigned = Checkpoint { signature: Vec::new(), ..a.clone() };
        assert!(!unsigned.verify(&audit_key()));
        assert_eq!(unsigned.message(), a.message());
    }
    if let (Ok(a), Ok(b)) = (a, decode::<Checkpoint>(b.get(4..).unwrap_or_default())) {
        let same = Checkpoint { signature: b.signature.clone(), ..a.clone() } == b;
        assert_eq!(a.message() == b.message(), same, "two checkpoints with one message");
        assert!(a == b || a.fingerprint() != b.fingerprint(), "two checkpoints with one fingerprint");
    }
}

/// Two uses of other names or after other hashes never have one hash.
fn uses(data: &[u8]) {
    let [a, b] = parts(data);
    let (Ok(a), Ok(b)) = (std::str::from_utf8(a), std::str::from_utf8(b)) else { return };
    let entry = |name| UseEntry {
        chain: [1; 16],
        sequence: 1,
        operation: Operation::Sign,
        vault: VaultId::NONE,
        name,
        version: KeyVersion([2; 16]),
        time: Timestamp(3),
        caller: Uuid::nil(),
    };
    assert_eq!(next_hash(&[0; 32], &entry(a)) == next_hash(&[0; 32], &entry(b)), a == b);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    // Chain, sequence, hash, time, pool, number of previous ones, signature.
    let checkpoint = |sequence: u8, previous: u8| {
        let mut bytes = vec![5; 16];
        bytes.push(sequence);
        bytes.extend([6; 32]);
        bytes.extend([0x80, 0x80, 0x01]);
        bytes.push(16);
        bytes.extend([7; 16]);
        bytes.push(previous);
        bytes.extend(vec![8; 32 * usize::from(previous)]);
        bytes.push(64);
        bytes.extend([9; 64]);
        bytes
    };
    let pair = |a: Vec<u8>, b: Vec<u8>| [a, vec![0xff; 4], b].concat();
    let first = checkpoint(1, 0);
    assert!(decode::<Checkpoint>(&first).is_ok(), "the seed is a checkpoint");
    vec![
        pair(first.clone(), first),
        pair(checkpoint(2, 0), checkpoint(2, 1)),
        pair(checkpoint(3, 2), checkpoint(4, 2)),
        b"a\0b".to_vec(),
    ]
}
