//! Certificates as clients see them: handshakes in memory, other implementations on the command line.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use super::*;
use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use rustls::{ClientConfig, NamedGroup, ProtocolVersion, RootCertStore};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use strongroom_hsm::PublicKey;
use strongroom_model::clock::{DAY, ManualClock};
use strongroom_model::{Curve, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const HSMS: &[&str] = &["demo", "Second"];

/// The real time: OpenSSL and rustls compare with it.
fn now() -> Timestamp {
    strongroom_model::clock::SystemClock { offset: 0 }.now()
}

fn ca_signer() -> SystemSigner {
    let key = Arc::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
    let point = key.public_key().as_ref().to_vec();
    let public = PublicKey::Ec { curve: Curve::P256, x: point[1..33].to_vec(), y: point[33..].to_vec() };
    SystemSigner::new(public, move |sha256| {
        let key = Arc::clone(&key);
        Box::pin(async move {
            let digest = Digest::import_less_safe(&sha256, &SHA256).map_err(|_| Error::MethodNotAllowed)?;
            let signature = key.sign_digest(&digest).map_err(|_| Error::MethodNotAllowed)?;
            Ok((
                signature.as_ref().to_vec(),
                SystemStamp {
                    place: strongroom_model::audit::UseStamp {
                        chain: [1; 16],
                        sequence: 1,
                        hash: [2; 32],
                        time: Timestamp(0),
                        generation: 1,
                    },
                    key: "systemkeys/k/1".into(),
                },
            ))
        })
    })
}

async fn open(stored: Option<Vec<u8>>, domain: &str, signer: &SystemSigner, at: Timestamp) -> (Authority, bool) {
    Authority::open(stored, domain, signer.clone(), Arc::new(|_| {}), at).await.unwrap()
}

async fn new_authority() -> Authority {
    open(None, "localhost", &ca_signer(), now()).await.0
}

fn hsm_names() -> Vec<String> {
    HSMS.iter().map(|n| (*n).to_owned()).collect()
}

fn roots(ca: &CertificateDer<'static>) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).unwrap();
    Arc::new(roots)
}

/// Whether rustls, as a client that trusts `ca`, takes the certificate for the name.
fn verifies(ca: &CertificateDer<'static>, chain: &[CertificateDer<'static>], name: &str) -> bool {
    use rustls::client::danger::ServerCertVerifier;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(ca), provider).build().unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now()).is_ok()
}

fn client(ca: &CertificateDer<'static>, version: &'static rustls::SupportedProtocolVersion) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let mut config = builder.with_root_certificates(roots(ca)).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    config
}

/// Both ends of a connection in memory.
async fn connect(
    server: Arc<rustls::ServerConfig>,
    client: ClientConfig,
) -> std::io::Result<(
    tokio_rustls::client::TlsStream<tokio::io::DuplexStream>,
    tokio_rustls::server::TlsStream<tokio::io::DuplexStream>,
)> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("demo.managedhsm.localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let acceptor = TlsAcceptor::from(server);
    let (client, server) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
    Ok((client?, server?))
}

