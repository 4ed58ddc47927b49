//! What import refuses, and what comes back of what it takes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use strongroom_hsm::verbs::{Input, KeyMaterial, Output};
use strongroom_hsm::{Binding, HsmError, KeyDraft, KeyKind, KeyMade, Provider, PublicKey};
use strongroom_hsm_soft::{SoftProvider, SoftRoot};
use strongroom_model::clock::Timestamp;
use strongroom_model::key::Origin;
use strongroom_model::{Algorithm, Curve, KeyOps, KeySpec, KeyVersion, PoolId, SecretBytes, VaultId};
use uuid::Uuid;

const POOL: PoolId = PoolId(Uuid::from_bytes([1; 16]));

fn root() -> SoftRoot {
    SoftProvider.create_root(&SecretBytes::new(vec![7; 32]), POOL).unwrap().0
}

fn binding(spec: KeySpec) -> Binding {
    let draft = KeyDraft {
        vault: VaultId::NONE,
        kind: KeyKind::Customer,
        name: "imported".to_owned(),
        version: KeyVersion([2; 16]),
        spec,
        ops: KeyOps::default_for(spec.kty()),
        enabled: true,
        not_before: None,
        expires: None,
    };
    draft.bind(POOL, Origin::Imported, Timestamp(0))
}

fn import(spec: KeySpec, material: KeyMaterial) -> Result<KeyMade, HsmError> {
    SoftProvider.import(&root(), binding(spec), material)
}

/// The eight numbers of an RSA key: n, e, d, p, q, dp, dq, qi.
type Numbers = [Vec<u8>; 8];
const N: usize = 0;
const E: usize = 1;
const D: usize = 2;
const P: usize = 3;
const Q: usize = 4;
const DP: usize = 5;
const DQ: usize = 6;
const QI: usize = 7;

fn rsa(numbers: &Numbers) -> KeyMaterial {
    let [n, e, d, p, q, dp, dq, qi] = numbers.clone();
    let [d, p, q, dp, dq, qi] = [d, p, q, dp, dq, qi].map(SecretBytes::new);
    KeyMaterial::Rsa { n, e, d, p, q, dp, dq, qi }
}

/// A key of a size by another implementation.
fn numbers(bits: usize) -> Numbers {
    let file = include_str!("rsa_keys.txt");
    let line = file.lines().find(|line| line.starts_with(&format!("{bits} "))).unwrap();
    let parts: Vec<Vec<u8>> = line.split(' ').skip(1).map(|part| hex::decode(part).unwrap()).collect();
    parts.try_into().unwrap()
}

#[test]
fn rsa_keys_of_every_size_come_in_and_compute() {
    let root = root();
    for (bits, spec) in [(2048, KeySpec::Rsa2048), (3072, KeySpec::Rsa3072), (4096, KeySpec::Rsa4096)] {
        let numbers = numbers(bits);
        let made = SoftProvider.import(&root, binding(spec), rsa(&numbers)).unwrap();
        assert_eq!(made.public, PublicKey::Rsa { n: numbers[N].clone(), e: vec![1, 0, 1] });
        let key = SoftProvider.open_key(&root, &made.blob).unwrap();
        let sign = Input::Sign { digest: vec![3; 32] };
        let Ok(Output::Signature(signature)) = SoftProvider.operate(&key, Algorithm::Ps256, &sign) else {
            panic!("no signature")
        };
        assert_eq!(signature.len(), bits / 8);
    }
}

#[test]
fn leading_zeros_make_no_difference() {
    let mut padded = numbers(2048);
    for number in &mut padded {
        number.splice(0..0, [0, 0, 0]);
    }
    let PublicKey::Rsa { n, e } = import(KeySpec::Rsa2048, rsa(&padded)).unwrap().public else { panic!("no RSA key") };
    assert_eq!((n.len(), e), (256, vec![1, 0, 1]));
}

#[test]
fn rsa_numbers_that_disagree_or_are_missing_are_refused() {
    let good = numbers(2048);
    let other = {
        // The primes changed places: dp, dq and qi then belong to the wrong ones.
        let mut swapped = good.clone();
        swapped.swap(P, Q);
        swapped
    };
    let mut bad: Vec<(String, Numbers)> = vec![("swapped primes".to_owned(), other)];
    for part in [N, E, D, P, Q, DP, DQ, QI] {
        let mut change = |what: &str, value: Vec<u8>| {
            let mut numbers = good.clone();
            numbers[part] = value;
            bad.push((format!("number {part} {what}"), numbers));
        };
        change("missing", Vec::new());
        change("zero", vec![0]);
        change("one", vec![1]);
        change("all ones", vec![0xff; good[part].len()]);
        change("longer", [good[part].as_slice(), &[1]].concat());
        change("huge", vec![1; 10_000]);
        for at in [0, good[part].len() / 2, good[part].len() - 1] {
            for bit in [1, 2, 0x80] {
                let mut flipped = good[part].clone();
                flipped[at] ^= bit;
                change("flipped", flipped);
            }
        }
    }
    let mut twice = good.clone();
    twice[Q] = twice[P].clone();
    bad.push(("p is q".to_owned(), twice));
    for (what, numbers) in bad {
        assert_eq!(import(KeySpec::Rsa2048, rsa(&numbers)).err(), Some(HsmError::BadMaterial), "{what}");
    }
}

