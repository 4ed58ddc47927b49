#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::wildcard_enum_match_arm)]
use super::*;
use std::collections::HashMap;
use strongroom_hsm::KeyKind;
use strongroom_hsm::chain::{CHAIN_START, UseEntry, next_hash};
use strongroom_hsm_soft::SoftProvider;
use strongroom_model::VaultId;
use strongroom_model::audit::UseStamp;
use strongroom_model::clock::ManualClock;
use strongroom_model::key::{KeyOp, KeyOps, KeySpec, Operation};
use uuid::Uuid;

const START: Timestamp = Timestamp(1_790_000_000);
const POOL: PoolId = PoolId(Uuid::from_bytes([7; 16]));
const CALLER: Uuid = Uuid::from_bytes([9; 16]);

struct Clocked(Arc<ManualClock>);
impl Clock for Clocked {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

struct Fixture {
    core: Core<SoftProvider>,
    chain: ThreadChain,
    clock: Arc<ManualClock>,
    audit: KeyMade,
    wrapped: WrappedRoot,
}

fn closed(pool: PoolId, kek: u8, dev: bool) -> (Core<SoftProvider>, ThreadChain, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(START));
    let kek = SecretBytes::new(vec![kek; 32]);
    let core = Core::new(Arc::new(SoftProvider), pool, kek, Box::new(Clocked(Arc::clone(&clock))), dev);
    let chain = core.thread_chain().unwrap();
    (core, chain, clock)
}

fn fixture() -> Fixture {
    let (core, chain, clock) = closed(POOL, 1, false);
    let made = core.handle(&chain, envelope(Request::CreateRoot)).result.unwrap();
    let Reply::RootCreated { wrapped, audit_key } = made else { panic!("a root") };
    Fixture { core, chain, clock, audit: audit_key, wrapped }
}

fn envelope(request: Request) -> Envelope {
    Envelope { id: 1, clock_offset: 0, request }
}

fn draft(name: &str, spec: KeySpec) -> KeyDraft {
    KeyDraft {
        vault: VaultId::NONE,
        kind: KeyKind::Customer,
        name: name.to_owned(),
        version: KeyVersion([4; 16]),
        spec,
        ops: KeyOps::default_for(spec.kty()),
        enabled: true,
        not_before: None,
        expires: None,
    }
}

fn signing(blob: &Arc<KeyBlob>, with_blob: bool) -> Request {
    Request::Operate(Operate {
        key: blob.id().unwrap(),
        blob: with_blob.then(|| Arc::clone(blob)),
        algorithm: Algorithm::Es256,
        input: Input::Sign { digest: vec![5; 32] },
        caller: CALLER,
    })
}

impl Fixture {
    fn ask(&self, request: Request) -> Result<Reply, HsmError> {
        self.core.handle(&self.chain, envelope(request)).result
    }

    fn generate(&self, draft: KeyDraft) -> Result<Arc<KeyBlob>, HsmError> {
        match self.ask(Request::Generate(draft))? {
            Reply::KeyMade(made) => Ok(Arc::new(made.blob)),
            _ => panic!("a key"),
        }
    }

    fn rebind(&self, blob: &Arc<KeyBlob>, change: RebindChange) -> Result<Arc<KeyBlob>, HsmError> {
        match self.ask(Request::Rebind(Arc::clone(blob), change))? {
            Reply::Rebound(blob) => Ok(Arc::new(blob)),
            _ => panic!("a blob"),
        }
    }

    fn sign(&self, blob: &Arc<KeyBlob>) -> Result<UseStamp, HsmError> {
        match self.ask(signing(blob, true))? {
            Reply::Done(Output::Signature(_), stamp) => Ok(stamp),
            _ => panic!("a signature"),
        }
    }

    fn checkpoints(&self) -> Vec<Checkpoint> {
        match self.ask(Request::Checkpoint).unwrap() {
            Reply::Checkpoints(all) => all,
            _ => panic!("checkpoints"),
        }
    }
}

