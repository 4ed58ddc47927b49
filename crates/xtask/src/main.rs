//! The project's automation.
#![forbid(unsafe_code)]
fn main() {}
