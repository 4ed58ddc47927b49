//! The suite that every provider must pass: one function, called from the provider's tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a suite of tests: it fails by panicking")]

use crate::error::ValueName;
use crate::sealed;
use crate::verbs::{Input, KeyMaterial, Output};
use crate::{Binding, HsmError, KeyBlob, KeyDraft, KeyKind, KeyMade, Provider, PublicKey, RebindChange};
use strongroom_model::algorithm::{ALGORITHMS, Mechanism};
use strongroom_model::clock::Timestamp;
use strongroom_model::key::{KEY_SPECS, OPERATIONS, Origin};
use strongroom_model::{Algorithm, KeyOp, KeyOps, KeySpec, KeyVersion, Operation, PoolId, SecretBytes, VaultId};
use uuid::Uuid;

const POOL: PoolId = PoolId(Uuid::from_bytes([0xa1; 16]));
const OTHER_POOL: PoolId = PoolId(Uuid::from_bytes([0xa2; 16]));
const NOW: Timestamp = Timestamp(1_790_000_000);
const PLAINTEXT: &[u8] = b"sixteen bytes..and sixteen more."; // whole blocks, so that every cipher takes it
const IV: &[u8] = &[0x77; 16];

/// Panics unless `provider` keeps every promise of the boundary.
pub fn run<P: Provider>(provider: &P) {
    let bench = Bench::new(provider);
    describes_itself(provider);
    roots_open_under_their_seal_only(provider);
    randomness_is_as_long_as_asked_and_never_the_same(provider);
    provider.self_test().expect("self-tests");
    bench.new_keys_are_held_to_their_binding();
    bench.blobs_open_as_sealed_only();
    bench.only_the_cells_of_the_table_compute();
    bench.wrong_values_are_refused();
    bench.ciphertexts_are_authentic_where_the_mechanism_says_so();
    bench.rebinding_changes_what_it_may();
    bench.imported_keys_compute();
    bench.one_key_serves_many_threads();
}

/// A provider with a root and one key of each spec.
struct Bench<'p, P: Provider> {
    provider: &'p P,
    root: P::Root,
    keys: Vec<(KeySpec, KeyMade, P::Key)>,
}

fn kek(byte: u8) -> SecretBytes {
    SecretBytes::new(vec![byte; sealed::KEY_LEN])
}

/// The binding of a new key with every optional value present.
fn binding(spec: KeySpec) -> Binding {
    let draft = KeyDraft {
        vault: VaultId(Uuid::from_bytes([0xb1; 16])),
        kind: KeyKind::Customer,
        name: "suite-key".to_owned(),
        version: KeyVersion([0xc1; 16]),
        spec,
        ops: KeyOps::default_for(spec.kty()),
        enabled: true,
        not_before: Some(Timestamp(1)),
        expires: Some(NOW.plus(1000)),
    };
    draft.bind(POOL, Origin::Generated, NOW)
}

fn describes_itself<P: Provider>(provider: &P) {
    let described = provider.describe();
    assert!(!described.hsm_platform.is_empty());
    assert_eq!(described, provider.describe());
    let mut algorithms = described.algorithms.clone();
    algorithms.dedup();
    assert_eq!(algorithms, described.algorithms, "named once each, in the table's order");
    assert!(algorithms.is_sorted() && !algorithms.is_empty());
}

fn roots_open_under_their_seal_only<P: Provider>(provider: &P) {
    let (_, wrapped) = provider.create_root(&kek(1), POOL).unwrap();
    let (_, again) = provider.create_root(&kek(1), POOL).unwrap();
    assert_ne!(wrapped, again);
    assert!(provider.open_root(&kek(1), POOL, &wrapped).is_ok());
    let refused = |kek: &SecretBytes, pool, wrapped: &_| {
        assert_eq!(provider.open_root(kek, pool, wrapped).err(), Some(HsmError::WrongSeal));
    };
    refused(&kek(2), POOL, &wrapped);
    refused(&kek(1), OTHER_POOL, &wrapped);
    for at in 0..wrapped.0.len() {
        let mut changed = wrapped.clone();
        changed.0[at] ^= 0x80;
        refused(&kek(1), POOL, &changed);
        changed.0.truncate(at);
        refused(&kek(1), POOL, &changed);
    }
}

