//! From bodies and filters to the management plane's words.

use super::ManagementCall;
use strongroom_engine::management::{
    AccessPolicy, AssignmentRequest, ConnectionChange, CreateMode, HsmRequest, NetworkChange, ResourceRequest, Sku,
    VaultRequest,
};
use strongroom_model::error::{BadParameter, Error, ManagementError, Result};
use strongroom_model::limits::ACCESS_POLICIES_MAX;
use strongroom_model::management::Location;
use strongroom_model::network::{
    Bypass, DefaultAction, EndpointStatus, IpRule, PublicNetworkAccess, SubnetId, VirtualNetworkRule,
};
use strongroom_wire::management as wire;
use uuid::Uuid;

/// Characters of a GUID with its hyphens.
const GUID_LEN: usize = 36;
/// Longest description of a role assignment or connection.
const TEXT_MAX: usize = 1_024;

const fn bad(property: &'static str, expected: &'static str) -> ManagementError {
    ManagementError::BadProperty(property, expected)
}

pub(super) fn guid(property: &'static str, text: &str) -> Result<Uuid> {
    let parsed = (text.len() == GUID_LEN).then(|| Uuid::try_parse(text).ok()).flatten();
    parsed.ok_or_else(|| bad(property, "a GUID").into())
}

fn optional_guid(property: &'static str, text: Option<&str>) -> Result<Option<Uuid>> {
    text.map(|text| guid(property, text)).transpose()
}

/// One of a few words, without regard to case.
fn word<T: Copy>(
    property: &'static str,
    expected: &'static str,
    text: Option<&str>,
    words: &[(&str, T)],
) -> Result<Option<T>> {
    let Some(text) = text else { return Ok(None) };
    let found = words.iter().find(|(w, _)| w.eq_ignore_ascii_case(text)).map(|(_, value)| *value);
    found.map(Some).ok_or_else(|| bad(property, expected).into())
}

fn create_mode(text: Option<&str>) -> Result<CreateMode> {
    let words = [("default", CreateMode::Default), ("recover", CreateMode::Recover)];
    Ok(word("createMode", "default or recover", text, &words)?.unwrap_or_default())
}

fn days(days: Option<wire::Days>) -> Result<Option<u32>> {
    let wrong = || bad("softDeleteRetentionInDays", "7 to 90").into();
    days.map(|wire::Days(n)| u32::try_from(n).map_err(|_| wrong())).transpose()
}

fn sku(sku: Option<wire::Sku>) -> Result<Option<Sku>> {
    let Some(wire::Sku { family, name }) = sku else { return Ok(None) };
    match (family, name) {
        (Some(family), Some(name)) => Ok(Some(Sku { family, name })),
        (Some(_) | None, _) => Err(bad("sku", "an object with family and name").into()),
    }
}

fn network(call: &ManagementCall, access: Option<&str>, acls: Option<wire::NetworkRuleSet>) -> Result<NetworkChange> {
    let accesses = [("Enabled", PublicNetworkAccess::Enabled), ("Disabled", PublicNetworkAccess::Disabled)];
    let public_access = word("publicNetworkAccess", "Enabled or Disabled", access, &accesses)?;
    let acls = acls.unwrap_or_default();
    if acls.service_tags.is_some_and(|tags| !tags.is_empty()) {
        return Err(bad("networkAcls.serviceTags", "nothing: no service tags are known here").into());
    }
    let bypasses = [("AzureServices", Bypass::AzureServices), ("None", Bypass::None)];
    let actions = [("Allow", DefaultAction::Allow), ("Deny", DefaultAction::Deny)];
    let ip_rules = acls.ip_rules.map(|rules| rules.iter().map(ip_rule).collect()).transpose()?;
    let settings = call.engine.network_settings();
    let virtual_network_rule = |rule: &wire::VirtualNetworkRule| {
        let id = rule.id.as_deref().ok_or(bad("networkAcls.virtualNetworkRules", "each with an id"))?;
        let rule = VirtualNetworkRule { id: SubnetId::parse(id)? };
        settings.check(&rule)?;
        Ok::<_, Error>(rule)
    };
    let virtual_network_rules =
        acls.virtual_network_rules.map(|rules| rules.iter().map(virtual_network_rule).collect()).transpose()?;
    Ok(NetworkChange {
        public_access,
        bypass: word("networkAcls.bypass", "AzureServices or None", acls.bypass.as_deref(), &bypasses)?,
        default_action: word("networkAcls.defaultAction", "Allow or Deny", acls.default_action.as_deref(), &actions)?,
        ip_rules,
        virtual_network_rules,
    })
}

