//! The boundary to the keys: its verbs, binding, sealed format, capabilities, and the suite every provider must pass.
//!
//! Outside of it nothing holds a private or symmetric key in the clear. [`verbs::Request`] is all that can be asked of a
//! partition; review it and you have reviewed the door.
#![forbid(unsafe_code)]

pub mod binding;
mod canonical;
pub mod chain;
pub mod error;
pub mod gateway;
pub mod provider;
pub mod sealed;
pub mod suite;
pub mod verbs;

pub use binding::{Binding, KeyDraft, KeyKind, RebindChange};
pub use chain::{Act, Entry};
pub use error::HsmError;
pub use gateway::{Gateway, Partitions};
pub use provider::Provider;
pub use verbs::{KeyBlob, KeyMade, PublicKey, Reply, Request};
