//! Brute force over sequences of calls: no sequence of up to four makes a key that is not exportable leave (the attacks on
//! PKCS#11 of Clulow and of Bortolozzo and others: wrap with one permission, decrypt with another).
//!
//! A refused call changes nothing, so what follows it is tried without it; the rest of the tree is walked in full.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::collections::HashMap;
use std::sync::Arc;
use strongroom_hsm::verbs::{Answer, Envelope, Input, KeyMaterial, Operate, Output};
use strongroom_hsm::{Binding, HsmError, KeyBlob, KeyDraft, KeyKind, RebindChange, Reply, Request};
use strongroom_hsm_soft::SoftProvider;
use strongroom_model::clock::SystemClock;
use strongroom_model::key::{KEY_OPS, KeyOp, KeyOps, KeySpec};
use strongroom_model::{Algorithm, Curve, KeyVersion, PoolId, SecretBytes, VaultId};
use strongroom_partition::codec::{Buffer, encode_answer};
use strongroom_partition::core::{Core, ThreadChain};
use uuid::Uuid;

const POOL: PoolId = PoolId(Uuid::from_bytes([7; 16]));
const CANARY: [u8; 32] = *b"canary:never-in-any-answer:32byt";
/// The scalar of the canary on P-256, and its point.
const EC_D: &str = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
const EC_X: &str = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6";
const EC_Y: &str = "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";

/// Whose key a call uses.
#[derive(Clone, Copy, Debug)]
enum With {
    Canary,
    /// A symmetric key that may everything.
    Helper,
    /// An RSA key that may everything.
    Rsa,
    /// A key that was imported from the last result.
    Made,
}

/// What a call is about.
#[derive(Clone, Copy, Debug)]
enum What {
    Known,
    /// The value of the last result.
    Last,
    /// The sealed canary.
    Sealed,
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Rebind(KeyOps),
    Disable,
    Encrypt(With, Algorithm, What),
    Decrypt(With, Algorithm, What),
    Wrap(With, Algorithm, What),
    Unwrap(With, Algorithm, What),
    Sign(With, Algorithm, What),
    Import,
    Random,
}

#[derive(Clone)]
struct State {
    canary: Arc<KeyBlob>,
    made: Option<Arc<KeyBlob>>,
    value: Vec<u8>,
    iv: Option<Vec<u8>>,
    tag: Option<Vec<u8>>,
}

struct Search {
    core: Core<SoftProvider>,
    chain: ThreadChain,
    helper: Arc<KeyBlob>,
    rsa: Arc<KeyBlob>,
    needles: Vec<Vec<u8>>,
    calls: Vec<Call>,
    spec: KeySpec,
    material: fn() -> KeyMaterial,
    /// The canary as a change left it, by operations and whether it is enabled.
    changed: HashMap<(KeyOps, bool), Arc<KeyBlob>>,
    made: u64,
    versions: u64,
}

/// Every spelling in which key bytes are looked for.
fn needles(secret: &[u8]) -> Vec<Vec<u8>> {
    let reversed: Vec<u8> = secret.iter().rev().copied().collect();
    let mut needles = Vec::new();
    for bytes in [secret, &reversed] {
        // Half of a key is as bad: 16 bytes in a row, at the front and at the back.
        for part in [&bytes[..16], &bytes[bytes.len() - 16..]] {
            needles.extend([part.to_vec(), hex::encode(part).into_bytes(), hex::encode_upper(part).into_bytes()]);
            for at in 0..3 {
                // Whole groups only, wherever they begin.
                let whole = &part[at..at + 12];
                needles
                    .extend([STANDARD_NO_PAD.encode(whole).into_bytes(), URL_SAFE_NO_PAD.encode(whole).into_bytes()]);
            }
        }
    }
    needles.sort();
    needles.dedup();
    needles
}

/// The needle that stands in the haystack; they are sorted.
fn found<'n>(haystack: &[u8], needles: &'n [Vec<u8>]) -> Option<&'n Vec<u8>> {
    (0..haystack.len()).find_map(|at| {
        let rest = &haystack[at..];
        let from = needles.partition_point(|needle| needle[0] < rest[0]);
        needles[from..].iter().take_while(|needle| needle[0] == rest[0]).find(|needle| rest.starts_with(needle))
    })
}

