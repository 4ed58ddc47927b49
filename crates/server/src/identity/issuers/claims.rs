//! From the claims of another issuer's token to a principal: Microsoft Entra ID's v1.0 and v2.0 shapes, and others by names.

use super::settings::{ClaimSettings, ObjectIds};
use crate::identity::directory::{Directory, sha256_of};
use crate::identity::jwt::{Token, parse_guid};
use crate::identity::validate::{TrustedIssuer, group_texts};
use serde_json::Value;
use std::sync::Arc;
use strongroom_model::Principal;
use strongroom_model::error::Unauthenticated;
use strongroom_model::principal::PrincipalKind;
use uuid::Uuid;

/// Longest text of a claim that names somebody.
const NAME_MAX: usize = 256;
/// Claims that ID tokens have and access tokens have not (OpenID Connect Core 1.0, 2 and 3.3.2.11).
const OF_ID_TOKENS: &[&str] = &["at_hash", "c_hash", "s_hash"];

/// How principals of an issuer are read.
#[derive(Clone)]
pub(in crate::identity) struct External {
    pub(in crate::identity) claims: ClaimSettings,
    pub(in crate::identity) object_ids: ObjectIds,
}

/// The groups of a token.
enum Groups {
    Known(Vec<Uuid>),
    /// There are more than fit the token: it says where to ask, and we ask nobody.
    Overage,
}

impl External {
    /// The tenant that the token names, or the one that the issuer has.
    pub(in crate::identity) fn tenant(&self, token: &Token<'_>, tenants: &[Uuid]) -> Option<Uuid> {
        match (self.claims.tenant.as_slice(), tenants) {
            ([], [only]) => Some(*only),
            ([], _) => None,
            (names, _) => first_text(token, names).and_then(parse_guid),
        }
    }

    /// The principal, unless the token is of another kind, or speaks for somebody of our own directory.
    pub(in crate::identity) fn principal(
        &self,
        token: &Token<'_>,
        directory: &Directory,
        issuer: &TrustedIssuer,
        tenant: Uuid,
    ) -> Result<Principal, Unauthenticated> {
        let malformed = Unauthenticated::Malformed;
        if !is_bearer_access_token(token) {
            return Err(malformed);
        }
        let text = first_text(token, &self.claims.object_id).ok_or(malformed)?;
        let object_id = self.object_id(issuer, tenant, text).ok_or(malformed)?;
        let app = first_text(token, &self.claims.application).ok_or(malformed)?;
        let user_name = first_text(token, &self.claims.user_name);
        if [app, user_name.unwrap_or("-")].iter().any(|t| !is_name(t)) {
            return Err(malformed);
        }
        let kind = match token.claims.get("idtyp").map(Value::as_str) {
            Some(Some("app")) => PrincipalKind::Application,
            Some(Some("user")) => PrincipalKind::User,
            Some(_) => return Err(malformed),
            None if token.claims.contains_key("scp") || user_name.is_some() => PrincipalKind::User,
            None => PrincipalKind::Application,
        };
        // Whoever is in our directory logs in at our own issuer, and whoever is blocked there is blocked.
        if directory.knows(object_id) || directory.is_blocked(object_id) {
            return Err(Unauthenticated::Disabled);
        }
        let groups = match self.groups(token, issuer, tenant)? {
            Groups::Known(mut groups) => {
                groups.retain(|g| !directory.knows(*g) && !directory.is_blocked(*g));
                groups
            }
            Groups::Overage => {
                tracing::warn!(
                    %object_id,
                    issuer = %issuer.issuer,
                    "a token names too many groups to list them (overage): no role of a group counts for this caller; assign \
                     roles to the principal itself, or have the issuer send only groups that are assigned to the application"
                );
                Vec::new()
            }
        };
        Ok(Principal {
            object_id,
            tenant_id: tenant,
            app_id: Some(app.into()),
            user_name: user_name.map(Into::into),
            groups: groups.into(),
            kind,
            issuer: Arc::clone(&issuer.issuer),
        })
    }

    fn object_id(&self, issuer: &TrustedIssuer, tenant: Uuid, text: &str) -> Option<Uuid> {
        match self.object_ids {
            ObjectIds::AsIssued => parse_guid(text),
            ObjectIds::Derived => is_name(text).then(|| derived(&issuer.issuer, tenant, text)),
        }
    }

    fn groups(&self, token: &Token<'_>, issuer: &TrustedIssuer, tenant: Uuid) -> Result<Groups, Unauthenticated> {
        let malformed = Unauthenticated::Malformed;
        let names = &self.claims.groups;
        let elsewhere = match token.claims.get("_claim_names") {
            None => false,
            Some(claims) => {
                let claims = claims.as_object().ok_or(malformed)?;
                names.iter().any(|name| claims.contains_key(name))
            }
        };
        if elsewhere || token.claims.get("hasgroups").is_some_and(|v| v == true || v == "true") {
            return Ok(Groups::Overage);
        }
        let Some(claim) = names.iter().find_map(|name| token.claims.get(name)) else {
            return Ok(Groups::Known(Vec::new()));
        };
        let texts = group_texts(claim).ok_or(malformed)?;
        // Groups that are no GUIDs (names, paths) can have no role when ids are taken as they are.
        Ok(Groups::Known(texts.into_iter().filter_map(|text| self.object_id(issuer, tenant, text)).collect()))
    }
}

/// The GUID of somebody whom an issuer knows by a text: version 8 (RFC 9562), from SHA-256 over
/// `issuer LF tenant LF text`.
pub(in crate::identity) fn derived(issuer: &str, tenant: Uuid, text: &str) -> Uuid {
    let hash = sha256_of(format!("{issuer}\n{tenant}\n{text}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Access tokens for whoever bears them: no ID or refresh tokens (Keycloak says so in `typ`), none bound to a key.
fn is_bearer_access_token(token: &Token<'_>) -> bool {
    let of_kind =
        token.claims.get("typ").is_none_or(|typ| typ.as_str().is_some_and(|t| t.eq_ignore_ascii_case("Bearer")));
    of_kind && !token.claims.contains_key("cnf") && !OF_ID_TOKENS.iter().any(|claim| token.claims.contains_key(*claim))
}

/// The first of these claims that the token has; one that is no text counts as none.
fn first_text<'a>(token: &'a Token<'_>, names: &[String]) -> Option<&'a str> {
    names.iter().find_map(|name| token.claims.get(name))?.as_str()
}

/// Short enough for records, without characters that would break their lines.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_MAX && !text.chars().any(char::is_control)
}
