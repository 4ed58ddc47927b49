//! From paths, filters and bodies to local RBAC's words.

use crate::http::call::Call;
use strongroom_engine::roles::{AssignmentFilter, CreateRoleAssignment, SetRoleDefinition};
use strongroom_model::error::{BadName, BadParameter, Error, Result};
use strongroom_model::role::{Permission, ROLE_DEFINITION_ID_PREFIX, RoleType};
use strongroom_model::{DataAction, RoleScope, limits};
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
        role_name: bounded("roleName", role_name)?.filter(|name| !name.is_empty()),
        description: bounded("description", description)?.unwrap_or_default(),
        permissions,
    })
}

fn bounded(parameter: &'static str, text: Option<String>) -> Result<Option<String>> {
    match text {
        Some(text) if text.chars().nth(limits::ROLE_TEXT_MAX).is_some() => {
            Err(bad(BadParameter::Length { parameter, min: 0, max: limits::ROLE_TEXT_MAX }))
        }
        text => Ok(text),
    }
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
