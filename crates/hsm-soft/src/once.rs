//! Values derived from a key on first use and kept.

use std::sync::OnceLock;
use strongroom_hsm::HsmError;

/// The value in `cell`, made now when there is none; two threads may both make it, one is kept.
pub(crate) fn once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T, HsmError>) -> Result<&T, HsmError> {
    if let Some(made) = cell.get() {
        return Ok(made);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}
