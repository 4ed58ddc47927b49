//! What of the directory (Microsoft Graph, v1.0) clients ask for: who has which object id.

use super::json;
use crate::http::call::Answer;
use crate::identity::{DirectoryObject, Endpoints, Identity, ObjectKind, Resource};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use strongroom_model::error::{BadParameter, Error, ManagementError, Result};
use strongroom_model::principal::PrincipalKind;
use strongroom_model::{Principal, SecretBytes};
use uuid::Uuid;

/// Most objects of one answer (Graph: `getByIds` takes 1,000 ids).
const OBJECTS_MAX: usize = 1_000;

/// A request of a member.
pub struct GraphCall {
    /// The directory.
    pub identity: Arc<Identity>,
    /// The host names of this installation.
    pub endpoints: Endpoints,
    /// Who.
    pub caller: Arc<Principal>,
    /// The parts of the path that the route names, decoded.
    pub params: Vec<(&'static str, String)>,
    /// The query, names and values decoded.
    pub query: Vec<(String, String)>,
    /// The body: empty when there is none.
    pub body: SecretBytes,
}

/// A handler of the directory.
pub type GraphHandler = fn(&GraphCall) -> Result<Answer>;

/// An object as Graph shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    #[serde(rename = "@odata.type")]
    odata_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_id: Option<Uuid>,
    display_name: &'a str,
    id: Uuid,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    service_principal_names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_principal_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_principal_name: Option<&'a str>,
}

#[derive(Serialize)]
struct Objects<'a> {
    #[serde(rename = "@odata.context")]
    context: String,
    value: Vec<Object<'a>>,
}

#[derive(Deserialize)]
struct ByIds {
    ids: Option<Vec<String>>,
}

impl GraphCall {
    fn id(&self) -> &str {
        self.params.iter().find(|(n, _)| *n == "id").map_or("", |(_, v)| v)
    }

    fn filter(&self) -> Option<&str> {
        let found = self.query.iter().find(|(n, _)| n.eq_ignore_ascii_case("$filter"));
        found.map(|(_, v)| v.trim()).filter(|v| !v.is_empty())
    }

    fn list(&self, word: &str, objects: &[DirectoryObject]) -> Result<Answer> {
        let base = self.endpoints.audience(Resource::Graph);
        let value = objects.iter().take(OBJECTS_MAX).map(rendered).collect();
        let body = Objects { context: format!("{base}/v1.0/$metadata#{word}"), value };
        json::answer(200, &body, String::new(), false)
    }

    fn one(&self, kind: Option<ObjectKind>, found: Option<DirectoryObject>) -> Result<Answer> {
        let object = found.filter(|o| kind.is_none_or(|k| k == o.kind));
        let object = object.ok_or_else(|| ManagementError::DirectoryObjectNotFound(self.id().to_owned()))?;
        json::answer(200, &rendered(&object), object.id.to_string(), false)
    }
}

fn rendered(object: &DirectoryObject) -> Object<'_> {
    let application = object.kind == ObjectKind::ServicePrincipal;
    Object {
        odata_type: match object.kind {
            ObjectKind::User => "#microsoft.graph.user",
            ObjectKind::Group => "#microsoft.graph.group",
            ObjectKind::ServicePrincipal => "#microsoft.graph.servicePrincipal",
        },
        account_enabled: (object.kind != ObjectKind::Group).then_some(object.enabled),
        app_id: object.app_id,
        display_name: &object.display_name,
        id: object.id,
        service_principal_names: object.app_id.map(|id| id.to_string()).into_iter().collect(),
        service_principal_type: application.then_some(if object.managed { "ManagedIdentity" } else { "Application" }),
        user_principal_name: object.user_principal_name.as_deref(),
    }
}

/// The three forms of `$filter` that clients send: member, `eq` or `startswith`, value.
enum Wanted<'a> {
    Equals(&'a str, &'a str),
    StartsWith(&'a str, &'a str),
}

fn wanted(filter: &str) -> Result<Wanted<'_>> {
    let quoted = |text: &'_ str| -> Option<std::ops::Range<usize>> {
        let start = text.find('\'')?.saturating_add(1);
        let end = text.rfind('\'')?;
        (start <= end).then_some(start..end)
    };
    let bad = || Error::BadParameter(BadParameter::Filter);
    let value = quoted(filter).and_then(|range| filter.get(range)).ok_or_else(bad)?;
    let lower = filter.to_ascii_lowercase();
    if value.contains('\'') {
        return Err(bad());
    }
    for name in ["appId", "displayName", "userPrincipalName", "mail", "id"] {
        let folded = name.to_ascii_lowercase();
        if lower.starts_with(&format!("{folded} eq '")) {
            return Ok(Wanted::Equals(name, value));
        }
        if lower.starts_with(&format!("startswith({folded},'")) || lower.starts_with(&format!("startswith({folded}, '"))
        {
            return Ok(Wanted::StartsWith(name, value));
        }
    }
    if lower.starts_with("serviceprincipalnames/any(c:c eq '") {
        return Ok(Wanted::Equals("servicePrincipalNames", value));
    }
    Err(bad())
}

