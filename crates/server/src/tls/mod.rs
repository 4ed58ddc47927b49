//! The private CA, certificates from files, and the rustls configuration.

use crate::identity::SystemSigner;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use strongroom_engine::Engine;
use strongroom_model::Clock;
use strongroom_model::audit::UseStamp;

/// `[tls]`: certificates from files, or from the private CA.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The certificate chain (PEM, leaf first); read again when it changes. Without it the private CA issues one.
    #[serde(default)]
    pub certificate_chain: Option<PathBuf>,
    /// The private key of the chain's first certificate (PEM, mode 0600 or stricter).
    #[serde(default)]
    pub private_key: Option<PathBuf>,
    /// Where the private CA's certificate is written for clients (PEM, 0644).
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// What [`Tls`] is made of.
pub struct TlsParts {
    /// `[tls]`
    pub settings: TlsSettings,
    /// The installation's domain (`localhost`).
    pub domain: String,
    /// Names of the managed HSMs; each gets a name of its own in the certificate.
    pub hsm_names: Vec<String>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Holds the private CA's key and certificate; unused with certificates from files.
    pub engine: Arc<Engine>,
    /// Told of each use of the private CA's key, for the audit log.
    pub record_use: Arc<dyn Fn(UseStamp) + Send + Sync>,
}

/// Why TLS does not start, or a new certificate is not taken over.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The engine failed.
    #[error("the private CA cannot be used: {0}")]
    Engine(#[from] strongroom_model::Error),
}

/// The server's certificate, kept current, and the configuration that every listener shares.
pub struct Tls {
    _signer: Option<SystemSigner>,
}

#[allow(unused_variables, clippy::unused_async, clippy::unimplemented)]
impl Tls {
    /// Loads the files, or opens the private CA and issues a certificate; writes `ca_file`.
    pub async fn start(parts: TlsParts) -> Result<Arc<Self>, TlsError> {
        unimplemented!()
    }

    /// For the listeners: TLS 1.3 and 1.2, ALPN h2 and http/1.1. A new certificate needs no new configuration.
    pub fn server_config(&self) -> Arc<rustls::ServerConfig> {
        unimplemented!()
    }

    /// The private CA's certificate in PEM; `None` with certificates from files.
    pub fn ca_pem(&self) -> Option<&str> {
        unimplemented!()
    }

    /// Reloads changed files and renews the certificate in time, until the future is dropped.
    pub async fn run(self: Arc<Self>) {
        unimplemented!()
    }
}