#[test]
fn nothing_works_before_the_root_is_open_and_it_opens_once() {
    let (core, chain, _) = closed(POOL, 1, false);
    let ask = |request| core.handle(&chain, envelope(request)).result.err();
    assert_eq!(ask(Request::Generate(draft("a", KeySpec::EcP256))), Some(HsmError::NotOpen));
    assert_eq!(ask(Request::Checkpoint), Some(HsmError::NotOpen));
    assert_eq!(ask(Request::Describe), None);

    let f = fixture();
    let audit_key = Arc::new(f.audit.blob.clone());
    let open = || Request::OpenRoot { wrapped: f.wrapped.clone(), audit_key: Arc::clone(&audit_key), last: Vec::new() };
    assert_eq!(f.ask(Request::CreateRoot).err(), Some(HsmError::AlreadyOpen));
    assert_eq!(f.ask(open()).err(), Some(HsmError::AlreadyOpen));
    assert_eq!(ask(open()), None);

    // Another seal and another pool do not open it, and a failed attempt does not stand in the way of the right one.
    for (pool, kek) in [(POOL, 2), (PoolId(Uuid::nil()), 1)] {
        let (core, chain, _) = closed(pool, kek, false);
        assert_eq!(core.handle(&chain, envelope(open())).result.err(), Some(HsmError::WrongSeal));
        assert!(core.handle(&chain, envelope(Request::CreateRoot)).result.is_ok());
    }
}

#[test]
fn a_key_is_asked_for_once_and_refused_to_other_names() {
    let f = fixture();
    let blob = f.generate(draft("invoices", KeySpec::EcP256)).unwrap();
    assert!(matches!(f.ask(signing(&blob, false)), Ok(Reply::NeedBlob)));
    f.sign(&blob).unwrap();
    assert!(matches!(f.ask(signing(&blob, false)), Ok(Reply::Done(..))));

    let other = f.generate(draft("other", KeySpec::EcP256)).unwrap();
    let Request::Operate(mut operate) = signing(&other, true) else { panic!() };
    operate.blob = Some(Arc::clone(&blob));
    assert_eq!(f.ask(Request::Operate(operate)).err(), Some(HsmError::Protocol), "an id that is not the blob's");

    let mut forged = KeyBlob::clone(&other);
    forged.binding.name = "invoices".to_owned();
    assert_eq!(f.sign(&Arc::new(forged)).err(), Some(HsmError::Unsealable));
    let mut foreign = KeyBlob::clone(&other);
    foreign.binding.pool = PoolId(Uuid::nil());
    assert_eq!(f.sign(&Arc::new(foreign)).err(), Some(HsmError::Unsealable));
}

#[test]
fn the_binding_decides_what_a_key_does_and_when() {
    let f = fixture();
    let wanted =
        KeyDraft { not_before: Some(START.plus(10)), expires: Some(START.plus(20)), ..draft("a", KeySpec::EcP256) };
    let blob = f.generate(wanted).unwrap();
    assert_eq!(blob.binding.created, START);
    assert_eq!(f.sign(&blob).err(), Some(HsmError::NotYetValid(Operation::Sign)));
    f.clock.advance(10);
    f.sign(&blob).unwrap();
    f.clock.advance(10);
    assert_eq!(f.sign(&blob).err(), Some(HsmError::Expired(Operation::Sign)));

    let Request::Operate(mut operate) = signing(&f.generate(draft("p384", KeySpec::EcP384)).unwrap(), true) else {
        panic!()
    };
    operate.algorithm = Algorithm::Es256;
    assert_eq!(f.ask(Request::Operate(operate)).err(), Some(HsmError::AlgorithmMismatch));
    let verify_only =
        f.generate(KeyDraft { ops: KeyOps::NONE.with(KeyOp::Verify), ..draft("v", KeySpec::EcP256) }).unwrap();
    assert_eq!(f.sign(&verify_only).err(), Some(HsmError::NotPermitted(Operation::Sign)));
}

#[test]
fn the_clock_is_moved_for_dev_alone() {
    for dev in [true, false] {
        let (core, chain, _) = closed(POOL, 1, dev);
        let ask = |clock_offset, request| core.handle(&chain, Envelope { id: 8, clock_offset, request });
        assert!(ask(0, Request::CreateRoot).result.is_ok());
        let answer = ask(-500, Request::Generate(draft("a", KeySpec::EcP256)));
        assert_eq!(answer.id, 8);
        match answer.result {
            Ok(Reply::KeyMade(made)) => assert!(dev && made.blob.binding.created == START.plus(-500)),
            Ok(_) => panic!("a key"),
            Err(error) => assert!(!dev && error == HsmError::Protocol),
        }
    }
}

