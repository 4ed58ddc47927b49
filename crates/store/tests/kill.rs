//! kill -9 in the middle of commits: nothing acknowledged is lost, nothing is half made.
//!
//! The child is this very test, told by a variable. `STRONGROOM_KILL_ROUNDS` sets the number of rounds,
//! `STRONGROOM_KILL_SEED` repeats a run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use strongroom_store::redb::{OpenError, Options};
use strongroom_store::{Change, Condition, RedbStore, Revision, Store};

const FOLDER: &str = "STRONGROOM_KILL_FOLDER";
const ROUNDS: &str = "STRONGROOM_KILL_ROUNDS";
const SEED: &str = "STRONGROOM_KILL_SEED";
const ROUNDS_DEFAULT: u32 = 20;
const WRITERS: u8 = 4;
/// A child is killed at the latest after this many acknowledged commits.
const ACKNOWLEDGED_MAX: u64 = 60;
const KILL_DELAY_MICROS_MAX: u64 = 4000;

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn open(folder: &Path) -> RedbStore {
    RedbStore::open(folder, Options::default()).unwrap()
}

fn next_random(state: &mut u64) -> u64 {
    // splitmix64
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn counter(writer: u8) -> Vec<u8> {
    vec![b'c', writer]
}

/// What a writer's n-th commit leaves in a record: of a size that depends on n.
fn filling(writer: u8, number: u64) -> Vec<u8> {
    vec![writer ^ number as u8; (number as usize * 797) % 9000]
}

/// One commit: the counter, and two records that change with it; an older one goes.
fn changes(writer: u8, number: u64) -> Vec<Change> {
    let record = |kind: u8, slot: u64| vec![kind, writer, slot as u8];
    vec![
        Change::Put(counter(writer), number.to_be_bytes().to_vec()),
        Change::Put(record(b'l', number % 16), filling(writer, number)),
        Change::Put(record(b'r', number % 16), filling(writer, number)),
        Change::Delete(record(b'l', (number + 8) % 16)),
        Change::Delete(record(b'r', (number + 8) % 16)),
    ]
}

fn count(store: &RedbStore, writer: u8) -> (u64, Option<Revision>) {
    let found = wait(store.get(&counter(writer))).unwrap();
    found.map_or((0, None), |entry| (u64::from_be_bytes(entry.value.try_into().unwrap()), Some(entry.revision)))
}

/// Commits until it is killed, and prints each acknowledged commit.
fn child(folder: &Path) {
    let store = open(folder);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                let (mut number, mut revision) = count(store, writer);
                loop {
                    number += 1;
                    let condition = match revision {
                        Some(revision) => Condition::Unchanged(counter(writer), revision),
                        None => Condition::Absent(counter(writer)),
                    };
                    revision = Some(wait(store.commit(vec![condition], changes(writer, number))).unwrap());
                    // One write each, so a line is never cut.
                    let line = format!("ack {writer} {number}\n");
                    let mut out = std::io::stdout().lock();
                    out.write_all(line.as_bytes()).unwrap();
                    out.flush().unwrap();
                }
            });
        }
    });
}

/// Starts a child, kills it, returns the last acknowledged number of each writer.
fn round(folder: &Path, random: &mut u64, acknowledged: &mut [u64; WRITERS as usize]) -> u64 {
    let mut process = Command::new(env::current_exe().unwrap())
        .args(["--exact", "nothing_acknowledged_is_lost", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let wanted = next_random(random) % ACKNOWLEDGED_MAX;
    let mut seen = 0;
    let mut note = |line: String| {
        // The harness prints its own words before the first line.
        let Some((_, told)) = line.split_once("ack ") else { return 0 };
        let (writer, number) = told.split_once(' ').unwrap();
        acknowledged[writer.parse::<usize>().unwrap()] = number.parse().unwrap();
        1
    };
    if !next_random(random).is_multiple_of(4) {
        while seen < wanted {
            seen += note(lines.next().expect("the child ended by itself").unwrap());
        }
        if seen > 0 {
            let refused = RedbStore::open(folder, Options::default()).err();
            assert!(matches!(refused, Some(OpenError::Locked { .. })), "{refused:?}");
        }
    }
    std::thread::sleep(Duration::from_micros(next_random(random) % KILL_DELAY_MICROS_MAX));
    process.kill().unwrap();
    // What it printed before it died counts.
    for line in lines {
        seen += note(line.unwrap());
    }
    assert_eq!(process.wait().unwrap().signal(), Some(9), "the child must die by the signal");
    seen
}

/// Every record belongs to the last commit of its writer's counter, or to one of the eight before it.
fn check(folder: &Path, acknowledged: &[u64; WRITERS as usize]) {
    let store = open(folder);
    for writer in 0..WRITERS {
        let (number, _) = count(&store, writer);
        let last = acknowledged[usize::from(writer)];
        assert!(number >= last, "writer {writer}: {last} was acknowledged, {number} is there");
        assert!(number <= last + 1, "writer {writer}: {number} is there, {} was never begun", last + 2);
        for slot in 0..16 {
            let expected = (number.saturating_sub(7)..=number).find(|one| *one > 0 && one % 16 == slot);
            for kind in [b'l', b'r'] {
                let found = wait(store.get(&[kind, writer, slot as u8])).unwrap().map(|entry| entry.value);
                assert_eq!(found, expected.map(|number| filling(writer, number)), "writer {writer}, slot {slot}");
            }
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost() {
    if let Some(folder) = env::var_os(FOLDER) {
        return child(Path::new(&folder));
    }
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number(SEED).unwrap_or_else(clock);
    let rounds = number(ROUNDS).unwrap_or(u64::from(ROUNDS_DEFAULT));
    println!("{rounds} rounds, {SEED}={seed}");
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("data");
    let (mut random, mut acknowledged, mut total) = (seed, [0; WRITERS as usize], 0);
    for _ in 0..rounds {
        total += round(&folder, &mut random, &mut acknowledged);
        check(&folder, &acknowledged);
        for writer in 0..WRITERS {
            // A commit that took place without its line being read counts from now on.
            acknowledged[usize::from(writer)] = count(&open(&folder), writer).0;
        }
    }
    println!("{total} acknowledged commits");
    assert!(rounds < 10 || total > 0);
    strongroom_counts::count("store: kill -9", rounds);
    strongroom_counts::count("store: commits acknowledged before a kill", total);
}