fn randomness_is_as_long_as_asked_and_never_the_same<P: Provider>(provider: &P) {
    for count in [0, 1, 128, 4096] {
        assert_eq!(provider.random(count).unwrap().len(), count);
    }
    assert!(!provider.random(32).unwrap().same_as(provider.random(32).unwrap().expose()));
}

impl<'p, P: Provider> Bench<'p, P> {
    fn new(provider: &'p P) -> Self {
        let (root, _) = provider.create_root(&kek(1), POOL).unwrap();
        let make = |spec| {
            let made = provider.generate(&root, binding(spec)).unwrap_or_else(|e| panic!("generate {spec:?}: {e}"));
            let key = provider.open_key(&root, &made.blob).unwrap_or_else(|e| panic!("open {spec:?}: {e}"));
            (spec, made, key)
        };
        let keys = KEY_SPECS.iter().map(|row| make(row.spec)).collect();
        Self { provider, root, keys }
    }

    fn of(&self, spec: KeySpec) -> &(KeySpec, KeyMade, P::Key) {
        self.keys.iter().find(|(s, _, _)| *s == spec).unwrap()
    }

    fn operate(&self, spec: KeySpec, algorithm: Algorithm, input: &Input) -> Result<Output, HsmError> {
        self.provider.operate(&self.of(spec).2, algorithm, input)
    }

    fn new_keys_are_held_to_their_binding(&self) {
        for (spec, made, _) in &self.keys {
            assert_eq!(made.blob.binding.public_key, made.public.fingerprint(), "{spec:?}");
            let expected = Binding { public_key: made.public.fingerprint(), ..binding(*spec) };
            assert_eq!(made.blob.binding, expected);
            assert_public_key_fits(*spec, &made.public);
            assert_eq!(sealed::generation(&made.blob.sealed), Ok(1));
            assert_eq!(made.blob.sealed[1], self.provider.describe().provider as u8, "the blob names its provider");
            assert!(made.blob.id().is_ok());
        }
        let spec = KeySpec::Oct256;
        for wrong in [
            Binding { pool: OTHER_POOL, ..binding(spec) },
            Binding { generation: 0, ..binding(spec) },
            Binding { generation: 2, ..binding(spec) },
            Binding { public_key: Some([0; 32]), ..binding(spec) },
            Binding { name: "Upper".to_owned(), ..binding(spec) },
            Binding { name: String::new(), ..binding(spec) },
            Binding { name: "x".repeat(128), ..binding(spec) },
        ] {
            let material = KeyMaterial::Oct { k: kek(9) };
            assert_eq!(
                self.provider.generate(&self.root, wrong.clone()).err(),
                Some(HsmError::BindingRule),
                "{wrong:?}"
            );
            assert_eq!(self.provider.import(&self.root, wrong, material).err(), Some(HsmError::BindingRule));
        }
    }

    fn blobs_open_as_sealed_only(&self) {
        let (other_root, _) = self.provider.create_root(&kek(1), POOL).unwrap();
        let (other_pool, _) = self.provider.create_root(&kek(1), OTHER_POOL).unwrap();
        for (spec, made, _) in &self.keys {
            let blob = &made.blob;
            let refused = |root: &P::Root, blob: &KeyBlob, what: &dyn std::fmt::Debug| {
                let opened = self.provider.open_key(root, blob).err();
                assert_eq!(opened, Some(HsmError::Unsealable), "{spec:?}: {what:?}");
                let next = blob.binding.rebind(&RebindChange::default());
                let resealed = next.and_then(|next| self.provider.reseal(root, blob, next)).err();
                assert!(resealed.is_some(), "{spec:?}: {what:?} was sealed anew");
            };
            refused(&other_root, blob, &"another root of the pool");
            refused(&other_pool, blob, &"another pool");
            let moved = Binding { pool: OTHER_POOL, ..blob.binding.clone() };
            refused(&other_pool, &KeyBlob { binding: moved, ..blob.clone() }, &"another pool, renamed");
            for changed in every_change(&blob.binding) {
                refused(&self.root, &KeyBlob { binding: changed.clone(), ..blob.clone() }, &changed);
            }
            for at in 0..blob.sealed.len() {
                let mut changed = blob.clone();
                changed.sealed[at] ^= 1 << (at % 8);
                refused(&self.root, &changed, &("flipped", at));
                changed.sealed.truncate(at);
                refused(&self.root, &changed, &("cut", at));
            }
        }
    }

