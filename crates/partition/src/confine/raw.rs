//! All unsafe code of the product: system calls for which there is no safe wrapper, each behind one that is.
#![allow(unsafe_code, reason = "the one module for it; the reason of each block stands beside it")]

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};
use strongroom_model::SecretBytes;

/// Numbers already taken over, so that no descriptor gets two owners.
static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());
/// First number that is not standard input, output or error.
const FIRST: RawFd = 3;

/// Takes over a descriptor that this process inherited under a number named on its command line.
pub(crate) fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD reads the flags of a descriptor and touches no memory; a wrong number is answered with EBADF.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    if fd < FIRST || !TAKEN.lock().unwrap_or_else(PoisonError::into_inner).insert(fd) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the number is open (checked above), was inherited over exec, so that nothing in this process owns it, and is
    // taken over once (TAKEN).
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&owned, rustix::io::FdFlags::CLOEXEC)?;
    Ok(owned)
}

/// Closes every descriptor but the standard ones and `keep`. For the start of a process that has taken over none yet.
pub(crate) fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    if !TAKEN.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let keep: BTreeSet<RawFd> = keep.iter().copied().filter(|fd| *fd >= FIRST).collect();
    let mut first = FIRST;
    for end in keep.iter().map(|fd| fd - 1).chain([RawFd::MAX]) {
        if first <= end {
            // SAFETY: no descriptor in the range has an owner: none was taken over (checked above), and the caller runs
            // before anything is opened. The call takes three integers and touches no memory.
            let closed = unsafe { libc::syscall(libc::SYS_close_range, first, end, 0) };
            if closed != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        first = end.saturating_add(2);
    }
    Ok(())
}

/// A memory file that not even the kernel maps for others, or `None` where the kernel has none.
pub(crate) fn memfd_secret() -> Option<OwnedFd> {
    // SAFETY: the call takes one integer and returns a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A mapping of a memory file, unmapped on drop.
struct Mapping {
    address: *mut libc::c_void,
    len: usize,
}

impl Mapping {
    fn new(file: &impl AsFd, len: usize, access: libc::c_int, kind: libc::c_int) -> io::Result<Self> {
        let fd = file.as_fd().as_raw_fd();
        // SAFETY: a new mapping at an address that the kernel chooses; it cannot overlap memory in use.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), len, access, kind, fd, 0) };
        if address == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self { address, len }) }
    }

    /// Shared, which memfd_secret demands; else private, which older kernels demand for a sealed memfd.
    fn readable(file: &impl AsFd, len: usize) -> io::Result<Self> {
        Self::new(file, len, libc::PROT_READ, libc::MAP_SHARED)
            .or_else(|_| Self::new(file, len, libc::PROT_READ, libc::MAP_PRIVATE))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this mapping was made by `new`, and no reference into it is left.
        unsafe { libc::munmap(self.address, self.len) };
    }
}

/// Writes the start of a memory file of at least `bytes.len()` bytes.
pub(crate) fn write_mapped(file: &impl AsFd, bytes: &[u8]) -> io::Result<()> {
    let mapping = Mapping::new(file, bytes.len(), libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED)?;
    // SAFETY: the mapping is `bytes.len()` bytes long, writable, and disjoint from `bytes`, which is ordinary memory.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), mapping.address.cast::<u8>(), bytes.len()) };
    Ok(())
}

/// Copies the first `len` bytes of a memory file that is at least so long and is neither cut nor written meanwhile.
pub(crate) fn read_mapped(file: &impl AsFd, len: usize) -> io::Result<SecretBytes> {
    let mapping = Mapping::readable(file, len)?;
    SecretBytes::fill_with(len, |out| {
        // SAFETY: the mapping is `len` bytes long, readable, and disjoint from `out`, which is as long. Reading past the end of a
        // file would end the process by SIGBUS: the callers hold sealed or secret memory files and take `len` from fstat.
        unsafe { std::ptr::copy_nonoverlapping(mapping.address.cast::<u8>(), out.as_mut_ptr(), out.len()) };
        Ok(())
    })
}

/// Keeps the first `len` bytes of a memory file mapped for the life of this process, so that a lock on its memory holds them.
pub(crate) fn keep_mapped(file: &impl AsFd, len: usize) -> io::Result<()> {
    let mapping = Mapping::readable(file, len)?;
    // SAFETY: the mapping is readable and not empty; reading it brings the page in, which is what locks it.
    let _ = unsafe { std::ptr::read_volatile(mapping.address.cast::<u8>()) };
    std::mem::forget(mapping);
    Ok(())
}

/// Blocks these signals in the calling thread and gives a descriptor that becomes readable when one is pending.
pub(crate) fn signals(numbers: &[libc::c_int]) -> io::Result<OwnedFd> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set; the other calls read or change that set, which lives to the end of the block.
    let fd = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for number in numbers {
            libc::sigaddset(set.as_mut_ptr(), *number);
        }
        let failed = libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
        if failed != 0 {
            return Err(io::Error::from_raw_os_error(failed));
        }
        libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives a signal its default action: one that is ignored stays so over exec, and who ignores SIGCHLD never learns how a
/// child ended.
pub(crate) fn reset_signal(number: libc::c_int) {
    // SAFETY: the default action is no code of ours, and nothing here has installed another. A wrong number changes nothing.
    unsafe { libc::signal(number, libc::SIG_DFL) };
}

/// Whether this process was started with a signal ignored (`nohup`).
pub(crate) fn is_ignored(number: libc::c_int) -> bool {
    let mut present = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only writes the present one into the variable, which may be all zero bytes.
    unsafe {
        libc::sigaction(number, std::ptr::null(), present.as_mut_ptr()) == 0
            && present.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Gives the calling thread, and those it starts, a network of their own without any interface.
pub(crate) fn unshare_network() -> io::Result<()> {
    // SAFETY: what makes this call unsafe is a separate table of descriptors, which is not asked for.
    Ok(unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }?)
}

/// Unblocks all signals in the calling thread: a mask is inherited over exec, and the keeper has one.
pub(crate) fn unblock_signals() -> io::Result<()> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set, which lives to the end of the block; the old mask is not asked for.
    let failed = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut())
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(failed)) }
}

/// Ends the process at once: no destructor, no exit handler, whatever other threads are doing.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit does not return and touches no memory of ours.
    unsafe { libc::_exit(code) }
}
