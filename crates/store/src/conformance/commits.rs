//! Conditions, limits, revisions.

use std::sync::Arc;

use super::{absent, conflicts, delete, paths, put, unchanged, value, wait, write};
use crate::{CHANGES_MAX, COMMIT_BYTES_MAX, CONDITIONS_MAX, Change, Revision, Store, StoreError};

pub(super) fn absent_holds_only_where_nothing_lies(store: Arc<dyn Store>) {
    wait(async {
        store.commit(vec![absent(b"a")], vec![put(b"a", b"1")]).await.unwrap();
        conflicts(&*store, vec![absent(b"a")], vec![put(b"a", b"2")]).await;
        assert_eq!(value(&*store, b"a").await.unwrap(), b"1");
        write(&*store, vec![delete(b"a")]).await;
        store.commit(vec![absent(b"a")], vec![put(b"a", b"3")]).await.unwrap();
        // A longer path and a shorter one are other paths.
        store.commit(vec![absent(b"aa"), absent(b"")], vec![put(b"aa", b"")]).await.unwrap();
    });
}

pub(super) fn unchanged_holds_only_for_the_last_revision(store: Arc<dyn Store>) {
    wait(async {
        conflicts(&*store, vec![unchanged(b"a", Revision(0))], vec![put(b"a", b"")]).await;
        let first = write(&*store, vec![put(b"a", b"1")]).await;
        write(&*store, vec![put(b"b", b"1")]).await;
        let second = store.commit(vec![unchanged(b"a", first)], vec![put(b"a", b"2")]).await.unwrap();
        conflicts(&*store, vec![unchanged(b"a", first)], vec![put(b"a", b"3")]).await;
        conflicts(&*store, vec![unchanged(b"a", Revision(u64::MAX))], vec![put(b"a", b"3")]).await;
        write(&*store, vec![delete(b"a")]).await;
        conflicts(&*store, vec![unchanged(b"a", second)], vec![put(b"a", b"3")]).await;
        // The same value written again is another record.
        write(&*store, vec![put(b"a", b"2")]).await;
        conflicts(&*store, vec![unchanged(b"a", second)], vec![put(b"a", b"3")]).await;
    });
}

pub(super) fn a_failed_condition_changes_nothing(store: Arc<dyn Store>) {
    wait(async {
        let before = write(&*store, vec![put(b"kept", b"1")]).await;
        let conditions = vec![unchanged(b"kept", before), absent(b"x"), absent(b"kept")];
        conflicts(&*store, conditions, vec![put(b"x", b""), delete(b"kept")]).await;
        assert_eq!(paths(&*store).await, [b"kept"]);
        assert_eq!(store.snapshot().await.unwrap().revision(), before);
    });
}

pub(super) fn conditions_are_checked_before_changes(store: Arc<dyn Store>) {
    wait(async {
        let revision = store.commit(vec![absent(b"a"), absent(b"a")], vec![put(b"a", b"1")]).await.unwrap();
        store.commit(vec![unchanged(b"a", revision)], vec![delete(b"a")]).await.unwrap();
        assert_eq!(value(&*store, b"a").await, None);
        // Conditions alone are a commit too.
        store.commit(vec![absent(b"a")], vec![]).await.unwrap();
        conflicts(&*store, vec![unchanged(b"a", revision)], vec![]).await;
    });
}

pub(super) fn all_records_of_a_commit_carry_its_revision(store: Arc<dyn Store>) {
    wait(async {
        let all = vec![put(b"a", b"1"), put(b"b", b"2"), put(b"c", b"3")];
        let first = write(&*store, all).await;
        let second = write(&*store, vec![put(b"b", b"4"), delete(b"c")]).await;
        assert_eq!(store.get(b"a").await.unwrap().unwrap().revision, first);
        let scanned = store.scan(b"b", b"z", 9).await.unwrap().entries;
        assert_eq!(scanned.len(), 1);
        assert_eq!((scanned[0].revision, scanned[0].value.as_slice()), (second, b"4".as_slice()));
        assert_eq!(store.get(b"b").await.unwrap().unwrap(), scanned[0]);
    });
}

pub(super) fn revisions_grow_and_never_repeat(store: Arc<dyn Store>) {
    wait(async {
        let mut last = store.snapshot().await.unwrap().revision();
        for changes in [vec![], vec![delete(b"no")], vec![put(b"a", b"")], vec![put(b"a", b"")], vec![delete(b"a")]] {
            let revision = write(&*store, changes).await;
            assert!(revision > last, "{revision:?} after {last:?}");
            assert_eq!(store.snapshot().await.unwrap().revision(), revision);
            last = revision;
        }
    });
}

