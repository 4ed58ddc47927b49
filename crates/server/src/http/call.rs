//! What a handler of the data plane gets and gives: a request past every gate, and an answer not yet on the wire.

use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use strongroom_engine::{Engine, Grant, Recorded};
use strongroom_model::audit::UseStamp;
use strongroom_model::{ApiVersion, Error, RoleScope, SecretBytes};
use zeroize::Zeroizing;

/// A request that was authenticated, routed and authorised, with its body read.
pub struct Call {
    /// The engine.
    pub engine: Arc<Engine>,
    /// The right to the route's action on the route's scope.
    pub grant: Grant,
    /// For changes: the audit record that goes into the commit.
    pub recorded: Recorded,
    /// `api-version`.
    pub version: ApiVersion,
    /// `https://{name}.managedhsm.{domain}[:port]`, as ids and links begin; no slash at the end.
    pub base: Arc<str>,
    /// The scope in front of `/providers/Microsoft.Authorization/…`; `/` on other routes.
    pub scope: RoleScope,
    /// The parts of the path that the route names, decoded: `name`, `version`, `id`.
    pub params: Vec<(&'static str, String)>,
    /// The query, names and values decoded.
    pub query: Vec<(String, String)>,
    /// The body: empty when there is none. Wiped when the call is dropped.
    pub body: SecretBytes,
}

impl Call {
    /// A named part of the path; empty when the path ends before it (`/keys/{name}/` means the newest version).
    pub fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| v)
    }

    /// The first value of a query parameter; names compare without case, as Azure does.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// An answer, before the dispatcher adds the common headers.
pub struct Answer {
    /// 200, 201, 202 or 204.
    pub status: u16,
    /// JSON, or nothing. Wiped when it has been sent.
    pub body: Zeroizing<Vec<u8>>,
    /// The object that was touched, for the audit record: `keys/{name}/{version}` …
    pub object: String,
    /// For uses of a key.
    pub stamp: Option<UseStamp>,
    /// Whether the audit record went into the store with the change: the dispatcher then writes none.
    pub audited: bool,
}

impl Answer {
    /// The body as hyper takes it, wiped after it was sent.
    pub fn into_bytes(body: Zeroizing<Vec<u8>>) -> Bytes {
        Bytes::from_owner(body)
    }
}

/// What a handler returns.
pub type HandlerFuture = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>;

/// A handler: one per operation, with the operation's name.
pub type Handler = fn(Call) -> HandlerFuture;
