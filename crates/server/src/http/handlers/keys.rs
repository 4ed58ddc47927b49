//! The keys API.

use crate::http::call::{Call, HandlerFuture};

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn create_key(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn import_key(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn update_key(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn get_key(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn get_keys(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn get_key_versions(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn delete_key(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn get_deleted_key(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn get_deleted_keys(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn recover_deleted_key(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn purge_deleted_key(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn rotate_key(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn get_key_rotation_policy(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn update_key_rotation_policy(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn encrypt(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn decrypt(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn sign(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn verify(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn wrap_key(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn unwrap_key(_call: Call) -> HandlerFuture {
    unimplemented!()
}

/// See the API operation of this name.
#[allow(clippy::unimplemented)]
pub fn get_random_bytes(_call: Call) -> HandlerFuture {
    unimplemented!()
}
