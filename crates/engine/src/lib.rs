//! Every rule of keys, roles, deletion, rotation and pools.
//!
//! Each operation on tenant data takes a [`Grant`], which only [`Engine::authorise`] makes. Each change takes a
//! [`Recorded`]: its audit record becomes a row of the same store commit, so a change that answered `Ok` is audited.
//! The engine names no HTTP, JSON, AWS-LC or redb thing.
#![forbid(unsafe_code)]

mod chains;
mod commit;
mod core;
mod engine;
mod follow;
mod jobs;
pub mod keys;
pub mod management;
mod network;
mod outbox;
pub mod pool;
mod pools;
mod records;
pub mod roles;
mod served;
mod sharing;
mod system;
#[cfg(test)]
mod tests;

pub use engine::{Engine, EngineParts, Grant, OutboxRow, Page, PageRequest, Recorded, StartError, SystemKey};
pub use network::PrivateEndpoint;
pub use pool::{Pool, PoolRequest, PoolState};
pub use sharing::{PROOF_HOLDS, Sharing, WithoutProof};
