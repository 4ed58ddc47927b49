//! Azure Resource Manager: subscriptions, resource groups, vaults and managed HSMs as resources, role assignments.

mod access;
mod groups;
mod hsms;
mod network;
mod vaults;

pub use access::*;
pub use groups::*;
pub use hsms::*;
pub use network::*;
pub use vaults::*;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A list of whatever.
#[derive(Serialize, Deserialize)]
pub struct List<T> {
    /// Where the next part is.
    #[serde(rename = "nextLink", skip_serializing_if = "Option::is_none")]
    pub next_link: Option<String>,
    /// This part.
    pub value: Vec<T>,
}

/// `systemData`
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemData {
    /// RFC 3339.
    pub created_at: String,
    /// Who made it.
    pub created_by: String,
    /// `User` or `Application`.
    pub created_by_type: String,
    /// RFC 3339.
    pub last_modified_at: String,
    /// Who changed it last.
    pub last_modified_by: String,
    /// `User` or `Application`.
    pub last_modified_by_type: String,
}

/// `sku`
#[derive(Serialize, Deserialize)]
pub struct Sku {
    /// `A`, `B` or `C`.
    pub family: Option<String>,
    /// `standard`, `Standard_B1` …
    pub name: Option<String>,
}

/// Tags as they travel.
pub type Tags = BTreeMap<String, String>;

/// A number of days, which az sends as text: both are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days(pub i64);

impl<'de> Deserialize<'de> for Days {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Days;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, or one as text")
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Days, E> {
                Ok(Days(number))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Days, E> {
                i64::try_from(number).map(Days).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Days, E> {
                text.parse().map(Days).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// A question for a free name.
#[derive(Deserialize)]
pub struct CheckNameParameters {
    /// The name.
    pub name: Option<String>,
    /// `Microsoft.KeyVault/vaults`, for vaults.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// Its answer.
#[derive(Serialize, Deserialize)]
pub struct CheckNameResult {
    /// Why not, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether it can be given to a new resource.
    #[serde(rename = "nameAvailable")]
    pub name_available: bool,
    /// `AccountNameInvalid` or `AlreadyExists`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A deleted vault or managed HSM.
#[derive(Serialize, Deserialize)]
pub struct DeletedResource {
    /// Its path among the deleted ones.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When, and from where.
    pub properties: DeletedProperties,
    /// `Microsoft.KeyVault/deletedVaults` …
    #[serde(rename = "type")]
    pub kind: String,
}

/// `properties` of a deleted one.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedProperties {
    /// RFC 3339.
    pub deletion_date: String,
    /// Where it lay.
    pub location: String,
    /// Its path as a live managed HSM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mhsm_id: Option<String>,
    /// Whether it cannot be purged before its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purge_protection_enabled: Option<bool>,
    /// RFC 3339.
    pub scheduled_purge_date: String,
    /// Its tags.
    pub tags: Tags,
    /// Its path as a live vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_id: Option<String>,
}
