//! The project's automation: `cargo run -p xtask` checks the rules of the tree and says what breaks them.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

mod invariants;
mod layers;
mod tidy;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    match layers::broken(&root).and_then(|mut broken| {
        broken.extend(tidy::broken(&root)?);
        broken.extend(invariants::broken(&root)?);
        Ok(broken)
    }) {
        Ok(broken) if broken.is_empty() => {
            anstream::println!("the tree keeps its rules");
            ExitCode::SUCCESS
        }
        Ok(broken) => {
            for line in broken {
                anstream::eprintln!("{line}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            anstream::eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Why the rules could not be checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    /// `cargo metadata` failed.
    #[error("cargo metadata: {0}")]
    Metadata(#[from] cargo_metadata::Error),
    /// A file could not be read.
    #[error("reading the tree: {0}")]
    Read(#[from] std::io::Error),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_tree_keeps_its_rules() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(layers::broken(&root).unwrap(), Vec::<String>::new());
        assert_eq!(tidy::broken(&root).unwrap(), Vec::<String>::new());
        assert_eq!(invariants::broken(&root).unwrap(), Vec::<String>::new());
    }
}
