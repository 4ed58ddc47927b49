//! The cryptographic operations and `rng`.

use crate::text::SecretText;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// `POST …/encrypt`, `decrypt`, `wrapkey`, `unwrapkey`.
#[derive(Deserialize)]
pub struct KeyOperationsParameters<'a> {
    /// Data that is authenticated but not encrypted.
    #[serde(borrow, default)]
    pub aad: Option<SecretText<'a>>,
    /// Algorithm.
    #[serde(borrow, default)]
    pub alg: Option<Cow<'a, str>>,
    /// Initialisation vector.
    #[serde(borrow, default)]
    pub iv: Option<SecretText<'a>>,
    /// Authentication tag.
    #[serde(borrow, default)]
    pub tag: Option<SecretText<'a>>,
    /// What to work on.
    #[serde(borrow, default)]
    pub value: Option<SecretText<'a>>,
}

/// `POST …/sign`.
#[derive(Deserialize)]
pub struct KeySignParameters<'a> {
    /// Algorithm.
    #[serde(borrow, default)]
    pub alg: Option<Cow<'a, str>>,
    /// The digest to sign.
    #[serde(borrow, default)]
    pub value: Option<SecretText<'a>>,
}

/// `POST …/verify`.
#[derive(Deserialize)]
pub struct KeyVerifyParameters<'a> {
    /// Algorithm.
    #[serde(borrow, default)]
    pub alg: Option<Cow<'a, str>>,
    /// The digest that was signed.
    #[serde(borrow, default)]
    pub digest: Option<SecretText<'a>>,
    /// The signature.
    #[serde(borrow, default)]
    pub value: Option<SecretText<'a>>,
}

/// What every operation but `verify` answers.
#[derive(Serialize, Deserialize)]
pub struct KeyOperationResult<'a> {
    /// As it was sent, for authenticated algorithms.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub aad: Option<SecretText<'a>>,
    /// The initialisation vector that was used.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub iv: Option<SecretText<'a>>,
    /// The version that was used.
    pub kid: String,
    /// Authentication tag.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<SecretText<'a>>,
    /// The result.
    #[serde(borrow)]
    pub value: SecretText<'a>,
}

/// What `verify` answers.
#[derive(Serialize, Deserialize)]
pub struct KeyVerifyResult {
    /// Whether the signature is right.
    pub value: bool,
}

/// `POST /rng`.
#[derive(Deserialize)]
pub struct GetRandomBytesRequest {
    /// How many.
    pub count: Option<i64>,
}

/// What `rng` answers.
#[derive(Serialize, Deserialize)]
pub struct RandomBytes<'a> {
    /// The bytes.
    #[serde(borrow)]
    pub value: SecretText<'a>,
}
