//! Measures the embedded store on the disk of a folder: durable commits, reads, opening after a clean stop and a kill.
//!
//! `cargo run --release -p strongroom-store --example throughput -- FOLDER [RECORDS]`
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use strongroom_store::redb::{FILE_NAME, Options};
use strongroom_store::{Change, Condition, RedbStore, Store};

/// About what a new key writes: its head, a version with its blob, an audit row.
const VALUES: [usize; 3] = [300, 900, 600];
const SPAN: Duration = Duration::from_secs(3);
const RECORDS_DEFAULT: u64 = 100_000;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn path(kind: u8, number: u64) -> Vec<u8> {
    // Spread over the whole range, as names are.
    format!("epoch/{kind}/{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes()
}

fn create(number: u64) -> (Vec<Condition>, Vec<Change>) {
    let put = |kind: usize| Change::Put(path(kind as u8, number), vec![number as u8; VALUES[kind]]);
    (vec![Condition::Absent(path(0, number))], (0..VALUES.len()).map(put).collect())
}

/// Commits from `writers` tasks of one runtime for a while; returns how many.
fn commits(store: &'static RedbStore, writers: u64, from: u64) -> u64 {
    runtime().block_on(async move {
        let local = tokio::task::LocalSet::new();
        let start = Instant::now();
        let mut tasks = Vec::new();
        for writer in 0..writers {
            tasks.push(local.spawn_local(async move {
                let mut done = 0;
                while start.elapsed() < SPAN {
                    let (conditions, changes) = create(from + done * writers + writer);
                    store.commit(conditions, changes).await.unwrap();
                    done += 1;
                }
                done
            }));
        }
        local
            .run_until(async {
                let mut total = 0;
                for task in tasks {
                    total += task.await.unwrap();
                }
                total
            })
            .await
    })
}

fn fill(store: &RedbStore, records: u64) {
    runtime().block_on(async {
        for first in (0..records).step_by(2048) {
            let pending: Vec<_> = (first..records.min(first + 2048))
                .map(|number| store.commit(vec![], vec![Change::Put(path(9, number), vec![7; 800])]))
                .collect();
            for commit in pending {
                commit.await.unwrap();
            }
        }
    });
}

fn reads(store: &RedbStore, records: u64) {
    let count = 200_000;
    let start = Instant::now();
    runtime().block_on(async {
        for number in 0..count {
            let found = store.get(&path(9, number * 7919 % records)).await.unwrap();
            assert!(found.is_some());
        }
    });
    println!("get             {:>8.2} us, one after the other", start.elapsed().as_secs_f64() * 1e6 / count as f64);
    let start = Instant::now();
    runtime().block_on(async {
        for number in 0..1000 {
            store.scan(&path(9, number), b"epoch/:", 25).await.unwrap();
        }
    });
    println!("scan of 25      {:>8.2} us", start.elapsed().as_secs_f64() * 1e6 / 1000.0);
}

fn opening(folder: &Path, what: &str) {
    let start = Instant::now();
    let store = RedbStore::open(folder, Options::default()).unwrap();
    println!("open {what:<11} {:>8.2} ms", start.elapsed().as_secs_f64() * 1e3);
    drop(store);
}

fn processor_time() -> f64 {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    usage.tv_sec as f64 + usage.tv_nsec as f64 / 1e9
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap()).join("throughput");
    let records = arguments.next().map_or(RECORDS_DEFAULT, |text| text.parse().unwrap());
    assert!(!folder.exists(), "{} is in the way", folder.display());
    let store: &'static RedbStore = Box::leak(Box::new(RedbStore::open(&folder, Options::default()).unwrap()));
    let mut from = 0;
    for writers in [1, 4, 16, 64, 256] {
        let before = processor_time();
        let done = commits(store, writers, from);
        let per_commit = (processor_time() - before) * 1e6 / done as f64;
        println!(
            "{writers:>3} writers     {:>8.0} commits/s, {per_commit:.0} us of processor each",
            done as f64 / SPAN.as_secs_f64()
        );
        from += done + 1_000_000;
    }
    let start = Instant::now();
    fill(store, records);
    println!("filled {records} records in {:.1} s", start.elapsed().as_secs_f64());
    reads(store, records);
    let bytes = std::fs::metadata(folder.join(FILE_NAME)).unwrap().len();
    println!("file            {:>8.1} MiB", bytes as f64 / 1048576.0);

    // What a kill leaves: the file as it is now, unclosed.
    let killed = folder.with_file_name("throughput-killed");
    drop(RedbStore::open(&killed, Options::default()).unwrap());
    std::fs::copy(folder.join(FILE_NAME), killed.join(FILE_NAME)).unwrap();
    opening(&killed, "after kill");
    opening(&killed, "after stop");
    std::fs::remove_dir_all(killed).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}
