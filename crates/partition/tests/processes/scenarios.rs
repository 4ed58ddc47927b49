//! What the service does in a test.

use crate::node::{self, children_of, signal, status, wait_for};
use crate::outbreak;
use rustix::process::Signal;
use std::collections::HashMap;
use std::future::Future;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use strongroom_hsm::verbs::{Input, Output};
use strongroom_hsm::{Gateway, HsmError, KeyBlob, KeyDraft, KeyKind, Partitions};
use strongroom_model::key::{KeyOps, KeySpec};
use strongroom_model::{Algorithm, KeyVersion, PoolId, VaultId};
use strongroom_partition::client::{KeeperClient, set_runtime_index};
use strongroom_partition::confine::{self, ConfineError, Reach};
use strongroom_partition::keeper::EXIT_CONFIGURATION;
use tokio::task::JoinSet;
use uuid::Uuid;

pub(crate) const POOL: PoolId = PoolId(Uuid::from_bytes([7; 16]));
const CALLER: Uuid = Uuid::from_bytes([9; 16]);
const STALL: Duration = Duration::from_millis(1_000);
/// More than one lane may hold.
const FLOOD: usize = strongroom_partition::client::PENDING_MAX + 500;
const LARGE: usize = 3;

struct Service {
    keeper: Arc<KeeperClient>,
    folder: PathBuf,
    store_seal: Vec<u8>,
}

pub(crate) fn service(flags: &HashMap<String, String>) -> ExitCode {
    let fd = |name: &str| -> RawFd { flags[name].parse().unwrap() };
    let confinement = confine::service(&["config-fd", "store-seal-fd", "keeper-fd"].map(fd)).unwrap();
    assert!(confinement.no_new_privileges);
    let config = confine::read_inherited(fd("config-fd")).unwrap();
    let store_seal = confine::read_inherited(fd("store-seal-fd")).unwrap().expose().to_vec();
    let config = String::from_utf8(config.expose().to_vec()).unwrap();
    let (scenario, folder) = config.split_once(' ').unwrap();
    if let Some(kind) = scenario.strip_prefix("service-probe") {
        return outbreak::of_the_service(confinement, Path::new(folder), kind == "-outward", fd("keeper-fd"));
    }
    if scenario == "crash" {
        let starts = std::fs::File::options().append(true).create(true).open(Path::new(folder).join("starts"));
        std::io::Write::write_all(&mut starts.unwrap(), b".").unwrap();
        return ExitCode::from(node::CRASHED);
    }
    if let "hidden-seal" | "visible-seal" = scenario {
        let limited = confine::limit_service(confinement, &Reach::default(), scenario == "visible-seal");
        return match limited {
            Ok(held) if !held.files_denied && held.programs_denied => ExitCode::SUCCESS,
            Err(ConfineError::VisibleSeal) => ExitCode::from(EXIT_CONFIGURATION),
            Ok(_) | Err(_) => ExitCode::FAILURE,
        };
    }
    let connect =
        |fd| if scenario == "stall" { KeeperClient::with_stall(fd, STALL) } else { KeeperClient::connect(fd) };
    let keeper = connect(fd("keeper-fd")).unwrap();
    let service = Arc::new(Service { keeper, folder: PathBuf::from(folder), store_seal });
    let run = || match scenario {
        "sign" => on_two_runtimes(&service),
        "kill" => block_on(kill_in_the_middle(&service)),
        "generate" => block_on(generate_beside_signing(&service)),
        "stall" => block_on(replace_a_stalled_partition(&service)),
        "clock" => block_on(carry_a_clock_offset(&service)),
        "flood" => block_on(flood(&service)),
        "probe" => block_on(probe(&service)),
        "idle" => block_on(idle(&service)),
        "deaf" => loop {
            std::thread::park();
        },
        "refuse" => panic!("the configuration is wrong (expected by the test)"),
        other => panic!("no scenario {other}"),
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_CONFIGURATION),
    }
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn note(folder: &Path, name: &str, text: &str) {
    let draft = folder.join(format!("{name}.draft"));
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(draft, folder.join(name)).unwrap();
}

fn draft(name: &str, spec: KeySpec) -> KeyDraft {
    KeyDraft {
        vault: VaultId::NONE,
        kind: KeyKind::Customer,
        name: name.to_owned(),
        version: KeyVersion(*Uuid::new_v4().as_bytes()),
        spec,
        ops: KeyOps::default_for(spec.kty()),
        enabled: true,
        not_before: None,
        expires: None,
    }
}

