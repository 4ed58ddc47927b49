//! Errors of the management plane, with the codes of Azure Resource Manager.

use super::{Rendered, render};
use strongroom_model::Principal;
use strongroom_model::error::{BadParameter, Error, ManagementError};
use strongroom_model::management::ResourceKind;

/// Turns an error into what goes out on the management plane and the directory.
pub(in crate::http) fn render_management(error: &Error, caller: Option<&Principal>) -> Rendered {
    if let Error::Management(reason) = error {
        return management(reason, caller);
    }
    let rendered = render(error);
    let code = match (error, rendered.code) {
        (Error::BadParameter(BadParameter::Body(_)), _) => "InvalidRequestContent",
        (_, "BadParameter") => "BadRequest",
        (_, "Unauthorized") => "AuthenticationFailed",
        (_, "Conflict") => "ConflictError",
        (_, code) => code,
    };
    Rendered { code, ..rendered }
}

/// The kind in a message.
const fn word(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::ManagedHsm => "managed HSM",
        ResourceKind::Vault => "vault",
    }
}

#[allow(clippy::too_many_lines, reason = "a table: one row an error")]
pub(super) fn management(reason: &ManagementError, caller: Option<&Principal>) -> Rendered {
    let with = |status, code, message: String| Rendered { status, code, inner: None, message, retry_after: None };
    match reason {
        ManagementError::ApiVersionMissing => with(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.".into(),
        ),
        ManagementError::ApiVersion => with(
            400,
            "InvalidApiVersionParameter",
            "The api-version is invalid: send a date that this operation has, for example 2026-05-15.".into(),
        ),
        ManagementError::BadScope => with(
            400,
            "InvalidScope",
            "The scope is not valid: expected /subscriptions/{id}, a resource group or a resource below it.".into(),
        ),
        ManagementError::BadGroupName => with(
            400,
            "InvalidResourceGroup",
            "The name of the resource group is not valid: 1 to 90 letters, digits, underscores, hyphens, \
                periods and parentheses, no period last."
                .into(),
        ),
        ManagementError::BadLocation => with(
            400,
            "LocationNotAvailableForResourceType",
            "The location is not valid: expected the name of a place, such as eastus.".into(),
        ),
        ManagementError::BadResourceName(kind) => {
            let code = match kind {
                ResourceKind::ManagedHsm => "BadRequest",
                ResourceKind::Vault => "VaultNameNotValid",
            };
            with(
                400,
                code,
                format!(
                    "The {} name is not valid: 3 to 24 letters, digits and single hyphens, a letter first and no \
                    hyphen last.",
                    word(*kind)
                ),
            )
        }
        ManagementError::BadProperty(property, expected) => with(
            400,
            "BadRequest",
            format!("The property {property:?} has a value that it cannot have: expected {expected}."),
        ),
        ManagementError::Immutable(property) => {
            with(400, "BadRequest", format!("The property {property:?} cannot be changed once it is set."))
        }
        ManagementError::NotAuthorized { action, scope } => {
            let who = caller.map_or_else(|| "unknown".to_owned(), |c| c.object_id.to_string());
            let client = caller.and_then(|c| c.app_id.clone()).map_or_else(|| who.clone(), |app| app.to_string());
            with(
                403,
                "AuthorizationFailed",
                format!(
                    "The client '{client}' with object id '{who}' does not have authorization to perform action \
                        '{}' over scope '{scope}' or the scope is invalid. If access was recently granted, please \
                        refresh your credentials.",
                    action.as_str()
                ),
            )
        }
        ManagementError::SubscriptionNotFound(id) => {
            with(404, "SubscriptionNotFound", format!("The subscription '{id}' could not be found."))
        }
        ManagementError::GroupNotFound(group) => {
            with(404, "ResourceGroupNotFound", format!("Resource group '{group}' could not be found."))
        }
        ManagementError::ResourceNotFound { kind, name, group } => with(
            404,
            "ResourceNotFound",
            format!(
                "The Resource '{}/{name}' under resource group '{group}' was not found. For more details please \
                    go to https://aka.ms/ARMResourceNotFoundFix",
                kind.as_str()
            ),
        ),
        ManagementError::DeletedNotFound(kind, name) => {
            let code = match kind {
                ResourceKind::ManagedHsm => "ResourceNotFound",
                ResourceKind::Vault => "DeletedVaultNotFound",
            };
            with(
                404,
                code,
                format!(
                    "There is no deleted {} '{name}' here: it does not exist, is not deleted, or lies elsewhere.",
                    word(*kind)
                ),
            )
        }
        ManagementError::ConnectionNotFound(name) => {
            with(404, "ResourceNotFound", format!("The private endpoint connection '{name}' was not found."))
        }
        ManagementError::OperationNotFound => {
            with(404, "OperationNotFound", "There is no such operation, or it ended long ago.".into())
        }
        ManagementError::NameTaken(kind, name) => {
            let code = match kind {
                ResourceKind::ManagedHsm => "ManagedHsmAlreadyExists",
                ResourceKind::Vault => "VaultAlreadyExists",
            };
            with(
                409,
                code,
                format!(
                    "The name '{name}' is already in use: {} names are unique in the whole installation.",
                    word(*kind)
                ),
            )
        }
        ManagementError::NameDeleted(kind, name) => with(
            409,
            "ConflictError",
            format!(
                "A {} with the same name '{name}' already exists in deleted state. You need to either recover \
                    or purge the existing one.",
                word(*kind)
            ),
        ),
        ManagementError::LocationDiffers(location) => with(
            409,
            "InvalidResourceLocation",
            format!("The resource lies in '{location}': its location cannot be changed."),
        ),
        ManagementError::Concurrent => {
            with(409, "ConflictError", "Another request changed the same thing at the same time: try again.".into())
        }
        ManagementError::PurgeProtected(kind, name) => {
            let operation = match kind {
                ResourceKind::ManagedHsm => "DeletedManagedHsmPurge",
                ResourceKind::Vault => "DeletedVaultPurge",
            };
            with(
                405,
                "MethodNotAllowed",
                format!("Operation '{operation}' is not allowed: purge protection of '{name}' is on."),
            )
        }
        ManagementError::LimitReached(what) => {
            with(409, "QuotaExceeded", format!("The number of {what} is at its limit."))
        }
        ManagementError::RoleAssignmentExists => {
            with(409, "RoleAssignmentExists", "The role assignment already exists.".into())
        }
        ManagementError::RoleAssignmentDiffers => with(
            409,
            "RoleAssignmentUpdateNotPermitted",
            "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.".into(),
        ),
        ManagementError::RoleAssignmentNotFound => {
            with(404, "RoleAssignmentNotFound", "The role assignment is not found.".into())
        }
        ManagementError::RoleDefinitionNotFound => with(
            404,
            "RoleDefinitionDoesNotExist",
            "The specified role definition does not exist: there are built-in roles only.".into(),
        ),
        ManagementError::LastOwner => with(
            403,
            "LastOwnerRoleAssignment",
            "This would remove the last Owner of the subscription: give the role to somebody else first.".into(),
        ),
        ManagementError::DirectoryObjectNotFound(id) => with(
            404,
            "Request_ResourceNotFound",
            format!(
                "Resource '{id}' does not exist or one of its queried reference-property objects are not \
                present."
            ),
        ),
        ManagementError::DelegatedOnly => {
            with(400, "BadRequest", "/me request is only valid with delegated authentication flow.".into())
        }
    }
}
