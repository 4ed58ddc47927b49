//! Local RBAC's vocabulary: scopes, definitions, assignments, and the built-in roles as rows.

use crate::action::DataAction;
use crate::error::{BadName, Error, Result};
use crate::name::KeyName;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::{Uuid, uuid};

/// Where a role is assigned: the whole HSM, all keys, or one key (never a version).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RoleScope {
    /// `/`
    Hsm,
    /// `/keys`
    Keys,
    /// `/keys/{name}`
    Key(KeyName),
}

impl RoleScope {
    /// Builds a scope from the decoded, non-empty parts of a path.
    pub fn from_parts<'a>(parts: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next(), parts.next()) {
            (None, _, _) => Ok(Self::Hsm),
            (Some(keys), None, _) if keys.eq_ignore_ascii_case("keys") => Ok(Self::Keys),
            (Some(keys), Some(name), None) if keys.eq_ignore_ascii_case("keys") => Ok(Self::Key(KeyName::parse(name)?)),
            (Some(_), _, _) => Err(Error::BadName(BadName::Scope)),
        }
    }

    /// Parses `/`, `/keys` or `/keys/{name}`; repeated slashes count as one.
    pub fn parse(text: &str) -> Result<Self> {
        Self::from_parts(text.split('/').filter(|p| !p.is_empty()))
    }

    /// Whether a role assigned here holds at `other`.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hsm, _) | (Self::Keys, Self::Keys | Self::Key(_)) => true,
            (Self::Key(a), Self::Key(b)) => a == b,
            (Self::Keys | Self::Key(_), Self::Hsm) | (Self::Key(_), Self::Keys) => false,
        }
    }
}

impl fmt::Display for RoleScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hsm => f.write_str("/"),
            Self::Keys => f.write_str("/keys"),
            Self::Key(name) => write!(f, "/keys/{name}"),
        }
    }
}

/// The type of a role definition on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoleType {
    /// One of [`BUILT_IN_ROLES`].
    BuiltIn,
    /// Made by a caller.
    Custom,
}

impl RoleType {
    /// `properties.type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BuiltIn => "AKVBuiltInRole",
            Self::Custom => "CustomRole",
        }
    }
}

/// One entry of a definition's `permissions`; `actions` and `notActions` have no meaning on this data plane and stay empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// What is allowed.
    pub data_actions: Vec<DataAction>,
    /// What of it is taken away again (another role may still give it).
    pub not_data_actions: Vec<DataAction>,
}

impl Permission {
    /// Whether this entry allows `action`.
    pub fn allows(&self, action: DataAction) -> bool {
        self.data_actions.contains(&action) && !self.not_data_actions.contains(&action)
    }
}

/// A role definition; the assignable scope is always `/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleDefinition {
    /// `name`: a GUID.
    pub id: Uuid,
    /// `properties.roleName`.
    pub role_name: String,
    /// `properties.description`.
    pub description: String,
    /// Built in or custom.
    pub role_type: RoleType,
    /// What it allows.
    pub permissions: Vec<Permission>,
}

impl RoleDefinition {
    /// Whether any entry allows `action`.
    pub fn allows(&self, action: DataAction) -> bool {
        self.permissions.iter().any(|p| p.allows(action))
    }
}

/// A role given to a principal at a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleAssignment {
    /// `name`: a GUID chosen by the caller.
    pub id: Uuid,
    /// User, group, service principal or managed identity.
    pub principal_id: Uuid,
    /// The definition, by its GUID.
    pub role_definition_id: Uuid,
    /// Where.
    pub scope: RoleScope,
}

/// The prefix of a role definition's id on the wire (no leading slash, as the service answers).
pub const ROLE_DEFINITION_ID_PREFIX: &str = "Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/";

/// The built-in role that may always be given back: its last assignment at `/` cannot be removed.
pub const ADMINISTRATOR: Uuid = uuid!("a290e904-7015-4bba-90c8-60543313cdb4");
/// Managed HSM Crypto Officer.
pub const CRYPTO_OFFICER: Uuid = uuid!("515eb02d-2335-4d2d-92f2-b1cbdf9c3778");
/// Managed HSM Crypto User.
pub const CRYPTO_USER: Uuid = uuid!("21dbd100-6940-42c2-9190-5d6cb909625b");

/// One built-in role.
#[derive(Debug)]
pub struct BuiltInRole {
    /// Its GUID at Azure.
    pub id: Uuid,
    /// `roleName`.
    pub name: &'static str,
    /// `description`.
    pub description: &'static str,
    /// What it allows.
    pub data_actions: &'static [DataAction],
}

impl BuiltInRole {
    /// The role as a definition.
    pub fn definition(&self) -> RoleDefinition {
        RoleDefinition {
            id: self.id,
            role_name: self.name.into(),
            description: self.description.into(),
            role_type: RoleType::BuiltIn,
            permissions: vec![Permission { data_actions: self.data_actions.into(), not_data_actions: Vec::new() }],
        }
    }
}

