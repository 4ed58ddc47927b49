use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::writer::ROOM_MIN;
use super::disk::Disk;
use super::{lay_out, open_over, wait};
use crate::{Change, Store, StoreError};

fn put(path: &[u8]) -> Vec<Change> {
    vec![Change::Put(path.to_vec(), vec![1; 100])]
}

#[test]
fn a_full_disk_refuses_commits_and_nothing_else() {
    let (disk, room) = (Disk::default(), Arc::new(AtomicU64::new(ROOM_MIN)));
    lay_out(&disk).unwrap();
    let store = open_over(disk.clone(), &room).unwrap();
    wait(async {
        let first = store.commit(vec![], put(b"a")).await.unwrap();
        room.store(ROOM_MIN - 1, Ordering::Relaxed);
        let writes = disk.counts().0;
        assert_eq!(store.commit(vec![], put(b"b")).await, Err(StoreError::Full));
        assert_eq!(disk.counts().0, writes, "nothing may be written");
        assert_eq!(store.get(b"a").await.unwrap().unwrap().revision, first);
        assert_eq!(store.get(b"b").await.unwrap(), None);
        assert_eq!(store.snapshot().await.unwrap().revision(), first);
        room.store(ROOM_MIN, Ordering::Relaxed);
        assert!(store.commit(vec![], put(b"b")).await.unwrap() > first);
    });
}
