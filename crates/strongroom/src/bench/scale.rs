//! `strongroom bench scale`: what a start, a get, a signature, a page of a list cost, and what memory is held, by the size of the store.

use super::client::Connection;
use super::make_store::{Made, name, signs};
use super::server::{Memory, Server};
use super::{BenchError, VALUE_32, median, table};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Keys that are read and used cold, and then again.
const SAMPLE: u64 = 1_000;
/// Pages that are listed.
const PAGES: u64 = 40;
/// Odd, and far from every round number: multiples of it visit all keys in no order.
const STRIDE: u64 = 2_654_435_761;

/// What to measure.
#[derive(clap::Args, Debug)]
pub(crate) struct ScaleArgs {
    /// Homes that `strongroom bench make-store` made; ratios are to the first one.
    #[arg(required = true)]
    homes: Vec<PathBuf>,
    /// Starts of each home; the median counts.
    #[arg(long, default_value_t = 5)]
    starts: usize,
    /// Keys that are read and used before memory is looked at for the last time.
    #[arg(long, default_value_t = 50_000)]
    touch: u64,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// What one step cost.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(super) struct Cost {
    /// Processor time of service and partitions for one request, in microseconds.
    pub(super) cpu_micros: f64,
    /// Median latency of one connection alone, in microseconds.
    pub(super) p50_micros: f64,
}

/// What was measured of one home.
#[derive(Debug, serde::Serialize)]
pub(super) struct Scale {
    /// Key versions in the store.
    pub(super) versions: u64,
    pub(super) start_millis: f64,
    pub(super) get_cold: Cost,
    pub(super) get_cached: Cost,
    pub(super) sign_cold: Cost,
    pub(super) sign_cached: Cost,
    pub(super) list_page: Cost,
    /// After a start and a self-test.
    pub(super) memory_at_start: Memory,
    /// After half of the keys to touch, and after all.
    pub(super) memory_halfway: Memory,
    pub(super) memory_after: Memory,
    pub(super) file_bytes: u64,
    pub(super) file_bytes_per_version: f64,
}

/// Measures and prints.
pub(super) async fn run(args: &ScaleArgs) -> Result<(), BenchError> {
    let mut all = Vec::new();
    for home in &args.homes {
        table::progress(&home.display().to_string());
        all.push(measure(home, args).await?);
    }
    table::print_scale(&all, args.json);
    Ok(())
}

async fn measure(home: &Path, args: &ScaleArgs) -> Result<Scale, BenchError> {
    let made = Made::read(home)?;
    let mut starts = Vec::new();
    for _ in 1..args.starts.max(1) {
        let server = Server::start(home, &["--runtimes", "1"])?;
        starts.push(server.started_in.as_secs_f64() * 1e3);
        server.stop()?;
    }
    let server = Server::start(home, &["--runtimes", "1"])?;
    starts.push(server.started_in.as_secs_f64() * 1e3);
    let mut client = Client::new(&server).await?;
    let memory_at_start = server.memory();
    let sample: Vec<u64> = chosen(made.keys, 0).filter(|n| signs(*n)).take(usize_of(SAMPLE.min(made.keys))).collect();
    let get_cold = client.each(&sample, Client::get).await?;
    let get_cached = client.each(&sample, Client::get).await?;
    let sign_cold = client.each(&sample, Client::sign).await?;
    let sign_cached = client.each(&sample, Client::sign).await?;
    let list_page = client.list().await?;
    let touched: Vec<u64> = chosen(made.keys, SAMPLE).filter(|n| signs(*n)).take(usize_of(args.touch)).collect();
    let (first, second) = touched.split_at(touched.len() / 2);
    client.each(first, Client::sign).await?;
    let memory_halfway = server.memory();
    client.each(second, Client::sign).await?;
    let memory_after = server.memory();
    server.stop()?;
    let file_bytes = std::fs::metadata(home.join("data/store/store.redb"))?.len();
    let versions = made.keys * made.each;
    Ok(Scale {
        versions,
        start_millis: median(starts).unwrap_or_default(),
        get_cold,
        get_cached,
        sign_cold,
        sign_cached,
        list_page,
        memory_at_start,
        memory_halfway,
        memory_after,
        file_bytes,
        file_bytes_per_version: file_bytes as f64 / versions.max(1) as f64,
    })
}

/// Keys in no order, from the `skip`th on, for ever.
fn chosen(keys: u64, skip: u64) -> impl Iterator<Item = u64> {
    (skip..).map(move |turn| turn.wrapping_mul(STRIDE) % keys.max(1))
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// One connection, one request after the other.
struct Client<'s> {
    server: &'s Server,
    connection: Connection,
    headers: String,
}

impl<'s> Client<'s> {
    async fn new(server: &'s Server) -> Result<Self, BenchError> {
        let headers = format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", server.token().await?);
        Ok(Self { server, connection: server.target.connect().await?, headers })
    }

    fn get(&self, number: u64) -> Vec<u8> {
        self.server.target.request("GET", &format!("/keys/{}?api-version=7.6", name(number)), &self.headers, "")
    }

    fn sign(&self, number: u64) -> Vec<u8> {
        let path = format!("/keys/{}//sign?api-version=7.6", name(number));
        let body = format!(r#"{{"alg":"ES256","value":"{VALUE_32}"}}"#);
        self.server.target.request("POST", &path, &self.headers, &body)
    }

    async fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, BenchError> {
        let answer = self.connection.ask(request).await?;
        if answer.status == 200 {
            return Ok(answer.body);
        }
        Err(BenchError::Refused(answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// One request for each key.
    async fn each(&mut self, keys: &[u64], request: impl Fn(&Self, u64) -> Vec<u8>) -> Result<Cost, BenchError> {
        let mut times = Vec::with_capacity(keys.len());
        let before = self.server.processor_seconds();
        for number in keys {
            let request = request(self, *number);
            let begun = Instant::now();
            self.ask(&request).await?;
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        Ok(self.cost(before, times))
    }

    fn cost(&self, before: f64, times: Vec<f64>) -> Cost {
        let cpu = (self.server.processor_seconds() - before) * 1e6;
        Cost { cpu_micros: cpu / times.len().max(1) as f64, p50_micros: median(times).unwrap_or_default() }
    }

    /// Pages of the list of keys, from the first one on.
    async fn list(&mut self) -> Result<Cost, BenchError> {
        let (mut path, mut times) = ("/keys?api-version=7.6".to_owned(), Vec::new());
        let before = self.server.processor_seconds();
        for _ in 0..PAGES {
            let request = self.server.target.request("GET", &path, &self.headers, "");
            let begun = Instant::now();
            let body = self.ask(&request).await?;
            times.push(begun.elapsed().as_secs_f64() * 1e6);
            let page: serde_json::Value = serde_json::from_slice(&body).map_err(|_| BenchError::Answer)?;
            let Some(link) = page.get("nextLink").and_then(|l| l.as_str()) else { break };
            let at = link.find("/keys?").ok_or(BenchError::Answer)?;
            path = link.get(at..).ok_or(BenchError::Answer)?.to_owned();
        }
        Ok(self.cost(before, times))
    }
}