    fn only_the_cells_of_the_table_compute(&self) {
        let has = self.provider.describe().algorithms;
        for row in ALGORITHMS.iter().filter(|row| has.contains(&row.algorithm)) {
            for (spec, _, _) in &self.keys {
                for op in OPERATIONS {
                    let operation = op.operation;
                    let output = self.operate(*spec, row.algorithm, &good_input(row.algorithm, operation));
                    let context = format!("{} {} {spec:?}", row.name, op.name);
                    if row.algorithm.check(operation, *spec).is_err() {
                        assert_eq!(output.err(), Some(HsmError::AlgorithmMismatch), "{context}");
                    } else if matches!(operation, Operation::Decrypt | Operation::UnwrapKey) {
                        // The good input of the way back is made by the way there, below.
                        assert_ne!(output.err(), Some(HsmError::AlgorithmMismatch), "{context}");
                    } else {
                        self.round_trip(*spec, row.algorithm, operation, output.expect(&context), &context);
                    }
                }
            }
        }
    }

    /// Follows an output of the way there back.
    fn round_trip(&self, spec: KeySpec, algorithm: Algorithm, operation: Operation, output: Output, context: &str) {
        match output {
            Output::Signature(signature) => {
                let digest = digest(algorithm);
                let verified = |digest: &[u8], signature: &[u8]| {
                    let input = Input::Verify { digest: digest.to_vec(), signature: signature.to_vec() };
                    matches!(self.operate(spec, algorithm, &input).expect(context), Output::Verified(true))
                };
                assert!(verified(&digest, &signature), "{context}");
                let mut other = digest.clone();
                other[0] ^= 1;
                assert!(!verified(&other, &signature), "{context}: another digest");
                for at in 0..signature.len() {
                    let mut changed = signature.clone();
                    changed[at] ^= 0x10;
                    assert!(!verified(&digest, &changed), "{context}: byte {at} flipped");
                }
                for wrong in [&signature[1..], &[signature.as_slice(), &[0]].concat(), &[][..]] {
                    assert!(!verified(&digest, wrong), "{context}: {} bytes", wrong.len());
                }
            }
            Output::Verified(verified) => assert!(!verified, "{context}: a signature of zeros"),
            Output::Ciphertext { value, iv, tag } => {
                let input = if operation == Operation::Encrypt {
                    Input::Decrypt { ciphertext: value, iv, aad: aad(algorithm), tag }
                } else {
                    Input::UnwrapKey { wrapped: value }
                };
                let Output::Plaintext(back) = self.operate(spec, algorithm, &input).expect(context) else {
                    panic!("{context}: no plaintext")
                };
                assert!(back.same_as(PLAINTEXT), "{context}");
            }
            Output::Plaintext(_) => panic!("{context}: a plaintext on the way there"),
        }
    }

    fn wrong_values_are_refused(&self) {
        let has = self.provider.describe().algorithms;
        for row in ALGORITHMS.iter().filter(|row| has.contains(&row.algorithm)) {
            let spec = self.keys.iter().map(|(spec, _, _)| *spec);
            let Some(spec) = spec.into_iter().find(|spec| row.algorithm.check(row.uses[0], *spec).is_ok()) else {
                panic!("{} fits no key", row.name)
            };
            for (input, expected) in bad_inputs(row.algorithm, spec) {
                let operation = input.operation();
                let refused = self.operate(spec, row.algorithm, &input).err();
                assert_eq!(refused, Some(expected), "{} {operation:?}", row.name);
            }
        }
    }

