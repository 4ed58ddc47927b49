//! The management plane's REST operations (Azure Resource Manager).

pub mod access;
pub mod groups;
pub mod hsms;
pub mod keys;
pub mod metadata;
pub mod network;
mod parse;
mod render;
pub mod vaults;
mod version;

pub use version::ManagementVersion;

use super::json;
use crate::http::call::Answer;
use crate::identity::Endpoints;
use serde::Serialize;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use strongroom_engine::management::ManagementGrant;
use strongroom_engine::{Engine, Recorded};
use strongroom_model::error::{Error, Internal, ManagementError, Result};
use strongroom_model::management::{GroupName, Location, ResourceKind, Scope};
use strongroom_model::{PoolName, Principal, SecretBytes};
use strongroom_wire::management::List;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Seconds after which a client asks again how far an operation has come.
const POLL_AFTER: u32 = 1;

/// A request that was authenticated, routed and authorised, with its body read.
pub struct ManagementCall {
    /// The engine.
    pub engine: Arc<Engine>,
    /// The host names of this installation.
    pub endpoints: Endpoints,
    /// For changes: the audit record that goes into the commit.
    pub recorded: Recorded,
    /// Who.
    pub caller: Arc<Principal>,
    /// The right to the route's action; none on routes that every member may use.
    pub grant: Option<ManagementGrant>,
    /// `api-version`
    pub version: ManagementVersion,
    /// What the path of a role operation begins with; none at the root.
    pub scope: Option<Scope>,
    /// The parts of the path that the route names, decoded.
    pub params: Vec<(&'static str, String)>,
    /// The query, names and values decoded.
    pub query: Vec<(String, String)>,
    /// The body: empty when there is none.
    pub body: SecretBytes,
}

/// An answer, before the common headers.
pub struct ManagementAnswer {
    /// Status, body, what was touched.
    pub answer: Answer,
    /// Where the operation can be followed.
    pub location: Option<String>,
    /// When to look again.
    pub retry_after: Option<u32>,
}

impl From<Answer> for ManagementAnswer {
    fn from(answer: Answer) -> Self {
        Self { answer, location: None, retry_after: None }
    }
}

/// What a handler returns.
pub type ManagementFuture = Pin<Box<dyn Future<Output = Result<ManagementAnswer>> + Send>>;

/// A handler: one per operation.
pub type ManagementHandler = fn(ManagementCall) -> ManagementFuture;

impl ManagementCall {
    fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| v)
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The right that the route asked for.
    fn grant(&self) -> Result<&ManagementGrant> {
        self.grant.as_ref().ok_or(Error::Internal(Internal::Encoding))
    }

    fn subscription(&self) -> Uuid {
        self.engine.management_settings().subscription_id
    }

    fn group(&self) -> Result<GroupName> {
        GroupName::parse(self.param("group"))
    }

    /// The group of a list, when the path names one.
    fn group_of_list(&self) -> Result<Option<GroupName>> {
        if self.param("group").is_empty() { Ok(None) } else { self.group().map(Some) }
    }

    fn name(&self, kind: ResourceKind) -> Result<PoolName> {
        resource_name(kind, self.param("name"))
    }

    /// Where the path says that something lies.
    fn location(&self) -> Result<Location> {
        Location::parse(self.param("location"))
    }

    /// `id` of something in the path, a GUID.
    fn id(&self) -> Option<Uuid> {
        Uuid::try_parse(self.param("id")).ok()
    }

    fn body<'de, T: serde::Deserialize<'de>>(&'de self) -> Result<T> {
        json::parse(self.body.expose())
    }

    /// An answer with a body, for a change or a read of `object` as `audited` says.
    fn answer<T: Serialize>(&self, status: u16, body: &T, object: String, audited: bool) -> Result<ManagementAnswer> {
        json::answer(status, body, object, audited).map(ManagementAnswer::from)
    }

    /// Part of a list: `$top` items from `$skiptoken` on.
    fn page<T: Serialize>(&self, path: &str, items: Vec<T>) -> Result<ManagementAnswer> {
        let top = match self.query("$top") {
            None => items.len(),
            Some(text) => text.parse().map_err(|_| ManagementError::BadProperty("$top", "a whole number"))?,
        };
        let from: usize = match self.query("$skiptoken") {
            None => 0,
            Some(text) => text.parse().map_err(|_| ManagementError::BadProperty("$skiptoken", "one of this list"))?,
        };
        let end = from.saturating_add(top.max(1));
        let more = end < items.len();
        let value: Vec<T> = items.into_iter().skip(from).take(top.max(1)).collect();
        let next_link = more.then(|| self.next_link(path, top.max(1), end));
        self.answer(200, &List { next_link, value }, String::new(), false)
    }

    fn next_link(&self, path: &str, top: usize, from: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("api-version", self.version.as_str());
        if let Some(filter) = self.query("$filter") {
            query.append_pair("$filter", filter);
        }
        query.append_pair("$top", &top.to_string()).append_pair("$skiptoken", &from.to_string());
        format!("{}{path}?{}", self.endpoints.audience(crate::identity::Resource::Management), query.finish())
    }
}

/// The name of a resource.
fn resource_name(kind: ResourceKind, text: &str) -> Result<PoolName> {
    PoolName::parse(text).map_err(|_| ManagementError::BadResourceName(kind).into())
}

/// An answer without a body.
fn empty(status: u16, object: String, audited: bool) -> ManagementAnswer {
    Answer { status, body: Zeroizing::default(), object, stamp: None, audited }.into()
}

/// 202 with where to follow a purge.
fn accepted(call: &ManagementCall, results: &str, id: Uuid, object: String, audited: bool) -> ManagementAnswer {
    let location = format!(
        "{}/subscriptions/{}/providers/Microsoft.KeyVault/locations/{}/{results}/{id}?api-version={}",
        call.endpoints.audience(crate::identity::Resource::Management),
        call.subscription(),
        call.param("location"),
        call.version.as_str()
    );
    ManagementAnswer { location: Some(location), retry_after: Some(POLL_AFTER), ..empty(202, object, audited) }
}
