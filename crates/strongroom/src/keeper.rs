//! From the first process to the keeper, and the two processes that hold keys.

use crate::cli::{KeeperArgs, PartitionArgs};
use crate::failure::Failure;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use strongroom_hsm_soft::SoftProvider;
use strongroom_model::PoolId;
use strongroom_partition::keeper::KeeperOptions;
use strongroom_partition::process::PartitionOptions;
use strongroom_server::config::{ServiceConfig, logs};

/// This program, whatever it is called and wherever it has been moved to since.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Puts the configuration into a memory file and becomes the keeper, in the same process. Returns only when it cannot.
///
/// `lock` is the lock on the data folder: the keeper holds it as long as it lives.
pub(crate) fn become_keeper(config: &ServiceConfig, lock: File) -> Result<ExitCode, Failure> {
    let file = memory_file(config)?;
    fcntl_setfd(&lock, FdFlags::empty())?;
    let mut command = Command::new(THIS_PROGRAM);
    command.arg0("strongroom").arg("keeper");
    command.arg("--seal").arg(&config.seal).arg("--data").arg(&config.data);
    // One more than serve requests: the service's own work has lanes of its own.
    command.arg("--runtimes").arg((config.runtimes + 1).to_string());
    command.arg("--config-fd").arg(file.as_raw_fd().to_string());
    command.arg("--lock-fd").arg(lock.as_raw_fd().to_string());
    if config.development.is_some() {
        command.args(["--create-seal", "--dev"]);
    }
    if config.allow_unlocked_memory {
        command.arg("--allow-unlocked-memory");
    }
    logs::hand_on(&config.log, &mut command);
    Err(Failure::failed(format!("the keeper cannot be started: {}", command.exec())))
}

/// Inherited over exec, and not changed any more.
fn memory_file(config: &ServiceConfig) -> Result<File, Failure> {
    let json = serde_json::to_vec(config)?;
    let mut file = File::from(memfd_create("strongroom-config", MemfdFlags::ALLOW_SEALING)?);
    file.write_all(&json)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}

/// `strongroom keeper`
pub(crate) fn run_keeper(args: KeeperArgs) -> Result<ExitCode, Failure> {
    logs::init_inherited()?;
    Ok(strongroom_partition::keeper::run(KeeperOptions {
        seal: args.seal,
        data: args.data,
        create_seal: args.create_seal,
        dev: args.dev,
        allow_unlocked_memory: args.allow_unlocked_memory,
        runtimes: args.runtimes,
        config_fd: args.config_fd,
        lock_fd: Some(args.lock_fd),
        confined: || (),
    })?)
}

/// `strongroom partition`
pub(crate) fn run_partition(args: PartitionArgs) -> Result<ExitCode, Failure> {
    let options = PartitionOptions {
        pool: PoolId(args.pool),
        runtimes: args.runtimes,
        keeper_fd: args.keeper_fd,
        kek_fd: args.kek_fd,
        lane_fds: args.lane_fds,
        dev: args.dev,
        allow_unlocked_memory: args.allow_unlocked_memory,
    };
    logs::init_inherited()?;
    strongroom_partition::process::run(SoftProvider, options)?;
    Ok(ExitCode::SUCCESS)
}
