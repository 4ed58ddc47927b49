//! What every process of the product gives up before it works, and the memory files that carry its secrets.

mod filters;
pub(crate) mod raw;
mod reach;
mod sandbox;

pub use reach::{Reach, can_limit_files};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::MlockAllFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use strongroom_model::SecretBytes;

/// Longest memory file that is read: a resolved configuration is a few kilobytes.
const INHERITED_MAX: usize = 1024 * 1024;

/// What confinement holds in this process; goes into the log at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// No core file, and no tracing but by a process with `CAP_SYS_PTRACE`.
    pub not_dumpable: bool,
    /// No set-user-id program or file capability raises this process or its children.
    pub no_new_privileges: bool,
    /// No capability is left but what the process cannot do without.
    pub capabilities_dropped: bool,
    /// Every page stays in memory, those mapped later too.
    pub memory_locked: bool,
    /// There is no network but an empty one.
    pub network_left: bool,
    /// Landlock denies every file, or, in the service, all but those below the folders it works in.
    pub files_denied: bool,
    /// Landlock denies every TCP port but those configured.
    pub ports_denied: bool,
    /// No program can be executed, or, in the keeper, none but this one.
    pub programs_denied: bool,
    /// Seccomp refuses system calls: in a partition all that are not on a list, else those on a list.
    pub system_calls_filtered: bool,
}

/// Why a process is not confined as it must be.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// Memory cannot be locked.
    #[error(
        "memory cannot be locked, so keys could reach the swap device: raise the limit (`ulimit -l unlimited`, or \
         LimitMEMLOCK=infinity in the systemd unit), grant CAP_IPC_LOCK, or accept it with `allow_unlocked_memory`"
    )]
    MemoryLock,
    /// Nothing hides the seal from the service.
    #[error(
        "this kernel cannot hide the seal from the service: it takes Linux 5.13 or newer with Landlock switched on (add \
         `landlock` to the `lsm=` parameter of the kernel), or accept it with `allow_visible_seal`"
    )]
    VisibleSeal,
    /// The service cannot be given a folder that it needs.
    #[error("{}: the service cannot work in this folder: {_1}", _0.display())]
    Folder(PathBuf, String),
    /// Landlock refused what it should know.
    #[error("the service cannot be kept from the seal: {0}")]
    Landlock(#[source] landlock::RulesetError),
    /// The system refused a step.
    #[error("{0}: {1}")]
    System(&'static str, #[source] io::Error),
}

/// Names the step that the system refused.
pub(crate) fn step<T, E: Into<io::Error>>(what: &'static str, result: Result<T, E>) -> Result<T, ConfineError> {
    result.map_err(|e| ConfineError::System(what, e.into()))
}

/// Confines the service: not dumpable, no core file, no new privileges, no capability but the one to bind a low port, no
/// descriptor but the standard ones and `inherited`. Call it first of all: capabilities belong to a thread, and those started
/// later inherit them. [`limit_service`] follows.
pub fn service(inherited: &[RawFd]) -> Result<Confinement, ConfineError> {
    step("cannot close what other processes left open", raw::close_all_but(inherited))?;
    let confinement = helper()?;
    end_with_parent()?;
    Ok(confinement)
}

/// Confines a short-lived helper of the service that holds nothing secret for long: as the service, with files and network.
pub fn helper() -> Result<Confinement, ConfineError> {
    hide()?;
    step("cannot unblock signals", raw::unblock_signals())?;
    step("cannot renounce new privileges", rustix::thread::set_no_new_privs(true))?;
    drop_capabilities(CapabilitySet::NET_BIND_SERVICE)?;
    Ok(Confinement {
        not_dumpable: true,
        no_new_privileges: true,
        capabilities_dropped: true,
        ..Confinement::default()
    })
}

/// Takes from the service every file and port but those in `reach`, every other program, and the system calls that would lead
/// into other processes. Call it while there is one thread, and before anything from outside is read. Without Landlock
/// nothing hides the seal: that is an error unless `allow_visible_seal`.
pub fn limit_service(
    confinement: Confinement,
    reach: &Reach,
    allow_visible_seal: bool,
) -> Result<Confinement, ConfineError> {
    let held = reach::limit(reach)?;
    if !held.files && !allow_visible_seal {
        return Err(ConfineError::VisibleSeal);
    }
    let filtered = filters::service(reach);
    Ok(Confinement {
        files_denied: held.files,
        ports_denied: held.ports,
        programs_denied: filtered,
        system_calls_filtered: filtered,
        ..confinement
    })
}

/// Confines a partition: as the service, without any capability, with its memory locked, without files and network. The
/// system calls are filtered later, by [`filter_system_calls`].
pub(crate) fn partition(allow_unlocked: bool) -> Result<Confinement, ConfineError> {
    hide()?;
    step("cannot unblock signals", raw::unblock_signals())?;
    step("cannot renounce new privileges", rustix::thread::set_no_new_privs(true))?;
    let memory_locked = lock_memory(allow_unlocked)?;
    let network_left = sandbox::leave_network();
    let unlimited = rustix::process::getrlimit(Resource::Memlock).current.is_none();
    drop_capabilities(if unlimited { CapabilitySet::empty() } else { CapabilitySet::IPC_LOCK })?;
    end_with_parent()?;
    Ok(Confinement {
        not_dumpable: true,
        no_new_privileges: true,
        capabilities_dropped: true,
        memory_locked,
        network_left,
        files_denied: sandbox::deny_files(),
        ..Confinement::default()
    })
}

/// The last step of a partition, when all its threads are there and before any of them works.
pub(crate) fn filter_system_calls(confinement: Confinement) -> Confinement {
    Confinement { system_calls_filtered: sandbox::filter_system_calls(), ..confinement }
}

/// Confines the keeper, which keeps the capabilities that its children need: to lock memory, to bind a low port, to leave the
/// network. All of it is inherited over exec, so it takes nothing that a child cannot bear.
pub(crate) fn keeper(allow_unlocked: bool) -> Result<Confinement, ConfineError> {
    hide()?;
    let memory_locked = lock_memory(allow_unlocked)?;
    // Capabilities stay over exec: those that the children get, they have already.
    step("cannot renounce new privileges", rustix::thread::set_no_new_privs(true))?;
    Ok(Confinement { not_dumpable: true, no_new_privileges: true, memory_locked, ..Confinement::default() })
}

/// The keeper's second step, once it has read the seal.
pub(crate) fn limit_keeper(confinement: Confinement) -> Result<Confinement, ConfineError> {
    drop_capabilities(CapabilitySet::IPC_LOCK | CapabilitySet::NET_BIND_SERVICE | CapabilitySet::SYS_ADMIN)?;
    Ok(Confinement {
        capabilities_dropped: true,
        programs_denied: reach::execute_this_program_only(),
        system_calls_filtered: filters::keeper(),
        ..confinement
    })
}

/// No core file and no tracing. To be said anew after each exec.
fn hide() -> Result<(), ConfineError> {
    step("cannot renounce core files", rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable))?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    step("cannot set the limit of core files", rustix::process::setrlimit(Resource::Core, none))
}