#[test]
fn drafts_and_changes_that_no_key_may_have_are_refused() {
    let f = fixture();
    let ec = || draft("a", KeySpec::EcP256);
    let bad = [
        KeyDraft { ops: KeyOps::NONE.with(KeyOp::Encrypt), ..ec() },
        KeyDraft { ops: KeyOps::NONE.with(KeyOp::Import), ..ec() },
        KeyDraft { ops: KeyOps::NONE.with(KeyOp::Import).with(KeyOp::Sign), ..draft("a", KeySpec::Rsa2048) },
        KeyDraft { ops: KeyOps::NONE.with(KeyOp::DeriveKey), ..draft("a", KeySpec::Rsa2048) },
        KeyDraft { not_before: Some(START), expires: Some(START), ..ec() },
        KeyDraft { name: "Upper".to_owned(), ..ec() },
        KeyDraft { name: "no/slash".to_owned(), ..ec() },
        KeyDraft { name: String::new(), ..ec() },
        KeyDraft { kind: KeyKind::Internal, name: "checkpoints".to_owned(), ..ec() },
    ];
    for draft in bad {
        let material = KeyMaterial::Oct { k: SecretBytes::new(vec![1; 32]) };
        assert_eq!(f.generate(draft.clone()).err(), Some(HsmError::BindingRule), "{draft:?}");
        assert_eq!(f.ask(Request::Import(draft.clone(), material)).err(), Some(HsmError::BindingRule), "{draft:?}");
    }
    let blob = f.generate(KeyDraft { expires: Some(START.plus(9)), ..ec() }).unwrap();
    for change in [
        RebindChange { not_before: Some(START.plus(9)), ..RebindChange::default() },
        RebindChange { ops: Some(KeyOps::NONE.with(KeyOp::WrapKey)), ..RebindChange::default() },
        RebindChange { ops: Some(KeyOps::NONE.with(KeyOp::Import)), ..RebindChange::default() },
    ] {
        assert_eq!(f.rebind(&blob, change).err(), Some(HsmError::BindingRule), "{change:?}");
    }
}

#[test]
fn a_generation_that_was_presented_makes_the_older_ones_stale() {
    let f = fixture();
    let first = f.generate(draft("a", KeySpec::EcP256)).unwrap();
    f.sign(&first).unwrap();
    let disable = RebindChange { enabled: Some(false), ..RebindChange::default() };
    let second = f.rebind(&first, disable).unwrap();
    assert_eq!(second.binding.generation, 2);
    f.sign(&first).expect("the change may still fail to be stored");
    assert_eq!(f.sign(&second).err(), Some(HsmError::Disabled(Operation::Sign)));
    for _ in 0..2 {
        assert_eq!(f.sign(&first).err(), Some(HsmError::StaleGeneration));
        assert_eq!(f.rebind(&first, RebindChange::default()).err(), Some(HsmError::StaleGeneration));
    }
    // A blob that was opened for a change counts as presented too, and a forged generation does not.
    let other = f.generate(KeyDraft { version: KeyVersion([5; 16]), ..draft("a", KeySpec::EcP256) }).unwrap();
    let mut forged = KeyBlob::clone(&other);
    forged.binding.generation = 99;
    assert_eq!(f.rebind(&Arc::new(forged), RebindChange::default()).err(), Some(HsmError::Unsealable));
    f.sign(&other).unwrap();
    let later = f.rebind(&other, RebindChange::default()).unwrap();
    f.rebind(&later, RebindChange::default()).unwrap();
    assert_eq!(f.sign(&other).err(), Some(HsmError::StaleGeneration));
}

#[test]
fn uses_are_chained_and_checkpoints_verify() {
    let f = fixture();
    let blob = f.generate(draft("invoices", KeySpec::EcP256)).unwrap();
    let mut hash = CHAIN_START;
    let mut last = None;
    for sequence in 1..=5 {
        let stamp = f.sign(&blob).unwrap();
        let entry = UseEntry {
            chain: stamp.chain,
            sequence,
            operation: Operation::Sign,
            vault: VaultId::NONE,
            name: "invoices",
            version: KeyVersion([4; 16]),
            time: START,
            caller: CALLER,
        };
        hash = next_hash(&hash, &entry);
        assert_eq!((stamp.sequence, stamp.hash), (sequence, hash));
        last = Some(stamp);
    }
    let [checkpoint] = &f.checkpoints()[..] else { panic!("one chain moved") };
    assert!(checkpoint.verify(&f.audit.public));
    assert_eq!(
        (checkpoint.chain, checkpoint.sequence, checkpoint.hash),
        last.map(|s| (s.chain, s.sequence, s.hash)).unwrap()
    );
    assert!(f.checkpoints().is_empty(), "nothing moved since");
    // What was refused is not a use.
    assert!(f.ask(signing(&blob, true)).is_ok());
    let Request::Operate(mut wrong) = signing(&blob, true) else { panic!() };
    wrong.input = Input::Sign { digest: vec![1; 31] };
    assert!(f.ask(Request::Operate(wrong)).is_err());
    assert_eq!(f.checkpoints()[0].sequence, 6);
}

