//! The real binary: what it makes, prints and refuses, and how it starts and stops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod commands;
mod dev;
mod house;
mod serve;
