//! A partition: the confined process in which keys exist in the clear.

mod lanes;

use crate::confine::{self, ConfineError, raw};
use crate::core::Core;
use lanes::{Jobs, Lane, LaneEnd, Queues, Speed, serve, work_long};
use std::io::{self, Read};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;
use strongroom_hsm::Provider;
use strongroom_model::clock::SystemClock;
use strongroom_model::{PoolId, SecretBytes};

/// Threads for what takes too long for a lane (RSA generation).
const LONG_THREADS: usize = 2;
/// Long jobs that wait before the lanes that bring them are held up.
const LONG_JOBS_MAX: usize = 4_096;
/// Priority of the threads for long jobs: whoever signs goes first, and under full load a tenth is left for them.
const NICE: i32 = 10;
/// Stack of each thread; locked as far as it is used.
const STACK: usize = 1024 * 1024;
/// Time between two self-tests.
const SELF_TEST_EVERY: Duration = Duration::from_secs(3_600);
/// How long a new partition waits for the service to ask for the first self-test before it begins by itself.
const SELF_TEST_FIRST: Duration = Duration::from_secs(2);
/// The exit code after a failed self-test or a panic; the service has another partition started.
const EXIT_BROKEN: i32 = 70;

/// How a partition was started:
/// `strongroom partition --pool UUID --runtimes N --keeper-fd N --kek-fd N --lane-fds A,B,… [--dev] [--allow-unlocked-memory]`.
#[derive(Clone, Debug)]
pub struct PartitionOptions {
    /// `--pool UUID`: whose keys.
    pub pool: PoolId,
    /// `--runtimes N`: runtimes of the service.
    pub runtimes: usize,
    /// `--keeper-fd N`: the partition ends when this socket closes.
    pub keeper_fd: RawFd,
    /// `--kek-fd N`: memory file with the key-encryption key.
    pub kek_fd: RawFd,
    /// `--lane-fds A,B,…`: two sockets per runtime, fast and slow, in order.
    pub lane_fds: Vec<RawFd>,
    /// `--dev`: honour a clock offset; warn where production refuses.
    pub dev: bool,
    /// `--allow-unlocked-memory`: start although memory cannot be locked.
    pub allow_unlocked_memory: bool,
}

/// Why a partition does not start.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// The command line contradicts itself.
    #[error("a partition needs two lanes for each runtime: {runtimes} runtimes, {lanes} lanes")]
    Lanes {
        /// `--runtimes`.
        runtimes: usize,
        /// Numbers in `--lane-fds`.
        lanes: usize,
    },
    /// The process cannot be confined.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// A descriptor on the command line is not what it should be, or a thread did not start.
    #[error("{0}: {1}")]
    System(&'static str, #[source] io::Error),
}

/// Runs until the keeper's socket or a lane closes; then the process ends, whatever its threads are doing. Call it first of all,
/// in a process with one thread that has opened nothing: what is open is closed, so logs go to standard error.
pub fn run<P: Provider>(provider: P, options: PartitionOptions) -> Result<(), PartitionError> {
    let (runtimes, lanes) = (options.runtimes, options.lane_fds.len());
    if runtimes == 0 || lanes != 2 * runtimes {
        return Err(PartitionError::Lanes { runtimes, lanes });
    }
    let kept: Vec<RawFd> = options.lane_fds.iter().copied().chain([options.keeper_fd, options.kek_fd]).collect();
    system("cannot close what other processes left open", raw::close_all_but(&kept))?;
    let confinement = confine::partition(options.dev || options.allow_unlocked_memory)?;
    // That memory is not locked the keeper has said once for all of them.
    let keeper = UnixStream::from(taken("--keeper-fd", options.keeper_fd)?);
    let kek = system("cannot read the key-encryption key", confine::read_inherited(options.kek_fd))?;
    let sockets: Result<Vec<OwnedFd>, _> = options.lane_fds.iter().map(|fd| taken("--lane-fds", *fd)).collect();
    let sockets = sockets?;
    let gate = Gate::for_threads(LONG_THREADS + sockets.len() + 1);
    start(provider, &options, kek, sockets, &gate)?;
    // The start of a thread takes system calls that its work does not.
    gate.arrived.wait();
    let confinement = confine::filter_system_calls(confinement);
    tracing::info!(pool = %options.pool, ?confinement, "partition started");
    gate.open.wait();
    // The keeper never writes: whatever comes is the end.
    let _ = (&keeper).read(&mut [0]);
    raw::exit_now(0)
}

