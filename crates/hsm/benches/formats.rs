//! The sealed format and the use chain.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use strongroom_hsm::KeyKind;
use strongroom_hsm::chain::{Act, Entry};
use strongroom_hsm::sealed::{Label, open, seal};
use strongroom_model::{KeyVersion, Operation, SecretBytes, Timestamp, VaultId};
use uuid::Uuid;

fn formats(c: &mut Criterion) {
    let (key, binding) = (SecretBytes::new(vec![1; 32]), [2; 200]);
    for size in [32, 1024] {
        let plaintext = vec![3; size];
        c.bench_function(&format!("seal, {size} B"), |b| {
            b.iter(|| seal(&key, 1, Label::StoreRecord, &binding, &plaintext).unwrap());
        });
        let sealed = seal(&key, 1, Label::StoreRecord, &binding, &plaintext).unwrap();
        c.bench_function(&format!("open, {size} B"), |b| {
            b.iter(|| open(|_| Some(&key), Label::StoreRecord, &binding, &sealed).unwrap());
        });
    }
    let entry = Entry {
        chain: [1; 16],
        sequence: 1,
        time: Timestamp(1_790_000_000),
        caller: Uuid::from_u128(5),
        kind: KeyKind::Customer,
        vault: VaultId::NONE,
        version: KeyVersion([2; 16]),
        generation: 1,
        act: Act::Use(Operation::Sign),
        name: "payments",
    };
    c.bench_function("use chain, one entry", |b| b.iter(|| entry.hash_after(&[0; 32])));
}

criterion_group!(benches, formats);
criterion_main!(benches);
