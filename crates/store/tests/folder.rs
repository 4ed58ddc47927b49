//! What the embedded store makes of its folder and file, and of what it finds there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use strongroom_store::redb::{FILE_NAME, OpenError, Options};
use strongroom_store::{Change, RedbStore, Revision, Store};
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("data");
    (outer, folder)
}

fn open(folder: &Path) -> Result<RedbStore, OpenError> {
    RedbStore::open(folder, Options::default())
}

fn refusal(folder: &Path) -> OpenError {
    open(folder).err().expect("must be refused")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn put(store: &RedbStore, path: &[u8], value: &[u8]) -> Revision {
    wait(store.commit(vec![], vec![Change::Put(path.to_vec(), value.to_vec())])).unwrap()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn folder_and_file_are_made_for_the_owner_alone() {
    let (_outer, folder) = place();
    let nested = folder.join("a/b");
    drop(open(&nested).unwrap());
    assert_eq!((mode(&folder), mode(&nested), mode(&nested.join(FILE_NAME))), (0o700, 0o700, 0o600));
}

#[test]
fn loose_modes_are_refused_with_the_command_that_helps() {
    let (_outer, folder) = place();
    drop(open(&folder).unwrap());
    let file = folder.join(FILE_NAME);
    for loose in [0o750, 0o701, 0o770, 0o1700, 0o2700] {
        set_mode(&folder, loose);
        let error = refusal(&folder);
        assert!(matches!(error, OpenError::LooseMode { mode, wanted: 0o700, .. } if mode == loose), "{error}");
        assert!(error.to_string().contains(&format!("chmod 700 {}", folder.display())), "{error}");
    }
    set_mode(&folder, 0o700);
    for loose in [0o640, 0o604, 0o620, 0o601, 0o4600] {
        set_mode(&file, loose);
        let error = refusal(&folder);
        assert!(matches!(error, OpenError::LooseMode { mode, wanted: 0o600, .. } if mode == loose), "{error}");
        assert!(error.to_string().contains(&format!("chmod 600 {}", file.display())), "{error}");
    }
    set_mode(&file, 0o600);
    drop(open(&folder).unwrap());
}

#[test]
fn a_path_with_spaces_is_quoted_in_the_hint() {
    let (_outer, folder) = place();
    let folder = folder.with_file_name("my store's");
    fs::create_dir(&folder).unwrap();
    set_mode(&folder, 0o755);
    let hint = refusal(&folder).to_string();
    assert!(hint.contains(r"my store'\''s'"), "{hint}");
}

#[test]
fn foreign_owners_are_refused() {
    // Only root can give a file away; elsewhere a folder of root's stands in.
    if !rustix::process::geteuid().is_root() {
        assert!(matches!(refusal(Path::new("/")), OpenError::ForeignOwner { owner: 0, .. }));
        return;
    }
    const NOBODY: u32 = 65534;
    let (_outer, folder) = place();
    drop(open(&folder).unwrap());
    for path in [folder.join(FILE_NAME), folder.clone()] {
        std::os::unix::fs::chown(&path, Some(NOBODY), None).unwrap();
        let error = refusal(&folder);
        assert!(matches!(error, OpenError::ForeignOwner { owner: NOBODY, process: 0, .. }), "{error}");
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    }
    drop(open(&folder).unwrap());
}

#[test]
fn what_is_no_store_is_refused() {
    let (outer, folder) = place();
    let plain = outer.path().join("plain");
    fs::write(&plain, b"").unwrap();
    assert!(matches!(refusal(&plain), OpenError::NotAFolder { .. }));
    drop(open(&folder).unwrap());
    let file = folder.join(FILE_NAME);

    // A link would lead out of the folder that nobody else can write.
    fs::rename(&file, outer.path().join("elsewhere")).unwrap();
    symlink(outer.path().join("elsewhere"), &file).unwrap();
    assert!(matches!(refusal(&folder), OpenError::NotAFile { .. }));
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(matches!(refusal(&folder), OpenError::NotAFile { .. }));
    fs::remove_dir(&file).unwrap();

    for content in [b"not a database".to_vec(), vec![0; 8192], vec![0xff; 8192]] {
        fs::write(&file, &content).unwrap();
        set_mode(&file, 0o600);
        let error = refusal(&folder);
        assert!(matches!(error, OpenError::NotAStore { .. } | OpenError::Damaged { .. }), "{error}");
        assert_eq!(fs::read(&file).unwrap(), content, "a refused file stays as it is");
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn another_programs_database_and_a_newer_layout_are_refused() {
    let (_outer, folder) = place();
    drop(open(&folder).unwrap());
    let file = folder.join(FILE_NAME);
    let numbers = redb::TableDefinition::<&str, u64>::new("numbers");
    let database = redb::Database::open(&file).unwrap();
    let writing = database.begin_write().unwrap();
    writing.open_table(numbers).unwrap().insert("layout", 2).unwrap();
    writing.commit().unwrap();
    drop(database);
    let error = refusal(&folder).to_string();
    assert!(error.contains("its layout is 2, this program knows 1"), "{error}");

    fs::remove_file(&file).unwrap();
    let database = redb::Database::create(&file).unwrap();
    let writing = database.begin_write().unwrap();
    writing.open_table(redb::TableDefinition::<u64, u64>::new("foreign")).unwrap();
    writing.commit().unwrap();
    drop(database);
    set_mode(&file, 0o600);
    assert!(matches!(refusal(&folder), OpenError::NotAStore { .. }));
}

#[test]
fn a_store_has_one_user() {
    let (_outer, folder) = place();
    let store = open(&folder).unwrap();
    let error = refusal(&folder);
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("locked by another process"), "{error}");
    assert!(matches!(RedbStore::compact(&folder, Options::default()), Err(OpenError::Locked { .. })));
    // The refused attempts took nothing from the one that is open.
    put(&store, b"a", b"1");
    drop(store);
    drop(open(&folder).unwrap());
}

#[test]
fn a_start_that_was_cut_short_leaves_nothing_in_the_way() {
    let (_outer, folder) = place();
    fs::create_dir(&folder).unwrap();
    set_mode(&folder, 0o700);
    let draft = folder.join(format!("{FILE_NAME}.new"));
    for half in [vec![], vec![0; 4096], b"redb".to_vec()] {
        fs::write(&draft, half).unwrap();
        drop(open(&folder).unwrap());
        assert!(!draft.exists());
        fs::remove_file(folder.join(FILE_NAME)).unwrap();
    }
}

#[test]
fn of_many_first_starts_one_wins() {
    for _ in 0..10 {
        let (_outer, folder) = place();
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| open(&folder))).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        let refused = |outcome: &Result<RedbStore, OpenError>| matches!(outcome, Err(OpenError::Locked { .. }));
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert!(
            won.len() == 1 && lost.iter().all(refused),
            "{:?}",
            lost.iter().map(|lost| lost.as_ref().err()).collect::<Vec<_>>()
        );
        let store = won.into_iter().next().unwrap().unwrap();
        put(&store, b"a", b"1");
    }
}

#[test]
fn records_and_revisions_outlive_the_process() {
    let (_outer, folder) = place();
    let store = open(&folder).unwrap();
    let first = put(&store, b"a", b"1");
    drop(store);
    let store = open(&folder).unwrap();
    let entry = wait(store.get(b"a")).unwrap().unwrap();
    assert_eq!((entry.value.as_slice(), entry.revision), (b"1".as_slice(), first));
    assert_eq!(wait(store.snapshot()).unwrap().revision(), first);
    assert!(put(&store, b"a", b"2") > first);
}

#[test]
fn begun_commits_are_ended_before_the_store_closes() {
    let (_outer, folder) = place();
    let store = open(&folder).unwrap();
    for number in 0..200_u8 {
        drop(store.commit(vec![], vec![Change::Put(vec![number], vec![number; 100])]));
    }
    drop(store);
    let store = open(&folder).unwrap();
    assert_eq!(wait(store.scan(b"", &[0xff], 1000)).unwrap().entries.len(), 200);
}

#[test]
fn a_snapshot_does_not_keep_the_file() {
    let (_outer, folder) = place();
    let store = open(&folder).unwrap();
    put(&store, b"a", b"1");
    let snapshot = wait(store.snapshot()).unwrap();
    drop(store);
    assert_eq!(wait(snapshot.get(b"a")), Err(strongroom_store::StoreError::Closed));
    let store = open(&folder).unwrap();
    put(&store, b"a", b"2");
    assert_eq!(wait(snapshot.scan(b"", b"z", 1)), Err(strongroom_store::StoreError::Closed));
}

#[test]
fn compaction_gives_back_room_and_keeps_records() {
    let (_outer, folder) = place();
    let store = open(&folder).unwrap();
    for round in 0..64_u8 {
        put(&store, &[round], &vec![round; 64 * 1024]);
    }
    let mut last = Revision(0);
    for round in (0..64_u8).filter(|round| round % 16 != 15) {
        last = wait(store.commit(vec![], vec![Change::Delete(vec![round])])).unwrap();
    }
    drop(store);
    let length = || fs::metadata(folder.join(FILE_NAME)).unwrap().len();
    let before = length();
    let given_back = RedbStore::compact(&folder, Options::default()).unwrap();
    assert!(given_back > 0 && before - length() == given_back, "{given_back} of {before}");
    let store = open(&folder).unwrap();
    let entries = wait(store.scan(b"", &[0xff], 9)).unwrap().entries;
    assert_eq!(entries.iter().map(|entry| entry.path[0]).collect::<Vec<_>>(), [15, 31, 47, 63]);
    assert!(entries.iter().all(|entry| entry.value == vec![entry.path[0]; 64 * 1024]));
    assert_eq!(wait(store.snapshot()).unwrap().revision(), last);
}

#[test]
fn an_emptied_file_is_damage_and_no_new_store() {
    let (_outer, folder) = place();
    drop(open(&folder).unwrap());
    fs::write(folder.join(FILE_NAME), b"").unwrap();
    let error = refusal(&folder);
    assert!(matches!(error, OpenError::Damaged { .. }) && error.to_string().contains("it is empty"), "{error}");
    assert_eq!(fs::read(folder.join(FILE_NAME)).unwrap(), b"", "nothing was begun in it");
}

#[test]
fn a_damaged_page_is_an_error_and_never_a_panic() {
    let (_outer, folder) = place();
    let store = open(&folder).unwrap();
    for number in 0..200_u8 {
        put(&store, &[number], &[number; 300]);
    }
    drop(store);
    let file = folder.join(FILE_NAME);
    let whole = fs::read(&file).unwrap();
    // The first byte of a page is its kind.
    for page in (4096..whole.len()).step_by(4096).filter(|at| matches!(whole[*at], 1 | 2)) {
        let mut changed = whole.clone();
        changed[page] ^= 0x40;
        fs::write(&file, changed).unwrap();
        if let Ok(store) = open(&folder) {
            for number in 0..200_u8 {
                if let Ok(Some(entry)) = wait(store.get(&[number])) {
                    assert_eq!(entry.value, vec![number; 300]);
                }
            }
            let _ = wait(store.scan(b"", &[0xff], 1000));
        }
    }
}