fn ip_rule(rule: &wire::IpRule) -> Result<IpRule> {
    let value = rule.value.as_deref().ok_or(bad("networkAcls.ipRules", "each with a value"))?;
    IpRule::parse(value)
}

/// The body of a managed HSM; a `PUT` that says nothing of tags takes them away, as Azure does.
pub(super) fn managed_hsm(call: &ManagementCall, put: bool) -> Result<HsmRequest> {
    let body: wire::ManagedHsmParameters = call.body()?;
    let properties = body.properties.unwrap_or_default();
    let ids = properties.initial_admin_object_ids;
    let administrators = ids.map(|ids| ids.iter().map(|id| guid("initialAdminObjectIds", id)).collect()).transpose()?;
    Ok(HsmRequest {
        common: ResourceRequest {
            location: body.location.as_deref().map(Location::parse).transpose()?,
            sku: sku(body.sku)?,
            tags: body.tags.or_else(|| put.then(Default::default)),
            retention_days: days(properties.soft_delete_retention_in_days)?,
            soft_delete: properties.enable_soft_delete,
            purge_protection: properties.enable_purge_protection,
            network: network(call, properties.public_network_access.as_deref(), properties.network_acls)?,
            mode: create_mode(properties.create_mode.as_deref())?,
        },
        tenant_id: optional_guid("tenantId", properties.tenant_id.as_deref())?,
        administrators,
    })
}

/// The body of a vault.
pub(super) fn vault(call: &ManagementCall, put: bool) -> Result<VaultRequest> {
    let body: wire::VaultParameters = call.body()?;
    let properties = body.properties.unwrap_or_default();
    Ok(VaultRequest {
        common: ResourceRequest {
            location: body.location.as_deref().map(Location::parse).transpose()?,
            sku: sku(properties.sku)?,
            tags: body.tags.or_else(|| put.then(Default::default)),
            retention_days: days(properties.soft_delete_retention_in_days)?,
            soft_delete: properties.enable_soft_delete,
            purge_protection: properties.enable_purge_protection,
            network: network(call, properties.public_network_access.as_deref(), properties.network_acls)?,
            mode: create_mode(properties.create_mode.as_deref())?,
        },
        tenant_id: optional_guid("tenantId", properties.tenant_id.as_deref())?,
        rbac: properties.enable_rbac_authorization,
        rbac_default: call.version.rbac_by_default(),
        access_policies: properties.access_policies.map(access_policies).transpose()?,
        for_deployment: properties.enabled_for_deployment,
        for_disk_encryption: properties.enabled_for_disk_encryption,
        for_template_deployment: properties.enabled_for_template_deployment,
    })
}

/// Permissions of access policies (`keyvault.json`, `Permissions`).
static KEYS: &[&str] = &[
    "all",
    "encrypt",
    "decrypt",
    "wrapKey",
    "unwrapKey",
    "sign",
    "verify",
    "get",
    "list",
    "create",
    "update",
    "import",
    "delete",
    "backup",
    "restore",
    "recover",
    "purge",
    "release",
    "rotate",
    "getrotationpolicy",
    "setrotationpolicy",
];
static SECRETS: &[&str] = &["all", "get", "list", "set", "delete", "backup", "restore", "recover", "purge"];
static CERTIFICATES: &[&str] = &[
    "all",
    "get",
    "list",
    "delete",
    "create",
    "import",
    "update",
    "managecontacts",
    "getissuers",
    "listissuers",
    "setissuers",
    "deleteissuers",
    "manageissuers",
    "recover",
    "purge",
    "backup",
    "restore",
];
static STORAGE: &[&str] = &[
    "all",
    "get",
    "list",
    "delete",
    "set",
    "update",
    "regeneratekey",
    "recover",
    "purge",
    "backup",
    "restore",
    "setsas",
    "listsas",
    "getsas",
    "deletesas",
];