    fn ciphertexts_are_authentic_where_the_mechanism_says_so(&self) {
        for (algorithm, spec) in [(Algorithm::A128Gcm, KeySpec::Oct128), (Algorithm::A256Gcm, KeySpec::Oct256)] {
            let encrypt = || match self.operate(spec, algorithm, &good_input(algorithm, Operation::Encrypt)).unwrap() {
                Output::Ciphertext { value, iv: Some(iv), tag: Some(tag) } => (value, iv, tag),
                Output::Ciphertext { .. } | Output::Plaintext(_) | Output::Signature(_) | Output::Verified(_) => {
                    panic!("GCM gives IV and tag")
                }
            };
            let ((value, iv, tag), (_, other_iv, _)) = (encrypt(), encrypt());
            assert_eq!((iv.len(), tag.len()), (12, 16));
            assert_ne!(iv, other_iv, "each encryption draws its IV");
            for part in 0..4 {
                let mut parts = [value.clone(), iv.clone(), aad(algorithm).unwrap(), tag.clone()];
                for at in 0..parts[part].len() {
                    parts[part][at] ^= 1;
                    let [ciphertext, iv, aad, tag] = parts.clone();
                    let input = Input::Decrypt { ciphertext, iv: Some(iv), aad: Some(aad), tag: Some(tag) };
                    assert_eq!(self.operate(spec, algorithm, &input).err(), Some(HsmError::Undecryptable));
                    parts[part][at] ^= 1;
                }
            }
        }
    }

    fn rebinding_changes_what_it_may(&self) {
        for (spec, made, _) in &self.keys {
            let change = RebindChange {
                enabled: Some(false),
                not_before: Some(NOW),
                expires: Some(NOW.plus(5)),
                ops: Some(KeyOps::NONE),
            };
            let next = made.blob.binding.rebind(&change).unwrap();
            let blob = self.provider.reseal(&self.root, &made.blob, next.clone()).unwrap();
            assert_eq!(blob.binding, next);
            assert_ne!(blob.id(), made.blob.id());
            assert!(self.provider.open_key(&self.root, &blob).is_ok(), "{spec:?}");
            let stale = KeyBlob { binding: made.blob.binding.clone(), ..blob };
            assert_eq!(self.provider.open_key(&self.root, &stale).err(), Some(HsmError::Unsealable));
        }
        let (_, made, _) = self.of(KeySpec::EcP256);
        let next = made.blob.binding.rebind(&RebindChange::default()).unwrap();
        let may_change = |b: &Binding| {
            let kept = Binding { enabled: b.enabled, not_before: b.not_before, expires: b.expires, ..next.clone() };
            Binding { ops: b.ops, ..kept } == *b
        };
        let import_only = Binding { ops: KeyOps::NONE.with(KeyOp::Import), ..next.clone() };
        let undated = Binding { expires: None, ..next.clone() };
        let mut refused = vec![made.blob.binding.clone(), import_only, undated];
        refused.extend(every_change(&next).into_iter().filter(|changed| !may_change(changed)));
        for changed in refused {
            let resealed = self.provider.reseal(&self.root, &made.blob, changed.clone()).err();
            assert_eq!(resealed, Some(HsmError::BindingRule), "{changed:?}");
        }
    }

