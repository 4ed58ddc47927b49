//! A partition with the real provider behind hostile frames: it answers each, keeps its rules, and shows no key.

use crate::house::holds;
use std::cell::RefCell;
use std::sync::Arc;
use strongroom_hsm::verbs::{Answer, BlobId, Envelope, Input, KeyMaterial, Operate, Output};
use strongroom_hsm::{KeyBlob, KeyDraft, KeyKind, RebindChange, Reply, Request};
use strongroom_hsm_soft::SoftProvider;
use strongroom_model::clock::SystemClock;
use strongroom_model::key::{KeyOp, KeyOps, KeySpec, Origin};
use strongroom_model::{Algorithm, KeyType, KeyVersion, PoolId, SecretBytes, VaultId};
use strongroom_partition::codec::{Buffer, Inbox, decode, encode_answer, encode_request};
use strongroom_partition::core::{Core, ThreadChain};
use uuid::Uuid;

const POOL: PoolId = PoolId(Uuid::from_bytes([7; 16]));
/// The bytes of the one key that was imported.
const CANARY: [u8; 32] = *b"canary:never-in-any-answer:32byt";
/// A blob that an input cannot know is named by this byte and its place.
const STANDS_FOR: u8 = 0xb0;
/// Inputs after which the partition is made anew, so that it does not fill up.
const LIFE: usize = 5_000;

struct Partition {
    core: Core<SoftProvider>,
    chain: ThreadChain,
    known: Vec<Arc<KeyBlob>>,
    inputs: usize,
}

thread_local! {
    static PARTITION: RefCell<Option<Partition>> = const { RefCell::new(None) };
}

/// A draft with every operation of its type.
pub(crate) fn draft(name: &str) -> KeyDraft {
    KeyDraft {
        vault: VaultId::NONE,
        kind: KeyKind::Customer,
        name: name.into(),
        version: KeyVersion([4; 16]),
        spec: KeySpec::Oct256,
        ops: KeyOps::default_for(KeyType::Oct).with(KeyOp::Sign).with(KeyOp::Verify),
        enabled: true,
        not_before: None,
        expires: None,
    }
}

impl Partition {
    fn new() -> Self {
        let kek = SecretBytes::new(vec![1; 32]);
        let core = Core::new(Arc::new(SoftProvider), POOL, kek, Box::new(SystemClock { offset: 0 }), false);
        let chain = core.thread_chain().unwrap();
        let mut partition = Self { core, chain, known: Vec::new(), inputs: 0 };
        partition.ask(Request::CreateRoot).unwrap();
        let canary = KeyMaterial::Oct { k: SecretBytes::copy_of(&CANARY) };
        let signer = KeyDraft { spec: KeySpec::EcP256, ops: KeyOps::default_for(KeyType::Ec), ..draft("signer") };
        for request in [Request::Import(draft("canary"), canary, Uuid::nil()), Request::Generate(signer, Uuid::nil())] {
            let Ok(Reply::KeyMade(made, _)) = partition.ask(request) else { panic!("a key") };
            partition.known.push(Arc::new(made.blob));
        }
        partition
    }

    fn ask(&self, request: Request) -> Result<Reply, strongroom_hsm::HsmError> {
        self.core.handle(&self.chain, Envelope { id: 1, clock_offset: 0, request }).result
    }

    fn known(&self, bytes: &[u8]) -> Option<&Arc<KeyBlob>> {
        let first = *bytes.first()?;
        let at = first.checked_sub(STANDS_FOR)?;
        bytes.iter().all(|b| *b == first).then(|| self.known.get(usize::from(at))).flatten()
    }

    /// Puts real blobs where the input stands for one.
    fn fill(&self, request: &mut Request) {
        match request {
            Request::Operate(operate) => {
                if let Some(blob) = self.known(&operate.key.0) {
                    operate.key = blob.id().unwrap();
                    operate.blob = Some(Arc::clone(blob));
                }
            }
            Request::Rebind(blob, ..) => {
                if let Some(known) = self.known(&blob.sealed) {
                    *blob = Arc::clone(known);
                }
            }
            Request::Describe
            | Request::CreateRoot
            | Request::OpenRoot(_)
            | Request::Generate(..)
            | Request::Import(..)
            | Request::Random { .. }
            | Request::Checkpoint
            | Request::SelfTest => {}
        }
    }

    fn check(&self, envelope: Envelope, told: bool) {
        let id = envelope.id;
        let import = matches!(envelope.request, Request::Import(..));
        let answer = self.core.handle(&self.chain, envelope);
        assert_eq!(answer.id, id);
        let mut frame = Buffer::default();
        encode_answer(&answer, &mut frame);
        assert!(told || !holds(frame.as_slice(), &CANARY), "a key left the partition");
        assert!(decode::<Answer>(frame.as_slice().get(4..).unwrap_or_default()).is_ok());
        if let Ok(Reply::KeyMade(made, _)) = &answer.result {
            let binding = &made.blob.binding;
            let origin = if import { Origin::Imported } else { Origin::Generated };
            assert!(binding.pool == POOL && binding.origin == origin && binding.generation == 1);
            assert!(!binding.exportable && binding.has_canonical_name());
        }
        if let Ok(Reply::Rebound(blob, _)) = &answer.result {
            assert!(!blob.binding.exportable && blob.binding.generation > 1);
        }
    }
}

