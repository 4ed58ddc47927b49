//! Style as a check: sizes, leftovers, and where `unsafe` may stand.

use crate::CheckError;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest file of the product, in lines (tests are not counted).
const FILE_LINES_MAX: usize = 600;
/// Longest line, in characters.
const LINE_MAX: usize = 160;
/// Words that never reach main, in halves so that this file may stand.
const LEFTOVERS: &[(&str, &str)] =
    &[("to", "do!("), ("unimple", "mented!("), ("FIX", "ME"), ("#[ig", "nore"), ("dbg", "!(")];
/// What begins an unsafe block.
const UNSAFE: &str = concat!("unsafe", " {");
/// The one folder in which `unsafe` may stand.
const UNSAFE_HOME: &str = "crates/partition/src/confine";

/// What breaks the rules, a line each.
pub(crate) fn broken(root: &Path) -> Result<Vec<String>, CheckError> {
    let mut files = Vec::new();
    collect(&root.join("crates"), &mut files)?;
    let mut broken = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let is_test = name.contains("/tests/") || name.contains("/benches/") || name.ends_with("tests.rs");
        let product = text.split("#[cfg(test)]\nmod ").next().unwrap_or(&text);
        if !is_test && product.lines().count() > FILE_LINES_MAX {
            broken.push(format!("{name}: over {FILE_LINES_MAX} lines"));
        }
        for (number, line) in text.lines().enumerate() {
            if !is_test && line.chars().count() > LINE_MAX {
                broken.push(format!("{name}:{}: over {LINE_MAX} characters", number + 1));
            }
            for (a, b) in LEFTOVERS {
                if line.contains(&format!("{a}{b}")) {
                    broken.push(format!("{name}:{}: {a}{b}", number + 1));
                }
            }
        }
        if text.contains(UNSAFE) && !name.starts_with(UNSAFE_HOME) {
            broken.push(format!("{name}: unsafe outside of {UNSAFE_HOME}"));
        }
    }
    Ok(broken)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), CheckError> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}
