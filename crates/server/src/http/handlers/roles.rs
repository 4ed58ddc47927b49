//! Local RBAC's REST operations.

use crate::http::call::{Call, HandlerFuture};

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn list_role_assignments(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn get_role_assignment(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn create_role_assignment(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn delete_role_assignment(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn list_role_definitions(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn get_role_definition(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn set_role_definition(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn delete_role_definition(_call: Call) -> HandlerFuture {
    unimplemented!()
}
