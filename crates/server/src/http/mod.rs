//! Listeners, the route table, the dispatcher, handlers, and the one error renderer.

pub mod call;
pub mod handlers;
