//! What the log is told about a request: an audit record's facts, lent, so that the line is rendered without copies of them.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use strongroom_model::Principal;
use strongroom_model::audit::{Actor, AuditRecord, Stamp};
use uuid::Uuid;

/// See the module; the members are those of [`AuditRecord`].
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "documented at AuditRecord")]
pub struct Entry<'a> {
    pub time_ms: i64,
    pub resource: &'a str,
    pub operation: &'a str,
    pub operation_version: &'a str,
    pub status: u16,
    pub error_code: &'a str,
    pub duration_us: u64,
    pub caller_address: Option<IpAddr>,
    pub private_endpoint: &'a str,
    pub who: Who<'a>,
    pub request_id: Uuid,
    pub correlation_id: Option<Uuid>,
    pub client_info: Cow<'a, str>,
    /// In parts, which are joined as they stand.
    pub request_uri: [&'a str; 4],
    pub object: &'a str,
    pub stamp: Option<&'a Stamp>,
    pub folded: u32,
}

/// Who acted.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// As a record has it.
    Actor(&'a Actor),
    /// The caller of a request: rendered once for many of them.
    Caller(&'a Arc<Principal>),
}

impl<'a> From<&'a AuditRecord> for Entry<'a> {
    fn from(record: &'a AuditRecord) -> Self {
        Self {
            time_ms: record.time_ms,
            resource: &record.resource,
            operation: &record.operation,
            operation_version: &record.operation_version,
            status: record.status,
            error_code: &record.error_code,
            duration_us: record.duration_us,
            caller_address: record.caller_address,
            private_endpoint: &record.private_endpoint,
            who: Who::Actor(&record.actor),
            request_id: record.request_id,
            correlation_id: record.correlation_id,
            client_info: Cow::Borrowed(&record.client_info),
            request_uri: [&record.request_uri, "", "", ""],
            object: &record.object,
            stamp: record.stamp.as_ref(),
            folded: record.folded,
        }
    }
}

impl From<Entry<'_>> for AuditRecord {
    fn from(entry: Entry<'_>) -> Self {
        Self {
            time_ms: entry.time_ms,
            resource: entry.resource.to_owned(),
            operation: entry.operation.to_owned(),
            operation_version: entry.operation_version.to_owned(),
            status: entry.status,
            error_code: entry.error_code.to_owned(),
            duration_us: entry.duration_us,
            caller_address: entry.caller_address,
            private_endpoint: entry.private_endpoint.to_owned(),
            actor: match entry.who {
                Who::Actor(actor) => actor.clone(),
                Who::Caller(caller) => Actor::Principal(Principal::clone(caller)),
            },
            request_id: entry.request_id,
            correlation_id: entry.correlation_id,
            client_info: entry.client_info.into_owned(),
            request_uri: entry.request_uri.concat(),
            object: entry.object.to_owned(),
            stamp: entry.stamp.cloned(),
            folded: entry.folded,
        }
    }
}
