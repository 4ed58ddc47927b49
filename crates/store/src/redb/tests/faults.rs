//! Every operation of a script on the disk fails once, in every way; then the power fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::disk::{Crash, Disk, Fault};
use super::{lay_out, open_over, wait};
use crate::{Change, Condition, Entry, Revision, Store, StoreError};

type Records = BTreeMap<Vec<u8>, (Vec<u8>, Revision)>;

/// What the store may hold: the state after each commit that takes place.
struct Model {
    states: Vec<Records>,
}

impl Model {
    fn latest(&self) -> &Records {
        self.states.last().unwrap()
    }

    /// Applies a commit; says which revision it must get, or that it must be refused.
    fn commit(&mut self, conditions: &[Condition], changes: &[Change]) -> Result<Revision, StoreError> {
        let mut next = self.latest().clone();
        let holds = conditions.iter().all(|condition| match condition {
            Condition::Absent(path) => !next.contains_key(path),
            Condition::Unchanged(path, revision) => next.get(path).is_some_and(|(_, found)| found == revision),
        });
        if !holds {
            return Err(StoreError::Conflict);
        }
        let revision = Revision(self.states.len() as u64);
        for change in changes {
            match change {
                Change::Put(path, value) => next.insert(path.clone(), (value.clone(), revision)),
                Change::Delete(path) => next.remove(path),
            };
        }
        self.states.push(next);
        Ok(revision)
    }
}

/// What the script commits in a step: one number of commits at once, of several sizes, some of them refused.
fn commits(step: u8, model: &Model) -> Vec<(Vec<Condition>, Vec<Change>)> {
    let path = |number: u8| vec![b'p', number];
    let size = [10, 700, 9_000, 30_000][usize::from(step % 4)];
    let put = |number: u8| Change::Put(path(number), vec![step; size + usize::from(number)]);
    let stale = Condition::Unchanged(path(0), Revision(u64::MAX));
    let mut all = vec![
        (vec![], vec![put(step), put(step + 100), Change::Delete(path(step.wrapping_sub(3)))]),
        (vec![stale], vec![Change::Delete(path(step))]),
    ];
    if step % 2 == 1 {
        // Sees the first one of its own batch.
        all.push((vec![Condition::Absent(path(step))], vec![put(200)]));
        all.push((vec![Condition::Absent(path(201))], vec![put(201), Change::Delete(path(step + 100))]));
    }
    if let Some((_, revision)) = model.latest().get(&path(201)) {
        all.push((vec![Condition::Unchanged(path(201), *revision)], vec![Change::Delete(path(201))]));
    }
    all
}

const STEPS: u8 = 8;

/// What a run of the script told.
struct Told {
    model: Model,
    /// The state of the model after the last acknowledged commit.
    acknowledged: usize,
    /// Whether the store was laid out; before that its file has another name and is thrown away.
    laid_out: bool,
}

/// Runs the script, until the store fails or to the end.
fn run(disk: &Disk, room: &Arc<AtomicU64>) -> Told {
    run_with(disk, room, |_| {})
}

/// The same; `between` comes after each step that went well, while the store is open.
fn run_with(disk: &Disk, room: &Arc<AtomicU64>, mut between: impl FnMut(&Told)) -> Told {
    let mut told = Told { model: Model { states: vec![Records::new()] }, acknowledged: 0, laid_out: false };
    if lay_out(disk).is_err() {
        return told;
    }
    told.laid_out = true;
    let Ok(store) = open_over(disk.clone(), room) else { return told };
    for step in 0..STEPS {
        let mut pending = Vec::new();
        for (conditions, changes) in commits(step, &told.model) {
            let expected = told.model.commit(&conditions, &changes);
            pending.push((expected, told.model.states.len() - 1, store.commit(conditions, changes)));
        }
        let mut failed = false;
        for (expected, state, commit) in pending {
            match wait(commit) {
                Err(StoreError::Failed) => failed = true,
                outcome => {
                    assert!(!failed, "a commit was answered after one that failed");
                    assert_eq!(outcome, expected);
                    told.acknowledged = state;
                }
            }
        }
        if failed {
            stays_failed(&store);
            break;
        }
        let entries = wait(store.scan(b"", &[0xff], 1000)).map(|page| page.entries);
        match entries {
            Ok(entries) => assert_eq!(records(entries), *told.model.latest()),
            Err(error) => {
                assert_eq!(error, StoreError::Failed);
                break;
            }
        }
        between(&told);
    }
    told
}

