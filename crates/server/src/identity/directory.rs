//! The directory in memory: the file checked as a whole, and look-ups by every id.

use super::file::{FileStamp, read_private, read_public};
use super::jwt::VerifyingKey;
use super::objects::DirectoryObject;
use super::password::PasswordHash;
use super::problem::{DirectoryProblem as Problem, IdentityError};
use super::settings::{
    Application, ApplicationCertificate, ApplicationSecret, DirectoryFile, FederatedCredential, ManagedIdentity, User,
};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use strongroom_model::Timestamp;
use strongroom_model::principal::PrincipalKind;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Credentials of each kind that one application may have.
const CREDENTIALS_MAX: usize = 20;
/// Groups that one principal may be in: their ids stand in each of its tokens (Azure's limit for JWT).
const GROUPS_MAX: usize = 200;

/// Everybody, by every id that a request names them by.
pub(super) struct Directory {
    principals: HashMap<Uuid, Member>,
    groups: HashMap<Uuid, bool>,
    applications: HashMap<Uuid, ApplicationRow>,
    users: HashMap<String, UserRow>,
    managed: Vec<ManagedRow>,
    blocked: HashSet<Uuid>,
    objects: Vec<DirectoryObject>,
    files: Vec<(PathBuf, Option<FileStamp>)>,
}

/// What tokens say about a principal.
pub(super) struct Member {
    pub(super) kind: PrincipalKind,
    /// `client_id` of an application or managed identity.
    pub(super) client_id: Option<Uuid>,
    pub(super) user_name: Option<Arc<str>>,
    pub(super) enabled: bool,
    /// Enabled groups only.
    pub(super) groups: Arc<[Uuid]>,
}

/// How an application proves itself.
pub(super) struct ApplicationRow {
    pub(super) object_id: Uuid,
    pub(super) secrets: Vec<SecretRow>,
    pub(super) certificates: Vec<CertificateRow>,
    pub(super) federated: Vec<FederatedRow>,
}

pub(super) struct SecretRow {
    pub(super) sha256: [u8; 32],
    pub(super) expires: Option<Timestamp>,
}

/// A registered certificate; without a key of its own the client must send the certificate.
pub(super) struct CertificateRow {
    pub(super) sha256: [u8; 32],
    pub(super) known: Option<KnownCertificate>,
}

#[derive(Clone)]
pub(super) struct KnownCertificate {
    pub(super) sha1: [u8; 20],
    pub(super) key: VerifyingKey,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

pub(super) struct FederatedRow {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) audience: String,
    pub(super) keys: Vec<(Option<String>, VerifyingKey)>,
}

pub(super) struct UserRow {
    pub(super) object_id: Uuid,
    pub(super) password: Option<PasswordHash>,
    pub(super) name: Option<String>,
}

pub(super) struct ManagedRow {
    pub(super) object_id: Uuid,
    pub(super) client_id: Uuid,
    pub(super) resource_id: Option<String>,
    pub(super) default: bool,
}

impl Directory {
    /// Reads the file and the JWKS files it names, and checks all of it.
    pub(super) fn load(path: &Path) -> Result<Self, IdentityError> {
        let (text, stamp) = read_private(path)?;
        let file = DirectoryFile::parse(path, &text)?;
        let mut directory = Self {
            principals: HashMap::new(),
            groups: HashMap::new(),
            applications: HashMap::new(),
            users: HashMap::new(),
            managed: Vec::new(),
            blocked: file.blocked.iter().map(|b| b.object_id).collect(),
            objects: DirectoryObject::all_of(&file),
            files: vec![(path.to_owned(), Some(stamp))],
        };
        let membership = directory.add_groups(path, &file)?;
        let groups_of = |id: Uuid| membership.get(&id).cloned().unwrap_or_default();
        for application in &file.applications {
            let entry = Entry { path, kind: "application", name: &application.name };
            directory.add_application(&entry, application, groups_of(application.object_id))?;
        }
        for identity in &file.managed_identities {
            let entry = Entry { path, kind: "managed_identity", name: &identity.name };
            directory.add_managed(&entry, identity, groups_of(identity.object_id))?;
        }
        for user in &file.users {
            let entry = Entry { path, kind: "user", name: &user.user_name };
            directory.add_user(&entry, user, groups_of(user.object_id))?;
        }
        directory.check_members(path, &file)?;
        Ok(directory)
    }

    /// The principal of an object id.
    pub(super) fn member(&self, object_id: Uuid) -> Option<&Member> {
        self.principals.get(&object_id)
    }

    /// Whether an object id is somebody's here: a principal's or a group's.
    pub(super) fn knows(&self, object_id: Uuid) -> bool {
        self.principals.contains_key(&object_id) || self.groups.contains_key(&object_id)
    }

    /// Whether tokens of other issuers for this object id are refused.
    pub(super) fn is_blocked(&self, object_id: Uuid) -> bool {
        self.blocked.contains(&object_id)
    }

    /// The application of a client id, with its member row.
    pub(super) fn application(&self, client_id: Uuid) -> Option<&ApplicationRow> {
        self.applications.get(&client_id)
    }

