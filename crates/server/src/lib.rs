//! TLS, identity, the route table, the one dispatcher, the one error renderer, audit sinks, configuration.
#![forbid(unsafe_code)]