    fn imported_keys_compute(&self) {
        let import = |spec, bytes: usize| {
            let imported = Binding { origin: Origin::Imported, ..binding(spec) };
            let material = KeyMaterial::Oct { k: SecretBytes::new((0..).take(bytes).collect()) };
            self.provider.import(&self.root, imported, material)
        };
        // RFC 3394, 4.6: the 256-bit key wraps 256 bits.
        let made = import(KeySpec::Oct256, 32).unwrap();
        assert_eq!(made.public, PublicKey::Oct);
        let key = self.provider.open_key(&self.root, &made.blob).unwrap();
        let data = [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
        let data = [&data[..], &(0..16).collect::<Vec<u8>>()].concat();
        let wrapped = self.provider.operate(&key, Algorithm::A256Kw, &Input::WrapKey { key: SecretBytes::new(data) });
        let Ok(Output::Ciphertext { value, .. }) = wrapped else { panic!("no ciphertext") };
        assert_eq!(value[..8], [0x28, 0xc9, 0xf4, 0x04, 0xc4, 0xb8, 0x10, 0xf4]);
        for (spec, bytes) in [(KeySpec::Oct256, 16), (KeySpec::Oct128, 32), (KeySpec::Oct192, 25), (KeySpec::Oct128, 0)]
        {
            assert_eq!(import(spec, bytes).err(), Some(HsmError::BadMaterial), "{spec:?} of {bytes} bytes");
        }
        for spec in [KeySpec::Rsa2048, KeySpec::EcP256] {
            assert_eq!(import(spec, 32).err(), Some(HsmError::BadMaterial), "a symmetric key as {spec:?}");
        }
    }

    fn one_key_serves_many_threads(&self) {
        let has = self.provider.describe().algorithms;
        for (spec, made, _) in &self.keys {
            let fresh = self.provider.open_key(&self.root, &made.blob).unwrap();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for row in ALGORITHMS.iter().filter(|row| has.contains(&row.algorithm)) {
                            let operation = row.uses[0];
                            if row.algorithm.check(operation, *spec).is_ok() {
                                let input = good_input(row.algorithm, operation);
                                assert!(self.provider.operate(&fresh, row.algorithm, &input).is_ok(), "{}", row.name);
                            }
                        }
                    });
                }
            });
        }
    }
}

fn assert_public_key_fits(spec: KeySpec, public: &PublicKey) {
    let row = spec.row();
    match public {
        PublicKey::Rsa { n, e } => {
            assert_eq!(8 * n.len(), usize::try_from(row.bits).unwrap());
            assert!(n[0] >= 0x80 && n[n.len() - 1] % 2 == 1);
            assert_eq!(e, &[1, 0, 1]);
        }
        PublicKey::Ec { curve, x, y } => {
            assert_eq!(Some(*curve), row.curve);
            assert_eq!((x.len(), y.len()), (curve.coordinate_len(), curve.coordinate_len()));
        }
        PublicKey::Oct => assert_eq!(row.kty, strongroom_model::KeyType::Oct),
    }
}

/// The binding with one field changed, for every field and both directions of what can be absent.
fn every_change(b: &Binding) -> Vec<Binding> {
    let other_spec = if b.spec == KeySpec::EcP384 { KeySpec::EcP521 } else { KeySpec::EcP384 };
    vec![
        Binding { pool: OTHER_POOL, ..b.clone() },
        Binding { vault: VaultId::NONE, ..b.clone() },
        Binding { kind: KeyKind::Internal, ..b.clone() },
        Binding { name: "suite-kez".to_owned(), ..b.clone() },
        Binding { name: "suite-key1".to_owned(), ..b.clone() },
        Binding { version: KeyVersion([0xc2; 16]), ..b.clone() },
        Binding { spec: other_spec, ..b.clone() },
        Binding { ops: b.ops.with(KeyOp::Export), ..b.clone() },
        Binding { ops: KeyOps::NONE, ..b.clone() },
        Binding { enabled: !b.enabled, ..b.clone() },
        Binding { not_before: None, ..b.clone() },
        Binding { not_before: Some(Timestamp(2)), ..b.clone() },
        Binding { expires: None, ..b.clone() },
        Binding { expires: Some(NOW.plus(1001)), ..b.clone() },
        Binding { exportable: !b.exportable, ..b.clone() },
        Binding { release_policy: Some([1; 32]), ..b.clone() },
        Binding { release_policy_immutable: !b.release_policy_immutable, ..b.clone() },
        Binding { origin: Origin::Byok, ..b.clone() },
        Binding { created: NOW.plus(1), ..b.clone() },
        Binding { public_key: Some([1; 32]), ..b.clone() },
        Binding { generation: b.generation + 1, ..b.clone() },
        Binding { generation: b.generation + 256, ..b.clone() },
    ]
}

