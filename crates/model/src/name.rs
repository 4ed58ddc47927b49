//! Names and identifiers: parsed once, compared in ASCII lower case, kept as spelled at creation.

use crate::error::{BadName, Error, Result};
use crate::limits;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// The name of a key: `^[0-9a-zA-Z-]{1,127}$`. Equality, order and hash ignore ASCII case; `Display` keeps the spelling.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyName(Arc<str>);

impl KeyName {
    /// Parses a name as it stands in a path.
    pub fn parse(text: &str) -> Result<Self> {
        let fits = (1..=limits::KEY_NAME_MAX).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            Ok(Self(text.into()))
        } else {
            Err(Error::BadName(BadName::Key))
        }
    }

    /// The spelling at creation.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that paths of the store, scopes and bindings use.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl PartialEq for KeyName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}
impl Eq for KeyName {}
impl std::hash::Hash for KeyName {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        for byte in self.0.bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
        state.write_u8(0xff);
    }
}
impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The version of a key: 16 random bytes, written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyVersion(pub [u8; 16]);

impl KeyVersion {
    /// Parses 32 hexadecimal digits; upper case is folded.
    pub fn parse(text: &str) -> Result<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| Error::BadName(BadName::KeyVersion))?;
        Ok(Self(bytes))
    }
}
impl fmt::Display for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 32];
        // The room is exactly twice as long: this cannot fail.
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

/// The identity of a pool (managed HSM, or the built-in pools `system` and `vaults`); names may be reused, ids never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PoolId(pub Uuid);

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of a vault inside pool `vaults`; all zero for objects of a managed HSM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VaultId(pub Uuid);

impl VaultId {
    /// The value in bindings of a managed HSM's keys.
    pub const NONE: Self = Self(Uuid::nil());
}

/// The name of a vault or managed HSM: 3 to 24 letters, digits and single hyphens, a letter first, no hyphen last; lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PoolName(Arc<str>);

impl PoolName {
    /// Parses and folds a name.
    pub fn parse(text: &str) -> Result<Self> {
        let bytes = text.as_bytes();
        let shape = (limits::POOL_NAME_MIN..=limits::POOL_NAME_MAX).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
            && bytes.first().is_some_and(u8::is_ascii_alphabetic)
            && bytes.last() != Some(&b'-')
            && !text.contains("--");
        if shape { Ok(Self(text.to_ascii_lowercase().into())) } else { Err(Error::BadName(BadName::Pool)) }
    }

    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn key_names_compare_without_case_and_keep_their_spelling() {
        let (a, b) = (KeyName::parse("My-Key").unwrap(), KeyName::parse("my-kEY").unwrap());
        assert_eq!(a, b);
        assert_eq!(a.to_string(), "My-Key");
        assert_eq!(a.folded(), b.folded());
    }

    #[test]
    fn names_outside_the_pattern_are_refused() {
        for bad in ["", "a b", "a/b", "a_b", "é", "a\0", &"x".repeat(128)] {
            assert!(KeyName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(KeyName::parse(&"x".repeat(127)).is_ok());
        for bad in ["ab", "1abc", "a--b", "abc-", "-abc", "a.b.c", &"x".repeat(25)] {
            assert!(PoolName::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(PoolName::parse("Demo-1").unwrap().as_str(), "demo-1");
    }

    #[test]
    fn versions_are_32_hexadecimal_digits() {
        let version = KeyVersion::parse("78DEEBED173b48e48f55abf87ed4cf71").unwrap();
        assert_eq!(version.to_string(), "78deebed173b48e48f55abf87ed4cf71");
        for bad in ["", "78deebed", "78deebed173b48e48f55abf87ed4cf7g", "78deebed173b48e48f55abf87ed4cf7100"] {
            assert!(KeyVersion::parse(bad).is_err());
        }
    }
}
