//! Records: typed values at paths of the store, each sealed under the store key with its path as the binding.
//!
//! Whoever owns the database sees names, not contents, and cannot edit a record or put one in the place of another.

pub(crate) mod opening;
pub(crate) mod paths;
pub(crate) mod shapes;

use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use strongroom_hsm::HsmError;
use strongroom_hsm::sealed::{self, Label};
use strongroom_model::SecretBytes;
use strongroom_model::error::{Conflict, Error, Internal, Result, Unavailable};
use strongroom_store::{Change, Condition, Entry, Revision, Snapshot, Store, StoreError};
use uuid::Uuid;

/// Attempts at one replacement.
const ATTEMPTS: usize = 8;
/// The format of every value that this program writes; a value in another one is refused.
const VALUE_FORMAT: u8 = 1;

/// A type that lies in the store; its tag keeps one type's bytes from being read as another's.
pub(crate) trait Record: Serialize + DeserializeOwned {
    /// Unique among the types of `shapes`.
    const TAG: u8;
}

/// A record with the commit that last wrote it: what a change of it is conditional on.
#[derive(Clone, Debug)]
pub(crate) struct Stored<T> {
    /// The contents.
    pub(crate) value: T,
    /// Which commit wrote them.
    pub(crate) revision: Revision,
}

/// Part of a range, opened.
pub(crate) struct Range<T> {
    /// Path and record.
    pub(crate) rows: Vec<(Vec<u8>, Stored<T>)>,
    /// Whether the range holds more after the last row.
    pub(crate) more: bool,
}

/// A key that seals, with its generation.
pub(crate) struct SealingKey {
    generation: u32,
    secret: SecretBytes,
}

impl SealingKey {
    fn seal(&self, label: Label, path: &[u8], plain: &[u8]) -> std::result::Result<Vec<u8>, HsmError> {
        sealed::seal(&self.secret, self.generation, label, path, plain)
    }

    fn open(&self, label: Label, path: &[u8], bytes: &[u8]) -> std::result::Result<SecretBytes, HsmError> {
        sealed::open(|generation| (generation == self.generation).then_some(&self.secret), label, path, bytes)
    }
}

/// The store with the key to it.
pub(crate) struct Records {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    /// This node, where several share the store.
    pub(crate) node: Option<Uuid>,
    /// Present generation of the store key.
    key: SealingKey,
}

/// What a failure of the store is to a caller.
pub(crate) fn store_error(error: StoreError) -> Error {
    match error {
        StoreError::Conflict => Error::Conflict(Conflict::Concurrent),
        StoreError::TooLarge => Error::Internal(Internal::Encoding),
        StoreError::Full
        | StoreError::Failed
        | StoreError::Unknown
        | StoreError::Unreachable
        | StoreError::Compacted => Error::Unavailable(Unavailable::Store),
        StoreError::Closed => Error::Unavailable(Unavailable::Stopping),
    }
}

impl Records {
    /// Encodes and seals a value for a path.
    pub(crate) fn seal<T: Record>(&self, path: &[u8], value: &T) -> Result<Vec<u8>> {
        let plain = encode(value)?;
        self.key.seal(Label::StoreRecord, path, &plain).map_err(Error::from)
    }

    /// The change that writes a value.
    pub(crate) fn put<T: Record>(&self, path: Vec<u8>, value: &T) -> Result<Change> {
        let bytes = self.seal(&path, value)?;
        Ok(Change::Put(path, bytes))
    }

    /// Opens what was sealed for a path; whatever is wrong with it, it is damaged.
    pub(crate) fn open<T: Record>(&self, path: &[u8], bytes: &[u8]) -> Result<T> {
        let damaged = |_| {
            tracing::error!(path = %String::from_utf8_lossy(path), "a record does not open: the store was edited or is damaged");
            Error::Internal(Internal::CorruptRecord)
        };
        let plain = self.key.open(Label::StoreRecord, path, bytes).map_err(damaged)?;
        decode(plain.expose())
    }

    /// Opens what a caller gave back to us; whatever is wrong with it, it is not ours.
    pub(crate) fn open_quietly<T: Record>(&self, path: &[u8], bytes: &[u8]) -> Option<T> {
        let plain = self.key.open(Label::StoreRecord, path, bytes).ok()?;
        decode(plain.expose()).ok()
    }

