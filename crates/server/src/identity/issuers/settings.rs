//! `[[identity.issuers]]`: other issuers whose tokens count, and everything that is pinned about each.

use super::url::SecureUrl;
use crate::config::ConfigError;
use crate::identity::endpoints::{Endpoints, Resource, without_slash};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use strongroom_model::Algorithm;
use uuid::Uuid;

/// Issuers that can be configured.
const ISSUERS_MAX: usize = 16;
/// Tenants, audiences of one service, or names of one claim.
const LIST_MAX: usize = 64;
/// Longest configured text.
const TEXT_MAX: usize = 512;
/// Largest difference of clocks that can be allowed, in seconds.
const CLOCK_SKEW_MAX: u32 = 300;
/// Shortest and longest time between two looks at an issuer's keys, in seconds.
const REFRESH_SECONDS: std::ops::RangeInclusive<u32> = 10..=86_400;
/// Longest time for which keys are used that could not be fetched again, in seconds (a week).
const KEYS_MAX_AGE_MAX: u32 = 604_800;

/// One issuer: tokens whose `iss` is exactly `issuer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// `iss` of its tokens, exactly; without `discovery_url` and `keys_url` also where its discovery document lies.
    pub issuer: String,
    /// The discovery document (OpenID Connect Discovery 1.0): `ISSUER/.well-known/openid-configuration` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery_url: Option<String>,
    /// The key set (RFC 7517), for an issuer without discovery or with its keys on another host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_url: Option<String>,
    /// Certificates (PEM) of the authorities that its TLS certificate may come from: the system's unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The tenants whose tokens count.
    pub tenants: Vec<Uuid>,
    /// `alg` of its tokens must be one of these.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<TokenAlgorithm>,
    /// How far its clock may differ from ours, in seconds.
    #[serde(default = "default_clock_skew")]
    pub clock_skew_seconds: u32,
    /// How often its keys are fetched, in seconds; an unknown `kid` has them fetched sooner.
    #[serde(default = "default_refresh")]
    pub refresh_seconds: u32,
    /// How long keys are used that could not be fetched again, in seconds.
    #[serde(default = "default_keys_max_age")]
    pub keys_max_age_seconds: u32,
    /// What roles are assigned to.
    #[serde(default)]
    pub object_ids: ObjectIds,
    /// `[identity.issuers.audiences]`
    #[serde(default)]
    pub audiences: AudienceSettings,
    /// `[identity.issuers.claims]`
    #[serde(default)]
    pub claims: ClaimSettings,
}

/// Whose name an object id is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectIds {
    /// The GUIDs of the tokens as they are. Such an issuer can speak for every object id that is not in our directory.
    #[default]
    AsIssued,
    /// GUIDs made of issuer, tenant and the token's text: no other issuer can speak for them.
    Derived,
}

/// Signature algorithms that tokens may have (RFC 7518): public keys only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum TokenAlgorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
}

impl From<TokenAlgorithm> for Algorithm {
    fn from(algorithm: TokenAlgorithm) -> Self {
        match algorithm {
            TokenAlgorithm::Rs256 => Self::Rs256,
            TokenAlgorithm::Rs384 => Self::Rs384,
            TokenAlgorithm::Rs512 => Self::Rs512,
            TokenAlgorithm::Ps256 => Self::Ps256,
            TokenAlgorithm::Ps384 => Self::Ps384,
            TokenAlgorithm::Ps512 => Self::Ps512,
            TokenAlgorithm::Es256 => Self::Es256,
            TokenAlgorithm::Es384 => Self::Es384,
        }
    }
}

/// `aud` of tokens for each of our services: its own URL unless given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudienceSettings {
    /// For managed HSMs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_hsm: Option<Vec<String>>,
    /// For vaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Vec<String>>,
    /// For the management plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management: Option<Vec<String>>,
    /// For the directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<Vec<String>>,
}