fn digest(algorithm: Algorithm) -> Vec<u8> {
    vec![0x5c; algorithm.digest().map_or(32, |digest| digest.size())]
}

fn aad(algorithm: Algorithm) -> Option<Vec<u8>> {
    (algorithm.row().mechanism == Mechanism::AesGcm).then(|| b"associated".to_vec())
}

fn is_cbc(algorithm: Algorithm) -> bool {
    matches!(algorithm.row().mechanism, Mechanism::AesCbc | Mechanism::AesCbcPad)
}

/// Values that fit algorithm and operation wherever the two fit each other.
fn good_input(algorithm: Algorithm, operation: Operation) -> Input {
    let iv = is_cbc(algorithm).then(|| IV.to_vec());
    match operation {
        Operation::Sign => Input::Sign { digest: digest(algorithm) },
        Operation::Verify => Input::Verify { digest: digest(algorithm), signature: vec![0; 64] },
        Operation::Encrypt => Input::Encrypt { plaintext: SecretBytes::copy_of(PLAINTEXT), iv, aad: aad(algorithm) },
        Operation::Decrypt => Input::Decrypt { ciphertext: vec![0; 32], iv, aad: aad(algorithm), tag: None },
        Operation::WrapKey => Input::WrapKey { key: SecretBytes::copy_of(PLAINTEXT) },
        Operation::UnwrapKey => Input::UnwrapKey { wrapped: vec![0; 40] },
    }
}

/// Values of a wrong shape for an algorithm, with the refusal of each.
fn bad_inputs(algorithm: Algorithm, spec: KeySpec) -> Vec<(Input, HsmError)> {
    let size = usize::try_from(spec.row().bits / 8).unwrap();
    let too_long = |name| HsmError::BadLength(name);
    match algorithm.row().mechanism {
        Mechanism::RsaPkcs1Signature(d) | Mechanism::RsaPss(d) | Mechanism::Ecdsa(_, d) | Mechanism::Hmac(d) => {
            let lengths = [0, 1, 20, d.size() - 1, d.size() + 1, 2 * d.size()];
            let signs = lengths.iter().map(|len| Input::Sign { digest: vec![1; *len] });
            let verify = |len: &usize| Input::Verify { digest: vec![1; *len], signature: vec![1; 64] };
            let inputs = signs.chain(lengths.iter().map(verify));
            inputs.map(|input| (input, HsmError::BadLength(ValueName::Digest))).collect()
        }
        Mechanism::RsaPkcs1Encryption => bad_rsa(size, size - 10),
        Mechanism::RsaOaepSha1 => bad_rsa(size, size - 41),
        Mechanism::RsaOaepSha256 => bad_rsa(size, size - 65),
        Mechanism::AesKeyWrap => {
            let mut bad: Vec<_> = [0, 1, 8, 15, 17, 40 * 1024].map(|n| (wrap(n), too_long(ValueName::Value))).into();
            bad.extend([0, 1, 8, 16, 23, 25, 24, 40].map(|n| (unwrap(n), HsmError::Undecryptable)));
            bad
        }
        Mechanism::AesKeyWrapPad => {
            let mut bad: Vec<_> = [0, 40 * 1024].map(|n| (wrap(n), too_long(ValueName::Value))).into();
            bad.extend([0, 1, 8, 15, 17, 16, 24].map(|n| (unwrap(n), HsmError::Undecryptable)));
            bad
        }
        Mechanism::AesGcm => bad_gcm(),
        Mechanism::AesCbc => bad_cbc(false),
        Mechanism::AesCbcPad => bad_cbc(true),
    }
}

fn wrap(len: usize) -> Input {
    Input::WrapKey { key: SecretBytes::new(vec![1; len]) }
}

fn unwrap(len: usize) -> Input {
    Input::UnwrapKey { wrapped: vec![1; len] }
}

