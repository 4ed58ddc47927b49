#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::wildcard_enum_match_arm)]
use super::*;
use std::collections::HashMap;
use strongroom_hsm::KeyKind;
use strongroom_hsm::chain::Entry;
use strongroom_hsm::verbs::{Checkpoint, Input, KeyMade, Output, RootParts, WrappedRoot};
use strongroom_hsm_soft::SoftProvider;
use strongroom_model::VaultId;
use strongroom_model::audit::UseStamp;
use strongroom_model::clock::ManualClock;
use strongroom_model::key::{KeyOp, KeyOps, KeySpec, Operation};
use strongroom_model::{Algorithm, KeyVersion};
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
    opening: Opening,
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
    let Reply::RootCreated { wrapped, audit_key, opening } = made else { panic!("a root") };
    Fixture { core, chain, clock, audit: audit_key, wrapped, opening }
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
        match self.ask(Request::Generate(draft, CALLER))? {
            Reply::KeyMade(made, _) => Ok(Arc::new(made.blob)),
            _ => panic!("a key"),
        }
    }

    fn rebind(&self, blob: &Arc<KeyBlob>, change: RebindChange) -> Result<Arc<KeyBlob>, HsmError> {
        match self.ask(Request::Rebind(Arc::clone(blob), change, CALLER))? {
            Reply::Rebound(blob, _) => Ok(Arc::new(blob)),
            _ => panic!("a blob"),
        }
    }

    fn sign(&self, blob: &Arc<KeyBlob>) -> Result<UseStamp, HsmError> {
        match self.ask(signing(blob, true))? {
            Reply::Done(Output::Signature(_), stamp) => Ok(stamp),
            _ => panic!("a signature"),
        }
    }

    fn history(&self) -> History {
        match self.ask(Request::Checkpoint).unwrap() {
            Reply::Signed(history) => history,
            _ => panic!("checkpoints"),
        }
    }

    fn checkpoints(&self) -> Vec<Checkpoint> {
        self.history().checkpoints
    }

    fn parts(&self) -> RootParts {
        RootParts {
            wrapped: self.wrapped.clone(),
            audit_key: Arc::new(self.audit.blob.clone()),
            audit_public: self.audit.public.clone(),
            last: History { opening: self.opening.clone(), checkpoints: Vec::new() },
        }
    }

    /// The next run of the same pool.
    fn restarted(&self, last: History) -> Result<Self, HsmError> {
        let (core, chain, clock) = closed(POOL, 1, false);
        let open = Request::OpenRoot(RootParts { last, ..self.parts() });
        let Reply::RootOpened(opening) = core.handle(&chain, envelope(open)).result? else { panic!("a run") };
        Ok(Self { core, chain, clock, audit: self.audit.clone(), wrapped: self.wrapped.clone(), opening })
    }
}

