//! Other issuers (OpenID Connect): their settings, their keys, and what their tokens say.

mod claims;
mod fetch;
mod follow;
mod keys;
pub(super) mod settings;
mod url;

pub(super) use claims::External;
pub(super) use follow::{Followed, KeysError};
pub(super) use keys::IssuerKey;