impl AudienceSettings {
    const fn of(&self, resource: Resource) -> Option<&Vec<String>> {
        match resource {
            Resource::ManagedHsm => self.managed_hsm.as_ref(),
            Resource::Vault => self.vault.as_ref(),
            Resource::Management => self.management.as_ref(),
            Resource::Graph => self.graph.as_ref(),
        }
    }

    /// `aud` as tokens write it, beside the audience of ours that it stands for; neither ends in a slash.
    pub(in crate::identity) fn resolve(&self, endpoints: &Endpoints) -> Vec<(String, String)> {
        let pairs = Resource::ALL.iter().flat_map(|resource| {
            let ours = endpoints.audience(*resource);
            let theirs = self.of(*resource).cloned().unwrap_or_else(|| vec![ours.clone()]);
            theirs.into_iter().map(move |aud| (without_slash(&aud).to_owned(), ours.clone()))
        });
        pairs.collect()
    }
}

/// Names of claims; of several names the first one that a token has counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimSettings {
    /// What roles are assigned to.
    pub object_id: Vec<String>,
    /// The tenant. None: the issuer has one tenant and its tokens do not name it.
    pub tenant: Vec<String>,
    /// The client that asked for the token.
    pub application: Vec<String>,
    /// A person's name.
    pub user_name: Vec<String>,
    /// The groups.
    pub groups: Vec<String>,
}

impl Default for ClaimSettings {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Self {
            object_id: names(&["oid"]),
            tenant: names(&["tid"]),
            application: names(&["appid", "azp"]),
            user_name: names(&["upn", "preferred_username", "unique_name"]),
            groups: names(&["groups"]),
        }
    }
}

fn default_algorithms() -> Vec<TokenAlgorithm> {
    vec![TokenAlgorithm::Rs256]
}
const fn default_clock_skew() -> u32 {
    60
}
const fn default_refresh() -> u32 {
    300
}
const fn default_keys_max_age() -> u32 {
    86_400
}

/// Where an issuer's keys are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::identity) enum KeySource {
    /// Named by a discovery document, which must be of the same origin.
    Discovery(SecureUrl),
    /// Known.
    Keys(SecureUrl),
}

impl KeySource {
    pub(in crate::identity) const fn url(&self) -> &SecureUrl {
        match self {
            Self::Discovery(url) | Self::Keys(url) => url,
        }
    }
}

impl IssuerSettings {
    /// Where its keys are found; `None` for an address that is not an `https` URL.
    pub(in crate::identity) fn key_source(&self) -> Option<KeySource> {
        match (&self.discovery_url, &self.keys_url) {
            (None, Some(url)) => SecureUrl::parse(url).map(KeySource::Keys),
            (Some(url), None) => SecureUrl::parse(url).map(KeySource::Discovery),
            (None, None) => {
                let url = format!("{}/.well-known/openid-configuration", without_slash(&self.issuer));
                SecureUrl::parse(&url).map(KeySource::Discovery)
            }
            (Some(_), Some(_)) => None,
        }
    }

    /// The first member with a value that it cannot have, and what it can have.
    fn problem(&self) -> Option<(&'static str, &'static str)> {
        let text = |t: &String| !t.is_empty() && t.len() <= TEXT_MAX && !t.contains(char::is_whitespace);
        let short = |list: &[String]| list.len() <= LIST_MAX && list.iter().all(text);
        if !text(&self.issuer) {
            return Some(("issuer", "expected the issuer's name as `iss` of its tokens has it"));
        }
        if self.key_source().is_none() {
            return Some(("issuer, discovery_url, keys_url", "expected an https URL, and one of the last two at most"));
        }
        if self.tenants.is_empty() || self.tenants.len() > LIST_MAX {
            return Some(("tenants", "expected 1 to 64 tenants"));
        }
        if self.algorithms.is_empty() {
            return Some(("algorithms", "expected at least one, such as RS256"));
        }
        if self.clock_skew_seconds > CLOCK_SKEW_MAX {
            return Some(("clock_skew_seconds", "expected 0 to 300"));
        }
        if !REFRESH_SECONDS.contains(&self.refresh_seconds) {
            return Some(("refresh_seconds", "expected 10 to 86400"));
        }
        if !(self.refresh_seconds..=KEYS_MAX_AGE_MAX).contains(&self.keys_max_age_seconds) {
            return Some(("keys_max_age_seconds", "expected refresh_seconds to 604800"));
        }
        let claims = &self.claims;
        let lists = [&claims.object_id, &claims.tenant, &claims.application, &claims.user_name, &claims.groups];
        if lists.iter().any(|list| !short(list)) || claims.object_id.is_empty() || claims.application.is_empty() {
            return Some(("claims", "expected names of claims; object_id and application need at least one"));
        }
        if claims.tenant.is_empty() && self.tenants.len() != 1 {
            return Some(("claims.tenant", "expected a claim, or exactly one tenant"));
        }
        let audiences = Resource::ALL.iter().filter_map(|r| self.audiences.of(*r));
        if audiences.into_iter().any(|list| !short(list)) {
            return Some(("audiences", "expected lists of texts without white space"));
        }
        None
    }
}

