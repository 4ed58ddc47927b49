//! A partition: the confined process in which keys exist in the clear.

use std::os::fd::RawFd;
use strongroom_hsm::Provider;
use strongroom_model::PoolId;

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
    /// `--dev`: honour a clock offset.
    pub dev: bool,
    /// `--allow-unlocked-memory`: start although memory cannot be locked.
    pub allow_unlocked_memory: bool,
}

/// Why a partition does not start.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {}

/// Runs until the keeper's socket or a lane closes.
pub fn run<P: Provider>(provider: P, options: PartitionOptions) -> Result<(), PartitionError> {
    let _ = (provider, options);
    Ok(())
}
