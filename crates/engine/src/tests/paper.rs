//! A partition on paper: the boundary's rules without its cryptography, so that tests are quick and can break it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use strongroom_hsm::gateway::Pending;
use strongroom_hsm::verbs::{
    Capabilities, History, Input, Opening, Operate, Output, ProviderName, RootParts, WrappedRoot,
};
use strongroom_hsm::{
    Binding, Gateway, HsmError, KeyBlob, KeyDraft, KeyKind, KeyMade, Partitions, PublicKey, Reply, Request,
};
use strongroom_model::audit::{ChangeStamp, KeyChange, UseStamp};
use strongroom_model::clock::ManualClock;
use strongroom_model::key::Origin;
use strongroom_model::{Algorithm, Clock, KeyOps, KeySpec, KeyType, KeyVersion, PoolId, SecretBytes, VaultId};
use uuid::Uuid;

/// Partitions that live as long as a test.
pub(crate) struct PaperPartitions {
    clock: Arc<ManualClock>,
    pools: Mutex<HashMap<PoolId, Arc<PaperGateway>>>,
}

impl PaperPartitions {
    pub(crate) fn new(clock: Arc<ManualClock>) -> Self {
        Self { clock, pools: Mutex::default() }
    }

    pub(crate) fn of(&self, pool: PoolId) -> Arc<PaperGateway> {
        let mut pools = self.pools.lock().unwrap();
        let fresh = || Arc::new(PaperGateway::new(pool, Arc::clone(&self.clock)));
        Arc::clone(pools.entry(pool).or_insert_with(fresh))
    }

    pub(crate) fn started(&self) -> usize {
        self.pools.lock().unwrap().len()
    }
}

impl Partitions for PaperPartitions {
    fn gateway(&self, pool: PoolId) -> Pending<'_, Arc<dyn Gateway>> {
        let gateway: Arc<dyn Gateway> = self.of(pool);
        Box::pin(async move { Ok(gateway) })
    }

    fn close(&self, pool: PoolId) {
        // What was sealed there is still known when the pool comes back.
        self.of(pool).open.store(false, Ordering::SeqCst);
    }
}

/// One pool's.
pub(crate) struct PaperGateway {
    pool: PoolId,
    clock: Arc<ManualClock>,
    open: AtomicBool,
    /// Blobs that were sealed here.
    sealed: Mutex<HashMap<Vec<u8>, Binding>>,
    /// Newest generation of each version that was opened here.
    newest: Mutex<HashMap<(String, KeyVersion), u64>>,
    opened: Mutex<HashSet<Vec<u8>>>,
    sequence: Mutex<u64>,
    /// Keys made.
    pub(crate) made: AtomicUsize,
    /// Uses to answer with a loss.
    pub(crate) losses: AtomicUsize,
}

impl PaperGateway {
    fn new(pool: PoolId, clock: Arc<ManualClock>) -> Self {
        Self {
            pool,
            clock,
            open: AtomicBool::new(false),
            sealed: Mutex::default(),
            newest: Mutex::default(),
            opened: Mutex::default(),
            sequence: Mutex::default(),
            made: AtomicUsize::new(0),
            losses: AtomicUsize::new(0),
        }
    }

    fn seal(&self, binding: Binding) -> KeyBlob {
        let sealed: Vec<u8> = (0..8).flat_map(|_| *Uuid::new_v4().as_bytes()).collect();
        self.sealed.lock().unwrap().insert(sealed.clone(), binding.clone());
        KeyBlob { binding, sealed }
    }

    fn check(&self, blob: &KeyBlob) -> Result<(), HsmError> {
        let same = self.sealed.lock().unwrap().get(&blob.sealed) == Some(&blob.binding);
        if same && blob.binding.pool == self.pool { Ok(()) } else { Err(HsmError::Unsealable) }
    }

    fn make(&self, draft: KeyDraft, origin: Origin) -> KeyMade {
        self.made.fetch_add(1, Ordering::SeqCst);
        let public = match draft.spec.kty() {
            KeyType::Rsa => PublicKey::Rsa { n: vec![0xc5; 256], e: vec![1, 0, 1] },
            KeyType::Ec => {
                let curve = draft.spec.row().curve.unwrap();
                PublicKey::Ec { curve, x: vec![1; curve.coordinate_len()], y: vec![2; curve.coordinate_len()] }
            }
            KeyType::Oct => PublicKey::Oct,
        };
        KeyMade { blob: self.seal(draft.bind(self.pool, origin, self.clock.now())), public }
    }

