//! The settings of identity, and the directory file: who there is.

use super::directory::sha256_of;
use super::file::{read_private, replace};
pub use super::issuers::settings::{
    AudienceSettings, ClaimSettings, IssuerSettings, ObjectIds, TokenAlgorithm, load_issuers, outgoing_ports,
};
pub(crate) use super::issuers::settings::{is_authority, issuers_problem};
use super::password::PasswordHash;
use super::problem::IdentityError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use strongroom_model::SecretBytes;
use uuid::Uuid;
use zeroize::Zeroizing;

/// `[identity]`: the tenant and its directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentitySettings {
    /// The tenant's GUID: `tid` of every token, and part of every URL of the login host.
    pub tenant_id: Uuid,
    /// The directory file (TOML, mode 0600): applications, managed identities, users, groups. Read again when it changes.
    pub directory: PathBuf,
    /// Resource URLs that tokens may be asked for besides those of this installation's own services.
    #[serde(default)]
    pub additional_audiences: Vec<String>,
    /// Client ids of programs that may sign people in without a credential of their own: the az CLI and Azure PowerShell
    /// unless given.
    #[serde(default = "default_public_clients")]
    pub public_clients: Vec<Uuid>,
    /// SHA-256, in hexadecimal, of the secret that `/msi/token` expects in `X-IDENTITY-HEADER` (at least 128 random bits);
    /// without it that form is closed.
    #[serde(default)]
    pub identity_header_sha256: Option<String>,
    /// Other issuers whose tokens count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<IssuerSettings>,
    /// The authority that the challenge of a 401 names, such as `https://login.microsoftonline.com/TENANT`: our own issuer
    /// unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge_authority: Option<String>,
}

/// Programs that many people have, by the client ids that Azure gave them.
const KNOWN_CLIENTS: &[(Uuid, &str)] = &[
    (Uuid::from_u128(0x04b0_7795_8ddb_461a_bbee_02f9_e1bf_7b46), "Azure CLI"),
    (Uuid::from_u128(0x1950_a258_227b_4e31_a9cf_7174_9594_5fc2), "Azure PowerShell"),
];

fn default_public_clients() -> Vec<Uuid> {
    KNOWN_CLIENTS.iter().map(|(id, _)| *id).collect()
}

/// A known program's name.
pub(super) fn client_name(client_id: Uuid) -> Option<&'static str> {
    KNOWN_CLIENTS.iter().find(|(id, _)| *id == client_id).map(|(_, name)| *name)
}

/// The directory file as written.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryFile {
    /// Service principals.
    #[serde(default, rename = "application", skip_serializing_if = "Vec::is_empty")]
    pub applications: Vec<Application>,
    /// Managed identities.
    #[serde(default, rename = "managed_identity", skip_serializing_if = "Vec::is_empty")]
    pub managed_identities: Vec<ManagedIdentity>,
    /// People.
    #[serde(default, rename = "user", skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<User>,
    /// Groups of any of them.
    #[serde(default, rename = "group", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// Principals and groups of other issuers that are refused, whatever those issuers say.
    #[serde(default, rename = "blocked", skip_serializing_if = "Vec::is_empty")]
    pub blocked: Vec<Blocked>,
}

/// A principal or group of another issuer that is refused: it works at once, where a token would go on until it expires.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blocked {
    /// The object id, as roles are assigned to it.
    pub object_id: Uuid,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A service principal: a program that logs in with credentials of its own.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// For people.
    pub name: String,
    /// `client_id` of its token requests, `appid` of its tokens.
    pub client_id: Uuid,
    /// `oid` of its tokens: what roles are assigned to.
    pub object_id: Uuid,
    /// Whether it may log in, and its tokens count.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Secrets; several during a rotation.
    #[serde(default, rename = "secret", skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<ApplicationSecret>,
    /// Certificates for signed assertions.
    #[serde(default, rename = "certificate", skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<ApplicationCertificate>,
    /// Other issuers whose tokens stand for this application (workload identity federation).
    #[serde(default, rename = "federated_credential", skip_serializing_if = "Vec::is_empty")]
    pub federated_credentials: Vec<FederatedCredential>,
}

/// A secret of an application: its hash only, since the secret itself is random and shown once.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationSecret {
    /// SHA-256 of the secret, in hexadecimal.
    pub sha256: String,
    /// From when on it is refused (RFC 3339); never when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<jiff::Timestamp>,
    /// For people, to tell one from another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A certificate of an application: one of the two must be given.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationCertificate {
    /// SHA-256 of the DER certificate, in hexadecimal; the client must then send the certificate along (`x5c`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The certificate in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
}

