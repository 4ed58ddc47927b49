//! The files of the log: closed segments named by their first line, and the open one.

use crate::audit::AuditSettings;
use crate::audit::chain::{Hash, Head, read_link, sha256};
use crate::audit::line::Cut;
use crate::audit::writer::Writer;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The open segment.
pub(super) const CURRENT: &str = "insights-logs-auditevent.jsonl";
const NEXT: &str = "insights-logs-auditevent.jsonl.next";
const LOCK: &str = "lock";
const STEM: &str = "insights-logs-auditevent.";
const SUFFIX: &str = ".jsonl";
/// Bytes read at once when the last line is looked for.
const BLOCK: u64 = 64 << 10;

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AuditOpenError {
    /// The folder or a file cannot be made, opened, read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process has the log open.
    #[error("{0}: another process has this audit log open")]
    Locked(PathBuf),
    /// The last whole line is not what was written.
    #[error(
        "{0}: the last line was changed after it was written; keep the folder as evidence \
         (`strongroom audit verify` says more) and move it away to begin a new log"
    )]
    Changed(PathBuf),
    /// The first line could not be written.
    #[error("the audit log cannot be written: is the disk full?")]
    NotWritten,
    /// No thread could be started.
    #[error("no thread for the audit log: {0}")]
    Thread(io::Error),
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> AuditOpenError + '_ {
    move |error| AuditOpenError::Io { path: path.into(), error }
}

/// An opened log.
pub(super) struct Opened {
    pub(super) writer: Writer,
    /// What was torn and cut off.
    pub(super) cut: Option<Cut>,
}

pub(super) fn open(settings: &AuditSettings) -> Result<Opened, AuditOpenError> {
    let folder = &settings.folder;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
    let locked = lock_folder(folder)?;
    discard_next(folder).map_err(at(folder))?;
    let path = folder.join(CURRENT);
    let file = open_file(&path, true).map_err(at(&path))?;
    let tail = cut_torn_end(&file, &path)?;
    let (last, first) = match tail.last {
        Some(last) => (last, first_sequence(&path)?),
        None => {
            let last = last_of_closed(folder)?;
            (last, last.sequence + 1)
        }
    };
    sync_folder(folder).map_err(at(folder))?;
    let writer = Writer::new(file, locked, tail.len, first, last);
    Ok(Opened { writer, cut: tail.cut })
}

fn open_file(path: &Path, create: bool) -> io::Result<File> {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(path)
}

/// A lock that lives as long as the file is open.
fn lock_folder(folder: &Path) -> Result<File, AuditOpenError> {
    use rustix::fs::{FlockOperation, flock};
    let path = folder.join(LOCK);
    let file = open_file(&path, true).map_err(at(&path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(AuditOpenError::Locked(folder.into())),
        Err(error) => Err(at(&path)(error.into())),
    }
}

struct Tail {
    last: Option<Head>,
    len: u64,
    cut: Option<Cut>,
}

/// Finds the last whole line; what stands behind it is a write that a crash tore, and is cut off.
fn cut_torn_end(file: &File, path: &Path) -> Result<Tail, AuditOpenError> {
    let size = file.metadata().map_err(at(path))?.len();
    let mut end = size;
    let last = loop {
        let Some(line) = last_line(file, &mut end).map_err(at(path))? else { break None };
        let Some(link) = read_link(&line) else {
            // Whole JSON that is no line of ours was not torn by a crash.
            if serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_ok() {
                return Err(AuditOpenError::Changed(path.into()));
            }
            end -= line.len() as u64 + 1;
            continue;
        };
        if link.hash != link.computed {
            return Err(AuditOpenError::Changed(path.into()));
        }
        break Some(Head { sequence: link.sequence, hash: link.hash });
    };
    let cut = if end < size { Some(cut_off(file, end, size).map_err(at(path))?) } else { None };
    Ok(Tail { last, len: end, cut })
}

/// The last line that ends at or before `end`, without its line feed; moves `end` behind it.
fn last_line(file: &File, end: &mut u64) -> io::Result<Option<Vec<u8>>> {
    let Some(line_end) = rfind_line_feed(file, *end)? else {
        *end = 0;
        return Ok(None);
    };
    *end = line_end + 1;
    let start = rfind_line_feed(file, line_end)?.map_or(0, |at| at + 1);
    let mut line = vec![0; usize::try_from(line_end - start).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut line, start)?;
    Ok(Some(line))
}

fn rfind_line_feed(file: &File, mut end: u64) -> io::Result<Option<u64>> {
    let mut block = vec![0; BLOCK as usize];
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let part = block.get_mut(..(end - start) as usize).unwrap_or_default();
        file.read_exact_at(part, start)?;
        if let Some(found) = part.iter().rposition(|b| *b == b'\n') {
            return Ok(Some(start + found as u64));
        }
        end = start;
    }
    Ok(None)
}