use DataAction as A;

const fn built_in(id: Uuid, name: &'static str, data_actions: &'static [DataAction]) -> BuiltInRole {
    BuiltInRole { id, name, description: "", data_actions }
}

/// The built-in roles with the data actions that the service answers (behaviour notes, section 3).
pub static BUILT_IN_ROLES: &[BuiltInRole] = &[
    built_in(
        ADMINISTRATOR,
        "Managed HSM Administrator",
        &[
            A::RoleAssignmentsRead,
            A::RoleAssignmentsWrite,
            A::RoleAssignmentsDelete,
            A::RoleDefinitionsRead,
            A::RoleDefinitionsWrite,
            A::RoleDefinitionsDelete,
            A::SecurityDomainDownload,
            A::SecurityDomainDownloadRead,
            A::SecurityDomainUpload,
            A::SecurityDomainUploadRead,
            A::SecurityDomainTransferKeyRead,
            A::BackupStart,
            A::BackupStatus,
            A::RestoreStart,
            A::RestoreStatus,
        ],
    ),
    built_in(
        CRYPTO_OFFICER,
        "Managed HSM Crypto Officer",
        &[
            A::RoleAssignmentsRead,
            A::RoleAssignmentsWrite,
            A::RoleAssignmentsDelete,
            A::RoleDefinitionsRead,
            A::RoleDefinitionsWrite,
            A::RoleDefinitionsDelete,
            A::DeletedKeysRead,
            A::DeletedKeysRecover,
            A::DeletedKeysDelete,
            A::KeysExport,
        ],
    ),
    built_in(
        CRYPTO_USER,
        "Managed HSM Crypto User",
        &[
            A::RoleDefinitionsRead,
            A::RoleAssignmentsRead,
            A::KeysRead,
            A::KeysWrite,
            A::KeysCreate,
            A::KeysDelete,
            A::KeysRotate,
            A::KeysImport,
            A::KeysRelease,
            A::KeysBackup,
            A::KeysRestore,
            A::KeysEncrypt,
            A::KeysDecrypt,
            A::KeysWrap,
            A::KeysUnwrap,
            A::KeysSign,
            A::KeysVerify,
            A::KeysDerive,
            A::Rng,
        ],
    ),
    built_in(
        uuid!("4bd23610-cdcf-4971-bdee-bdc562cc28e4"),
        "Managed HSM Policy Administrator",
        &[
            A::RoleDefinitionsRead,
            A::RoleDefinitionsWrite,
            A::RoleDefinitionsDelete,
            A::RoleAssignmentsRead,
            A::RoleAssignmentsWrite,
            A::RoleAssignmentsDelete,
        ],
    ),
    built_in(
        uuid!("2c18b078-7c48-4d3a-af88-5a3a1b3f82b3"),
        "Managed HSM Crypto Auditor",
        &[A::RoleAssignmentsRead, A::RoleDefinitionsRead, A::KeysRead, A::DeletedKeysRead],
    ),
    built_in(
        uuid!("33413926-3206-4cdd-b39a-83574fe37a17"),
        "Managed HSM Crypto Service Encryption User",
        &[A::KeysRead, A::KeysWrap, A::KeysUnwrap],
    ),
    built_in(
        uuid!("21dbd100-6940-42c2-9190-5d6cb909625c"),
        "Managed HSM Crypto Service Release User",
        &[A::KeysRelease],
    ),
    built_in(
        uuid!("7b127d3c-77bd-4e3e-bbe0-dbb8971fa7f8"),
        "Managed HSM Backup User",
        &[A::BackupStart, A::BackupStatus, A::KeysBackup],
    ),
    built_in(
        uuid!("6efe6056-5259-49d2-8b3d-d3d73544b20b"),
        "Managed HSM Restore User",
        &[A::RestoreStart, A::RestoreStatus, A::KeysRestore],
    ),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn scopes_inherit_downwards_only() {
        let key = RoleScope::parse("/keys/A").unwrap();
        let (hsm, keys) = (RoleScope::parse("//").unwrap(), RoleScope::parse("/keys").unwrap());
        assert!(hsm.covers(&key) && keys.covers(&key) && key.covers(&RoleScope::parse("/keys/a").unwrap()));
        assert!(!key.covers(&keys) && !keys.covers(&hsm) && !key.covers(&RoleScope::parse("/keys/ab").unwrap()));
        for bad in ["/secrets", "/keys/a/b", "/keys/a_b", "keys//a/78deebed173b48e48f55abf87ed4cf71"] {
            assert!(RoleScope::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn administrators_get_no_right_to_a_key() {
        let role = BUILT_IN_ROLES.iter().find(|r| r.id == ADMINISTRATOR).unwrap();
        assert!(role.data_actions.iter().all(|a| !a.as_str().contains("/keys/")));
    }
}
