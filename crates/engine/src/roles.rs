//! Local RBAC: what the role operations take and give.

pub(crate) mod change;
mod read;
pub(crate) mod set;

use strongroom_model::role::{Permission, RoleScope};
use uuid::Uuid;

/// Assignments of one page of their list, at most: those of `/` and `/keys` and of many keys fit into one.
pub const ASSIGNMENTS_PAGE_MAX: usize = 500;

/// `$filter` of the role assignment list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignmentFilter {
    /// None: at, above and below the scope.
    All,
    /// `atScope()`: at or above the scope.
    AtScope,
    /// `principalId eq '{guid}'`: at, above or below the scope, for that principal.
    Principal(Uuid),
}

/// `PUT …/roleAssignments/{guid}`, parsed; the scope is the path's.
#[derive(Clone, Debug)]
pub struct CreateRoleAssignment {
    /// `principalId`
    pub principal_id: Uuid,
    /// `roleDefinitionId`, its GUID.
    pub role_definition_id: Uuid,
    /// The path's scope.
    pub scope: RoleScope,
}

/// `PUT …/roleDefinitions/{guid}`, parsed.
#[derive(Clone, Debug)]
pub struct SetRoleDefinition {
    /// `roleName`; the GUID when not given.
    pub role_name: Option<String>,
    /// `description`
    pub description: String,
    /// `permissions`
    pub permissions: Vec<Permission>,
}
