//! The embedded back ends pass the suite; `etcd.rs` runs it on a cluster.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use strongroom_store::{Change, MemoryStore, RedbStore, Store, conformance, redb};
use tempfile::TempDir;

#[test]
fn memory() {
    conformance::run(|| Arc::new(MemoryStore::new()));
}

#[test]
fn redb() {
    let mut folders: Vec<TempDir> = Vec::new();
    conformance::run(|| -> Arc<dyn Store> {
        folders.push(tempfile::tempdir().unwrap());
        Arc::new(RedbStore::open(&folders.last().unwrap().path().join("store"), redb::Options::default()).unwrap())
    });
}

#[test]
fn commits_that_one_thread_begins_take_effect_in_that_order() {
    let folder = tempfile::tempdir().unwrap();
    let redb = RedbStore::open(&folder.path().join("store"), redb::Options::default()).unwrap();
    let stores: [Arc<dyn Store>; 2] = [Arc::new(MemoryStore::new()), Arc::new(redb)];
    for store in stores {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for round in 0..20_u8 {
            drop(store.commit(vec![], vec![Change::Put(vec![round], vec![])]));
        }
        runtime.block_on(store.commit(vec![], vec![Change::Put(b"last".to_vec(), vec![])])).unwrap();
        assert_eq!(runtime.block_on(store.scan(b"", b"z", 99)).unwrap().entries.len(), 21);
    }
}