#[test]
fn a_new_start_names_the_last_checkpoints_once() {
    let f = fixture();
    let blob = f.generate(draft("a", KeySpec::EcP256)).unwrap();
    f.sign(&blob).unwrap();
    let last = f.checkpoints();
    assert!(last[0].previous.is_empty());

    let (core, chain, clock) = closed(POOL, 1, false);
    let audit_key = Arc::new(f.audit.blob.clone());
    let open = Request::OpenRoot { wrapped: f.wrapped.clone(), audit_key, last: last.clone() };
    core.handle(&chain, envelope(open)).result.unwrap();
    let next = Fixture { core, chain, clock, audit: f.audit.clone(), wrapped: f.wrapped.clone() };
    next.sign(&blob).unwrap();
    let first = next.checkpoints();
    assert!(first[0].verify(&f.audit.public) && first[0].chain != last[0].chain);
    assert_eq!(first[0].previous, [last[0].fingerprint()]);
    next.sign(&blob).unwrap();
    assert!(next.checkpoints()[0].previous.is_empty());
}

#[test]
fn a_busy_thread_signs_checkpoints_by_itself_and_keeps_the_first() {
    let f = fixture();
    let blob = f.generate(draft("a", KeySpec::Oct256)).unwrap();
    let Request::Operate(template) = signing(&blob, true) else { panic!() };
    let rounds = 6;
    for _ in 0..rounds * USES_PER_CHECKPOINT + 1 {
        let plaintext = SecretBytes::new(vec![0; 16]);
        let input = Input::Encrypt { plaintext, iv: None, aad: None };
        let blob = template.blob.clone();
        f.ask(Request::Operate(Operate {
            key: template.key,
            blob,
            algorithm: Algorithm::A256Gcm,
            input,
            caller: CALLER,
        }))
        .unwrap();
    }
    let sequences: Vec<u64> = f.checkpoints().iter().map(|c| c.sequence / USES_PER_CHECKPOINT).collect();
    assert_eq!(sequences, [1, 4, 5, 6, 6]);
}

#[test]
fn the_checkpoint_key_serves_no_request() {
    let f = fixture();
    let audit = Arc::new(f.audit.blob.clone());
    assert_eq!(f.sign(&audit).err(), Some(HsmError::Protocol));
    let more = RebindChange { ops: Some(KeyOps::NONE.with(KeyOp::Sign)), ..RebindChange::default() };
    assert_eq!(f.rebind(&audit, more).err(), Some(HsmError::BindingRule));
    // Another key in its place would let the service sign checkpoints itself.
    let own = f.generate(KeyDraft { kind: KeyKind::Internal, ..draft("mine", KeySpec::EcP256) }).unwrap();
    let (core, chain, _) = closed(POOL, 1, false);
    let open = Request::OpenRoot { wrapped: f.wrapped.clone(), audit_key: own, last: Vec::new() };
    assert_eq!(core.handle(&chain, envelope(open)).result.err(), Some(HsmError::Protocol));
}

#[test]
fn random_counts_are_bounded() {
    let f = fixture();
    for (count, good) in [(0, false), (1, true), (128, true), (129, false), (u16::MAX, false)] {
        match f.ask(Request::Random { count }) {
            Ok(Reply::Random(bytes)) => assert!(good && bytes.len() == usize::from(count)),
            Ok(_) => panic!("random bytes"),
            Err(error) => assert!(!good && error == HsmError::BadLength(ValueName::Count)),
        }
    }
}

#[test]
fn many_threads_share_one_key_and_each_has_its_chain() {
    let f = fixture();
    let blob = f.generate(draft("a", KeySpec::EcP256)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let chain = f.core.thread_chain().unwrap();
                for sequence in 1..=50 {
                    let reply = f.core.handle(&chain, envelope(signing(&blob, true))).result.unwrap();
                    assert!(matches!(reply, Reply::Done(_, stamp) if stamp.sequence == sequence));
                }
            });
        }
    });
    let moved: HashMap<_, _> = f.checkpoints().into_iter().map(|c| (c.chain, c.sequence)).collect();
    assert_eq!(moved.values().copied().collect::<Vec<_>>(), [50; 4]);
}
