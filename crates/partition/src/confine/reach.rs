//! What the service reaches: the folders and ports that its configuration names, and nothing else.

use super::ConfineError;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The newest Landlock whose rights are asked for; older kernels refuse what they know.
const LANDLOCK: ABI = ABI::V6;
/// The first Landlock that knows TCP ports (Linux 6.7).
const LANDLOCK_PORTS: ABI = ABI::V4;

/// Folders and ports that the service cannot do without. What it has open already stays open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Folders whose files are read, links followed before. Folders, since a file that is replaced is another one.
    pub read: Vec<PathBuf>,
    /// Folders whose files are read, written, made and removed.
    pub write: Vec<PathBuf>,
    /// TCP ports to listen on.
    pub bind: Vec<u16>,
    /// TCP ports to connect to; where there are any, names are looked up too.
    pub connect: Vec<u16>,
    /// Whether Unix sockets are listened on; they lie in folders of `write`.
    pub unix: bool,
    /// Whether virtual machines are listened to.
    pub vsock: bool,
}

/// What looking up host names reads, as far as it is there.
const NAMES: &[&str] = &[
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/ld.so.cache",
    "/run/systemd/resolve",
    "/lib",
    "/lib64",
    "/usr/lib",
];

/// What Landlock holds.
#[derive(Clone, Copy, Default)]
pub(super) struct Held {
    pub(super) files: bool,
    pub(super) ports: bool,
}

/// Whether this kernel can keep the service from files at all.
pub fn can_limit_files() -> bool {
    let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    rules.handle_access(AccessFs::from_all(ABI::V1)).and_then(Ruleset::create).is_ok()
}

fn reading() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{ReadFile | ReadDir})
}

fn writing() -> BitFlags<AccessFs> {
    reading() | make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir})
}

/// Limits this thread, and those it starts, to what `reach` names.
pub(super) fn limit(reach: &Reach) -> Result<Held, ConfineError> {
    let rules = || -> Result<RulesetCreated, RulesetError> {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .handle_access(AccessNet::from_all(LANDLOCK))?
            .scope(Scope::from_all(LANDLOCK))?
            .create()
    };
    let mut rules = rules().map_err(ConfineError::Landlock)?;
    for (folders, access) in [(&reach.read, reading()), (&reach.write, writing())] {
        let sockets = if reach.unix { AccessFs::MakeSock.into() } else { BitFlags::EMPTY };
        for folder in folders {
            let more = if access.contains(AccessFs::MakeReg) { sockets } else { BitFlags::EMPTY };
            rules = beneath(rules, folder, access | more)?;
        }
    }
    if !reach.connect.is_empty() {
        for path in NAMES.iter().map(Path::new).filter(|path| path.exists()) {
            let access = if path.is_dir() { reading() } else { AccessFs::ReadFile.into() };
            rules = beneath(rules, path, access)?;
        }
    }
    for (ports, access) in [(&reach.bind, AccessNet::BindTcp), (&reach.connect, AccessNet::ConnectTcp)] {
        for port in ports {
            rules = rules.add_rule(NetPort::new(*port, access)).map_err(ConfineError::Landlock)?;
        }
    }
    let status = rules.restrict_self().map_err(ConfineError::Landlock)?;
    let files = status.ruleset != RulesetStatus::NotEnforced;
    let ports =
        matches!(status.landlock, LandlockStatus::Available { effective_abi, .. } if effective_abi >= LANDLOCK_PORTS);
    Ok(Held { files, ports: files && ports })
}

fn beneath(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, ConfineError> {
    let open = PathFd::new(path).map_err(|error| ConfineError::Folder(path.to_owned(), error.to_string()))?;
    rules.add_rule(PathBeneath::new(open, access)).map_err(ConfineError::Landlock)
}

/// Lets this thread, and what it starts, execute nothing but this very program. False where that cannot be done.
pub(super) fn execute_this_program_only() -> bool {
    const THIS_PROGRAM: &str = "/proc/self/exe";
    let restrict = || -> Result<bool, RulesetError> {
        let mut rules =
            Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(AccessFs::Execute)?.create()?;
        let Ok(program) = PathFd::new(THIS_PROGRAM) else { return Ok(false) };
        rules = rules.add_rule(PathBeneath::new(program, AccessFs::Execute))?;
        match File::open(THIS_PROGRAM).ok().map(|file| loader(&file)) {
            None | Some(Loader::Unreadable) => return Ok(false),
            Some(Loader::None) => {}
            Some(Loader::At(path)) => {
                let Ok(loader) = PathFd::new(path) else { return Ok(false) };
                rules = rules.add_rule(PathBeneath::new(loader, AccessFs::Execute))?;
            }
        }
        Ok(rules.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
    };
    restrict().unwrap_or(false)
}

/// The program that the kernel executes first to load this one.
enum Loader {
    None,
    At(PathBuf),
    Unreadable,
}

/// Reads it from the program headers of a 64-bit ELF file (`PT_INTERP`, System V ABI).
fn loader(file: &File) -> Loader {
    const PT_INTERP: u32 = 3;
    const PATH_MAX: u64 = 4096;
    const HEADERS: u16 = 64;
    let bytes = |at: u64, count: usize| {
        let mut buffer = vec![0; count];
        file.read_exact_at(&mut buffer, at).ok().map(|()| buffer)
    };
    let word = |at| Some(u16::from_ne_bytes(bytes(at, 2)?.try_into().ok()?));
    let long = |at| Some(u64::from_ne_bytes(bytes(at, 8)?.try_into().ok()?));
    let find = || {
        let (table, size, count) = (long(32)?, word(54)?, word(56)?);
        for index in 0..count.min(HEADERS) {
            let header = table.checked_add(u64::from(index) * u64::from(size))?;
            if u32::from_ne_bytes(bytes(header, 4)?.try_into().ok()?) == PT_INTERP {
                let (at, length) = (long(header.checked_add(8)?)?, long(header.checked_add(32)?)?.min(PATH_MAX));
                let path = bytes(at, usize::try_from(length).ok()?)?;
                let path = String::from_utf8(path.into_iter().take_while(|b| *b != 0).collect()).ok()?;
                return Some(Loader::At(path.into()));
            }
        }
        Some(Loader::None)
    };
    find().unwrap_or(Loader::Unreadable)
}