/// The entries of `accessPolicies`.
pub(super) fn access_policies(entries: Vec<wire::AccessPolicyEntry>) -> Result<Vec<AccessPolicy>> {
    if entries.len() > ACCESS_POLICIES_MAX {
        return Err(bad("accessPolicies", "at most 1024").into());
    }
    entries.into_iter().map(access_policy).collect()
}

fn access_policy(entry: wire::AccessPolicyEntry) -> Result<AccessPolicy> {
    let tenant = entry.tenant_id.ok_or(bad("accessPolicies.tenantId", "a GUID"))?;
    let object = entry.object_id.ok_or(bad("accessPolicies.objectId", "a GUID"))?;
    let permissions = entry.permissions.ok_or(bad("accessPolicies.permissions", "an object"))?;
    Ok(AccessPolicy {
        tenant_id: guid("accessPolicies.tenantId", &tenant)?,
        object_id: guid("accessPolicies.objectId", &object)?,
        application_id: optional_guid("accessPolicies.applicationId", entry.application_id.as_deref())?,
        keys: permitted("permissions.keys", permissions.keys, KEYS)?,
        secrets: permitted("permissions.secrets", permissions.secrets, SECRETS)?,
        certificates: permitted("permissions.certificates", permissions.certificates, CERTIFICATES)?,
        storage: permitted("permissions.storage", permissions.storage, STORAGE)?,
    })
}

/// Each permission once, in the order and spelling sent.
fn permitted(property: &'static str, texts: Option<Vec<String>>, known: &[&str]) -> Result<Vec<String>> {
    let mut permitted: Vec<String> = Vec::new();
    for text in texts.unwrap_or_default() {
        if !known.iter().any(|k| k.eq_ignore_ascii_case(&text)) {
            return Err(bad(property, "permissions that the API has").into());
        }
        if !permitted.iter().any(|p| p.eq_ignore_ascii_case(&text)) {
            permitted.push(text);
        }
    }
    Ok(permitted)
}

/// The body of a private endpoint connection.
pub(super) fn connection(call: &ManagementCall) -> Result<ConnectionChange> {
    let body: wire::ConnectionParameters = call.body()?;
    let property = "privateLinkServiceConnectionState.status";
    let state = body.properties.and_then(|p| p.state).ok_or(bad(property, "Approved or Rejected"))?;
    let statuses = [("Approved", EndpointStatus::Approved), ("Rejected", EndpointStatus::Rejected)];
    let status = word(property, "Approved or Rejected", state.status.as_deref(), &statuses)?;
    let status = status.ok_or(bad(property, "Approved or Rejected"))?;
    Ok(ConnectionChange::Set { name: call.param("connection").to_owned(), status, description: state.description })
}

/// The body of a role assignment.
pub(super) fn assignment(call: &ManagementCall) -> Result<AssignmentRequest> {
    let body: wire::AssignmentParameters = call.body()?;
    let properties = body.properties.ok_or(Error::BadParameter(BadParameter::Missing("properties")))?;
    let principal = properties.principal_id.ok_or(bad("principalId", "a GUID"))?;
    let role = properties.role_definition_id.ok_or(bad("roleDefinitionId", "the id of a role"))?;
    let short = |text: &String| text.chars().count() <= TEXT_MAX;
    if !properties.description.as_ref().is_none_or(short) || !properties.principal_type.as_ref().is_none_or(short) {
        return Err(bad("description", "at most 1024 characters").into());
    }
    Ok(AssignmentRequest {
        principal_id: guid("principalId", &principal)?,
        principal_type: properties.principal_type,
        role_definition_id: definition_id(&role)?,
        description: properties.description,
    })
}

