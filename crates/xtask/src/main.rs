//! The project's automation: `cargo run -p xtask` checks the rules of the tree and says what breaks them;
//! `cargo run -p xtask -- bom [FOLDER]` writes the bills of materials.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

mod bom;
mod cryptography;
mod invariants;
mod layers;
mod tidy;

/// Where the bills go unless somebody says otherwise.
const BILLS: &str = "target/bom";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => check(&root),
        ["bom"] => told(bom::write(&root, &root.join(BILLS)), BILLS),
        ["bom", folder] => told(bom::write(&root, Path::new(folder)), folder),
        _ => {
            anstream::eprintln!("usage: xtask [bom [FOLDER]]");
            ExitCode::from(2)
        }
    }
}

fn told(written: Result<(), CheckError>, folder: &str) -> ExitCode {
    match written {
        Ok(()) => {
            anstream::println!("{folder}/sbom.cdx.json\n{folder}/cbom.cdx.json");
            ExitCode::SUCCESS
        }
        Err(error) => {
            anstream::eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(root: &Path) -> ExitCode {
    match layers::broken(root).and_then(|mut broken| {
        broken.extend(tidy::broken(root)?);
        broken.extend(invariants::broken(root)?);
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
    /// `cargo metadata` does not tell what the product is made of.
    #[error("cargo metadata: it does not tell what the product is made of")]
    Product,
    /// The bill of cryptography names a library that the product does not use.
    #[error(
        "{0}: the bill of cryptography names it, and the product does not use it (crates/xtask/src/cryptography.rs)"
    )]
    Library(&'static str),
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
