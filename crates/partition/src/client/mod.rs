//! The service's end: asks the keeper for partitions, and heals the way to one that died.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use strongroom_hsm::gateway::Pending;
use strongroom_hsm::{Gateway, HsmError, Partitions};
use strongroom_model::PoolId;

/// The service's line to the keeper. The service was started as
/// `strongroom service --config-fd N --keeper-fd N --store-seal-fd N --runtimes N [--dev]`.
pub struct KeeperClient {}

impl KeeperClient {
    /// Takes over the keeper's socket (`--keeper-fd N`). When the keeper dies, this process exits at once.
    pub fn connect(keeper_fd: RawFd, runtimes: usize) -> io::Result<Arc<Self>> {
        let _ = (keeper_fd, runtimes);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Seconds that every request from now on adds to the partition's clock; refused there unless started with `--dev`.
    pub fn set_clock_offset(&self, seconds: i64) {
        let _ = seconds;
    }

    /// Waits until the keeper asks this service to drain and exit with 0 (SIGTERM or SIGINT at the keeper).
    pub async fn stop_requested(&self) {
        std::future::pending().await
    }
}

impl Partitions for KeeperClient {
    fn gateway(&self, _pool: PoolId) -> Pending<'_, Arc<dyn Gateway>> {
        Box::pin(async { Err(HsmError::Lost) })
    }
}

/// Tells this thread which runtime it drives, from 0: each has lanes of its own. Threads that never say use the first.
pub fn set_runtime_index(index: usize) {
    let _ = index;
}
