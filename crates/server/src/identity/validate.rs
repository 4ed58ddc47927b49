//! The one path by which a bearer token becomes a principal.

use super::directory::{Directory, sha256_of};
use super::endpoints::without_slash;
use super::issuers::{External, IssuerKey};
use super::jwt::{Token, parse_guid};
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

/// Audiences of one token.
const AUDIENCES_MAX: usize = 16;

/// An issuer whose tokens count, with all that is pinned about it.
#[derive(Clone)]
pub(super) struct TrustedIssuer {
    /// `iss`, exactly.
    pub(super) issuer: Arc<str>,
    /// Its public keys.
    pub(super) keys: Vec<IssuerKey>,
    /// Until when they count; `None` for our own, which nobody has to fetch.
    pub(super) keys_until: Option<Timestamp>,
    /// `tid` must be one of these.
    pub(super) tenants: Vec<Uuid>,
    /// What its tokens may be for, and which audience of ours that is, both without final slashes.
    pub(super) audiences: Vec<(String, String)>,
    /// `alg` must be one of these.
    pub(super) algorithms: Vec<Algorithm>,
    /// Seconds that its clock and ours may differ.
    pub(super) leeway: i64,
    /// Who its principals are.
    pub(super) principals: Principals,
}

/// Where the principals of an issuer are known.
#[derive(Clone)]
pub(super) enum Principals {
    /// In our directory: whoever is not there, or is disabled there, is refused.
    Directory,
    /// At the issuer: the token says it all.
    External(External),
}

/// All that validation depends on; another epoch for every other state.
pub(super) struct State {
    pub(super) epoch: u64,
    pub(super) directory: Arc<Directory>,
    pub(super) issuers: Arc<Vec<TrustedIssuer>>,
}

/// Validated tokens by their SHA-256.
pub(super) struct TokenCache(Cache<[u8; 32], Arc<Validated>>);

struct Validated {
    epoch: u64,
    checked: Timestamp,
    not_before: Timestamp,
    expires: Timestamp,
    /// Ours, that the token is for.
    audiences: Vec<String>,
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
        if validated.audiences.iter().any(|a| a == without_slash(audience)) {
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
        self.epoch == state.epoch && fresh && now < self.expires && self.not_before <= now
    }
}

/// Everything but the audience that is asked for.
fn check(state: &State, now: Timestamp, text: &str) -> Result<Validated, Unauthenticated> {
    let token = Token::parse(text).ok_or(Unauthenticated::Malformed)?;
    if token.header.contains_key("x5c") {
        return Err(Unauthenticated::Malformed);
    }
    let issuer = signed_by(&token, &state.issuers, now)?;
    let tenant = issuer.tenant(&token).filter(|t| issuer.tenants.contains(t)).ok_or(Unauthenticated::Tenant)?;
    let audiences = issuer.audiences(&token)?;
    let (not_before, expires) = times(&token, now, issuer.leeway)?;
    let principal = match &issuer.principals {
        Principals::Directory => of_directory(&token, &state.directory, issuer, tenant)?,
        Principals::External(external) => external.principal(&token, &state.directory, issuer, tenant)?,
    };
    Ok(Validated {
        epoch: state.epoch,
        checked: now,
        not_before,
        // Looked at anew when the keys it was verified with are no longer known to be good.
        expires: issuer.keys_until.map_or(expires, |until| until.min(expires)),
        audiences,
        principal: Arc::new(principal),
    })
}

impl TrustedIssuer {
    fn tenant(&self, token: &Token<'_>) -> Option<Uuid> {
        match &self.principals {
            Principals::Directory => token.text("tid").and_then(parse_guid),
            Principals::External(external) => external.tenant(token, &self.tenants),
        }
    }

