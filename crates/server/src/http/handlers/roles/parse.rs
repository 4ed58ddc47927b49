//! From paths, filters and bodies to local RBAC's words.

use crate::http::call::Call;
use strongroom_engine::roles::{AssignmentFilter, CreateRoleAssignment, SetRoleDefinition};
use strongroom_model::error::{BadName, BadParameter, Error, Result};
use strongroom_model::role::{Permission, ROLE_DEFINITION_ID_PREFIX, RoleType};
use strongroom_model::{DataAction, RoleScope};
use strongroom_wire::roles::{
    PermissionInput, RoleAssignmentCreateParameters, RoleDefinitionCreateParameters, RoleDefinitionInput,
};
use uuid::Uuid;

/// Characters of a GUID with its hyphens, the one form that the API has.
const GUID_LEN: usize = 36;

const fn bad(reason: BadParameter) -> Error {
    Error::BadParameter(reason)
}

fn guid(text: &str) -> Option<Uuid> {
    (text.len() == GUID_LEN).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// `{id}` of the path.
pub(super) fn path_guid(call: &Call) -> Result<Uuid> {
    guid(call.param("id")).ok_or(Error::BadName(BadName::Guid))
}

/// `$filter` of the list of assignments.
pub(super) fn assignment_filter(filter: Option<&str>) -> Result<AssignmentFilter> {
    let words: Vec<&str> = filter.unwrap_or("").split_ascii_whitespace().collect();
    match words.as_slice() {
        [] => Ok(AssignmentFilter::All),
        [at] if at.eq_ignore_ascii_case("atScope()") => Ok(AssignmentFilter::AtScope),
        [member, eq, value] if member.eq_ignore_ascii_case("principalId") && eq.eq_ignore_ascii_case("eq") => {
            let quoted = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\''));
            quoted.and_then(guid).map(AssignmentFilter::Principal).ok_or(bad(BadParameter::Filter))
        }
        _ => Err(bad(BadParameter::Filter)),
    }
}

/// `$filter` of the list of definitions: all of them live at `/`, so `atScope()` leaves out none.
pub(super) fn definition_filter(filter: Option<&str>) -> Result<()> {
    match assignment_filter(filter)? {
        AssignmentFilter::All | AssignmentFilter::AtScope => Ok(()),
        AssignmentFilter::Principal(_) => Err(bad(BadParameter::Filter)),
    }
}

/// `PUT …/roleAssignments/{guid}`.
pub(super) fn assignment(body: RoleAssignmentCreateParameters, scope: RoleScope) -> Result<CreateRoleAssignment> {
    let properties = body.properties.ok_or(bad(BadParameter::Missing("properties")))?;
    let principal = properties.principal_id.ok_or(bad(BadParameter::Missing("principalId")))?;
    let role = properties.role_definition_id.ok_or(bad(BadParameter::Missing("roleDefinitionId")))?;
    Ok(CreateRoleAssignment {
        principal_id: guid(&principal).ok_or(bad(BadParameter::Malformed("principalId")))?,
        role_definition_id: definition_id(&role).ok_or(bad(BadParameter::Malformed("roleDefinitionId")))?,
        scope,
    })
}

/// The GUID of a definition, bare or behind a path whose end is that of every definition's id; the scope in front of it
/// says nothing, as definitions live at `/` only.
fn definition_id(text: &str) -> Option<Uuid> {
    let Some((path, id)) = text.rsplit_once('/') else { return guid(text) };
    let end = ROLE_DEFINITION_ID_PREFIX.trim_start_matches("Microsoft.KeyVault/").trim_end_matches('/');
    let start = path.len().checked_sub(end.len())?;
    let (scope, tail) = path.split_at_checked(start)?;
    let fits = tail.eq_ignore_ascii_case(end) && (scope.is_empty() || scope.ends_with('/'));
    if fits { guid(id) } else { None }
}

