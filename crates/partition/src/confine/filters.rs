//! System calls that keeper and service never make and that would let one process into another, or the kernel be changed.
//!
//! A list of what is refused, not of what is allowed as for partitions: these two use much of what libraries use.

use super::reach::Reach;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

/// Refused to the keeper, and so to all its children.
const REFUSED: &[libc::c_long] = &[
    // Into other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_setns,
    // Around the filter, and around the paths that Landlock looks at.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_open_by_handle_at,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_fanotify_init,
    libc::SYS_personality,
    // To other users.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    // Into the kernel and the machine.
    libc::SYS_bpf,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
];
/// Refused to the service besides: it starts no program, signals nobody, has no namespace of its own, and gives no file by its
/// name another mode or owner, which Landlock does not look at.
const REFUSED_TO_SERVICE: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_unshare,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
];
/// The same by names that later machines left out.
#[cfg(target_arch = "x86_64")]
const REFUSED_TO_SERVICE_ON_X86: &[libc::c_long] = &[libc::SYS_chmod, libc::SYS_chown, libc::SYS_lchown];
/// The ports of the machine.
#[cfg(target_arch = "x86_64")]
const X86: &[libc::c_long] = &[libc::SYS_iopl, libc::SYS_ioperm];
/// The bit that tells an x32 call (arch/x86/include/uapi/asm/unistd.h).
#[cfg(target_arch = "x86_64")]
const X32: libc::c_long = 0x4000_0000;
/// Calls that have a number of their own there (arch/x86/entry/syscalls/syscall_64.tbl).
#[cfg(target_arch = "x86_64")]
const X32_OWN: &[(libc::c_long, libc::c_long)] = &[
    (libc::SYS_execve, 520),
    (libc::SYS_ptrace, 521),
    (libc::SYS_kexec_load, 528),
    (libc::SYS_process_vm_readv, 539),
    (libc::SYS_process_vm_writev, 540),
    (libc::SYS_execveat, 545),
];

/// The kind of a socket, without its flags.
const SOCKET_KIND: u64 = 0xf;
/// Kinds of sockets that nobody here makes; whoever looks up names takes datagrams.
const SOCKET_KINDS: [libc::c_int; 3] = [libc::SOCK_RAW, libc::SOCK_RDM, libc::SOCK_SEQPACKET];
/// `prctl` calls that would undo what was given up.
const UNDOING: [libc::c_int; 3] = [libc::PR_SET_DUMPABLE, libc::PR_SET_PTRACER, libc::PR_SET_PDEATHSIG];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Refuses the keeper and its children what none of them does.
pub(super) fn keeper() -> bool {
    apply(Ok(refused()))
}

/// Refuses the service what it does not do.
pub(super) fn service(reach: &Reach) -> bool {
    apply(service_rules(reach))
}

fn refused() -> Rules {
    let mut rules: Rules = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    #[cfg(target_arch = "x86_64")]
    {
        rules.extend(X86.iter().map(|call| (*call, Vec::new())));
        rules.extend(x32(REFUSED));
    }
    rules
}

/// The same calls in the x32 numbering, which a filter by x86-64 numbers would let through.
#[cfg(target_arch = "x86_64")]
fn x32(calls: &[libc::c_long]) -> impl Iterator<Item = (i64, Vec<SeccompRule>)> {
    calls.iter().map(|call| {
        let own = X32_OWN.iter().find(|(theirs, _)| theirs == call).map(|(_, own)| *own);
        (X32 | own.unwrap_or(*call), Vec::new())
    })
}

fn service_rules(reach: &Reach) -> Result<Rules, BackendError> {
    let mut rules = refused();
    rules.extend(REFUSED_TO_SERVICE.iter().map(|call| (*call, Vec::new())));
    #[cfg(target_arch = "x86_64")]
    {
        rules.extend(REFUSED_TO_SERVICE_ON_X86.iter().map(|call| (*call, Vec::new())));
        let more = x32(REFUSED_TO_SERVICE_ON_X86).chain(x32(&[libc::SYS_socket, libc::SYS_prctl]));
        rules.extend(x32(REFUSED_TO_SERVICE).chain(more));
    }
    let mut sockets = Vec::new();
    let outward = !reach.connect.is_empty();
    let datagrams: &[libc::c_int] = if outward { &[] } else { &[libc::SOCK_DGRAM] };
    for kind in SOCKET_KINDS.iter().chain(datagrams) {
        sockets.push(argument(1, SeccompCmpOp::MaskedEq(SOCKET_KIND), *kind)?);
    }
    if !outward {
        let mut families = vec![libc::AF_INET, libc::AF_INET6];
        families
            .extend([(reach.unix, libc::AF_UNIX), (reach.vsock, libc::AF_VSOCK)].iter().filter(|f| f.0).map(|f| f.1));
        let other: Result<Vec<_>, _> = families.into_iter().map(|f| condition(0, SeccompCmpOp::Ne, f)).collect();
        sockets.push(SeccompRule::new(other?)?);
    }
    rules.insert(libc::SYS_socket, sockets);
    let undoing: Result<Vec<_>, _> = UNDOING.iter().map(|what| argument(0, SeccompCmpOp::Eq, *what)).collect();
    rules.insert(libc::SYS_prctl, undoing?);
    Ok(rules)
}

fn condition(index: u8, operator: SeccompCmpOp, value: libc::c_int) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, u64::from(value.unsigned_abs()))
}

fn argument(index: u8, operator: SeccompCmpOp, value: libc::c_int) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![condition(index, operator, value)?])
}

fn apply(rules: Result<Rules, BackendError>) -> bool {
    let program = || -> Result<BpfProgram, BackendError> {
        let machine: TargetArch = std::env::consts::ARCH.try_into()?;
        let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        SeccompFilter::new(rules?, SeccompAction::Allow, refuse, machine)?.try_into()
    };
    program().is_ok_and(|program| seccompiler::apply_filter_all_threads(&program).is_ok())
}
