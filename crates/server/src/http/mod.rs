//! Listeners, the route table, the dispatcher, handlers, and the one error renderer.

pub(crate) mod bench;
mod body;
pub mod call;
mod connection;
mod dispatch;
mod endpoint;
mod firewall;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod handlers;
mod headers;
mod host;
mod hsm;
mod ids;
pub mod listen;
mod login;
mod management;
mod management_routes;
mod path;
mod proxy_protocol;
mod render;
pub mod route;
mod router;
pub mod service;
mod sockets;
mod trail;

#[cfg(test)]
mod tests;

pub use listen::{
    EndpointPlace, Hold, HttpLimits, ListenAddress, ListenEndpoint, ListenError, ListenSettings, Listeners,
    OnRuntimeStart, run, run_held,
};
pub use service::{HttpSettings, Service, ServiceError, ServiceParts};