fn leaf_of(stream: &tokio_rustls::client::TlsStream<tokio::io::DuplexStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn every_name_is_covered_and_no_other() {
    let authority = new_authority().await;
    let issued = authority.issue(&hsm_names(), now()).await.unwrap();
    let (ca, chain) = (authority.certificate(), &issued.certified.cert);
    for name in [
        "localhost",
        "login.localhost",
        "management.localhost",
        "graph.localhost",
        "demo.managedhsm.localhost",
        "second.managedhsm.localhost",
        "demo.privatelink.managedhsm.localhost",
        "any.privatelink.managedhsm.localhost",
        "any.managedhsm.localhost",
        "any.vault.localhost",
        "127.0.0.1",
        "::1",
    ] {
        assert!(verifies(ca, chain, name), "{name}");
    }
    for name in
        ["example.org", "other.localhost", "a.b.vault.localhost", "localhost.example.org", "127.0.0.2", "10.0.0.1"]
    {
        assert!(!verifies(ca, chain, name), "{name}");
    }
}

#[tokio::test]
async fn a_certificate_outside_the_constraints_is_worth_nothing() {
    let authority = new_authority().await;
    for name in ["example.org", "login.microsoftonline.com", "notlocalhost", "localhost.example.org"] {
        let issued = authority.issue_for(vec![name.to_owned()], &[], now()).await.unwrap();
        assert!(!verifies(authority.certificate(), &issued.certified.cert, name), "{name}");
    }
    for address in ["10.0.0.1", "128.0.0.1", "169.254.169.254", "::2", "fe80::1"] {
        let issued = authority.issue_for(Vec::new(), &[address.parse().unwrap()], now()).await.unwrap();
        assert!(!verifies(authority.certificate(), &issued.certified.cert, address), "{address}");
    }
    let inside: IpAddr = "127.9.9.9".parse().unwrap();
    let issued = authority.issue_for(Vec::new(), &[inside], now()).await.unwrap();
    assert!(verifies(authority.certificate(), &issued.certified.cert, "127.9.9.9"));
}

#[tokio::test]
async fn the_ca_says_what_it_is() {
    let authority = new_authority().await;
    let (_, ca) = x509_parser::parse_x509_certificate(authority.certificate()).unwrap();
    let basic = ca.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && basic.value.ca && basic.value.path_len_constraint == Some(0));
    let usage = ca.key_usage().unwrap().unwrap();
    assert!(
        usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign() && !usage.value.digital_signature()
    );
    assert!(ca.name_constraints().unwrap().unwrap().critical);
    let days = (ca.validity().not_after.timestamp() - ca.validity().not_before.timestamp()) / DAY;
    assert_eq!(days, 3650);
    let at = now();
    let issued = authority.issue(&[], at).await.unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(&issued.certified.cert[0]).unwrap();
    let eku = leaf.extended_key_usage().unwrap().unwrap();
    assert!(eku.value.server_auth && !eku.value.client_auth && !eku.value.any);
    assert!(!leaf.is_ca());
    assert_eq!(leaf.validity().not_after.timestamp(), at.0 + 90 * DAY);
    assert_eq!(leaf.issuer(), ca.subject());
}

#[tokio::test]
async fn a_stored_certificate_is_kept_while_it_is_right() {
    let signer = ca_signer();
    let at = now();
    let (first, new) = open(None, "localhost", &signer, at).await;
    assert!(new);
    let stored = first.certificate().to_vec();
    let (second, new) = open(Some(stored.clone()), "LOCALHOST", &signer, at.plus(3284 * DAY)).await;
    assert!(!new && second.certificate() == first.certificate());
    for (name, stored, domain, signer, at) in [
        ("another domain", stored.clone(), "kv.example", signer.clone(), at),
        ("another key", stored.clone(), "localhost", ca_signer(), at),
        ("nearly over", stored.clone(), "localhost", signer.clone(), at.plus(3285 * DAY)),
        ("of the future", stored.clone(), "localhost", signer.clone(), at.plus(-2 * 3600)),
        ("damaged", stored[..100].to_vec(), "localhost", signer.clone(), at),
        ("nothing", Vec::new(), "localhost", signer, at),
    ] {
        let (_, new) = open(Some(stored), domain, &signer, at).await;
        assert!(new, "{name}");
    }
}

#[tokio::test]
async fn a_signature_that_does_not_verify_never_becomes_a_certificate() {
    let PublicKey::Ec { curve, x, y } = ca_signer().public().clone() else { panic!("an EC key") };
    let other = ca_signer();
    let lying = SystemSigner::new(PublicKey::Ec { curve, x, y }, move |digest| other.sign(digest));
    let opened = Authority::open(None, "localhost", lying, Arc::new(|_| {}), now()).await;
    assert!(matches!(opened, Err(TlsError::Signature)));
}

#[tokio::test]
async fn a_domain_must_be_one() {
    let long = "x".repeat(64);
    for domain in
        ["", "not a domain", "a..b", ".localhost", "localhost.", "127.0.0.1", "::1", "*.x", "-a", "ä.example", &long]
    {
        let opened = Authority::open(None, domain, ca_signer(), Arc::new(|_| {}), now()).await;
        assert!(matches!(opened, Err(TlsError::Domain(_))), "{domain}");
    }
}

