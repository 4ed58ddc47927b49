//! What can go wrong on the management plane.

use crate::management::{ManagementAction, ResourceKind};

/// Why a request to the management plane is not carried out; codes are those of Azure Resource Manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManagementError {
    /// `api-version` is missing: 400 `MissingApiVersionParameter`.
    ApiVersionMissing,
    /// `api-version` is none that the operation has: 400 `InvalidApiVersionParameter`.
    ApiVersion,
    /// The scope is none: 400.
    BadScope,
    /// The name of a resource group breaks its rules: 400.
    BadGroupName,
    /// The name of a place breaks its rules: 400.
    BadLocation,
    /// The name of a vault breaks its rules: 400 `VaultNameNotValid`; of a managed HSM: 400 `BadRequest`.
    BadResourceName(ResourceKind),
    /// A property of the body has a value that it cannot have: 400; the property, and what is expected.
    BadProperty(&'static str, &'static str),
    /// A property that is fixed at creation would change: 400; its name.
    Immutable(&'static str),
    /// The caller's roles do not allow it: 403 `AuthorizationFailed`.
    NotAuthorized {
        /// What was asked.
        action: ManagementAction,
        /// Where.
        scope: String,
    },
    /// 404 `SubscriptionNotFound`
    SubscriptionNotFound(String),
    /// 404 `ResourceGroupNotFound`
    GroupNotFound(String),
    /// 404 `ResourceNotFound`: type and name, and the group.
    ResourceNotFound {
        /// Vault or managed HSM.
        kind: ResourceKind,
        /// Its name.
        name: String,
        /// Where it was looked for.
        group: String,
    },
    /// 404: no deleted one of this name.
    DeletedNotFound(ResourceKind, String),
    /// 404: no such private endpoint connection.
    ConnectionNotFound(String),
    /// 404: no such operation.
    OperationNotFound,
    /// 409 `VaultAlreadyExists`, or its like for a managed HSM: somebody has the name.
    NameTaken(ResourceKind, String),
    /// 409 `ConflictError`: a deleted one has the name.
    NameDeleted(ResourceKind, String),
    /// 409 `InvalidResourceLocation`: it lies elsewhere.
    LocationDiffers(String),
    /// 409: the group is being used.
    Concurrent,
    /// 405: purge protection is on.
    PurgeProtected(ResourceKind, String),
    /// 409: the number of something is at its limit; what.
    LimitReached(&'static str),
    /// 409 `RoleAssignmentExists`
    RoleAssignmentExists,
    /// 409 `RoleAssignmentUpdateNotPermitted`: the GUID is in use with other contents.
    RoleAssignmentDiffers,
    /// 404 `RoleAssignmentNotFound`
    RoleAssignmentNotFound,
    /// 404 `RoleDefinitionDoesNotExist`
    RoleDefinitionNotFound,
    /// 403: it would remove the last Owner of the subscription.
    LastOwner,
    /// 404: no object of this id in the directory.
    DirectoryObjectNotFound(String),
    /// 400: the question needs a person's token.
    DelegatedOnly,
}