fn encrypt(len: usize, iv: Option<usize>, aad: Option<usize>) -> Input {
    let bytes = |len: usize| vec![1; len];
    Input::Encrypt { plaintext: SecretBytes::new(bytes(len)), iv: iv.map(bytes), aad: aad.map(bytes) }
}

fn decrypt(len: usize, iv: Option<usize>, aad: Option<usize>, tag: Option<usize>) -> Input {
    let bytes = |len: usize| vec![1; len];
    Input::Decrypt { ciphertext: bytes(len), iv: iv.map(bytes), aad: aad.map(bytes), tag: tag.map(bytes) }
}

fn bad_rsa(size: usize, too_long: usize) -> Vec<(Input, HsmError)> {
    use HsmError::{BadLength, Undecryptable};
    let mut bad = vec![
        (encrypt(too_long, None, None), BadLength(ValueName::Value)),
        (wrap(too_long), BadLength(ValueName::Value)),
        (encrypt(32, Some(16), None), BadLength(ValueName::Iv)),
        (encrypt(32, None, Some(1)), BadLength(ValueName::Aad)),
        (decrypt(size, None, None, Some(16)), BadLength(ValueName::Tag)),
    ];
    for len in [0, 1, size - 1, size, size + 1] {
        bad.push((decrypt(len, None, None, None), Undecryptable));
        bad.push((unwrap(len), Undecryptable));
    }
    let above_the_modulus = Input::Decrypt { ciphertext: vec![0xff; size], iv: None, aad: None, tag: None };
    bad.push((above_the_modulus, Undecryptable));
    bad
}

fn bad_gcm() -> Vec<(Input, HsmError)> {
    use HsmError::{BadLength, Undecryptable};
    let mut bad = vec![
        (encrypt(32, Some(12), None), BadLength(ValueName::Iv)),
        (encrypt(32, Some(0), None), BadLength(ValueName::Iv)),
        (encrypt(40 * 1024, None, None), BadLength(ValueName::Value)),
        (encrypt(1, None, Some(40 * 1024)), BadLength(ValueName::Aad)),
        (decrypt(32, None, None, Some(16)), BadLength(ValueName::Iv)),
        (decrypt(32, Some(12), None, None), BadLength(ValueName::Tag)),
        (decrypt(0, Some(12), None, Some(16)), Undecryptable),
        (decrypt(32, Some(12), None, Some(16)), Undecryptable),
    ];
    bad.extend([0, 8, 11, 13, 16].map(|n| (decrypt(32, Some(n), None, Some(16)), BadLength(ValueName::Iv))));
    bad.extend([0, 4, 12, 15, 17].map(|n| (decrypt(32, Some(12), None, Some(n)), BadLength(ValueName::Tag))));
    bad
}

fn bad_cbc(pad: bool) -> Vec<(Input, HsmError)> {
    use HsmError::{BadLength, Undecryptable};
    let mut bad = vec![
        (encrypt(32, None, None), BadLength(ValueName::Iv)),
        (encrypt(32, Some(16), Some(1)), BadLength(ValueName::Aad)),
        (encrypt(40 * 1024, Some(16), None), BadLength(ValueName::Value)),
        (decrypt(32, None, None, None), BadLength(ValueName::Iv)),
        (decrypt(32, Some(16), Some(1), None), BadLength(ValueName::Aad)),
        (decrypt(32, Some(16), None, Some(16)), BadLength(ValueName::Tag)),
    ];
    bad.extend([0, 12, 15, 17].map(|n| (encrypt(32, Some(n), None), BadLength(ValueName::Iv))));
    bad.extend([0, 12, 15, 17].map(|n| (decrypt(32, Some(n), None, None), BadLength(ValueName::Iv))));
    bad.extend([0, 1, 15, 17, 31].map(|n| (decrypt(n, Some(16), None, None), Undecryptable)));
    if !pad {
        bad.extend([0, 1, 15, 17, 31].map(|n| (encrypt(n, Some(16), None), BadLength(ValueName::Value))));
    }
    bad
}
