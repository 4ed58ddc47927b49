//! A provider whose self-test tries to break out of the partition.

use rustix::process::{DumpableBehavior, Pid, set_dumpable_behavior, test_kill_process};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;
use strongroom_hsm::verbs::{Capabilities, Input, KeyMaterial, Output, WrappedRoot};
use strongroom_hsm::{Binding, HsmError, KeyBlob, KeyMade, Provider};
use strongroom_hsm_soft::{SoftKey, SoftProvider, SoftRoot};
use strongroom_model::{Algorithm, PoolId, SecretBytes};

pub(crate) struct Probe {
    pub(crate) provider: SoftProvider,
    pub(crate) keeper: Pid,
}

/// What code that runs in a partition may try, each of which must fail for want of permission.
fn attempts(keeper: Pid) -> Vec<(&'static str, io::Result<()>)> {
    let own_network = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None);
    vec![
        ("open", File::open("/etc/hostname").map(drop)),
        ("create", File::create("/tmp/strongroom-escape").map(drop)),
        ("the keeper's memory", File::open(format!("/proc/{keeper}/mem")).map(drop)),
        ("exec", Command::new("/bin/true").spawn().map(drop)),
        ("connect", TcpStream::connect("127.0.0.1:1").map(drop)),
        ("connect to a local socket", UnixStream::connect("/run/strongroom-none").map(drop)),
        ("socket", own_network.map(drop).map_err(Into::into)),
        ("thread", std::thread::Builder::new().spawn(|| ()).map(drop)),
        ("signal to the keeper", test_kill_process(keeper).map_err(Into::into)),
        ("dumpable again", set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(Into::into)),
    ]
}

impl Provider for Probe {
    type Root = SoftRoot;
    type Key = SoftKey;

    fn describe(&self) -> Capabilities {
        self.provider.describe()
    }

    fn create_root(&self, kek: &SecretBytes, pool: PoolId) -> Result<(SoftRoot, WrappedRoot), HsmError> {
        self.provider.create_root(kek, pool)
    }

    fn open_root(&self, kek: &SecretBytes, pool: PoolId, wrapped: &WrappedRoot) -> Result<SoftRoot, HsmError> {
        self.provider.open_root(kek, pool, wrapped)
    }

    fn generate(&self, root: &SoftRoot, binding: Binding) -> Result<KeyMade, HsmError> {
        self.provider.generate(root, binding)
    }

    fn import(&self, root: &SoftRoot, binding: Binding, material: KeyMaterial) -> Result<KeyMade, HsmError> {
        self.provider.import(root, binding, material)
    }

    fn reseal(&self, root: &SoftRoot, blob: &KeyBlob, next: Binding) -> Result<KeyBlob, HsmError> {
        self.provider.reseal(root, blob, next)
    }

    fn open_key(&self, root: &SoftRoot, blob: &KeyBlob) -> Result<SoftKey, HsmError> {
        self.provider.open_key(root, blob)
    }

    fn operate(&self, key: &SoftKey, algorithm: Algorithm, input: &Input) -> Result<Output, HsmError> {
        self.provider.operate(key, algorithm, input)
    }

    fn random(&self, count: usize) -> Result<SecretBytes, HsmError> {
        self.provider.random(count)
    }

    fn self_test(&self) -> Result<(), HsmError> {
        for (what, outcome) in attempts(self.keeper) {
            match outcome {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                other => {
                    eprintln!("a partition must not be able to do this: {what}: {other:?}");
                    return Err(HsmError::SelfCheck);
                }
            }
        }
        self.provider.self_test()
    }
}
