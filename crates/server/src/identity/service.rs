//! The identity service: what it is made of and what it answers.

use super::answer::{IdentityAnswer, ManagedRequest, TokenRequest};
use super::endpoints::Endpoints;
use super::settings::IdentitySettings;
use super::signer::SystemSigner;
use std::path::PathBuf;
use std::sync::Arc;
use strongroom_model::error::Unauthenticated;
use strongroom_model::{Clock, Principal};

/// What [`Identity`] is made of.
pub struct IdentityParts {
    /// `[identity]`
    pub settings: IdentitySettings,
    /// The installation's host names.
    pub endpoints: Endpoints,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The issuer's key: RSA, RS256; `SystemSigner::of_engine(&engine, "issuer", KeySpec::Rsa2048, Algorithm::Rs256)`.
    pub signer: SystemSigner,
}

/// Why identity does not start, or a changed directory is not taken over.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// The embedded issuer and the validation of every token; shared by all listeners.
pub struct Identity {}

#[allow(unused_variables, clippy::unused_async, clippy::unimplemented)]
impl Identity {
    /// Reads and checks the directory.
    pub fn start(parts: IdentityParts) -> Result<Arc<Self>, IdentityError> {
        unimplemented!()
    }

    /// Validates a bearer token for one audience (`endpoints.audience(Resource::ManagedHsm)` …). No I/O.
    pub fn validate(&self, token: &str, audience: &str) -> Result<Arc<Principal>, Unauthenticated> {
        unimplemented!()
    }

    /// Reads the directory again now. Tokens of principals that are gone or disabled are refused when this returns; a bad file
    /// changes nothing.
    pub fn reload(&self) -> Result<(), IdentityError> {
        unimplemented!()
    }

    /// Looks each second whether the directory (or a JWKS file) changed and reloads it, until the future is dropped.
    pub async fn watch(self: Arc<Self>) {
        unimplemented!()
    }

    /// `https://login.…/{tenant GUID}`, for `authorization=` of the challenge.
    pub fn authorization_url(&self) -> &str {
        unimplemented!()
    }

    /// `GET /{tenant}[/v2.0]/.well-known/openid-configuration`
    pub fn openid_configuration(&self, tenant: &str) -> IdentityAnswer {
        unimplemented!()
    }

    /// `GET /{tenant}/discovery[/v2.0]/keys`
    pub fn jwks(&self, tenant: &str) -> IdentityAnswer {
        unimplemented!()
    }

    /// `GET /common/discovery/instance`
    pub fn instance_discovery(&self) -> IdentityAnswer {
        unimplemented!()
    }

    /// `GET /{tenant}/userrealm/{user}`
    pub fn user_realm(&self, user: &str) -> IdentityAnswer {
        unimplemented!()
    }

    /// `POST /{tenant}/oauth2[/v2.0]/token`
    pub async fn token(&self, request: TokenRequest<'_>) -> IdentityAnswer {
        unimplemented!()
    }

    /// `GET /metadata/identity/oauth2/token[/]`
    pub async fn instance_metadata_token(&self, request: ManagedRequest<'_>) -> IdentityAnswer {
        unimplemented!()
    }

    /// `GET /msi/token`
    pub async fn app_service_token(&self, request: ManagedRequest<'_>) -> IdentityAnswer {
        unimplemented!()
    }
}
