//! Where everything lies in the cluster, which others may use too.
//!
//! ```text
//! {prefix}marker          written by every commit; empty
//! {prefix}records/{path}  a record
//! ```

use super::OpenError;

/// Bytes of a prefix, at most.
pub(super) const PREFIX_BYTES_MAX: usize = 128;
const MARKER: &[u8] = b"marker";
const RECORDS: &[u8] = b"records/";

/// See the module.
pub(super) struct Layout {
    prefix: Vec<u8>,
    records: Vec<u8>,
    marker: Vec<u8>,
}

/// What a key of the cluster is to the store.
pub(super) enum Place<'a> {
    /// A record, at this path.
    Record(&'a [u8]),
    /// The marker.
    Marker,
    /// Nothing of ours.
    Foreign,
}

impl Layout {
    pub(super) fn new(prefix: &str) -> Result<Self, OpenError> {
        let (text, prefix) = (prefix, prefix.as_bytes());
        if !prefix.ends_with(b"/") || prefix.len() > PREFIX_BYTES_MAX {
            return Err(OpenError::Prefix(text.to_owned()));
        }
        let (records, marker) = ([prefix, RECORDS].concat(), [prefix, MARKER].concat());
        Ok(Self { prefix: prefix.to_vec(), records, marker })
    }

    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    pub(super) fn marker(&self) -> &[u8] {
        &self.marker
    }

    pub(super) fn record(&self, path: &[u8]) -> Vec<u8> {
        [&self.records, path].concat()
    }

    pub(super) fn place<'a>(&self, key: &'a [u8]) -> Place<'a> {
        match key.strip_prefix(self.records.as_slice()) {
            Some(path) => Place::Record(path),
            None if key == self.marker => Place::Marker,
            None => Place::Foreign,
        }
    }
}