#[tokio::test]
async fn handshakes_are_modern() {
    let uses = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&uses);
    let record = Arc::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let (authority, _) = Authority::open(None, "localhost", ca_signer(), record, now()).await.unwrap();
    let ca = authority.certificate().clone();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let clock = Arc::new(ManualClock::new(now()));
    let tls = Tls::with_authority(authority, hsm_names(), Some(&file), clock).await.unwrap();
    assert_eq!(uses.load(Ordering::Relaxed), 2, "each use of the key is told");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o644);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), tls.ca_pem().unwrap());
    assert_eq!(CertificateDer::from_pem_file(&file).unwrap(), ca);

    let (client_end, _) = connect(tls.server_config(), client(&ca, &rustls::version::TLS13)).await.unwrap();
    let session = client_end.get_ref().1;
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(session.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
    assert_eq!(session.alpn_protocol(), Some(b"h2".as_slice()));
    let (client_end, _) = connect(tls.server_config(), client(&ca, &rustls::version::TLS12)).await.unwrap();
    let suite = client_end.get_ref().1.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384);
    let mut foreign = client(&ca, &rustls::version::TLS13);
    foreign.alpn_protocols = vec![b"ftp".to_vec()];
    assert!(connect(tls.server_config(), foreign).await.is_err());
    let stranger = client(new_authority().await.certificate(), &rustls::version::TLS13);
    assert!(connect(tls.server_config(), stranger).await.is_err());
    assert!(rustls::crypto::CryptoProvider::get_default().is_none(), "no process-wide provider");
}

#[tokio::test]
async fn the_certificate_is_renewed_in_time() {
    let authority = new_authority().await;
    let ca = authority.certificate().clone();
    let clock = Arc::new(ManualClock::new(now()));
    let tls = Tls::with_authority(authority, hsm_names(), None, Arc::clone(&clock) as Arc<dyn Clock>).await.unwrap();
    let presented = async || {
        let (client_end, _) = connect(tls.server_config(), client(&ca, &rustls::version::TLS13)).await.unwrap();
        leaf_of(&client_end)
    };
    let first = presented().await;
    assert!(!tls.refresh().await.unwrap());
    assert_eq!(presented().await, first);
    clock.advance(60 * DAY - 1);
    assert!(!tls.refresh().await.unwrap());
    clock.advance(1);
    assert!(tls.refresh().await.unwrap());
    assert!(!tls.refresh().await.unwrap(), "once is enough");
}

/// A self-signed certificate with its key, in two files.
struct Pair {
    folder: tempfile::TempDir,
    files: CertificateFiles,
}

impl Pair {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = CertificateFiles { chain: folder.path().join("chain.pem"), key: folder.path().join("key.pem") };
        let pair = Self { folder, files };
        let (chain, key) = material(2020, 2090);
        pair.write(&chain, &key);
        pair
    }

    fn write(&self, chain: &str, key: &str) {
        file::replace(&self.files.chain, chain.as_bytes(), 0o644).unwrap();
        file::replace(&self.files.key, key.as_bytes(), 0o600).unwrap();
    }

    fn chain(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.files.chain).unwrap()
    }
}

