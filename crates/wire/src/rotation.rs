//! The rotation policy of a key.

use crate::object;
use serde::{Deserialize, Serialize};

/// `GET` and `PUT /keys/{name}/rotationpolicy`.
#[derive(Serialize, Deserialize)]
pub struct KeyRotationPolicy {
    /// Expiry of new versions, and the policy's own dates.
    #[serde(default, deserialize_with = "object::optional", skip_serializing_if = "Option::is_none")]
    pub attributes: Option<KeyRotationPolicyAttributes>,
    /// Its address; skipped in requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is done when.
    #[serde(
        rename = "lifetimeActions",
        default,
        deserialize_with = "object::list",
        skip_serializing_if = "Option::is_none"
    )]
    pub lifetime_actions: Option<Vec<LifetimeAction>>,
}

/// `attributes` of the policy.
#[derive(Serialize, Deserialize)]
pub struct KeyRotationPolicyAttributes {
    /// In seconds since 1970; skipped in requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<i64>,
    /// What new versions get as life, as ISO 8601 duration.
    #[serde(rename = "expiryTime", skip_serializing_if = "Option::is_none")]
    pub expiry_time: Option<String>,
    /// In seconds since 1970; skipped in requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<i64>,
}

/// One action with its trigger.
#[derive(Serialize, Deserialize)]
pub struct LifetimeAction {
    /// What is done.
    #[serde(default, deserialize_with = "object::optional", skip_serializing_if = "Option::is_none")]
    pub action: Option<LifetimeActionType>,
    /// When.
    #[serde(default, deserialize_with = "object::optional", skip_serializing_if = "Option::is_none")]
    pub trigger: Option<LifetimeActionTrigger>,
}

/// `action`.
#[derive(Serialize, Deserialize)]
pub struct LifetimeActionType {
    /// `Rotate` or `Notify`, in any case.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// `trigger`.
#[derive(Serialize, Deserialize)]
pub struct LifetimeActionTrigger {
    /// ISO 8601 duration.
    #[serde(rename = "timeAfterCreate", skip_serializing_if = "Option::is_none")]
    pub time_after_create: Option<String>,
    /// ISO 8601 duration.
    #[serde(rename = "timeBeforeExpiry", skip_serializing_if = "Option::is_none")]
    pub time_before_expiry: Option<String>,
}
