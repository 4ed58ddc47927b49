//! The one path by which a bearer token becomes a principal.

use super::directory::{Directory, sha256_of};
use super::endpoints::without_slash;
use super::jwt::{LEEWAY, Token, VerifyingKey, parse_guid};
use quick_cache::sync::Cache;
use serde_json::Value;
use std::sync::Arc;
use strongroom_model::error::Unauthenticated;
use strongroom_model::limits::TOKEN_MAX;
use strongroom_model::principal::PrincipalKind;
use strongroom_model::{Algorithm, Principal, Timestamp};
use uuid::Uuid;

/// Validated tokens remembered; about 1 KiB each.
const CACHE_MAX: usize = 16_384;
/// Seconds a validated token is believed without looking again.
const CACHED_FOR: i64 = 300;
/// Groups of one token.
const GROUPS_MAX: usize = 1024;

/// An issuer whose tokens count, with all that is pinned about it.
pub(super) struct TrustedIssuer {
    /// `iss`, exactly.
    pub(super) issuer: Arc<str>,
    /// `kid` and key.
    pub(super) keys: Vec<(String, VerifyingKey)>,
    /// `tid` must be one of these.
    pub(super) tenants: Vec<Uuid>,
    /// What its tokens may be for, without final slashes.
    pub(super) audiences: Vec<String>,
    /// `alg` must be one of these.
    pub(super) algorithms: &'static [Algorithm],
    /// Who its principals are.
    pub(super) principals: Principals,
}

/// Where the principals of an issuer are known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Principals {
    /// In our directory: whoever is not there, or is disabled there, is refused.
    Directory,
}

/// All that validation depends on; another epoch for every other state.
pub(super) struct State {
    pub(super) epoch: u64,
    pub(super) directory: Directory,
    pub(super) issuers: Arc<Vec<TrustedIssuer>>,
}

/// Validated tokens by their SHA-256.
pub(super) struct TokenCache(Cache<[u8; 32], Arc<Validated>>);

struct Validated {
    epoch: u64,
    checked: Timestamp,
    not_before: Timestamp,
    expires: Timestamp,
    audience: String,
    principal: Arc<Principal>,
}

impl TokenCache {
    pub(super) fn new() -> Self {
        Self(Cache::new(CACHE_MAX))
    }