/// `PUT …/roleDefinitions/{guid}`.
pub(super) fn definition(body: RoleDefinitionCreateParameters) -> Result<SetRoleDefinition> {
    let properties = body.properties.ok_or(bad(BadParameter::Missing("properties")))?;
    let RoleDefinitionInput { assignable_scopes, description, permissions, role_name, kind } = properties;
    if kind.is_some_and(|kind| !kind.eq_ignore_ascii_case(RoleType::Custom.as_str())) {
        return Err(bad(BadParameter::Unsupported("type")));
    }
    for scope in assignable_scopes.unwrap_or_default() {
        if !matches!(RoleScope::parse(&scope), Ok(RoleScope::Hsm)) {
            return Err(bad(BadParameter::Unsupported("assignableScopes")));
        }
    }
    let permissions = permissions.unwrap_or_default().into_iter().map(permission).collect::<Result<_>>()?;
    Ok(SetRoleDefinition {
        role_name: role_name.filter(|name| !name.is_empty()),
        description: description.unwrap_or_default(),
        permissions,
    })
}

fn permission(given: PermissionInput) -> Result<Permission> {
    let none = |list: Option<Vec<String>>| list.is_none_or(|list| list.is_empty());
    if !none(given.actions) {
        return Err(bad(BadParameter::Unsupported("actions")));
    }
    if !none(given.not_actions) {
        return Err(bad(BadParameter::Unsupported("notActions")));
    }
    Ok(Permission {
        data_actions: data_actions("dataActions", given.data_actions)?,
        not_data_actions: data_actions("notDataActions", given.not_data_actions)?,
    })
}