    /// The user of a name, in any case.
    pub(super) fn user(&self, user_name: &str) -> Option<&UserRow> {
        self.users.get(&user_name.to_lowercase())
    }

    /// The managed identities.
    pub(super) fn managed(&self) -> &[ManagedRow] {
        &self.managed
    }

    /// Every entry, as members read it.
    pub(super) fn objects(&self) -> &[DirectoryObject] {
        &self.objects
    }

    /// Whether a file it was read from is another one now.
    pub(super) fn stale_files(&self) -> Option<Vec<Option<FileStamp>>> {
        let now: Vec<_> = self.files.iter().map(|(path, _)| FileStamp::of(path)).collect();
        let same = now.iter().zip(&self.files).all(|(now, (_, then))| now == then);
        (!same).then_some(now)
    }

    fn add_groups(&mut self, path: &Path, file: &DirectoryFile) -> Result<HashMap<Uuid, Vec<Uuid>>, IdentityError> {
        let mut membership: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        for group in &file.groups {
            let entry = Entry { path, kind: "group", name: &group.name };
            if self.groups.insert(group.object_id, group.enabled).is_some() {
                return Err(entry.problem(Problem::ObjectIdTwice));
            }
            for member in group.members.iter().collect::<HashSet<_>>() {
                if group.enabled {
                    membership.entry(*member).or_default().push(group.object_id);
                }
            }
        }
        Ok(membership)
    }

    fn add_principal(&mut self, entry: &Entry<'_>, object_id: Uuid, member: Member) -> Result<(), IdentityError> {
        if member.groups.len() > GROUPS_MAX {
            return Err(entry.problem(Problem::TooManyGroups(GROUPS_MAX)));
        }
        if self.groups.contains_key(&object_id) || self.principals.insert(object_id, member).is_some() {
            return Err(entry.problem(Problem::ObjectIdTwice));
        }
        Ok(())
    }

    fn add_application(
        &mut self,
        entry: &Entry<'_>,
        application: &Application,
        groups: Vec<Uuid>,
    ) -> Result<(), IdentityError> {
        let counts =
            [application.secrets.len(), application.certificates.len(), application.federated_credentials.len()];
        if counts.iter().any(|n| *n > CREDENTIALS_MAX) {
            return Err(entry.problem(Problem::TooManyCredentials(CREDENTIALS_MAX)));
        }
        let member = Member {
            kind: PrincipalKind::Application,
            client_id: Some(application.client_id),
            user_name: None,
            enabled: application.enabled,
            groups: groups.into(),
        };
        self.add_principal(entry, application.object_id, member)?;
        let mut federated = Vec::new();
        for credential in &application.federated_credentials {
            federated.push(self.federated_row(entry, credential)?);
        }
        let row = ApplicationRow {
            object_id: application.object_id,
            secrets: collect(&application.secrets, |s| secret_row(entry, s))?,
            certificates: collect(&application.certificates, |c| certificate_row(entry, c))?,
            federated,
        };
        let taken = self.managed.iter().any(|m| m.client_id == application.client_id);
        if taken || self.applications.insert(application.client_id, row).is_some() {
            return Err(entry.problem(Problem::ClientIdTwice));
        }
        Ok(())
    }

    fn add_managed(
        &mut self,
        entry: &Entry<'_>,
        identity: &ManagedIdentity,
        groups: Vec<Uuid>,
    ) -> Result<(), IdentityError> {
        let member = Member {
            kind: PrincipalKind::Application,
            client_id: Some(identity.client_id),
            user_name: None,
            enabled: identity.enabled,
            groups: groups.into(),
        };
        self.add_principal(entry, identity.object_id, member)?;
        let client = identity.client_id;
        if self.applications.contains_key(&client) || self.managed.iter().any(|m| m.client_id == client) {
            return Err(entry.problem(Problem::ClientIdTwice));
        }
        if identity.default && self.managed.iter().any(|m| m.default) {
            return Err(entry.problem(Problem::SecondDefault));
        }
        self.managed.push(ManagedRow {
            object_id: identity.object_id,
            client_id: client,
            resource_id: identity.resource_id.clone(),
            default: identity.default,
        });
        Ok(())
    }

    fn add_user(&mut self, entry: &Entry<'_>, user: &User, groups: Vec<Uuid>) -> Result<(), IdentityError> {
        let member = Member {
            kind: PrincipalKind::User,
            client_id: None,
            user_name: Some(user.user_name.as_str().into()),
            enabled: user.enabled,
            groups: groups.into(),
        };
        self.add_principal(entry, user.object_id, member)?;
        let password = match &user.password {
            None => None,
            Some(text) => Some(PasswordHash::parse(text).ok_or_else(|| entry.problem(Problem::PasswordHash))?),
        };
        let row = UserRow { object_id: user.object_id, password, name: user.name.clone() };
        if user.user_name.is_empty() || self.users.insert(user.user_name.to_lowercase(), row).is_some() {
            return Err(entry.problem(Problem::UserNameTwice));
        }
        Ok(())
    }

