//! A keeper under test, and what /proc says of its family.

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything that is waited for; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// The exit code of a service that crashes.
pub(crate) const CRASHED: u8 = 9;

pub(crate) struct Node {
    keeper: Child,
    pub(crate) folder: tempfile::TempDir,
}

impl Node {
    /// Starts a keeper whose service runs `scenario`.
    pub(crate) fn start(scenario: &str) -> Self {
        Self::start_as("keeper", scenario, &["--create-seal", "--dev"], tempfile::tempdir().unwrap())
    }

    pub(crate) fn start_as(kind: &str, scenario: &str, switches: &[&str], folder: tempfile::TempDir) -> Self {
        Self::start_from(None, kind, scenario, switches, folder)
    }

    /// Starts it from a shell that runs `preparation` first.
    pub(crate) fn start_after(preparation: &str, scenario: &str) -> Self {
        let switches = ["--create-seal", "--dev"];
        Self::start_from(Some(preparation), "keeper", scenario, &switches, tempfile::tempdir().unwrap())
    }

    fn start_from(
        preparation: Option<&str>,
        kind: &str,
        scenario: &str,
        switches: &[&str],
        folder: tempfile::TempDir,
    ) -> Self {
        let mut config = tempfile::tempfile().unwrap();
        config.write_all(format!("{scenario} {}", folder.path().display()).as_bytes()).unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        rustix::io::fcntl_setfd(config.as_fd(), rustix::io::FdFlags::empty()).unwrap();
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(if preparation.is_some() { "/bin/sh".as_ref() } else { program.as_path() });
        if let Some(preparation) = preparation {
            command.args(["-c", &format!("{preparation}; exec \"$0\" \"$@\"")]).arg(&program);
        }
        command.arg(kind).arg("--seal").arg(folder.path().join("node.seal")).arg("--data").arg(&data);
        command.args(["--runtimes", "2", "--config-fd", &config.as_raw_fd().to_string()]).args(switches);
        let keeper = command.stdin(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
        Self { keeper, folder }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.keeper.id()
    }

    /// Waits for the keeper's end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.keeper.try_wait().unwrap() {
                return status;
            }
            assert!(since.elapsed() < PATIENCE, "the keeper did not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for a file that the scenario writes.
    pub(crate) fn note(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        wait_for(&format!("note {name}"), || std::fs::read_to_string(&path).ok())
    }

    /// The children whose command is `kind` (`service`, `partition`).
    pub(crate) fn children(&self, kind: &str) -> Vec<u32> {
        children_of(self.pid(), kind)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

pub(crate) fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(since.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn children_of(parent: u32, kind: &str) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().to_str()?.parse::<u32>().ok());
    let of_kind = |pid: &u32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        status(*pid, "PPid:") == Some(parent.to_string()) && command.split(|b| *b == 0).nth(1) == Some(kind.as_bytes())
    };
    pids.filter(of_kind).collect()
}

/// A field of /proc/PID/status; nothing when the process is gone or dead.
pub(crate) fn status(pid: u32, field: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let of = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).map(|v| v.trim().to_owned());
    if of("State:")?.starts_with('Z') { None } else { of(field) }
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

pub(crate) fn can_lock_memory() -> bool {
    let capable = capabilities(None).unwrap().effective.contains(CapabilitySet::IPC_LOCK);
    capable || getrlimit(Resource::Memlock).maximum.is_none()
}

/// Makes this process one of a kernel without Landlock.
pub(crate) fn forbid_landlock() {
    let rules = [(libc::SYS_landlock_create_ruleset, Vec::new())].into_iter().collect();
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let machine = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, missing, machine).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    set_no_new_privs(true).unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

/// Makes this process one that can lock next to no memory and cannot change that.
pub(crate) fn forbid_memory_lock() {
    const FEW: u64 = 64 * 1024;
    setrlimit(Resource::Memlock, Rlimit { current: Some(FEW), maximum: Some(FEW) }).unwrap();
    set_no_new_privs(true).unwrap();
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }).unwrap();
}
