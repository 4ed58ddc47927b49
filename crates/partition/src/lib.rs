//! The keeper and the confined process around a provider: start, sandbox, message codec, healing.
//!
//! Three processes (DESIGN 3): [`keeper`] holds the key-encryption key and starts the two others; [`process`] is a partition,
//! the only one in which keys exist in the clear; [`client`] is the service's end of the sockets between them. [`core`] is what
//! a partition does, without any process around it; [`local`] runs it in threads of the calling process.
#![deny(unsafe_code)]

pub mod client;
pub mod codec;
pub mod confine;
pub mod core;
pub mod keeper;
pub mod local;
mod memory;
pub mod process;
mod wire;