    fn operate(&self, operate: &Operate) -> Result<Reply, HsmError> {
        if self.losses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            return Err(HsmError::Lost);
        }
        let found =
            self.opened.lock().unwrap().iter().find(|s| s.get(38..70) == Some(operate.key.0.as_slice())).cloned();
        let sealed = match (&operate.blob, found) {
            (Some(blob), _) => {
                self.check(blob)?;
                blob.sealed.clone()
            }
            (None, Some(sealed)) => sealed,
            (None, None) => return Ok(Reply::NeedBlob),
        };
        let binding = self.sealed.lock().unwrap().get(&sealed).cloned().ok_or(HsmError::Unsealable)?;
        let mut newest = self.newest.lock().unwrap();
        let known = newest.entry((binding.name.clone(), binding.version)).or_insert(binding.generation);
        if binding.generation < *known {
            return Err(HsmError::StaleGeneration);
        }
        *known = binding.generation;
        binding.permits(operate.input.operation(), self.clock.now())?;
        operate.algorithm.check(operate.input.operation(), binding.spec).map_err(|_| HsmError::AlgorithmMismatch)?;
        self.opened.lock().unwrap().insert(sealed);
        Ok(Reply::Done(output(&operate.input, operate.algorithm), self.stamp(binding.generation)))
    }

    fn opening(&self) -> Opening {
        Opening {
            pool: self.pool,
            time: self.clock.now(),
            audit_key: PublicKey::Oct,
            previous: None,
            chains: vec![*self.pool.0.as_bytes()],
            checkpoints: Vec::new(),
            signature: Vec::new(),
        }
    }

    fn change(&self, blob: &KeyBlob, change: fn([u8; 32]) -> KeyChange) -> ChangeStamp {
        ChangeStamp { place: self.stamp(blob.binding.generation), change: change(blob.binding.digest()) }
    }

    fn stamp(&self, generation: u64) -> UseStamp {
        let mut sequence = self.sequence.lock().unwrap();
        *sequence += 1;
        UseStamp {
            chain: *self.pool.0.as_bytes(),
            sequence: *sequence,
            hash: [0; 32],
            time: strongroom_model::Timestamp(0),
            generation,
        }
    }

    fn answer(&self, request: &Request) -> Result<Reply, HsmError> {
        let open = self.open.load(Ordering::SeqCst);
        match request {
            Request::Describe => Ok(Reply::Described(Capabilities {
                provider: ProviderName::Software,
                hsm_platform: "0".into(),
                algorithms: Vec::new(),
                exports_security_domain: true,
            })),
            Request::CreateRoot if open => Err(HsmError::AlreadyOpen),
            Request::CreateRoot => {
                self.open.store(true, Ordering::SeqCst);
                let draft = KeyDraft {
                    vault: VaultId::NONE,
                    kind: KeyKind::Internal,
                    name: "audit".into(),
                    version: KeyVersion([0; 16]),
                    spec: KeySpec::EcP256,
                    ops: KeyOps::default_for(KeyType::Ec),
                    enabled: true,
                    not_before: None,
                    expires: None,
                };
                let wrapped = WrappedRoot(self.pool.0.as_bytes().to_vec());
                let audit_key = self.make(draft, Origin::Generated);
                Ok(Reply::RootCreated { wrapped, audit_key, opening: self.opening() })
            }
            Request::OpenRoot(RootParts { wrapped, audit_key, .. }) => {
                if wrapped.0 != self.pool.0.as_bytes() {
                    return Err(HsmError::WrongSeal);
                }
                self.check(audit_key)?;
                let open = self.open.swap(true, Ordering::SeqCst);
                if open { Err(HsmError::AlreadyOpen) } else { Ok(Reply::RootOpened(self.opening())) }
            }
            Request::Checkpoint => Ok(Reply::Signed(History { opening: self.opening(), checkpoints: Vec::new() })),
            Request::SelfTest => Ok(Reply::Healthy),
            _ if !open => Err(HsmError::NotOpen),
            Request::Generate(draft, _) => {
                let made = self.make(draft.clone(), Origin::Generated);
                let stamp = self.change(&made.blob, KeyChange::Generate);
                Ok(Reply::KeyMade(made, stamp))
            }
            Request::Import(draft, ..) => {
                let made = self.make(draft.clone(), Origin::Imported);
                let stamp = self.change(&made.blob, KeyChange::Import);
                Ok(Reply::KeyMade(made, stamp))
            }
            Request::Rebind(blob, change, _) => {
                self.check(blob)?;
                let rebound = self.seal(blob.binding.rebind(change)?);
                let stamp = self.change(&rebound, KeyChange::Rebind);
                Ok(Reply::Rebound(rebound, stamp))
            }
            Request::Operate(operate) => self.operate(operate),
            Request::Random { count } => Ok(Reply::Random(SecretBytes::new(vec![7; usize::from(*count)]))),
        }
    }
}

fn output(input: &Input, algorithm: Algorithm) -> Output {
    match input {
        Input::Sign { digest } => Output::Signature([algorithm.row().name.as_bytes(), digest].concat()),
        Input::Verify { digest, signature } => {
            Output::Verified(*signature == [algorithm.row().name.as_bytes(), digest].concat())
        }
        Input::Encrypt { plaintext, .. } => Output::Ciphertext {
            value: plaintext.expose().iter().map(|b| b ^ 0x5a).collect(),
            iv: Some(vec![0; 12]),
            tag: Some(vec![0; 16]),
        },
        Input::Decrypt { ciphertext, .. } => {
            Output::Plaintext(SecretBytes::new(ciphertext.iter().map(|b| b ^ 0x5a).collect()))
        }
        Input::WrapKey { key } => {
            Output::Ciphertext { value: key.expose().iter().map(|b| b ^ 0x5a).collect(), iv: None, tag: None }
        }
        Input::UnwrapKey { wrapped } => Output::Plaintext(SecretBytes::new(wrapped.iter().map(|b| b ^ 0x5a).collect())),
    }
}

impl Gateway for PaperGateway {
    fn call(&self, request: &Request) -> Pending<'_> {
        let answer = self.answer(request);
        Box::pin(async move {
            // A real partition answers later.
            tokio::task::yield_now().await;
            answer
        })
    }

    fn remember(&self, _: &History) -> bool {
        true
    }
}
