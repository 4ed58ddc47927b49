//! Data actions of the Managed HSM's local RBAC, one row each (`DataAction` of `administration.json`).

use serde::{Deserialize, Serialize};

macro_rules! data_actions {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// One thing that a role may allow on the data plane of a managed HSM.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum DataAction { $($(#[$doc])* #[doc = concat!("`Microsoft.KeyVault/managedHsm/", $text, "`")] $variant,)* }

        impl DataAction {
            /// Every action, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The action as it travels, with its `Microsoft.KeyVault/managedHsm/` prefix.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => concat!("Microsoft.KeyVault/managedHsm/", $text),)* }
            }
        }
    };
}

data_actions! {
    KeysRead = "keys/read/action",
    KeysWrite = "keys/write/action",
    KeysCreate = "keys/create",
    KeysDelete = "keys/delete",
    KeysRotate = "keys/rotate/action",
    KeysImport = "keys/import/action",
    KeysRelease = "keys/release/action",
    KeysBackup = "keys/backup/action",
    KeysRestore = "keys/restore/action",
    KeysEncrypt = "keys/encrypt/action",
    KeysDecrypt = "keys/decrypt/action",
    KeysWrap = "keys/wrap/action",
    KeysUnwrap = "keys/unwrap/action",
    KeysSign = "keys/sign/action",
    KeysVerify = "keys/verify/action",
    KeysDerive = "keys/derive/action",
    KeysExport = "keys/export/action",
    KeysCreateIfNotExists = "keys/createIfNotExists",
    DeletedKeysRead = "keys/deletedKeys/read/action",
    DeletedKeysRecover = "keys/deletedKeys/recover/action",
    DeletedKeysDelete = "keys/deletedKeys/delete",
    RoleAssignmentsRead = "roleAssignments/read/action",
    RoleAssignmentsWrite = "roleAssignments/write/action",
    RoleAssignmentsDelete = "roleAssignments/delete/action",
    RoleDefinitionsRead = "roleDefinitions/read/action",
    RoleDefinitionsWrite = "roleDefinitions/write/action",
    RoleDefinitionsDelete = "roleDefinitions/delete/action",
    SecurityDomainDownload = "securitydomain/download/action",
    SecurityDomainDownloadRead = "securitydomain/download/read",
    SecurityDomainUpload = "securitydomain/upload/action",
    SecurityDomainUploadRead = "securitydomain/upload/read",
    SecurityDomainTransferKeyRead = "securitydomain/transferkey/read",
    BackupStart = "backup/start/action",
    BackupStatus = "backup/status/action",
    RestoreStart = "restore/start/action",
    RestoreStatus = "restore/status/action",
    Rng = "rng/action",
}

impl DataAction {
    /// Finds an action by its text, ignoring ASCII case as Azure does.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|a| a.as_str().eq_ignore_ascii_case(text))
    }
}