#[test]
fn nothing_works_before_the_root_is_open_and_it_opens_once() {
    let (core, chain, _) = closed(POOL, 1, false);
    let ask = |request| core.handle(&chain, envelope(request)).result.err();
    assert_eq!(ask(Request::Generate(draft("a", KeySpec::EcP256), CALLER)), Some(HsmError::NotOpen));
    assert_eq!(ask(Request::Checkpoint), Some(HsmError::NotOpen));
    assert_eq!(ask(Request::Describe), None);

    let f = fixture();
    let open = || Request::OpenRoot(f.parts());
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
        let answer = ask(-500, Request::Generate(draft("a", KeySpec::EcP256), CALLER));
        assert_eq!(answer.id, 8);
        match answer.result {
            Ok(Reply::KeyMade(made, _)) => assert!(dev && made.blob.binding.created == START.plus(-500)),
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
        assert_eq!(
            f.ask(Request::Import(draft.clone(), material, CALLER)).err(),
            Some(HsmError::BindingRule),
            "{draft:?}"
        );
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
fn uses_and_changes_are_chained_and_checkpoints_verify() {
    let f = fixture();
    assert!(f.opening.verify() && f.opening.previous.is_none() && f.opening.chains == [f.chain.id()]);
    let mut last = f.opening.start_of(&f.chain.id());
    let mut sequence = 0;
    let mut next = |place: UseStamp, act, generation| {
        sequence += 1;
        let entry = Entry {
            chain: f.chain.id(),
            sequence,
            time: START,
            caller: CALLER,
            kind: KeyKind::Customer,
            vault: VaultId::NONE,
            version: KeyVersion([4; 16]),
            generation,
            act,
            name: "invoices",
        };
        last = entry.hash_after(&last);
        assert_eq!((place.chain, place.sequence, place.hash), (f.chain.id(), sequence, last));
        assert_eq!((place.time, place.generation), (START, generation));
    };
    let Ok(Reply::KeyMade(made, stamp)) = f.ask(Request::Generate(draft("invoices", KeySpec::EcP256), CALLER)) else {
        panic!("a key")
    };
    assert_eq!(stamp.change, KeyChange::Generate(made.blob.binding.digest()));
    next(stamp.place, Act::Change(stamp.change), 1);
    let blob = Arc::new(made.blob);
    next(f.sign(&blob).unwrap(), Act::Use(Operation::Sign), 1);
    let change = RebindChange { expires: Some(START.plus(9)), ..RebindChange::default() };
    let Ok(Reply::Rebound(rebound, stamp)) = f.ask(Request::Rebind(Arc::clone(&blob), change, CALLER)) else {
        panic!("a blob")
    };
    assert_eq!(stamp.change, KeyChange::Rebind(rebound.binding.digest()));
    assert_ne!(rebound.binding.digest(), blob.binding.digest());
    next(stamp.place, Act::Change(stamp.change), 2);
    next(f.sign(&Arc::new(rebound)).unwrap(), Act::Use(Operation::Sign), 2);
    let material = KeyMaterial::Oct { k: SecretBytes::new(vec![1; 32]) };
    let Ok(Reply::KeyMade(made, stamp)) = f.ask(Request::Import(draft("invoices", KeySpec::Oct256), material, CALLER))
    else {
        panic!("a key")
    };
    assert_eq!(stamp.change, KeyChange::Import(made.blob.binding.digest()));
    next(stamp.place, Act::Change(stamp.change), 1);

    let [checkpoint] = &f.checkpoints()[..] else { panic!("one chain moved") };
    assert!(checkpoint.verify(&f.audit.public));
    assert_eq!((checkpoint.chain, checkpoint.sequence, checkpoint.hash), (f.chain.id(), sequence, last));
    assert!(f.checkpoints().is_empty(), "nothing moved since");
    // What was refused is no entry.
    assert_eq!(f.sign(&blob).err(), Some(HsmError::StaleGeneration));
    assert!(f.generate(KeyDraft { name: "no/slash".to_owned(), ..draft("a", KeySpec::EcP256) }).is_err());
    assert!(f.rebind(&blob, RebindChange::default()).is_err());
    assert!(f.checkpoints().is_empty());
}

#[test]
fn a_run_names_the_one_before_and_is_refused_without() {
    let f = fixture();
    let blob = f.generate(draft("a", KeySpec::EcP256)).unwrap();
    f.sign(&blob).unwrap();
    let first = f.history();
    assert_eq!(first.opening, f.opening);
    let next = f.restarted(first.clone()).unwrap();
    assert!(next.opening.verify() && next.opening.chains != first.opening.chains);
    assert_eq!(next.opening.previous, Some(first.opening.digest()));
    let [named] = next.opening.checkpoints[..] else { panic!("one chain") };
    let state = &first.checkpoints[0];
    assert_eq!((named.chain, named.sequence, named.hash), (state.chain, state.sequence, state.hash));
    next.sign(&blob).unwrap();
    let second = next.history();
    assert!(second.checkpoints[0].verify(&f.audit.public));

    // Whatever this pool's audit key did not sign, or what does not belong together, opens nothing.
    let other = fixture();
    other.sign(&other.generate(draft("a", KeySpec::EcP256)).unwrap()).unwrap();
    let foreign = other.history();
    let opening = |change: fn(&mut Opening)| {
        let mut changed = second.clone();
        change(&mut changed.opening);
        changed
    };
    let checkpoint = |change: fn(&mut Checkpoint)| {
        let mut changed = second.clone();
        change(&mut changed.checkpoints[0]);
        changed
    };
    let with = |checkpoints: Vec<Checkpoint>| History { checkpoints, ..second.clone() };
    let twice = with(vec![second.checkpoints[0].clone(), second.checkpoints[0].clone()]);
    for bad in [
        foreign.clone(),
        opening(|o| o.signature.clear()),
        opening(|o| o.previous = None),
        opening(|o| o.chains.clear()),
        opening(|o| o.pool = PoolId(Uuid::nil())),
        checkpoint(|c| c.signature.clear()),
        checkpoint(|c| c.sequence += 1),
        checkpoint(|c| c.hash[0] ^= 1),
        with(first.checkpoints.clone()),
        with(foreign.checkpoints.clone()),
        twice,
        with(vec![second.checkpoints[0].clone(); CHAINS_MAX + 1]),
    ] {
        assert_eq!(f.restarted(bad.clone()).err(), Some(HsmError::History), "{bad:?}");
    }
    // A run of another pool, whose audit key is handed over with it, does not open this root.
    let mixed = RootParts { last: foreign, audit_public: other.audit.public.clone(), ..f.parts() };
    let (core, chain, _) = closed(POOL, 1, false);
    let opened = core.handle(&chain, envelope(Request::OpenRoot(mixed))).result.err();
    assert_eq!(opened, Some(HsmError::Unsealable));
    // A refusal stands in nobody's way.
    assert!(core.handle(&chain, envelope(Request::OpenRoot(f.parts()))).result.is_ok());
}

#[test]
fn no_chain_is_made_behind_the_opening() {
    let f = fixture();
    assert_eq!(f.core.thread_chain().err(), Some(HsmError::AlreadyOpen));
    let (core, _chain, _) = closed(POOL, 1, false);
    for _ in 1..CHAINS_MAX {
        core.thread_chain().unwrap();
    }
    assert!(core.thread_chain().is_err());
}

#[test]
fn a_busy_thread_signs_checkpoints_by_itself_and_keeps_the_last() {
    let f = fixture();
    let blob = f.generate(draft("a", KeySpec::Oct256)).unwrap();
    let Request::Operate(template) = signing(&blob, true) else { panic!() };
    let rounds = 6;
    for _ in 0..rounds * ENTRIES_PER_CHECKPOINT + 1 {
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
    let sequences: Vec<u64> = f.checkpoints().iter().map(|c| c.sequence / ENTRIES_PER_CHECKPOINT).collect();
    assert_eq!(sequences, [3, 4, 5, 6, 6]);
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
    let open = Request::OpenRoot(RootParts { audit_key: own, ..f.parts() });
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
    let (core, chain, _) = closed(POOL, 1, false);
    let chains: Vec<_> = (0..4).map(|_| core.thread_chain().unwrap()).collect();
    core.handle(&chain, envelope(Request::CreateRoot)).result.unwrap();
    let made = core.handle(&chain, envelope(Request::Generate(draft("a", KeySpec::EcP256), CALLER))).result;
    let Ok(Reply::KeyMade(made, _)) = made else { panic!("a key") };
    let blob = Arc::new(made.blob);
    std::thread::scope(|scope| {
        for chain in &chains {
            let (core, blob) = (&core, &blob);
            scope.spawn(move || {
                for sequence in 1..=50 {
                    let reply = core.handle(chain, envelope(signing(blob, true))).result.unwrap();
                    assert!(matches!(reply, Reply::Done(_, stamp) if stamp.sequence == sequence));
                }
            });
        }
    });
    let Ok(Reply::Signed(history)) = core.handle(&chain, envelope(Request::Checkpoint)).result else { panic!() };
    let moved: HashMap<_, _> = history.checkpoints.into_iter().map(|c| (c.chain, c.sequence)).collect();
    assert_eq!(moved.len(), 5);
    assert!(chains.iter().all(|chain| moved[&chain.id()] == 50));
}
