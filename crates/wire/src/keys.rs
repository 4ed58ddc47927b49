//! Keys: what `create`, `import` and `update` take, and what all of them and the lists answer.

use crate::object;
use crate::text::SecretText;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// `POST /keys/{name}/create`.
#[derive(Deserialize)]
pub struct KeyCreateParameters<'a> {
    /// What the caller may set of the attributes.
    #[serde(default, deserialize_with = "object::optional")]
    pub attributes: Option<KeyAttributesInput>,
    /// Curve of an EC key.
    #[serde(borrow, default)]
    pub crv: Option<Cow<'a, str>>,
    /// Permitted operations.
    #[serde(borrow, default)]
    pub key_ops: Option<Vec<Cow<'a, str>>>,
    /// Size in bits of an RSA or symmetric key.
    pub key_size: Option<i32>,
    /// Key type.
    #[serde(borrow, default)]
    pub kty: Option<Cow<'a, str>>,
    /// Public exponent of an RSA key.
    pub public_exponent: Option<i32>,
    /// Under which rules the key may be released.
    pub release_policy: Option<IgnoredAny>,
    /// The caller's own names and values.
    #[serde(default, deserialize_with = "object::tags")]
    pub tags: Option<BTreeMap<String, String>>,
}

/// `PUT /keys/{name}`; `Hsm` says nothing on a managed HSM and is skipped.
#[derive(Deserialize)]
pub struct KeyImportParameters<'a> {
    /// What the caller may set of the attributes.
    #[serde(default, deserialize_with = "object::optional")]
    pub attributes: Option<KeyAttributesInput>,
    /// The key.
    #[serde(borrow, default, deserialize_with = "object::optional")]
    pub key: Option<PrivateJsonWebKey<'a>>,
    /// Under which rules the key may be released.
    pub release_policy: Option<IgnoredAny>,
    /// The caller's own names and values.
    #[serde(default, deserialize_with = "object::tags")]
    pub tags: Option<BTreeMap<String, String>>,
}

/// `PATCH /keys/{name}/{version}`.
#[derive(Deserialize)]
pub struct KeyUpdateParameters<'a> {
    /// What the caller may set of the attributes.
    #[serde(default, deserialize_with = "object::optional")]
    pub attributes: Option<KeyAttributesInput>,
    /// Permitted operations.
    #[serde(borrow, default)]
    pub key_ops: Option<Vec<Cow<'a, str>>>,
    /// Under which rules the key may be released.
    pub release_policy: Option<IgnoredAny>,
    /// The caller's own names and values, which replace the old ones.
    #[serde(default, deserialize_with = "object::tags")]
    pub tags: Option<BTreeMap<String, String>>,
}

/// `attributes` of a request; the members that only the service sets are skipped.
#[derive(Deserialize)]
pub struct KeyAttributesInput {
    /// Whether the key may be used.
    pub enabled: Option<bool>,
    /// Expiry, in seconds since 1970.
    pub exp: Option<i64>,
    /// Whether the private key can be released.
    pub exportable: Option<bool>,
    /// Names a key that lies in another key manager.
    pub external_key: Option<IgnoredAny>,
    /// Not to be used before, in seconds since 1970.
    pub nbf: Option<i64>,
}

/// A key in the clear (RFC 7517), or a BYOK transfer blob.
#[derive(Deserialize)]
pub struct PrivateJsonWebKey<'a> {
    /// Curve.
    #[serde(borrow, default)]
    pub crv: Option<Cow<'a, str>>,
    /// RSA private exponent, or EC private scalar.
    #[serde(borrow, default)]
    pub d: Option<SecretText<'a>>,
    /// `d mod (p - 1)`.
    #[serde(borrow, default)]
    pub dp: Option<SecretText<'a>>,
    /// `d mod (q - 1)`.
    #[serde(borrow, default)]
    pub dq: Option<SecretText<'a>>,
    /// RSA public exponent.
    #[serde(borrow, default)]
    pub e: Option<SecretText<'a>>,
    /// Symmetric key.
    #[serde(borrow, default)]
    pub k: Option<SecretText<'a>>,
    /// BYOK transfer blob.
    #[serde(borrow, default)]
    pub key_hsm: Option<SecretText<'a>>,
    /// Permitted operations.
    #[serde(borrow, default)]
    pub key_ops: Option<Vec<Cow<'a, str>>>,
    /// Key type.
    #[serde(borrow, default)]
    pub kty: Option<Cow<'a, str>>,
    /// RSA modulus.
    #[serde(borrow, default)]
    pub n: Option<SecretText<'a>>,
    /// RSA prime.
    #[serde(borrow, default)]
    pub p: Option<SecretText<'a>>,
    /// RSA prime.
    #[serde(borrow, default)]
    pub q: Option<SecretText<'a>>,
    /// `q^-1 mod p`.
    #[serde(borrow, default)]
    pub qi: Option<SecretText<'a>>,
    /// EC coordinate.
    #[serde(borrow, default)]
    pub x: Option<SecretText<'a>>,
    /// EC coordinate.
    #[serde(borrow, default)]
    pub y: Option<SecretText<'a>>,
}

