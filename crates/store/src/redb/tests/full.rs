use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::writer::room_for;
use super::disk::Disk;
use super::{lay_out, open_over, wait};
use crate::{CHANGES_MAX, Change, Store, StoreError};

fn put(path: &[u8]) -> Vec<Change> {
    vec![Change::Put(path.to_vec(), vec![1; 100])]
}

#[test]
fn a_full_disk_refuses_commits_and_nothing_else() {
    let enough = room_for(1, put(b"a")[0].bytes());
    let (disk, room) = (Disk::default(), Arc::new(AtomicU64::new(enough)));
    lay_out(&disk).unwrap();
    let store = open_over(disk.clone(), &room).unwrap();
    wait(async {
        let first = store.commit(vec![], put(b"a")).await.unwrap();
        room.store(enough - 1, Ordering::Relaxed);
        let writes = disk.counts().0;
        assert_eq!(store.commit(vec![], put(b"b")).await, Err(StoreError::Full));
        assert_eq!(disk.counts().0, writes, "nothing may be written");
        assert_eq!(store.get(b"a").await.unwrap().unwrap().revision, first);
        assert_eq!(store.get(b"b").await.unwrap(), None);
        assert_eq!(store.snapshot().await.unwrap().revision(), first);
        room.store(enough, Ordering::Relaxed);
        assert!(store.commit(vec![], put(b"b")).await.unwrap() > first);
    });
}

#[test]
fn a_batch_never_costs_more_room_than_it_asked_for() {
    let (disk, room) = (Disk::default(), Arc::new(AtomicU64::new(u64::MAX)));
    lay_out(&disk).unwrap();
    let store = open_over(disk.clone(), &room).unwrap();
    // Growing makes the file longer than it is full: what counts is the sectors that were written.
    let shapes = [(1, 10), (1, 60_000), (CHANGES_MAX, 10), (CHANGES_MAX, 7_000), (3, 1)];
    for (step, (changes, size)) in shapes.into_iter().cycle().take(60).enumerate() {
        let put = |number: usize| Change::Put(format!("{step:03}/{number}").into_bytes(), vec![1; size]);
        let batch: Vec<Change> = (0..changes).map(put).collect();
        let allowed = room_for(changes, batch.iter().map(Change::bytes).sum());
        let before = disk.touched();
        wait(store.commit(vec![], batch)).unwrap();
        let cost = disk.touched() - before;
        assert!(cost <= allowed, "{changes} changes of {size} bytes cost {cost} bytes of {allowed}");
    }
}
