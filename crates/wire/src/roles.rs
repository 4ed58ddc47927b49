//! Local RBAC: role assignments and role definitions.

use crate::object;
use serde::{Deserialize, Serialize};

/// `PUT …/roleAssignments/{guid}`.
#[derive(Deserialize)]
pub struct RoleAssignmentCreateParameters {
    /// Who gets which role.
    #[serde(default, deserialize_with = "object::optional")]
    pub properties: Option<RoleAssignmentProperties>,
}

/// `properties` of a request.
#[derive(Deserialize)]
pub struct RoleAssignmentProperties {
    /// Object id of a user, group or application.
    #[serde(rename = "principalId")]
    pub principal_id: Option<String>,
    /// Id of the definition.
    #[serde(rename = "roleDefinitionId")]
    pub role_definition_id: Option<String>,
}

/// A role assignment as answered.
#[derive(Serialize, Deserialize)]
pub struct RoleAssignment {
    /// Its path.
    pub id: String,
    /// Its GUID.
    pub name: String,
    /// Who has which role where.
    pub properties: RoleAssignmentPropertiesWithScope,
    /// `Microsoft.Authorization/roleAssignments`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// `properties` as answered.
#[derive(Serialize, Deserialize)]
pub struct RoleAssignmentPropertiesWithScope {
    /// Object id of a user, group or application.
    #[serde(rename = "principalId")]
    pub principal_id: String,
    /// Id of the definition.
    #[serde(rename = "roleDefinitionId")]
    pub role_definition_id: String,
    /// `/`, `/keys` or `/keys/{name}`.
    pub scope: String,
}

/// `PUT …/roleDefinitions/{guid}`.
#[derive(Deserialize)]
pub struct RoleDefinitionCreateParameters {
    /// What the role is.
    #[serde(default, deserialize_with = "object::optional")]
    pub properties: Option<RoleDefinitionInput>,
}

/// `properties` of a request.
#[derive(Deserialize)]
pub struct RoleDefinitionInput {
    /// Where the role may be assigned.
    #[serde(rename = "assignableScopes")]
    pub assignable_scopes: Option<Vec<String>>,
    /// For people.
    pub description: Option<String>,
    /// What it allows.
    #[serde(default, deserialize_with = "object::list")]
    pub permissions: Option<Vec<PermissionInput>>,
    /// For people.
    #[serde(rename = "roleName")]
    pub role_name: Option<String>,
    /// `CustomRole`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// One entry of `permissions` of a request.
#[derive(Deserialize)]
pub struct PermissionInput {
    /// Of the management plane.
    pub actions: Option<Vec<String>>,
    /// What is allowed.
    #[serde(rename = "dataActions")]
    pub data_actions: Option<Vec<String>>,
    /// Of the management plane.
    #[serde(rename = "notActions")]
    pub not_actions: Option<Vec<String>>,
    /// What of it is taken away.
    #[serde(rename = "notDataActions")]
    pub not_data_actions: Option<Vec<String>>,
}

/// A role definition as answered.
#[derive(Serialize, Deserialize)]
pub struct RoleDefinition {
    /// Its path.
    pub id: String,
    /// Its GUID.
    pub name: String,
    /// What the role is.
    pub properties: RoleDefinitionProperties,
    /// `Microsoft.Authorization/roleDefinitions`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// `properties` as answered.
#[derive(Serialize, Deserialize)]
pub struct RoleDefinitionProperties {
    /// Where the role may be assigned.
    #[serde(rename = "assignableScopes")]
    pub assignable_scopes: Vec<String>,
    /// For people.
    pub description: String,
    /// What it allows.
    pub permissions: Vec<Permission>,
    /// For people.
    #[serde(rename = "roleName")]
    pub role_name: String,
    /// `AKVBuiltInRole` or `CustomRole`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// One entry of `permissions` as answered: all four lists, empty or not.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Permission {
    /// Of the management plane.
    pub actions: Vec<String>,
    /// What is allowed.
    #[serde(rename = "dataActions")]
    pub data_actions: Vec<String>,
    /// Of the management plane.
    #[serde(rename = "notActions")]
    pub not_actions: Vec<String>,
    /// What of it is taken away.
    #[serde(rename = "notDataActions")]
    pub not_data_actions: Vec<String>,
}

/// A list of [`RoleAssignment`] or [`RoleDefinition`], or a part of it.
#[derive(Serialize, Deserialize)]
pub struct RoleList<T> {
    /// Where the next part is; absent behind the last one.
    #[serde(rename = "nextLink", skip_serializing_if = "Option::is_none", default)]
    pub next_link: Option<String>,
    /// The lines.
    pub value: Vec<T>,
}
