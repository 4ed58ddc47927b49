//! What a lane does for one AES-GCM encryption: frames on both sides, and the partition's own part without any process.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use criterion::{Criterion, criterion_group, criterion_main};
use std::sync::Arc;
use strongroom_hsm::verbs::{Answer, BlobId, Envelope, Input, Operate, Output};
use strongroom_hsm::{KeyBlob, KeyDraft, KeyKind, Reply, Request};
use strongroom_hsm_soft::SoftProvider;
use strongroom_model::audit::UseStamp;
use strongroom_model::clock::SystemClock;
use strongroom_model::key::{KeyOps, KeySpec};
use strongroom_model::{Algorithm, KeyVersion, PoolId, SecretBytes, Timestamp, VaultId};
use strongroom_partition::codec::{Buffer, decode, encode_answer, encode_request};
use strongroom_partition::core::Core;
use uuid::Uuid;

/// Bytes of a frame's length, which is not decoded.
const LENGTH: usize = 4;

fn encrypt(key: BlobId, blob: Option<Arc<KeyBlob>>) -> Request {
    let input = Input::Encrypt { plaintext: SecretBytes::copy_of(&[7; 32]), iv: None, aad: None };
    Request::Operate(Operate { key, blob, algorithm: Algorithm::A256Gcm, input, caller: Uuid::from_u128(5) })
}

fn frames(c: &mut Criterion) {
    let request = encrypt(BlobId([3; 32]), None);
    let mut out = Buffer::default();
    c.bench_function("request, encode", |b| {
        b.iter(|| {
            out.clear();
            encode_request(7, 0, &request, &mut out).unwrap();
        });
    });
    c.bench_function("request, decode", |b| b.iter(|| decode::<Envelope>(&out.as_slice()[LENGTH..]).unwrap()));
    let stamp = UseStamp { chain: [1; 16], sequence: 9, hash: [2; 32], time: Timestamp(1_790_000_000), generation: 1 };
    let output = Output::Ciphertext { value: vec![1; 32], iv: Some(vec![2; 12]), tag: Some(vec![3; 16]) };
    let answer = Answer { id: 7, result: Ok(Reply::Done(output, stamp)) };
    c.bench_function("answer, encode", |b| {
        b.iter(|| {
            out.clear();
            encode_answer(&answer, &mut out);
        });
    });
    c.bench_function("answer, decode", |b| b.iter(|| decode::<Answer>(&out.as_slice()[LENGTH..]).unwrap()));
}

fn partition(c: &mut Criterion) {
    let (pool, kek) = (PoolId(Uuid::from_u128(1)), SecretBytes::new(vec![1; 32]));
    let core = Core::new(Arc::new(SoftProvider), pool, kek, Box::new(SystemClock { offset: 0 }), false);
    let chain = core.thread_chain().unwrap();
    let ask = |request| core.handle(&chain, Envelope { id: 1, clock_offset: 0, request }).result.unwrap();
    ask(Request::CreateRoot);
    let draft = KeyDraft {
        vault: VaultId::NONE,
        kind: KeyKind::Customer,
        name: "bench".into(),
        version: KeyVersion([1; 16]),
        spec: KeySpec::Oct256,
        ops: KeyOps::default_for(KeySpec::Oct256.kty()),
        enabled: true,
        not_before: None,
        expires: None,
    };
    let Reply::KeyMade(made, _) = ask(Request::Generate(draft, Uuid::from_u128(5))) else { panic!("another reply") };
    let id = made.blob.id().unwrap();
    ask(encrypt(id, Some(Arc::new(made.blob))));
    c.bench_function("AES-256-GCM encrypt, with rules and chain", |b| b.iter(|| ask(encrypt(id, None))));
}

criterion_group!(benches, frames, partition);
criterion_main!(benches);