fn cut_off(file: &File, end: u64, size: u64) -> io::Result<Cut> {
    let mut torn = vec![0; usize::try_from(size - end).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut torn, end)?;
    file.set_len(end)?;
    Ok(Cut { bytes: size - end, sha256: sha256(&[&torn]) })
}

/// The last line of the newest closed segment.
fn last_of_closed(folder: &Path) -> Result<Head, AuditOpenError> {
    let Some(path) = closed(folder).map_err(at(folder))?.pop() else { return Ok(Head::default()) };
    let file = File::open(&path).map_err(at(&path))?;
    let mut end = file.metadata().map_err(at(&path))?.len();
    let line = last_line(&file, &mut end).map_err(at(&path))?.unwrap_or_default();
    match read_link(&line) {
        Some(link) if link.hash == link.computed => Ok(Head { sequence: link.sequence, hash: link.hash }),
        _ => Err(AuditOpenError::Changed(path)),
    }
}

/// Number of the first line of a segment.
fn first_sequence(path: &Path) -> Result<u64, AuditOpenError> {
    let file = File::open(path).map_err(at(path))?;
    let mut line = Vec::new();
    BufReader::new(file).read_until(b'\n', &mut line).map_err(at(path))?;
    line.pop();
    read_link(&line).map(|link| link.sequence).ok_or_else(|| AuditOpenError::Changed(path.into()))
}

/// The closed segments, oldest first.
fn closed(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|n| n.strip_prefix(STEM)?.strip_suffix(SUFFIX));
        if number.is_some_and(|n| n.len() == 20 && n.bytes().all(|b| b.is_ascii_digit())) {
            found.push(folder.join(name));
        }
    }
    found.sort();
    Ok(found)
}

/// All segments, oldest first, the open one last.
pub(super) fn all(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = closed(folder)?;
    let current = folder.join(CURRENT);
    if current.try_exists()? {
        found.push(current);
    }
    Ok(found)
}

/// The hash of the line with this number, when the log holds it.
pub(super) fn hash_at(folder: &Path, sequence: u64) -> Result<Option<Hash>, AuditOpenError> {
    if sequence == 0 {
        return Ok(Some(Hash::default()));
    }
    for path in all(folder).map_err(at(folder))?.into_iter().rev() {
        let mut reader = BufReader::new(File::open(&path).map_err(at(&path))?);
        let mut line = Vec::new();
        let mut first = true;
        while reader.read_until(b'\n', &mut line).map_err(at(&path))? > 0 {
            line.pop();
            let link = read_link(&line);
            if first && link.is_some_and(|l| l.sequence > sequence) {
                break;
            }
            if let Some(link) = link.filter(|l| l.sequence == sequence) {
                return Ok((link.hash == link.computed).then_some(link.hash));
            }
            first = false;
            line.clear();
        }
    }
    Ok(None)
}

/// Makes the file that becomes the open segment.
pub(super) fn prepare_next(folder: &Path) -> io::Result<File> {
    discard_next(folder)?;
    open_file(&folder.join(NEXT), true)
}

/// Removes a next segment that was not used.
pub(super) fn discard_next(folder: &Path) -> io::Result<()> {
    match fs::remove_file(folder.join(NEXT)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Closes the open segment, whose first line has this number, and puts the next one in its place.
pub(super) fn swap(folder: &Path, first: u64) -> io::Result<()> {
    let current = folder.join(CURRENT);
    let closed = folder.join(format!("{STEM}{first:020}{SUFFIX}"));
    fs::rename(&current, &closed)?;
    fs::rename(folder.join(NEXT), &current).inspect_err(|_| {
        // Back to what was: the old segment goes on.
        let _back = fs::rename(&closed, &current);
    })
}

/// Makes renames and new files of the folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
