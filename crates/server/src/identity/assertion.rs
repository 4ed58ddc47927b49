//! Client assertions (RFC 7523): signed by a registered certificate, or by an issuer that the application trusts.

use super::directory::{ApplicationRow, KnownCertificate, sha256_of};
use super::jwt::{LEEWAY, PADDED_OR_NOT, Token, VerifyingKey, parse_guid};
use super::refusal::Refusal;
use super::service::Identity;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use strongroom_model::limits::TOKEN_MAX;
use strongroom_model::{Algorithm, Timestamp};
use uuid::Uuid;

/// Algorithms of assertions signed by a client's certificate.
const CERTIFICATE_ALGORITHMS: &[Algorithm] = &[Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256];
/// Algorithms of other issuers' tokens; the key's type decides which of them it can have made.
const FEDERATED_ALGORITHMS: &[Algorithm] = &[
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
];
/// Longest time from now to the end of an assertion: a client that makes one for ever made a mistake.
const LIFETIME_MAX: i64 = strongroom_model::clock::DAY;
/// What follows the tenant in the `aud` of an assertion, without a final slash: the token endpoint, or its issuer.
const AUDIENCE_PATHS: &[&str] = &["", "v2.0", "oauth2/token", "oauth2/v2.0/token"];

impl Identity {
    /// Checks an assertion for a client; an unknown client and a wrong assertion look alike.
    pub(super) fn check_assertion(
        &self,
        client_id: Uuid,
        application: Option<&ApplicationRow>,
        text: &str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let application = application.ok_or(Refusal::WrongAssertion)?;
        let parsed = if text.len() <= TOKEN_MAX { Token::parse_assertion(text) } else { None };
        let token = parsed.ok_or(Refusal::WrongAssertion)?;
        if token.text("iss").and_then(parse_guid) == Some(client_id) {
            self.by_certificate(client_id, application, &token, now)
        } else {
            by_federation(application, &token, now)
        }
    }

    fn by_certificate(
        &self,
        client_id: Uuid,
        application: &ApplicationRow,
        token: &Token<'_>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let signed_with = application.certificates.iter().find_map(|registered| {
            let certificate = match &registered.known {
                Some(known) => named_by(token, &known.sha1, &registered.sha256).then(|| known.clone())?,
                None => sent_along(token, &registered.sha256)?,
            };
            token.verify(&certificate.key, CERTIFICATE_ALGORITHMS).then_some(certificate)
        });
        let certificate = signed_with.ok_or(Refusal::WrongAssertion)?;
        let for_us = token.text("aud").is_some_and(|aud| self.is_token_endpoint(aud));
        if token.text("sub").and_then(parse_guid) != Some(client_id) || !for_us {
            return Err(Refusal::WrongAssertion);
        }
        if !(certificate.not_before..=certificate.not_after).contains(&now) {
            return Err(Refusal::AssertionTime);
        }
        check_times(token, now)
    }

    /// Whether `aud` is one of the spellings of our token endpoint.
    fn is_token_endpoint(&self, aud: &str) -> bool {
        let login = self.login_url();
        let path = match aud.split_at_checked(login.len()) {
            Some((host, path)) if host.eq_ignore_ascii_case(login) => path,
            Some(_) | None => return false,
        };
        let Some(path) = path.strip_prefix('/') else { return false };
        let (tenant, rest) = path.split_once('/').unwrap_or((path, ""));
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        self.is_tenant(tenant) && AUDIENCE_PATHS.contains(&rest)
    }
}

/// Whether the header names this certificate (`x5t#S256`, `x5t`), or none at all.
fn named_by(token: &Token<'_>, sha1: &[u8], sha256: &[u8]) -> bool {
    let matches = |name: &str, thumbprint: &[u8]| {
        token.parameter(name).map(|t| PADDED_OR_NOT.decode(t).is_ok_and(|t| t == thumbprint))
    };
    matches("x5t#S256", sha256).or_else(|| matches("x5t", sha1)).unwrap_or(true)
}

/// The first certificate of `x5c`, when it is the registered one.
fn sent_along(token: &Token<'_>, sha256: &[u8]) -> Option<KnownCertificate> {
    let first = match token.header.get("x5c")? {
        Value::Array(chain) => chain.first()?.as_str()?,
        Value::String(one) => one,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    let der = STANDARD.decode(first).ok()?;
    if sha256_of(&der) == sha256 { KnownCertificate::of_der(&der) } else { None }
}

fn by_federation(application: &ApplicationRow, token: &Token<'_>, now: Timestamp) -> Result<(), Refusal> {
    let text = |claim: &str| token.text(claim).unwrap_or_default();
    let trusted = application.federated.iter().any(|credential| {
        credential.issuer == text("iss")
            && credential.subject == text("sub")
            && has_audience(token, &credential.audience)
            && candidates(token, &credential.keys).any(|key| token.verify(key, FEDERATED_ALGORITHMS))
    });
    if trusted { check_times(token, now) } else { Err(Refusal::WrongAssertion) }
}

/// The key that `kid` names; the only key, when the token names none.
fn candidates<'a>(
    token: &'a Token<'_>,
    keys: &'a [(Option<String>, VerifyingKey)],
) -> impl Iterator<Item = &'a VerifyingKey> {
    let kid = token.parameter("kid");
    keys.iter()
        .filter(move |(k, _)| match kid {
            Some(kid) => k.as_deref() == Some(kid),
            None => keys.len() == 1,
        })
        .map(|(_, key)| key)
}

/// Other issuers write `aud` as a text or as a list.
fn has_audience(token: &Token<'_>, audience: &str) -> bool {
    match token.claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(several)) => several.iter().any(|a| a == audience),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    }
}

/// `exp` and `nbf`; clients write them with fractions too.
fn check_times(token: &Token<'_>, now: Timestamp) -> Result<(), Refusal> {
    let time = |claim: &str| match token.claims.get(claim) {
        None => Ok(None),
        Some(value) => value.as_f64().filter(|t| t.is_finite()).map(Some).ok_or(Refusal::WrongAssertion),
    };
    let (expires, not_before) = (time("exp")?.ok_or(Refusal::AssertionTime)?, time("nbf")?.unwrap_or(0.0));
    // Seconds of this millennium are exact in a double.
    let (now, leeway) = (now.0 as f64, LEEWAY as f64);
    let current = now < expires + leeway && not_before <= now + leeway && expires <= now + LIFETIME_MAX as f64 + leeway;
    if current { Ok(()) } else { Err(Refusal::AssertionTime) }
}