fn draft(name: &str, spec: KeySpec, ops: KeyOps, version: u64) -> KeyDraft {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&version.to_be_bytes());
    KeyDraft {
        vault: VaultId::NONE,
        kind: KeyKind::Customer,
        name: name.into(),
        version: KeyVersion(id),
        spec,
        ops,
        enabled: true,
        not_before: None,
        expires: None,
    }
}

/// All operations that a key of this spec may have beside each other.
fn all(spec: KeySpec) -> KeyOps {
    let able = KEY_OPS.iter().filter(|(op, _, types)| types.contains(&spec.kty()) && *op != KeyOp::Import);
    able.fold(KeyOps::NONE, |ops, (op, ..)| ops.with(*op))
}

fn of(ops: &[KeyOp]) -> KeyOps {
    ops.iter().fold(KeyOps::NONE, |all, op| all.with(*op))
}

impl Search {
    fn new(spec: KeySpec, material: fn() -> KeyMaterial, secrets: &[&[u8]], calls: Vec<Call>) -> (Self, State) {
        let kek = SecretBytes::new(vec![1; 32]);
        let core = Core::new(Arc::new(SoftProvider), POOL, kek, Box::new(SystemClock { offset: 0 }), false);
        let chain = core.thread_chain().unwrap();
        let ask = |request| core.handle(&chain, Envelope { id: 1, clock_offset: 0, request }).result;
        ask(Request::CreateRoot).unwrap();
        let key = |request| {
            let Ok(Reply::KeyMade(made, _)) = ask(request) else { panic!("a key") };
            Arc::new(made.blob)
        };
        let helper = key(Request::Generate(draft("helper", KeySpec::Oct256, all(KeySpec::Oct256), 1), Uuid::nil()));
        let rsa = key(Request::Generate(draft("rsa", KeySpec::Rsa2048, all(KeySpec::Rsa2048), 2), Uuid::nil()));
        let canary = key(Request::Import(draft("canary", spec, all(spec), 3), material(), Uuid::nil()));
        let mut needles: Vec<_> = secrets.iter().flat_map(|secret| needles(secret)).collect();
        needles.sort();
        let state = State { canary, made: None, value: vec![5; 32], iv: None, tag: None };
        let changed = HashMap::new();
        (Self { core, chain, helper, rsa, needles, calls, spec, material, changed, made: 0, versions: 4 }, state)
    }

    /// Asks, and looks for key bytes in the frame that would travel.
    fn ask(&mut self, request: Request) -> Result<Reply, HsmError> {
        self.made += 1;
        let result = self.core.handle(&self.chain, Envelope { id: 1, clock_offset: 0, request }).result;
        let answer = Answer { id: 1, result };
        let mut frame = Buffer::default();
        encode_answer(&answer, &mut frame);
        let found = found(frame.as_slice(), &self.needles);
        assert!(found.is_none(), "key bytes left as {found:?}");
        answer.result
    }

    fn operate(&mut self, blob: &Arc<KeyBlob>, algorithm: Algorithm, input: Input) -> Option<Output> {
        let key = blob.id().unwrap();
        let blob = Some(Arc::clone(blob));
        match self.ask(Request::Operate(Operate { key, blob, algorithm, input, caller: Uuid::nil() })) {
            Ok(Reply::Done(output, _)) => Some(output),
            Ok(_) => panic!("another reply"),
            Err(_) => None,
        }
    }

