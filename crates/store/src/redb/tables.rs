//! How records lie in the database: one table of paths, its values headed by their revision, and one of numbers.

use std::path::Path;

use ::redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, StorageError, Table, TableDefinition, TableError,
    WriteTransaction,
};

use super::open::OpenError;
use crate::{Change, Condition, Entry, Page, Revision};

/// Paths to revision (8 bytes, big endian) and value.
pub(super) const RECORDS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("records");
/// The numbers below.
const NUMBERS: TableDefinition<'static, &str, u64> = TableDefinition::new("numbers");

/// The revision of the last commit.
const REVISION: &str = "revision";
/// How this file lays out its records.
const LAYOUT: &str = "layout";
/// The layout this program reads and writes.
const LAYOUT_KNOWN: u64 = 1;

const REVISION_BYTES: usize = size_of::<u64>();

/// What a database holds when it is opened.
enum Found {
    Nothing,
    Layout(u64, Revision),
    Foreign,
}

/// Checks the layout and reads the revision; lays out a new file.
pub(super) fn prepare(path: &Path, database: &Database) -> Result<Revision, OpenError> {
    let failed = |error: ::redb::Error| OpenError::of(path, error);
    let refuse = |detail: String| Err(OpenError::NotAStore { path: path.to_path_buf(), detail });
    match look(database).map_err(failed)? {
        Found::Nothing => lay_out(database).map(|()| Revision::default()).map_err(failed),
        Found::Layout(LAYOUT_KNOWN, revision) => Ok(revision),
        Found::Layout(other, _) => refuse(format!("its layout is {other}, this program knows {LAYOUT_KNOWN}")),
        Found::Foreign => refuse("it is the database of another program".to_owned()),
    }
}

fn look(database: &Database) -> Result<Found, ::redb::Error> {
    let reading = database.begin_read()?;
    let numbers = match reading.open_table(NUMBERS) {
        Ok(numbers) => numbers,
        Err(TableError::TableDoesNotExist(_)) if reading.list_tables()?.next().is_none() => return Ok(Found::Nothing),
        Err(TableError::TableDoesNotExist(_) | TableError::TableTypeMismatch { .. }) => return Ok(Found::Foreign),
        Err(error) => return Err(error.into()),
    };
    let number = |name: &str| numbers.get(name).map(|found| found.map(|found| found.value()));
    Ok(match (number(LAYOUT)?, number(REVISION)?) {
        (Some(layout), Some(revision)) => Found::Layout(layout, Revision(revision)),
        (Some(layout), None) => Found::Layout(layout, Revision::default()),
        (None, _) => Found::Foreign,
    })
}

fn lay_out(database: &Database) -> Result<(), ::redb::Error> {
    let writing = database.begin_write()?;
    writing.open_table(RECORDS)?;
    let mut numbers = writing.open_table(NUMBERS)?;
    numbers.insert(LAYOUT, LAYOUT_KNOWN)?;
    numbers.insert(REVISION, 0)?;
    drop(numbers);
    writing.commit()?;
    Ok(())
}

/// The revision a read transaction shows.
pub(super) fn revision(reading: &ReadTransaction) -> Result<Revision, ::redb::Error> {
    let noted = reading.open_table(NUMBERS)?.get(REVISION)?;
    let missing = || StorageError::Corrupted("the revision is missing".to_owned());
    Ok(Revision(noted.ok_or_else(missing)?.value()))
}

/// Notes the revision of the last commit of a transaction.
pub(super) fn note_revision(writing: &WriteTransaction, revision: Revision) -> Result<(), ::redb::Error> {
    writing.open_table(NUMBERS)?.insert(REVISION, revision.0)?;
    Ok(())
}

/// Whether all conditions hold.
pub(super) fn hold(
    records: &impl ReadableTable<&'static [u8], &'static [u8]>,
    conditions: &[Condition],
) -> Result<bool, StorageError> {
    for condition in conditions {
        let found = match records.get(condition.path())? {
            Some(stored) => Some(split(stored.value())?.0),
            None => None,
        };
        let holds = match condition {
            Condition::Absent(_) => found.is_none(),
            Condition::Unchanged(_, revision) => found == Some(*revision),
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Applies changes; returns those that had an effect.
pub(super) fn apply(
    records: &mut Table<'_, &'static [u8], &'static [u8]>,
    changes: Vec<Change>,
    revision: Revision,
) -> Result<Vec<Change>, StorageError> {
    let mut effective = Vec::with_capacity(changes.len());
    for change in changes {
        let had_effect = match &change {
            Change::Put(path, value) => {
                let mut stored = records.insert_reserve(path.as_slice(), REVISION_BYTES + value.len())?;
                let (head, body) = stored.as_mut().split_at_mut(REVISION_BYTES);
                head.copy_from_slice(&revision.0.to_be_bytes());
                body.copy_from_slice(value);
                true
            }
            Change::Delete(path) => records.remove(path.as_slice())?.is_some(),
        };
        if had_effect {
            effective.push(change);
        }
    }
    Ok(effective)
}

/// Runs a read; redb panics where a damaged page is not of the kind that it must be.
pub(super) fn guarded<T>(read: impl FnOnce() -> Result<T, StorageError>) -> Result<T, StorageError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).unwrap_or_else(|_| Err(damaged()))
}

/// What a page says that redb could not walk.
pub(super) fn damaged() -> StorageError {
    StorageError::Corrupted("a page is not what it has to be".to_owned())
}

/// The record at a path.
pub(super) fn get(
    records: &impl ReadableTable<&'static [u8], &'static [u8]>,
    path: &[u8],
) -> Result<Option<Entry>, StorageError> {
    let Some(stored) = records.get(path)? else { return Ok(None) };
    let (revision, value) = split(stored.value())?;
    Ok(Some(Entry { path: path.to_vec(), value: value.to_vec(), revision }))
}

/// At most `limit` records of `from..to`.
pub(super) fn scan(
    records: &impl ReadableTable<&'static [u8], &'static [u8]>,
    from: &[u8],
    to: &[u8],
    limit: usize,
) -> Result<Page, StorageError> {
    let mut page = Page::default();
    if from >= to {
        return Ok(page);
    }
    for found in records.range(from..to)? {
        let (path, stored) = found?;
        if page.entries.len() == limit {
            page.more = true;
            break;
        }
        let (revision, value) = split(stored.value())?;
        page.entries.push(Entry { path: path.value().to_vec(), value: value.to_vec(), revision });
    }
    Ok(page)
}

fn split(stored: &[u8]) -> Result<(Revision, &[u8]), StorageError> {
    let (head, value) = stored
        .split_first_chunk::<REVISION_BYTES>()
        .ok_or_else(|| StorageError::Corrupted("a record is shorter than its revision".to_owned()))?;
    Ok((Revision(u64::from_be_bytes(*head)), value))
}