impl Service {
    /// The pool's gateway with a fresh root and one key.
    pub(crate) async fn key(&self, spec: KeySpec) -> (Arc<dyn Gateway>, Arc<KeyBlob>) {
        let gateway = self.keeper.gateway(POOL).await.unwrap();
        // On a machine under load the start itself may count as a stall, where little time is given for it.
        while gateway.create_root().await.is_err_and(|e| e == HsmError::Lost) {}
        let made = gateway.generate(draft("key", spec), CALLER).await.unwrap();
        (gateway, Arc::new(made.0.blob))
    }
}

async fn sign(gateway: &Arc<dyn Gateway>, blob: &Arc<KeyBlob>, algorithm: Algorithm, byte: u8) -> Result<(), HsmError> {
    let digest = vec![byte; 32];
    let (output, stamp) = gateway.operate(blob, algorithm, CALLER, Input::Sign { digest: digest.clone() }).await?;
    assert!(stamp.sequence > 0);
    let Output::Signature(signature) = output else { panic!("sign answers with a signature") };
    let (output, _) = gateway.operate(blob, algorithm, CALLER, Input::Verify { digest, signature }).await?;
    assert!(matches!(output, Output::Verified(true)));
    Ok(())
}

fn on_two_runtimes(service: &Arc<Service>) {
    let (gateway, blob) = block_on(service.key(KeySpec::EcP256));
    // The runtime that started the first lanes is gone; those who come after it start them anew, and so does the one who
    // comes after the first of two threads.
    let done = Arc::new(std::sync::Barrier::new(2));
    let threads = [0, 1].map(|runtime| {
        let (gateway, blob, done) = (Arc::clone(&gateway), Arc::clone(&blob), Arc::clone(&done));
        std::thread::spawn(move || {
            set_runtime_index(runtime);
            block_on(sign_much(&gateway, &blob));
            if done.wait().is_leader() {
                set_runtime_index(1 - runtime);
            }
            block_on(sign(&gateway, &blob, Algorithm::Es256, 1)).unwrap();
        })
    });
    threads.into_iter().for_each(|t| t.join().unwrap());
    let keeper = rustix::process::getppid().unwrap().as_raw_nonzero().get() as u32;
    assert_eq!(children_of(keeper, "partition").len(), 1);
}

async fn sign_much(gateway: &Arc<dyn Gateway>, blob: &Arc<KeyBlob>) {
    let rsa = Arc::new(gateway.generate(draft("rsa", KeySpec::Rsa2048), CALLER).await.unwrap().0.blob);
    let mut tasks = JoinSet::new();
    for i in 0..200 {
        let (gateway, blob, rsa) = (Arc::clone(gateway), Arc::clone(blob), Arc::clone(&rsa));
        tasks.spawn(async move {
            sign(&gateway, &blob, Algorithm::Es256, i).await.unwrap();
            if i % 10 == 0 {
                sign(&gateway, &rsa, Algorithm::Ps256, i).await.unwrap();
            }
        });
    }
    assert_eq!(tasks.join_all().await.len(), 200);
}

async fn kill_in_the_middle(service: &Service) {
    let (gateway, blob) = service.key(KeySpec::EcP256).await;
    let keeper = rustix::process::getppid().unwrap().as_raw_nonzero().get() as u32;
    let mut killed = Vec::new();
    for round in 0..5 {
        let done = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for i in 0..200 {
            let (gateway, blob, done) = (Arc::clone(&gateway), Arc::clone(&blob), Arc::clone(&done));
            tasks.spawn(async move {
                let input = Input::Sign { digest: vec![i; 32] };
                let result = gateway.operate(&blob, Algorithm::Es256, CALLER, input).await;
                done.fetch_add(1, Ordering::Relaxed);
                result.map(drop)
            });
        }
        // Let the first of them go out, then kill what holds them.
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        let partition = wait_for("a partition that was not killed yet", || {
            children_of(keeper, "partition").into_iter().find(|p| !killed.contains(p))
        });
        killed.push(partition);
        signal(partition, Signal::KILL);
        for result in tasks.join_all().await {
            result.unwrap();
        }
        assert_eq!(done.load(Ordering::Relaxed), 200);
    }
    let last = gateway.checkpoint().await.unwrap();
    assert!(last.checkpoints.iter().any(|c| c.sequence > 0));
}

