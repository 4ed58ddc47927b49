use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use super::super::writer::SETTLE_AFTER;
use super::disk::{Crash, Disk};
use super::{CACHE_BYTES, lay_out, open, open_over, wait};
use crate::{Change, Store};

/// Long enough for any machine; the store settles in milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn an_idle_store_opens_without_reading_all_of_it_after_a_kill() {
    let (disk, room) = (Disk::default(), Arc::new(AtomicU64::new(u64::MAX)));
    lay_out(&disk).unwrap();
    let store = open_over(disk.clone(), &room).unwrap();
    wait(store.commit(vec![], vec![Change::Put(b"a".to_vec(), vec![1; 3000])])).unwrap();
    let start = Instant::now();
    while open::database(Path::new("test"), disk.after(Crash::Kept), CACHE_BYTES).unwrap().repaired {
        assert!(start.elapsed() < PATIENCE, "the store does not settle");
        std::thread::sleep(Duration::from_millis(1));
    }
    // Settled is settled: an idle store leaves the disk alone.
    let writes = disk.counts().0;
    std::thread::sleep(2 * SETTLE_AFTER);
    assert_eq!(disk.counts().0, writes);
    let killed = open_over(disk.after(Crash::Lost), &room).unwrap();
    assert!(wait(killed.get(b"a")).unwrap().is_some());
}
