//! Folders that hold what nobody else may read: made 0700, and refused when they are more open.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

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
    /// The seal would lie beside what it seals.
    #[error("{seal}: lies inside the data folder {data}: keep the seal outside, whoever has both has the keys")]
    SealInside {
        /// The seal.
        seal: PathBuf,
        /// The data folder.
        data: PathBuf,
    },
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

/// Checks that the seal lies outside of the data folder, links followed.
pub fn check_seal_place(seal: &Path, data: &Path) -> Result<(), FolderError> {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let folder = seal.parent().map(real).unwrap_or_default();
    if folder.starts_with(real(data)) || real(seal).starts_with(real(data)) {
        return Err(FolderError::SealInside { seal: seal.into(), data: data.into() });
    }
    Ok(())
}

/// Writes a file of mode 0600 whole: whoever reads sees the old one or the new one.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), crate::identity::FileError> {
    crate::identity::file::replace(path, bytes, 0o600)
}

/// Reads a text file that only its owner may read or write.
pub fn read_private(path: &Path) -> Result<zeroize::Zeroizing<String>, crate::identity::FileError> {
    crate::identity::file::read_private(path).map(|(text, _)| text)
}
