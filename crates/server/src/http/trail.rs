//! What is known of a request so far, and the audit record made of it.

use super::ids::RequestIds;
use http::header;
use http::request::Parts;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use strongroom_model::Principal;
use strongroom_model::audit::{Actor, AuditRecord, UseStamp};

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
    /// The real peer.
    pub(super) peer: IpAddr,
    /// When the head had come.
    pub(super) started: Instant,
    /// The same as milliseconds since the Unix epoch.
    time_ms: i64,
}

impl Exchange {
    pub(super) fn new(head: Parts, peer: IpAddr) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            ids: RequestIds::new(&head.headers),
            head,
            peer,
            started: Instant::now(),
            time_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        }
    }
}

/// What is known of a request so far; every gate adds to it.
pub(super) struct Trail {
    /// The pool's name; empty on other surfaces.
    pub(super) resource: String,
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
    pub(super) fn new(resource: String, base: Arc<str>) -> Self {
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

    /// The record, as of now.
    pub(super) fn record(&self, exchange: &Exchange, outcome: Outcome) -> AuditRecord {
        AuditRecord {
            time_ms: exchange.time_ms,
            resource: self.resource.clone(),
            operation: self.operation.to_owned(),
            operation_version: self.version.clone().unwrap_or_default(),
            status: outcome.status,
            error_code: outcome.error_code,
            duration_us: u64::try_from(exchange.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            caller_address: Some(exchange.peer),
            actor: self.caller.as_deref().map_or(Actor::Anonymous, |caller| Actor::Principal(caller.clone())),
            request_id: exchange.ids.request_id,
            correlation_id: exchange.ids.correlation_id,
            client_info: client_info(&exchange.head),
            request_uri: self.uri(),
            object: outcome.object,
            stamp: outcome.stamp,
            folded: 0,
        }
    }

    fn uri(&self) -> String {
        match &self.version {
            Some(version) => [&*self.base, &self.path, "?api-version=", version].concat(),
            None => [&*self.base, &self.path].concat(),
        }
    }
}

/// How a request ended, for its record.
#[derive(Default)]
pub(super) struct Outcome {
    /// HTTP status.
    pub(super) status: u16,
    /// Empty on success.
    pub(super) error_code: String,
    /// What was touched.
    pub(super) object: String,
    /// For uses of a key.
    pub(super) stamp: Option<UseStamp>,
}

fn client_info(head: &Parts) -> String {
    let agent = head.headers.get(header::USER_AGENT).map_or(&b""[..], |value| value.as_bytes());
    let mut printable = String::with_capacity(agent.len().min(CLIENT_INFO_MAX));
    for byte in agent.iter().take(CLIENT_INFO_MAX).filter(|b| b.is_ascii_graphic() || **b == b' ') {
        printable.push(char::from(*byte));
    }
    printable
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
