//! A tenant with one of everything, on a clock turned by hand.
#![allow(clippy::unwrap_used, clippy::panic)]

mod directory;
mod documents;
mod flows;
mod hostile;
mod issuers;
mod managed;
mod sign_in;
mod users;

use super::settings::{
    Application, ApplicationCertificate, ApplicationSecret, DirectoryFile, FederatedCredential, Group,
    IdentitySettings, ManagedIdentity, User,
};
use super::*;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use strongroom_hsm::PublicKey;
use strongroom_model::audit::{SystemStamp, UseStamp};
use strongroom_model::clock::ManualClock;
use strongroom_model::error::Unauthenticated;
use strongroom_model::{Clock, Error, Timestamp};
use uuid::Uuid;

const NOW: i64 = 1_800_000_000;
const TENANT: Uuid = Uuid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0001);
const OTHER_TENANT: Uuid = Uuid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0002);
const APP: Uuid = Uuid::from_u128(0x2000_0000_0000_4000_8000_0000_0000_0001);
const APP_CLIENT: Uuid = Uuid::from_u128(0x2000_0000_0000_4000_8000_0000_0000_0002);
const IDENTITY: Uuid = Uuid::from_u128(0x3000_0000_0000_4000_8000_0000_0000_0001);
const IDENTITY_CLIENT: Uuid = Uuid::from_u128(0x3000_0000_0000_4000_8000_0000_0000_0002);
const USER: Uuid = Uuid::from_u128(0x4000_0000_0000_4000_8000_0000_0000_0001);
const GROUP: Uuid = Uuid::from_u128(0x5000_0000_0000_4000_8000_0000_0000_0001);
const NOBODY: Uuid = Uuid::from_u128(0x6000_0000_0000_4000_8000_0000_0000_0001);
const AZ_CLI: &str = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";

const LOGIN: &str = "https://login.localhost:8443";
const HSM: &str = "https://managedhsm.localhost:8443";
const SECRET: &str = "strongroom_test-secret";
const IDENTITY_HEADER: &str = "header-secret";
const PASSWORD: &str = "pass word+ü";
const FEDERATED_ISSUER: &str = "https://token.actions.example";
const FEDERATED_SUBJECT: &str = "repo:one/two:ref:refs/heads/main";

static ISSUER_KEY: LazyLock<Arc<KeyPair>> = LazyLock::new(|| Arc::new(KeyPair::generate(KeySize::Rsa2048).unwrap()));
static OTHER_KEY: LazyLock<Arc<KeyPair>> = LazyLock::new(|| Arc::new(KeyPair::generate(KeySize::Rsa2048).unwrap()));
/// The other issuer's key: on P-256, which is quick to make.
static FEDERATED_KEY: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
static PASSWORD_HASH: LazyLock<String> =
    LazyLock::new(|| settings::hash_password(&strongroom_model::SecretBytes::copy_of(PASSWORD.as_bytes())).unwrap());

/// The issuer, its directory file and its clock.
struct Fixture {
    folder: tempfile::TempDir,
    file: DirectoryFile,
    clock: Arc<ManualClock>,
    identity: Arc<Identity>,
}

impl Fixture {
    fn new() -> Self {
        Self::with(directory())
    }

    fn with(file: DirectoryFile) -> Self {
        Self::with_issuers(file, Vec::new())
    }

    fn with_issuers(file: DirectoryFile, issuers: Vec<settings::IssuerSettings>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("directory.toml");
        file.save(&path).unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp(NOW)));
        let identity = start(path, Arc::clone(&clock) as Arc<dyn Clock>, issuers).unwrap();
        Self { folder, file, clock, identity }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("directory.toml")
    }

    /// Changes the directory and reads it again.
    fn change(&mut self, change: impl FnOnce(&mut DirectoryFile)) {
        change(&mut self.file);
        self.file.save(&self.path()).unwrap();
        self.identity.reload().unwrap();
    }

    async fn post(&self, fields: &[(&str, &str)]) -> IdentityAnswer {
        self.post_to("adfs", fields, None).await
    }

    async fn post_to(&self, tenant: &str, fields: &[(&str, &str)], authorization: Option<&str>) -> IdentityAnswer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = TokenRequest {
            tenant,
            authorization,
            content_type: Some("application/x-www-form-urlencoded; charset=utf-8"),
            body: body.as_bytes(),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            correlation_id: Uuid::nil(),
        };
        self.identity.token(request).await
    }

    /// A token of the application for the managed HSM.
    async fn token(&self) -> String {
        access_token(&self.post(&secret_grant(SECRET)).await)
    }

    fn validate(&self, token: &str) -> Result<Arc<strongroom_model::Principal>, Unauthenticated> {
        self.identity.validate(token, HSM)
    }
}

fn start(
    directory: PathBuf,
    clock: Arc<dyn Clock>,
    issuers: Vec<settings::IssuerSettings>,
) -> Result<Arc<Identity>, IdentityError> {
    let settings = IdentitySettings {
        tenant_id: TENANT,
        directory,
        additional_audiences: vec!["https://extra.example/".to_owned()],
        public_clients: vec![Uuid::try_parse(AZ_CLI).unwrap()],
        identity_header_sha256: Some(hex::encode(digest(&SHA256, IDENTITY_HEADER.as_bytes()))),
        issuers,
        challenge_authority: None,
    };
    let endpoints = Endpoints::new("localhost", 8443);
    Identity::start(IdentityParts { settings, endpoints, clock, signer: signer(&ISSUER_KEY) })
}

