//! Use chains: two statements that differ are signed as different messages, and no signature comes from nowhere.

use crate::house::parts;
use strongroom_hsm::verbs::{Checkpoint, Opening};
use strongroom_hsm::{Act, Entry, KeyKind, PublicKey};
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

/// `statement ‖ 0xff × 4 ‖ statement`, checkpoints or openings, each as on a lane, or two names of keys.
pub(crate) fn run(data: &[u8]) {
    entries(data);
    let at = data.windows(4).position(|w| w == [0xff; 4]).unwrap_or(data.len());
    let (a, b) = data.split_at(at);
    let b = b.get(4..).unwrap_or_default();
    checkpoints(a, b);
    openings(a, b);
}

fn checkpoints(a: &[u8], b: &[u8]) {
    let a = decode::<Checkpoint>(a);
    if let Ok(a) = &a {
        assert!(!a.verify(&audit_key()), "a forged signature");
        let unsigned = Checkpoint { signature: Vec::new(), ..a.clone() };
        assert!(!unsigned.verify(&audit_key()));
        assert_eq!(unsigned.message(), a.message());
    }
    if let (Ok(a), Ok(b)) = (a, decode::<Checkpoint>(b)) {
        let same = Checkpoint { signature: b.signature.clone(), ..a.clone() } == b;
        assert_eq!(a.message() == b.message(), same, "two checkpoints with one message");
    }
}

fn openings(a: &[u8], b: &[u8]) {
    let (Ok(a), b) = (decode::<Opening>(a), decode::<Opening>(b)) else { return };
    let forged = Opening { audit_key: audit_key(), ..a.clone() };
    assert!(!forged.verify(), "a forged signature");
    if let Ok(b) = b {
        // No run before, and one whose name is all zeros, are written alike; nothing has such a name.
        let previous = |o: &Opening| o.previous.unwrap_or_default();
        let (signature, before) = (b.signature.clone(), b.previous);
        let same = previous(&a) == previous(&b)
            && Opening { signature, previous: before, audit_key: b.audit_key.clone(), ..a.clone() } == b
            && a.audit_key.canonical() == b.audit_key.canonical();
        assert_eq!(a.message() == b.message(), same, "two openings with one message");
    }
}

/// Two entries of other names never have one hash.
fn entries(data: &[u8]) {
    let [a, b] = parts(data);
    let (Ok(a), Ok(b)) = (std::str::from_utf8(a), std::str::from_utf8(b)) else { return };
    let entry = |name| Entry {
        chain: [1; 16],
        sequence: 1,
        time: Timestamp(3),
        caller: Uuid::nil(),
        kind: KeyKind::Customer,
        vault: VaultId::NONE,
        version: KeyVersion([2; 16]),
        generation: 1,
        act: Act::Use(Operation::Sign),
        name,
    };
    assert_eq!(entry(a).hash_after(&[0; 32]) == entry(b).hash_after(&[0; 32]), a == b);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    // Pool, chain, sequence, hash, time, signature.
    let checkpoint = |sequence: u8| {
        let mut bytes = vec![16];
        bytes.extend([7; 16]);
        bytes.extend([5; 16]);
        bytes.push(sequence);
        bytes.extend([6; 32]);
        bytes.extend([0x80, 0x80, 0x01]);
        bytes.push(64);
        bytes.extend([9; 64]);
        bytes
    };
    // Pool, time, key (a P-256 point), previous, chains, states, signature.
    let opening = |previous: bool, chains: u8, states: u8| {
        let mut bytes = vec![16];
        bytes.extend([7; 16]);
        bytes.extend([0x80, 0x80, 0x01, 1, 0, 32]);
        bytes.extend([1; 32]);
        bytes.push(32);
        bytes.extend([2; 32]);
        bytes.push(u8::from(previous));
        bytes.extend(vec![3; if previous { 32 } else { 0 }]);
        bytes.push(chains);
        bytes.extend(vec![4; 16 * usize::from(chains)]);
        bytes.push(states);
        for _ in 0..states {
            bytes.extend([4; 16]);
            bytes.push(5);
            bytes.extend([6; 32]);
        }
        bytes.push(64);
        bytes.extend([9; 64]);
        bytes
    };
    let pair = |a: Vec<u8>, b: Vec<u8>| [a, vec![0xff; 4], b].concat();
    assert!(decode::<Checkpoint>(&checkpoint(1)).is_ok(), "the seed is a checkpoint");
    assert!(decode::<Opening>(&opening(true, 2, 1)).is_ok(), "the seed is an opening");
    vec![
        pair(checkpoint(1), checkpoint(1)),
        pair(checkpoint(2), checkpoint(3)),
        pair(opening(false, 1, 0), opening(true, 1, 0)),
        pair(opening(true, 2, 1), opening(true, 1, 2)),
        b"a\0b".to_vec(),
    ]
}
