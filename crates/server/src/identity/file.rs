//! Files that decide who may log in: read whole, refused when others could read or change them, written whole.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Largest directory or JWKS file.
const FILE_MAX: u64 = 8 * 1024 * 1024;
/// Permissions of group and others.
const OTHERS: u32 = 0o077;
/// Write permission of group and others.
const OTHERS_WRITE: u32 = 0o022;

/// What tells a changed file from an unchanged one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileStamp {
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
    inode: u64,
}

impl FileStamp {
    /// The file's present stamp; `None` when it cannot be seen.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|m| Self::from_metadata(&m))
    }

    fn from_metadata(m: &Metadata) -> Self {
        Self {
            modified: (m.mtime(), m.mtime_nsec()),
            changed: (m.ctime(), m.ctime_nsec()),
            size: m.size(),
            inode: m.ino(),
        }
    }
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others could read or change it.
    #[error("{}: mode {mode:04o} lets others at it: run `chmod {advice} {}`", path.display(), path.display())]
    TooOpen {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What `chmod` is to do.
        advice: &'static str,
    },
    /// It is a folder, a device, or far too large.
    #[error("{}: not a regular file of at most 8 MiB", path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
}

/// Reads a text file that only its owner may read or write.
pub(crate) fn read_private(path: &Path) -> Result<(Zeroizing<String>, FileStamp), FileError> {
    read(path, OTHERS, "go-rwx")
}

/// Reads a text file that others may read, not write.
pub(crate) fn read_public(path: &Path) -> Result<(Zeroizing<String>, FileStamp), FileError> {
    read(path, OTHERS_WRITE, "go-w")
}

fn read(path: &Path, forbidden: u32, advice: &'static str) -> Result<(Zeroizing<String>, FileStamp), FileError> {
    let failed = |error| FileError::Io { path: path.to_owned(), error };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() || metadata.len() > FILE_MAX {
        // Asked before opening too: opening a pipe would wait for ever.
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o7777;
    if mode & forbidden != 0 {
        return Err(FileError::TooOpen { path: path.to_owned(), mode, advice });
    }
    let capacity = usize::try_from(metadata.len().min(FILE_MAX)).unwrap_or_default() + 1;
    let mut text = Zeroizing::new(String::with_capacity(capacity));
    file.take(FILE_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok((text, FileStamp::from_metadata(&metadata)))
}

/// Writes a new file with `mode` and puts it in the place of `path`; whoever reads sees the old one or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    replace_io(path, bytes, mode).map_err(|error| FileError::Io { path: path.to_owned(), error })
}

fn replace_io(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no random numbers"))?;
    let mut name = path.file_name().ok_or_else(|| io::Error::other("not a file name"))?.to_owned();
    name.push(format!(".{}.new", hex::encode(random)));
    let beside = path.with_file_name(name);
    let written = write_and_rename(&beside, path, bytes, mode);
    if written.is_err() {
        // The half-written file is of no use; that it could not be removed either adds nothing.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn write_and_rename(beside: &Path, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(mode).open(beside)?;
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(beside, path)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}
