//! What a service and a keeper that were taken over may try: each of it must be refused.

use crate::node::{children_of, wait_for};
use crate::scenarios::{POOL, block_on};
use nix::mount::MsFlags;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags};
use rustix::process::{DumpableBehavior, PidfdFlags, Signal, set_dumpable_behavior};
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::RawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, ExitCode};
use strongroom_hsm::Partitions;
use strongroom_partition::client::KeeperClient;
use strongroom_partition::confine::{self, Confinement, Reach};
use strongroom_partition::keeper::EXIT_CONFIGURATION;

type Attempts = Vec<(String, io::Result<()>)>;

/// Whether every attempt was refused; says which were not.
fn all_refused(who: &str, attempts: Attempts) -> bool {
    let mut refused = true;
    for (what, outcome) in attempts {
        // A link or a rename across a border of Landlock counts as one across file systems.
        let kinds = [ErrorKind::PermissionDenied, ErrorKind::CrossesDevices];
        if !outcome.as_ref().is_err_and(|error| kinds.contains(&error.kind())) {
            eprintln!("{who} must not be able to do this: {what}: {outcome:?}");
            refused = false;
        }
    }
    refused
}

/// Attempts at another process.
fn on_process(name: &str, pid: u32) -> Attempts {
    let target = Pid::from_raw(i32::try_from(pid).unwrap());
    let mut attempts: Attempts = Vec::new();
    let mut add = |what: &str, outcome| attempts.push((format!("{what} of the {name}"), outcome));
    for file in ["mem", "maps", "environ", "fd/0", "root/etc/hostname"] {
        add(file, File::open(format!("/proc/{pid}/{file}")).map(drop));
    }
    add("descriptors", std::fs::read_dir(format!("/proc/{pid}/fd")).map(drop));
    add("writing the memory", File::options().write(true).open(format!("/proc/{pid}/mem")).map(drop));
    add("tracing", nix::sys::ptrace::attach(target).map_err(Into::into));
    add("seizing", nix::sys::ptrace::seize(target, nix::sys::ptrace::Options::empty()).map_err(Into::into));
    let remote = [RemoteIoVec { base: 0x1000, len: 1 }];
    let read = process_vm_readv(target, &mut [IoSliceMut::new(&mut [0])], &remote);
    add("reading the memory", read.map(drop).map_err(Into::into));
    let written = process_vm_writev(target, &[IoSlice::new(&[0])], &remote);
    add("writing the memory at once", written.map(drop).map_err(Into::into));
    attempts
}

/// Attempts at the kernel and at other programs.
fn on_the_system() -> Attempts {
    let none: Option<&str> = None;
    let mount = nix::mount::mount(none, "/", none, MsFlags::MS_REMOUNT | MsFlags::MS_BIND, none);
    let namespace =
        File::open("/proc/self/ns/net").and_then(|own| Ok(nix::sched::setns(own, nix::sched::CloneFlags::empty())?));
    vec![
        ("another program".to_owned(), Command::new("/bin/true").spawn().map(drop)),
        ("mounting".to_owned(), mount.map_err(Into::into)),
        ("another namespace".to_owned(), namespace),
        ("another root".to_owned(), nix::unistd::chroot("/").map_err(Into::into)),
    ]
}

/// Runs in a confined keeper.
pub(crate) fn of_the_keeper() {
    let parent = rustix::process::getppid().unwrap().as_raw_nonzero().get();
    let mut attempts = on_the_system();
    // Files are open to it; to enter another process is not.
    let entering = on_process("parent", u32::try_from(parent).unwrap()).into_iter();
    attempts.extend(
        entering.filter(|(what, _)| ["tracing", "seizing", "reading", "at once"].iter().any(|w| what.contains(w))),
    );
    if !all_refused("the keeper", attempts) {
        std::process::exit(i32::from(EXIT_CONFIGURATION));
    }
}

