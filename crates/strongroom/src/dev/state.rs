//! `dev.json`: ids and secrets that stay the same from start to start.

use crate::dev::flags::PrincipalName;
use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use std::path::Path;
use strongroom_model::SecretBytes;
use strongroom_server::config::{read_private, write_private};
use strongroom_server::identity::settings::{
    Application, ApplicationSecret, DirectoryFile, ManagedIdentity, User, generate_secret, hash_password,
};
use uuid::Uuid;
use zeroize::Zeroizing;

/// The name of the principal that is always there.
const MAIN: &str = "dev";
/// The name of the managed identity.
const IDENTITY: &str = "dev-identity";

/// The file (0600).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DevState {
    pub(crate) tenant_id: Uuid,
    pub(crate) subscription_id: Uuid,
    pub(crate) principal: DevPrincipal,
    #[serde(default)]
    pub(crate) principals: Vec<DevPrincipal>,
    #[serde(default)]
    pub(crate) users: Vec<DevUser>,
    pub(crate) managed_identity: DevIdentity,
    pub(crate) managed_identity_port: u16,
    #[serde(with = "text")]
    pub(crate) identity_header: SecretBytes,
}

/// A service principal with its secret.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DevPrincipal {
    pub(crate) name: String,
    pub(crate) client_id: Uuid,
    pub(crate) object_id: Uuid,
    #[serde(with = "text")]
    pub(crate) client_secret: SecretBytes,
}

/// A person with the password.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DevUser {
    pub(crate) name: String,
    pub(crate) user_name: String,
    pub(crate) object_id: Uuid,
    #[serde(with = "text")]
    pub(crate) password: SecretBytes,
}

/// The managed identity.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DevIdentity {
    pub(crate) client_id: Uuid,
    pub(crate) object_id: Uuid,
}

impl DevState {
    /// Reads the file, or makes new ids and secrets when there is none.
    pub(crate) fn load_or_make(path: &Path) -> Result<Self, Failure> {
        if path.exists() { Self::load(path) } else { Self::make() }
    }

    /// Reads the file.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let text = read_private(path)?;
        // What the parser says may quote a value; line and column are enough.
        serde_json::from_str(&text).map_err(|error| {
            let (path, line, column) = (path.display(), error.line(), error.column());
            Failure::configuration(format!(
                "{path}:{line}:{column}: not what `strongroom dev` wrote: mend it, or remove the folder"
            ))
        })
    }

    fn make() -> Result<Self, Failure> {
        Ok(Self {
            tenant_id: Uuid::new_v4(),
            subscription_id: Uuid::new_v4(),
            principal: DevPrincipal::make(MAIN)?,
            principals: Vec::new(),
            users: Vec::new(),
            managed_identity: DevIdentity { client_id: Uuid::new_v4(), object_id: Uuid::new_v4() },
            managed_identity_port: 0,
            identity_header: generate_secret()?.0,
        })
    }

    /// Adds those that are not there yet.
    pub(crate) fn add_principals(&mut self, names: &[PrincipalName]) -> Result<(), Failure> {
        for name in names {
            if name.as_str().eq_ignore_ascii_case(MAIN) {
                return Err(Failure::configuration(format!(
                    "--principal {MAIN}: this one is always there: choose another name"
                )));
            }
            if !self.principals.iter().any(|p| p.name.eq_ignore_ascii_case(name.as_str())) {
                self.principals.push(DevPrincipal::make(name.as_str())?);
            }
        }
        Ok(())
    }

    /// Adds the people who are not there yet, as `NAME@DOMAIN`.
    pub(crate) fn add_users(&mut self, names: &[PrincipalName], domain: &str) -> Result<(), Failure> {
        for name in names {
            if !self.users.iter().any(|u| u.name.eq_ignore_ascii_case(name.as_str())) {
                let (password, _) = generate_secret()?;
                let user_name = format!("{}@{}", name.as_str(), domain.to_ascii_lowercase());
                let object_id = Uuid::new_v4();
                self.users.push(DevUser { name: name.as_str().into(), user_name, object_id, password });
            }
        }
        Ok(())
    }

    /// Writes the file, unless it says all this already: a write waits for the disk.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Failure> {
        let json = Zeroizing::new(serde_json::to_vec_pretty(self)?);
        if path.exists() && read_private(path)?.as_bytes() == json.as_slice() {
            return Ok(());
        }
        Ok(write_private(path, &json)?)
    }

    /// Puts everybody who is missing into the directory file, and leaves the rest of it as it is.
    pub(crate) fn write_directory(&self, path: &Path) -> Result<(), Failure> {
        let mut directory = if path.exists() { DirectoryFile::load(path)? } else { DirectoryFile::default() };
        let mut changed = false;
        for principal in std::iter::once(&self.principal).chain(&self.principals) {
            if !directory.applications.iter().any(|a| a.client_id == principal.client_id) {
                directory.applications.push(principal.application());
                changed = true;
            }
        }
        for user in &self.users {
            if !directory.users.iter().any(|u| u.object_id == user.object_id) {
                directory.users.push(user.entry()?);
                changed = true;
            }
        }
        let identity = &self.managed_identity;
        if !directory.managed_identities.iter().any(|m| m.client_id == identity.client_id) {
            directory.managed_identities.push(ManagedIdentity {
                name: IDENTITY.into(),
                client_id: identity.client_id,
                object_id: identity.object_id,
                resource_id: None,
                default: !directory.managed_identities.iter().any(|m| m.default),
                enabled: true,
            });
            changed = true;
        }
        if changed {
            directory.save(path)?;
        }
        Ok(())
    }
}

impl DevPrincipal {
    fn make(name: &str) -> Result<Self, Failure> {
        let (client_secret, _) = generate_secret()?;
        Ok(Self { name: name.into(), client_id: Uuid::new_v4(), object_id: Uuid::new_v4(), client_secret })
    }

    fn application(&self) -> Application {
        Application {
            name: self.name.clone(),
            client_id: self.client_id,
            object_id: self.object_id,
            enabled: true,
            secrets: vec![ApplicationSecret {
                sha256: sha256_hex(&self.client_secret),
                expires: None,
                description: None,
            }],
            certificates: Vec::new(),
            federated_credentials: Vec::new(),
        }
    }
}

impl DevUser {
    fn entry(&self) -> Result<User, Failure> {
        Ok(User {
            user_name: self.user_name.clone(),
            name: Some(self.name.clone()),
            object_id: self.object_id,
            password: Some(hash_password(&self.password)?),
            enabled: true,
        })
    }
}

/// SHA-256 of a secret, in hexadecimal digits, as directory and settings hold it.
pub(crate) fn sha256_hex(secret: &SecretBytes) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.expose()))
}

/// A secret of printable characters in this one file.
mod text {
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};
    use strongroom_model::SecretBytes;

    pub(super) fn serialize<S: Serializer>(secret: &SecretBytes, serializer: S) -> Result<S::Ok, S::Error> {
        let text = std::str::from_utf8(secret.expose()).map_err(|_| S::Error::custom("not text"))?;
        serializer.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretBytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        let printable = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        let secret = SecretBytes::new(text.into_bytes());
        if printable { Ok(secret) } else { Err(D::Error::custom("expected printable characters")) }
    }
}
