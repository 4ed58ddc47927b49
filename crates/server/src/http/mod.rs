//! Listeners, the route table, the dispatcher, handlers, and the one error renderer.