/// Frames, one after the other.
pub(crate) fn run(data: &[u8]) {
    PARTITION.with_borrow_mut(|slot| {
        let partition = slot.get_or_insert_with(Partition::new);
        let told = holds(data, &CANARY[..8]);
        let mut inbox = Inbox::default();
        let room = inbox.room();
        let count = room.len().min(data.len());
        room[..count].copy_from_slice(&data[..count]);
        inbox.received(count);
        while let Ok(Some(frame)) = inbox.next_frame() {
            let Ok(mut envelope) = decode::<Envelope>(frame) else { break };
            partition.fill(&mut envelope.request);
            let slow = matches!(&envelope.request,
                Request::Generate(draft, _) if draft.spec.kty() == KeyType::Rsa)
                || matches!(&envelope.request, Request::SelfTest);
            if !slow {
                partition.check(envelope, told);
            }
        }
        partition.inputs += 1;
        if partition.inputs.is_multiple_of(64) {
            let signer = Arc::clone(&partition.known[1]);
            let use_ = signing(signer.id().unwrap(), Some(signer));
            assert!(matches!(partition.ask(use_), Ok(Reply::Done(Output::Signature(_), _))), "the partition works on");
        }
        if partition.inputs >= LIFE {
            *slot = None;
        }
    });
}

fn signing(key: BlobId, blob: Option<Arc<KeyBlob>>) -> Request {
    let input = Input::Sign { digest: vec![5; 32] };
    Request::Operate(Operate { key, blob, algorithm: Algorithm::Es256, input, caller: Uuid::nil() })
}

fn operate(place: u8, algorithm: Algorithm, input: Input) -> Request {
    let key = BlobId([STANDS_FOR + place; 32]);
    Request::Operate(Operate { key, blob: None, algorithm, input, caller: Uuid::nil() })
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let plaintext = || SecretBytes::new(vec![9; 32]);
    let blob = || {
        let draft = draft("canary").bind(POOL, Origin::Imported, strongroom_model::Timestamp(1));
        Arc::new(KeyBlob { binding: draft, sealed: vec![STANDS_FOR; 8] })
    };
    let ec = KeyMaterial::Ec {
        curve: strongroom_model::Curve::P256,
        x: vec![1; 32],
        y: vec![2; 32],
        d: SecretBytes::new(vec![3; 32]),
    };
    let part = |len| SecretBytes::new(vec![0xc1; len]);
    let (n, e, d) = (vec![0xc3; 256], vec![1, 0, 1], part(256));
    let rsa = KeyMaterial::Rsa { n, e, d, p: part(128), q: part(128), dp: part(128), dq: part(128), qi: part(128) };
    let of = |spec: KeySpec| KeyDraft { spec, ops: KeyOps::default_for(spec.kty()), ..draft("made") };
    let requests = [
        Request::Describe,
        Request::CreateRoot,
        Request::Generate(draft("made"), Uuid::nil()),
        Request::Generate(of(KeySpec::EcP384), Uuid::nil()),
        Request::Import(draft("taken"), KeyMaterial::Oct { k: plaintext() }, Uuid::nil()),
        Request::Import(of(KeySpec::EcP256), ec, Uuid::nil()),
        Request::Import(of(KeySpec::Rsa2048), rsa, Uuid::nil()),
        Request::Rebind(blob(), RebindChange { ops: Some(KeyOps::NONE), ..RebindChange::default() }, Uuid::nil()),
        Request::Random { count: 5 },
        Request::Checkpoint,
        operate(1, Algorithm::Es256, Input::Sign { digest: vec![5; 32] }),
        operate(1, Algorithm::Es256, Input::Verify { digest: vec![5; 32], signature: vec![6; 64] }),
        operate(0, Algorithm::A256Gcm, Input::Encrypt { plaintext: plaintext(), iv: None, aad: Some(vec![1]) }),
        operate(0, Algorithm::A256Cbc, Input::Encrypt { plaintext: plaintext(), iv: Some(vec![1; 16]), aad: None }),
        operate(
            0,
            Algorithm::A256Gcm,
            Input::Decrypt { ciphertext: vec![1; 32], iv: Some(vec![2; 12]), aad: None, tag: Some(vec![3; 16]) },
        ),
        operate(
            0,
            Algorithm::A256CbcPad,
            Input::Decrypt { ciphertext: vec![1; 32], iv: Some(vec![2; 16]), aad: None, tag: None },
        ),
        operate(0, Algorithm::A256Kw, Input::WrapKey { key: plaintext() }),
        operate(0, Algorithm::A256Kw, Input::UnwrapKey { wrapped: vec![4; 40] }),
        operate(0, Algorithm::Hs256, Input::Sign { digest: vec![5; 32] }),
    ];
    let frame = |request: &Request| {
        let mut out = Buffer::default();
        encode_request(7, 0, request, &mut out).unwrap();
        out.as_slice().to_vec()
    };
    let mut seeds: Vec<Vec<u8>> = requests.iter().map(frame).collect();
    seeds.push(requests[..6].iter().flat_map(frame).collect());
    seeds.push(requests[9..].iter().flat_map(frame).collect());
    seeds
}
