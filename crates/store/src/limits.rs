//! What every back end checks of a commit before it looks at the state.

use std::collections::HashSet;

use crate::{CHANGES_MAX, COMMIT_BYTES_MAX, CONDITIONS_MAX, Change, Condition, StoreError};

impl Change {
    /// The path it touches.
    pub fn path(&self) -> &[u8] {
        match self {
            Change::Put(path, _) | Change::Delete(path) => path,
        }
    }

    /// Bytes of its path and value.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Change::Put(path, value) => path.len().saturating_add(value.len()),
            Change::Delete(path) => path.len(),
        }
    }
}

impl Condition {
    /// The path it looks at.
    pub fn path(&self) -> &[u8] {
        match self {
            Condition::Absent(path) | Condition::Unchanged(path, _) => path,
        }
    }
}

/// Refuses a commit that is larger than any back end takes, or changes one path twice.
///
/// The paths of conditions count as bytes too: they travel with the commit.
pub(crate) fn check(conditions: &[Condition], changes: &[Change]) -> Result<(), StoreError> {
    if changes.len() > CHANGES_MAX || conditions.len() > CONDITIONS_MAX {
        return Err(StoreError::TooLarge);
    }
    let looked_at = conditions.iter().map(|condition| condition.path().len());
    let changed = changes.iter().map(Change::bytes);
    let bytes = looked_at.chain(changed).fold(0_usize, usize::saturating_add);
    if bytes > COMMIT_BYTES_MAX {
        return Err(StoreError::TooLarge);
    }
    let mut paths = HashSet::with_capacity(changes.len());
    if changes.iter().all(|change| paths.insert(change.path())) { Ok(()) } else { Err(StoreError::TooLarge) }
}
