//! Opening the database file, and why it may be refused.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::redb::backends::FileBackend;
use ::redb::{Database, StorageBackend};

use super::tables;

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Something else than a folder lies there.
    #[error("{path} is not a folder: name a folder for the store, or remove what lies there", path = .path.display())]
    NotAFolder {
        /// What was to be opened.
        path: PathBuf,
    },
    /// The store's file is a link or something else that is no regular file.
    #[error("{path} is not a regular file: move it away, the store follows no link", path = .path.display())]
    NotAFile {
        /// What was to be opened.
        path: PathBuf,
    },
    /// Others than the owner have rights.
    #[error("{path} has mode {mode:04o} and must have {wanted:04o}, so that nobody else reaches it: run chmod {wanted:o} {quoted}",
        path = .path.display(), quoted = quoted(.path))]
    LooseMode {
        /// The folder or file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode it must have.
        wanted: u32,
    },
    /// Another user owns it.
    #[error("{path} belongs to uid {owner}, this process runs as uid {process}: run as that user, or chown -R {process} it",
        path = .path.display())]
    ForeignOwner {
        /// The folder or file.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who runs.
        process: u32,
    },
    /// Another process, or another store of this one, has it open.
    #[error("{path} is locked by another process: stop it, a store has one user at a time", path = .path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file is no store, or was written by a program that is too old or too new.
    #[error("{path} is not a store this program can read ({detail}): name another folder, or use the program that wrote it",
        path = .path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file was damaged outside the store.
    #[error("{path} is damaged ({detail}): restore it from a backup", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The operating system refused.
    #[error("{path} cannot be used: {source}", path = .path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// Its words.
        source: io::Error,
    },
}

/// The path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

impl OpenError {
    pub(super) fn of(path: &Path, error: impl Into<::redb::Error>) -> Self {
        let (path, error) = (path.to_path_buf(), error.into());
        if let ::redb::Error::DatabaseAlreadyOpen = error {
            Self::Locked { path }
        } else if let ::redb::Error::UpgradeRequired(_) = error {
            Self::NotAStore { path, detail: error.to_string() }
        } else if let ::redb::Error::Corrupted(detail) = error {
            Self::Damaged { path, detail }
        } else if let ::redb::Error::Io(source) = error {
            if source.kind() == io::ErrorKind::InvalidData {
                Self::NotAStore { path, detail: source.to_string() }
            } else {
                Self::Io { path, source }
            }
        } else {
            Self::Io { path, source: io::Error::other(error) }
        }
    }
}

/// An opened database.
pub(super) struct Opened {
    pub(super) database: Database,
    /// Its last commit.
    pub(super) latest: crate::Revision,
    /// Whether all of the file had to be read, because the last process did not close it.
    pub(super) repaired: bool,
}

/// Opens a file as a database; repairs it where the last process did not close it.
pub(super) fn database(path: &Path, backend: impl StorageBackend, cache_bytes: usize) -> Result<Opened, OpenError> {
    let opened = std::panic::AssertUnwindSafe(|| opened(path, backend, cache_bytes));
    // redb panics at a page that is not of the kind that it must be.
    std::panic::catch_unwind(opened).unwrap_or_else(|_| Err(OpenError::of(path, tables::damaged())))
}

fn opened(path: &Path, backend: impl StorageBackend, cache_bytes: usize) -> Result<Opened, OpenError> {
    let repaired = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&repaired);
    let named = path.to_path_buf();
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    builder.set_repair_callback(move |_| {
        if !told.swap(true, Ordering::Relaxed) {
            tracing::warn!(path = %named.display(), "the store was not closed cleanly: checking all of it");
        }
    });
    let database = builder.create_with_backend(backend).map_err(|error| OpenError::of(path, error))?;
    let latest = tables::prepare(path, &database)?;
    Ok(Opened { database, latest, repaired: repaired.load(Ordering::Relaxed) })
}

/// Closes a database that was only laid out.
pub(super) fn close(path: &Path, database: Database) -> Result<(), OpenError> {
    database.close().map_err(|error| OpenError::of(path, error))
}

/// The operating system's file as redb wants it.
pub(super) fn file_backend(path: &Path, file: std::fs::File) -> Result<FileBackend, OpenError> {
    FileBackend::new(file).map_err(|error| OpenError::of(path, error))
}
