//! Listeners, the route table, the dispatcher, handlers, and the one error renderer.

mod body;
pub mod call;
mod connection;
mod dispatch;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod handlers;
mod headers;
mod host;
mod hsm;
mod ids;
pub mod listen;
mod login;
mod path;
mod render;
pub mod route;
mod router;
pub mod service;
mod trail;

#[cfg(test)]
mod tests;

pub use listen::{
    Hold, HttpLimits, ListenAddress, ListenError, ListenSettings, Listeners, OnRuntimeStart, run, run_held,
};
pub use service::{HttpSettings, Service, ServiceError, ServiceParts};
