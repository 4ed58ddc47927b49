//! One handler per operation: from a call to domain words, through the engine, and back to Azure's JSON.

mod base64url;
pub mod graph;
pub mod identity;
mod json;
pub mod keys;
pub mod management;
pub mod node;
pub mod roles;

#[cfg(test)]
mod tests;
