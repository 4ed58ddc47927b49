//! The private CA, certificates from files, and the rustls configuration.

mod authority;
mod config;
mod files;
#[cfg(test)]
mod tests;

use crate::identity::{FileError, SystemSigner, file};
use authority::Authority;
use config::CurrentCertificate;
pub(crate) use config::client_config;
use files::{CertificateFiles, FileStamps};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use strongroom_engine::Engine;
use strongroom_model::audit::SystemStamp;
use strongroom_model::{Algorithm, Clock, KeySpec, Timestamp};

/// Name of the private CA's key in pool `system`, and of its certificate among the documents.
const CA: &str = "ca";
/// Mode of the CA's certificate for clients: it is public.
const CA_FILE_MODE: u32 = 0o644;
/// How often files and dates are looked at.
const WATCH_PERIOD: Duration = Duration::from_secs(1);
/// Seconds until a renewal that failed is tried again.
const RETRY_AFTER: i64 = 60;

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
    /// The machine's clock, never moved: clients compare certificates with theirs.
    pub clock: Arc<dyn Clock>,
    /// Holds the private CA's key and certificate; unused with certificates from files.
    pub engine: Arc<Engine>,
    /// Told of each use of the private CA's key, for the audit log.
    pub record_use: Arc<dyn Fn(SystemStamp) + Send + Sync>,
}

/// Why TLS does not start, or a new certificate is not taken over.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The engine failed.
    #[error("the private CA cannot be used: {0}")]
    Engine(#[from] strongroom_model::Error),
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// One of the two files is given without the other.
    #[error("certificate_chain and private_key go together: give both, or none for the private CA")]
    HalfGiven,
    /// Not a chain.
    #[error("{}: not a PEM file of one to ten certificates, the server's own first", _0.display())]
    Chain(PathBuf),
    /// Not a key.
    #[error("{}: not a PEM file with one unencrypted RSA, P-256, P-384 or P-521 private key", _0.display())]
    Key(PathBuf),
    /// The key is another one's.
    #[error("{}: not the private key of the first certificate in {}", _0.display(), _1.display())]
    KeyMismatch(PathBuf, PathBuf),
    /// A certificate of the chain is over.
    #[error("{}: a certificate expired on {_1}", _0.display())]
    Expired(PathBuf, String),
    /// A certificate of the chain has not begun.
    #[error("{}: a certificate is valid from {_1} only", _0.display())]
    NotYetValid(PathBuf, String),
    /// Not a DNS name that other names can stand below.
    #[error("domain {0:?} is not a DNS name such as localhost or kv.example.org")]
    Domain(String),
    /// The CA's key is of another kind.
    #[error("the private CA's key is not on P-256")]
    CaKey,
    /// The CA's key made a signature that does not verify.
    #[error("the private CA's signature does not verify")]
    Signature,
    /// A name cannot stand in a certificate.
    #[error("a certificate for these names cannot be made: {0}")]
    Encoding(#[from] rcgen::Error),
    /// The random source failed.
    #[error("no random numbers")]
    Random,
    /// rustls refused.
    #[error("TLS: {0}")]
    Rustls(rustls::Error),
}

/// Where the certificate comes from, and how one sees that a new one is due.
enum Source {
    Files { files: CertificateFiles, seen: Mutex<FileStamps> },
    Authority { authority: Authority, hsm_names: Vec<String>, renew_at: Mutex<Timestamp>, pem: String },
}

/// The server's certificate, kept current, and the configuration that every listener shares.
pub struct Tls {
    clock: Arc<dyn Clock>,
    source: Source,
    current: Arc<CurrentCertificate>,
    config: Arc<rustls::ServerConfig>,
}

impl Tls {
    /// Loads the files, or opens the private CA and issues a certificate; writes `ca_file`.
    pub async fn start(parts: TlsParts) -> Result<Arc<Self>, TlsError> {
        let TlsParts { settings, domain, hsm_names, clock, engine, record_use } = parts;
        match (settings.certificate_chain, settings.private_key) {
            (Some(chain), Some(key)) => Self::with_files(CertificateFiles { chain, key }, clock),
            (None, None) => {
                let signer = SystemSigner::of_engine(&engine, CA, KeySpec::EcP256, Algorithm::Es256).await?;
                let stored = engine.document(CA).await?;
                let (authority, new) = Authority::open(stored, &domain, signer, record_use, clock.now()).await?;
                if new {
                    engine.put_document(CA, authority.certificate().to_vec()).await?;
                }
                Self::with_authority(authority, hsm_names, settings.ca_file.as_deref(), clock).await
            }
            (Some(_), None) | (None, Some(_)) => Err(TlsError::HalfGiven),
        }
    }

    fn with_files(files: CertificateFiles, clock: Arc<dyn Clock>) -> Result<Arc<Self>, TlsError> {
        let (certified, stamps) = files.load(clock.now())?;
        let current = CurrentCertificate::new(certified);
        let config = config::server_config(Arc::clone(&current))?;
        let source = Source::Files { files, seen: Mutex::new(stamps) };
        Ok(Arc::new(Self { clock, source, current, config }))
    }

    async fn with_authority(
        authority: Authority,
        hsm_names: Vec<String>,
        ca_file: Option<&Path>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, TlsError> {
        let pem = pem_of(authority.certificate());
        if let Some(path) = ca_file {
            write_public(path, &pem)?;
        }
        let issued = authority.issue(&hsm_names, clock.now()).await?;
        let current = CurrentCertificate::new(issued.certified);
        let config = config::server_config(Arc::clone(&current))?;
        let source = Source::Authority { authority, hsm_names, renew_at: Mutex::new(issued.renew_at), pem };
        Ok(Arc::new(Self { clock, source, current, config }))
    }

    /// For the listeners: TLS 1.3 and 1.2, ALPN h2 and http/1.1. A new certificate needs no new configuration.
    pub fn server_config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The private CA's certificate in PEM; `None` with certificates from files.
    pub fn ca_pem(&self) -> Option<&str> {
        match &self.source {
            Source::Files { .. } => None,
            Source::Authority { pem, .. } => Some(pem),
        }
    }

    /// Reloads changed files and renews the certificate in time, until the future is dropped.
    pub async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(WATCH_PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.refresh().await {
                Ok(true) => tracing::info!("a new server certificate is in use"),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "no new server certificate: the old one stays in use"),
            }
        }
    }

    /// Takes over a new certificate when one is due; a failure is not tried again before something changes or a minute passed.
    async fn refresh(&self) -> Result<bool, TlsError> {
        let now = self.clock.now();
        match &self.source {
            Source::Files { files, seen } => {
                let stamps = files.stamps();
                if std::mem::replace(&mut *lock(seen), stamps) == stamps {
                    return Ok(false);
                }
                let (certified, loaded) = files.load(now)?;
                *lock(seen) = loaded;
                self.current.replace(certified);
            }
            Source::Authority { authority, hsm_names, renew_at, .. } => {
                if now < *lock(renew_at) {
                    return Ok(false);
                }
                *lock(renew_at) = now.plus(RETRY_AFTER);
                let issued = authority.issue(hsm_names, now).await?;
                *lock(renew_at) = issued.renew_at;
                self.current.replace(issued.certified);
            }
        }
        Ok(true)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pem_of(der: &[u8]) -> String {
    use base64::Engine as _;
    const LINE: usize = 64;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(LINE).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// Writes the file unless it already says the same.
fn write_public(path: &Path, text: &str) -> Result<(), TlsError> {
    if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    Ok(file::replace(path, text.as_bytes(), CA_FILE_MODE)?)
}
