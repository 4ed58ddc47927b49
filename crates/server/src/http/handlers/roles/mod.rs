//! Local RBAC's REST operations.

mod parse;
mod render;

use super::json;
use crate::http::call::{Call, HandlerFuture};
use strongroom_engine::PageRequest;
use strongroom_model::RoleScope;
use strongroom_model::error::{BadName, Error, Result};
use strongroom_wire::roles::RoleList;
use uuid::Uuid;

/// `RoleAssignments_ListForScope`: who may do what at a scope.
pub fn list_role_assignments(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let filter = parse::assignment_filter(call.query("$filter"))?;
        let after = call.query("$skiptoken").filter(|token| !token.is_empty()).map(str::to_owned);
        let page = PageRequest { size: 0, after };
        let found = call.engine.list_role_assignments(&call.grant, call.scope.clone(), filter, page).await?;
        let next_link = found.next.as_deref().map(|token| render::next_link(&call, token));
        let body = RoleList { next_link, value: found.items.iter().map(render::assignment).collect() };
        json::answer(200, &body, String::new(), false)
    })
}

/// `RoleAssignments_Get`: one assignment.
pub fn get_role_assignment(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let id = parse::path_guid(&call)?;
        let found = call.engine.get_role_assignment(&call.grant, call.scope.clone(), id).await?;
        json::answer(200, &render::assignment(&found), assignment_object(id), false)
    })
}

/// `RoleAssignments_Create`: gives a role to a principal at a scope.
pub fn create_role_assignment(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let id = parse::path_guid(&call)?;
        let asked = parse::assignment(json::parse(call.body.expose())?, call.scope.clone())?;
        let made = call.engine.create_role_assignment(&call.grant, call.recorded.clone(), id, asked).await?;
        json::answer(201, &render::assignment(&made), assignment_object(id), true)
    })
}

/// `RoleAssignments_Delete`: takes it away again.
pub fn delete_role_assignment(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let (id, scope) = (parse::path_guid(&call)?, call.scope.clone());
        let gone = call.engine.delete_role_assignment(&call.grant, call.recorded.clone(), scope, id).await?;
        json::answer(200, &render::assignment(&gone), assignment_object(id), true)
    })
}

/// `RoleDefinitions_List`: built-in roles and custom ones; they live at `/` and can be read from every scope.
pub fn list_role_definitions(call: Call) -> HandlerFuture {
    Box::pin(async move {
        parse::definition_filter(call.query("$filter"))?;
        let found = call.engine.list_role_definitions(&call.grant).await?;
        let body = RoleList { next_link: None, value: found.iter().map(render::definition).collect() };
        json::answer(200, &body, String::new(), false)
    })
}

/// `RoleDefinitions_Get`: one role.
pub fn get_role_definition(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let id = parse::path_guid(&call)?;
        let found = call.engine.get_role_definition(&call.grant, id).await?;
        json::answer(200, &render::definition(&found), definition_object(id), false)
    })
}

/// `RoleDefinitions_CreateOrUpdate`: makes or changes a custom role.
pub fn set_role_definition(call: Call) -> HandlerFuture {
    Box::pin(async move {
        at_hsm(&call)?;
        let id = parse::path_guid(&call)?;
        let asked = parse::definition(json::parse(call.body.expose())?)?;
        let made = call.engine.set_role_definition(&call.grant, call.recorded.clone(), id, asked).await?;
        json::answer(201, &render::definition(&made), definition_object(id), true)
    })
}

/// `RoleDefinitions_Delete`: removes a custom role.
pub fn delete_role_definition(call: Call) -> HandlerFuture {
    Box::pin(async move {
        at_hsm(&call)?;
        let id = parse::path_guid(&call)?;
        let gone = call.engine.delete_role_definition(&call.grant, call.recorded.clone(), id).await?;
        json::answer(200, &render::definition(&gone), definition_object(id), true)
    })
}

/// Definitions are changed at `/` only: the right to change them at one key must not reach the roles of all others.
fn at_hsm(call: &Call) -> Result<()> {
    match (&call.scope, call.grant.scope()) {
        (RoleScope::Hsm, RoleScope::Hsm) => Ok(()),
        (RoleScope::Hsm | RoleScope::Keys | RoleScope::Key(_), _) => Err(Error::BadName(BadName::Scope)),
    }
}

fn assignment_object(id: Uuid) -> String {
    format!("roleAssignments/{id}")
}

fn definition_object(id: Uuid) -> String {
    format!("roleDefinitions/{id}")
}