    fn opened<T: Record>(&self, entry: &Entry) -> Result<Stored<T>> {
        Ok(Stored { value: self.open(&entry.path, &entry.value)?, revision: entry.revision })
    }

    /// The record at a path.
    pub(crate) async fn get<T: Record>(&self, path: &[u8]) -> Result<Option<Stored<T>>> {
        let entry = self.store.get(path).await.map_err(store_error)?;
        entry.map(|e| self.opened(&e)).transpose()
    }

    /// The record at a path of a snapshot.
    pub(crate) async fn get_from<T: Record>(&self, snapshot: &dyn Snapshot, path: &[u8]) -> Result<Option<Stored<T>>> {
        let entry = snapshot.get(path).await.map_err(store_error)?;
        entry.map(|e| self.opened(&e)).transpose()
    }

    /// Writes the record that `next` makes of the present one. A write that comes late, from a node that stood still or from
    /// a slow network, changes nothing.
    pub(crate) async fn replace<T: Record>(&self, path: &[u8], next: impl Fn(Option<T>) -> T) -> Result<T> {
        for _ in 0..ATTEMPTS {
            let present = self.get::<T>(path).await?;
            let condition = match &present {
                Some(stored) => Condition::Unchanged(path.to_vec(), stored.revision),
                None => Condition::Absent(path.to_vec()),
            };
            let value = next(present.map(|stored| stored.value));
            let change = self.put(path.to_vec(), &value)?;
            match self.store.commit(vec![condition], vec![change]).await {
                Ok(_) => return Ok(value),
                // After an unknown outcome too: what it may have written is replaced in turn.
                Err(StoreError::Conflict | StoreError::Unknown) => {}
                Err(error) => return Err(store_error(error)),
            }
        }
        Err(Error::Conflict(Conflict::Concurrent))
    }

    /// At most `limit` records of a range.
    pub(crate) async fn scan<T: Record>(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Range<T>> {
        let page = self.store.scan(from, to, limit).await.map_err(store_error)?;
        let mut rows = Vec::with_capacity(page.entries.len());
        for entry in page.entries {
            let stored = self.opened(&entry)?;
            rows.push((entry.path, stored));
        }
        Ok(Range { rows, more: page.more })
    }

    /// Every record below a prefix, read in parts.
    pub(crate) async fn scan_all<T: Record>(&self, snapshot: &dyn Snapshot, prefix: &[u8]) -> Result<Vec<Stored<T>>> {
        let (mut from, to) = (prefix.to_vec(), paths::end_of(prefix));
        let mut all = Vec::new();
        loop {
            let page = snapshot.scan(&from, &to, SCAN_PART).await.map_err(store_error)?;
            for entry in &page.entries {
                all.push(self.opened(entry)?);
            }
            match page.entries.last() {
                Some(last) if page.more => from = paths::after(&last.path),
                Some(_) | None => return Ok(all),
            }
        }
    }
}

/// Rows that one call of a scan reads.
pub(crate) const SCAN_PART: usize = 256;

/// Format, tag, contents.
fn encode<T: Record>(value: &T) -> Result<zeroize::Zeroizing<Vec<u8>>> {
    let bytes = postcard::to_extend(value, vec![VALUE_FORMAT, T::TAG]);
    bytes.map(zeroize::Zeroizing::new).map_err(|_| Error::Internal(Internal::Encoding))
}

fn decode<T: Record>(bytes: &[u8]) -> Result<T> {
    let corrupt = Error::Internal(Internal::CorruptRecord);
    let Some(([VALUE_FORMAT, tag], rest)) = bytes.split_first_chunk::<2>() else { return Err(corrupt) };
    if *tag != T::TAG {
        return Err(corrupt);
    }
    match postcard::take_from_bytes(rest) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(corrupt),
    }
}

/// 16 random bytes that no two callers share (122 of the bits are random: a UUID of version 4).
pub(crate) fn random_id() -> [u8; 16] {
    *Uuid::new_v4().as_bytes()
}
