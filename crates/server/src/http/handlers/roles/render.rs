//! Assignments and definitions as the service writes them.

use strongroom_model::role::{Permission, ROLE_DEFINITION_ID_PREFIX, RoleAssignment, RoleDefinition};
use strongroom_model::{DataAction, RoleScope};
use strongroom_wire::roles as wire;

const ASSIGNMENT_TYPE: &str = "Microsoft.Authorization/roleAssignments";
const DEFINITION_TYPE: &str = "Microsoft.Authorization/roleDefinitions";

pub(super) fn assignment(of: &RoleAssignment) -> wire::RoleAssignment {
    let prefix = match &of.scope {
        RoleScope::Hsm => String::new(),
        scope @ (RoleScope::Keys | RoleScope::Key(_)) => scope.to_string(),
    };
    wire::RoleAssignment {
        id: format!("{prefix}/providers/{ASSIGNMENT_TYPE}/{}", of.id),
        name: of.id.to_string(),
        properties: wire::RoleAssignmentPropertiesWithScope {
            principal_id: of.principal_id.to_string(),
            role_definition_id: format!("{ROLE_DEFINITION_ID_PREFIX}{}", of.role_definition_id),
            scope: of.scope.to_string(),
        },
        kind: ASSIGNMENT_TYPE.to_owned(),
    }
}

pub(super) fn definition(of: &RoleDefinition) -> wire::RoleDefinition {
    wire::RoleDefinition {
        id: format!("{ROLE_DEFINITION_ID_PREFIX}{}", of.id),
        name: of.id.to_string(),
        properties: wire::RoleDefinitionProperties {
            assignable_scopes: vec![RoleScope::Hsm.to_string()],
            description: of.description.clone(),
            permissions: of.permissions.iter().map(permission).collect(),
            role_name: of.role_name.clone(),
            kind: of.role_type.as_str().to_owned(),
        },
        kind: DEFINITION_TYPE.to_owned(),
    }
}

fn permission(of: &Permission) -> wire::Permission {
    let texts = |actions: &[DataAction]| actions.iter().map(|a| a.as_str().to_owned()).collect();
    wire::Permission {
        actions: Vec::new(),
        data_actions: texts(&of.data_actions),
        not_actions: Vec::new(),
        not_data_actions: texts(&of.not_data_actions),
    }
}
