//! The suite and more on a real cluster of three etcd processes: killed members, cut networks, compaction.
#![cfg(feature = "etcd")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod cluster;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cluster::Cluster;
use strongroom_store::etcd::{OpenError, Options};
use strongroom_store::{Change, Condition, EtcdStore, Revision, Store, StoreError, conformance};

/// Long enough for any machine; a right store never waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
const WRITERS: u8 = 6;
const ROUNDS: &str = "STRONGROOM_ROUNDS";

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn put(path: &[u8], value: &[u8]) -> Change {
    Change::Put(path.to_vec(), value.to_vec())
}

/// Commits without conditions, however often the cluster cannot.
fn write(store: &EtcdStore, path: &[u8], value: &[u8]) -> Revision {
    let begun = Instant::now();
    loop {
        match wait(store.commit(Vec::new(), vec![put(path, value)])) {
            Ok(revision) => return revision,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
    }
}

fn read(store: &EtcdStore, path: &[u8]) -> Option<strongroom_store::Entry> {
    let begun = Instant::now();
    loop {
        match wait(store.get(path)) {
            Ok(found) => return found,
            Err(error) => assert!(error == StoreError::Unreachable && begun.elapsed() < PATIENCE, "{error}"),
        }
    }
}

#[test]
fn conformance() {
    let Some(cluster) = Cluster::start() else { return };
    let mut number = 0;
    conformance::run(|| -> Arc<dyn Store> {
        number += 1;
        cluster.open(&format!("case-{number}/"))
    });
}

/// What a counter holds: how far it has come, and who wrote that.
fn counted(number: u64, mark: u64) -> Vec<u8> {
    [number.to_be_bytes(), mark.to_be_bytes()].concat()
}

/// Raises a counter once, as the engine changes a record: conditional on what was read, an unknown outcome settled by
/// reading, sent again only under the same condition. Tells how often the outcome was unknown.
fn increment(store: &EtcdStore, path: &[u8], mark: u64) -> u64 {
    let mut unknown = 0;
    'attempt: loop {
        let before = read(store, path);
        let number = before.as_ref().map_or(0, |entry| u64::from_be_bytes(entry.value[..8].try_into().unwrap()));
        let condition = match &before {
            Some(entry) => Condition::Unchanged(path.to_vec(), entry.revision),
            None => Condition::Absent(path.to_vec()),
        };
        let mine = counted(number + 1, mark);
        // A row of its own, as every change of the engine leaves one: it stays when others have raised the counter since.
        let row = [b"row/".as_slice(), &mark.to_be_bytes()].concat();
        loop {
            let changes = vec![put(path, &mine), put(&row, b"")];
            match wait(store.commit(vec![condition.clone()], changes)) {
                Ok(_) => return unknown,
                Err(StoreError::Unreachable) => {}
                Err(StoreError::Unknown) if read(store, &row).is_some() => return unknown + 1,
                Err(StoreError::Unknown) => unknown += 1,
                Err(StoreError::Conflict) if unknown > 0 && read(store, &row).is_some() => return unknown,
                Err(StoreError::Conflict) => continue 'attempt,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// One disturbance after the other, each of which a cluster of three survives, or waits out.
fn disturb(cluster: &mut Cluster, pause: Duration) {
    let follower = |leader: usize| (leader + 1) % 3;
    let one = follower(cluster.leader());
    cluster.kill(one);
    sleep(pause);
    cluster.run(one);
    let leader = cluster.leader();
    cluster.kill(leader);
    sleep(pause);
    cluster.run(leader);
    let leader = cluster.leader();
    cluster.pause(leader);
    sleep(3 * pause);
    cluster.resume(leader);
    // No quorum for a while.
    let leader = cluster.leader();
    let others = [follower(leader), follower(follower(leader))];
    others.iter().for_each(|number| cluster.pause(*number));
    sleep(pause);
    others.iter().for_each(|number| cluster.resume(*number));
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_done_twice() {
    let Some(mut cluster) = Cluster::start() else { return };
    let stores: Vec<_> = (0..2).map(|_| cluster.open("strongroom/")).collect();
    let (done, marks) = (AtomicBool::new(false), AtomicU64::new(0));
    let rounds: u64 = std::env::var(ROUNDS).ok().map_or(1, |text| text.parse().unwrap());
    let (raised, unknown) = std::thread::scope(|scope| {
        let (stores, done, marks) = (&stores, &done, &marks);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let store = &stores[usize::from(writer) % stores.len()];
                    let (mut raised, mut unknown) = (0_u64, 0);
                    while !done.load(Ordering::Relaxed) {
                        // Three counters, so that writers of both stores meet.
                        let path = [b'c', writer % 3];
                        unknown += increment(store, &path, marks.fetch_add(1, Ordering::Relaxed));
                        raised += 1;
                    }
                    (raised, unknown)
                })
            })
            .collect();
        (0..rounds).for_each(|_| disturb(&mut cluster, Duration::from_secs(1)));
        cluster.leader();
        done.store(true, Ordering::Relaxed);
        let sums: Vec<(u64, u64)> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        sums.iter().fold((0, 0), |(raised, unknown), one| (raised + one.0, unknown + one.1))
    });
    let number = |path: [u8; 2]| {
        let entry = read(&stores[0], &path).unwrap();
        u64::from_be_bytes(entry.value[..8].try_into().unwrap())
    };
    assert_eq!((0..3).map(|counter| number([b'c', counter])).sum::<u64>(), raised);
    let rows = wait(stores[1].scan(b"row/", b"row0", usize::MAX)).unwrap().entries.len() as u64;
    assert_eq!(rows, raised);
    strongroom_counts::count("etcd: commits while members were killed and cut off", raised);
    println!("{rounds} rounds: {raised} commits, {unknown} outcomes were unknown for a while");
    assert!(raised > 0);
}

#[test]
fn a_write_that_comes_late_is_refused() {
    let Some(cluster) = Cluster::start() else { return };
    let first = write(&cluster.open("strongroom/"), b"a", b"first");
    let leader = cluster.leader();
    let (late, other) = (cluster.open_at(leader, "strongroom/"), cluster.open("strongroom/"));
    cluster.pause(leader);
    // Handed to the leader, which stands still; a new one is elected, and somebody else is faster.
    let condition = Condition::Unchanged(b"a".to_vec(), first);
    let sent = late.commit(vec![condition.clone()], vec![put(b"a", b"late")]);
    let begun = Instant::now();
    let second = loop {
        match wait(other.commit(vec![condition.clone()], vec![put(b"a", b"second")])) {
            Ok(revision) => break Some(revision),
            // An unknown outcome that was a success.
            Err(StoreError::Conflict) => break None,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
    };
    assert_eq!(wait(sent), Err(StoreError::Unknown));
    cluster.resume(leader);
    // Once the old leader answers, it has taken or refused what it was sent before.
    assert_eq!(read(&late, b"a").unwrap().value, b"second");
    assert_eq!(wait(late.commit(vec![condition], vec![put(b"a", b"later")])), Err(StoreError::Conflict));
    sleep(Duration::from_millis(500));
    let now = read(&other, b"a").unwrap();
    assert!(second.is_none_or(|second| second == now.revision) && now.value == b"second");
}

#[test]
fn a_watch_outlives_every_member_and_says_when_it_missed_something() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (watcher, writer) = (cluster.open("strongroom/"), cluster.open("strongroom/"));
    let mut watch = wait(async {
        let since = watcher.snapshot().await.unwrap().revision();
        watcher.watch(b"a", since).await.unwrap()
    });
    let mut next = || wait(async { tokio::time::timeout(PATIENCE, watch.next()).await.expect("the watch hangs") });
    for number in 0..3 {
        cluster.kill(number);
        for value in 0..5_u8 {
            write(&writer, b"a", &[value]);
        }
        cluster.run(number);
        cluster.leader();
        let mut told = Vec::new();
        while told.last() != Some(&4) {
            let (_, changes) = next().unwrap();
            let [Change::Put(path, value)] = changes.as_slice() else { panic!("{changes:?}") };
            assert_eq!(path, b"a");
            told.push(value[0]);
        }
        // A commit whose answer was lost was written again, with the same value.
        assert!(told.is_sorted());
        told.dedup();
        assert_eq!(told, [0, 1, 2, 3, 4]);
    }
}

#[test]
fn compaction_is_told_to_watchers_and_snapshots() {
    let Some(mut cluster) = Cluster::start() else { return };
    let writer = cluster.open("strongroom/");
    write(&writer, b"a", b"1");
    let number = (cluster.leader() + 1) % 3;
    let watcher = cluster.open_at(number, "strongroom/");
    let snapshot = wait(watcher.snapshot()).unwrap();
    let mut watch = wait(watcher.watch(b"", snapshot.revision())).unwrap();
    cluster.kill(number);
    write(&writer, b"a", b"2");
    let last = write(&writer, b"a", b"3");
    cluster.compact(last.0);
    cluster.run(number);

    let missed = wait(async { tokio::time::timeout(PATIENCE, watch.next()).await.expect("the watch hangs") });
    assert_eq!(missed, Err(StoreError::Unknown));
    assert_eq!(wait(watcher.watch(b"", snapshot.revision())).err(), Some(StoreError::Unknown));
    let begun = Instant::now();
    while wait(snapshot.get(b"a")) != Err(StoreError::Compacted) {
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_eq!(wait(snapshot.scan(b"", b"z", 9)), Err(StoreError::Compacted));

    let anew = wait(watcher.snapshot()).unwrap();
    assert_eq!(anew.revision(), last);
    assert_eq!(wait(anew.get(b"a")).unwrap().unwrap().value, b"3");
    let mut watch = wait(watcher.watch(b"", last)).unwrap();
    let more = write(&writer, b"a", b"4");
    assert_eq!(wait(watch.next()), Ok((more, vec![put(b"a", b"4")])));
}

#[test]
fn what_cannot_be_opened_says_why() {
    let Some(cluster) = Cluster::start() else { return };
    let refused = &|change: &dyn Fn(&mut Options)| {
        let mut options = cluster.options("strongroom/");
        change(&mut options);
        EtcdStore::open(options).err().expect("it must be refused")
    };
    for wrong in ["127.0.0.1:1", "http://127.0.0.1:1", "https://", ""] {
        let error = refused(&|options| options.endpoints = vec![wrong.to_owned()]);
        assert!(matches!(&error, OpenError::Endpoint(named) if named == wrong), "{wrong}: {error}");
    }
    assert!(matches!(refused(&|options| options.endpoints.clear()), OpenError::Endpoint(_)));
    for wrong in ["", "strongroom", &"x/".repeat(65)] {
        assert!(matches!(refused(&|options| options.prefix = wrong.to_owned()), OpenError::Prefix(_)), "{wrong}");
    }
    let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
    assert!(matches!(refused(&|options| options.certificate.clone_from(&garbage)), OpenError::Tls(_)));
    assert!(matches!(refused(&|options| options.key = String::new().into()), OpenError::Tls(_)));

    // Of another CA, both ways round.
    let Some(other) = Cluster::start() else { return };
    let foreign = |options: &mut Options| options.ca = other.options("x/").ca;
    let unknown = |options: &mut Options| {
        let theirs = other.options("x/");
        (options.certificate, options.key) = (theirs.certificate, theirs.key);
    };
    let closed = |options: &mut Options| options.endpoints = vec!["https://127.0.0.1:1".to_owned()];
    type Spoil<'a> = &'a (dyn Fn(&mut Options) + Sync);
    let cases: [(Spoil<'_>, &str); 3] = [(&foreign, "certificate"), (&unknown, "127.0.0.1"), (&closed, "refused")];
    // Each tries for a while.
    std::thread::scope(|scope| {
        for (change, named) in cases {
            scope.spawn(move || {
                let error = refused(change);
                assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
                assert!(error.to_string().contains(named), "{error}");
            });
        }
    });
}
