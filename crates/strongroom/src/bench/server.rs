//! The `strongroom dev` that the bench starts and measures.

use super::BenchError;
use super::client::{Answer, Target};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a start may take, and a stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// The managed HSM that is measured.
const HSM: &str = "demo.managedhsm.localhost";

/// A `strongroom dev` of the bench's own.
pub(super) struct Server {
    process: Child,
    /// Removed at the end.
    temporary: Option<PathBuf>,
    pub(super) target: Target,
    env: Vec<(String, String)>,
    /// From the command to *ready*.
    pub(super) started_in: Duration,
}

impl Server {
    /// One with one runtime in a folder that goes with it.
    pub(super) fn temporary() -> Result<Self, BenchError> {
        let folder = std::env::temp_dir().join(format!("strongroom-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let mut server = Self::start(&folder.join("home"), &["--runtimes", "1"])?;
        server.temporary = Some(folder);
        Ok(server)
    }

    /// One whose home is `home`, which stays.
    pub(super) fn start(home: &Path, more: &[&str]) -> Result<Self, BenchError> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let env_file = home.with_extension("env");
        let _absent = std::fs::remove_file(&env_file);
        let begun = Instant::now();
        let mut process = Command::new(std::env::current_exe()?)
            .args(["dev", "--port", &port.to_string(), "--data"])
            .arg(home)
            .arg("--env-file")
            .arg(&env_file)
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        while !env_file.exists() {
            if begun.elapsed() > PATIENCE || process.try_wait()?.is_some() {
                // It ended by itself, or does now.
                let _ended = process.kill();
                return Err(BenchError::Setup("the server"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let started_in = begun.elapsed();
        let text = std::fs::read_to_string(&env_file)?;
        std::fs::remove_file(&env_file)?;
        let env: Vec<_> = text.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
        let target = Target::new(port, HSM, Path::new(&lookup(&env, "STRONGROOM_CA")?))?;
        Ok(Self { process, temporary: None, target, env, started_in })
    }

    /// Asks it to stop and waits for its end.
    pub(super) fn stop(mut self) -> Result<(), BenchError> {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).ok_or(BenchError::Setup("a stop"))?;
        kill_process(pid, Signal::TERM).map_err(std::io::Error::from)?;
        let ended = self.process.wait()?;
        if ended.success() { Ok(()) } else { Err(BenchError::Setup("a clean stop")) }
    }

    /// Where tokens come from, and the request for one.
    fn login(&self) -> Result<(Target, Vec<u8>), BenchError> {
        let login = self.target.named("login.localhost");
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope=https%3A%2F%2Fmanagedhsm.localhost%3A{}%2F.default",
            lookup(&self.env, "AZURE_CLIENT_ID")?,
            lookup(&self.env, "AZURE_CLIENT_SECRET")?,
            login.port
        );
        let path = format!("/{}/oauth2/v2.0/token", lookup(&self.env, "STRONGROOM_TENANT_ID")?);
        let request = login.request("POST", &path, "Content-Type: application/x-www-form-urlencoded\r\n", &form);
        Ok((login, request))
    }

    pub(super) async fn token(&self) -> Result<String, BenchError> {
        let (login, request) = self.login()?;
        token_of(&login.connect().await?.ask(&request).await?)
    }

    /// New tokens, asked for over several connections.
    pub(super) async fn tokens(&self, connections: u32, count: u32) -> Result<Vec<String>, BenchError> {
        let mut askers = Vec::new();
        for asker in 0..connections.min(count) {
            let (login, request) = self.login()?;
            let mine = (asker..count).step_by(connections as usize).count();
            askers.push(tokio::task::spawn_local(async move {
                let (mut connection, mut tokens) = (login.connect().await?, Vec::new());
                for _ in 0..mine {
                    tokens.push(token_of(&connection.ask(&request).await?)?);
                }
                Ok::<_, BenchError>(tokens)
            }));
        }
        let mut all = Vec::new();
        for asker in askers {
            all.extend(asker.await.map_err(|_| BenchError::Setup("a worker"))??);
        }
        Ok(all)
    }

    /// Processor time of the keeper's children so far: the service and every partition.
    pub(super) fn processor_seconds(&self) -> f64 {
        children(self.process.id()).into_iter().map(processor_seconds).sum()
    }

    /// Resident memory of service and partitions now, in KiB: the largest of each kind.
    pub(super) fn memory(&self) -> Memory {
        let mut memory = Memory::default();
        for pid in children(self.process.id()) {
            let role = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let kib = resident_kib(pid);
            match role.split('\0').nth(1) {
                Some("service") => memory.service_kib = memory.service_kib.max(kib),
                Some("partition") => memory.partition_kib = memory.partition_kib.max(kib),
                Some(_) | None => {}
            }
        }
        memory
    }
}

/// Resident memory by kind of process.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(super) struct Memory {
    /// The service.
    pub(super) service_kib: u64,
    /// The largest partition.
    pub(super) partition_kib: u64,
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

impl Drop for Server {
    fn drop(&mut self) {
        let stopped = self.process.kill().and_then(|()| self.process.wait());
        if let (Ok(_), Some(folder)) = (stopped, &self.temporary) {
            // A folder that stays behind in the temporary directory harms nobody.
            let _removed = std::fs::remove_dir_all(folder);
        }
    }
}

fn token_of(answer: &Answer) -> Result<String, BenchError> {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).map_err(|_| BenchError::Answer)?;
    let token = body.get("access_token").and_then(|t| t.as_str()).map(Into::into);
    token.ok_or_else(|| BenchError::Refused(answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
}

fn lookup(env: &[(String, String)], name: &str) -> Result<String, BenchError> {
    env.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()).ok_or(BenchError::Setup("the environment"))
}

/// The processes whose parent is `parent`.
fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str().and_then(|n| n.parse::<u32>().ok()));
    pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().and_then(|s| s.split_whitespace().nth(1)).is_some_and(|p| p == parent.to_string())
    })
    .collect()
}

/// Processor time of all threads of a process, from the scheduler's own nanoseconds.
pub(super) fn processor_seconds(pid: u32) -> f64 {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    let nanos = threads.flatten().map(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        stat.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0)
    });
    nanos.sum::<f64>() / 1e9
}
