//! Managed HSMs as resources.

use super::parse;
use super::render::Renderer;
use super::{ManagementAnswer, ManagementCall, ManagementFuture, POLL_AFTER, accepted, empty, resource_name};
use strongroom_engine::management::{ManagedHsm, PurgeStatus, Resource};
use strongroom_model::PoolName;
use strongroom_model::error::{Error, ManagementError, Result};
use strongroom_model::management::ResourceKind;
use strongroom_wire::management as wire;

const KIND: ResourceKind = ResourceKind::ManagedHsm;

async fn rendered(call: &ManagementCall, hsm: &ManagedHsm, audited: bool) -> Result<ManagementAnswer> {
    let state = call.engine.state_of(hsm).await?;
    call.answer(200, &Renderer(call).managed_hsm(hsm, state), object(&hsm.resource.name), audited)
}

pub(super) fn object(name: &PoolName) -> String {
    format!("managedHSMs/{name}")
}

/// `ManagedHsms_CreateOrUpdate`: a pool of its own, its keys, its name; recovered when the body says so.
pub fn create_or_update(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let (group, name, asked) = (call.group()?, call.name(KIND)?, parse::managed_hsm(&call, true)?);
        let made = call.engine.put_managed_hsm(call.grant()?, call.recorded.clone(), group, name, asked).await;
        rendered(&call, &made?.0, true).await
    })
}

/// `ManagedHsms_Update`
pub fn update(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let (group, name, asked) = (call.group()?, call.name(KIND)?, parse::managed_hsm(&call, false)?);
        let changed = call.engine.update_managed_hsm(call.grant()?, call.recorded.clone(), group, name, asked).await;
        rendered(&call, &changed?, true).await
    })
}

/// `ManagedHsms_Get`
pub fn get(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let hsm = call.engine.managed_hsm(call.grant()?, &call.group()?, &call.name(KIND)?)?;
        rendered(&call, &hsm, false).await
    })
}

/// `ManagedHsms_Delete`: 204 when there is none.
pub fn delete(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let (group, name) = (call.group()?, call.name(KIND)?);
        let gone = call.engine.delete_managed_hsm(call.grant()?, call.recorded.clone(), group, name.clone()).await;
        deleted_or_absent(gone, object(&name))
    })
}

/// 200 when something was deleted, 204 when there was nothing to delete.
pub(super) fn deleted_or_absent(gone: Result<()>, object: String) -> Result<ManagementAnswer> {
    match gone {
        Ok(()) => Ok(empty(200, object, true)),
        Err(Error::Management(reason))
            if matches!(*reason, ManagementError::ResourceNotFound { .. } | ManagementError::GroupNotFound(_)) =>
        {
            Ok(empty(204, object, false))
        }
        Err(error) => Err(error),
    }
}

/// `ManagedHsms_ListByResourceGroup`, `ManagedHsms_ListBySubscription`
pub fn list(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let group = call.group_of_list()?;
        let mut all = Vec::new();
        for hsm in call.engine.managed_hsms(&call.caller, group.as_ref()) {
            let state = call.engine.state_of(&hsm).await?;
            all.push(Renderer(&call).managed_hsm(&hsm, state));
        }
        let below = group.map(|g| format!("/resourceGroups/{g}")).unwrap_or_default();
        let subscription = call.subscription();
        call.page(&format!("/subscriptions/{subscription}{below}/providers/Microsoft.KeyVault/managedHSMs"), all)
    })
}

/// `ManagedHsms_ListDeleted`
pub fn list_deleted(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move { deleted_page(&call, KIND, "deletedManagedHSMs") })
}

/// The deleted resources of a kind.
pub(super) fn deleted_page(call: &ManagementCall, kind: ResourceKind, word: &str) -> Result<ManagementAnswer> {
    let found = call.engine.deleted_resources(call.grant()?, kind, None)?;
    let all = found.iter().filter_map(|x| Some(Renderer(call).deleted(kind, x, x.deleted.as_ref()?))).collect();
    call.page(&format!("/subscriptions/{}/providers/Microsoft.KeyVault/{word}", call.subscription()), all)
}

/// `ManagedHsms_GetDeleted`
pub fn get_deleted(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move { one_deleted(&call, KIND) })
}

