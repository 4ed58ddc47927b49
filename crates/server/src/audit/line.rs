//! The lines: what all of them are made of, and our own kinds beside a request's.

use crate::audit::chain::{Head, sha256};
use crate::audit::{AuditOrigin, REFUSED, text};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use std::borrow::Cow;
use std::cell::RefCell;
use std::time::SystemTime;
use strongroom_hsm::PublicKey;
use strongroom_hsm::verbs::{Checkpoint, Opening};
use strongroom_model::Principal;
use strongroom_model::audit::{Actor, SystemStamp};
use strongroom_model::error::Error;
use uuid::Uuid;

pub(super) const PROVIDER: &str = "MICROSOFT.KEYVAULT";
pub(super) const RESOURCE_TYPE: &str = "managedHSMs";
/// Bytes of the hash that names a row of the outbox in its line.
const OUTBOX_ID: usize = 16;
/// Room for a line of ours.
const LINE_CAPACITY: usize = 1024;

/// Writes bodies of lines: JSON objects without their closing brace, to which the chain member is added.
pub(super) struct Lines {
    tenant_id: Uuid,
    /// From the opening brace to where the time goes.
    pub(super) begin: String,
    /// `/SUBSCRIPTIONS/…/RESOURCEGROUPS/…`, as it stands inside quotation marks.
    pub(super) group_id: String,
    /// From behind `requestUri` to where the provider goes.
    pub(super) resource_group: String,
}

/// A line of another kind than a request.
pub(super) enum Special<'a> {
    /// The log was opened.
    Start,
    /// The torn end of the log was cut off at the start.
    Cut(Cut),
    /// The log does not hold a line that was signed earlier.
    Truncated(Head),
    /// A run of a partition began; the pool's name, and whether it is told of a run of another process.
    Opening { pool: &'a str, opening: &'a Opening, again: bool },
    /// The signed state of a use chain.
    Checkpoint(&'a Checkpoint),
    /// The signed state of this log.
    Head { head: Head, signature: &'a [u8], x: &'a [u8], y: &'a [u8], stamp: &'a SystemStamp },
}

/// What was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) bytes: u64,
    pub(super) sha256: [u8; 32],
}