#[test]
fn weak_rsa_keys_are_refused_though_their_numbers_agree() {
    for line in include_str!("rsa_weak_keys.txt").lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let parts: Vec<Vec<u8>> = words[1..].iter().map(|part| hex::decode(part).unwrap()).collect();
        let numbers: Numbers = parts.try_into().unwrap();
        for spec in [KeySpec::Rsa2048, KeySpec::Rsa3072] {
            assert_eq!(import(spec, rsa(&numbers)).err(), Some(HsmError::BadMaterial), "{}", words[0]);
        }
    }
}

#[test]
fn a_key_is_taken_for_its_own_size_and_kind_only() {
    for spec in [KeySpec::Rsa3072, KeySpec::Rsa4096, KeySpec::EcP256, KeySpec::Oct256] {
        assert_eq!(import(spec, rsa(&numbers(2048))).err(), Some(HsmError::BadMaterial), "{spec:?}");
    }
}

/// A valid key of a curve: x, y, d.
fn ec(curve: Curve) -> [Vec<u8>; 3] {
    let file = include_str!("ec_keys.txt");
    let line = file.lines().find(|line| line.starts_with(&format!("{} ", curve.as_str()))).unwrap();
    let parts: Vec<Vec<u8>> = line.split(' ').skip(1).map(|part| hex::decode(part).unwrap()).collect();
    parts.try_into().unwrap()
}

/// The field's prime and the group's order.
fn field_and_order(curve: Curve) -> [Vec<u8>; 2] {
    let file = include_str!("ec_keys.txt");
    let line = file.lines().find(|line| line.starts_with(&format!("#{} ", curve.as_str()))).unwrap();
    let parts: Vec<Vec<u8>> = line.split(' ').skip(1).map(|part| hex::decode(part).unwrap()).collect();
    parts.try_into().unwrap()
}

fn plus(number: &[u8], by: i8) -> Vec<u8> {
    let mut sum = number.to_vec();
    let last = sum.last_mut().unwrap();
    *last = last.checked_add_signed(by).unwrap();
    sum
}

#[test]
fn ec_keys_are_checked_against_their_curve() {
    for curve in Curve::ALL {
        let spec = KeySpec::on_curve(Some(*curve)).unwrap();
        let [x, y, d] = ec(*curve);
        let [p, n] = field_and_order(*curve);
        let try_import = |curve, x: &[u8], y: &[u8], d: &[u8]| {
            import(spec, KeyMaterial::Ec { curve, x: x.to_vec(), y: y.to_vec(), d: SecretBytes::copy_of(d) })
        };
        let made = try_import(*curve, &x, &y, &d).unwrap();
        assert_eq!(made.public, PublicKey::Ec { curve: *curve, x: x.clone(), y: y.clone() });
        let zeros = |number: &[u8]| [&[0, 0], number].concat();
        assert_eq!(try_import(*curve, &zeros(&x), &zeros(&y), &zeros(&d)).unwrap().public, made.public);

        let len = curve.coordinate_len();
        let mut flipped = x.clone();
        flipped[len - 1] ^= 1;
        let one = [vec![0; len - 1], vec![1]].concat();
        let bad: Vec<(&str, [&[u8]; 3])> = vec![
            ("no x", [&[], &y, &d]),
            ("no y", [&x, &[], &d]),
            ("no d", [&x, &y, &[]]),
            ("the point at infinity", [&[0], &[0], &d]),
            ("a point off the curve", [&flipped, &y, &d]),
            ("coordinates exchanged", [&y, &x, &d]),
            ("another scalar", [&x, &y, &one]),
        ];
        for (what, [x, y, d]) in bad {
            assert_eq!(try_import(*curve, x, y, d).err(), Some(HsmError::BadMaterial), "{what} on {curve:?}");
        }
        for d in [vec![0; len], n.clone(), plus(&n, 1), vec![0xff; len], vec![1; len + 1], vec![1; 10_000]] {
            assert_eq!(try_import(*curve, &x, &y, &d).err(), Some(HsmError::BadMaterial), "d on {curve:?}");
        }
        for x in [p.clone(), vec![0xff; len], vec![1; len + 1], vec![1; 10_000]] {
            assert_eq!(try_import(*curve, &x, &y, &d).err(), Some(HsmError::BadMaterial), "x on {curve:?}");
        }
        for other in Curve::ALL.iter().filter(|other| *other != curve) {
            assert_eq!(try_import(*other, &x, &y, &d).err(), Some(HsmError::BadMaterial), "{other:?} for {curve:?}");
        }
    }
}
