//! The keeper: opens the seal, holds the key-encryption key, starts and restarts the service and the partitions.

use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::ExitCode;

/// How the keeper was started:
/// `strongroom keeper --seal PATH --data PATH [--create-seal] [--dev] [--allow-unlocked-memory] --runtimes N --config-fd N`.
#[derive(Clone, Debug)]
pub struct KeeperOptions {
    /// `--seal PATH`: the seal file, outside of the data folder.
    pub seal: PathBuf,
    /// `--data PATH`: the data folder, which must exist.
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
}

/// Why the keeper does not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {}

/// Runs until SIGTERM, SIGINT or the service's own end; the exit code is the service's. Call it in a process with one thread.
pub fn run(options: KeeperOptions) -> Result<ExitCode, KeeperError> {
    let _ = options;
    Ok(ExitCode::SUCCESS)
}

/// The service's exit code when it cannot start and has said why: the keeper ends with it and does not start it again.
pub const EXIT_CONFIGURATION: u8 = 78;
