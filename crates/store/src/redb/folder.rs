//! The folder of the store and its one file: nobody else may own, read or change them.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::OpenError;

/// The name of the file in the folder.
pub const FILE_NAME: &str = "store.redb";
/// Its name until it is laid out, so that a start that was cut short leaves no half of a store.
const DRAFT_NAME: &str = "store.redb.new";

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Everything a mode can grant to others than the owner, and the bits that change whose rights a program has.
const FOREIGN_BITS: u32 = 0o7077;

/// The opened folder of a store.
pub(super) struct Folder {
    pub(super) handle: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens the folder, or makes it; refuses one that others could reach.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let made = make_folder(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty()).map_err(failed(path))?;
        if made {
            // mkdir obeys the umask.
            rustix::fs::fchmod(&handle, Mode::from_raw_mode(FOLDER_MODE)).map_err(failed(path))?;
            sync_parent(path)?;
        }
        check(&rustix::fs::fstat(&handle).map_err(failed(path))?, path, FOLDER_MODE)?;
        Ok(Self { handle, path: path.to_path_buf() })
    }

    /// Where the store's file lies.
    pub(super) fn file_path(&self) -> PathBuf {
        self.path.join(FILE_NAME)
    }

    /// Opens the store's file; `lay_out` makes a new one a store where there is none.
    pub(super) fn file(&self, lay_out: impl FnOnce(File) -> Result<(), OpenError>) -> Result<File, OpenError> {
        let path = self.file_path();
        if let Some(file) = self.existing(&path)? {
            return Ok(file);
        }
        let io = failed(&self.path);
        rustix::fs::flock(&self.handle, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            Errno::WOULDBLOCK => OpenError::Locked { path: path.clone() },
            other => io(other),
        })?;
        let made = self.make(&path, lay_out);
        rustix::fs::flock(&self.handle, FlockOperation::Unlock).map_err(&io)?;
        made
    }

    fn make(&self, path: &Path, lay_out: impl FnOnce(File) -> Result<(), OpenError>) -> Result<File, OpenError> {
        // Somebody else may have been quicker.
        if let Some(file) = self.existing(path)? {
            return Ok(file);
        }
        let draft_path = self.path.join(DRAFT_NAME);
        let io = failed(&draft_path);
        match rustix::fs::unlinkat(&self.handle, DRAFT_NAME, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(io(error)),
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL;
        let mode = Mode::from_raw_mode(FILE_MODE);
        let draft = rustix::fs::openat(&self.handle, DRAFT_NAME, flags, mode).map_err(&io)?;
        // open obeys the umask.
        rustix::fs::fchmod(&draft, mode).map_err(&io)?;
        let draft = File::from(draft);
        let failed = |source| OpenError::Io { path: draft_path.clone(), source };
        lay_out(draft.try_clone().map_err(failed)?)?;
        draft.sync_all().map_err(failed)?;
        rustix::fs::renameat(&self.handle, DRAFT_NAME, &self.handle, FILE_NAME).map_err(&io)?;
        rustix::fs::fsync(&self.handle).map_err(&io)?;
        Ok(draft)
    }

    /// Opens the store's file if there is one; follows no symbolic link.
    fn existing(&self, path: &Path) -> Result<Option<File>, OpenError> {
        // NONBLOCK: opening a FIFO that somebody put there must not wait for ever.
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.handle, FILE_NAME, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::ISDIR) => return Err(OpenError::NotAFile { path: path.to_path_buf() }),
            Err(error) => return Err(failed(path)(error)),
        };
        let found = rustix::fs::fstat(&file).map_err(failed(path))?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(OpenError::NotAFile { path: path.to_path_buf() });
        }
        check(&found, path, FILE_MODE)?;
        if found.st_size == 0 {
            // Laid out under another name, it never was empty; redb would begin a new store in it.
            return Err(OpenError::Damaged { path: path.to_path_buf(), detail: "it is empty".to_owned() });
        }
        Ok(Some(File::from(file)))
    }
}

fn failed(path: &Path) -> impl Fn(Errno) -> OpenError + use<> {
    let path = path.to_path_buf();
    move |error| OpenError::Io { path: path.clone(), source: error.into() }
}

/// Makes the folder, and those above it; says whether it had to.
fn make_folder(folder: &Path) -> Result<bool, OpenError> {
    match folder.metadata() {
        Ok(found) if found.is_dir() => Ok(false),
        Ok(_) => Err(OpenError::NotAFolder { path: folder.to_path_buf() }),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(folder)
            .map(|()| true)
            .map_err(|source| OpenError::Io { path: folder.to_path_buf(), source }),
        Err(source) => Err(OpenError::Io { path: folder.to_path_buf(), source }),
    }
}

/// Makes a new folder's name durable.
fn sync_parent(folder: &Path) -> Result<(), OpenError> {
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let synced = File::open(parent).and_then(|parent| parent.sync_all());
    synced.map_err(|source| OpenError::Io { path: parent.to_path_buf(), source })
}

fn check(found: &Stat, path: &Path, wanted: u32) -> Result<(), OpenError> {
    let (owner, process) = (found.st_uid, rustix::process::geteuid().as_raw());
    if owner != process {
        return Err(OpenError::ForeignOwner { path: path.to_path_buf(), owner, process });
    }
    let mode = found.st_mode & 0o7777;
    if mode & FOREIGN_BITS != 0 {
        return Err(OpenError::LooseMode { path: path.to_path_buf(), mode, wanted });
    }
    Ok(())
}