/// Another issuer whose tokens stand for an application; all three of issuer, subject and audience must match exactly.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FederatedCredential {
    /// `iss` of its tokens.
    pub issuer: String,
    /// `sub` of its tokens.
    pub subject: String,
    /// `aud` of its tokens.
    #[serde(default = "token_exchange")]
    pub audience: String,
    /// Its keys, as the JSON text of a JWKS (RFC 7517); either this or `jwks_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<String>,
    /// A file with its keys, read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
}

/// A managed identity: programs on this machine get its tokens without credentials.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagedIdentity {
    /// For people.
    pub name: String,
    /// `client_id`, when a program asks for one of several; `appid` of its tokens.
    pub client_id: Uuid,
    /// `oid` of its tokens.
    pub object_id: Uuid,
    /// `mi_res_id`: the ARM id a program may name it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// Whether it is the one for a request that names none.
    #[serde(default)]
    pub default: bool,
    /// Whether tokens are issued and count.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// A person.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The user principal name (`ada@example.org`); compares without case.
    pub user_name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `oid` of the tokens.
    pub object_id: Uuid,
    /// The password's hash, as `strongroom` makes it; without it the user cannot log in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Whether the user may log in, and the tokens count.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// A group: a role assigned to it counts for its members.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// For people.
    pub name: String,
    /// What roles are assigned to; stands in `groups` of the members' tokens.
    pub object_id: Uuid,
    /// Object ids of users, applications and managed identities.
    #[serde(default)]
    pub members: Vec<Uuid>,
    /// Whether membership counts.
    #[serde(default = "yes")]
    pub enabled: bool,
}

const fn yes() -> bool {
    true
}

fn token_exchange() -> String {
    "api://AzureADTokenExchange".to_owned()
}

/// Bytes of a generated secret.
const SECRET_LENGTH: usize = 32;
/// What a generated secret begins with, so that scanners find one that leaked, and no shell takes it for an option.
const SECRET_PREFIX: &str = "strongroom_";
/// Mode of the directory file.
const DIRECTORY_MODE: u32 = 0o600;

impl DirectoryFile {
    /// Reads and parses the file; refuses one that others may read.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let (text, _) = read_private(path)?;
        Self::parse(path, &text)
    }

    /// Parses the file's text; `path` is for the error.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, IdentityError> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = 1 + before.matches('\n').count();
            IdentityError::Syntax { path: path.to_owned(), line, message: without_value(error.message()) }
        })
    }

    /// Writes the file whole (a new one, 0600, put in the old one's place).
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        let text = Zeroizing::new(toml::to_string(self)?);
        Ok(replace(path, text.as_bytes(), DIRECTORY_MODE)?)
    }
}

/// A parser's message without the value it found there: that may be a secret in the wrong place.
fn without_value(message: &str) -> String {
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if message.starts_with("invalid ") => format!("expected {expected}"),
        Some(_) | None => message.to_owned(),
    }
}

impl Application {
    /// A new application with a new secret, which is not kept anywhere: show it once.
    pub fn generate(name: &str) -> Result<(Self, SecretBytes), IdentityError> {
        let (secret, sha256) = generate_secret()?;
        let application = Self {
            name: name.to_owned(),
            client_id: Uuid::new_v4(),
            object_id: Uuid::new_v4(),
            enabled: true,
            secrets: vec![ApplicationSecret { sha256, expires: None, description: None }],
            certificates: Vec::new(),
            federated_credentials: Vec::new(),
        };
        Ok((application, secret))
    }
}

/// A new random secret (256 bits) in text, and its SHA-256 in hexadecimal, for [`ApplicationSecret`] and `identity_header_sha256`.
pub fn generate_secret() -> Result<(SecretBytes, String), IdentityError> {
    let mut random = Zeroizing::new([0; SECRET_LENGTH]);
    aws_lc_rs::rand::fill(random.as_mut_slice()).map_err(|_| IdentityError::Random)?;
    let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice()));
    let text = SecretBytes::new([SECRET_PREFIX.as_bytes(), encoded.as_bytes()].concat());
    let hash = hex::encode(sha256_of(text.expose()));
    Ok((text, hash))
}

/// The hash of a password for [`User::password`]. Takes a good part of a second: not for a runtime thread.
pub fn hash_password(password: &SecretBytes) -> Result<String, IdentityError> {
    let hash = PasswordHash::make(password.expose()).ok_or(IdentityError::Random)?;
    Ok(hash.to_string())
}
