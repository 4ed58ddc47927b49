//! The commands beside `dev` and `serve`.

pub(crate) mod audit;
pub(crate) mod principal;
pub(crate) mod seal;