/// Each action once, in the order of the table.
fn data_actions(parameter: &'static str, texts: Option<Vec<String>>) -> Result<Vec<DataAction>> {
    let parse = |text: &String| DataAction::parse(text).ok_or(bad(BadParameter::Unknown(parameter)));
    let mut actions = texts.unwrap_or_default().iter().map(parse).collect::<Result<Vec<_>>>()?;
    actions.sort_unstable();
    actions.dedup();
    Ok(actions)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ID: &str = "21dbd100-6940-42c2-9190-5d6cb909625b";

    fn id() -> Uuid {
        Uuid::try_parse(ID).unwrap()
    }

    #[test]
    fn a_guid_has_hyphens_and_nothing_around_it() {
        assert_eq!(guid(ID), Some(id()));
        assert_eq!(guid(&ID.to_uppercase()), Some(id()));
        let (simple, braced, urn) = (ID.replace('-', ""), format!("{{{ID}}}"), format!("urn:uuid:{ID}"));
        for bad in
            ["", "x", &simple, &braced, &urn, &ID.replace('2', "g"), &ID[1..], "é1dbd100-6940-42c2-9190-5d6cb909625"]
        {
            assert_eq!(guid(bad), None, "{bad}");
        }
    }

    #[test]
    fn filters_are_read_or_refused() {
        assert_eq!(assignment_filter(None), Ok(AssignmentFilter::All));
        assert_eq!(assignment_filter(Some("")), Ok(AssignmentFilter::All));
        assert_eq!(assignment_filter(Some(" atScope() ")), Ok(AssignmentFilter::AtScope));
        let principal = format!("principalId eq '{ID}'");
        assert_eq!(assignment_filter(Some(&principal)), Ok(AssignmentFilter::Principal(id())));
        assert_eq!(definition_filter(Some("atScope()")), Ok(()));
        assert_eq!(definition_filter(Some(&principal)), Err(bad(BadParameter::Filter)));
        for refused in [
            "atScope".to_owned(),
            "assignedTo('x')".to_owned(),
            "principalId eq".to_owned(),
            format!("principalId eq {ID}"),
            "principalId eq 'x'".to_owned(),
            format!("principalId ne '{ID}'"),
            format!("{principal} and atScope()"),
            format!("principalId eq '{ID}"),
            "'".to_owned(),
        ] {
            assert_eq!(assignment_filter(Some(&refused)), Err(bad(BadParameter::Filter)), "{refused}");
        }
    }

    #[test]
    fn definition_ids_are_taken_bare_and_as_paths() {
        for good in [
            ID.to_owned(),
            format!("{ROLE_DEFINITION_ID_PREFIX}{ID}"),
            format!("/{ROLE_DEFINITION_ID_PREFIX}{ID}"),
            format!("/{ROLE_DEFINITION_ID_PREFIX}{ID}").to_uppercase(),
            format!("/providers/Microsoft.Authorization/roleDefinitions/{ID}"),
            format!("providers/microsoft.authorization/roledefinitions/{ID}"),
            format!("/keys/providers/Microsoft.Authorization/roleDefinitions/{ID}"),
        ] {
            assert_eq!(definition_id(&good), Some(id()), "{good}");
        }
        for bad in [
            String::new(),
            "/".to_owned(),
            format!("/{ID}"),
            format!("roleDefinitions/{ID}"),
            format!("xproviders/Microsoft.Authorization/roleDefinitions/{ID}"),
            format!("/providers/Microsoft.Authorization/roleAssignments/{ID}"),
            format!("/providers/Microsoft.Authorization/roleDefinitions/{ID}/"),
            format!("éééé/providers/Microsoft.Authorization/roleDefinition/{ID}"),
        ] {
            assert_eq!(definition_id(&bad), None, "{bad}");
        }
    }

    #[test]
    fn an_assignment_names_principal_and_role() {
        let read = |json: String| assignment(strongroom_wire::parse(json.as_bytes()).unwrap(), RoleScope::Keys);
        let made = read(format!(r#"{{"properties":{{"principalId":"{ID}","roleDefinitionId":"{ID}"}}}}"#)).unwrap();
        assert_eq!((made.principal_id, made.role_definition_id, made.scope), (id(), id(), RoleScope::Keys));
        for (json, reason) in [
            ("{}".to_owned(), BadParameter::Missing("properties")),
            (r#"{"properties":{}}"#.to_owned(), BadParameter::Missing("principalId")),
            (r#"{"properties":{"principalId":"x"}}"#.to_owned(), BadParameter::Missing("roleDefinitionId")),
            (
                format!(r#"{{"properties":{{"principalId":"x","roleDefinitionId":"{ID}"}}}}"#),
                BadParameter::Malformed("principalId"),
            ),
            (
                format!(r#"{{"properties":{{"principalId":"{ID}","roleDefinitionId":"x"}}}}"#),
                BadParameter::Malformed("roleDefinitionId"),
            ),
        ] {
            assert_eq!(read(json.clone()).err(), Some(bad(reason)), "{json}");
        }
    }

    #[test]
    fn a_definition_has_known_data_actions_at_the_hsm() {
        let read = |inner: &str| {
            let json = format!(r#"{{"properties":{{{inner}}}}}"#);
            definition(strongroom_wire::parse(json.as_bytes()).unwrap())
        };
        let (sign, verify) = (DataAction::KeysSign.as_str(), DataAction::KeysVerify.as_str());
        let made = read(&format!(
            r#""roleName":"","type":"customrole","assignableScopes":["/"],"permissions":
            [{{"dataActions":["{verify}","{}","{verify}"],"notDataActions":["{verify}"],"actions":[],"notActions":null}}]"#,
            sign.to_uppercase()
        ));
        let made = made.unwrap();
        assert_eq!((made.role_name, made.description.as_str()), (None, ""));
        assert_eq!(made.permissions[0].data_actions, [DataAction::KeysSign, DataAction::KeysVerify]);
        assert_eq!(made.permissions[0].not_data_actions, [DataAction::KeysVerify]);
        for (inner, reason) in [
            (r#""permissions":[{"actions":["read"]}]"#, BadParameter::Unsupported("actions")),
            (r#""permissions":[{"notActions":["read"]}]"#, BadParameter::Unsupported("notActions")),
            (r#""permissions":[{"dataActions":["*"]}]"#, BadParameter::Unknown("dataActions")),
            (r#""permissions":[{"notDataActions":["x"]}]"#, BadParameter::Unknown("notDataActions")),
            (r#""assignableScopes":["/keys"]"#, BadParameter::Unsupported("assignableScopes")),
            (r#""assignableScopes":["/secrets"]"#, BadParameter::Unsupported("assignableScopes")),
            (r#""type":"AKVBuiltInRole""#, BadParameter::Unsupported("type")),
        ] {
            assert_eq!(read(inner).err(), Some(bad(reason)), "{inner}");
        }
    }
}
