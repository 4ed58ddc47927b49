//! The provider's operations, each beside the bare primitive of its library.
#![allow(missing_docs, clippy::unwrap_used)]

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use strongroom_hsm::verbs::{Input, KeyBlob};
use strongroom_hsm::{KeyDraft, KeyKind, Provider};
use strongroom_hsm_soft::{SoftKey, SoftProvider, SoftRoot};
use strongroom_model::key::{KeyOps, KeySpec, Origin};
use strongroom_model::{Algorithm, KeyVersion, PoolId, SecretBytes, Timestamp, VaultId};
use uuid::Uuid;

const POOL: PoolId = PoolId(Uuid::from_u128(1));
const VALUE: [u8; 32] = [7; 32];

fn key(root: &SoftRoot, spec: KeySpec) -> (KeyBlob, SoftKey) {
    let draft = KeyDraft {
        vault: VaultId::NONE,
        kind: KeyKind::Customer,
        name: "bench".into(),
        version: KeyVersion([1; 16]),
        spec,
        ops: KeyOps::default_for(spec.kty()),
        enabled: true,
        not_before: None,
        expires: None,
    };
    let made = SoftProvider.generate(root, draft.bind(POOL, Origin::Generated, Timestamp(0))).unwrap();
    let key = SoftProvider.open_key(root, &made.blob).unwrap();
    (made.blob, key)
}

fn sign() -> Input {
    Input::Sign { digest: VALUE.to_vec() }
}

fn provider(c: &mut Criterion) {
    let (root, _) = SoftProvider.create_root(&SecretBytes::new(vec![1; 32]), POOL).unwrap();
    let digest = Digest::import_less_safe(&VALUE, &SHA256).unwrap();
    let operate = |key: &SoftKey, algorithm, input: &Input| SoftProvider.operate(key, algorithm, input).unwrap();

    let (blob, ec) = key(&root, KeySpec::EcP256);
    c.bench_function("P-256 sign", |b| b.iter(|| operate(&ec, Algorithm::Es256, &sign())));
    let bare = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    c.bench_function("P-256 sign, bare", |b| b.iter(|| bare.sign_digest(&digest).unwrap()));
    c.bench_function("P-256 open", |b| b.iter(|| SoftProvider.open_key(&root, &blob).unwrap()));

    let (blob, rsa) = key(&root, KeySpec::Rsa2048);
    c.bench_function("RSA-2048 sign", |b| b.iter(|| operate(&rsa, Algorithm::Rs256, &sign())));
    let bare = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let mut signature = vec![0; bare.public_modulus_len()];
    c.bench_function("RSA-2048 sign, bare", |b| {
        b.iter(|| bare.sign_digest(&RSA_PKCS1_SHA256, &digest, &mut signature).unwrap());
    });
    let verify = Input::Verify { digest: VALUE.to_vec(), signature };
    c.bench_function("RSA-2048 verify", |b| b.iter(|| operate(&rsa, Algorithm::Rs256, &verify)));
    c.bench_function("RSA-2048 open", |b| b.iter(|| SoftProvider.open_key(&root, &blob).unwrap()));

    let (_, aes) = key(&root, KeySpec::Oct256);
    let encrypt = || Input::Encrypt { plaintext: SecretBytes::copy_of(&VALUE), iv: None, aad: None };
    c.bench_function("AES-256-GCM encrypt, 32 B", |b| b.iter(|| operate(&aes, Algorithm::A256Gcm, &encrypt())));
    let bare = RandomizedNonceKey::new(&AES_256_GCM, &VALUE).unwrap();
    c.bench_function("AES-256-GCM encrypt, 32 B, bare", |b| {
        b.iter(|| {
            let mut data = VALUE.to_vec();
            bare.seal_in_place_append_tag(Aad::empty(), &mut data).unwrap();
            black_box(data)
        });
    });
    let wrap = || Input::WrapKey { key: SecretBytes::copy_of(&VALUE) };
    c.bench_function("AES-256 wrap", |b| b.iter(|| operate(&aes, Algorithm::A256Kw, &wrap())));
}

criterion_group!(benches, provider);
criterion_main!(benches);
