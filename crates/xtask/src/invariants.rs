//! The invariants of ARCHITECTURE.md: each names tests, and the tests exist.

use crate::CheckError;
use std::fs;
use std::path::Path;

/// Fewest invariants there are: a list that cannot be read any more is noticed.
const AT_LEAST: usize = 30;

/// Invariants without a test, and tests that are not there, a line each.
pub(crate) fn broken(root: &Path) -> Result<Vec<String>, CheckError> {
    let text = fs::read_to_string(root.join("ARCHITECTURE.md"))?;
    let mut broken = Vec::new();
    let mut count = 0;
    for line in text.lines().filter(|l| l.split_once(". ").is_some_and(|(n, _)| n.parse::<u32>().is_ok())) {
        count += 1;
        let named: Vec<&str> = line.split('`').skip(1).step_by(2).filter(|word| word.contains("::")).collect();
        if named.is_empty() {
            broken.push(format!("ARCHITECTURE.md: no test is named: {line}"));
        }
        for name in named {
            let (file, test) = name.split_once("::").unwrap_or((name, ""));
            let source = fs::read_to_string(root.join(file)).unwrap_or_default();
            // A function of Rust or Python, or a row of a table of tests.
            let forms = [format!("fn {test}("), format!("def {test}("), format!("\"{test}\"")];
            if !forms.iter().any(|form| source.contains(form)) {
                broken.push(format!("ARCHITECTURE.md: there is no test {name}"));
            }
        }
    }
    if count < AT_LEAST {
        broken.push(format!("ARCHITECTURE.md: {count} invariants, expected at least {AT_LEAST}"));
    }
    Ok(broken)
}