fn signer(key: &Arc<KeyPair>) -> SystemSigner {
    let public = public_key(key);
    let key = Arc::clone(key);
    SystemSigner::new(public, move |sha256| {
        let key = Arc::clone(&key);
        Box::pin(async move {
            let digest = Digest::import_less_safe(&sha256, &SHA256).map_err(|_| Error::MethodNotAllowed)?;
            let mut signature = vec![0; key.public_modulus_len()];
            key.sign_digest(&RSA_PKCS1_SHA256, &digest, &mut signature).map_err(|_| Error::MethodNotAllowed)?;
            Ok((
                signature,
                SystemStamp {
                    place: UseStamp { chain: [1; 16], sequence: 1, hash: [2; 32], time: Timestamp(0), generation: 1 },
                    key: "systemkeys/k/1".into(),
                },
            ))
        })
    })
}

fn public_key(key: &KeyPair) -> PublicKey {
    let public = key.public_key();
    PublicKey::Rsa {
        n: public.modulus().big_endian_without_leading_zero().to_vec(),
        e: public.exponent().big_endian_without_leading_zero().to_vec(),
    }
}

fn kid(key: &KeyPair) -> String {
    let PublicKey::Rsa { n, e } = public_key(key) else { panic!("an RSA key") };
    jwt::rsa_thumbprint(&n, &e)
}

fn jwks(key: &KeyPair, kid: &str) -> String {
    let PublicKey::Rsa { n, e } = public_key(key) else { panic!("an RSA key") };
    let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
    format!(r#"{{"keys":[{{"kty":"RSA","use":"sig","kid":"{kid}","n":"{n}","e":"{e}"}}]}}"#)
}

fn federated_jwks(kid: &str) -> String {
    let point = FEDERATED_KEY.public_key().as_ref();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
    format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","use":"sig","kid":"{kid}","x":"{x}","y":"{y}"}}]}}"#)
}

fn directory() -> DirectoryFile {
    let application = Application {
        name: "ci".to_owned(),
        client_id: APP_CLIENT,
        object_id: APP,
        enabled: true,
        secrets: vec![ApplicationSecret {
            sha256: hex::encode(digest(&SHA256, SECRET.as_bytes())),
            expires: None,
            description: None,
        }],
        certificates: Vec::new(),
        federated_credentials: vec![FederatedCredential {
            issuer: FEDERATED_ISSUER.to_owned(),
            subject: FEDERATED_SUBJECT.to_owned(),
            audience: "api://AzureADTokenExchange".to_owned(),
            jwks: Some(federated_jwks("fed-1")),
            jwks_file: None,
        }],
    };
    DirectoryFile {
        applications: vec![application],
        managed_identities: vec![ManagedIdentity {
            name: "host".to_owned(),
            client_id: IDENTITY_CLIENT,
            object_id: IDENTITY,
            resource_id: Some("/subscriptions/s/resourceGroups/g/providers/x/host".to_owned()),
            default: true,
            enabled: true,
        }],
        users: vec![User {
            user_name: "Ada@example.org".to_owned(),
            name: Some("Ada".to_owned()),
            object_id: USER,
            password: None,
            enabled: true,
        }],
        groups: vec![Group { name: "crew".to_owned(), object_id: GROUP, members: vec![APP, USER], enabled: true }],
        blocked: Vec::new(),
    }
}

fn secret_grant(secret: &str) -> [(&'static str, &str); 5] {
    [
        ("grant_type", "client_credentials"),
        ("client_id", "20000000-0000-4000-8000-000000000002"),
        ("client_secret", secret),
        ("scope", "https://managedhsm.localhost:8443/.default"),
        ("claims", r#"{"access_token":{"xms_cc":{"values":["CP1"]}}}"#),
    ]
}

fn assertion_grant(assertion: &str) -> [(&'static str, &str); 5] {
    [
        ("grant_type", "client_credentials"),
        ("client_id", "20000000-0000-4000-8000-000000000002"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion),
        ("scope", "https://managedhsm.localhost:8443/.default"),
    ]
}

fn json(answer: &IdentityAnswer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

fn access_token(answer: &IdentityAnswer) -> String {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    json(answer)["access_token"].as_str().unwrap().to_owned()
}

/// Status, OAuth word and Azure number of a refusal, all three places of the number agreeing.
fn refusal(answer: &IdentityAnswer) -> (u16, String, u64) {
    let body = json(answer);
    let number = body["error_codes"][0].as_u64().unwrap();
    assert_eq!(answer.error_code, format!("AADSTS{number}"));
    assert!(body["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{number}: ")));
    assert!(answer.principal.is_none() && answer.stamps.is_empty());
    (answer.status, body["error"].as_str().unwrap().to_owned(), number)
}

fn claims_of(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

/// A signed token of any header and claims, written as they are.
fn sign_jwt(header: &str, claims: &str, key: &KeyPair, padding: &'static dyn RsaEncoding) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(padding, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The same with ES256, by the other issuer.
fn sign_federated(header: &str, claims: &str) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = FEDERATED_KEY.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}
