//! Random numbers where a bias costs the key: IVs of AES-GCM never come twice, nonces of ECDSA have no pattern.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use aws_lc_rs::digest::{SHA256, digest};
use crypto_bigint::{NonZero, Odd, U256};
use std::collections::HashSet;
use std::sync::Arc;
use strongroom_hsm::verbs::{Envelope, Input, KeyMaterial, Operate, Output};
use strongroom_hsm::{KeyBlob, KeyDraft, KeyKind, Reply, Request};
use strongroom_hsm_soft::SoftProvider;
use strongroom_model::clock::SystemClock;
use strongroom_model::key::{KeyOps, KeySpec};
use strongroom_model::{Algorithm, Curve, KeyVersion, PoolId, SecretBytes, VaultId};
use strongroom_partition::core::{Core, ThreadChain};
use uuid::Uuid;

const POOL: PoolId = PoolId(Uuid::from_bytes([7; 16]));
/// The key of RFC 6979, A.2.5, and the order of P-256.
const D: &str = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
const X: &str = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6";
const Y: &str = "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
/// Cells of one test of bytes, and what chi-square with 255 degrees of freedom stays below but once in 10^9 times.
const CELLS: usize = 256;
const CHI_SQUARE_MAX: f64 = 405.0;

struct Partition {
    core: Core<SoftProvider>,
    chain: ThreadChain,
}

impl Partition {
    fn new() -> Self {
        let kek = SecretBytes::new(vec![1; 32]);
        let core = Core::new(Arc::new(SoftProvider), POOL, kek, Box::new(SystemClock { offset: 0 }), false);
        let chain = core.thread_chain().unwrap();
        let partition = Self { core, chain };
        partition.ask(Request::CreateRoot);
        partition
    }

    fn ask(&self, request: Request) -> Reply {
        self.core.handle(&self.chain, Envelope { id: 1, clock_offset: 0, request }).result.unwrap()
    }

    fn key(&self, request: Request) -> Arc<KeyBlob> {
        let Reply::KeyMade(made, _) = self.ask(request) else { panic!("a key") };
        Arc::new(made.blob)
    }

    fn operate(&self, blob: &Arc<KeyBlob>, algorithm: Algorithm, input: Input) -> Output {
        let (key, blob) = (blob.id().unwrap(), Some(Arc::clone(blob)));
        let reply = self.ask(Request::Operate(Operate { key, blob, algorithm, input, caller: Uuid::nil() }));
        let Reply::Done(output, _) = reply else { panic!("a result") };
        output
    }
}

fn draft(spec: KeySpec) -> KeyDraft {
    KeyDraft {
        vault: VaultId::NONE,
        kind: KeyKind::Customer,
        name: "k".into(),
        version: KeyVersion([1; 16]),
        spec,
        ops: KeyOps::default_for(spec.kty()),
        enabled: true,
        not_before: None,
        expires: None,
    }
}

fn rounds() -> usize {
    std::env::var("STRONGROOM_ROUNDS").map_or(1, |text| text.parse().unwrap())
}

fn chi_square(counts: &[u64; CELLS]) -> f64 {
    let expected = counts.iter().sum::<u64>() as f64 / CELLS as f64;
    counts.iter().map(|n| (*n as f64 - expected).powi(2) / expected).sum()
}

#[test]
fn an_iv_never_comes_twice() {
    let partition = Partition::new();
    let key = partition.key(Request::Generate(draft(KeySpec::Oct256), Uuid::nil()));
    let uses = if rounds() > 1 { 1_000_000 } else { 100_000 };
    let mut seen = HashSet::with_capacity(uses);
    let mut bytes = vec![[0; CELLS]; 12];
    for _ in 0..uses {
        let input = Input::Encrypt { plaintext: SecretBytes::new(vec![0; 16]), iv: None, aad: None };
        let Output::Ciphertext { iv: Some(iv), .. } = partition.operate(&key, Algorithm::A256Gcm, input) else {
            panic!("an IV")
        };
        let iv: [u8; 12] = iv.try_into().unwrap();
        iv.iter().zip(&mut bytes).for_each(|(byte, counts)| counts[usize::from(*byte)] += 1);
        assert!(seen.insert(iv), "an IV came twice");
    }
    for (place, counts) in bytes.iter().enumerate() {
        assert!(chi_square(counts) < CHI_SQUARE_MAX, "byte {place} of the IVs: {}", chi_square(counts));
    }
    strongroom_counts::count("AES-GCM encryptions without a repeated IV", uses);
}

