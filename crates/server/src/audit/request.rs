//! The line of a request: Azure's flat record of a managed HSM (`managed-hsm/logging`), rendered straight into the buffer of a
//! turn; `requestId`, `id`, `use`, `change`, `folded`, `outbox` and `chain` are ours.

use crate::audit::entry::{Entry, Who};
use crate::audit::line::{Lines, PROVIDER, RESOURCE_TYPE, identity, outbox_id, push_time, signature_text};
use crate::audit::text::{hexadecimal, number, plain, raw, text, uuid};
use std::cell::RefCell;
use std::sync::Arc;
use strongroom_model::Principal;
use strongroom_model::audit::{ChangeStamp, KeyChange, Stamp, SystemStamp, UseStamp};
use strongroom_model::error::Error;

const PROPERTIES: &str = r#","properties":{"PoolType":"M-HSM","sku_Family":"B","sku_Name":"Standard_B1"}"#;

thread_local! {
    /// The last caller of this thread with the rendered identity: one caller's requests mostly come in a row.
    static LAST_CALLER: RefCell<Option<(Arc<Principal>, Box<str>)>> = const { RefCell::new(None) };
}

impl Lines {
    /// Appends the body of a request's line: a JSON object without its closing brace. `outbox` is the path of its row when it
    /// was recorded in the store first. Nothing is appended when that fails.
    pub(super) fn request(&self, out: &mut Vec<u8>, entry: &Entry<'_>, outbox: Option<&[u8]>) -> Result<(), Error> {
        with_identity(entry.who, |identity| {
            self.what(out, entry);
            who(out, entry, identity);
            self.which(out, entry);
            rest(out, entry, outbox);
        })
    }

