//! Both back ends pass the suite.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use strongroom_store::{MemoryStore, RedbStore, Store, conformance, redb};
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