    /// The state behind a call; nothing when it was refused.
    fn make(&mut self, state: &State, call: Call) -> Option<State> {
        let value = |what| match what {
            What::Known => vec![5; 32],
            What::Last => state.value.clone(),
            What::Sealed => state.canary.sealed[..state.canary.sealed.len() / 16 * 16].to_vec(),
        };
        let key = |with| match with {
            With::Canary => Some(Arc::clone(&state.canary)),
            With::Helper => Some(Arc::clone(&self.helper)),
            With::Rsa => Some(Arc::clone(&self.rsa)),
            With::Made => state.made.clone(),
        };
        let cbc = |algorithm| matches!(algorithm, Algorithm::A256Cbc | Algorithm::A256CbcPad);
        let (blob, algorithm, input) = match call {
            Call::Rebind(ops) => return self.rebind(state, RebindChange { ops: Some(ops), ..RebindChange::default() }),
            Call::Disable => {
                return self.rebind(state, RebindChange { enabled: Some(false), ..RebindChange::default() });
            }
            Call::Import => return self.import(state),
            Call::Random => {
                let Ok(Reply::Random(bytes)) = self.ask(Request::Random { count: 32 }) else { return None };
                return Some(State { value: bytes.expose().to_vec(), iv: None, tag: None, ..state.clone() });
            }
            Call::Encrypt(with, algorithm, what) => {
                let plaintext = SecretBytes::new(value(what));
                let iv = cbc(algorithm).then(|| vec![0; 16]);
                (key(with)?, algorithm, Input::Encrypt { plaintext, iv, aad: None })
            }
            Call::Decrypt(with, algorithm, what) => {
                let iv = if cbc(algorithm) { Some(vec![0; 16]) } else { state.iv.clone() };
                let tag = if cbc(algorithm) { None } else { state.tag.clone() };
                (key(with)?, algorithm, Input::Decrypt { ciphertext: value(what), iv, aad: None, tag })
            }
            Call::Wrap(with, algorithm, what) => {
                (key(with)?, algorithm, Input::WrapKey { key: SecretBytes::new(value(what)) })
            }
            Call::Unwrap(with, algorithm, what) => (key(with)?, algorithm, Input::UnwrapKey { wrapped: value(what) }),
            Call::Sign(with, algorithm, what) => {
                let mut digest = value(what);
                digest.resize(32, 0);
                (key(with)?, algorithm, Input::Sign { digest })
            }
        };
        let (value, iv, tag) = match self.operate(&blob, algorithm, input)? {
            Output::Signature(value) => (value, None, None),
            Output::Ciphertext { value, iv, tag } => (value, iv, tag),
            Output::Plaintext(value) => (value.expose().to_vec(), None, None),
            Output::Verified(_) => return None,
        };
        Some(State { value, iv, tag, ..state.clone() })
    }

    /// Changes a twin of the canary: the partition refuses the key from before a change, which other branches still need.
    fn rebind(&mut self, state: &State, change: RebindChange) -> Option<State> {
        let binding = &state.canary.binding;
        let (ops, enabled) = (change.ops.unwrap_or(binding.ops), change.enabled.unwrap_or(binding.enabled));
        if (ops, enabled) == (binding.ops, binding.enabled) {
            return None;
        }
        if let Some(known) = self.changed.get(&(ops, enabled)) {
            return Some(State { canary: Arc::clone(known), ..state.clone() });
        }
        self.versions += 1;
        let draft = KeyDraft { enabled: binding.enabled, ..draft("canary", self.spec, binding.ops, self.versions) };
        let Ok(Reply::KeyMade(twin, _)) = self.ask(Request::Import(draft, (self.material)(), Uuid::nil())) else {
            panic!("a twin")
        };
        let request = Request::Rebind(Arc::new(twin.blob.clone()), change, Uuid::nil());
        let Ok(Reply::Rebound(blob, _)) = self.ask(request) else { panic!("a change") };
        // Nothing of what protects a key is ever weaker than before.
        let (old, new) = (&twin.blob.binding, &blob.binding);
        let kept = Binding { ops: old.ops, enabled: old.enabled, generation: old.generation, ..new.clone() };
        assert_eq!(kept, *old);
        assert!(!new.exportable && new.generation == old.generation + 1);
        let blob = Arc::new(blob);
        self.changed.insert((ops, enabled), Arc::clone(&blob));
        Some(State { canary: blob, ..state.clone() })
    }

