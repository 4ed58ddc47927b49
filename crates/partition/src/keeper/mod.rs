//! The keeper: opens the seal, holds the key-encryption key, starts and restarts the service and the partitions.
//!
//! One thread, one poll loop, no parser, no network. The service may ask it for one thing: start the partition of this pool.

mod children;
mod seal;

pub use seal::{SealError, create_seal};

use crate::confine::{self, ConfineError, raw};
use crate::wire::{self, RUNTIMES_MAX};
use children::{Child, Launch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::HashMap;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use strongroom_model::PoolId;

/// The service's exit code when it cannot start and has said why: the keeper ends with it and does not start it again.
pub const EXIT_CONFIGURATION: u8 = 78;
/// The keeper's exit code when the service had to be killed to stop.
const EXIT_KILLED: u8 = 1;
/// How long the service may drain before it is killed.
const DRAIN: Duration = Duration::from_secs(30);
/// First pause before the service is started again; doubled up to [`RESTART_PAUSE_MAX`].
const RESTART_PAUSE: Duration = Duration::from_millis(50);
/// See [`RESTART_PAUSE`].
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(5);
/// A service that ran so long gets the first pause again.
const STEADY: Duration = Duration::from_secs(30);
/// Times in a row that a service may end by itself, none of them after [`STEADY`], before the keeper ends with it: whoever
/// watches the keeper then learns of it. Being killed does not count.
const FAILURES_MAX: u32 = 8;
/// Partitions of one node.
const PARTITIONS_MAX: usize = 64;

/// How the keeper was started:
/// `strongroom keeper --seal PATH --data PATH [--create-seal] [--dev] [--allow-unlocked-memory] --runtimes N --config-fd N
/// --lock-fd N`.
#[derive(Clone, Debug)]
pub struct KeeperOptions {
    /// `--seal PATH`: the seal file, outside of the data folder.
    pub seal: PathBuf,
    /// `--data PATH`: the data folder.
    pub data: PathBuf,
    /// `--create-seal`: make the seal when there is none and the data folder holds no store yet.
    pub create_seal: bool,
    /// `--dev`: warn where production refuses; partitions honour a clock offset.
    pub dev: bool,
    /// `--allow-unlocked-memory`: start although memory cannot be locked.
    pub allow_unlocked_memory: bool,
    /// `--runtimes N`: runtimes of the service, each with its own lanes to every partition.
    pub runtimes: usize,
    /// `--config-fd N`: the resolved configuration, handed on to the service.
    pub config_fd: RawFd,
    /// `--lock-fd N`: a descriptor with the lock on the data folder, kept open as long as the keeper lives.
    pub lock_fd: Option<RawFd>,
    /// Called once the keeper is confined, before it starts anything: a test tries there what must be refused.
    pub confined: fn(),
}

/// Why the keeper does not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The command line asks for what cannot be.
    #[error("{0} runtimes: between 1 and {RUNTIMES_MAX} are possible")]
    Runtimes(usize),
    /// The seal cannot be used.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The process cannot be confined.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// The system refused.
    #[error("{0}: {1}")]
    System(&'static str, #[source] io::Error),
}

/// Runs until SIGTERM, SIGINT, SIGHUP or the service's own end; the exit code is the service's. Call it in a process with one thread.
pub fn run(options: KeeperOptions) -> Result<ExitCode, KeeperError> {
    if !(1..=RUNTIMES_MAX).contains(&options.runtimes) {
        return Err(KeeperError::Runtimes(options.runtimes));
    }
    let kept: Vec<RawFd> = [options.config_fd].into_iter().chain(options.lock_fd).collect();
    system("cannot close what other processes left open", raw::close_all_but(&kept))?;
    let confinement = confine::keeper(options.dev || options.allow_unlocked_memory)?;
    if !confinement.memory_locked {
        tracing::warn!("memory is not locked: keys may reach the swap device");
    }
    let signals = system("cannot watch signals", watch_signals())?;
    let seal = seal::open(&options.seal, &options.data, options.create_seal)?;
    let (kek, secret) = system("cannot hold the key-encryption key", confine::secret_file(&seal.kek))?;
    let (store_seal, _) = system("cannot hold the store's seal", confine::secret_file(&seal.store))?;
    drop(seal);
    let config = system("--config-fd", raw::inherited(options.config_fd))?;
    let _lock = system("--lock-fd", options.lock_fd.map(raw::inherited).transpose())?;
    let confinement = confine::limit_keeper(confinement)?;
    tracing::info!(?confinement, memfd_secret = secret, "keeper started");
    (options.confined)();
    let launch = Launch {
        runtimes: options.runtimes,
        dev: options.dev,
        allow_unlocked_memory: options.allow_unlocked_memory,
        kek,
        store_seal,
        config,
    };
    let mut keeper = Keeper {
        launch,
        signals,
        service: None,
        partitions: HashMap::new(),
        restart_at: Some(Instant::now()),
        pause: RESTART_PAUSE,
        failures: 0,
        kill_at: None,
    };
    let code = keeper.watch();
    keeper.partitions.clear();
    code.map(ExitCode::from)
}

/// SIGTERM and SIGINT, and a terminal that closes unless that is to be ignored (`nohup`).
fn watch_signals() -> io::Result<OwnedFd> {
    [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT].into_iter().for_each(raw::reset_signal);
    let hang_up = (!raw::is_ignored(libc::SIGHUP)).then_some(libc::SIGHUP);
    let watched: Vec<libc::c_int> = [libc::SIGTERM, libc::SIGINT].into_iter().chain(hang_up).collect();
    raw::signals(&watched)
}

fn system<T, E: Into<io::Error>>(what: &'static str, result: Result<T, E>) -> Result<T, KeeperError> {
    result.map_err(|e| KeeperError::System(what, e.into()))
}

struct Keeper {
    launch: Launch,
    signals: OwnedFd,
    service: Option<Child>,
    partitions: HashMap<PoolId, Child>,
    /// When the service is to be started; nothing while it runs.
    restart_at: Option<Instant>,
    pause: Duration,
    /// See [`FAILURES_MAX`].
    failures: u32,
    /// When a stopping service is killed.
    kill_at: Option<Instant>,
}

impl Keeper {
    /// The loop; gives the exit code.
    fn watch(&mut self) -> Result<u8, KeeperError> {
        loop {
            let now = Instant::now();
            if self.kill_at.is_some_and(|at| at <= now) {
                tracing::error!("the service did not stop in {} s: it is killed", DRAIN.as_secs());
                return Ok(EXIT_KILLED);
            }
            if self.restart_at.is_some_and(|at| at <= now) {
                self.restart_at = None;
                self.service = Some(system("cannot start the service", self.launch.service())?);
            }
            let happened = self.wait()?;
            if happened.signal && self.stop() {
                return Ok(EXIT_KILLED);
            }
            for pool in happened.partitions {
                if let Some(mut partition) = self.partitions.remove(&pool) {
                    match partition.status() {
                        // Its lanes were closed: the service is stopping, or wanted another one.
                        Some(status) if status.success() => tracing::debug!(%pool, "partition ended"),
                        status => tracing::warn!(%pool, ?status, "partition ended"),
                    }
                }
            }
            // Requests first: what the service asked for before its end is of no use afterwards, and costs nothing.
            if happened.request {
                self.answer();
            }
            if happened.service_ended
                && let Some(code) = self.service_ended()
            {
                return Ok(code);
            }
        }
    }

    fn wait(&self) -> Result<Happened, KeeperError> {
        let pools: Vec<PoolId> = self.partitions.keys().copied().collect();
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        fds.extend(pools.iter().filter_map(|p| self.partitions.get(p)).map(|c| PollFd::new(&c.end, PollFlags::IN)));
        if let Some(service) = &self.service {
            fds.push(PollFd::new(&service.end, PollFlags::IN));
            fds.push(PollFd::new(&service.socket, PollFlags::IN));
        }
        let next = [self.restart_at, self.kill_at].into_iter().flatten().min();
        let timeout = next.map(|at| at.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return system("cannot wait", Err(error)),
        }
        let ready = |i: usize| fds.get(i).is_some_and(|fd| !fd.revents().is_empty());
        Ok(Happened {
            signal: ready(0),
            partitions: pools.iter().enumerate().filter(|(i, _)| ready(1 + i)).map(|(_, pool)| *pool).collect(),
            service_ended: ready(1 + pools.len()),
            request: ready(2 + pools.len()),
        })
    }

    /// Asks the service to drain; true when it was asked before and somebody is out of patience.
    fn stop(&mut self) -> bool {
        let mut record = [0; size_of::<libc::signalfd_siginfo>()];
        if rustix::io::read(&self.signals, &mut record).is_err() {
            return false;
        }
        let again = self.kill_at.replace(Instant::now() + DRAIN).is_some();
        match &self.service {
            Some(service) if !again => wire::send_stop(&service.socket).is_err(),
            Some(_) | None => true,
        }
    }

    /// Starts the partition that the service asks for; one that runs is ended first.
    fn answer(&mut self) {
        let Some(service) = &self.service else { return };
        let pool = match wire::read_request(&service.socket) {
            Ok(Some(pool)) => pool,
            // It ends, or is of no use any more.
            Ok(None) => return service.kill(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                tracing::error!("the service broke the protocol, it is killed: {error}");
                return service.kill();
            }
        };
        self.partitions.remove(&pool);
        let started = if self.partitions.len() < PARTITIONS_MAX {
            self.launch.partition(pool)
        } else {
            Err(io::ErrorKind::QuotaExceeded.into())
        };
        let told = match started {
            Ok((partition, lanes)) => {
                self.partitions.insert(pool, partition);
                wire::send_started(&service.socket, pool, &lanes)
            }
            Err(error) => {
                tracing::error!(%pool, "cannot start a partition: {error}");
                wire::send_refused(&service.socket, pool)
            }
        };
        if let Err(error) = told {
            tracing::error!(%pool, "the service does not listen: {error}");
            self.partitions.remove(&pool);
        }
    }

    /// Decides what follows the service's end: an exit code, or another start.
    fn service_ended(&mut self) -> Option<u8> {
        let mut service = self.service.take()?;
        let status = service.status();
        // Their lanes went with the service.
        self.partitions.clear();
        let code = status.and_then(|s| s.code()).and_then(|c| u8::try_from(c).ok());
        if self.kill_at.is_some() || matches!(code, Some(0 | EXIT_CONFIGURATION)) {
            return Some(code.unwrap_or(EXIT_KILLED));
        }
        if service.started.elapsed() >= STEADY {
            self.pause = RESTART_PAUSE;
            self.failures = 0;
        }
        if let Some(code) = code {
            self.failures += 1;
            if self.failures >= FAILURES_MAX {
                tracing::error!(code, "the service ended {FAILURES_MAX} times in a row: the keeper ends with it");
                return Some(code);
            }
        }
        tracing::error!(?status, "the service ended unexpectedly: it is started again in {:?}", self.pause);
        self.restart_at = Some(Instant::now() + self.pause);
        self.pause = (2 * self.pause).min(RESTART_PAUSE_MAX);
        None
    }
}

/// What one wait has brought.
struct Happened {
    signal: bool,
    partitions: Vec<PoolId>,
    service_ended: bool,
    request: bool,
}
