//! The keeper's children: the same program, executed anew, with the descriptors that it needs and no others.

use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;
use strongroom_model::PoolId;

/// What children are started with.
pub(super) struct Launch {
    pub(super) runtimes: usize,
    pub(super) dev: bool,
    pub(super) allow_unlocked_memory: bool,
    pub(super) kek: OwnedFd,
    pub(super) store_seal: OwnedFd,
    pub(super) config: OwnedFd,
}

/// A living child; killed and waited for on drop.
pub(super) struct Child {
    process: std::process::Child,
    /// Readable when the child has ended.
    pub(super) end: OwnedFd,
    /// Our end of the child's line: it ends when this closes.
    pub(super) socket: OwnedFd,
    pub(super) started: Instant,
}

impl Child {
    pub(super) fn kill(&self) {
        // Refused only when it has ended.
        let _ = pidfd_send_signal(&self.end, Signal::KILL);
    }

    /// How a child ended whose `end` is readable.
    pub(super) fn status(&mut self) -> Option<ExitStatus> {
        self.process.wait().ok()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        let _ = self.process.wait();
    }
}

impl Launch {
    /// Starts the service.
    pub(super) fn service(&self) -> io::Result<Child> {
        let mut command = this_program("service");
        let (ours, theirs) = line()?;
        command.arg("--config-fd").arg(number(&self.config));
        command.arg("--keeper-fd").arg(number(&theirs));
        command.arg("--store-seal-fd").arg(number(&self.store_seal));
        command.arg("--runtimes").arg(self.runtimes.to_string());
        spawn(command, ours, &[&self.config, &theirs, &self.store_seal])
    }

    /// Starts the partition of `pool`; gives the service's ends of its lanes too.
    pub(super) fn partition(&self, pool: PoolId) -> io::Result<(Child, Vec<OwnedFd>)> {
        let (ours, theirs) = line()?;
        let mut service_ends = Vec::with_capacity(2 * self.runtimes);
        let mut lanes = Vec::with_capacity(2 * self.runtimes);
        for _ in 0..2 * self.runtimes {
            let (service, partition) = pair(SocketType::STREAM)?;
            service_ends.push(service);
            lanes.push(partition);
        }
        let numbers: Vec<String> = lanes.iter().map(number).collect();
        let mut command = this_program("partition");
        command.arg("--pool").arg(pool.to_string());
        command.arg("--runtimes").arg(self.runtimes.to_string());
        command.arg("--keeper-fd").arg(number(&theirs));
        command.arg("--kek-fd").arg(number(&self.kek));
        command.arg("--lane-fds").arg(numbers.join(","));
        if self.dev {
            command.arg("--dev");
        }
        if self.allow_unlocked_memory {
            command.arg("--allow-unlocked-memory");
        }
        let passed: Vec<&OwnedFd> = lanes.iter().chain([&theirs, &self.kek]).collect();
        Ok((spawn(command, ours, &passed)?, service_ends))
    }
}

/// What children get of the environment: how to log, and what the terminal can do. Secrets of the shell, and variables that
/// change what libraries do, stay behind.
const ENVIRONMENT: &[&str] =
    &["STRONGROOM_LOG_LEVEL", "STRONGROOM_LOG_FORMAT", "TERM", "COLORTERM", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"];

/// This very program, even when its file was replaced since; in a process group of its own, so that Ctrl-C reaches the keeper alone.
fn this_program(subcommand: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("strongroom").arg(subcommand).stdin(Stdio::null()).process_group(0);
    command.env_clear().envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

fn number(fd: &OwnedFd) -> String {
    fd.as_raw_fd().to_string()
}

fn pair(kind: SocketType) -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// The line between keeper and child; it keeps the borders of messages.
fn line() -> io::Result<(OwnedFd, OwnedFd)> {
    pair(SocketType::SEQPACKET)
}

/// Starts `command`, which inherits `passed` under the same numbers. The keeper has one thread, so nothing else is started
/// while they may be inherited.
fn spawn(mut command: Command, socket: OwnedFd, passed: &[&OwnedFd]) -> io::Result<Child> {
    for fd in passed {
        rustix::io::fcntl_setfd(fd, FdFlags::empty())?;
    }
    let process = command.spawn();
    for fd in passed {
        rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    }
    let mut process = process?;
    let end = i32::try_from(process.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData.into());
    match end.and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?)) {
        Ok(end) => Ok(Child { process, end, socket, started: Instant::now() }),
        Err(error) => {
            let _ = process.kill();
            let _ = process.wait();
            Err(error)
        }
    }
}
