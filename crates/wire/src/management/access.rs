//! Role assignments and role definitions of the management plane.

use crate::object;
use serde::{Deserialize, Serialize};

/// `PUT …/roleAssignments/{guid}`; versions before 2018 nest the same members.
#[derive(Deserialize)]
pub struct AssignmentParameters {
    /// Who gets which role.
    #[serde(default, deserialize_with = "object::optional")]
    pub properties: Option<AssignmentInput>,
}

/// `properties` of a request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentInput {
    /// What the caller says about it.
    pub description: Option<String>,
    /// Object id of a user, group or application.
    pub principal_id: Option<String>,
    /// `User`, `Group` or `ServicePrincipal`.
    pub principal_type: Option<String>,
    /// Id of the role.
    pub role_definition_id: Option<String>,
}

/// A role assignment.
#[derive(Serialize, Deserialize)]
pub struct Assignment {
    /// Its path.
    pub id: String,
    /// Its GUID.
    pub name: String,
    /// Who has which role where.
    pub properties: AssignmentProperties,
    /// `Microsoft.Authorization/roleAssignments`
    #[serde(rename = "type")]
    pub kind: String,
}

/// `properties` as answered.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentProperties {
    /// Who made it.
    pub created_by: String,
    /// RFC 3339.
    pub created_on: String,
    /// What the caller said about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Object id of a user, group or application.
    pub principal_id: String,
    /// Its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal_type: Option<String>,
    /// Id of the role.
    pub role_definition_id: String,
    /// Where.
    pub scope: String,
    /// Who changed it last.
    pub updated_by: String,
    /// RFC 3339.
    pub updated_on: String,
}

/// A role.
#[derive(Serialize, Deserialize)]
pub struct Definition {
    /// Its path.
    pub id: String,
    /// Its GUID.
    pub name: String,
    /// What it is.
    pub properties: DefinitionProperties,
    /// `Microsoft.Authorization/roleDefinitions`
    #[serde(rename = "type")]
    pub kind: String,
}

/// `properties` of a role.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DefinitionProperties {
    /// Where it can be given.
    pub assignable_scopes: Vec<String>,
    /// For people.
    pub description: String,
    /// What it allows.
    pub permissions: Vec<DefinitionPermission>,
    /// Its name.
    pub role_name: String,
    /// `BuiltInRole`
    #[serde(rename = "type")]
    pub role_type: String,
}

/// One entry of `permissions`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DefinitionPermission {
    /// What is allowed.
    pub actions: Vec<String>,
    /// Nothing on any data plane.
    pub data_actions: Vec<String>,
    /// What of it is taken away again.
    pub not_actions: Vec<String>,
    /// Nothing.
    pub not_data_actions: Vec<String>,
}
