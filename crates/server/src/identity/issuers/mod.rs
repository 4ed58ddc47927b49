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

/// The names of the keys that a document has for an issuer's tokens; `None` for one that is not believed.
#[cfg(feature = "fuzz")]
pub(super) fn kids_of_key_set(bytes: &[u8], issuer: &str, tenants: &[uuid::Uuid]) -> Option<Vec<String>> {
    let document = super::json::parse_object(bytes)?;
    let keys = keys::parse_keys(&document, issuer, tenants).ok()?;
    Some(keys.into_iter().map(|key| key.kid).collect())
}
