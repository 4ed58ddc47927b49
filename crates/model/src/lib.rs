//! The vocabulary: names, key specs, algorithms, actions, roles, errors, secret types, limits, clock.
//!
//! No I/O, no async, no HTTP. Every fact that more than one layer needs is a row of a static table here.
#![forbid(unsafe_code)]

pub mod action;
pub mod algorithm;
pub mod audit;
pub mod clock;
pub mod error;
pub mod key;
pub mod limits;
pub mod management;
pub mod name;
pub mod network;
pub mod principal;
pub mod role;
pub mod secret;
pub mod version;

pub use action::DataAction;
pub use algorithm::{Algorithm, Digest};
pub use clock::{Clock, Timestamp};
pub use error::{Error, Result};
pub use key::{Curve, KeyOp, KeyOps, KeySpec, KeyType, Operation};
pub use name::{KeyName, KeyVersion, PoolId, PoolName, VaultId};
pub use principal::Principal;
pub use role::RoleScope;
pub use secret::SecretBytes;
pub use version::ApiVersion;