    fn import(&mut self, state: &State) -> Option<State> {
        self.versions += 1;
        let draft = draft("made", KeySpec::Oct256, all(KeySpec::Oct256), self.versions);
        let k = SecretBytes::copy_of(state.value.get(..32)?);
        let Ok(Reply::KeyMade(made, _)) = self.ask(Request::Import(draft, KeyMaterial::Oct { k }, Uuid::nil())) else {
            return None;
        };
        Some(State { made: Some(Arc::new(made.blob)), ..state.clone() })
    }

    fn walk(&mut self, state: &State, depth: u32) {
        for at in 0..self.calls.len() {
            if let Some(next) = self.make(state, self.calls[at])
                && depth > 1
            {
                self.walk(&next, depth - 1);
            }
        }
    }

    /// Walks, and says how many sequences that covers and how many calls it took.
    fn run(mut self, what: &str, state: &State, depth: u32) {
        self.walk(state, depth);
        let covered: u64 = (1..=depth).map(|d| (self.calls.len() as u64).pow(d)).sum();
        let (calls, made) = (self.calls.len(), self.made);
        println!("{what}: {covered} sequences of up to {depth} of {calls} calls, in {made} calls");
        strongroom_counts::count(&format!("leaks: sequences of verbs on {what}"), covered);
    }
}

fn rounds() -> u32 {
    std::env::var("STRONGROOM_ROUNDS").map_or(1, |text| text.parse().unwrap())
}

fn oct() -> KeyMaterial {
    KeyMaterial::Oct { k: SecretBytes::copy_of(&CANARY) }
}

fn oct_calls() -> Vec<Call> {
    use Algorithm::{A256CbcPad, A256Gcm, A256Kw, Hs256, Rsa1_5, RsaOaep256};
    use KeyOp as O;
    use What::{Known, Last, Sealed};
    use With::{Canary, Helper, Made, Rsa};
    let mut calls: Vec<Call> =
        [&[O::WrapKey, O::Decrypt][..], &[O::Encrypt, O::UnwrapKey], &[O::Sign], &[O::Export, O::DeriveKey]]
            .map(|ops| Call::Rebind(of(ops)))
            .to_vec();
    calls.extend([Call::Rebind(all(KeySpec::Oct256)), Call::Disable, Call::Import, Call::Random]);
    for algorithm in [A256Gcm, A256CbcPad] {
        for with in [Canary, Helper] {
            calls.extend([Known, Last].map(|what| Call::Encrypt(with, algorithm, what)));
        }
        calls.extend([Canary, Helper, Made].map(|with| Call::Decrypt(with, algorithm, Last)));
    }
    for with in [Canary, Helper] {
        calls.extend([Known, Last, Sealed].map(|what| Call::Wrap(with, A256Kw, what)));
        calls.extend([Last, Sealed].map(|what| Call::Unwrap(with, A256Kw, what)));
    }
    calls.extend([Call::Unwrap(Made, A256Kw, Last), Call::Encrypt(Rsa, RsaOaep256, Last)]);
    calls.extend([
        Call::Decrypt(Rsa, RsaOaep256, Last),
        Call::Unwrap(Rsa, Rsa1_5, Last),
        Call::Sign(Canary, Hs256, Last),
    ]);
    calls
}

#[test]
fn a_symmetric_key_never_leaves() {
    let (search, state) = Search::new(KeySpec::Oct256, oct, &[&CANARY], oct_calls());
    search.run("a symmetric key", &state, 4);
}

fn ec() -> KeyMaterial {
    let decode = |text: &str| hex::decode(text).unwrap();
    KeyMaterial::Ec { curve: Curve::P256, x: decode(EC_X), y: decode(EC_Y), d: SecretBytes::new(decode(EC_D)) }
}

