//! A certificate from files: checked as a whole before it is used.

use super::TlsError;
use super::config::certified;
use crate::identity::file::{FileStamp, read_private, read_public};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use strongroom_model::Timestamp;

/// Certificates of one chain.
const CHAIN_MAX: usize = 10;

/// Where chain and key are.
#[derive(Clone)]
pub(super) struct CertificateFiles {
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
}

/// What both files looked like; `None` for one that cannot be seen.
pub(super) type FileStamps = [Option<FileStamp>; 2];

impl CertificateFiles {
    /// Loads both files: the key must be the first certificate's, and that one valid now.
    pub(super) fn load(&self, now: Timestamp) -> Result<(CertifiedKey, FileStamps), TlsError> {
        let (chain_text, chain_stamp) = read_public(&self.chain)?;
        let (key_text, key_stamp) = read_private(&self.key)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain_text.as_bytes()).collect();
        let chain = chain.map_err(|_| TlsError::Chain(self.chain.clone()))?;
        if chain.is_empty() || chain.len() > CHAIN_MAX {
            return Err(TlsError::Chain(self.chain.clone()));
        }
        for certificate in &chain {
            check_validity(&self.chain, certificate, now)?;
        }
        let key = PrivateKeyDer::from_pem_slice(key_text.as_bytes()).map_err(|_| TlsError::Key(self.key.clone()))?;
        let certified = certified(chain, key).map_err(|error| {
            if matches!(error, rustls::Error::InconsistentKeys(_)) {
                TlsError::KeyMismatch(self.key.clone(), self.chain.clone())
            } else {
                TlsError::Key(self.key.clone())
            }
        })?;
        Ok((certified, [Some(chain_stamp), Some(key_stamp)]))
    }

    /// What both files look like now.
    pub(super) fn stamps(&self) -> FileStamps {
        [FileStamp::of(&self.chain), FileStamp::of(&self.key)]
    }
}

fn check_validity(path: &Path, der: &CertificateDer<'_>, now: Timestamp) -> Result<(), TlsError> {
    let parsed = x509_parser::parse_x509_certificate(der);
    let (_, certificate) = parsed.map_err(|_| TlsError::Chain(path.to_owned()))?;
    let validity = certificate.validity();
    if now.0 > validity.not_after.timestamp() {
        return Err(TlsError::Expired(path.to_owned(), validity.not_after.to_string()));
    }
    if now.0 < validity.not_before.timestamp() {
        return Err(TlsError::NotYetValid(path.to_owned(), validity.not_before.to_string()));
    }
    Ok(())
}