impl Lines {
    pub(super) fn new(origin: &AuditOrigin) -> Self {
        let id = format!("/subscriptions/{}/resourcegroups/{}", origin.subscription_id, origin.resource_group);
        Self {
            tenant_id: origin.tenant_id,
            begin: format!(r#"{{"TenantId":"{}","time":""#, origin.tenant_id),
            group_id: escaped(&id.to_ascii_uppercase()),
            resource_group: format!(r#"","resourceGroup":"{}","resourceProvider":""#, escaped(&origin.resource_group)),
        }
    }

    /// A line of another kind.
    pub(super) fn special(&self, special: &Special<'_>) -> Result<Vec<u8>, Error> {
        let (kind, member) = match special {
            Special::Start => ("start", Member::Start { version: env!("CARGO_PKG_VERSION"), format: 1 }),
            Special::Cut(cut) => ("cut", Member::Cut { bytes: cut.bytes, sha256: hex::encode(cut.sha256) }),
            Special::Truncated(head) => {
                ("truncated", Member::Truncated { sequence: head.sequence, hash: hex::encode(head.hash) })
            }
            Special::Opening { pool, opening, again } => ("opening", Member::opening(pool, opening, *again)),
            Special::Checkpoint(c) => ("checkpoint", Member::checkpoint(c)),
            Special::Head { head, signature, x, y, .. } => (
                "head",
                Member::Head {
                    sequence: head.sequence,
                    hash: hex::encode(head.hash),
                    signature: URL_SAFE_NO_PAD.encode(signature),
                    key: Jwk::p256(x, y),
                },
            ),
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut time = Vec::new();
        push_time(&mut time, i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
        let time = String::from_utf8(time).map_err(|_| REFUSED)?;
        let use_ = match special {
            Special::Head { stamp, .. } => Some(UseMember::system(stamp)),
            Special::Start
            | Special::Cut(_)
            | Special::Truncated(_)
            | Special::Opening { .. }
            | Special::Checkpoint(_) => None,
        };
        body(&SpecialLine { kind, time, tenant_id: self.tenant_id, member, use_ })
    }
}

/// Text as it stands inside quotation marks.
fn escaped(given: &str) -> String {
    let mut out = Vec::new();
    text::text(&mut out, given);
    String::from_utf8(out).unwrap_or_default()
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
    /// The last second that this thread wrote, as text up to the point.
    static LAST_SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// Appends a time: RFC 3339 with milliseconds, in UTC.
pub(super) fn push_time(out: &mut Vec<u8>, ms: i64) {
    let second = ms.div_euclid(1000);
    LAST_SECOND.with_borrow_mut(|(known, written)| {
        if *known != second {
            let Ok(time) = jiff::Timestamp::from_second(second) else { return text::plain(out, ms) };
            *written = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
            *known = second;
        }
        let fraction = u64::try_from(ms.rem_euclid(1000)).unwrap_or(0);
        text::raw(out, written);
        // The digit in front makes three of the others.
        let point = out.len();
        text::number(out, 1000 + fraction);
        if let Some(digit) = out.get_mut(point) {
            *digit = b'.';
        }
        out.push(b'Z');
    });
}

/// A moment in seconds since 1970, as the log writes it.
pub fn time_text(seconds: i64) -> String {
    let mut out = Vec::new();
    push_time(&mut out, seconds.saturating_mul(1000));
    String::from_utf8(out).unwrap_or_default()
}

/// The reason phrase without spaces, `OK` for every success, as Azure's logs have it.
pub(super) fn signature_text(status: u16) -> Cow<'static, str> {
    if status < 400 {
        return "OK".into();
    }
    let reason = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
    reason.map_or_else(|| status.to_string(), |r| r.replace(' ', "")).into()
}

/// `identity`, as JSON: a JSON text inside the JSON, as Azure writes it for a managed HSM.
pub(super) fn identity(actor: &Actor) -> Result<String, Error> {
    match actor {
        Actor::Anonymous => Ok(r#""{}""#.into()),
        Actor::Principal(principal) => caller_identity(principal),
        Actor::System(job) => {
            let named = if job.starts_with("system:") { job.clone() } else { format!("system:{job}") };
            quoted(Claim { object_id: None, upn: None, appid: Some(&named), iss: None, tid: None })
        }
    }
}

/// The same for a caller.
pub(super) fn caller_identity(principal: &Principal) -> Result<String, Error> {
    quoted(Claim {
        object_id: Some(principal.object_id),
        upn: principal.user_name.as_deref(),
        appid: principal.app_id.as_deref(),
        iss: Some(&principal.issuer),
        tid: Some(principal.tenant_id),
    })
}

fn quoted(claim: Claim<'_>) -> Result<String, Error> {
    let inner = serde_json::to_string(&Identity { claim }).map_err(|_| REFUSED)?;
    serde_json::to_string(&inner).map_err(|_| REFUSED)
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

#[derive(Serialize)]
struct UseMember {
    chain: String,
    sequence: u64,
    hash: String,
    time: i64,
    generation: u64,
    key: String,
}

impl UseMember {
    fn system(SystemStamp { place, key }: &SystemStamp) -> Self {
        Self {
            chain: hex::encode(place.chain),
            sequence: place.sequence,
            hash: hex::encode(place.hash),
            time: place.time.0,
            generation: place.generation,
            key: key.to_string(),
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
    Opening {
        pool: Uuid,
        #[serde(rename = "poolName")]
        pool_name: String,
        time: i64,
        key: Option<Jwk>,
        #[serde(skip_serializing_if = "Option::is_none")]
        previous: Option<String>,
        chains: Vec<String>,
        checkpoints: Vec<NamedMember>,
        signature: String,
        again: bool,
    },
    Checkpoint {
        pool: Uuid,
        chain: String,
        sequence: u64,
        hash: String,
        time: i64,
        signature: String,
    },
    Head {
        sequence: u64,
        hash: String,
        signature: String,
        key: Jwk,
    },
}

#[derive(Serialize)]
struct NamedMember {
    chain: String,
    sequence: u64,
    hash: String,
}

impl Member {
    fn opening(pool_name: &str, o: &Opening, again: bool) -> Self {
        let named = o.checkpoints.iter().map(|n| NamedMember {
            chain: hex::encode(n.chain),
            sequence: n.sequence,
            hash: hex::encode(n.hash),
        });
        let key = match &o.audit_key {
            PublicKey::Ec { x, y, .. } => Some(Jwk::p256(x, y)),
            PublicKey::Rsa { .. } | PublicKey::Oct => None,
        };
        Self::Opening {
            pool: o.pool.0,
            pool_name: pool_name.to_owned(),
            time: o.time.0,
            key,
            previous: o.previous.map(hex::encode),
            chains: o.chains.iter().map(hex::encode).collect(),
            checkpoints: named.collect(),
            signature: URL_SAFE_NO_PAD.encode(&o.signature),
            again,
        }
    }

    fn checkpoint(c: &Checkpoint) -> Self {
        Self::Checkpoint {
            pool: c.pool.0,
            chain: hex::encode(c.chain),
            sequence: c.sequence,
            hash: hex::encode(c.hash),
            time: c.time.0,
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

impl Jwk {
    fn p256(x: &[u8], y: &[u8]) -> Self {
        Self { crv: "P-256", kty: "EC", x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) }
    }
}
