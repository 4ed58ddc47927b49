//! For tests: says how many cases of a kind were tried, so that `./test` can print one table of them at its end.
//!
//! A test that tries many cases calls [`count`] when it is through. The line goes to the file that [`FILE`] names;
//! without it nothing is written. Tests of other languages write the same line (see `count` in `conftest.py`).
#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::io::Write;

/// The variable that names the file.
pub const FILE: &str = "STRONGROOM_COUNTS";

/// Adds `number` cases to a kind, such as `vectors` or `store: fault points`: a line `count NUMBER KIND`.
///
/// # Panics
///
/// When the file cannot be written: a count that is lost would make the table wrong.
#[allow(clippy::expect_used, reason = "a test that cannot report must fail")]
pub fn count(kind: &str, number: impl TryInto<u64>) {
    let number: u64 = number.try_into().ok().expect("a count fits in 64 bits");
    if let Some(file) = std::env::var_os(FILE) {
        let mut file = OpenOptions::new().create(true).append(true).open(file).expect("the file of counts opens");
        // One write: lines of tests that run at the same time do not mix.
        file.write_all(line(kind, number).as_bytes()).expect("the file of counts takes a line");
    }
}

fn line(kind: &str, number: u64) -> String {
    format!("count {number} {}\n", kind.replace(['\n', '\r'], " "))
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_kind_is_one_line() {
        assert_eq!(line("store: fault\npoints", 7), "count 7 store: fault points\n");
    }
}
