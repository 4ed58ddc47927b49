//! What every process of the product gives up before it works, and the memory files that carry its secrets.

pub(crate) mod raw;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::MlockAllFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use strongroom_model::SecretBytes;

/// Longest memory file that is read: a resolved configuration is a few kilobytes.
const INHERITED_MAX: usize = 1024 * 1024;

/// What confinement holds in this process; goes into the log at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// No set-user-id program or file capability raises this process or its children.
    pub no_new_privileges: bool,
    /// No core file, and no tracing but by a process with `CAP_SYS_PTRACE`.
    pub not_dumpable: bool,
    /// Every page stays in memory, those mapped later too.
    pub memory_locked: bool,
    /// No capability is left but the one named by the caller.
    pub capabilities_dropped: bool,
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
    /// The system refused a step.
    #[error("{0}: {1}")]
    System(&'static str, #[source] io::Error),
}

/// Names the step that the system refused.
pub(crate) fn step<T, E: Into<io::Error>>(what: &'static str, result: Result<T, E>) -> Result<T, ConfineError> {
    result.map_err(|e| ConfineError::System(what, e.into()))
}

/// Confines the service: not dumpable, no core file, no new privileges, no capability but the one to bind a low port. Call it
/// first of all: capabilities belong to a thread, and those started later inherit them.
pub fn service() -> Result<Confinement, ConfineError> {
    hide()?;
    step("cannot unblock signals", raw::unblock_signals())?;
    step("cannot renounce new privileges", rustix::thread::set_no_new_privs(true))?;
    drop_capabilities(CapabilitySet::NET_BIND_SERVICE)?;
    end_with_parent()?;
    Ok(Confinement { no_new_privileges: true, not_dumpable: true, memory_locked: false, capabilities_dropped: true })
}

/// Confines a partition: as the service, without any capability, and with its memory locked.
pub(crate) fn partition(allow_unlocked: bool) -> Result<Confinement, ConfineError> {
    hide()?;
    step("cannot unblock signals", raw::unblock_signals())?;
    step("cannot renounce new privileges", rustix::thread::set_no_new_privs(true))?;
    let memory_locked = lock_memory(allow_unlocked)?;
    let unlimited = rustix::process::getrlimit(Resource::Memlock).current.is_none();
    drop_capabilities(if unlimited { CapabilitySet::empty() } else { CapabilitySet::IPC_LOCK })?;
    end_with_parent()?;
    Ok(Confinement { no_new_privileges: true, not_dumpable: true, memory_locked, capabilities_dropped: true })
}

/// Confines the keeper, which keeps its capabilities for the partitions to lock their memory with.
pub(crate) fn keeper(allow_unlocked: bool) -> Result<Confinement, ConfineError> {
    hide()?;
    let memory_locked = lock_memory(allow_unlocked)?;
    Ok(Confinement { no_new_privileges: false, not_dumpable: true, memory_locked, capabilities_dropped: false })
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