/// The public half of a key as answered.
#[derive(Serialize, Deserialize)]
pub struct JsonWebKey<'a> {
    /// Curve of an EC key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crv: Option<Cow<'a, str>>,
    /// RSA public exponent.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub e: Option<SecretText<'a>>,
    /// Permitted operations.
    pub key_ops: Vec<Cow<'a, str>>,
    /// Address of this version.
    pub kid: String,
    /// Key type.
    pub kty: Cow<'a, str>,
    /// RSA modulus.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub n: Option<SecretText<'a>>,
    /// EC coordinate.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub x: Option<SecretText<'a>>,
    /// EC coordinate.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub y: Option<SecretText<'a>>,
}

/// `attributes` as answered; which members there are depends on the API version.
#[derive(Serialize, Deserialize)]
pub struct KeyAttributes<'a> {
    /// In seconds since 1970.
    pub created: i64,
    /// Whether the key may be used.
    pub enabled: bool,
    /// Expiry, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// Whether the private key can be released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exportable: Option<bool>,
    /// What guards the key: `0` is software.
    #[serde(rename = "hsmPlatform", skip_serializing_if = "Option::is_none")]
    pub hsm_platform: Option<Cow<'a, str>>,
    /// Size in bits of a symmetric key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_size: Option<u32>,
    /// Not to be used before, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// Soft-delete retention.
    #[serde(rename = "recoverableDays", skip_serializing_if = "Option::is_none")]
    pub recoverable_days: Option<u32>,
    /// What can become of the key once it is deleted.
    #[serde(rename = "recoveryLevel", skip_serializing_if = "Option::is_none")]
    pub recovery_level: Option<Cow<'a, str>>,
    /// In seconds since 1970.
    pub updated: i64,
}

/// A key version.
#[derive(Serialize, Deserialize)]
pub struct KeyBundle<'a> {
    /// Its attributes.
    #[serde(borrow)]
    pub attributes: KeyAttributes<'a>,
    /// Its public half.
    #[serde(borrow)]
    pub key: JsonWebKey<'a>,
    /// The caller's own names and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Cow<'a, BTreeMap<String, String>>>,
}

/// A deleted key.
#[derive(Serialize, Deserialize)]
pub struct DeletedKeyBundle<'a> {
    /// Its attributes.
    #[serde(borrow)]
    pub attributes: KeyAttributes<'a>,
    /// In seconds since 1970.
    #[serde(rename = "deletedDate")]
    pub deleted_date: i64,
    /// Its public half.
    #[serde(borrow)]
    pub key: JsonWebKey<'a>,
    /// Where to recover or purge it.
    #[serde(rename = "recoveryId")]
    pub recovery_id: String,
    /// In seconds since 1970.
    #[serde(rename = "scheduledPurgeDate")]
    pub scheduled_purge_date: i64,
    /// The caller's own names and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Cow<'a, BTreeMap<String, String>>>,
}

/// One line of a list of keys or versions.
#[derive(Serialize, Deserialize)]
pub struct KeyItem<'a> {
    /// Its attributes.
    #[serde(borrow)]
    pub attributes: KeyAttributes<'a>,
    /// Its address; without a version in lists of keys.
    pub kid: String,
    /// The caller's own names and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Cow<'a, BTreeMap<String, String>>>,
}

/// One line of the list of deleted keys.
#[derive(Serialize, Deserialize)]
pub struct DeletedKeyItem<'a> {
    /// Its attributes.
    #[serde(borrow)]
    pub attributes: KeyAttributes<'a>,
    /// In seconds since 1970.
    #[serde(rename = "deletedDate")]
    pub deleted_date: i64,
    /// Its address without a version.
    pub kid: String,
    /// Where to recover or purge it.
    #[serde(rename = "recoveryId")]
    pub recovery_id: String,
    /// In seconds since 1970.
    #[serde(rename = "scheduledPurgeDate")]
    pub scheduled_purge_date: i64,
    /// The caller's own names and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Cow<'a, BTreeMap<String, String>>>,
}

/// Part of a list: [`KeyItem`] or [`DeletedKeyItem`].
#[derive(Serialize, Deserialize)]
pub struct Page<T> {
    /// Where the next part is; `null` after the last one.
    #[serde(rename = "nextLink")]
    pub next_link: Option<String>,
    /// The lines.
    pub value: Vec<T>,
}
