//! The binary: serve, dev, bench and the processes behind them.
#![forbid(unsafe_code)]
fn main() {}
