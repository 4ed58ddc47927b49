//! `strongroom bench`: processor time and latency of the main operations over HTTPS, beside the bare ceiling.
//!
//! It starts a `dev` of its own with one runtime in a temporary folder, loads it through keep-alive connections, and reads
//! the processor time of service and partitions from the kernel. The ceiling is the same TLS and HTTP stack with a constant
//! answer plus the bare primitive, in a process of its own. Figures are medians of several runs, ceiling and product in turn.

mod ceiling;
mod client;
mod make_store;
mod scale;
mod server;
mod table;
mod tokens;

use client::{Extent, Pace, Run, load, open};
use server::Server;
use tokio::task::LocalSet;

pub(crate) use ceiling::run as run_ceiling;

/// How to measure.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    command: Option<BenchCommand>,
    /// Seconds of each run.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Runs of each row; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Connections at once.
    #[arg(long, default_value_t = 32)]
    connections: u32,
    /// Only the rows whose name holds this text.
    #[arg(long)]
    only: Option<String>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// What else can be done than to measure operations.
#[derive(clap::Subcommand, Debug)]
enum BenchCommand {
    /// Make a store of many keys with a `dev` of its own, over HTTPS, to be measured or tested with.
    MakeStore(make_store::MakeStoreArgs),
    /// Measure start, get, sign, a page of a list, memory and file of stores that `make-store` made, one beside the other.
    Scale(scale::ScaleArgs),
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// Something could not be prepared.
    #[error("bench: {0} could not be prepared")]
    Setup(&'static str),
    /// An answer was not HTTP as expected.
    #[error("bench: an answer was cut off or malformed")]
    Answer,
    /// The server refused a request.
    #[error("bench: the server answered {0}: {1}")]
    Refused(u16, String),
    /// A folder is not what is needed.
    #[error("bench: {0}: {1}")]
    Folder(std::path::PathBuf, &'static str),
    /// A socket or process failed.
    #[error("bench: {0}")]
    Io(#[from] std::io::Error),
}

/// One operation to measure.
struct Row {
    name: &'static str,
    /// The body that creates its key; empty for rows that make keys themselves.
    key: &'static str,
    /// What follows the key's id in the path.
    operation: &'static str,
    body: &'static str,
    connections: Option<u32>,
}

const VALUE_32: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

fn rows() -> Vec<Row> {
    let row = |name, key, operation, body| Row { name, key, operation, body, connections: None };
    vec![
        row(
            "P-256 sign",
            r#"{"kty":"EC","crv":"P-256"}"#,
            "/sign",
            r#"{"alg":"ES256","value":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}"#,
        ),
        row(
            "RSA-2048 sign",
            r#"{"kty":"RSA","key_size":2048}"#,
            "/sign",
            r#"{"alg":"RS256","value":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}"#,
        ),
        row(
            "AES-256-GCM encrypt, 32 B",
            r#"{"kty":"oct","key_size":256}"#,
            "/encrypt",
            r#"{"alg":"A256GCM","value":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}"#,
        ),
        row(
            "AES-256 wrap",
            r#"{"kty":"oct","key_size":256}"#,
            "/wrapkey",
            r#"{"alg":"A256KW","value":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}"#,
        ),
        row("get key", r#"{"kty":"EC","crv":"P-256"}"#, "", ""),
        Row { connections: Some(64), ..row("durable EC create", "", "/create", r#"{"kty":"EC","crv":"P-256"}"#) },
    ]
}

/// One line of the table.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Figure {
    name: &'static str,
    per_second: f64,
    cpu_micros: f64,
    ceiling_micros: Option<f64>,
    p50_micros: u32,
    p99_micros: u32,
    /// At a steady rate of 70 % of what was reached; a latency counts from when its request was due.
    open_p50_micros: Option<u32>,
    open_p99_micros: Option<u32>,
}

/// What signing suffers while RSA-4096 keys are made.
#[derive(Debug, serde::Serialize)]
pub(crate) struct BesideGeneration {
    idle_p50_micros: u32,
    idle_p99_micros: u32,
    busy_p50_micros: u32,
    busy_p99_micros: u32,
    keys_made: u64,
}

/// All that was measured.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Figures {
    operations: Vec<Figure>,
    sign_beside_generation: Option<BesideGeneration>,
}

/// Requests a second of the rows that need a fixed load well below saturation.
const STEADY_RATE: f64 = 1_000.0;
/// Share of the requests a second that were reached, at which latency is measured.
const LOAD: f64 = 0.7;
const GENERATION_ROW: &str = "P-256 sign beside RSA-4096 generation";

/// Measures and prints.
pub(crate) fn run(args: &BenchArgs) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    match &args.command {
        Some(BenchCommand::MakeStore(args)) => local.block_on(&runtime, make_store::run(args)),
        Some(BenchCommand::Scale(args)) => local.block_on(&runtime, scale::run(args)),
        None => {
            let figures = local.block_on(&runtime, measure(args))?;
            table::print(&figures, args.json);
            Ok(())
        }
    }
}

async fn measure(args: &BenchArgs) -> Result<Figures, BenchError> {
    let server = Server::temporary()?;
    let token = server.token().await?;
    let headers = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    let wanted = |name: &str| args.only.as_ref().is_none_or(|o| name.contains(o.as_str()));
    let mut operations = Vec::new();
    for (number, row) in rows().into_iter().filter(|r| wanted(r.name)).enumerate() {
        table::progress(row.name);
        operations.push(measure_row(args, &server, &headers, &row, number).await?);
    }
    if tokens::ROWS.iter().any(|name| wanted(name)) {
        table::progress("tokens");
        operations.extend(tokens::measure(args, &server, &headers).await?);
    }
    let sign_beside_generation = if wanted(GENERATION_ROW) {
        table::progress(GENERATION_ROW);
        Some(beside_generation(args, &server, &headers).await?)
    } else {
        None
    };
    Ok(Figures { operations, sign_beside_generation })
}

/// Signs at a steady rate, alone and while a caller has one RSA-4096 key after another made.
async fn beside_generation(args: &BenchArgs, server: &Server, headers: &str) -> Result<BesideGeneration, BenchError> {
    let sign = rows().into_iter().find(|r| r.name == "P-256 sign").ok_or(BenchError::Setup("the row"))?;
    let request = prepare(server, headers, &sign, usize::MAX).await?;
    let steady = Pace::Open(STEADY_RATE);
    let seconds = args.seconds.max(2.0);
    let again = request.clone();
    let connections = open(&server.target, args.connections).await?;
    let idle = load(connections, Extent::seconds(seconds), steady, move |_, _| again.clone()).await?;
    let (target, shared) = (server.target.clone(), headers.to_owned());
    let making = tokio::task::spawn_local(async move {
        let (maker, body) = (target.clone(), r#"{"kty":"RSA","key_size":4096}"#);
        let request =
            move |_, turn| maker.request("POST", &format!("/keys/long-{turn}/create?api-version=7.6"), &shared, body);
        load(open(&target, 1).await?, Extent::seconds(seconds), Pace::Closed, request).await
    });
    let connections = open(&server.target, args.connections).await?;
    let busy = load(connections, Extent::seconds(seconds), steady, move |_, _| request.clone()).await?;
    let made = making.await.map_err(|_| BenchError::Setup("a worker"))??;
    Ok(BesideGeneration {
        idle_p50_micros: idle.percentile(0.5),
        idle_p99_micros: idle.percentile(0.99),
        busy_p50_micros: busy.percentile(0.5),
        busy_p99_micros: busy.percentile(0.99),
        keys_made: made.requests,
    })
}

async fn measure_row(
    args: &BenchArgs,
    server: &Server,
    headers: &str,
    row: &Row,
    number: usize,
) -> Result<Figure, BenchError> {
    let connections = row.connections.unwrap_or(args.connections);
    let request = requests(server, headers, row, number).await?;
    let ceiling = if row.key.is_empty() { None } else { ceiling::Ceiling::start(row.name, row.operation)? };
    let (mut runs, mut costs, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    let (warm, whole) = (Extent::seconds(args.seconds / 4.0), Extent::seconds(args.seconds));
    load(open(&server.target, connections).await?, warm, Pace::Closed, request.clone()).await?;
    for _ in 0..args.runs.max(1) {
        if let Some(ceiling) = &ceiling {
            bare.push(ceiling.measure(connections, args.seconds / 2.0, server, row.body).await?);
        }
        let (cost, run) = measure_run(server, connections, whole, request.clone()).await?;
        costs.push(cost);
        runs.push(run);
    }
    runs.sort_by(|a, b| a.per_second().total_cmp(&b.per_second()));
    let closed: &Run = runs.get(runs.len() / 2).ok_or(BenchError::Setup("a run"))?;
    let steady = Pace::Open(closed.per_second() * LOAD);
    let open = load(open(&server.target, connections).await?, whole, steady, request).await?;
    Ok(Figure {
        name: row.name,
        per_second: closed.per_second(),
        cpu_micros: median(costs).unwrap_or_default(),
        ceiling_micros: median(bare),
        p50_micros: closed.percentile(0.5),
        p99_micros: closed.percentile(0.99),
        open_p50_micros: Some(open.percentile(0.5)),
        open_p99_micros: Some(open.percentile(0.99)),
    })
}

/// One closed run, with the processor microseconds of each of its requests.
async fn measure_run(
    server: &Server,
    connections: u32,
    extent: Extent,
    request: impl Fn(u32, u64) -> Vec<u8> + Clone + 'static,
) -> Result<(f64, Run), BenchError> {
    let connections = open(&server.target, connections).await?;
    let before = server.processor_seconds();
    let run = load(connections, extent, Pace::Closed, request).await?;
    Ok(((server.processor_seconds() - before) * 1e6 / run.requests as f64, run))
}

/// The requests of a row, by connection and turn.
async fn requests(
    server: &Server,
    headers: &str,
    row: &Row,
    number: usize,
) -> Result<impl Fn(u32, u64) -> Vec<u8> + Clone + 'static, BenchError> {
    let prepared = if row.key.is_empty() { None } else { Some(prepare(server, headers, row, number).await?) };
    let (target, headers) = (server.target.clone(), headers.to_owned());
    let (body, operation) = (row.body, row.operation);
    Ok(move |connection: u32, turn: u64| match &prepared {
        Some(bytes) => bytes.clone(),
        None => {
            let path = format!("/keys/b{connection}-{turn}{operation}?api-version=7.6");
            target.request("POST", &path, &headers, body)
        }
    })
}

/// Makes the row's key; the request that uses it.
async fn prepare(server: &Server, headers: &str, row: &Row, number: usize) -> Result<Vec<u8>, BenchError> {
    let create =
        server.target.request("POST", &format!("/keys/bench{number}/create?api-version=7.6"), headers, row.key);
    let made = server.target.connect().await?.ask(&create).await?;
    let text = String::from_utf8_lossy(&made.body).into_owned();
    if made.status != 200 {
        return Err(BenchError::Refused(made.status, text));
    }
    let bundle: serde_json::Value = serde_json::from_str(&text).map_err(|_| BenchError::Answer)?;
    let id = bundle.pointer("/key/kid").and_then(|k| k.as_str()).ok_or(BenchError::Answer)?;
    let path = id.find("/keys/").and_then(|at| id.get(at..)).ok_or(BenchError::Answer)?;
    let method = if row.operation.is_empty() { "GET" } else { "POST" };
    Ok(server.target.request(method, &format!("{path}{}?api-version=7.6", row.operation), headers, row.body))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
