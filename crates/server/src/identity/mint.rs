//! Tokens of the embedded issuer: claims in, a signed JWT out.

use super::directory::{Member, sha256_of};
use super::refusal::Refusal;
use super::service::Identity;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use std::sync::Arc;
use strongroom_model::audit::SystemStamp;
use strongroom_model::principal::PrincipalKind;
use strongroom_model::{Principal, Timestamp};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Seconds a token is good for.
const LIFETIME: i64 = 3600;
/// Seconds a token is said to be good for: a client that believes it never uses one past its end.
pub(super) const LIFETIME_TOLD: i64 = LIFETIME - 1;
/// Seconds a refresh token is good for.
const REFRESH_LIFETIME: i64 = 14 * strongroom_model::clock::DAY;
/// `aud` of refresh tokens; no issuer lists it, so none passes as an access token.
pub(super) const REFRESH_AUDIENCE: &str = "urn:strongroom:refresh";
/// Space for a token and what stands around it, so that no half-grown copy is left in memory.
const ANSWER_CAPACITY: usize = 32 * 1024;

/// Who a token is for, and through which client.
pub(super) struct Subject<'a> {
    pub(super) object_id: Uuid,
    pub(super) client_id: Uuid,
    pub(super) member: &'a Member,
    /// For people; users only.
    pub(super) name: Option<&'a str>,
    /// How the client proved itself: "0" not at all, "1" by a secret, "2" by an assertion.
    pub(super) proof: &'static str,
}

/// A token, and the place of its signature in the use chain.
pub(super) struct Signed {
    pub(super) token: Zeroizing<String>,
    pub(super) stamp: SystemStamp,
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'static str,
    alg: &'static str,
    kid: &'a str,
}

/// Claims of every token of this issuer.
#[derive(Serialize)]
struct Common<'a> {
    aud: &'a str,
    iss: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    tid: Uuid,
    oid: Uuid,
    sub: Uuid,
    appid: Uuid,
    azp: Uuid,
    uti: String,
    ver: &'static str,
}

#[derive(Serialize)]
struct AccessClaims<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    appidacr: &'static str,
    idtyp: &'static str,
    #[serde(skip_serializing_if = "<[Uuid]>::is_empty")]
    groups: &'a [Uuid],
    #[serde(skip_serializing_if = "Option::is_none")]
    upn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scp: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xms_cc: Option<[&'static str; 1]>,
}

#[derive(Serialize)]
struct IdClaims<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    preferred_username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
}

#[derive(Serialize)]
struct RefreshClaims<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    /// See [`fingerprint`].
    pwd: String,
}

impl Identity {
    /// An access token for `audience`, which was checked before.
    pub(super) async fn access_token(
        &self,
        subject: &Subject<'_>,
        audience: &str,
        continuous: bool,
        now: Timestamp,
    ) -> Result<Signed, Refusal> {
        let member = subject.member;
        let is_user = member.kind == PrincipalKind::User;
        let user_name = member.user_name.as_deref();
        let claims = AccessClaims {
            common: self.common(subject, audience, now, LIFETIME)?,
            appidacr: subject.proof,
            idtyp: if is_user { "user" } else { "app" },
            groups: &member.groups,
            upn: user_name,
            preferred_username: user_name,
            name: subject.name,
            scp: is_user.then_some("user_impersonation"),
            xms_cc: continuous.then_some(["CP1"]),
        };
        self.signed(&claims).await
    }

    /// An OpenID Connect ID token: it tells the client who logged in.
    pub(super) async fn id_token(
        &self,
        subject: &Subject<'_>,
        nonce: Option<&str>,
        now: Timestamp,
    ) -> Result<Signed, Refusal> {
        let client = subject.client_id.to_string();
        let claims = IdClaims {
            common: self.common(subject, &client, now, LIFETIME)?,
            preferred_username: subject.member.user_name.as_deref(),
            name: subject.name,
            nonce,
        };
        self.signed(&claims).await
    }

    /// A refresh token, good until the user's password changes.
    pub(super) async fn refresh_token(
        &self,
        subject: &Subject<'_>,
        password_hash: &str,
        now: Timestamp,
    ) -> Result<Signed, Refusal> {
        let claims = RefreshClaims {
            common: self.common(subject, REFRESH_AUDIENCE, now, REFRESH_LIFETIME)?,
            pwd: fingerprint(password_hash),
        };
        self.signed(&claims).await
    }

    fn common<'a>(
        &'a self,
        subject: &Subject<'_>,
        audience: &'a str,
        now: Timestamp,
        lifetime: i64,
    ) -> Result<Common<'a>, Refusal> {
        let mut unique = [0; 16];
        aws_lc_rs::rand::fill(&mut unique).map_err(|_| Refusal::Unavailable)?;
        Ok(Common {
            aud: audience,
            iss: self.issuer(),
            iat: now.0,
            nbf: now.0,
            exp: now.plus(lifetime).0,
            tid: self.tenant(),
            oid: subject.object_id,
            sub: subject.object_id,
            appid: subject.client_id,
            azp: subject.client_id,
            uti: URL_SAFE_NO_PAD.encode(unique),
            ver: "2.0",
        })
    }

    async fn signed(&self, claims: &impl Serialize) -> Result<Signed, Refusal> {
        let header = Header { typ: "JWT", alg: "RS256", kid: self.kid() };
        let encode = |json: serde_json::Result<Vec<u8>>| {
            json.map(|j| URL_SAFE_NO_PAD.encode(j)).map_err(|_| Refusal::Unavailable)
        };
        let input = format!("{}.{}", encode(serde_json::to_vec(&header))?, encode(serde_json::to_vec(claims))?);
        let digest = sha256_of(input.as_bytes()).to_vec();
        let (signature, stamp) = self.signer().sign(digest).await.map_err(|error| {
            tracing::error!(%error, "the issuer's key cannot sign");
            Refusal::Unavailable
        })?;
        let token = Zeroizing::new(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)));
        Ok(Signed { token, stamp })
    }

    /// The principal of a token issued to this subject, for the audit record.
    pub(super) fn principal_of(&self, subject: &Subject<'_>) -> Arc<Principal> {
        Arc::new(Principal {
            object_id: subject.object_id,
            tenant_id: self.tenant(),
            app_id: Some(subject.client_id.to_string().into()),
            user_name: subject.member.user_name.clone(),
            groups: Arc::clone(&subject.member.groups),
            kind: subject.member.kind,
            issuer: self.issuer().into(),
        })
    }
}

/// Ties a refresh token to the password it came from, without saying anything about it.
pub(super) fn fingerprint(password_hash: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256_of(format!("refresh:{password_hash}").as_bytes()))
}

/// JSON in memory that is wiped, without half-grown copies.
pub(super) fn secret_json(value: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let mut body = Zeroizing::new(Vec::with_capacity(ANSWER_CAPACITY));
    serde_json::to_writer(&mut *body, value).map_err(|_| Refusal::Unavailable)?;
    Ok(body)
}
