//! The engine as a whole, on a store in memory and partitions on paper.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::wildcard_enum_match_arm)]

mod house;
mod paper;

mod access;
mod audit;
mod basics;
mod closure;
mod deleting;
mod golden;
mod lists;
mod managing;
mod nodes;
mod races;
mod real;
mod rotating;
mod scale;
mod starting;
mod uses;
