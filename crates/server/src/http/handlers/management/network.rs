//! Private endpoint connections and private link resources, of vaults and managed HSMs alike.

use super::parse;
use super::render::{Renderer, connection};
use super::{ManagementAnswer, ManagementCall, ManagementFuture, empty};
use crate::identity::Resource as Host;
use strongroom_engine::management::{ConnectionChange, Resource};
use strongroom_model::error::{Error, ManagementError, Result};
use strongroom_model::management::ResourceKind;
use strongroom_model::network::{EndpointConnection, EndpointStatus};
use strongroom_wire::management as wire;

/// One handler for each kind.
macro_rules! both_kinds {
    ($($(#[$doc:meta])* $hsm:ident $vault:ident => $work:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $hsm(call: ManagementCall) -> ManagementFuture {
                Box::pin(async move { $work(&call, ResourceKind::ManagedHsm).await })
            }
            $(#[$doc])*
            pub fn $vault(call: ManagementCall) -> ManagementFuture {
                Box::pin(async move { $work(&call, ResourceKind::Vault).await })
            }
        )*
    };
}

both_kinds! {
    /// `PrivateEndpointConnections_ListByResource`
    list_hsm_connections list_vault_connections => list_connections;
    /// `PrivateEndpointConnections_Get`
    get_hsm_connection get_vault_connection => get_connection;
    /// `PrivateEndpointConnections_Put`: approves or rejects.
    put_hsm_connection put_vault_connection => put_connection;
    /// `PrivateEndpointConnections_Delete`: disconnects.
    delete_hsm_connection delete_vault_connection => delete_connection;
    /// `PrivateLinkResources_ListByVault`, `MHSMPrivateLinkResources_ListByMHSMResource`
    list_hsm_links list_vault_links => list_links;
}

/// The resource that the path names.
fn resource(call: &ManagementCall, kind: ResourceKind) -> Result<Resource> {
    let (grant, group, name) = (call.grant()?, call.group()?, call.name(kind)?);
    Ok(match kind {
        ResourceKind::ManagedHsm => call.engine.managed_hsm(grant, &group, &name)?.resource,
        ResourceKind::Vault => call.engine.vault(grant, &group, &name)?.resource,
    })
}

fn object(call: &ManagementCall, kind: ResourceKind) -> String {
    format!("{}/{}/privateEndpointConnections/{}", kind.as_str(), call.param("name"), call.param("connection"))
}

async fn list_connections(call: &ManagementCall, kind: ResourceKind) -> Result<ManagementAnswer> {
    let resource = resource(call, kind)?;
    let (id, policy) = (Renderer(call).id(kind, &resource), call.engine.network_of(kind, &resource));
    let shown = policy.connections.iter().filter(|c| c.status != EndpointStatus::Disconnected);
    call.page(&format!("{id}/privateEndpointConnections"), shown.map(|c| connection(&id, kind, c, true)).collect())
}

async fn get_connection(call: &ManagementCall, kind: ResourceKind) -> Result<ManagementAnswer> {
    let resource = resource(call, kind)?;
    let policy = call.engine.network_of(kind, &resource);
    let wanted = call.param("connection");
    let found = policy.connection(wanted).filter(|c| c.status != EndpointStatus::Disconnected);
    let found = found.ok_or_else(|| ManagementError::ConnectionNotFound(wanted.to_owned()))?;
    rendered(call, kind, found, false)
}

fn rendered(
    call: &ManagementCall,
    kind: ResourceKind,
    c: &EndpointConnection,
    audited: bool,
) -> Result<ManagementAnswer> {
    let id = call.engine.resource_scope(&call.group()?, kind, call.name(kind)?.as_str()).to_string();
    call.answer(200, &connection(&id, kind, c, true), object(call, kind), audited)
}

async fn change(call: &ManagementCall, kind: ResourceKind, change: ConnectionChange) -> Result<ManagementAnswer> {
    let (group, name, r) = (call.group()?, call.name(kind)?, call.recorded.clone());
    let connection = call.engine.change_connection(call.grant()?, r, kind, group, name, change).await?;
    rendered(call, kind, &connection, true)
}

async fn put_connection(call: &ManagementCall, kind: ResourceKind) -> Result<ManagementAnswer> {
    change(call, kind, parse::connection(call)?).await
}

async fn delete_connection(call: &ManagementCall, kind: ResourceKind) -> Result<ManagementAnswer> {
    let removed = change(call, kind, ConnectionChange::Remove { name: call.param("connection").to_owned() }).await;
    match removed {
        Err(Error::Management(reason)) if matches!(*reason, ManagementError::ConnectionNotFound(_)) => {
            Ok(empty(204, object(call, kind), false))
        }
        other => other,
    }
}

async fn list_links(call: &ManagementCall, kind: ResourceKind) -> Result<ManagementAnswer> {
    let resource = resource(call, kind)?;
    let id = Renderer(call).id(kind, &resource);
    let (word, host) = match kind {
        ResourceKind::ManagedHsm => ("managedhsm", Host::ManagedHsm),
        ResourceKind::Vault => ("vault", Host::Vault),
    };
    let zone = call.endpoints.audience(host);
    let zone = zone.trim_start_matches("https://").split(':').next().unwrap_or_default().to_owned();
    let link = wire::PrivateLinkResource {
        id: format!("{id}/privateLinkResources/{word}"),
        name: word.into(),
        properties: wire::PrivateLinkProperties {
            group_id: word.into(),
            required_members: vec!["default".into()],
            required_zone_names: vec![format!("privatelink.{zone}")],
        },
        kind: format!("{}/privateLinkResources", kind.as_str()),
    };
    call.page(&format!("{id}/privateLinkResources"), vec![link])
}
