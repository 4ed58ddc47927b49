//! Tenants, subscriptions, places, providers, resource groups, and the list of all resources.

use super::parse::{Term, filter};
use super::render::Renderer;
use super::version::KEY_VAULT;
use super::{ManagementCall, ManagementFuture, empty};
use strongroom_engine::management::GroupRequest;
use strongroom_model::error::{BadParameter, Error, NotFound, Result};
use strongroom_model::management::{Location, ManagementAction, ResourceKind};
use strongroom_wire::management as wire;

/// Providers that clients ask for by name; all of them are part of every installation.
static PROVIDERS: &[(&str, &[&str])] = &[
    (
        "Microsoft.KeyVault",
        &["vaults", "managedHSMs", "deletedVaults", "deletedManagedHSMs", "locations", "operations"],
    ),
    ("Microsoft.Authorization", &["roleAssignments", "roleDefinitions"]),
    ("Microsoft.Resources", &["subscriptions", "resourceGroups", "resources", "tenants"]),
];

/// `GET /tenants`
pub fn list_tenants(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let id = call.engine.management_settings().tenant_id;
        let tenant = wire::Tenant {
            default_domain: call.endpoints.domain().to_owned(),
            display_name: call.endpoints.domain().to_owned(),
            id: format!("/tenants/{id}"),
            tenant_category: "Home".into(),
            tenant_id: id.to_string(),
        };
        call.page("/tenants", vec![tenant])
    })
}

fn subscription(call: &ManagementCall) -> wire::Subscription {
    let settings = call.engine.management_settings();
    wire::Subscription {
        authorization_source: "RoleBased".into(),
        display_name: settings.subscription_name.clone(),
        id: format!("/subscriptions/{}", settings.subscription_id),
        managed_by_tenants: Vec::new(),
        state: "Enabled".into(),
        subscription_id: settings.subscription_id.to_string(),
        subscription_policies: wire::SubscriptionPolicies {
            location_placement_id: "Internal_2014-09-01".into(),
            quota_id: "Internal_2014-09-01".into(),
            spending_limit: "Off".into(),
        },
        tenant_id: settings.tenant_id.to_string(),
    }
}

/// `GET /subscriptions`: the one there is, for whoever has a role in it.
pub fn list_subscriptions(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let seen = call.engine.sees_subscription(&call.caller);
        call.page("/subscriptions", if seen { vec![subscription(&call)] } else { Vec::new() })
    })
}

/// `GET /subscriptions/{id}`
pub fn get_subscription(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move { call.answer(200, &subscription(&call), String::new(), false) })
}

/// `GET /subscriptions/{id}/locations`
pub fn list_locations(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let (subscription, name) = (call.subscription(), call.engine.management_settings().location.to_string());
        let entry = wire::LocationEntry {
            display_name: name.clone(),
            id: format!("/subscriptions/{subscription}/locations/{name}"),
            regional_display_name: name.clone(),
            name,
        };
        call.page(&format!("/subscriptions/{subscription}/locations"), vec![entry])
    })
}

fn provider(call: &ManagementCall, namespace: &str, types: &[&str]) -> wire::Provider {
    let location = call.engine.management_settings().location.to_string();
    let kind = |name: &&str| wire::ProviderResourceType {
        api_versions: KEY_VAULT.iter().rev().map(|v| (*v).to_owned()).collect(),
        locations: vec![location.clone()],
        resource_type: (*name).into(),
    };
    wire::Provider {
        id: format!("/subscriptions/{}/providers/{namespace}", call.subscription()),
        namespace: namespace.into(),
        registration_state: "Registered".into(),
        resource_types: types.iter().map(kind).collect(),
    }
}

/// `GET /subscriptions/{id}/providers`
pub fn list_providers(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let all = PROVIDERS.iter().map(|(namespace, types)| provider(&call, namespace, types)).collect();
        call.page(&format!("/subscriptions/{}/providers", call.subscription()), all)
    })
}

/// `GET /subscriptions/{id}/providers/{namespace}`, and its registration, which changes nothing.
pub fn get_provider(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let asked = call.param("namespace");
        let found = PROVIDERS.iter().find(|(namespace, _)| namespace.eq_ignore_ascii_case(asked));
        let (namespace, types) = found.ok_or(Error::NotFound(NotFound::Path))?;
        call.answer(200, &provider(&call, namespace, types), String::new(), false)
    })
}

