//! Three etcd processes on loopback, with certificates of their own and in folders of their own, that a test may harm.
//!
//! Where there is no etcd the test says so and passes; with `STRONGROOM_ETCD_REQUIRED` set it fails.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use strongroom_store::EtcdStore;
use strongroom_store::etcd::{OpenError, Options};
use tempfile::TempDir;

const REQUIRED: &str = "STRONGROOM_ETCD_REQUIRED";
const MEMBERS: usize = 3;
/// Long enough for any machine; nothing is asserted on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The cluster; its processes end with it.
pub struct Cluster {
    folder: TempDir,
    members: Vec<Member>,
}

struct Member {
    client: u16,
    peer: u16,
    process: Option<Child>,
}

/// Ports that are free now.
fn ports(count: usize) -> Vec<u16> {
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    held.iter().map(|one| one.local_addr().unwrap().port()).collect()
}

/// A CA, and one certificate for whoever takes part.
fn certificates(folder: &Path) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(Vec::new()).unwrap();
    leaf.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = leaf.signed_by(&key, &issuer).unwrap();
    std::fs::write(folder.join("ca.pem"), ca_certificate.pem()).unwrap();
    std::fs::write(folder.join("certificate.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

impl Cluster {
    /// Starts a cluster and waits until it answers; `None`, and a line that says so, where there is no etcd.
    pub fn start() -> Option<Self> {
        if Command::new("etcd").arg("--version").stdout(Stdio::null()).status().is_err() {
            assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED} is set and there is no etcd in the PATH");
            eprintln!("SKIPPED: there is no etcd in the PATH (Debian: apt-get install etcd-server)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let numbers = ports(2 * MEMBERS);
        let member = |pair: &[u16]| Member { client: pair[0], peer: pair[1], process: None };
        let mut cluster = Self { folder, members: numbers.chunks(2).map(member).collect() };
        (0..MEMBERS).for_each(|number| cluster.run(number));
        drop(cluster.open("strongroom/"));
        Some(cluster)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a member, for the first time or again.
    pub fn run(&mut self, number: usize) {
        let url = |port: u16| format!("https://127.0.0.1:{port}");
        let all: Vec<_> =
            self.members.iter().enumerate().map(|(number, one)| format!("m{number}={}", url(one.peer))).collect();
        let member = &self.members[number];
        let mut command = Command::new("setpriv");
        // It ends with this thread, whatever ends that.
        command.args(["--pdeathsig", "KILL", "etcd", "--client-cert-auth", "--peer-client-cert-auth"]);
        let (ca, certificate, key) = (self.file("ca.pem"), self.file("certificate.pem"), self.file("key.pem"));
        for kind in ["", "peer-"] {
            command.arg(format!("--{kind}trusted-ca-file={}", ca.display()));
            command.arg(format!("--{kind}cert-file={}", certificate.display()));
            command.arg(format!("--{kind}key-file={}", key.display()));
        }
        let settings = [
            ("name", format!("m{number}")),
            ("data-dir", self.file(&format!("m{number}")).display().to_string()),
            ("listen-client-urls", url(member.client)),
            ("advertise-client-urls", url(member.client)),
            ("listen-peer-urls", url(member.peer)),
            ("initial-advertise-peer-urls", url(member.peer)),
            ("initial-cluster", all.join(",")),
            ("logger", "zap".to_owned()),
            ("log-level", "error".to_owned()),
        ];
        for (name, value) in settings {
            command.arg(format!("--{name}={value}"));
        }
        let log = std::fs::File::create(self.file(&format!("m{number}.log"))).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.members[number].process = Some(command.spawn().expect("etcd starts"));
    }

    /// How a client reaches the cluster.
    pub fn options(&self, prefix: &str) -> Options {
        let read = |name: &str| std::fs::read(self.file(name)).unwrap();
        Options {
            endpoints: self.members.iter().map(|member| format!("https://127.0.0.1:{}", member.client)).collect(),
            ca: read("ca.pem"),
            certificate: read("certificate.pem"),
            key: zeroize::Zeroizing::new(String::from_utf8(read("key.pem")).unwrap()),
            prefix: prefix.to_owned(),
        }
    }

    /// A store, as soon as the cluster answers.
    pub fn open(&self, prefix: &str) -> Arc<EtcdStore> {
        self.open_with(|| self.options(prefix))
    }

    /// A store that knows one member only, as soon as that answers.
    pub fn open_at(&self, number: usize, prefix: &str) -> Arc<EtcdStore> {
        self.open_with(|| {
            let mut options = self.options(prefix);
            options.endpoints = vec![options.endpoints.swap_remove(number)];
            options
        })
    }

    fn open_with(&self, options: impl Fn() -> Options) -> Arc<EtcdStore> {
        let begun = Instant::now();
        loop {
            match EtcdStore::open(options()) {
                Ok(store) => return Arc::new(store),
                Err(OpenError::Unreachable { .. }) if begun.elapsed() < PATIENCE => {}
                Err(error) => panic!("{error}\n{}", self.logs()),
            }
        }
    }

    fn logs(&self) -> String {
        let log = |number| std::fs::read_to_string(self.file(&format!("m{number}.log"))).unwrap_or_default();
        (0..MEMBERS).map(log).collect()
    }

    fn control(&self, number: usize, arguments: &[&str]) -> String {
        let (ca, certificate, key) = (self.file("ca.pem"), self.file("certificate.pem"), self.file("key.pem"));
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints=https://127.0.0.1:{}", self.members[number].client))
            .args([format!("--cacert={}", ca.display()), format!("--cert={}", certificate.display())])
            .arg(format!("--key={}", key.display()))
            .args(arguments)
            .output()
            .expect("etcdctl (Debian: apt-get install etcd-client)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Which member leads.
    pub fn leader(&self) -> usize {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let running = (0..MEMBERS).filter(|number| self.members[*number].process.is_some());
            // Endpoint, id, version, size, leader …
            let leads = |number: &usize| {
                self.control(*number, &["endpoint", "status"]).split(", ").nth(4).is_some_and(|text| text == "true")
            };
            if let Some(leader) = running.into_iter().find(leads) {
                return leader;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("no member leads");
    }

    /// Forgets all history up to a revision.
    pub fn compact(&self, revision: u64) {
        self.control(self.leader(), &["compact", &revision.to_string()]);
    }

    /// kill -9.
    pub fn kill(&mut self, number: usize) {
        let mut process = self.members[number].process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    fn signal(&self, number: usize, signal: rustix::process::Signal) {
        let process = self.members[number].process.as_ref().unwrap();
        let id = rustix::process::Pid::from_child(process);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Cuts a member off: its sockets stay, and nothing answers.
    pub fn pause(&self, number: usize) {
        self.signal(number, rustix::process::Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self, number: usize) {
        self.signal(number, rustix::process::Signal::CONT);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.members.iter_mut().filter_map(|member| member.process.as_mut()) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
