//! Role assignments and role definitions of the management plane.

use super::parse::{self, Term, filter};
use super::render::Renderer;
use super::{ManagementCall, ManagementFuture, empty};
use strongroom_model::error::{BadParameter, Error, ManagementError, Result};
use strongroom_model::management::{BUILT_IN_ROLES, built_in_role};
use uuid::Uuid;

fn id(call: &ManagementCall) -> Result<Uuid> {
    parse::guid("roleAssignmentName", call.param("id"))
}

fn object(call: &ManagementCall) -> String {
    format!("roleAssignments/{}", call.param("id"))
}

const FILTER: Error = Error::BadParameter(BadParameter::Filter);

/// `RoleAssignments_ListForScope`: those at the scope, above and below it that the caller may read.
pub fn list_assignments(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let terms = filter(call.query("$filter"))?;
        // At the root there is nothing.
        let Some(scope) = call.scope.clone() else {
            return call.page("/providers/Microsoft.Authorization/roleAssignments", Vec::<()>::new());
        };
        let mut all = call.engine.management_assignments(&call.caller, &scope);
        for term in &terms {
            match term {
                Term::Call(name, _) if name == "atscope" => all.retain(|a| a.scope.covers(&scope)),
                Term::Call(name, value) if name == "assignedto" => {
                    let wanted = parse::guid("$filter", value)?;
                    all.retain(|a| a.principal_id == wanted);
                }
                Term::Equals(name, value) if name == "principalid" => {
                    let wanted = parse::guid("$filter", value)?;
                    all.retain(|a| a.principal_id == wanted);
                }
                Term::Call(..) | Term::Equals(..) => return Err(FILTER),
            }
        }
        let value = all.iter().map(|a| Renderer(&call).assignment(a)).collect();
        call.page(&format!("{scope}/providers/Microsoft.Authorization/roleAssignments"), value)
    })
}

/// `RoleAssignments_Get`
pub fn get_assignment(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let found = call.engine.management_assignment(call.grant()?, id(&call)?)?;
        call.answer(200, &Renderer(&call).assignment(&found), object(&call), false)
    })
}

/// `RoleAssignments_Create`: gives a role to a principal at a scope.
pub fn put_assignment(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let (id, asked) = (id(&call)?, parse::assignment(&call)?);
        let (made, new) =
            call.engine.put_management_assignment(call.grant()?, call.recorded.clone(), id, asked).await?;
        call.answer(if new { 201 } else { 200 }, &Renderer(&call).assignment(&made), object(&call), true)
    })
}

/// `RoleAssignments_Delete`: 204 when there is none.
pub fn delete_assignment(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let gone = call.engine.remove_management_assignment(call.grant()?, call.recorded.clone(), id(&call)?).await?;
        match gone {
            Some(gone) => call.answer(200, &Renderer(&call).assignment(&gone), object(&call), true),
            None => Ok(empty(204, object(&call), true)),
        }
    })
}

/// `RoleDefinitions_List`: the built-in roles; there are no others.
pub fn list_definitions(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let mut all: Vec<_> = BUILT_IN_ROLES.iter().collect();
        for term in filter(call.query("$filter"))? {
            match term {
                Term::Call(name, _) if name == "atscopeandbelow" || name == "atscope" => {}
                Term::Equals(name, value) if name == "rolename" => {
                    all.retain(|role| role.name.eq_ignore_ascii_case(&value));
                }
                Term::Equals(name, value) if name == "type" => {
                    all.retain(|_| value.eq_ignore_ascii_case("BuiltInRole"));
                }
                Term::Call(..) | Term::Equals(..) => return Err(FILTER),
            }
        }
        let value = all.iter().map(|role| Renderer(&call).definition(role)).collect();
        let scope = call.scope.as_ref().map(ToString::to_string).unwrap_or_default();
        call.page(&format!("{scope}/providers/Microsoft.Authorization/roleDefinitions"), value)
    })
}

/// `RoleDefinitions_Get`
pub fn get_definition(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let role = built_in_role(id(&call)?).ok_or(ManagementError::RoleDefinitionNotFound)?;
        call.answer(200, &Renderer(&call).definition(role), format!("roleDefinitions/{}", role.id), false)
    })
}
