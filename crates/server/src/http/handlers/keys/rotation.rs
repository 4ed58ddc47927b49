//! The rotation policy: durations in, a policy out.

use super::parse::bad;
use strongroom_engine::keys::{IsoDuration, RotateTrigger, RotationPolicy};
use strongroom_model::clock::DAY;
use strongroom_model::error::{BadParameter, Result};
use strongroom_wire::rotation::{
    KeyRotationPolicy, KeyRotationPolicyAttributes, LifetimeAction, LifetimeActionTrigger, LifetimeActionType,
};

/// A hundred years: longer ones leave every calendar.
const DURATION_DAYS_MAX: i64 = 36_500;
/// Digits of one number of a duration; keeps every sum far inside of 64 bits.
const DURATION_DIGITS_MAX: usize = 9;

/// `PUT /keys/{name}/rotationpolicy`.
pub(super) fn parse(body: KeyRotationPolicy) -> Result<RotationPolicy> {
    let actions = body.lifetime_actions.unwrap_or_default();
    if actions.len() > 1 && actions.iter().all(is_rotate) {
        return Err(bad(BadParameter::Length { parameter: "lifetimeActions", min: 0, max: 1 }));
    }
    let rotate = actions.iter().map(trigger).collect::<Result<Vec<_>>>()?.pop();
    let expiry = body.attributes.and_then(|a| a.expiry_time);
    Ok(RotationPolicy {
        rotate,
        expiry: expiry.as_deref().map(|text| duration("expiryTime", text)).transpose()?,
        created: None,
        updated: None,
    })
}

fn is_rotate(action: &LifetimeAction) -> bool {
    let kind = action.action.as_ref().and_then(|a| a.kind.as_deref());
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case("Rotate"))
}

fn trigger(action: &LifetimeAction) -> Result<RotateTrigger> {
    let kind = action.action.as_ref().and_then(|a| a.kind.as_deref()).ok_or(bad(BadParameter::Missing("action")))?;
    if kind.eq_ignore_ascii_case("Notify") {
        return Err(bad(BadParameter::Unsupported("action")));
    }
    if !is_rotate(action) {
        return Err(bad(BadParameter::Unknown("action")));
    }
    let trigger = action.trigger.as_ref().ok_or(bad(BadParameter::Missing("trigger")))?;
    match (trigger.time_after_create.as_deref(), trigger.time_before_expiry.as_deref()) {
        (Some(after), None) => duration("timeAfterCreate", after).map(RotateTrigger::AfterCreate),
        (None, Some(before)) => duration("timeBeforeExpiry", before).map(RotateTrigger::BeforeExpiry),
        (Some(_), Some(_)) => Err(bad(BadParameter::NotAllowed("timeBeforeExpiry"))),
        (None, None) => Err(bad(BadParameter::Missing("trigger"))),
    }
}

/// A duration of ISO 8601 that is whole days long: `P90D`, `P1Y6M`, `P2W`, `PT48H`.
fn duration(parameter: &'static str, text: &str) -> Result<IsoDuration> {
    let seconds = seconds(text).filter(|s| s % DAY == 0).ok_or(bad(BadParameter::Malformed(parameter)))?;
    let days = seconds / DAY;
    if days > DURATION_DAYS_MAX {
        return Err(bad(BadParameter::Range { parameter, min: 1, max: DURATION_DAYS_MAX }));
    }
    Ok(IsoDuration { text: text.to_owned(), days })
}

/// Designators with their seconds, in the order in which they must stand.
const DATE_PARTS: &[(u8, i64)] = &[(b'Y', 365 * DAY), (b'M', 30 * DAY), (b'W', 7 * DAY), (b'D', DAY)];
const TIME_PARTS: &[(u8, i64)] = &[(b'H', 3600), (b'M', 60), (b'S', 1)];

fn seconds(text: &str) -> Option<i64> {
    let text = text.strip_prefix('P')?;
    let (date, time) = match text.split_once('T') {
        Some((date, time)) if !time.is_empty() => (date, time),
        Some(_) => return None,
        None => (text, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    sum(date, DATE_PARTS)?.checked_add(sum(time, TIME_PARTS)?)
}

fn sum(mut text: &str, mut parts: &[(u8, i64)]) -> Option<i64> {
    let mut total = 0_i64;
    while !text.is_empty() {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = text.split_at_checked(digits)?;
        let designator = *rest.as_bytes().first()?;
        let position = parts.iter().position(|(d, _)| *d == designator)?;
        let (_, unit) = parts.get(position)?;
        if digits > DURATION_DIGITS_MAX {
            return None;
        }
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(*unit)?)?;
        parts = parts.get(position + 1..)?;
        text = rest.get(1..)?;
    }
    Some(total)
}

/// The policy as answered.
pub(super) fn render(id: String, policy: &RotationPolicy) -> KeyRotationPolicy {
    let action = |trigger: &RotateTrigger| {
        let (after, before) = match trigger {
            RotateTrigger::AfterCreate(duration) => (Some(duration.text.clone()), None),
            RotateTrigger::BeforeExpiry(duration) => (None, Some(duration.text.clone())),
        };
        LifetimeAction {
            action: Some(LifetimeActionType { kind: Some("Rotate".to_owned()) }),
            trigger: Some(LifetimeActionTrigger { time_after_create: after, time_before_expiry: before }),
        }
    };
    KeyRotationPolicy {
        attributes: Some(KeyRotationPolicyAttributes {
            created: policy.created.map(|t| t.0),
            expiry_time: policy.expiry.as_ref().map(|d| d.text.clone()),
            updated: policy.updated.map(|t| t.0),
        }),
        id: Some(id),
        lifetime_actions: Some(policy.rotate.iter().map(action).collect()),
    }
}
