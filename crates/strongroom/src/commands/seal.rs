//! `strongroom seal create`

use crate::failure::Failure;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Makes a seal file with new random keys.
pub(crate) fn create(path: &Path) -> Result<ExitCode, Failure> {
    strongroom_partition::keeper::create_seal(path)?;
    let _closed = writeln!(
        std::io::stdout().lock(),
        "{}: made. Without it every key is lost: keep a copy apart from every backup of the store.",
        path.display()
    );
    Ok(ExitCode::SUCCESS)
}
