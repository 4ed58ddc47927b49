//! The folder of the store and its one file: nobody else may own, read or change them.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};

use super::OpenError;

/// The name of the file in the folder.
pub const FILE_NAME: &str = "store.redb";

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Everything a mode can grant to others than the owner, and the bits that change whose rights a program has.
const FOREIGN_BITS: u32 = 0o7077;

/// The opened folder, with the store's file in it.
pub(super) struct Opened {
    pub(super) folder: OwnedFd,
    pub(super) file: File,
    pub(super) path: PathBuf,
}

/// Opens the file, or makes it and the folder where there is none; refuses what others could reach.
pub(super) fn open(folder: &Path) -> Result<Opened, OpenError> {
    let made = make_folder(folder)?;
    let failed = |source: rustix::io::Errno| OpenError::Io { path: folder.to_path_buf(), source: source.into() };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let handle = rustix::fs::open(folder, flags, Mode::empty()).map_err(failed)?;
    if made {
        // mkdir obeys the umask.
        rustix::fs::fchmod(&handle, Mode::from_raw_mode(FOLDER_MODE)).map_err(failed)?;
        sync_parent(folder)?;
    }
    check(&rustix::fs::fstat(&handle).map_err(failed)?, folder, FOLDER_MODE)?;

    let path = folder.join(FILE_NAME);
    let file = open_file(&handle, &path)?;
    Ok(Opened { folder: handle, file, path })
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

/// Opens or makes the file in the opened folder; follows no symbolic link.
fn open_file(folder: &OwnedFd, path: &Path) -> Result<File, OpenError> {
    let failed = |source: rustix::io::Errno| OpenError::Io { path: path.to_path_buf(), source: source.into() };
    // NONBLOCK: opening a FIFO that somebody put there must not wait for ever.
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let fresh = flags | OFlags::CREATE | OFlags::EXCL;
    let mode = Mode::from_raw_mode(FILE_MODE);
    let file = match rustix::fs::openat(folder, FILE_NAME, fresh, mode) {
        Ok(file) => {
            rustix::fs::fchmod(&file, mode).map_err(failed)?;
            // The name is durable before the first commit is acknowledged.
            rustix::fs::fsync(folder.as_fd()).map_err(failed)?;
            file
        }
        Err(rustix::io::Errno::EXIST) => {
            rustix::fs::openat(folder, FILE_NAME, flags, Mode::empty()).map_err(|error| match error {
                rustix::io::Errno::LOOP => OpenError::NotAFile { path: path.to_path_buf() },
                other => failed(other),
            })?
        }
        Err(error) => return Err(failed(error)),
    };
    let found = rustix::fs::fstat(&file).map_err(failed)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(OpenError::NotAFile { path: path.to_path_buf() });
    }
    check(&found, path, FILE_MODE)?;
    Ok(File::from(file))
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