    fn check_members(&self, path: &Path, file: &DirectoryFile) -> Result<(), IdentityError> {
        for group in &file.groups {
            let entry = Entry { path, kind: "group", name: &group.name };
            for member in &group.members {
                if self.groups.contains_key(member) {
                    return Err(entry.problem(Problem::NestedGroup(*member)));
                }
                if !self.principals.contains_key(member) {
                    return Err(entry.problem(Problem::UnknownMember(*member)));
                }
            }
        }
        Ok(())
    }

    fn federated_row(
        &mut self,
        entry: &Entry<'_>,
        credential: &FederatedCredential,
    ) -> Result<FederatedRow, IdentityError> {
        let text = match (&credential.jwks, &credential.jwks_file) {
            (Some(text), None) => Zeroizing::new(text.clone()),
            (None, Some(file)) => {
                let path = entry.path.parent().map_or_else(|| file.clone(), |folder| folder.join(file));
                let (text, stamp) = read_public(&path)?;
                self.files.push((path, Some(stamp)));
                text
            }
            (None, None) | (Some(_), Some(_)) => return Err(entry.problem(Problem::OneJwks)),
        };
        Ok(FederatedRow {
            issuer: credential.issuer.clone(),
            subject: credential.subject.clone(),
            audience: credential.audience.clone(),
            keys: parse_jwks(&text).map_err(|p| entry.problem(p))?,
        })
    }
}

/// Where in the file a problem is.
struct Entry<'a> {
    path: &'a Path,
    kind: &'static str,
    name: &'a str,
}

impl Entry<'_> {
    fn problem(&self, problem: Problem) -> IdentityError {
        IdentityError::Entry { path: self.path.to_owned(), kind: self.kind, name: self.name.to_owned(), problem }
    }
}

fn collect<T, R>(items: &[T], row: impl FnMut(&T) -> Result<R, IdentityError>) -> Result<Vec<R>, IdentityError> {
    items.iter().map(row).collect()
}

fn secret_row(entry: &Entry<'_>, secret: &ApplicationSecret) -> Result<SecretRow, IdentityError> {
    let sha256 = parse_sha256(&secret.sha256).ok_or_else(|| entry.problem(Problem::SecretHash))?;
    Ok(SecretRow { sha256, expires: secret.expires.map(|t| Timestamp(t.as_second())) })
}

fn certificate_row(entry: &Entry<'_>, certificate: &ApplicationCertificate) -> Result<CertificateRow, IdentityError> {
    match (&certificate.sha256, &certificate.pem) {
        (Some(text), None) => {
            let sha256 = parse_sha256(text).ok_or_else(|| entry.problem(Problem::Thumbprint))?;
            Ok(CertificateRow { sha256, known: None })
        }
        (None, Some(pem)) => {
            use rustls::pki_types::{CertificateDer, pem::PemObject};
            let der =
                CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| entry.problem(Problem::Certificate))?;
            let known = KnownCertificate::of_der(&der).ok_or_else(|| entry.problem(Problem::Certificate))?;
            Ok(CertificateRow { sha256: sha256_of(&der), known: Some(known) })
        }
        (None, None) | (Some(_), Some(_)) => Err(entry.problem(Problem::OneCertificate)),
    }
}

impl KnownCertificate {
    /// Reads a DER certificate; `None` when it is none, or its key signs no tokens.
    pub(super) fn of_der(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let sha1 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, der);
        let validity = certificate.validity();
        rest.is_empty().then_some(())?;
        Some(Self {
            sha1: sha1.as_ref().try_into().ok()?,
            key: VerifyingKey::of_certificate(&certificate)?,
            not_before: Timestamp(validity.not_before.timestamp()),
            not_after: Timestamp(validity.not_after.timestamp()),
        })
    }
}

/// SHA-256 of some bytes.
pub(super) fn sha256_of(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// 64 hexadecimal digits; colons between bytes, as certificate tools print them, are skipped.
pub(super) fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    hex::decode(text.replace(':', "")).ok()?.try_into().ok()
}

fn parse_jwks(text: &str) -> Result<Vec<(Option<String>, VerifyingKey)>, Problem> {
    let members = super::json::parse_object(text.as_bytes()).ok_or(Problem::Jwks)?;
    let keys = members.get("keys").and_then(Value::as_array).ok_or(Problem::Jwks)?;
    let mut out: Vec<(Option<String>, VerifyingKey)> = Vec::new();
    for key in keys {
        let key = key.as_object().ok_or(Problem::Jwks)?;
        if ["d", "p", "q", "k"].iter().any(|secret| key.contains_key(*secret)) {
            return Err(Problem::SecretJwk);
        }
        if let Some((kid, key)) = VerifyingKey::of_jwk(key) {
            if out.iter().any(|(other, _)| kid.is_some() && *other == kid) {
                return Err(Problem::Jwks);
            }
            out.push((kid, key));
        }
    }
    if out.is_empty() { Err(Problem::Jwks) } else { Ok(out) }
}