fn system<T>(what: &'static str, result: io::Result<T>) -> Result<T, PartitionError> {
    result.map_err(|e| PartitionError::System(what, e))
}

fn taken(name: &'static str, fd: RawFd) -> Result<OwnedFd, PartitionError> {
    system(name, raw::inherited(fd))
}

/// Starts the threads; none works before the gate opens.
fn start<P: Provider>(
    provider: P,
    options: &PartitionOptions,
    kek: SecretBytes,
    sockets: Vec<OwnedFd>,
    gate: &Gate,
) -> Result<(), PartitionError> {
    let provider = Arc::new(provider);
    // What the first use of the random source opens, it must open before nothing can be opened any more.
    system("no random numbers", provider.random(1).map(drop).map_err(io::Error::other))?;
    let clock = Box::new(SystemClock { offset: 0 });
    let core = Arc::new(Core::new(Arc::clone(&provider), options.pool, kek, clock, options.dev));
    let (long, jobs) = sync_channel(LONG_JOBS_MAX);
    let (self_tests, asked) = sync_channel(LONG_JOBS_MAX);
    let queues = Queues { long, self_tests };
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..LONG_THREADS {
        let (core, jobs) = (Arc::clone(&core), Arc::clone(&jobs));
        thread("long", gate, Some(NICE), move || work_long(&core, &jobs))?;
    }
    for (i, socket) in sockets.into_iter().enumerate() {
        let (core, queues) = (Arc::clone(&core), queues.clone());
        let lane = Arc::new(Lane::new(UnixStream::from(socket)));
        let chain = system("no random numbers", core.thread_chain().map_err(io::Error::other))?;
        let speed = if i.is_multiple_of(2) { Speed::Fast } else { Speed::Slow };
        thread("lane", gate, None, move || serve(&core, &chain, &lane, speed, &queues))?;
    }
    thread("self-test", gate, None, move || test_self(&core, &*provider, &asked))
}

/// Tests the mechanisms when the service asks, and in any case once at the start and once an hour; a failure ends the partition.
fn test_self<P: Provider>(core: &Core<P>, provider: &P, asked: &Jobs) -> LaneEnd {
    let mut pause = SELF_TEST_FIRST;
    loop {
        let done = match asked.recv_timeout(pause) {
            Ok(job) => job.answer_self_test(core),
            Err(RecvTimeoutError::Timeout) => provider.self_test().map_err(LaneEnd::Hsm),
            Err(RecvTimeoutError::Disconnected) => Err(LaneEnd::Closed),
        };
        if let Err(end) = done {
            return end;
        }
        pause = SELF_TEST_EVERY;
    }
}

/// Where threads wait until all of them are there and the process is confined.
#[derive(Clone)]
struct Gate {
    arrived: Arc<Barrier>,
    open: Arc<Barrier>,
}

impl Gate {
    /// For so many threads and the one that confines them.
    fn for_threads(count: usize) -> Self {
        Self { arrived: Arc::new(Barrier::new(count + 1)), open: Arc::new(Barrier::new(count + 1)) }
    }
}

/// Starts a thread whose end is the end of the process.
fn thread(
    name: &str,
    gate: &Gate,
    nice: Option<i32>,
    work: impl FnOnce() -> LaneEnd + Send + 'static,
) -> Result<(), PartitionError> {
    let gate = gate.clone();
    let body = move || {
        if let Some(nice) = nice {
            // Of this thread alone: Linux keeps priorities by thread. Where it is refused the thread works all the same.
            let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), nice);
        }
        gate.arrived.wait();
        gate.open.wait();
        let end = std::panic::catch_unwind(AssertUnwindSafe(work));
        match end {
            Ok(LaneEnd::Closed) => raw::exit_now(0),
            Ok(end @ (LaneEnd::Frame(_) | LaneEnd::Io(_) | LaneEnd::Hsm(_))) => {
                tracing::error!("partition ends: {end}")
            }
            Err(_) => tracing::error!("partition ends: a thread panicked"),
        }
        raw::exit_now(EXIT_BROKEN)
    };
    let started = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(body);
    system("cannot start a thread", started.map(drop))
}
