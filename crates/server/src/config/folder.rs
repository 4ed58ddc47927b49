//! Folders that hold what nobody else may read: made 0700, and refused when they are more open.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Permission bits of group and others.
const OTHERS: u32 = 0o077;
/// Made and removed again, to see whether the folder takes files.
const PROBE: &str = ".strongroom-probe";

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is not there.
    #[error("{0}: no such folder: make it with `mkdir -m 0700 {0}`")]
    Missing(PathBuf),
    /// It is something else.
    #[error("{0}: not a folder")]
    NotAFolder(PathBuf),
    /// Others can reach into it.
    #[error("{path}: mode {mode:04o} lets others into the folder: run `chmod 0700 {path}`")]
    TooOpen {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("{path}: belongs to user {owner}, this process is user {us}: run as that user, or `chown {us} {path}`")]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Whose.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// No file can be made in it.
    #[error("{path}: not writable: {error}")]
    NotWritable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The service could read the seal.
    #[error(
        "{seal}: the seal lies in {folder}, where the service must get at files (setting {setting}), so that whoever takes the \
         service over has the keys: move the seal to a folder of its own, such as /etc/strongroom-seal/, and say so in seal"
    )]
    SealReached {
        /// The seal.
        seal: PathBuf,
        /// The folder.
        folder: PathBuf,
        /// Why the service is let into it.
        setting: &'static str,
    },
    /// A folder that the service works in is not there, or cannot be looked into.
    #[error("{setting}: {folder} is not a folder that can be reached: make it, or correct the setting")]
    Unreachable {
        /// The setting.
        setting: &'static str,
        /// The folder.
        folder: PathBuf,
    },
    /// Another installation works in it.
    #[error("{0}: another Strongroom runs on this data folder: stop it, or choose another folder")]
    InUse(PathBuf),
}

/// Makes a folder of mode 0700 when there is none, with those above it; then checks it.
pub fn make_private_folder(path: &Path) -> Result<(), FolderError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
        if path.exists() {
            FolderError::NotAFolder(path.into())
        } else {
            FolderError::NotWritable { path: path.into(), error }
        }
    })?;
    check_data_folder(path)
}

/// Checks that a folder is there, ours, closed to others, and takes files.
pub fn check_data_folder(path: &Path) -> Result<(), FolderError> {
    let metadata = fs::metadata(path).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            FolderError::Missing(path.into())
        } else {
            FolderError::NotWritable { path: path.into(), error }
        }
    })?;
    if !metadata.is_dir() {
        return Err(FolderError::NotAFolder(path.into()));
    }
    let us = rustix::process::geteuid().as_raw();
    if metadata.uid() != us {
        return Err(FolderError::Foreign { path: path.into(), owner: metadata.uid(), us });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(FolderError::TooOpen { path: path.into(), mode });
    }
    let probe = path.join(PROBE);
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&probe);
    made.and_then(|_| fs::remove_file(&probe)).map_err(|error| FolderError::NotWritable { path: path.into(), error })
}

/// How long a folder that is in use is asked for again: a keeper that was killed takes a moment to end.
const IN_USE_PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two tries.
const IN_USE_PAUSE: Duration = Duration::from_millis(20);

/// Takes the data folder for as long as the result is open, in whatever process.
pub fn lock_data_folder(path: &Path) -> Result<File, FolderError> {
    use rustix::fs::{FlockOperation, flock};
    let failed = |error| FolderError::NotWritable { path: path.into(), error };
    let folder = File::open(path).map_err(failed)?;
    let begun = Instant::now();
    loop {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(folder),
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < IN_USE_PATIENCE => thread::sleep(IN_USE_PAUSE),
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(FolderError::InUse(path.into())),
            Err(error) => return Err(failed(error.into())),
        }
    }
}

/// Writes a file that everybody may read (0644) whole.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), crate::identity::FileError> {
    crate::identity::file::replace(path, bytes, 0o644)
}

/// Writes a file of mode 0600 whole: whoever reads sees the old one or the new one.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), crate::identity::FileError> {
    crate::identity::file::replace(path, bytes, 0o600)
}

/// Reads a text file that only its owner may read or write.
pub fn read_private(path: &Path) -> Result<zeroize::Zeroizing<String>, crate::identity::FileError> {
    crate::identity::file::read_private(path).map(|(text, _)| text)
}