#[test]
fn an_ec_key_never_leaves() {
    use Algorithm::{A256CbcPad, A256Gcm, A256Kw, Es256};
    use What::{Known, Last, Sealed};
    let decode = |text: &str| hex::decode(text).unwrap();
    let mut calls =
        vec![Call::Rebind(of(&[KeyOp::Sign])), Call::Rebind(of(&[KeyOp::Export])), Call::Disable, Call::Import];
    calls.push(Call::Rebind(all(KeySpec::EcP256)));
    calls.extend([Known, Last, Sealed].map(|what| Call::Sign(With::Canary, Es256, what)));
    for with in [With::Helper, With::Made] {
        calls.extend([Last, Sealed].map(|what| Call::Wrap(with, A256Kw, what)));
        calls.extend([Last, Sealed].map(|what| Call::Unwrap(with, A256Kw, what)));
        calls.extend([Last, Sealed].map(|what| Call::Decrypt(with, A256CbcPad, what)));
        calls.extend([Call::Encrypt(with, A256Gcm, Sealed), Call::Decrypt(with, A256Gcm, Last)]);
    }
    let (search, state) = Search::new(KeySpec::EcP256, ec, &[&decode(EC_D)], calls);
    search.run("an EC key", &state, 4);
}

/// A part of the RSA key of the API description's example.
fn part(name: &str) -> Vec<u8> {
    let example: serde_json::Value =
        serde_json::from_str(include_str!("../../wire/tests/examples/keys/ImportKey.json")).unwrap();
    URL_SAFE_NO_PAD.decode(example["parameters"]["parameters"]["key"][name].as_str().unwrap()).unwrap()
}

fn rsa() -> KeyMaterial {
    let secret = |name: &str| SecretBytes::new(part(name));
    KeyMaterial::Rsa {
        n: part("n"),
        e: part("e"),
        d: secret("d"),
        p: secret("p"),
        q: secret("q"),
        dp: secret("dp"),
        dq: secret("dq"),
        qi: secret("qi"),
    }
}

#[test]
fn an_rsa_key_never_leaves() {
    use Algorithm::{A256Kw, Rs256, Rsa1_5, RsaOaep256};
    use What::{Known, Last, Sealed};
    let mut calls = vec![Call::Rebind(of(&[KeyOp::WrapKey, KeyOp::Decrypt])), Call::Disable, Call::Import];
    for algorithm in [Rsa1_5, RsaOaep256] {
        calls.extend([Known, Last].map(|what| Call::Encrypt(With::Canary, algorithm, what)));
        calls.push(Call::Decrypt(With::Canary, algorithm, Last));
        calls.push(Call::Unwrap(With::Canary, algorithm, Last));
    }
    calls.extend([Call::Wrap(With::Canary, RsaOaep256, Last), Call::Sign(With::Canary, Rs256, Last)]);
    calls.extend([Sealed, Last].map(|what| Call::Wrap(With::Helper, A256Kw, what)));
    calls.push(Call::Unwrap(With::Helper, A256Kw, Last));
    let secrets = ["d", "p", "q", "dp", "dq", "qi"].map(part);
    let secrets: Vec<&[u8]> = secrets.iter().map(Vec::as_slice).collect();
    let (search, state) = Search::new(KeySpec::Rsa2048, rsa, &secrets, calls);
    search.run("an RSA key", &state, if rounds() > 1 { 4 } else { 3 });
}

#[test]
#[should_panic(expected = "key bytes left as")]
fn a_key_that_does_leave_is_seen() {
    // The control: an attacker who knows the key, and so finds it in what an honest decryption answers.
    let (mut search, state) = Search::new(KeySpec::Oct256, oct, &[&CANARY], Vec::new());
    let state = State { value: CANARY.to_vec(), ..state };
    let state = search.make(&state, Call::Wrap(With::Helper, Algorithm::A256Kw, What::Last)).unwrap();
    search.make(&state, Call::Unwrap(With::Helper, Algorithm::A256Kw, What::Last));
}

#[test]
fn a_key_is_seen_in_every_spelling() {
    let needles = needles(&CANARY);
    let reversed: Vec<u8> = CANARY.iter().rev().copied().collect();
    for text in [CANARY.to_vec(), reversed, hex::encode(CANARY).into(), hex::encode_upper(CANARY).into()] {
        assert!(found(&text, &needles).is_some());
    }
    for before in 0..3 {
        let text = [vec![b'x'; before], CANARY.to_vec()].concat();
        for text in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
            assert!(found(text.as_bytes(), &needles).is_some(), "{before}");
        }
    }
    assert!(found(&[0; 100], &needles).is_none());
}
