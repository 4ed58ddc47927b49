//! The lines: Azure's flat record of a Managed HSM's request, and our own kinds beside it.

use crate::audit::chain::{Head, sha256};
use crate::audit::{AuditOrigin, REFUSED};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::value::RawValue;
use std::cell::RefCell;
use std::net::IpAddr;
use std::time::SystemTime;
use strongroom_hsm::verbs::Checkpoint;
use strongroom_model::audit::{Actor, AuditRecord, UseStamp};
use strongroom_model::error::Error;
use uuid::Uuid;

const PROVIDER: &str = "MICROSOFT.KEYVAULT";
const RESOURCE_TYPE: &str = "managedHSMs";
/// Bytes of the hash that names a row of the outbox in its line.
const OUTBOX_ID: usize = 16;
/// Room for a line: most have about 1,300 bytes.
const LINE_CAPACITY: usize = 2048;

/// Writes bodies of lines: JSON objects without their closing brace, to which the chain member is added.
pub(super) struct Lines {
    tenant_id: Uuid,
    resource_group: String,
    /// `/SUBSCRIPTIONS/…/RESOURCEGROUPS/…`
    group_id: String,
}

/// A line of another kind than a request.
pub(super) enum Special<'a> {
    /// The log was opened.
    Start,
    /// The torn end of the log was cut off at the start.
    Cut(Cut),
    /// The log does not hold a line that was signed earlier.
    Truncated(Head),
    /// The signed state of a use chain.
    Checkpoint(&'a Checkpoint),
    /// The signed state of this log.
    Head { head: Head, signature: &'a [u8], x: &'a [u8], y: &'a [u8], stamp: UseStamp },
}

/// What was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) bytes: u64,
    pub(super) sha256: [u8; 32],
}

impl Lines {
    pub(super) fn new(origin: &AuditOrigin) -> Self {
        let group_id = format!("/subscriptions/{}/resourcegroups/{}", origin.subscription_id, origin.resource_group);
        Self {
            tenant_id: origin.tenant_id,
            resource_group: origin.resource_group.clone(),
            group_id: group_id.to_ascii_uppercase(),
        }
    }

    /// The line of a request; `outbox` is the path of its row when it was recorded in the store first.
    pub(super) fn request(&self, record: &AuditRecord, outbox: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        let resource_id = if record.resource.is_empty() {
            self.group_id.clone()
        } else {
            let name = record.resource.to_ascii_uppercase();
            format!("{}/PROVIDERS/{PROVIDER}/MANAGEDHSMS/{name}", self.group_id)
        };
        let failed = record.status >= 400;
        with_identity(&record.actor, |identity| {
            body(&RequestLine {
                tenant_id: self.tenant_id,
                time: time_text(record.time_ms),
                resource_id,
                operation_name: &record.operation,
                operation_version: &record.operation_version,
                category: "AuditEvent",
                result_type: if failed { "Failure" } else { "Success" },
                result_signature: signature_text(record.status),
                result_description: &record.error_code,
                properties: Properties { pool_type: "M-HSM", sku_family: "B", sku_name: "Standard_B1" },
                duration_ms: duration_ms(record.duration_us),
                caller_ip_address: record.caller_address,
                identity,
                client_info: &record.client_info,
                correlation_id: record.correlation_id.unwrap_or(record.request_id),
                subnet_id: "(unknown)",
                http_status_code: record.status,
                pool_name: &record.resource,
                request_uri: &record.request_uri,
                resource_group: &self.resource_group,
                resource_provider: PROVIDER,
                resource: &record.resource,
                resource_type: RESOURCE_TYPE,
                request_id: record.request_id,
                id: &record.object,
                use_: record.stamp.as_ref().map(UseMember::from),
                folded: record.folded,
                outbox: outbox.map(outbox_id),
            })
        })?
    }