fn filtered(call: &GraphCall, kind: ObjectKind) -> Result<Vec<DirectoryObject>> {
    let mut objects = call.identity.directory_objects();
    objects.retain(|o| o.kind == kind);
    let Some(filter) = call.filter() else { return Ok(objects) };
    let member = |o: &DirectoryObject, name: &str| match name {
        "appId" | "servicePrincipalNames" => o.app_id.map(|id| id.to_string()),
        "displayName" => Some(o.display_name.clone()),
        "userPrincipalName" | "mail" => o.user_principal_name.clone(),
        _ => Some(o.id.to_string()),
    };
    match wanted(filter)? {
        Wanted::Equals(name, value) => {
            objects.retain(|o| member(o, name).is_some_and(|m| m.eq_ignore_ascii_case(value)));
        }
        Wanted::StartsWith(name, value) => {
            let value = value.to_lowercase();
            objects.retain(|o| member(o, name).is_some_and(|m| m.to_lowercase().starts_with(&value)));
        }
    }
    Ok(objects)
}

/// `GET /me`: a person's token wanted.
pub fn me(call: &GraphCall) -> Result<Answer> {
    if call.caller.kind == PrincipalKind::Application {
        return Err(ManagementError::DelegatedOnly.into());
    }
    call.one(Some(ObjectKind::User), call.identity.directory_object(call.caller.object_id))
}

/// `GET /servicePrincipals`
pub fn list_service_principals(call: &GraphCall) -> Result<Answer> {
    call.list("servicePrincipals", &filtered(call, ObjectKind::ServicePrincipal)?)
}

/// `GET /servicePrincipals/{id}`
pub fn get_service_principal(call: &GraphCall) -> Result<Answer> {
    call.one(Some(ObjectKind::ServicePrincipal), by_id(call))
}

/// `GET /users`
pub fn list_users(call: &GraphCall) -> Result<Answer> {
    call.list("users", &filtered(call, ObjectKind::User)?)
}

/// `GET /users/{id}`: by object id or user name.
pub fn get_user(call: &GraphCall) -> Result<Answer> {
    let named =
        |o: &DirectoryObject| o.user_principal_name.as_deref().is_some_and(|n| n.eq_ignore_ascii_case(call.id()));
    let found = by_id(call).or_else(|| call.identity.directory_objects().into_iter().find(named));
    call.one(Some(ObjectKind::User), found)
}

/// `GET /groups`
pub fn list_groups(call: &GraphCall) -> Result<Answer> {
    call.list("groups", &filtered(call, ObjectKind::Group)?)
}

/// `GET /groups/{id}`
pub fn get_group(call: &GraphCall) -> Result<Answer> {
    call.one(Some(ObjectKind::Group), by_id(call))
}

/// `GET /directoryObjects/{id}`
pub fn get_object(call: &GraphCall) -> Result<Answer> {
    call.one(None, by_id(call))
}

fn by_id(call: &GraphCall) -> Option<DirectoryObject> {
    Uuid::try_parse(call.id()).ok().and_then(|id| call.identity.directory_object(id))
}

/// `POST /directoryObjects/getByIds`: those that are there, in the order asked.
pub fn get_by_ids(call: &GraphCall) -> Result<Answer> {
    let body: ByIds = json::parse(call.body.expose())?;
    let ids = body.ids.ok_or(Error::BadParameter(BadParameter::Missing("ids")))?;
    if ids.len() > OBJECTS_MAX {
        return Err(Error::BadParameter(BadParameter::Length { parameter: "ids", min: 0, max: OBJECTS_MAX }));
    }
    let found = ids.iter().filter_map(|id| Uuid::try_parse(id).ok());
    let found: Vec<_> = found.filter_map(|id| call.identity.directory_object(id)).collect();
    call.list("directoryObjects", &found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_real_clients_are_understood() {
        let equals = |filter: &str| match wanted(filter) {
            Ok(Wanted::Equals(name, value)) => format!("{name}={value}"),
            Ok(Wanted::StartsWith(name, value)) => format!("{name}^{value}"),
            Err(_) => "400".into(),
        };
        assert_eq!(equals("servicePrincipalNames/any(c:c eq 'x')"), "servicePrincipalNames=x");
        assert_eq!(equals("userPrincipalName eq 'a@b'"), "userPrincipalName=a@b");
        assert_eq!(equals("startswith(displayName,'a')"), "displayName^a");
        for bad in ["x", "id eq 1", "id ne '1'", "id eq 'a' or id eq 'b'", "'"] {
            assert_eq!(equals(bad), "400", "{bad}");
        }
    }
}