/// Runs as the service: starts a partition, limits itself, and tries to get at what it was not given.
pub(crate) fn of_the_service(confinement: Confinement, folder: &Path, outward: bool, keeper_fd: RawFd) -> ExitCode {
    let (data, outside) = (folder.join("data"), folder.join("outside"));
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "").unwrap();
    let (given, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let (given_port, other_port) = (port(&given), port(&other));
    let keeper = rustix::process::getppid().unwrap().as_raw_nonzero().get();
    let keeper = u32::try_from(keeper).unwrap();
    // Its own process list ends with the limits: the partition starts before.
    let client = KeeperClient::connect(keeper_fd).unwrap();
    let gateway = block_on(client.gateway(POOL)).unwrap();
    let partition = wait_for("the partition", || children_of(keeper, "partition").first().copied());
    let reach = Reach {
        read: Vec::new(),
        write: vec![data.clone()],
        bind: vec![given_port],
        connect: if outward { vec![given_port] } else { Vec::new() },
        ..Reach::default()
    };
    let confinement = confine::limit_service(confinement, &reach, false).unwrap();
    assert!(confinement.files_denied && confinement.ports_denied && confinement.programs_denied);

    let mut attempts = on_process("keeper", keeper);
    attempts.extend(on_process("partition", partition));
    attempts.extend(on_the_system());
    attempts.extend(on_files(folder, &data));
    attempts.extend(on_the_network(other_port, given_port, outward));
    attempts.extend(on_signals(keeper));
    let refused = all_refused("the service", attempts);

    // What it was given works.
    std::fs::write(data.join("new"), "1").unwrap();
    std::fs::rename(data.join("new"), data.join("newer")).unwrap();
    assert_eq!(std::fs::read_to_string(data.join("newer")).unwrap(), "1");
    std::fs::remove_file(data.join("newer")).unwrap();
    drop(given);
    let given = TcpListener::bind(("127.0.0.1", given_port)).unwrap();
    assert!(!outward || TcpStream::connect(given.local_addr().unwrap()).is_ok());
    block_on(gateway.self_test()).unwrap();
    if refused { ExitCode::SUCCESS } else { ExitCode::from(EXIT_CONFIGURATION) }
}

fn on_files(folder: &Path, data: &Path) -> Attempts {
    let (seal, outside) = (folder.join("node.seal"), folder.join("outside/file"));
    let mode = std::fs::Permissions::from_mode(0o644);
    let path_only = rustix::fs::open(&seal, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let again = path_only.map_err(io::Error::from).and_then(|fd| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        use std::os::fd::AsRawFd;
        Ok(rustix::fs::open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty())?)
    });
    let attempts = [
        ("the seal", File::open(&seal).map(drop)),
        ("the seal by its descriptor", again.map(drop)),
        ("writing the seal", File::options().write(true).open(&seal).map(drop)),
        ("removing the seal", std::fs::remove_file(&seal)),
        ("moving the seal", std::fs::rename(&seal, data.join("seal"))),
        ("linking the seal", std::fs::hard_link(&seal, data.join("seal"))),
        ("a symbolic link to the seal", std::os::unix::fs::symlink(&seal, data.join("link"))),
        ("the seal's mode", std::fs::set_permissions(&seal, mode)),
        ("the seal's owner", std::os::unix::fs::chown(&seal, Some(0), Some(0))),
        ("a file outside", File::open(outside).map(drop)),
        ("a new file outside", File::create(folder.join("outside/new")).map(drop)),
        ("a folder outside", std::fs::read_dir(folder).map(drop)),
        ("the users of the machine", File::open("/etc/passwd").map(drop)),
        ("the list of processes", std::fs::read_dir("/proc").map(drop)),
        ("its own memory file", File::open("/proc/self/mem").map(drop)),
        ("a device", File::open("/dev/zero").map(drop)),
    ];
    attempts.into_iter().map(|(what, outcome)| (what.to_owned(), outcome)).collect()
}

fn on_the_network(other: u16, given: u16, outward: bool) -> Attempts {
    let mut attempts = vec![
        ("another port", TcpListener::bind("127.0.0.1:0").map(drop)),
        ("another port on all addresses", TcpListener::bind("[::]:0").map(drop)),
        ("connecting", TcpStream::connect(("127.0.0.1", other)).map(drop)),
    ];
    if !outward {
        attempts.push(("connecting to its own port", TcpStream::connect(("127.0.0.1", given)).map(drop)));
        attempts.push(("a datagram", UdpSocket::bind("127.0.0.1:0").map(drop)));
        attempts.push(("a local socket", UnixDatagram::unbound().map(drop)));
        attempts.push(("connecting to a local socket", UnixStream::connect("/run/strongroom-none").map(drop)));
        attempts.push(("listening on a local socket", UnixListener::bind("/tmp/strongroom-none").map(drop)));
    }
    attempts.into_iter().map(|(what, outcome)| (what.to_owned(), outcome)).collect()
}

fn on_signals(keeper: u32) -> Attempts {
    let pid = rustix::process::Pid::from_raw(i32::try_from(keeper).unwrap()).unwrap();
    let attempts = [
        ("a signal to the keeper", rustix::process::kill_process(pid, Signal::CONT)),
        ("a handle of the keeper", rustix::process::pidfd_open(pid, PidfdFlags::empty()).map(drop)),
        ("to be dumpable again", set_dumpable_behavior(DumpableBehavior::Dumpable)),
        ("to outlive the keeper", rustix::process::set_parent_process_death_signal(None)),
    ];
    attempts.into_iter().map(|(what, outcome)| (what.to_owned(), outcome.map_err(Into::into))).collect()
}
