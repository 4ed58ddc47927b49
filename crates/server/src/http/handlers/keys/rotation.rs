//! The rotation policy: durations in, a policy out.

use super::parse::bad;
use strongroom_engine::keys::{IsoDuration, RotateTrigger, RotationPolicy};
use strongroom_model::error::{BadParameter, Result};
use strongroom_wire::rotation::{
    KeyRotationPolicy, KeyRotationPolicyAttributes, LifetimeAction, LifetimeActionTrigger, LifetimeActionType,
};

/// A hundred years: longer ones leave every calendar.
const DURATION_DAYS_MAX: i64 = 36_500;

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

fn duration(parameter: &'static str, text: &str) -> Result<IsoDuration> {
    let duration = IsoDuration::parse(text).map_err(|_| bad(BadParameter::Malformed(parameter)))?;
    if duration.days > DURATION_DAYS_MAX {
        return Err(bad(BadParameter::Range { parameter, min: 1, max: DURATION_DAYS_MAX }));
    }
    Ok(duration)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use strongroom_model::Timestamp;

    fn policy(json: &str) -> Result<RotationPolicy> {
        parse(strongroom_wire::parse(json.as_bytes()).unwrap())
    }

    fn with_action(action: &str) -> Result<RotationPolicy> {
        policy(&format!(r#"{{"lifetimeActions":[{action}]}}"#))
    }

    #[test]
    fn a_policy_goes_in_and_comes_out() {
        let json = r#"{"attributes":{"expiryTime":"P1Y"},"lifetimeActions":[{"action":{"type":"rotate"},
            "trigger":{"timeAfterCreate":null,"timeBeforeExpiry":"P30D"}}]}"#;
        let read = policy(json).unwrap();
        let before = IsoDuration { text: "P30D".into(), days: 30 };
        assert_eq!(read.rotate, Some(RotateTrigger::BeforeExpiry(before)));
        assert_eq!(read.expiry, Some(IsoDuration { text: "P1Y".into(), days: 365 }));
        let stored = RotationPolicy { created: Some(Timestamp(1)), updated: Some(Timestamp(2)), ..read };
        let written = serde_json::to_string(&render("https://h/keys/k/rotationpolicy".into(), &stored)).unwrap();
        assert_eq!(
            written,
            concat!(
                r#"{"attributes":{"created":1,"expiryTime":"P1Y","updated":2},"id":"https://h/keys/k/rotationpolicy","#,
                r#""lifetimeActions":[{"action":{"type":"Rotate"},"trigger":{"timeBeforeExpiry":"P30D"}}]}"#
            )
        );
    }

    #[test]
    fn an_empty_policy_is_one() {
        let none = RotationPolicy { rotate: None, expiry: None, created: None, updated: None };
        assert_eq!(policy("{}").unwrap(), none);
        assert_eq!(policy(r#"{"lifetimeActions":[],"attributes":{}}"#).unwrap(), none);
        let written = serde_json::to_string(&render("x".into(), &none)).unwrap();
        assert_eq!(written, r#"{"attributes":{},"id":"x","lifetimeActions":[]}"#);
    }

    #[test]
    fn other_actions_and_triggers_are_refused() {
        let after = r#""trigger":{"timeAfterCreate":"P90D"}"#;
        for (action, reason) in [
            (format!(r#"{{"action":{{"type":"Notify"}},{after}}}"#), BadParameter::Unsupported("action")),
            (format!(r#"{{"action":{{"type":"Burn"}},{after}}}"#), BadParameter::Unknown("action")),
            (format!(r#"{{"action":{{}},{after}}}"#), BadParameter::Missing("action")),
            (format!("{{{after}}}"), BadParameter::Missing("action")),
            (r#"{"action":{"type":"Rotate"}}"#.into(), BadParameter::Missing("trigger")),
            (r#"{"action":{"type":"Rotate"},"trigger":{}}"#.into(), BadParameter::Missing("trigger")),
            (
                r#"{"action":{"type":"Rotate"},"trigger":{"timeAfterCreate":"P9D","timeBeforeExpiry":"P9D"}}"#.into(),
                BadParameter::NotAllowed("timeBeforeExpiry"),
            ),
            (
                r#"{"action":{"type":"Rotate"},"trigger":{"timeAfterCreate":"90"}}"#.into(),
                BadParameter::Malformed("timeAfterCreate"),
            ),
            (
                r#"{"action":{"type":"Rotate"},"trigger":{"timeAfterCreate":"P101Y"}}"#.into(),
                BadParameter::Range { parameter: "timeAfterCreate", min: 1, max: DURATION_DAYS_MAX },
            ),
        ] {
            assert_eq!(with_action(&action), Err(bad(reason)), "{action}");
        }
        let twice = format!(r#"{{"action":{{"type":"Rotate"}},{after}}},{{"action":{{"type":"ROTATE"}},{after}}}"#);
        let length = BadParameter::Length { parameter: "lifetimeActions", min: 0, max: 1 };
        assert_eq!(with_action(&twice), Err(bad(length)));
    }
}
