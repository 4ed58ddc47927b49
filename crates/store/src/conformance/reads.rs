//! Scans and snapshots.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{delete, put, value, wait, write};
use crate::{Page, Store};

fn names(page: &Page) -> Vec<&[u8]> {
    page.entries.iter().map(|entry| entry.path.as_slice()).collect()
}

pub(super) fn scans_are_in_order_of_bytes(store: Arc<dyn Store>) {
    wait(async {
        let order: [&[u8]; 9] = [b"", b"\0", b"\0\0", b"A", b"a", b"a\0", b"aa", b"b", b"\xff"];
        // Written in an order that is none.
        for index in [4, 0, 8, 2, 6, 1, 7, 3, 5] {
            write(&*store, vec![put(order[index], b"")]).await;
        }
        let page = store.scan(b"", b"\xff\xff", 100).await.unwrap();
        assert_eq!((names(&page).as_slice(), page.more), (order.as_slice(), false));
        write(&*store, vec![delete(b"a")]).await;
        let page = store.scan(b"A", b"aa", 100).await.unwrap();
        assert_eq!(names(&page), [b"A".as_slice(), b"a\0"]);
    });
}

/// From, to, and what lies between.
type Scan = (&'static [u8], &'static [u8], &'static [&'static [u8]]);

pub(super) fn scan_bounds_are_half_open(store: Arc<dyn Store>) {
    wait(async {
        write(&*store, [b"a", b"b", b"c"].iter().map(|path| put(*path, b"")).collect()).await;
        let scans: [Scan; 8] = [
            (b"a", b"c", &[b"a", b"b"]),
            (b"a\0", b"c\0", &[b"b", b"c"]),
            (b"", b"a", &[]),
            (b"b", b"b", &[]),
            (b"c", b"a", &[]),
            (b"a", b"", &[]),
            (b"d", b"e", &[]),
            (b"", b"\xff", &[b"a", b"b", b"c"]),
        ];
        let snapshot = store.snapshot().await.unwrap();
        for (from, to, expected) in scans {
            let page = store.scan(from, to, 100).await.unwrap();
            assert_eq!((names(&page).as_slice(), page.more), (expected, false), "{from:?}..{to:?}");
            assert_eq!(snapshot.scan(from, to, 100).await.unwrap(), page);
        }
    });
}

pub(super) fn scan_limits_tell_of_more(store: Arc<dyn Store>) {
    wait(async {
        write(&*store, (0..10_u8).map(|byte| put(&[byte], &[byte])).collect()).await;
        for (limit, to, count, more) in [
            (0, 10, 0, true),
            (0, 0, 0, false),
            (3, 10, 3, true),
            (3, 3, 3, false),
            (10, 10, 10, false),
            (11, 10, 10, false),
        ] {
            let page = store.scan(&[0], &[to], limit).await.unwrap();
            assert_eq!((page.entries.len(), page.more), (count, more), "limit {limit} up to {to}");
        }
        // Paging by the last path meets every record once.
        let (mut seen, mut from) = (Vec::new(), vec![]);
        loop {
            let page = store.scan(&from, &[0xff], 3).await.unwrap();
            seen.extend(page.entries.iter().map(|entry| entry.path[0]));
            if !page.more {
                break;
            }
            from = page.entries.last().unwrap().path.clone();
            from.push(0);
        }
        assert_eq!(seen, (0..10).collect::<Vec<u8>>());
    });
}

pub(super) fn a_snapshot_stands_still(store: Arc<dyn Store>) {
    wait(async {
        let empty = store.snapshot().await.unwrap();
        let first = write(&*store, vec![put(b"a", b"1"), put(b"b", b"1")]).await;
        let snapshot = store.snapshot().await.unwrap();
        let second = write(&*store, vec![put(b"a", b"2"), delete(b"b"), put(b"c", b"2")]).await;
        assert_eq!((snapshot.revision(), store.snapshot().await.unwrap().revision()), (first, second));

        let entry = snapshot.get(b"a").await.unwrap().unwrap();
        assert_eq!((entry.value.as_slice(), entry.revision), (b"1".as_slice(), first));
        assert_eq!(snapshot.get(b"c").await.unwrap(), None);
        assert_eq!(names(&snapshot.scan(b"", b"z", 9).await.unwrap()), [b"a", b"b"]);
        assert_eq!(names(&empty.scan(b"", b"z", 9).await.unwrap()), Vec::<&[u8]>::new());
        assert_eq!(names(&store.scan(b"", b"z", 9).await.unwrap()), [b"a", b"c"]);
        // Dropping one snapshot does not disturb another.
        drop(empty);
        write(&*store, vec![put(b"b", b"3")]).await;
        assert_eq!(snapshot.get(b"b").await.unwrap().unwrap().value, b"1");
    });
}

pub(super) fn a_snapshot_outlives_many_commits(store: Arc<dyn Store>) {
    wait(async {
        write(&*store, (0..50_u8).map(|byte| put(&[byte], b"old")).collect()).await;
        let snapshot = store.snapshot().await.unwrap();
        for round in 0..60_u8 {
            let changes = (0..50_u8).map(|byte| if byte < 25 { put(&[byte], &[round; 300]) } else { delete(&[byte]) });
            write(&*store, changes.collect()).await;
        }
        let page = snapshot.scan(b"", &[0xff], 100).await.unwrap();
        assert_eq!(page.entries.len(), 50);
        assert!(page.entries.iter().all(|entry| entry.value == b"old"));
        assert_eq!(value(&*store, &[30]).await, None);
    });
}

/// Two records are always written with one value; whoever sees them differ saw half a commit.
pub(super) fn snapshots_never_show_half_a_commit(store: Arc<dyn Store>) {
    wait(write(&*store, vec![put(b"left", b"0"), put(b"right", b"0")]));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (store, done) = (&store, &done);
        let reader = scope.spawn(move || {
            wait(async {
                let mut last = None;
                while !done.load(Ordering::Acquire) {
                    let snapshot = store.snapshot().await.unwrap();
                    let left = snapshot.get(b"left").await.unwrap().unwrap();
                    let right = snapshot.get(b"right").await.unwrap().unwrap();
                    assert_eq!((&left.value, left.revision), (&right.value, right.revision));
                    let page = snapshot.scan(b"l", b"s", 9).await.unwrap();
                    assert_eq!(page.entries, [left.clone(), right]);
                    let scanned = store.scan(b"l", b"s", 9).await.unwrap().entries;
                    assert_eq!(scanned[0].revision, scanned[1].revision);
                    assert!(last <= Some(snapshot.revision()) && left.revision <= snapshot.revision());
                    last = Some(snapshot.revision());
                }
            });
        });
        let writers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(move || {
                    wait(async {
                        for number in 0..50_u32 {
                            let value = number.to_string();
                            let both = vec![put(b"left", value.as_bytes()), put(b"right", value.as_bytes())];
                            write(&**store, both).await;
                        }
                    });
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Release);
        reader.join().unwrap();
    });
}