pub(super) fn deleting_nothing_is_no_error(store: Arc<dyn Store>) {
    wait(async {
        write(&*store, vec![delete(b"a"), put(b"b", b"1")]).await;
        write(&*store, vec![delete(b"a"), delete(b"b"), delete(b"c")]).await;
        assert!(paths(&*store).await.is_empty());
    });
}

fn numbered(count: usize) -> Vec<Change> {
    (0..count).map(|number| put(format!("{number:04}").as_bytes(), b"")).collect()
}

pub(super) fn the_number_of_changes_is_limited(store: Arc<dyn Store>) {
    wait(async {
        assert_eq!(store.commit(vec![], numbered(CHANGES_MAX + 1)).await, Err(StoreError::TooLarge));
        assert!(paths(&*store).await.is_empty());
        write(&*store, numbered(CHANGES_MAX)).await;
        assert_eq!(paths(&*store).await.len(), CHANGES_MAX);
    });
}

pub(super) fn the_number_of_conditions_is_limited(store: Arc<dyn Store>) {
    wait(async {
        let conditions = |count: usize| (0..count).map(|number| absent(&number.to_be_bytes())).collect::<Vec<_>>();
        let refused = store.commit(conditions(CONDITIONS_MAX + 1), vec![put(b"a", b"")]).await;
        assert_eq!(refused, Err(StoreError::TooLarge));
        assert!(paths(&*store).await.is_empty());
        store.commit(conditions(CONDITIONS_MAX), numbered(CHANGES_MAX)).await.unwrap();
        assert_eq!(paths(&*store).await.len(), CHANGES_MAX);
    });
}

pub(super) fn the_bytes_of_a_commit_are_limited(store: Arc<dyn Store>) {
    wait(async {
        let whole = |extra: usize| vec![put(b"a", &[7; 1000]), put(b"b", &vec![8; COMMIT_BYTES_MAX - 1002 + extra])];
        assert_eq!(store.commit(vec![], whole(1)).await, Err(StoreError::TooLarge));
        // A path counts, in a change and in a condition.
        let by_condition = store.commit(vec![absent(b"c")], whole(0)).await;
        assert_eq!(by_condition, Err(StoreError::TooLarge));
        let path = vec![b'p'; COMMIT_BYTES_MAX + 1];
        assert_eq!(store.commit(vec![], vec![delete(&path)]).await, Err(StoreError::TooLarge));
        assert!(paths(&*store).await.is_empty());
        write(&*store, whole(0)).await;
        assert_eq!(value(&*store, b"b").await.unwrap().len(), COMMIT_BYTES_MAX - 1002);
    });
}

pub(super) fn one_path_changes_once_in_a_commit(store: Arc<dyn Store>) {
    wait(async {
        for twice in [
            vec![put(b"a", b"1"), put(b"a", b"2")],
            vec![put(b"a", b"1"), put(b"b", b"1"), delete(b"a")],
            vec![delete(b"a"), delete(b"a")],
        ] {
            assert_eq!(store.commit(vec![], twice).await, Err(StoreError::TooLarge));
        }
        // A commit that is too large is so whether its conditions hold or not.
        let twice = vec![put(b"a", b"1"), delete(b"a")];
        assert_eq!(store.commit(vec![unchanged(b"x", Revision(9))], twice).await, Err(StoreError::TooLarge));
        assert!(paths(&*store).await.is_empty());
    });
}

pub(super) fn empty_paths_and_values_are_records(store: Arc<dyn Store>) {
    wait(async {
        store.commit(vec![absent(b"")], vec![put(b"", b"")]).await.unwrap();
        let entry = store.get(b"").await.unwrap().unwrap();
        assert!(entry.path.is_empty() && entry.value.is_empty());
        assert_eq!(store.scan(b"", b"\0", 9).await.unwrap().entries, std::slice::from_ref(&entry));
        conflicts(&*store, vec![absent(b"")], vec![]).await;
        store.commit(vec![unchanged(b"", entry.revision)], vec![delete(b"")]).await.unwrap();
        assert_eq!(store.get(b"").await.unwrap(), None);
    });
}

pub(super) fn paths_and_values_are_any_bytes(store: Arc<dyn Store>) {
    wait(async {
        let bytes: Vec<u8> = (0..=u8::MAX).collect();
        for byte in 0..=u8::MAX {
            write(&*store, vec![put(&[byte, 0, byte], &bytes)]).await;
        }
        assert_eq!(value(&*store, &[0xff, 0, 0xff]).await.unwrap(), bytes);
        let expected: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte, 0, byte]).collect();
        assert_eq!(paths(&*store).await, expected);
        write(&*store, vec![put(&bytes, &[0xff; 3])]).await;
        assert_eq!(value(&*store, &bytes).await.unwrap(), [0xff; 3]);
    });
}