fn material(from: i32, to: i32) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["demo.managedhsm.localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(to, 1, 1);
    params.use_authority_key_identifier_extension = true;
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[tokio::test]
async fn files_are_taken_over_when_they_change_and_connections_live_on() {
    let pair = Pair::new();
    let old = pair.chain();
    let tls = Tls::with_files(pair.files.clone(), Arc::new(ManualClock::new(now()))).unwrap();
    assert!(tls.ca_pem().is_none());
    let connected =
        async |ca: &CertificateDer<'static>| connect(tls.server_config(), client(ca, &rustls::version::TLS13)).await;
    let (mut near, mut far) = connected(&old).await.unwrap();
    assert!(!tls.refresh().await.unwrap());

    file::replace(&pair.files.chain, b"rubbish", 0o644).unwrap();
    assert!(matches!(tls.refresh().await, Err(TlsError::Chain(_))));
    assert!(!tls.refresh().await.unwrap(), "the same bad file is complained of once");
    connected(&old).await.unwrap();

    let (chain, key) = material(2020, 2091);
    pair.write(&chain, &key);
    assert!(tls.refresh().await.unwrap());
    connected(&pair.chain()).await.unwrap();
    assert!(connected(&old).await.is_err());
    near.write_all(b"still here").await.unwrap();
    near.flush().await.unwrap();
    let mut heard = [0; 10];
    far.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"still here");

    let (_, other_key) = material(2020, 2090);
    file::replace(&pair.files.key, other_key.as_bytes(), 0o600).unwrap();
    assert!(matches!(tls.refresh().await, Err(TlsError::KeyMismatch(_, _))));
    std::fs::remove_file(&pair.files.key).unwrap();
    assert!(matches!(tls.refresh().await, Err(TlsError::File(_))));
    connected(&pair.chain()).await.unwrap();
}

#[test]
fn bad_files_are_named_at_the_start() {
    let pair = Pair::new();
    let load = || pair.files.load(now()).map(|_| ()).unwrap_err().to_string();
    let (good_chain, good_key) = material(2020, 2090);
    let (expired, expired_key) = material(2020, 2021);
    let (early, early_key) = material(2080, 2090);
    for (chain, key, expected) in [
        (expired.as_str(), expired_key.as_str(), "expired on"),
        (&early, &early_key, "valid from"),
        (&good_chain, &expired_key, "not the private key"),
        ("", &good_key, "not a PEM file of one to ten certificates"),
        (&good_key, &good_key, "not a PEM file of one to ten certificates"),
        (&good_chain, "", "private key"),
        (&good_chain, &good_chain, "private key"),
        (&good_chain.repeat(11), &good_key, "one to ten"),
    ] {
        pair.write(chain, key);
        let error = load();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("BEGIN"), "{error}");
    }
    pair.write(&good_chain, &good_key);
    pair.files.load(now()).unwrap();
    std::fs::set_permissions(&pair.files.key, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(load().contains("chmod go-rwx"));
    std::fs::set_permissions(&pair.files.key, std::fs::Permissions::from_mode(0o400)).unwrap();
    pair.files.load(now()).unwrap();
    std::fs::set_permissions(&pair.files.chain, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(load().contains("chmod go-w"));
    assert!(pair.folder.path().exists());
}

/// OpenSSL's opinion, strict. Without the program on this machine the test says so and passes: rustls judged above.
#[tokio::test]
async fn openssl_agrees() {
    let authority = new_authority().await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, pem_of(authority.certificate())).unwrap();
    let verify = |der: &[u8], check: &[&str]| {
        let leaf = folder.path().join("leaf.pem");
        std::fs::write(&leaf, pem_of(der)).unwrap();
        let mut command = Command::new("openssl");
        command.args(["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile"]).arg(&ca).args(check).arg(&leaf);
        command.output().map(|o| (o.status.success(), String::from_utf8_lossy(&o.stderr).into_owned()))
    };
    let issued = authority.issue(&hsm_names(), now()).await.unwrap();
    let leaf = &issued.certified.cert[0];
    if verify(leaf, &[]).is_err() {
        eprintln!("SKIPPED: there is no openssl program here");
        return;
    }
    for check in [
        ["-verify_hostname", "demo.managedhsm.localhost"],
        ["-verify_hostname", "any.vault.localhost"],
        ["-verify_hostname", "localhost"],
        ["-verify_ip", "127.0.0.1"],
        ["-verify_ip", "::1"],
    ] {
        let (good, said) = verify(leaf, &check).unwrap();
        assert!(good, "{check:?}: {said}");
    }
    assert!(!verify(leaf, &["-verify_hostname", "example.org"]).unwrap().0);
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    for (names, addresses) in [(vec!["example.org".to_owned()], vec![]), (vec![], vec![address])] {
        let outside = authority.issue_for(names, &addresses, now()).await.unwrap();
        let (good, said) = verify(&outside.certified.cert[0], &[]).unwrap();
        assert!(!good && said.contains("permitted subtree violation"), "{said}");
    }
}
