//! Managed identities: tokens for programs on this machine, in the two forms that clients ask for them.

use super::answer::{IdentityAnswer, ManagedRequest};
use super::directory::{Directory, ManagedRow, sha256_of};
use super::jwt::parse_guid;
use super::mint::{LIFETIME_TOLD, Subject, secret_json};
use super::refusal::Refusal;
use super::service::Identity;
use serde::Serialize;
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Every number as a text, as the clients expect.
#[derive(Serialize)]
struct ManagedAnswer<'a> {
    access_token: &'a str,
    client_id: Uuid,
    expires_in: String,
    ext_expires_in: String,
    expires_on: String,
    not_before: String,
    resource: &'a str,
    token_type: &'static str,
}

impl Identity {
    /// `GET /metadata/identity/oauth2/token[/]`
    pub async fn instance_metadata_token(&self, request: ManagedRequest<'_>) -> IdentityAnswer {
        let allowed = if !request.metadata.is_some_and(|m| m.eq_ignore_ascii_case("true")) {
            Err(Refusal::NoMetadataHeader)
        } else {
            not_forwarded(&request)
        };
        self.answer_managed(allowed, &request).await
    }

    /// `GET /msi/token`
    pub async fn app_service_token(&self, request: ManagedRequest<'_>) -> IdentityAnswer {
        let given = sha256_of(request.identity_header.unwrap_or_default().as_bytes());
        let known = self.identity_header().is_some_and(|expected| bool::from(expected.ct_eq(&given)));
        let allowed = if known { not_forwarded(&request) } else { Err(Refusal::IdentityHeader) };
        self.answer_managed(allowed, &request).await
    }

    async fn answer_managed(&self, allowed: Result<(), Refusal>, request: &ManagedRequest<'_>) -> IdentityAnswer {
        let answer = match allowed {
            Ok(()) => self.managed_token(request).await,
            Err(refusal) => Err(refusal),
        };
        answer.unwrap_or_else(|refusal| refusal.answer(self.now(), request.correlation_id))
    }

    async fn managed_token(&self, request: &ManagedRequest<'_>) -> Result<IdentityAnswer, Refusal> {
        let (state, now) = (self.state(), self.now());
        let resource = parameter(request, &["resource"])?.ok_or(Refusal::MissingScope)?;
        let identity = choose(&state.directory, request)?;
        let member = state.directory.member(identity.object_id).ok_or(Refusal::UnknownIdentity)?;
        let audience = self.known_audience(resource)?;
        let (object_id, client_id) = (identity.object_id, identity.client_id);
        let subject = Subject { object_id, client_id, member, name: None, proof: "2" };
        let access = self.access_token(&subject, &audience, true, now).await?;
        let body = secret_json(&ManagedAnswer {
            access_token: &access.token,
            client_id,
            expires_in: LIFETIME_TOLD.to_string(),
            ext_expires_in: LIFETIME_TOLD.to_string(),
            expires_on: now.plus(LIFETIME_TOLD).0.to_string(),
            not_before: now.0.to_string(),
            resource,
            token_type: "Bearer",
        })?;
        let mut answer = IdentityAnswer::of(body, "no-store");
        answer.principal = Some(self.principal_of(&subject));
        answer.stamps = vec![access.stamp];
        Ok(answer)
    }
}

fn not_forwarded(request: &ManagedRequest<'_>) -> Result<(), Refusal> {
    if request.forwarded_for.is_none() { Ok(()) } else { Err(Refusal::Forwarded) }
}

/// The value of a parameter that may be given once, under one of its names.
fn parameter<'a>(request: &ManagedRequest<'a>, names: &[&str]) -> Result<Option<&'a str>, Refusal> {
    let is_it = |name: &str| names.iter().any(|n| n.eq_ignore_ascii_case(name));
    let mut values = request.query.iter().filter(|(name, value)| is_it(name) && !value.is_empty());
    match (values.next(), values.next()) {
        (Some((_, value)), None) => Ok(Some(value)),
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(Refusal::TwiceGiven),
    }
}

/// The enabled identity that the request names; without a name the default one, or the only one.
fn choose<'a>(directory: &'a Directory, request: &ManagedRequest<'_>) -> Result<&'a ManagedRow, Refusal> {
    let client_id = parameter(request, &["client_id"])?;
    let object_id = parameter(request, &["object_id", "principal_id"])?;
    let resource_id = parameter(request, &["mi_res_id", "msi_res_id"])?;
    let all = directory.managed();
    let named = [client_id, object_id, resource_id].iter().flatten().count();
    let found = match (named, all) {
        (0, [only]) => Some(only),
        (0, _) => all.iter().find(|m| m.default),
        (1, _) => all.iter().find(|m| {
            client_id.is_some_and(|id| parse_guid(id) == Some(m.client_id))
                || object_id.is_some_and(|id| parse_guid(id) == Some(m.object_id))
                || resource_id.is_some_and(|id| m.resource_id.as_deref().is_some_and(|r| r.eq_ignore_ascii_case(id)))
        }),
        (_, _) => return Err(Refusal::TwiceGiven),
    };
    let enabled = |m: &&ManagedRow| directory.member(m.object_id).is_some_and(|member| member.enabled);
    found.filter(enabled).ok_or(Refusal::UnknownIdentity)
}