fn end_with_parent() -> Result<(), ConfineError> {
    step("cannot tie this process to its parent", rustix::process::set_parent_process_death_signal(Some(Signal::KILL)))
}

/// Locks all memory, present and future; where a finite limit would let a later allocation fail, that counts as refused.
fn lock_memory(allow_unlocked: bool) -> Result<bool, ConfineError> {
    let limit = rustix::process::getrlimit(Resource::Memlock);
    let raised = Rlimit { current: None, maximum: None };
    let unlimited = limit.current.is_none() || rustix::process::setrlimit(Resource::Memlock, raised).is_ok();
    let capable = rustix::thread::capabilities(None).is_ok_and(|c| c.effective.contains(CapabilitySet::IPC_LOCK));
    // On fault: a page is locked as soon as it holds something, and stacks that are never used take no memory.
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    let locked = (unlimited || capable) && rustix::mm::mlockall(all).is_ok();
    if locked || allow_unlocked { Ok(locked) } else { Err(ConfineError::MemoryLock) }
}

fn drop_capabilities(keep: CapabilitySet) -> Result<(), ConfineError> {
    let present = step("cannot read the capabilities", rustix::thread::capabilities(None))?;
    let kept = present.permitted & keep;
    step("cannot clear the ambient capabilities", rustix::thread::clear_ambient_capability_set())?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    step("cannot drop the capabilities", rustix::thread::set_capabilities(None, sets))
}

/// Reads all of a memory file that this process inherited by number, and closes it. For `--config-fd` and
/// `--store-seal-fd`; the file's position plays no part, so each start of the service reads the same.
pub fn read_inherited(fd: RawFd) -> io::Result<SecretBytes> {
    let file = raw::inherited(fd)?;
    let size = usize::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(usize::MAX);
    if !(1..=INHERITED_MAX).contains(&size) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    raw::read_mapped(&file, size)
}

/// A memory file with a secret, for children to inherit: memfd_secret where the kernel has it, else a sealed memfd, kept mapped
/// so that this process's memory lock holds it. The flag says which.
pub(crate) fn secret_file(secret: &SecretBytes) -> io::Result<(OwnedFd, bool)> {
    let len = u64::try_from(secret.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    if let Some(file) = raw::memfd_secret() {
        // Fails where the memory lock limit is exhausted: then the other kind serves.
        if rustix::fs::ftruncate(&file, len).is_ok() && raw::write_mapped(&file, secret.expose()).is_ok() {
            return Ok((file, true));
        }
    }
    let file = rustix::fs::memfd_create("strongroom", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&file, len)?;
    raw::write_mapped(&file, secret.expose())?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    raw::keep_mapped(&file, secret.len())?;
    Ok((file, false))
}
