//! Names of the management plane: resource groups, places, kinds of resources.

use crate::error::{ManagementError, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Longest name of a resource group (Azure Resource Manager).
const GROUP_NAME_MAX: usize = 90;
/// Longest name of a place.
const LOCATION_MAX: usize = 64;

/// The name of a resource group: 1 to 90 letters, digits, `_`, `-`, `.`, `(` and `)`, no dot last. Equality ignores case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GroupName(Arc<str>);

impl GroupName {
    /// Parses a name as it stands in a path.
    pub fn parse(text: &str) -> Result<Self> {
        let letter = |c: char| c.is_alphanumeric() || "_-.()".contains(c);
        let fits =
            (1..=GROUP_NAME_MAX).contains(&text.chars().count()) && text.chars().all(letter) && !text.ends_with('.');
        if fits { Ok(Self(text.into())) } else { Err(ManagementError::BadGroupName.into()) }
    }

    /// The spelling at creation.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that paths of the store and comparisons use.
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

impl PartialEq for GroupName {
    fn eq(&self, other: &Self) -> bool {
        self.folded() == other.folded()
    }
}
impl Eq for GroupName {}
impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place: `East US` and `eastus` are the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location(Arc<str>);

impl Location {
    /// Parses and folds the name of a place.
    pub fn parse(text: &str) -> Result<Self> {
        let folded: String = text.chars().filter(|c| *c != ' ').map(|c| c.to_ascii_lowercase()).collect();
        let fits = (1..=LOCATION_MAX).contains(&folded.len())
            && folded.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if fits { Ok(Self(folded.into())) } else { Err(ManagementError::BadLocation.into()) }
    }

    /// The folded name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kinds of resources that this installation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ResourceKind {
    /// `Microsoft.KeyVault/managedHSMs`
    ManagedHsm,
    /// `Microsoft.KeyVault/vaults`
    Vault,
}

impl ResourceKind {
    /// Both.
    pub const ALL: &[Self] = &[Self::ManagedHsm, Self::Vault];

    /// The kind as `type` on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ManagedHsm => "Microsoft.KeyVault/managedHSMs",
            Self::Vault => "Microsoft.KeyVault/vaults",
        }
    }

    /// The `type` of a deleted one.
    pub const fn deleted(self) -> &'static str {
        match self {
            Self::ManagedHsm => "Microsoft.KeyVault/deletedManagedHSMs",
            Self::Vault => "Microsoft.KeyVault/deletedVaults",
        }
    }

    /// The kind of a `type`, without regard to case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str().eq_ignore_ascii_case(text))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn groups_and_places_compare_without_case() {
        assert_eq!(GroupName::parse("Rg_1.(a)-b").unwrap(), GroupName::parse("rg_1.(A)-B").unwrap());
        assert_eq!(Location::parse("East US").unwrap(), Location::parse("eastus").unwrap());
        for bad in ["", "a.", "a/b", "a b", &"x".repeat(91), "a\n"] {
            assert!(GroupName::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["", " ", "a/b", "é", &"x".repeat(65)] {
            assert!(Location::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(ResourceKind::parse("microsoft.keyvault/VAULTS"), Some(ResourceKind::Vault));
        assert_eq!(ResourceKind::parse("Microsoft.Storage/accounts"), None);
    }
}
