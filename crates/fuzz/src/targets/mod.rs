//! The targets, a module each: `run` with the oracle, `seeds` with inputs that reach deep.

pub(crate) mod assertion;
pub(crate) mod audit_log;
pub(crate) mod binding;
pub(crate) mod certificate;
pub(crate) mod checkpoint;
pub(crate) mod configuration;
pub(crate) mod directory;
pub(crate) mod engine;
pub(crate) mod frame;
pub(crate) mod handlers;
pub(crate) mod host;
pub(crate) mod identity;
pub(crate) mod key_set;
pub(crate) mod partition;
pub(crate) mod path;
pub(crate) mod sealed;
pub(crate) mod sign_in;
pub(crate) mod skip_token;
pub(crate) mod token;
pub(crate) mod token_request;