fn records(entries: Vec<Entry>) -> Records {
    entries.into_iter().map(|entry| (entry.path, (entry.value, entry.revision))).collect()
}

fn stays_failed(store: &crate::RedbStore) {
    wait(async {
        for _ in 0..2 {
            let changes = vec![Change::Put(b"after".to_vec(), vec![])];
            assert_eq!(store.commit(vec![], changes).await, Err(StoreError::Failed));
            assert_eq!(store.get(b"after").await, Err(StoreError::Failed));
            assert_eq!(store.snapshot().await.err(), Some(StoreError::Failed));
            assert_eq!(store.watch(b"", Revision(0)).await.err(), Some(StoreError::Failed));
        }
    });
}

/// Opens what is left: it is the state after the last acknowledged commit or a later one, and it works.
fn check(disk: &Disk, crash: Crash, told: &Told, room: &Arc<AtomicU64>, what: &str) {
    if !told.laid_out {
        return;
    }
    let disk = disk.after(crash);
    let store = open_over(disk.clone(), room).unwrap_or_else(|error| panic!("{what}: does not open: {error}"));
    wait(async {
        let left = records(store.scan(b"", &[0xff], 1000).await.unwrap().entries);
        let revision = store.snapshot().await.unwrap().revision();
        let state = usize::try_from(revision.0).unwrap();
        assert!(state >= told.acknowledged, "{what}: acknowledged {} lost at {state}", told.acknowledged);
        assert!(state < told.model.states.len(), "{what}: {state} was never committed");
        assert_eq!(left, told.model.states[state], "{what}: half a commit");
        let next = store.commit(vec![], vec![Change::Put(b"after".to_vec(), vec![])]).await;
        assert_eq!(next, Ok(Revision(revision.0 + 1)), "{what}");
    });
    drop(store);
    let store = open_over(disk, room).unwrap();
    assert!(wait(store.get(b"after")).unwrap().is_some(), "{what}");
}

fn crashes(number: u64) -> [Crash; 3] {
    [Crash::Lost, Crash::Kept, Crash::Torn(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))]
}

#[test]
fn every_failing_write_sync_and_change_of_length() {
    let room = Arc::new(AtomicU64::new(u64::MAX));
    let sound = Disk::default();
    let told = run(&sound, &room);
    assert!(told.laid_out && told.acknowledged == told.model.states.len() - 1 && told.acknowledged > 12);
    let total = sound.counts().0;
    assert!(total > 100, "{total} operations are too few to prove anything");
    let (mut failed, mut crashed) = (0, 0);
    for number in 1..=total {
        for fault in [Fault::Broken, Fault::Full, Fault::Short] {
            let disk = Disk::default();
            disk.fail_write(number, fault);
            let told = run(&disk, &room);
            failed += u32::from(disk.failed());
            for crash in crashes(number) {
                check(&disk, crash, &told, &room, &format!("{fault:?} at {number} of {total}, {crash:?}"));
                crashed += 1;
            }
        }
    }
    // Batches may fall differently, so not every run reaches the last operations.
    assert!(u64::from(failed) > total * 3 * 8 / 10, "only {failed} faults took place");
    strongroom_counts::count("store: failing writes, syncs and changes of length", failed);
    strongroom_counts::count("store: power losses after them", crashed);
}

#[test]
fn power_failure_between_commits() {
    let room = Arc::new(AtomicU64::new(u64::MAX));
    let disk = Disk::default();
    let mut seed = 0;
    let told = run_with(&disk, &room, |told| {
        assert_eq!(told.acknowledged, told.model.states.len() - 1);
        for _ in 0..10 {
            seed += 1;
            for crash in crashes(seed) {
                check(&disk, crash, told, &room, &format!("{crash:?}"));
            }
        }
    });
    for crash in crashes(0) {
        check(&disk, crash, &told, &room, &format!("closed, {crash:?}"));
    }
}

#[test]
fn every_failing_read() {
    let room = Arc::new(AtomicU64::new(u64::MAX));
    let sound = Disk::default();
    run(&sound, &room);
    let (_, total) = sound.counts();
    assert!(total > 0);
    for number in 1..=total {
        let disk = Disk::default();
        disk.fail_read(number);
        let told = run(&disk, &room);
        check(&disk, Crash::Kept, &told, &room, &format!("read {number} of {total}"));
    }
    strongroom_counts::count("store: failing reads", total);
}
