//! The rustls configuration: which protocol versions, suites and key exchanges, and which certificate is current.

use super::TlsError;
use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::crypto::aws_lc_rs::{Ticketer, cipher_suite as suite, default_provider, kx_group};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedCipherSuite};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroize;

/// AEAD suites with forward secrecy only.
const SUITES: &[SupportedCipherSuite] = &[
    suite::TLS13_AES_256_GCM_SHA384,
    suite::TLS13_AES_128_GCM_SHA256,
    suite::TLS13_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The provider, passed explicitly everywhere: there is no process-wide one. The post-quantum hybrid comes first.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: SUITES.to_vec(),
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..default_provider()
    }
}

/// The configuration of connections that we make: the same versions and suites, one protocol, no certificate of our own.
pub(crate) fn client_config(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()));
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12])?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A chain with the private key of its first certificate; the key's encoding is wiped.
pub(super) fn certified(
    chain: Vec<CertificateDer<'static>>,
    mut key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, rustls::Error> {
    let signing = any_supported_type(&key);
    key.zeroize();
    let certified = CertifiedKey::new(chain, signing?);
    certified.keys_match().map(|()| certified)
}

/// The configuration of every listener; the certificate is asked for at each handshake.
pub(super) fn server_config(certificate: Arc<CurrentCertificate>) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::new(provider()));
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).map_err(TlsError::Rustls)?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = Ticketer::new().map_err(TlsError::Rustls)?;
    config.ignore_client_order = true;
    Ok(Arc::new(config))
}

/// The certificate that the next handshake gets; connections keep theirs.
pub(super) struct CurrentCertificate(ArcSwap<CertifiedKey>);

impl CurrentCertificate {
    pub(super) fn new(certified: CertifiedKey) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(certified)))
    }

    pub(super) fn replace(&self, certified: CertifiedKey) {
        self.0.store(Arc::new(certified));
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for CurrentCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CurrentCertificate")
    }
}