/// The first problem of the list: which setting, and what was expected.
pub(crate) fn issuers_problem(issuers: &[IssuerSettings]) -> Option<(String, String)> {
    if issuers.len() > ISSUERS_MAX {
        return Some(("identity.issuers".into(), format!("expected at most {ISSUERS_MAX}")));
    }
    for (index, issuer) in issuers.iter().enumerate() {
        let named = |member: &str| format!("identity.issuers {:?}: {member}", issuer.issuer);
        if let Some((member, expected)) = issuer.problem() {
            return Some((named(member), expected.to_owned()));
        }
        let before = issuers.iter().take(index);
        if before.clone().any(|other| other.issuer == issuer.issuer) {
            return Some((named("issuer"), "expected a name that no other issuer has".to_owned()));
        }
        let as_issued = |i: &&IssuerSettings| i.object_ids == ObjectIds::AsIssued;
        let stranger = |other: &IssuerSettings| other.origin() != issuer.origin();
        if as_issued(&issuer) && before.filter(as_issued).any(stranger) {
            let expected = "expected \"derived\": object ids as they are issued belong to the issuers of one host, or one host \
                            could speak for the principals of another";
            return Some((named("object_ids"), expected.to_owned()));
        }
    }
    None
}

impl IssuerSettings {
    fn origin(&self) -> Option<String> {
        self.key_source().map(|source| source.url().origin())
    }
}

/// A file of issuers alone, for `strongroom dev`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuersFile {
    #[serde(default)]
    issuers: Vec<IssuerSettings>,
}

/// Reads and checks a file with `[[issuers]]` tables; relative paths are below its folder.
pub fn load_issuers(path: &Path) -> Result<Vec<IssuerSettings>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path.into(), error })?;
    let file: IssuersFile = toml::from_str(&text).map_err(|error| ConfigError::syntax(path, &text, &error))?;
    if let Some((setting, problem)) = issuers_problem(&file.issuers) {
        return Err(ConfigError::Value { path: path.into(), setting, problem });
    }
    let base = std::path::absolute(path).map_err(|error| ConfigError::Read { path: path.into(), error })?;
    let mut issuers = file.issuers;
    for ca in issuers.iter_mut().filter_map(|issuer| issuer.ca_file.as_mut()) {
        *ca = base.parent().unwrap_or(Path::new("/")).join(&*ca);
    }
    Ok(issuers)
}

/// Whether a text can stand in a challenge as the authority: an `https` URL with the tenant as its path.
pub(crate) fn is_authority(text: &str) -> bool {
    let tenant = SecureUrl::parse(text).map(|url| url.path_and_query().trim_matches('/').to_owned());
    tenant.is_some_and(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)))
}

/// Ports that are connected to, for a confinement that allows no other.
pub fn outgoing_ports(issuers: &[IssuerSettings]) -> Vec<u16> {
    let mut ports: Vec<u16> = issuers.iter().filter_map(IssuerSettings::key_source).map(|s| s.url().port()).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}
