//! What a partition cannot reach: files, the network, other programs and processes.
//!
//! Three layers, each reported when the kernel lacks it: an empty network namespace, Landlock without a single rule, and a
//! list of the system calls that working threads make.

use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

/// The newest Landlock whose rights are asked for; older kernels refuse what they know.
const LANDLOCK: ABI = ABI::V6;

/// Leaves the machine's network for an empty one. Takes `CAP_SYS_ADMIN`.
pub(super) fn leave_network() -> bool {
    super::raw::unshare_network().is_ok()
}

/// Denies this thread, and those it starts, every file, TCP port, abstract socket and foreign process.
pub(super) fn deny_files() -> bool {
    let restrict = || {
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .handle_access(AccessNet::from_all(LANDLOCK))?
            .scope(Scope::from_all(LANDLOCK))?;
        ruleset.create()?.restrict_self()
    };
    let status: Result<_, landlock::RulesetError> = restrict();
    status.is_ok_and(|s| s.ruleset != RulesetStatus::NotEnforced)
}

/// System calls of a working partition: sockets it has, memory, locks, time, randomness, its own end. Nothing opens, connects,
/// executes, traces or starts a thread.
const ALLOWED: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_close,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_membarrier,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];
/// These are allowed for memory that cannot be executed.
const ALLOWED_WITHOUT_EXEC: &[libc::c_long] = &[libc::SYS_mmap, libc::SYS_mprotect];
/// Which argument of both holds the protection.
const PROTECTION: u8 = 2;

/// Refuses all other system calls with EPERM, in every thread of the process and for ever.
pub(super) fn filter_system_calls() -> bool {
    let program = filter();
    program.is_ok_and(|program| seccompiler::apply_filter_all_threads(&program).is_ok())
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    for call in ALLOWED_WITHOUT_EXEC {
        let executable = SeccompCmpOp::MaskedEq(u64::from(libc::PROT_EXEC.unsigned_abs()));
        let condition = SeccompCondition::new(PROTECTION, SeccompCmpArgLen::Dword, executable, 0)?;
        rules.insert(*call, vec![SeccompRule::new(vec![condition])?]);
    }
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let machine: TargetArch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, refuse, SeccompAction::Allow, machine)?.try_into()
}