    /// What was asked, and what came of it.
    fn what(&self, out: &mut Vec<u8>, entry: &Entry<'_>) {
        raw(out, &self.begin);
        push_time(out, entry.time_ms);
        raw(out, r#"","resourceId":""#);
        raw(out, &self.group_id);
        if !entry.resource.is_empty() {
            raw(out, "/PROVIDERS/MICROSOFT.KEYVAULT/MANAGEDHSMS/");
            text(out, &entry.resource.to_ascii_uppercase());
        }
        member(out, r#"","operationName":""#, entry.operation);
        member(out, r#"","operationVersion":""#, entry.operation_version);
        let failed = entry.status >= 400;
        raw(out, r#"","category":"AuditEvent","resultType":""#);
        raw(out, if failed { "Failure" } else { "Success" });
        member(out, r#"","resultSignature":""#, &signature_text(entry.status));
        if !entry.error_code.is_empty() {
            member(out, r#"","resultDescription":""#, entry.error_code);
        }
        raw(out, "\"");
        raw(out, PROPERTIES);
        raw(out, r#","durationMs":"#);
        milliseconds(out, entry.duration_us);
    }

    /// Which request of which pool it was.
    fn which(&self, out: &mut Vec<u8>, entry: &Entry<'_>) {
        raw(out, r#"","correlationId":""#);
        uuid(out, entry.correlation_id.unwrap_or(entry.request_id));
        raw(out, r#"","subnetId":"(unknown)","httpStatusCode":"#);
        number(out, entry.status.into());
        member(out, r#","PoolName":""#, entry.resource);
        raw(out, r#"","requestUri":""#);
        for part in entry.request_uri {
            text(out, part);
        }
        raw(out, &self.resource_group);
        raw(out, PROVIDER);
        member(out, r#"","resource":""#, entry.resource);
        raw(out, r#"","resourceType":""#);
        raw(out, RESOURCE_TYPE);
        raw(out, r#"","requestId":""#);
        uuid(out, entry.request_id);
        raw(out, "\"");
    }
}

fn who(out: &mut Vec<u8>, entry: &Entry<'_>, identity: &str) {
    if let Some(address) = entry.caller_address {
        raw(out, r#","callerIpAddress":""#);
        plain(out, address);
        raw(out, "\"");
    }
    raw(out, r#","identity":"#);
    raw(out, identity);
    member(out, r#","clientInfo":""#, &entry.client_info);
}

/// What only some lines have.
fn rest(out: &mut Vec<u8>, entry: &Entry<'_>, outbox: Option<&[u8]>) {
    if !entry.object.is_empty() {
        member(out, r#","id":""#, entry.object);
        raw(out, "\"");
    }
    if !entry.private_endpoint.is_empty() {
        member(out, r#","privateEndpoint":""#, entry.private_endpoint);
        raw(out, "\"");
    }
    if let Some(stamp) = entry.stamp {
        stamp_of(out, stamp);
    }
    if entry.folded > 0 {
        raw(out, r#","folded":"#);
        number(out, entry.folded.into());
    }
    if let Some(path) = outbox {
        member(out, r#","outbox":""#, &outbox_id(path));
        raw(out, "\"");
    }
}

/// The entry of a use chain: with the record, all that its hash was made of.
pub(super) fn stamp_of(out: &mut Vec<u8>, stamp: &Stamp) {
    match stamp {
        Stamp::Use(place) => {
            raw(out, r#","use":{"#);
            place_of(out, place);
        }
        Stamp::System(SystemStamp { place, key }) => {
            raw(out, r#","use":{"#);
            place_of(out, place);
            member(out, r#","key":""#, key);
            raw(out, "\"");
        }
        Stamp::Change(ChangeStamp { place, change }) => {
            raw(out, r#","change":{"#);
            place_of(out, place);
            match change {
                KeyChange::Generate(binding) => binding_of(out, "generate", binding),
                KeyChange::Import(binding) => binding_of(out, "import", binding),
                KeyChange::Rebind(binding) => binding_of(out, "rebind", binding),
                KeyChange::Reserve(up_to) => {
                    raw(out, r#","verb":"reserve","upTo":"#);
                    number(out, *up_to);
                }
            }
        }
    }
    raw(out, "}");
}

fn binding_of(out: &mut Vec<u8>, verb: &str, binding: &[u8; 32]) {
    member(out, r#","verb":""#, verb);
    raw(out, r#"","binding":""#);
    hexadecimal(out, binding);
    raw(out, "\"");
}

fn place_of(out: &mut Vec<u8>, place: &UseStamp) {
    raw(out, r#""chain":""#);
    hexadecimal(out, &place.chain);
    raw(out, r#"","sequence":"#);
    number(out, place.sequence);
    raw(out, r#","hash":""#);
    hexadecimal(out, &place.hash);
    raw(out, r#"","time":"#);
    plain(out, place.time.0);
    raw(out, r#","generation":"#);
    number(out, place.generation);
}

/// Appends `before` and the text behind it; its closing quotation mark is the next one's business.
fn member(out: &mut Vec<u8>, before: &str, value: &str) {
    raw(out, before);
    text(out, value);
}

/// Appends microseconds as milliseconds, with at least one digit behind the point and no zeros at the end.
fn milliseconds(out: &mut Vec<u8>, us: u64) {
    number(out, us / 1000);
    let fraction = us % 1000;
    out.push(b'.');
    out.push(b'0' + u8::try_from(fraction / 100).unwrap_or(0));
    if !fraction.is_multiple_of(100) {
        out.push(b'0' + u8::try_from(fraction / 10 % 10).unwrap_or(0));
    }
    if !fraction.is_multiple_of(10) {
        out.push(b'0' + u8::try_from(fraction % 10).unwrap_or(0));
    }
}

/// Renders with the identity, as JSON; a caller's is rendered anew only when it is another one than before.
fn with_identity(who: Who<'_>, render: impl FnOnce(&str)) -> Result<(), Error> {
    let caller = match who {
        Who::Actor(actor) => {
            render(&identity(actor)?);
            return Ok(());
        }
        Who::Caller(caller) => caller,
    };
    LAST_CALLER.with_borrow_mut(|last| {
        match last {
            Some((known, identity)) if Arc::ptr_eq(known, caller) => render(identity),
            Some(_) | None => {
                let identity = crate::audit::line::caller_identity(caller)?;
                render(&last.insert((Arc::clone(caller), identity.into())).1);
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests;