async fn generate_beside_signing(service: &Service) {
    let (gateway, blob) = service.key(KeySpec::EcP256).await;
    let rsa = Arc::new(gateway.generate(draft("rsa", KeySpec::Rsa2048), CALLER).await.unwrap().0.blob);
    let generated = Arc::new(AtomicUsize::new(0));
    let mut generations = JoinSet::new();
    for i in 0..LARGE {
        let (gateway, generated) = (Arc::clone(&gateway), Arc::clone(&generated));
        generations.spawn(async move {
            gateway.generate(draft(&format!("large-{i}"), KeySpec::Rsa4096), CALLER).await.unwrap();
            generated.fetch_add(1, Ordering::Relaxed);
        });
    }
    tokio::task::yield_now().await;
    for i in 0..20 {
        sign(&gateway, &blob, Algorithm::Es256, i).await.unwrap();
        sign(&gateway, &rsa, Algorithm::Rs256, i).await.unwrap();
    }
    assert!(generated.load(Ordering::Relaxed) < LARGE, "signing waited for the generation of keys");
    generations.join_all().await;
    // More than may be under way at once, most of them given up: the others get their turn.
    let mut many = JoinSet::new();
    for i in 0..100 {
        let gateway = Arc::clone(&gateway);
        many.spawn(async move {
            let work = gateway.generate(draft(&format!("small-{i}"), KeySpec::Rsa2048), CALLER);
            if i < 96 { tokio::time::timeout(Duration::ZERO, work).await.is_ok() } else { work.await.is_ok() }
        });
    }
    assert!(many.join_all().await.iter().filter(|made| **made).count() >= 4);
}

async fn replace_a_stalled_partition(service: &Service) {
    let (gateway, blob) = service.key(KeySpec::EcP256).await;
    let keeper = rustix::process::getppid().unwrap().as_raw_nonzero().get() as u32;
    let [partition] = children_of(keeper, "partition")[..] else { panic!("one partition") };
    signal(partition, Signal::STOP);
    wait_for("the stop", || status(partition, "State:")?.starts_with('T').then_some(()));
    sign(&gateway, &blob, Algorithm::Es256, 1).await.unwrap();
    let [other] = children_of(keeper, "partition")[..] else { panic!("one partition") };
    assert_ne!(partition, other);
}

async fn carry_a_clock_offset(service: &Service) {
    let (gateway, _) = service.key(KeySpec::EcP256).await;
    let now = gateway.generate(draft("now", KeySpec::Oct256), CALLER).await.unwrap().0.blob.binding.created;
    service.keeper.set_clock_offset(1_000_000);
    let later = gateway.generate(draft("later", KeySpec::Oct256), CALLER).await;
    let dev = !service.folder.join("production").exists();
    match later {
        Ok(made) => assert!(dev && made.0.blob.binding.created >= now.plus(1_000_000)),
        Err(error) => assert!(!dev && error == HsmError::Protocol),
    }
}

/// More requests than the sockets hold, some cancelled: both sides must keep reading, and no reply gets lost.
async fn flood(service: &Service) {
    let (gateway, _) = service.key(KeySpec::Oct256).await;
    let key = Arc::new(gateway.generate(draft("aes", KeySpec::Oct256), CALLER).await.unwrap().0.blob);
    let mut tasks = JoinSet::new();
    for i in 0..FLOOD {
        let (gateway, key) = (Arc::clone(&gateway), Arc::clone(&key));
        tasks.spawn(async move {
            let plaintext = strongroom_model::SecretBytes::new(vec![1; 1024]);
            let input = Input::Encrypt { plaintext, iv: None, aad: None };
            let work = gateway.operate(&key, Algorithm::A256Gcm, CALLER, input);
            if i % 7 == 0 {
                // Cancelled after it was sent, or while it waits for room.
                let _ = tokio::time::timeout(Duration::ZERO, work).await;
                return;
            }
            let (output, _) = work.await.unwrap();
            assert!(matches!(output, Output::Ciphertext { value, .. } if value.len() == 1024));
        });
    }
    assert_eq!(tasks.join_all().await.len(), FLOOD);
}

/// The self-test of this program's partitions tries to break out.
async fn probe(service: &Service) {
    let (gateway, blob) = service.key(KeySpec::EcP256).await;
    gateway.self_test().await.unwrap();
    sign(&gateway, &blob, Algorithm::Es256, 1).await.unwrap();
}

/// Starts a partition, says so, and waits for the wish to stop.
async fn idle(service: &Service) {
    let (gateway, blob) = service.key(KeySpec::EcP256).await;
    sign(&gateway, &blob, Algorithm::Es256, 1).await.unwrap();
    let hex: String = service.store_seal.iter().map(|b| format!("{b:02x}")).collect();
    note(&service.folder, &format!("ready-{}", std::process::id()), &hex);
    note(&service.folder, "ready", &hex);
    service.keeper.stop_requested().await;
    note(&service.folder, "stopped", "");
}
