//! Vaults as resources.

use super::hsms::{checked_name, deleted_or_absent, deleted_page, one_deleted, purged, result_of};
use super::parse;
use super::render::{Renderer, access_policy};
use super::{ManagementCall, ManagementFuture};
use strongroom_engine::management::PolicyChange;
use strongroom_model::error::{Error, ManagementError, NotFound, Result};
use strongroom_model::management::ResourceKind;
use strongroom_wire::management as wire;

const KIND: ResourceKind = ResourceKind::Vault;

fn object(call: &ManagementCall) -> String {
    format!("vaults/{}", call.param("name"))
}

/// `Vaults_CreateOrUpdate`: recovered when the body says so.
pub fn create_or_update(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let (group, name, asked) = (call.group()?, call.name(KIND)?, parse::vault(&call, true)?);
        let made = call.engine.put_vault(call.grant()?, call.recorded.clone(), group, name, asked).await?;
        call.answer(200, &Renderer(&call).vault(&made.0), object(&call), true)
    })
}

/// `Vaults_Update`
pub fn update(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let (group, name, asked) = (call.group()?, call.name(KIND)?, parse::vault(&call, false)?);
        let vault = call.engine.update_vault(call.grant()?, call.recorded.clone(), group, name, asked).await?;
        call.answer(200, &Renderer(&call).vault(&vault), object(&call), true)
    })
}

/// `Vaults_Get`
pub fn get(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let vault = call.engine.vault(call.grant()?, &call.group()?, &call.name(KIND)?)?;
        call.answer(200, &Renderer(&call).vault(&vault), object(&call), false)
    })
}

/// `Vaults_Delete`: 204 when there is none.
pub fn delete(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let (group, name) = (call.group()?, call.name(KIND)?);
        let gone = call.engine.delete_vault(call.grant()?, call.recorded.clone(), group, name).await;
        deleted_or_absent(gone, object(&call))
    })
}

fn change_of(word: &str) -> Result<PolicyChange> {
    let words = [("add", PolicyChange::Add), ("replace", PolicyChange::Replace), ("remove", PolicyChange::Remove)];
    let found = words.iter().find(|(w, _)| w.eq_ignore_ascii_case(word));
    found.map(|(_, change)| *change).ok_or(Error::NotFound(NotFound::Path))
}

/// `Vaults_UpdateAccessPolicy`
pub fn update_access_policy(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let (group, name, change) = (call.group()?, call.name(KIND)?, change_of(call.param("kind"))?);
        let body: wire::AccessPolicyParameters = call.body()?;
        let given = body.properties.and_then(|p| p.access_policies);
        let given = given.ok_or(ManagementError::BadProperty("accessPolicies", "a list"))?;
        let asked = parse::access_policies(given)?;
        let r = call.recorded.clone();
        let vault = call.engine.update_access_policy(call.grant()?, r, group, name, change, asked).await?;
        let result = wire::AccessPolicyResult {
            id: format!("{}/accessPolicies/", Renderer(&call).id(KIND, &vault.resource)),
            properties: wire::AccessPolicyOutput {
                access_policies: vault.access_policies.iter().map(access_policy).collect(),
            },
            kind: "Microsoft.KeyVault/vaults/accessPolicies".into(),
        };
        call.answer(200, &result, object(&call), true)
    })
}

/// `Vaults_ListByResourceGroup`, `Vaults_ListBySubscription`
pub fn list(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let group = call.group_of_list()?;
        let vaults = call.engine.vaults(&call.caller, group.as_ref());
        let all = vaults.iter().map(|v| Renderer(&call).vault(v)).collect();
        let below = group.map(|g| format!("/resourceGroups/{g}")).unwrap_or_default();
        let subscription = call.subscription();
        call.page(&format!("/subscriptions/{subscription}{below}/providers/Microsoft.KeyVault/vaults"), all)
    })
}

/// `Vaults_ListDeleted`
pub fn list_deleted(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move { deleted_page(&call, KIND, "deletedVaults") })
}

/// `Vaults_GetDeleted`
pub fn get_deleted(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move { one_deleted(&call, KIND) })
}

/// `Vaults_PurgeDeleted`: 202 with where to follow it.
pub fn purge(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move { purged(&call, KIND, "operationResults").await })
}

/// `operationResults/{id}`
pub fn operation_result(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move { result_of(&call, KIND, "operationResults").await })
}

/// `Vaults_CheckNameAvailability`
pub fn check_name(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move { checked_name(&call, KIND) })
}
