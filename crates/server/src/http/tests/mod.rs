//! The whole way of a request, over real TLS on loopback.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod gates;
mod hostile;
mod house;
mod managing;
mod namespaces;
mod network;
mod ports;
mod surfaces;

use house::House;
