//! A folder of its own, a running `strongroom`, and a client that needs no name to resolve.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for a start or a stop; a start takes about a second in an unoptimised build.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary.
pub(crate) fn strongroom() -> Command {
    Command::new(env!("CARGO_BIN_EXE_strongroom"))
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Standard error of a command that must fail with this exit code.
pub(crate) fn refused(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    let line = error.lines().find(|line| line.starts_with("strongroom: "));
    line.unwrap_or_else(|| panic!("no line for people: {error}")).to_owned()
}

/// Standard output of a command that must succeed.
pub(crate) fn succeeded(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{}", text(&stderr));
    text(&stdout)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Permission bits.
pub(crate) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// A folder in which `dev` runs.
pub(crate) struct House {
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
}

impl House {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), port: free_port() }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub(crate) fn env_file(&self) -> PathBuf {
        self.folder.path().join("env")
    }

    /// `strongroom dev` with the folder and port of this house.
    pub(crate) fn command(&self) -> Command {
        let mut command = strongroom();
        command.arg("dev").arg("--data").arg(self.home()).arg("--env-file").arg(self.env_file());
        command.args(["--port", &self.port.to_string(), "--runtimes", "1"]);
        command
    }

    /// Starts it with more arguments and waits until it is ready.
    pub(crate) fn start(&self, more: &[&str]) -> Running {
        let mut command = self.command();
        command.args(more);
        self.start_as(command)
    }

    /// Starts it by this command.
    pub(crate) fn start_as(&self, mut command: Command) -> Running {
        let _none_yet = std::fs::remove_file(self.env_file());
        let log = self.folder.path().join("log");
        let out = std::fs::File::create(&log).unwrap();
        command.stdout(out.try_clone().unwrap()).stderr(out);
        let mut running = Running { child: command.spawn().unwrap(), log };
        running.wait_until("is ready.");
        running
    }

    pub(crate) fn env(&self) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(self.env_file()).unwrap();
        text.lines().map(|line| line.split_once('=').unwrap()).map(|(k, v)| (k.into(), v.into())).collect()
    }

    /// Asks the HSM, or another host of the installation; status and body.
    pub(crate) fn ask(&self, host: &str, request: &str, headers: &str, body: &str) -> (u16, String) {
        ask(self.port, &self.home().join("ca.pem"), host, request, headers, body)
    }

    /// A token of the principal whose variables begin like this.
    pub(crate) fn token(&self, prefix: &str) -> String {
        let env = self.env();
        let (id, secret) = (&env[&format!("{prefix}_CLIENT_ID")], &env[&format!("{prefix}_CLIENT_SECRET")]);
        let scope = format!("https://managedhsm.localhost:{}/.default", self.port);
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}&scope={scope}");
        let path = format!("POST /{}/oauth2/v2.0/token", env["STRONGROOM_TENANT_ID"]);
        let headers = "content-type: application/x-www-form-urlencoded\r\n";
        let (status, answer) = self.ask("login.localhost", &path, headers, &form);
        assert_eq!(status, 200, "{answer}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }
}

/// One request over TLS to 127.0.0.1, with the host's name in SNI and `Host`.
pub(crate) fn ask(port: u16, ca: &Path, host: &str, request: &str, headers: &str, body: &str) -> (u16, String) {
    try_ask(port, ca, host, request, headers, body).unwrap()
}

pub(crate) fn try_ask(
    port: u16,
    ca: &Path,
    host: &str,
    request: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port))?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    let mut stream = rustls::StreamOwned::new(client, tcp);
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nhost: {host}:{port}\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    stream.flush()?;
    let mut answer = Vec::new();
    // Some ends come without a goodbye; the head says how long the body is.
    let _end = stream.read_to_end(&mut answer);
    let answer = text(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or(std::io::ErrorKind::InvalidData)?;
    Ok((status, body.to_owned()))
}

/// A process that is stopped when the test ends, however it ends.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) log: PathBuf,
}

impl Running {
    /// Waits until the process has written this.
    pub(crate) fn wait_until(&mut self, written: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = std::fs::read_to_string(&self.log).unwrap();
            if log.contains(written) {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "not ready ({ended:?}):\n{log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM; the exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.wait()
    }

    /// Waits for its end; the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < end, "it does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Without the keeper everything below it ends.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Command with its output thrown away.
pub(crate) fn quiet(command: &mut Command) -> &mut Command {
    command.stdout(Stdio::null()).stderr(Stdio::null())
}
