//! The service's end: asks the keeper for partitions, and heals the way to one that died.

mod lanes;
mod pool;

pub use lanes::PENDING_MAX;

use crate::confine::raw;
use crate::wire::{ToService, receive, start_message};
use pool::PoolGateway;
use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use strongroom_hsm::gateway::Pending;
use strongroom_hsm::{Gateway, HsmError, Partitions};
use strongroom_model::PoolId;
use tokio::sync::{oneshot, watch};

/// How long a partition may leave requests without any reply before it is replaced; making RSA keys does not count.
const STALL_AFTER: Duration = Duration::from_secs(10);
/// The exit code of a service whose keeper died.
const EXIT_ORPHANED: i32 = 71;

/// The service's line to the keeper. The service was started as
/// `strongroom service --config-fd N --keeper-fd N --store-seal-fd N --runtimes N`.
pub struct KeeperClient {
    keeper: Arc<Keeper>,
    gateways: Mutex<HashMap<PoolId, Arc<PoolGateway>>>,
}

/// Lanes that the keeper has been asked for.
type Wanted = oneshot::Sender<Result<Vec<OwnedFd>, HsmError>>;

/// What all pools share.
struct Keeper {
    socket: OwnedFd,
    wanted: Mutex<HashMap<PoolId, Wanted>>,
    stop: watch::Sender<bool>,
    clock_offset: AtomicI64,
    stall_after: Duration,
}

impl KeeperClient {
    /// Takes over the keeper's socket (`--keeper-fd N`). When the keeper dies, this process exits at once.
    pub fn connect(keeper_fd: RawFd) -> io::Result<Arc<Self>> {
        Self::with_stall(keeper_fd, STALL_AFTER)
    }

    /// As [`KeeperClient::connect`], giving up a partition that does not answer for `stall_after`.
    pub fn with_stall(keeper_fd: RawFd, stall_after: Duration) -> io::Result<Arc<Self>> {
        let keeper = Arc::new(Keeper {
            socket: raw::inherited(keeper_fd)?,
            wanted: Mutex::default(),
            stop: watch::Sender::new(false),
            clock_offset: AtomicI64::new(0),
            stall_after,
        });
        let listener = Arc::clone(&keeper);
        std::thread::Builder::new().name("keeper".to_owned()).spawn(move || listener.listen())?;
        Ok(Arc::new(Self { keeper, gateways: Mutex::default() }))
    }

    /// Seconds that every request from now on adds to the partitions' clock; refused there unless started with `--dev`.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.keeper.clock_offset.store(seconds, Ordering::Relaxed);
    }

    /// Waits until the keeper asks this service to drain and exit with 0 (SIGTERM or SIGINT at the keeper).
    pub async fn stop_requested(&self) {
        // The sender lives as long as `self`.
        let _ = self.keeper.stop.subscribe().wait_for(|stop| *stop).await;
    }
}

impl Partitions for KeeperClient {
    fn gateway(&self, pool: PoolId) -> Pending<'_, Arc<dyn Gateway>> {
        let gateway = {
            let mut gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(gateways.entry(pool).or_insert_with(|| PoolGateway::new(pool, Arc::clone(&self.keeper))))
        };
        Box::pin(async move {
            gateway.ready().await?;
            let gateway: Arc<dyn Gateway> = gateway;
            Ok(gateway)
        })
    }

    fn close(&self, pool: PoolId) {
        if let Some(gateway) = self.gateways.lock().unwrap_or_else(PoisonError::into_inner).remove(&pool) {
            gateway.close();
        }
    }
}

impl Keeper {
    /// Asks for a new partition of `pool`; one that runs is ended.
    async fn start(&self, pool: PoolId) -> Result<Vec<OwnedFd>, HsmError> {
        let (sender, lanes) = oneshot::channel();
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(pool, sender);
        let flags = rustix::net::SendFlags::NOSIGNAL;
        rustix::net::send(&self.socket, &start_message(pool), flags).map_err(|_| HsmError::Lost)?;
        lanes.await.map_err(|_| HsmError::Lost)?
    }

    /// Listens to the keeper for as long as it lives.
    fn listen(&self) {
        loop {
            let message = match receive(&self.socket) {
                Ok(Some(message)) => message,
                Ok(None) | Err(_) => {
                    tracing::error!("the keeper is gone: this service ends");
                    raw::exit_now(EXIT_ORPHANED);
                }
            };
            match message {
                // Nobody listens before the server is up: the value waits for them.
                ToService::Stop => drop(self.stop.send_replace(true)),
                ToService::Started(pool, sockets) => self.answer(pool, Ok(sockets)),
                ToService::Refused(pool) => self.answer(pool, Err(HsmError::Lost)),
            }
        }
    }

    fn answer(&self, pool: PoolId, lanes: Result<Vec<OwnedFd>, HsmError>) {
        if let Some(wanted) = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(&pool) {
            // One who no longer waits drops the sockets, and with them the partition.
            let _ = wanted.send(lanes);
        }
    }
}

thread_local! {
    static RUNTIME: Cell<usize> = const { Cell::new(0) };
}

/// Tells this thread which runtime it drives, from 0: each has lanes of its own. Threads that never say use the first.
pub fn set_runtime_index(index: usize) {
    RUNTIME.set(index);
}

fn runtime_index() -> usize {
    RUNTIME.get()
}