/// The GUID of a role, bare or behind the path that ends every role's id.
fn definition_id(text: &str) -> Result<Uuid> {
    let Some((path, id)) = text.rsplit_once('/') else { return guid("roleDefinitionId", text) };
    let lower = path.to_ascii_lowercase();
    if lower.ends_with("/providers/microsoft.authorization/roledefinitions")
        || lower == "providers/microsoft.authorization/roledefinitions"
    {
        guid("roleDefinitionId", id)
    } else {
        Err(bad("roleDefinitionId", "the id of a role").into())
    }
}

/// The terms of a `$filter`: `name eq 'value'` or a function, joined by `and`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// `name eq 'value'`
    Equals(String, String),
    /// `name('value')`, `name()`
    Call(String, String),
}

/// Parses a `$filter`; none has no terms.
pub(super) fn filter(text: Option<&str>) -> Result<Vec<Term>> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
    terms(text).ok_or(Error::BadParameter(BadParameter::Filter))
}

fn terms(mut text: &str) -> Option<Vec<Term>> {
    let mut terms = Vec::new();
    loop {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end).filter(|(name, _)| !name.is_empty())?;
        let name = name.to_ascii_lowercase();
        let rest = match rest.strip_prefix('(') {
            Some(rest) if rest.starts_with(')') => {
                terms.push(Term::Call(name, String::new()));
                rest.strip_prefix(')')?
            }
            Some(rest) => {
                let (value, rest) = quoted(rest)?;
                terms.push(Term::Call(name, value));
                rest.strip_prefix(')')?
            }
            None => {
                let rest = rest.trim_start();
                let (operator, rest) = rest.split_at_checked(2)?;
                let (value, rest) = quoted(rest.trim_start())?;
                if !operator.eq_ignore_ascii_case("eq") {
                    return None;
                }
                terms.push(Term::Equals(name, value));
                rest
            }
        };
        let rest = rest.trim_start();
        if rest.is_empty() {
            return Some(terms);
        }
        let (and, rest) = rest.split_at_checked(3)?;
        if !and.eq_ignore_ascii_case("and") || !rest.starts_with(' ') {
            return None;
        }
        text = rest.trim_start();
    }
}

/// `'text'` with doubled quotes inside, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('\'')?;
    let mut value = String::new();
    loop {
        let end = rest.find('\'')?;
        let (part, behind) = rest.split_at_checked(end)?;
        value.push_str(part);
        rest = behind.strip_prefix('\'')?;
        match rest.strip_prefix('\'') {
            Some(more) => {
                value.push('\'');
                rest = more;
            }
            None => return Some((value, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn filters_are_conjunctions() {
        let equals = |n: &str, v: &str| Term::Equals(n.into(), v.into());
        let call = |n: &str, v: &str| Term::Call(n.into(), v.into());
        for (text, wanted) in [
            ("resourceType eq 'Microsoft.KeyVault/vaults'", vec![equals("resourcetype", "Microsoft.KeyVault/vaults")]),
            ("name eq 'a''b' AND resourceType EQ 'x'", vec![equals("name", "a'b"), equals("resourcetype", "x")]),
            ("atScope() and assignedTo('id')", vec![call("atscope", ""), call("assignedto", "id")]),
            ("  ", vec![]),
        ] {
            assert_eq!(filter(Some(text)).unwrap(), wanted, "{text}");
        }
        for bad in [
            "x",
            "x ne 'a'",
            "x eq a",
            "x eq 'a",
            "x eq 'a' or y eq 'b'",
            "f(",
            "f(a)",
            "x eq 'a' and",
            "é eq 'a'",
            "x eq 'a'andy eq 'b'",
        ] {
            assert!(filter(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_role_is_named_by_the_end_of_its_id() {
        let id = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635";
        for good in [
            id.to_owned(),
            format!("/subscriptions/x/providers/Microsoft.Authorization/roleDefinitions/{id}"),
            format!("/providers/Microsoft.Authorization/roleDefinitions/{id}"),
        ] {
            assert!(definition_id(&good).is_ok(), "{good}");
        }
        for bad in ["", "x", &format!("/{id}"), &format!("/providers/Microsoft.Authorization/roleAssignments/{id}")] {
            assert!(definition_id(bad).is_err(), "{bad}");
        }
    }
}
