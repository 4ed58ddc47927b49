//! Measures the store on a cluster of three etcd processes that it starts itself, on this machine and its disk.
//!
//! `cargo run --release -p strongroom-store --features etcd --example etcd_throughput`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../tests/cluster/mod.rs"]
mod cluster;

use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom_store::{Change, Condition, EtcdStore, Store};

/// About what a new key writes: its head, a version with its blob, an audit row.
const VALUES: [usize; 3] = [300, 900, 600];
const SPAN: Duration = Duration::from_secs(5);
const READS: usize = 2000;

fn path(kind: usize, number: u64) -> Vec<u8> {
    // Spread over the whole range, as names are.
    format!("epoch/{kind}/{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes()
}

fn quantile(times: &mut [Duration], part: f64) -> f64 {
    times.sort_unstable();
    times[(times.len() as f64 * part) as usize].as_secs_f64() * 1e6
}

fn main() {
    let Some(cluster) = cluster::Cluster::start() else { return };
    let store: Arc<EtcdStore> = cluster.open("strongroom/");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut from = 0;
    for writers in [1_u64, 8, 64] {
        let start = Instant::now();
        let tasks: Vec<_> = (0..writers)
            .map(|writer| {
                let store = Arc::clone(&store);
                runtime.spawn(async move {
                    let mut times = Vec::new();
                    while start.elapsed() < SPAN {
                        let number = from + times.len() as u64 * writers + writer;
                        let put = |kind: usize| Change::Put(path(kind, number), vec![number as u8; VALUES[kind]]);
                        let begun = Instant::now();
                        let condition = vec![Condition::Absent(path(0, number))];
                        store.commit(condition, (0..VALUES.len()).map(put).collect()).await.unwrap();
                        times.push(begun.elapsed());
                    }
                    times
                })
            })
            .collect();
        let mut times = Vec::new();
        tasks.into_iter().for_each(|task| times.extend(runtime.block_on(task).unwrap()));
        let rate = times.len() as f64 / SPAN.as_secs_f64();
        let (median, slow) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
        println!("{writers:>3} writers   {rate:>7.0} commits/s   p50 {median:>7.0} us   p99 {slow:>7.0} us");
        from += 1_000_000_000;
    }
    let mut times = Vec::new();
    for number in 0..READS {
        let (begun, wanted) = (Instant::now(), path(0, number as u64 % 64));
        runtime.block_on(store.get(&wanted)).unwrap();
        times.push(begun.elapsed());
    }
    println!(
        "get, one after the other   p50 {:.0} us   p99 {:.0} us",
        quantile(&mut times, 0.5),
        quantile(&mut times, 0.99)
    );
    let begun = Instant::now();
    for _ in 0..100 {
        runtime.block_on(store.scan(b"epoch/1/", b"epoch/2", 25)).unwrap();
    }
    println!("scan of 25                 {:.0} us", begun.elapsed().as_secs_f64() * 1e6 / 100.0);
}