    /// Validates a token for one audience: from the cache when it was validated in this very state, else from the start.
    pub(super) fn validate(
        &self,
        state: &State,
        now: Timestamp,
        token: &str,
        audience: &str,
    ) -> Result<Arc<Principal>, Unauthenticated> {
        if token.len() > TOKEN_MAX {
            return Err(Unauthenticated::Malformed);
        }
        let key = sha256_of(token.as_bytes());
        let validated = match self.0.get(&key).filter(|v| v.is_current(state, now)) {
            Some(validated) => validated,
            None => {
                let validated = Arc::new(check(state, now, token)?);
                self.0.insert(key, Arc::clone(&validated));
                validated
            }
        };
        if validated.audience == without_slash(audience) {
            Ok(Arc::clone(&validated.principal))
        } else {
            Err(Unauthenticated::Audience)
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Validated {
    fn is_current(&self, state: &State, now: Timestamp) -> bool {
        let fresh = (self.checked..self.checked.plus(CACHED_FOR)).contains(&now);
        self.epoch == state.epoch && fresh && now < self.expires && self.not_before <= now.plus(LEEWAY)
    }
}

/// Everything but the audience that is asked for.
fn check(state: &State, now: Timestamp, text: &str) -> Result<Validated, Unauthenticated> {
    let token = Token::parse(text).ok_or(Unauthenticated::Malformed)?;
    if token.header.contains_key("x5c") {
        return Err(Unauthenticated::Malformed);
    }
    let issuer = signed_by(&token, &state.issuers)?;
    let tenant = token.text("tid").and_then(parse_guid).ok_or(Unauthenticated::Tenant)?;
    if !issuer.tenants.contains(&tenant) {
        return Err(Unauthenticated::Tenant);
    }
    let audience = without_slash(token.text("aud").ok_or(Unauthenticated::Audience)?);
    if !issuer.audiences.iter().any(|a| a == audience) {
        return Err(Unauthenticated::Audience);
    }
    let (not_before, expires) = times(&token, now)?;
    let principal = match issuer.principals {
        Principals::Directory => of_directory(&token, &state.directory, issuer, tenant)?,
    };
    Ok(Validated {
        epoch: state.epoch,
        checked: now,
        not_before,
        expires,
        audience: audience.to_owned(),
        principal: Arc::new(principal),
    })
}

/// The issuer that `iss` names, when one of its keys, named by `kid`, made the signature.
fn signed_by<'a>(token: &Token<'_>, issuers: &'a [TrustedIssuer]) -> Result<&'a TrustedIssuer, Unauthenticated> {
    let iss = token.text("iss").ok_or(Unauthenticated::Issuer)?;
    let issuer = issuers.iter().find(|i| &*i.issuer == iss).ok_or(Unauthenticated::Issuer)?;
    let kid = token.parameter("kid").ok_or(Unauthenticated::Signature)?;
    let (_, key) = issuer.keys.iter().find(|(k, _)| k == kid).ok_or(Unauthenticated::Signature)?;
    if token.verify(key, issuer.algorithms) { Ok(issuer) } else { Err(Unauthenticated::Signature) }
}

/// `nbf` and `exp`, both integers; `iat` no later than now.
fn times(token: &Token<'_>, now: Timestamp) -> Result<(Timestamp, Timestamp), Unauthenticated> {
    let time = |claim: &str| match token.claims.get(claim) {
        None => Ok(None),
        Some(value) => value.as_i64().map(|t| Some(Timestamp(t))).ok_or(Unauthenticated::Malformed),
    };
    let expires = time("exp")?.ok_or(Unauthenticated::Malformed)?;
    let issued = time("iat")?.unwrap_or(now);
    let not_before = time("nbf")?.unwrap_or(issued);
    if now >= expires.plus(LEEWAY) {
        return Err(Unauthenticated::Expired);
    }
    if not_before > now.plus(LEEWAY) || issued > now.plus(LEEWAY) {
        return Err(Unauthenticated::NotYetValid);
    }
    Ok((not_before, expires))
}

/// The principal, when the directory has it, enabled, as the kind and client that the token says.
fn of_directory(
    token: &Token<'_>,
    directory: &Directory,
    issuer: &TrustedIssuer,
    tenant: Uuid,
) -> Result<Principal, Unauthenticated> {
    let object_id = token.text("oid").and_then(parse_guid).ok_or(Unauthenticated::Malformed)?;
    let member = directory.member(object_id).filter(|m| m.enabled).ok_or(Unauthenticated::Disabled)?;
    let kind = match token.text("idtyp") {
        Some("app") => PrincipalKind::Application,
        Some("user") => PrincipalKind::User,
        Some(_) | None => return Err(Unauthenticated::Malformed),
    };
    let app = token.text("appid").and_then(parse_guid).ok_or(Unauthenticated::Malformed)?;
    if kind != member.kind || member.client_id.is_some_and(|id| id != app) {
        return Err(Unauthenticated::Disabled);
    }
    // The token says which groups there were when it was issued; one that was left, disabled or removed since does not count.
    let mut groups = groups(token)?;
    groups.retain(|g| member.groups.contains(g));
    Ok(Principal {
        object_id,
        tenant_id: tenant,
        app_id: Some(app.to_string().into()),
        user_name: member.user_name.clone(),
        groups: groups.into(),
        kind,
        issuer: Arc::clone(&issuer.issuer),
    })
}

fn groups(token: &Token<'_>) -> Result<Vec<Uuid>, Unauthenticated> {
    let Some(claim) = token.claims.get("groups") else { return Ok(Vec::new()) };
    let ids = claim.as_array().filter(|ids| ids.len() <= GROUPS_MAX).ok_or(Unauthenticated::Malformed)?;
    let parsed: Option<Vec<Uuid>> = ids.iter().map(|id| parse_guid(Value::as_str(id)?)).collect();
    parsed.ok_or(Unauthenticated::Malformed)
}
