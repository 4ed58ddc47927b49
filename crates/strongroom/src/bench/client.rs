//! The load: keep-alive connections over TLS that send one prepared request after another.

use super::BenchError;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where the requests go.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) port: u16,
    /// The host name in SNI and `Host`, without the port.
    pub(super) host: String,
    connector: TlsConnector,
}

impl Target {
    /// A target whose certificate the CA in `ca` has signed.
    pub(super) fn new(port: u16, host: &str, ca: &Path) -> Result<Self, BenchError> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).map_err(|_| BenchError::Setup("the CA's file"))? {
            let certificate = certificate.map_err(|_| BenchError::Setup("the CA's file"))?;
            roots.add(certificate).map_err(|_| BenchError::Setup("the CA's certificate"))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| BenchError::Setup("TLS"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { port, host: host.into(), connector: TlsConnector::from(Arc::new(config)) })
    }

    /// The same listener under another name.
    pub(super) fn named(&self, host: &str) -> Self {
        Self { host: host.into(), ..self.clone() }
    }

    pub(super) async fn connect(&self) -> Result<Connection, BenchError> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(self.host.clone()).map_err(|_| BenchError::Setup("the host name"))?;
        let stream = self.connector.connect(name, stream).await?;
        Ok(Connection { stream, buffer: vec![0; 64 * 1024] })
    }

    /// The bytes of one request.
    pub(super) fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
        let length = if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        format!("{method} {path} HTTP/1.1\r\nHost: {}:{}\r\n{headers}{length}\r\n{body}", self.host, self.port)
            .into_bytes()
    }
}

/// One keep-alive connection.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

/// An answer: its status and its body.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Connection {
    /// Sends a request and reads its answer to the end.
    pub(super) async fn ask(&mut self, request: &[u8]) -> Result<Answer, BenchError> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let mut filled = 0;
        loop {
            let room = self.buffer.get_mut(filled..).filter(|r| !r.is_empty()).ok_or(BenchError::Answer)?;
            let read = self.stream.read(room).await?;
            if read == 0 {
                return Err(BenchError::Answer);
            }
            filled += read;
            if let Some(answer) = complete(self.buffer.get(..filled).unwrap_or_default())? {
                return Ok(answer);
            }
        }
    }
}

/// The answer, once head and body are there.
fn complete(bytes: &[u8]) -> Result<Option<Answer>, BenchError> {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(bytes.get(..end).unwrap_or_default()).map_err(|_| BenchError::Answer)?;
    let mut lines = head.split("\r\n");
    let status =
        lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok()).ok_or(BenchError::Answer)?;
    let length: usize = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Ok(0), |(_, value)| value.trim().parse().map_err(|_| BenchError::Answer))?;
    let body = bytes.get(end + 4..).unwrap_or_default();
    Ok((body.len() >= length).then(|| Answer { status, body: body.to_vec() }))
}

/// What a run measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    /// Latencies in microseconds, by count.
    pub(super) latencies: BTreeMap<u32, u32>,
}

impl Run {
    pub(super) fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// The latency below which `share` of the requests stay, in microseconds.
    pub(super) fn percentile(&self, share: f64) -> u32 {
        let wanted = (self.requests as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (latency, count) in &self.latencies {
            seen += u64::from(*count);
            if seen >= wanted {
                return *latency;
            }
        }
        0
    }

    fn absorb(&mut self, other: Self) {
        self.requests += other.requests;
        self.seconds = self.seconds.max(other.seconds);
        for (latency, count) in other.latencies {
            *self.latencies.entry(latency).or_default() += count;
        }
    }
}

/// How the requests are paced.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    /// Each connection sends as soon as it has its answer.
    Closed,
    /// All connections together send this many a second; a latency counts from when the request was due.
    Open(f64),
}

/// Timers are a millisecond coarse: the rest of the way goes in turns of the runtime.
const TIMER: f64 = 0.0015;

/// Waits until `due` seconds after `started`.
async fn wait_until(started: Instant, due: f64) {
    let left = due - started.elapsed().as_secs_f64();
    if left > TIMER {
        tokio::time::sleep(Duration::from_secs_f64(left - TIMER)).await;
    }
    while started.elapsed().as_secs_f64() < due {
        tokio::task::yield_now().await;
    }
}

/// How long a load lasts.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) seconds: f64,
    /// Requests of each connection, at most.
    pub(super) turns: u64,
}

impl Extent {
    pub(super) const fn seconds(seconds: f64) -> Self {
        Self { seconds, turns: u64::MAX }
    }
}

/// Opens connections, so that their handshakes are no part of what is measured.
pub(super) async fn open(target: &Target, connections: u32) -> Result<Vec<Connection>, BenchError> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(target.connect().await?);
    }
    Ok(open)
}

/// Loads the target; `request` makes each request from the connection's and the turn's number.
pub(super) async fn load(
    connections: Vec<Connection>,
    extent: Extent,
    pace: Pace,
    request: impl Fn(u32, u64) -> Vec<u8> + Clone + 'static,
) -> Result<Run, BenchError> {
    let gap = match pace {
        Pace::Closed => 0.0,
        Pace::Open(rate) => connections.len() as f64 / rate,
    };
    let share = gap / connections.len() as f64;
    let mut workers = Vec::new();
    for (number, connection) in (0_u32..).zip(connections) {
        let request = request.clone();
        let request = move |turn| request(number, turn);
        workers.push(tokio::task::spawn_local(work(connection, extent, gap, f64::from(number) * share, request)));
    }
    let mut all = Run::default();
    for worker in workers {
        all.absorb(worker.await.map_err(|_| BenchError::Setup("a worker"))??);
    }
    Ok(all)
}

/// One connection's part: its requests are due every `gap` seconds from `first` on.
async fn work(
    mut connection: Connection,
    extent: Extent,
    gap: f64,
    first: f64,
    request: impl Fn(u64) -> Vec<u8>,
) -> Result<Run, BenchError> {
    let started = Instant::now();
    let mut run = Run::default();
    for turn in 0..extent.turns {
        let due = gap * turn as f64 + first;
        let now = started.elapsed().as_secs_f64();
        if now.max(due) >= extent.seconds {
            break;
        }
        wait_until(started, due).await;
        let from = if gap > 0.0 { due } else { started.elapsed().as_secs_f64() };
        let answer = connection.ask(&request(turn)).await?;
        if answer.status >= 300 {
            return Err(BenchError::Refused(answer.status, String::from_utf8_lossy(&answer.body).into_owned()));
        }
        let micros = ((started.elapsed().as_secs_f64() - from).max(0.0) * 1e6) as u32;
        *run.latencies.entry(micros).or_default() += 1;
        run.requests += 1;
    }
    run.seconds = started.elapsed().as_secs_f64();
    Ok(run)
}