    /// A line of another kind.
    pub(super) fn special(&self, special: &Special<'_>) -> Result<Vec<u8>, Error> {
        let (kind, member) = match special {
            Special::Start => ("start", Member::Start { version: env!("CARGO_PKG_VERSION"), format: 1 }),
            Special::Cut(cut) => ("cut", Member::Cut { bytes: cut.bytes, sha256: hex::encode(cut.sha256) }),
            Special::Truncated(head) => {
                ("truncated", Member::Truncated { sequence: head.sequence, hash: hex::encode(head.hash) })
            }
            Special::Checkpoint(c) => ("checkpoint", Member::checkpoint(c)),
            Special::Head { head, signature, x, y, .. } => (
                "head",
                Member::Head {
                    sequence: head.sequence,
                    hash: hex::encode(head.hash),
                    signature: URL_SAFE_NO_PAD.encode(signature),
                    key: Jwk { crv: "P-256", kty: "EC", x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) },
                },
            ),
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time = time_text(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
        let use_ = match special {
            Special::Head { stamp, .. } => Some(UseMember::from(stamp)),
            Special::Start | Special::Cut(_) | Special::Truncated(_) | Special::Checkpoint(_) => None,
        };
        body(&SpecialLine { kind, time, tenant_id: self.tenant_id, member, use_ })
    }
}

/// Names a row of the outbox, so that a row copied twice (a kill between copying and removing) can be told.
pub(super) fn outbox_id(path: &[u8]) -> String {
    let hash = sha256(&[path]);
    hex::encode(hash.get(..OUTBOX_ID).unwrap_or_default())
}

fn body<T: Serialize>(line: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(LINE_CAPACITY);
    serde_json::to_writer(&mut bytes, line).map_err(|_| REFUSED)?;
    bytes.pop();
    Ok(bytes)
}

thread_local! {
    /// The last actor of this thread with its rendered identity: one caller's requests mostly come in a row.
    static LAST_IDENTITY: RefCell<Option<(Actor, Box<RawValue>)>> = const { RefCell::new(None) };
    /// The last second that this thread wrote, as text up to the point.
    static LAST_SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// Renders a record with the identity of its actor, which is rendered anew only when it is another one than before.
fn with_identity<T>(actor: &Actor, render: impl FnOnce(&RawValue) -> T) -> Result<T, Error> {
    LAST_IDENTITY.with_borrow_mut(|last| match last {
        Some((known, identity)) if known == actor => Ok(render(identity)),
        Some(_) | None => {
            let identity = serde_json::value::to_raw_value(&identity(actor)?).map_err(|_| REFUSED)?;
            let (_, identity) = last.insert((actor.clone(), identity));
            Ok(render(identity))
        }
    })
}

fn time_text(ms: i64) -> String {
    let second = ms.div_euclid(1000);
    LAST_SECOND.with_borrow_mut(|(known, text)| {
        if *known != second {
            let Ok(time) = jiff::Timestamp::from_second(second) else { return ms.to_string() };
            *text = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
            *known = second;
        }
        format!("{text}.{:03}Z", ms.rem_euclid(1000))
    })
}

#[allow(clippy::cast_precision_loss, reason = "a duration above 2^52 microseconds does not occur")]
fn duration_ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// The reason phrase without spaces, `OK` for every success, as Azure's logs have it.
fn signature_text(status: u16) -> String {
    if status < 400 {
        return "OK".into();
    }
    let reason = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
    reason.map_or_else(|| status.to_string(), |r| r.replace(' ', ""))
}

/// `identity`: a JSON text inside the JSON, as Azure writes it for a managed HSM.
fn identity(actor: &Actor) -> Result<String, Error> {
    let claim = match actor {
        Actor::Anonymous => return Ok("{}".into()),
        Actor::Principal(p) => Claim {
            object_id: Some(p.object_id),
            upn: p.user_name.as_deref(),
            appid: p.app_id.as_deref(),
            iss: Some(&p.issuer),
            tid: Some(p.tenant_id),
        },
        Actor::System(job) => {
            let named = if job.starts_with("system:") { job.clone() } else { format!("system:{job}") };
            let claim = Claim { object_id: None, upn: None, appid: Some(&named), iss: None, tid: None };
            return serde_json::to_string(&Identity { claim }).map_err(|_| REFUSED);
        }
    };
    serde_json::to_string(&Identity { claim }).map_err(|_| REFUSED)
}

#[derive(Serialize)]
struct Identity<'a> {
    claim: Claim<'a>,
}

#[derive(Serialize)]
struct Claim<'a> {
    #[serde(rename = "http://schemas.microsoft.com/identity/claims/objectidentifier")]
    #[serde(skip_serializing_if = "Option::is_none")]
    object_id: Option<Uuid>,
    #[serde(rename = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn")]
    #[serde(skip_serializing_if = "Option::is_none")]
    upn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    appid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(rename = "http://schemas.microsoft.com/identity/claims/tenantid")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tid: Option<Uuid>,
}

