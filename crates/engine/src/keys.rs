//! What the keys API takes and gives, in domain words.

pub(crate) mod cache;
mod create;
mod deletion;
mod duration;
mod list;
mod operate;
mod read;
pub(crate) mod rotation;
mod update;
pub(crate) mod uses;

use std::collections::BTreeMap;
use strongroom_hsm::PublicKey;
use strongroom_model::{KeyName, KeyOps, KeySpec, KeyVersion, Timestamp};

/// Tags by name.
pub type Tags = BTreeMap<String, String>;

/// `attributes` that a caller may set; `None` was not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttributeChange {
    /// `enabled`
    pub enabled: Option<bool>,
    /// `nbf`
    pub not_before: Option<Timestamp>,
    /// `exp`
    pub expires: Option<Timestamp>,
}

/// `POST /keys/{name}/create`, parsed.
#[derive(Clone, Debug)]
pub struct CreateKey {
    /// Key type with curve or size.
    pub spec: KeySpec,
    /// `key_ops`, or the default of the type.
    pub ops: KeyOps,
    /// `attributes`
    pub attributes: AttributeChange,
    /// `tags`
    pub tags: Tags,
}

/// `PUT /keys/{name}`, parsed; the material goes beside it, once.
#[derive(Clone, Debug)]
pub struct ImportKey {
    /// Key type with curve or size, read from the material.
    pub spec: KeySpec,
    /// `key_ops`, or the default of the type.
    pub ops: KeyOps,
    /// `attributes`
    pub attributes: AttributeChange,
    /// `tags`
    pub tags: Tags,
}

/// `PATCH /keys/{name}/{version}`, parsed; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct UpdateKey {
    /// `key_ops`
    pub ops: Option<KeyOps>,
    /// `attributes`
    pub attributes: AttributeChange,
    /// `tags`, replaced as a whole.
    pub tags: Option<Tags>,
}

/// `attributes` as answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attributes {
    /// `enabled`
    pub enabled: bool,
    /// `nbf`
    pub not_before: Option<Timestamp>,
    /// `exp`
    pub expires: Option<Timestamp>,
    /// `created`
    pub created: Timestamp,
    /// `updated`
    pub updated: Timestamp,
    /// `exportable`
    pub exportable: bool,
}

/// A key version without its secret half.
#[derive(Clone, Debug)]
pub struct KeyBundle {
    /// Spelled as at creation.
    pub name: KeyName,
    /// Which version.
    pub version: KeyVersion,
    /// Type with curve or size.
    pub spec: KeySpec,
    /// `key_ops`
    pub ops: KeyOps,
    /// The public half.
    pub public: PublicKey,
    /// `attributes`
    pub attributes: Attributes,
    /// `tags`
    pub tags: Tags,
}

/// One line of a list.
#[derive(Clone, Debug)]
pub struct KeyItem {
    /// Spelled as at creation.
    pub name: KeyName,
    /// Set in lists of versions, absent in lists of keys.
    pub version: Option<KeyVersion>,
    /// `attributes` (of the newest version in lists of keys)
    pub attributes: Attributes,
    /// `tags`
    pub tags: Tags,
}

/// When a deleted key was deleted and when it goes for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Deletion {
    /// `deletedDate`
    pub deleted: Timestamp,
    /// `scheduledPurgeDate`
    pub scheduled_purge: Timestamp,
}

/// A deleted key, newest version.
#[derive(Clone, Debug)]
pub struct DeletedKeyBundle {
    /// The key.
    pub key: KeyBundle,
    /// The dates.
    pub deletion: Deletion,
}

/// One line of the list of deleted keys.
#[derive(Clone, Debug)]
pub struct DeletedKeyItem {
    /// The key.
    pub key: KeyItem,
    /// The dates.
    pub deletion: Deletion,
}

/// A duration as ISO 8601 has it: the text is kept as it was given.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IsoDuration {
    /// As given (`P90D`, `P1Y6M` …).
    pub text: String,
    /// In days: a year is 365, a month 30, a week 7.
    pub days: i64,
}

/// When a rotation is due.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum RotateTrigger {
    /// `timeAfterCreate`
    AfterCreate(IsoDuration),
    /// `timeBeforeExpiry`
    BeforeExpiry(IsoDuration),
}

/// The rotation policy of a key, as set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationPolicy {
    /// The one `Rotate` action, when there is one (a managed HSM has no `Notify`).
    pub rotate: Option<RotateTrigger>,
    /// `attributes.expiryTime`: what new versions get as `exp`.
    pub expiry: Option<IsoDuration>,
    /// `attributes.created`; `None` for the default policy of a key that has none set.
    pub created: Option<Timestamp>,
    /// `attributes.updated`
    pub updated: Option<Timestamp>,
}
