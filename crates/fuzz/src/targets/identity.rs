//! An issuer with one application, for the targets that send it tokens, forms and assertions.

use aws_lc_rs::digest::{Digest, SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use strongroom_hsm::PublicKey;
use strongroom_model::audit::{SystemStamp, UseStamp};
use strongroom_model::clock::ManualClock;
use strongroom_model::{Error, Timestamp};
use strongroom_server::identity::settings::{
    Application, ApplicationCertificate, ApplicationSecret, DirectoryFile, FederatedCredential, IdentitySettings,
};
use strongroom_server::identity::{Endpoints, Identity, IdentityAnswer, IdentityParts, SystemSigner, TokenRequest};
use tokio::runtime::Runtime;
use uuid::Uuid;

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const TENANT: &str = "10000000-0000-4000-8000-000000000001";
pub(crate) const CLIENT: &str = "20000000-0000-4000-8000-000000000002";
pub(crate) const PUBLIC_CLIENT: &str = "30000000-0000-4000-8000-000000000002";
pub(crate) const OBJECT: &str = "20000000-0000-4000-8000-000000000001";
pub(crate) const AUDIENCE: &str = "https://managedhsm.localhost:8443";
pub(crate) const LOGIN: &str = "https://login.localhost:8443";
pub(crate) const SECRET: &str = "fuzz-client-secret";
pub(crate) const FEDERATED_ISSUER: &str = "https://token.actions.example";
pub(crate) const FEDERATED_SUBJECT: &str = "repo:one/two:ref:refs/heads/main";
/// Stands in an input for the `kid` of the issuer, which is another one in each process.
pub(crate) const KID: &str = "KID";

pub(crate) struct Issuer {
    pub(crate) identity: Arc<Identity>,
    pub(crate) runtime: Runtime,
    folder: tempfile::TempDir,
    key: Arc<KeyPair>,
    client_key: EcdsaKeyPair,
    kid: String,
    directory: String,
    template: String,
    peers: AtomicU64,
}

thread_local! {
    static ISSUER: Issuer = Issuer::new();
}

/// Runs with the issuer of this thread.
pub(crate) fn with<T>(run: impl FnOnce(&Issuer) -> T) -> T {
    ISSUER.with(run)
}

fn guid(text: &str) -> Uuid {
    Uuid::try_parse(text).unwrap()
}

impl Issuer {
    fn new() -> Self {
        let key = Arc::new(KeyPair::generate(KeySize::Rsa2048).unwrap());
        let made = rcgen::generate_simple_self_signed(vec!["client.example".to_owned()]).unwrap();
        let pkcs8 = made.signing_key.serialize_der();
        let client_key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("directory.toml");
        file(&client_key).save(&directory).unwrap();
        let template = std::fs::read_to_string(&directory).unwrap();
        let usual = with_certificate(&template, &made.cert.pem());
        std::fs::write(&directory, &usual).unwrap();
        let settings = IdentitySettings {
            tenant_id: guid(TENANT),
            directory,
            additional_audiences: Vec::new(),
            public_clients: vec![guid(PUBLIC_CLIENT)],
            identity_header_sha256: None,
            issuers: Vec::new(),
            challenge_authority: None,
        };
        let endpoints = Endpoints::new("localhost", 8443);
        let clock = Arc::new(ManualClock::new(Timestamp(NOW)));
        let identity = Identity::start(IdentityParts { settings, endpoints, clock, signer: signer(&key) }).unwrap();
        let jwks: Value = serde_json::from_slice(&identity.jwks("adfs").body).unwrap();
        let kid = jwks["keys"][0]["kid"].as_str().unwrap().to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { identity, runtime, folder, key, client_key, kid, directory: usual, template, peers: AtomicU64::new(0) }
    }

    /// A token of the issuer's key with this header and these claims, whatever they are.
    pub(crate) fn signed(&self, header: &[u8], claims: &[u8]) -> String {
        let input = self.input(header, claims);
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The same, signed by the application's certificate, which is the other issuer's key too.
    pub(crate) fn signed_by_client(&self, header: &[u8], claims: &[u8]) -> String {
        let input = self.input(header, claims);
        let signature = self.client_key.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn input(&self, header: &[u8], claims: &[u8]) -> String {
        let header = match std::str::from_utf8(header) {
            Ok(text) => text.replace(KID, &self.kid).into_bytes(),
            Err(_) => header.to_vec(),
        };
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    /// A token request from a peer that never asked before: no input stands in the shadow of another's failures.
    pub(crate) fn ask(
        &self,
        tenant: &str,
        authorization: Option<&str>,
        content_type: Option<&str>,
        body: &[u8],
    ) -> IdentityAnswer {
        let peer = u128::from(self.peers.fetch_add(1, Ordering::Relaxed)) << 64;
        let answer = self.identity.token(TokenRequest {
            tenant,
            authorization,
            content_type,
            body,
            peer: IpAddr::V6(Ipv6Addr::from(peer | 1 << 125)),
            correlation_id: Uuid::nil(),
        });
        let answer = self.runtime.block_on(answer);
        let json: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!([200, 400, 401, 429, 503].contains(&answer.status), "{}", answer.status);
        assert_eq!(json.get("access_token").is_some(), answer.status == 200);
        assert_eq!(answer.principal.is_some(), answer.status == 200);
        assert_eq!(answer.error_code.is_empty(), answer.status == 200);
        answer
    }

    /// Writes the directory file as it is given and has it read; whether it was taken.
    pub(crate) fn reload(&self, text: &[u8]) -> bool {
        let path: PathBuf = self.folder.path().join("directory.toml");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(path).unwrap();
        std::io::Write::write_all(&mut file, text).unwrap();
        self.identity.reload().is_ok()
    }

    /// The directory file as it was at first, as text.
    pub(crate) fn directory(&self) -> &str {
        &self.directory
    }

    /// The same with another certificate of the application.
    pub(crate) fn directory_with(&self, pem: &str) -> String {
        with_certificate(&self.template, pem)
    }
}

/// Where the template has the certificate.
const MARK: &str = "CERTIFICATE";

fn with_certificate(template: &str, pem: &str) -> String {
    // JSON escapes what TOML wants escaped.
    template.replace(&format!("\"{MARK}\""), &serde_json::to_string(pem).unwrap())
}

fn file(client_key: &EcdsaKeyPair) -> DirectoryFile {
    let point = client_key.public_key().as_ref();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
    let jwks = format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","use":"sig","kid":"fed","x":"{x}","y":"{y}"}}]}}"#);
    let application = Application {
        name: "ci".to_owned(),
        client_id: guid(CLIENT),
        object_id: guid(OBJECT),
        enabled: true,
        secrets: vec![ApplicationSecret {
            sha256: hex::encode(digest(&SHA256, SECRET.as_bytes())),
            expires: None,
            description: None,
        }],
        certificates: vec![ApplicationCertificate { sha256: None, pem: Some(MARK.to_owned()) }],
        federated_credentials: vec![FederatedCredential {
            issuer: FEDERATED_ISSUER.to_owned(),
            subject: FEDERATED_SUBJECT.to_owned(),
            audience: "api://AzureADTokenExchange".to_owned(),
            jwks: Some(jwks),
            jwks_file: None,
        }],
    };
    DirectoryFile { applications: vec![application], ..DirectoryFile::default() }
}

fn signer(key: &Arc<KeyPair>) -> SystemSigner {
    let public = key.public_key();
    let public = PublicKey::Rsa {
        n: public.modulus().big_endian_without_leading_zero().to_vec(),
        e: public.exponent().big_endian_without_leading_zero().to_vec(),
    };
    let key = Arc::clone(key);
    SystemSigner::new(public, move |sha256| {
        let key = Arc::clone(&key);
        Box::pin(async move {
            let digest = Digest::import_less_safe(&sha256, &SHA256).map_err(|_| Error::MethodNotAllowed)?;
            let mut signature = vec![0; key.public_modulus_len()];
            key.sign_digest(&RSA_PKCS1_SHA256, &digest, &mut signature).map_err(|_| Error::MethodNotAllowed)?;
            let place = UseStamp { chain: [1; 16], sequence: 1, hash: [2; 32], time: Timestamp(0), generation: 1 };
            Ok((signature, SystemStamp { place, key: "systemkeys/issuer/1".into() }))
        })
    })
}

/// The claims as another parser reads them.
pub(crate) fn read(claims: &[u8]) -> Value {
    serde_json::from_slice(claims).unwrap_or(Value::Null)
}
