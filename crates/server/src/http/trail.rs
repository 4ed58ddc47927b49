//! What is known of a request so far, and the audit record made of it.

use super::dispatch::{Door, Peer};
use super::endpoint::EndpointDoor;
use super::ids::RequestIds;
use crate::audit::{Entry, Who};
use http::header;
use http::request::Parts;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use strongroom_model::audit::{Actor, AuditRecord, Stamp};
use strongroom_model::{PoolName, Principal};

/// Characters of `User-Agent` that are kept.
const CLIENT_INFO_MAX: usize = 256;
/// Operation of requests that no route was found for.
pub(super) const UNKNOWN_OPERATION: &str = "Unknown";
/// Operation of requests refused before they were authenticated.
pub(super) const AUTHENTICATION: &str = "Authentication";

/// A request's head and what the connection knows about it.
pub(super) struct Exchange {
    /// The head.
    pub(super) head: Parts,
    /// The two ids.
    pub(super) ids: RequestIds,
    /// The real peer; none on a Unix or virtual-machine socket.
    pub(super) peer: Option<IpAddr>,
    /// The private endpoint that it came through.
    endpoint: Option<Arc<EndpointDoor>>,
    /// When the head had come.
    pub(super) started: Instant,
    /// The same as milliseconds since the Unix epoch.
    time_ms: i64,
}

impl Exchange {
    pub(super) fn new(head: Parts, peer: &Peer) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            ids: RequestIds::new(&head.headers),
            head,
            peer: peer.address.ip(),
            endpoint: match &peer.door {
                Door::Endpoint(endpoint) => Some(Arc::clone(endpoint)),
                Door::Tls | Door::ManagedIdentity => None,
            },
            started: Instant::now(),
            time_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        }
    }
}

/// What is known of a request so far; every gate adds to it.
pub(super) struct Trail {
    /// The pool's name; none on other surfaces.
    pub(super) resource: Option<PoolName>,
    /// `https://host[:port]`
    pub(super) base: Arc<str>,
    /// Its name in the log.
    pub(super) operation: &'static str,
    /// The path in its one spelling; empty while it is not parsed.
    pub(super) path: String,
    /// `api-version`, once known.
    pub(super) version: Option<String>,
    /// Who, once authenticated.
    pub(super) caller: Option<Arc<Principal>>,
    /// The methods of the path, with a 405.
    pub(super) allow: Option<String>,
}

impl Trail {
    pub(super) fn new(resource: Option<PoolName>, base: Arc<str>) -> Self {
        Self {
            resource,
            base,
            operation: AUTHENTICATION,
            path: String::new(),
            version: None,
            caller: None,
            allow: None,
        }
    }

    /// The facts of the record, as of now.
    pub(super) fn entry<'a>(&'a self, exchange: &'a Exchange, outcome: &Outcome<'a>) -> Entry<'a> {
        let version = self.version.as_deref();
        Entry {
            time_ms: exchange.time_ms,
            resource: self.resource.as_ref().map_or("", PoolName::as_str),
            operation: self.operation,
            operation_version: version.unwrap_or_default(),
            status: outcome.status,
            error_code: outcome.error_code,
            duration_us: u64::try_from(exchange.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            caller_address: exchange.peer,
            private_endpoint: exchange.endpoint.as_ref().map_or("", |endpoint| &endpoint.id),
            who: self.caller.as_ref().map_or(Who::Actor(&Actor::Anonymous), Who::Caller),
            request_id: exchange.ids.request_id,
            correlation_id: exchange.ids.correlation_id,
            client_info: client_info(&exchange.head),
            request_uri: [
                &self.base,
                &self.path,
                if version.is_some() { "?api-version=" } else { "" },
                version.unwrap_or_default(),
            ],
            object: outcome.object,
            stamp: outcome.stamp,
            folded: 0,
        }
    }

    /// The record, as of now.
    pub(super) fn record(&self, exchange: &Exchange, outcome: &Outcome<'_>) -> AuditRecord {
        self.entry(exchange, outcome).into()
    }
}

/// How a request ended, for its record.
#[derive(Clone, Copy, Default)]
pub(super) struct Outcome<'a> {
    /// HTTP status.
    pub(super) status: u16,
    /// Empty on success.
    pub(super) error_code: &'a str,
    /// What was touched.
    pub(super) object: &'a str,
    /// For uses of a key.
    pub(super) stamp: Option<&'a Stamp>,
}

/// `User-Agent` as it is kept: printable, and not for ever.
fn client_info(head: &Parts) -> Cow<'_, str> {
    let agent = head.headers.get(header::USER_AGENT).map_or(&b""[..], |value| value.as_bytes());
    let agent = agent.get(..CLIENT_INFO_MAX).unwrap_or(agent);
    let printable = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    match std::str::from_utf8(agent) {
        Ok(text) if agent.iter().all(printable) => Cow::Borrowed(text),
        Ok(_) | Err(_) => Cow::Owned(agent.iter().copied().filter(printable).map(char::from).collect()),
    }
}

/// The place of a record where none is wanted: reads and uses are recorded after they are done.
pub(super) fn blank_record() -> AuditRecord {
    AuditRecord {
        time_ms: 0,
        resource: String::new(),
        operation: String::new(),
        operation_version: String::new(),
        status: 0,
        error_code: String::new(),
        duration_us: 0,
        caller_address: None,
        private_endpoint: String::new(),
        actor: Actor::Anonymous,
        request_id: uuid::Uuid::nil(),
        correlation_id: None,
        client_info: String::new(),
        request_uri: String::new(),
        object: String::new(),
        stamp: None,
        folded: 0,
    }
}