/// `Operations_List`: what roles may allow.
pub fn list_operations(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let ours = ManagementAction::ALL.iter().filter(|a| a.as_str().starts_with("Microsoft.KeyVault/"));
        let value = ours.map(|action| {
            let resource = action.as_str().split('/').nth(1).unwrap_or_default();
            serde_json::json!({
                "name": action.as_str(),
                "display": {
                    "provider": "Microsoft Key Vault",
                    "resource": resource,
                    "operation": action.as_str(),
                    "description": action.as_str()
                },
                "isDataAction": false
            })
        });
        call.page("/providers/Microsoft.KeyVault/operations", value.collect())
    })
}

/// `Resources_List`: vaults and managed HSMs together; this is how az lists vaults.
pub fn list_resources(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let terms = filter(call.query("$filter"))?;
        let group = call.group_of_list()?;
        let renderer = Renderer(&call);
        let hsms = call.engine.managed_hsms(&call.caller, group.as_ref());
        let vaults = call.engine.vaults(&call.caller, group.as_ref());
        let mut all: Vec<_> = hsms.iter().map(|h| renderer.generic(ResourceKind::ManagedHsm, &h.resource)).collect();
        all.extend(vaults.iter().map(|v| renderer.generic(ResourceKind::Vault, &v.resource)));
        for term in &terms {
            let Term::Equals(name, value) = term else { return Err(Error::BadParameter(BadParameter::Filter)) };
            let member: fn(&wire::GenericResource) -> &str = match name.as_str() {
                "resourcetype" => |r| &r.kind,
                "name" => |r| &r.name,
                "location" => |r| &r.location,
                "resourcegroup" => |r| r.id.split('/').nth(4).unwrap_or_default(),
                _ => return Err(Error::BadParameter(BadParameter::Filter)),
            };
            all.retain(|resource| member(resource).eq_ignore_ascii_case(value));
        }
        let below = group.map(|g| format!("/resourceGroups/{g}")).unwrap_or_default();
        call.page(&format!("/subscriptions/{}{below}/resources", call.subscription()), all)
    })
}

/// `ResourceGroups_List`
pub fn list_groups(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let groups = call.engine.resource_groups(&call.caller);
        let renderer = Renderer(&call);
        let all = groups.iter().map(|g| renderer.group(g)).collect();
        call.page(&format!("/subscriptions/{}/resourceGroups", call.subscription()), all)
    })
}

/// `ResourceGroups_Get`
pub fn get_group(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let group = call.engine.resource_group(call.grant()?, &call.group()?)?;
        call.answer(200, &Renderer(&call).group(&group), object(&call), false)
    })
}

/// `ResourceGroups_CheckExistence`: 204 or 404.
pub fn check_group(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        call.engine.resource_group(call.grant()?, &call.group()?)?;
        Ok(empty(204, object(&call), false))
    })
}

fn asked(call: &ManagementCall) -> Result<GroupRequest> {
    let body: wire::GroupParameters = call.body()?;
    Ok(GroupRequest { location: body.location.as_deref().map(Location::parse).transpose()?, tags: body.tags })
}

/// `ResourceGroups_CreateOrUpdate`
pub fn put_group(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let (name, asked) = (call.group()?, asked(&call)?);
        let (group, new) = call.engine.put_resource_group(call.grant()?, call.recorded.clone(), name, asked).await?;
        call.answer(if new { 201 } else { 200 }, &Renderer(&call).group(&group), object(&call), true)
    })
}

/// `ResourceGroups_Update`
pub fn patch_group(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let (name, asked) = (call.group()?, asked(&call)?);
        let group = call.engine.patch_resource_group(call.grant()?, call.recorded.clone(), name, asked).await?;
        call.answer(200, &Renderer(&call).group(&group), object(&call), true)
    })
}

/// `ResourceGroups_Delete`: with everything in it, which is soft-deleted.
pub fn delete_group(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        call.engine.delete_resource_group(call.grant()?, call.recorded.clone(), call.group()?).await?;
        Ok(empty(200, object(&call), true))
    })
}

fn object(call: &ManagementCall) -> String {
    format!("resourceGroups/{}", call.param("group"))
}