/// The flat record of `managed-hsm/logging`; `requestId`, `id`, `use`, `folded`, `outbox` and `chain` are ours.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestLine<'a> {
    #[serde(rename = "TenantId")]
    tenant_id: Uuid,
    time: String,
    resource_id: String,
    operation_name: &'a str,
    operation_version: &'a str,
    category: &'static str,
    result_type: &'static str,
    result_signature: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    result_description: &'a str,
    properties: Properties,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller_ip_address: Option<IpAddr>,
    /// A JSON text inside the JSON, escaped already.
    identity: &'a RawValue,
    client_info: &'a str,
    correlation_id: Uuid,
    subnet_id: &'static str,
    http_status_code: u16,
    #[serde(rename = "PoolName")]
    pool_name: &'a str,
    request_uri: &'a str,
    resource_group: &'a str,
    resource_provider: &'static str,
    resource: &'a str,
    resource_type: &'static str,
    request_id: Uuid,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(rename = "use")]
    #[serde(skip_serializing_if = "Option::is_none")]
    use_: Option<UseMember>,
    #[serde(skip_serializing_if = "is_zero")]
    folded: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    outbox: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct Properties {
    #[serde(rename = "PoolType")]
    pool_type: &'static str,
    #[serde(rename = "sku_Family")]
    sku_family: &'static str,
    #[serde(rename = "sku_Name")]
    sku_name: &'static str,
}

#[derive(Serialize)]
struct UseMember {
    chain: String,
    sequence: u64,
    hash: String,
    time: i64,
}

impl From<&UseStamp> for UseMember {
    fn from(stamp: &UseStamp) -> Self {
        Self {
            chain: hex::encode(stamp.chain),
            sequence: stamp.sequence,
            hash: hex::encode(stamp.hash),
            time: stamp.time.0,
        }
    }
}

#[derive(Serialize)]
struct SpecialLine {
    kind: &'static str,
    time: String,
    #[serde(rename = "TenantId")]
    tenant_id: Uuid,
    #[serde(flatten)]
    member: Member,
    #[serde(rename = "use")]
    #[serde(skip_serializing_if = "Option::is_none")]
    use_: Option<UseMember>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Member {
    Start {
        version: &'static str,
        format: u32,
    },
    Cut {
        bytes: u64,
        sha256: String,
    },
    Truncated {
        sequence: u64,
        hash: String,
    },
    Checkpoint {
        pool: Uuid,
        chain: String,
        sequence: u64,
        hash: String,
        time: i64,
        previous: Vec<String>,
        signature: String,
    },
    Head {
        sequence: u64,
        hash: String,
        signature: String,
        key: Jwk,
    },
}

impl Member {
    fn checkpoint(c: &Checkpoint) -> Self {
        Self::Checkpoint {
            pool: c.pool.0,
            chain: hex::encode(c.chain),
            sequence: c.sequence,
            hash: hex::encode(c.hash),
            time: c.time.0,
            previous: c.previous.iter().map(hex::encode).collect(),
            signature: URL_SAFE_NO_PAD.encode(&c.signature),
        }
    }
}

#[derive(Serialize)]
struct Jwk {
    crv: &'static str,
    kty: &'static str,
    x: String,
    y: String,
}