    /// Our audiences that the token is for; other issuers write `aud` as a text or as a list.
    fn audiences(&self, token: &Token<'_>) -> Result<Vec<String>, Unauthenticated> {
        let refused = Unauthenticated::Audience;
        let named: Vec<&str> = match (token.claims.get("aud"), &self.principals) {
            (Some(Value::String(one)), _) => vec![one],
            (Some(Value::Array(several)), Principals::External(_)) if several.len() <= AUDIENCES_MAX => {
                several.iter().map(Value::as_str).collect::<Option<_>>().ok_or(refused)?
            }
            (Some(_) | None, _) => return Err(refused),
        };
        let is_named = |theirs: &str| named.iter().any(|aud| without_slash(aud) == theirs);
        let ours: Vec<String> =
            self.audiences.iter().filter(|(theirs, _)| is_named(theirs)).map(|(_, ours)| ours.clone()).collect();
        if ours.is_empty() { Err(refused) } else { Ok(ours) }
    }

    /// Whether the issuer's keys count now.
    pub(super) fn keys_are_current(&self, now: Timestamp) -> bool {
        self.keys_until.is_none_or(|until| now < until)
    }
}

/// The issuer that `iss` names, when one of its keys, named by `kid`, made the signature.
fn signed_by<'a>(
    token: &Token<'_>,
    issuers: &'a [TrustedIssuer],
    now: Timestamp,
) -> Result<&'a TrustedIssuer, Unauthenticated> {
    let issuer = named_by(token, issuers).ok_or(Unauthenticated::Issuer)?;
    let kid = token.parameter("kid").ok_or(Unauthenticated::Signature)?;
    let key = issuer.keys.iter().find(|key| key.kid == kid).filter(|_| issuer.keys_are_current(now));
    let key = key.ok_or(Unauthenticated::Signature)?;
    let of_key = key.algorithm.is_none_or(|only| only == token.algorithm);
    if of_key && token.verify(&key.key, &issuer.algorithms) { Ok(issuer) } else { Err(Unauthenticated::Signature) }
}

fn named_by<'a>(token: &Token<'_>, issuers: &'a [TrustedIssuer]) -> Option<&'a TrustedIssuer> {
    let iss = token.text("iss")?;
    issuers.iter().find(|i| &*i.issuer == iss)
}

/// The issuer of a token that names a key which that issuer is not known to have.
pub(super) fn issuer_of_unknown_key(state: &State, text: &str) -> Option<Arc<str>> {
    let token = Token::parse(text).filter(|_| text.len() <= TOKEN_MAX)?;
    let issuer = named_by(&token, &state.issuers)?;
    let kid = token.parameter("kid")?;
    (!issuer.keys.iter().any(|key| key.kid == kid)).then(|| Arc::clone(&issuer.issuer))
}

/// `nbf` and `exp`, both integers; `iat` no later than now.
fn times(token: &Token<'_>, now: Timestamp, leeway: i64) -> Result<(Timestamp, Timestamp), Unauthenticated> {
    let time = |claim: &str| match token.claims.get(claim) {
        None => Ok(None),
        Some(value) => value.as_i64().map(|t| Some(Timestamp(t))).ok_or(Unauthenticated::Malformed),
    };
    let expires = time("exp")?.ok_or(Unauthenticated::Malformed)?;
    let issued = time("iat")?.unwrap_or(now);
    let not_before = time("nbf")?.unwrap_or(issued);
    if now >= expires.plus(leeway) {
        return Err(Unauthenticated::Expired);
    }
    if not_before > now.plus(leeway) || issued > now.plus(leeway) {
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
    let texts = group_texts(claim).ok_or(Unauthenticated::Malformed)?;
    let parsed: Option<Vec<Uuid>> = texts.into_iter().map(parse_guid).collect();
    parsed.ok_or(Unauthenticated::Malformed)
}

/// The texts of a list of groups; `None` for anything else, and for too many.
pub(super) fn group_texts(claim: &Value) -> Option<Vec<&str>> {
    let ids = claim.as_array().filter(|ids| ids.len() <= GROUPS_MAX)?;
    ids.iter().map(Value::as_str).collect()
}
