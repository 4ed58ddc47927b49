//! Who calls: the embedded issuer, and the one path by which every token is validated.
//!
//! [`Identity`] is made once and shared. The listener asks [`Identity::validate`] for every request with a token, and hands
//! the requests of the login host and of the managed-identity listener to the functions that answer with an
//! [`IdentityAnswer`]; none of them touches a socket.

mod answer;
mod assertion;
mod attempts;
mod directory;
mod discovery;
mod endpoints;
pub(crate) mod file;
mod form;
mod grant;
mod issuers;
mod json;
mod jwt;
mod managed;
mod mint;
mod objects;
mod password;
mod problem;
mod refusal;
mod service;
pub mod settings;
mod sign_in;
mod signer;
#[cfg(test)]
mod tests;
mod validate;

pub use answer::{IdentityAnswer, ManagedRequest, Page, PageRequest, TokenRequest};
pub use endpoints::{Endpoints, Resource};
pub use file::FileError;
pub use objects::{DirectoryObject, ObjectKind};
pub use problem::{DirectoryProblem, IdentityError};
pub use service::{Identity, IdentityParts};
pub use signer::{Signing, SystemSigner};

/// For the fuzzing house alone: what is taken from a key set of another issuer.
#[cfg(feature = "fuzz")]
pub fn kids_of_key_set(document: &[u8], issuer: &str, tenants: &[uuid::Uuid]) -> Option<Vec<String>> {
    issuers::kids_of_key_set(document, issuer, tenants)
}
