//! The AWS-LC provider: the only code in which a plaintext private key exists.
//!
//! What each library call must be given is checked before it, so that a caller learns only that a value has the wrong
//! length or does not decrypt. Key types have no `Debug`, hold their bytes in memory that is wiped, and are parsed once.
#![forbid(unsafe_code)]

mod ec;
mod fault;
mod key;
mod oct;
mod once;
mod provider;
mod root;
mod rsa;
mod self_test;
#[cfg(test)]
mod vectors;

pub use key::SoftKey;
pub use provider::SoftProvider;
pub use root::SoftRoot;