/// The deleted resource that the path names.
pub(super) fn one_deleted(call: &ManagementCall, kind: ResourceKind) -> Result<ManagementAnswer> {
    let (name, location) = (call.name(kind)?, call.location()?);
    let found = call.engine.deleted_resources(call.grant()?, kind, Some(&name))?;
    let found = found.iter().find(|x: &&Resource| x.location == location);
    let rendered = found.and_then(|x| Some(Renderer(call).deleted(kind, x, x.deleted.as_ref()?)));
    let rendered = rendered.ok_or_else(|| ManagementError::DeletedNotFound(kind, name.to_string()))?;
    call.answer(200, &rendered, format!("{}/{name}", kind.deleted()), false)
}

/// `ManagedHsms_PurgeDeleted`: nothing of it opens any more; 202 with where to follow it.
pub fn purge(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move { purged(&call, KIND, "managedHsmOperationResults").await })
}

/// Purges the deleted resource that the path names.
pub(super) async fn purged(call: &ManagementCall, kind: ResourceKind, results: &str) -> Result<ManagementAnswer> {
    let (name, location) = (call.name(kind)?, call.location()?);
    let object = format!("{}/{name}", kind.deleted());
    if call.engine.deleted_location(kind, &name).is_none_or(|l| l != location) {
        return Err(ManagementError::DeletedNotFound(kind, name.to_string()).into());
    }
    let id = call.engine.purge_resource(call.grant()?, call.recorded.clone(), kind, name).await?;
    Ok(accepted(call, results, id, object, true))
}

/// `managedHsmOperationResults/{id}`
pub fn operation_result(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move { result_of(&call, KIND, "managedHsmOperationResults").await })
}

/// How far a purge has come: 202 while it is under way, then 200.
pub(super) async fn result_of(call: &ManagementCall, kind: ResourceKind, results: &str) -> Result<ManagementAnswer> {
    let id = call.id().ok_or(ManagementError::OperationNotFound)?;
    match call.engine.purge_status(call.grant()?, kind, id).await? {
        Some(PurgeStatus::Done) => Ok(empty(200, String::new(), false)),
        Some(PurgeStatus::UnderWay) => {
            let answer = accepted(call, results, id, String::new(), false);
            Ok(ManagementAnswer { retry_after: Some(POLL_AFTER), ..answer })
        }
        None => Err(ManagementError::OperationNotFound.into()),
    }
}

/// `ManagedHsms_CheckMhsmNameAvailability`
pub fn check_name(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move { checked_name(&call, KIND) })
}

/// Whether a name can be given to a new resource.
pub(super) fn checked_name(call: &ManagementCall, kind: ResourceKind) -> Result<ManagementAnswer> {
    let body: wire::CheckNameParameters = call.body()?;
    let name = body.name.ok_or(ManagementError::BadProperty("name", "the name of a resource"))?;
    if body.kind.is_some_and(|k| !k.eq_ignore_ascii_case(kind.as_str())) {
        return Err(ManagementError::BadProperty("type", "the type of this operation").into());
    }
    let reason = match resource_name(kind, &name) {
        Ok(name) if call.engine.name_is_free(call.grant()?, kind, &name)? => None,
        Ok(_) => Some(("AlreadyExists", "The name is in use, perhaps by a deleted resource that can be recovered.")),
        Err(_) => Some((
            "AccountNameInvalid",
            "Names have 3 to 24 letters, digits and single hyphens, a letter first and no hyphen last.",
        )),
    };
    let result = wire::CheckNameResult {
        message: reason.map(|(_, message)| message.to_owned()),
        name_available: reason.is_none(),
        reason: reason.map(|(reason, _)| reason.to_owned()),
    };
    call.answer(200, &result, String::new(), false)
}

/// `MHSMRegions_ListByResource`: it lies in one place.
pub fn regions(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let hsm = call.engine.managed_hsm(call.grant()?, &call.group()?, &call.name(KIND)?)?;
        let region = wire::Region {
            is_primary: true,
            name: hsm.resource.location.to_string(),
            provisioning_state: "Succeeded".into(),
        };
        call.page(&format!("{}/regions", Renderer(&call).id(KIND, &hsm.resource)), vec![region])
    })
}
