//! Alone in its process, because a umask is the whole process's.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::MetadataExt;

use strongroom_store::RedbStore;
use strongroom_store::redb::{FILE_NAME, Options};

#[test]
fn the_umask_changes_no_mode() {
    let outer = tempfile::tempdir().unwrap();
    for (name, mask) in [("open", 0o000), ("tight", 0o277)] {
        let folder = outer.path().join(name);
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
        let outcome = RedbStore::open(&folder, Options::default());
        rustix::process::umask(before);
        drop(outcome.unwrap());
        let mode = |path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(folder.clone()), mode(folder.join(FILE_NAME))), (0o700, 0o600));
    }
}
