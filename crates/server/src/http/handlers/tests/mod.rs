//! Every handler on a real engine: a store in memory, keys of the software provider in this process.
#![allow(clippy::unwrap_used)]

mod hostile;
mod house;
mod keys;
mod operations;
mod roles;
