//! Assignments and definitions as the service writes them.

use super::super::keys::escape;
use crate::http::call::Call;
use strongroom_model::role::{Permission, ROLE_DEFINITION_ID_PREFIX, RoleAssignment, RoleDefinition};
use strongroom_model::{DataAction, RoleScope};
use strongroom_wire::roles as wire;

const ASSIGNMENT_TYPE: &str = "Microsoft.Authorization/roleAssignments";
const DEFINITION_TYPE: &str = "Microsoft.Authorization/roleDefinitions";

/// The link to the next part of a list of assignments, which clients follow word for word.
pub(super) fn next_link(call: &Call, token: &str) -> String {
    let prefix = match &call.scope {
        RoleScope::Hsm => String::new(),
        scope @ (RoleScope::Keys | RoleScope::Key(_)) => scope.to_string(),
    };
    let escaped = |name| escape(call.query(name).unwrap_or_default());
    let filter = match call.query("$filter") {
        Some(_) => format!("&$filter={}", escaped("$filter")),
        None => String::new(),
    };
    let (base, version, token) = (&call.base, escaped("api-version"), escape(token));
    format!("{base}{prefix}/providers/{ASSIGNMENT_TYPE}?api-version={version}{filter}&$skiptoken={token}")
}

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use strongroom_model::role::{BUILT_IN_ROLES, CRYPTO_USER};
    use uuid::Uuid;

    #[test]
    fn an_assignment_is_written_to_the_byte() {
        let of = |scope: &str| RoleAssignment {
            id: Uuid::from_u128(1),
            principal_id: Uuid::from_u128(2),
            role_definition_id: CRYPTO_USER,
            scope: RoleScope::parse(scope).unwrap(),
        };
        let wanted = concat!(
            r#"{"id":"/providers/Microsoft.Authorization/roleAssignments/00000000-0000-0000-0000-000000000001","#,
            r#""name":"00000000-0000-0000-0000-000000000001","properties":{"#,
            r#""principalId":"00000000-0000-0000-0000-000000000002","roleDefinitionId":"Microsoft.KeyVault/providers/"#,
            r#"Microsoft.Authorization/roleDefinitions/21dbd100-6940-42c2-9190-5d6cb909625b","scope":"/"},"#,
            r#""type":"Microsoft.Authorization/roleAssignments"}"#
        );
        assert_eq!(serde_json::to_string(&assignment(&of("/"))).unwrap(), wanted);
        let at_key = assignment(&of("/keys/My-Key"));
        assert!(at_key.id.starts_with("/keys/My-Key/providers/Microsoft.Authorization/roleAssignments/"));
        assert_eq!(at_key.properties.scope, "/keys/My-Key");
    }

    #[test]
    fn a_definition_has_all_four_lists() {
        let role = BUILT_IN_ROLES.iter().find(|r| r.name == "Managed HSM Crypto Service Release User").unwrap();
        let wanted = concat!(
            r#"{"id":"Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/"#,
            r#"21dbd100-6940-42c2-9190-5d6cb909625c","name":"21dbd100-6940-42c2-9190-5d6cb909625c","properties":{"#,
            r#""assignableScopes":["/"],"description":"","permissions":[{"actions":[],"dataActions":"#,
            r#"["Microsoft.KeyVault/managedHsm/keys/release/action"],"notActions":[],"notDataActions":[]}],"#,
            r#""roleName":"Managed HSM Crypto Service Release User","type":"AKVBuiltInRole"},"#,
            r#""type":"Microsoft.Authorization/roleDefinitions"}"#
        );
        assert_eq!(serde_json::to_string(&definition(&role.definition())).unwrap(), wanted);
    }
}
