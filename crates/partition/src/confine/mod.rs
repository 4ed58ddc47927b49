//! What every process of the product gives up before it works.

use std::io;
use std::os::fd::RawFd;
use strongroom_model::SecretBytes;

/// What confinement holds in this process; goes into the log at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// Not dumpable: no core, no tracing by the same user.
    pub not_dumpable: bool,
    /// Every page locked, present and future.
    pub memory_locked: bool,
    /// No capability left.
    pub no_capabilities: bool,
}

/// Confines the service: no capabilities, no new privileges, not dumpable, no core dumps. Call it first of all, before threads start.
pub fn service() -> io::Result<Confinement> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Reads all of a memfd that this process inherited by number, from its start, and closes it. For `--config-fd` (read it anew at each start) and
/// `--store-seal-fd` (which may be a memfd_secret, readable by mapping only).
pub fn read_inherited(fd: RawFd) -> io::Result<SecretBytes> {
    let _ = fd;
    Err(io::ErrorKind::Unsupported.into())
}