/// The nonce of a signature of a key that is known: k = (z + r d) / s.
fn nonce(digest: &[u8], signature: &[u8], d: &U256, order: &Odd<U256>) -> U256 {
    let n: NonZero<U256> = NonZero::new(order.get()).unwrap();
    let (r, s) = signature.split_at(32);
    let (z, r, s) = (U256::from_be_slice(digest), U256::from_be_slice(r), U256::from_be_slice(s));
    let sum = z.rem_vartime(&n).add_mod(&r.mul_mod(d, &n), &n);
    sum.mul_mod(&s.invert_odd_mod(order).unwrap(), &n)
}

#[test]
fn nonces_of_ecdsa_have_no_pattern() {
    let partition = Partition::new();
    let decode = |text: &str| hex::decode(text).unwrap();
    let material = KeyMaterial::Ec { curve: Curve::P256, x: decode(X), y: decode(Y), d: SecretBytes::new(decode(D)) };
    let key = partition.key(Request::Import(draft(KeySpec::EcP256), material, Uuid::nil()));
    let (d, order) = (U256::from_be_hex(D), Odd::new(U256::from_be_hex(ORDER)).unwrap());
    let signatures = if rounds() > 1 { 100_000 } else { 10_000_usize };
    let mut seen = HashSet::with_capacity(signatures);
    let mut bytes = vec![[0; CELLS]; 32];
    let mut bits = [0_u64; 256];
    for number in 0..signatures {
        // Every second message is the same one: a nonce made of the message alone would come again.
        let message = if number % 2 == 0 { 0 } else { number };
        let digest = digest(&SHA256, &message.to_be_bytes()).as_ref().to_vec();
        let input = Input::Sign { digest: digest.clone() };
        let Output::Signature(signature) = partition.operate(&key, Algorithm::Es256, input) else { panic!() };
        let k = nonce(&digest, &signature, &d, &order).to_be_bytes();
        let k: [u8; 32] = k.as_ref().try_into().unwrap();
        assert!(seen.insert(k), "a nonce came twice");
        k.iter().zip(&mut bytes).for_each(|(byte, counts)| counts[usize::from(*byte)] += 1);
        bits.iter_mut().enumerate().for_each(|(at, count)| *count += u64::from(k[at / 8] >> (7 - at % 8) & 1));
    }
    // The first 8 bytes follow the order, ffffffff00000000…: the first 4 are uniform to 2^-32, like all the others.
    for (place, counts) in bytes.iter().enumerate() {
        assert!(chi_square(counts) < CHI_SQUARE_MAX, "byte {place} of the nonces: {}", chi_square(counts));
    }
    let deviation = (signatures as f64 / 4.0).sqrt();
    for (at, ones) in bits.iter().enumerate() {
        let z = (*ones as f64 - signatures as f64 / 2.0) / deviation;
        assert!(z.abs() < 6.5, "bit {at} of the nonces: {z}");
    }
    strongroom_counts::count("ECDSA nonces computed back and tested for bias", signatures);
}

#[test]
fn a_bias_is_seen() {
    let mut counts = [40; CELLS];
    assert!(chi_square(&counts) < CHI_SQUARE_MAX);
    // The top bit set in two of three of 10,000 bytes.
    counts.iter_mut().enumerate().for_each(|(value, n)| *n = if value >= 128 { 52 } else { 28 });
    assert!(chi_square(&counts) > CHI_SQUARE_MAX);
}
