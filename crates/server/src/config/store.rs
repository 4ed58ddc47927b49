//! `[store]`: where keys and roles lie.

use crate::config::ConfigError;
use http::Uri;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Bytes of [`StoreSettings::prefix`], at most.
const PREFIX_BYTES_MAX: usize = 128;
/// Members of a cluster, at most.
const ENDPOINTS_MAX: usize = 9;

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    /// `redb`, in the data folder, or `etcd`, for several nodes.
    #[serde(default)]
    pub kind: StoreKind,
    /// Of etcd: `https://HOST:PORT` of each member.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Of etcd: whose certificates the members have (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Of etcd: this node's certificate with its chain (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Of etcd: the certificate's key (PEM, mode 0600).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Of etcd: what every key of this installation begins with; ends in `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Of etcd: what this node does while it cannot prove that what it keeps in memory is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_proof: Option<WithoutProofSetting>,
}

/// Which back end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// Embedded, for one node.
    #[default]
    Redb,
    /// A cluster, for several nodes.
    Etcd,
}

/// See [`StoreSettings::without_proof`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WithoutProofSetting {
    /// Refuses everything.
    #[default]
    Refuse,
    /// Goes on with cryptographic operations.
    Cryptography,
}

impl From<WithoutProofSetting> for strongroom_engine::WithoutProof {
    fn from(setting: WithoutProofSetting) -> Self {
        match setting {
            WithoutProofSetting::Refuse => Self::Refuse,
            WithoutProofSetting::Cryptography => Self::Cryptography,
        }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            kind: StoreKind::Redb,
            endpoints: Vec::new(),
            ca: None,
            certificate: None,
            key: None,
            prefix: None,
            without_proof: None,
        }
    }
}

/// The settings of etcd, all there.
#[derive(Clone, Copy, Debug)]
pub struct EtcdSettings<'a> {
    /// See [`StoreSettings::endpoints`].
    pub endpoints: &'a [String],
    /// See [`StoreSettings::ca`].
    pub ca: &'a Path,
    /// See [`StoreSettings::certificate`].
    pub certificate: &'a Path,
    /// See [`StoreSettings::key`].
    pub key: &'a Path,
    /// See [`StoreSettings::prefix`].
    pub prefix: &'a str,
    /// See [`StoreSettings::without_proof`].
    pub without_proof: WithoutProofSetting,
}

/// The prefix unless another is given.
const DEFAULT_PREFIX: &str = "strongroom/";

impl StoreSettings {
    /// Reads a file that holds the settings of `[store]` alone; relative paths are below its folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |error| ConfigError::Read { path: path.into(), error };
        let text = std::fs::read_to_string(path).map_err(read)?;
        let mut settings: Self = toml::from_str(&text).map_err(|error| ConfigError::syntax(path, &text, &error))?;
        let base = std::path::absolute(path).map_err(read)?;
        settings.resolve(base.parent().unwrap_or(Path::new("/")));
        match settings.problem() {
            None => Ok(settings),
            Some((setting, problem)) => Err(ConfigError::Value { path: path.into(), setting, problem }),
        }
    }

    pub(super) fn resolve(&mut self, base: &Path) {
        for path in [&mut self.ca, &mut self.certificate, &mut self.key].into_iter().flatten() {
            *path = base.join(&*path);
        }
        if self.kind == StoreKind::Etcd {
            self.prefix.get_or_insert_with(|| DEFAULT_PREFIX.into());
            self.without_proof.get_or_insert_default();
        }
    }

    /// The first setting with a value that it cannot have, and what it can have.
    pub(super) fn problem(&self) -> Option<(String, String)> {
        let own = |setting: &str, problem: &str| Some((format!("store.{setting}"), problem.to_owned()));
        let given = [
            ("endpoints", !self.endpoints.is_empty()),
            ("ca", self.ca.is_some()),
            ("certificate", self.certificate.is_some()),
            ("key", self.key.is_some()),
        ];
        let further = [("prefix", self.prefix.is_some()), ("without_proof", self.without_proof.is_some())];
        match self.kind {
            StoreKind::Redb => {
                let stray = given.into_iter().chain(further).find(|(_, given)| *given)?;
                own(stray.0, "belongs to kind = \"etcd\", and kind is \"redb\"")
            }
            StoreKind::Etcd => {
                if let Some((missing, _)) = given.into_iter().find(|(_, given)| !given) {
                    return own(missing, "is missing: etcd is reached with endpoints, ca, certificate and key");
                }
                if self.endpoints.len() > ENDPOINTS_MAX {
                    return own("endpoints", "expected at most 9 members");
                }
                if let Some(wrong) = self.endpoints.iter().find(|endpoint| port_of(endpoint).is_none()) {
                    return own("endpoints", &format!("{wrong:?}: expected https://HOST:PORT"));
                }
                let prefix = self.prefix.as_deref().unwrap_or(DEFAULT_PREFIX);
                if !prefix.ends_with('/') || prefix.len() > PREFIX_BYTES_MAX {
                    return own("prefix", "expected up to 128 bytes that end in /");
                }
                None
            }
        }
    }

    /// The settings of etcd, when that is the kind.
    pub fn etcd(&self) -> Option<EtcdSettings<'_>> {
        if self.kind != StoreKind::Etcd {
            return None;
        }
        Some(EtcdSettings {
            endpoints: &self.endpoints,
            ca: self.ca.as_deref()?,
            certificate: self.certificate.as_deref()?,
            key: self.key.as_deref()?,
            prefix: self.prefix.as_deref().unwrap_or(DEFAULT_PREFIX),
            without_proof: self.without_proof.unwrap_or_default(),
        })
    }

    /// The files of etcd: ca, certificate, key.
    pub(super) fn files(&self) -> [Option<&PathBuf>; 3] {
        [self.ca.as_ref(), self.certificate.as_ref(), self.key.as_ref()]
    }

    /// The TCP ports that the store is reached at.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        self.endpoints.iter().filter_map(|endpoint| port_of(endpoint))
    }
}

/// The port of `https://HOST:PORT`, with nothing behind it.
fn port_of(endpoint: &str) -> Option<u16> {
    let uri: Uri = endpoint.parse().ok()?;
    let bare = uri.path() == "/" && uri.query().is_none() && !endpoint.ends_with('/');
    let host = uri.host().is_some_and(|host| !host.is_empty());
    let authority = uri.authority()?;
    (uri.scheme_str() == Some("https") && bare && host && !authority.as_str().contains('@'))
        .then(|| authority.port_u16())
        .flatten()
        .filter(|port| *port != 0)
}
