//! TLS, identity, the route table, the one dispatcher, the one error renderer, audit sinks, configuration.
#![forbid(unsafe_code)]

pub mod audit;
pub mod config;
pub mod http;
pub mod identity;
pub mod steps;
pub mod tls;
