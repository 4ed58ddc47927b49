//! What the validation of a token costs: a key read with tokens that were never seen before, and with one that is known.

use super::client::{Extent, Run};
use super::server::Server;
use super::{BenchArgs, BenchError, Figure, measure_run, median, prepare, rows};

/// The rows of tokens: each new, and one for all.
pub(super) const ROWS: [&str; 2] = ["get key, new token", "get key, token known"];
/// Requests of each connection in a run of these rows: a new token for each must be made before.
const TURNS: u32 = 32;
/// Number of the key of these rows.
const KEY: usize = 1_000;

/// Reads a key with a token that was not seen before, each time: what the first request with a token costs. The row of cached
/// tokens beside it is the same request with one token.
pub(super) async fn measure(args: &BenchArgs, server: &Server, headers: &str) -> Result<[Figure; 2], BenchError> {
    let [cold, cached] = ROWS;
    let get = rows().into_iter().find(|r| r.name == "get key").ok_or(BenchError::Setup("the row"))?;
    let id = prepare(server, headers, &get, KEY).await?;
    let path = String::from_utf8_lossy(&id).split(' ').nth(1).map(str::to_owned).ok_or(BenchError::Answer)?;
    let (mut costs, mut runs) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..args.runs.max(1) {
        for (at, turns) in [(0, TURNS), (1, TURNS)] {
            let count = if at == 0 { args.connections * TURNS } else { 1 };
            let requests: Vec<_> = server.tokens(args.connections, count).await?;
            let (target, path) = (server.target.clone(), path.clone());
            let request = move |connection: u32, turn: u64| {
                let number = (u64::from(connection) * u64::from(TURNS) + turn) % requests.len() as u64;
                let token = usize::try_from(number).ok().and_then(|n| requests.get(n)).map_or("", String::as_str);
                target.request("GET", &path, &format!("Authorization: Bearer {token}\r\n"), "")
            };
            let extent = Extent { seconds: args.seconds, turns: u64::from(turns) };
            let (cost, run) = measure_run(server, args.connections, extent, request).await?;
            costs[at].push(cost);
            runs[at].push(run);
        }
    }
    let figure = |name, costs, mut runs: Vec<Run>| {
        runs.sort_by(|a, b| a.per_second().total_cmp(&b.per_second()));
        let run = runs.swap_remove(runs.len() / 2);
        Figure {
            name,
            per_second: run.per_second(),
            cpu_micros: median(costs).unwrap_or_default(),
            ceiling_micros: None,
            p50_micros: run.percentile(0.5),
            p99_micros: run.percentile(0.99),
            open_p50_micros: None,
            open_p99_micros: None,
        }
    };
    let ([cold_costs, cached_costs], [cold_runs, cached_runs]) = (costs, runs);
    Ok([figure(cold, cold_costs, cold_runs), figure(cached, cached_costs, cached_runs)])
}
