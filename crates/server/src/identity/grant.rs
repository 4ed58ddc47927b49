//! The token endpoint: a client or a user proves to be somebody, and gets a token for one audience.

use super::answer::{IdentityAnswer, TokenRequest};
use super::directory::{Directory, sha256_of};
use super::endpoints::without_slash;
use super::form::{Credential, Form};
use super::jwt::{Token, parse_guid};
use super::mint::{LIFETIME_TOLD, REFRESH_AUDIENCE, Subject, fingerprint, secret_json};
use super::password::PasswordHash;
use super::refusal::Refusal;
use super::service::Identity;
use super::sign_in::SignedIn;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;
use strongroom_model::limits::TOKEN_MAX;
use strongroom_model::{Algorithm, Timestamp};
use subtle::{Choice, ConstantTimeEq};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Wrong credentials of one client from one peer in a minute, after which the answer is 429; a right one still passes, since
/// nobody guesses 256 bits.
const CLIENT_FAILURES_MAX: u32 = 10;
/// Wrong passwords for one user from one peer in a minute, after which none is looked at.
const PASSWORD_FAILURES_MAX: u32 = 10;
/// The same from all peers together.
const PASSWORD_FAILURES_ANYWHERE_MAX: u32 = 60;
/// Wrong passwords from one peer for all users together: hashing for ever new names would keep the processors busy, and push the
/// counts of others out of their table.
const PASSWORD_FAILURES_OF_PEER_MAX: u32 = 60;
/// Stands for all users of a peer; no name has this hash.
const ALL_USERS: [u8; 32] = [0; 32];
/// How long a login waits for its turn to hash.
const HASHING_WAIT: Duration = Duration::from_secs(5);
/// Scopes of OpenID Connect, which name no resource.
const OPENID_SCOPES: &[&str] = &["openid", "profile", "offline_access", "email"];

/// The answer of RFC 6749 5.1.
#[derive(Serialize)]
struct TokenAnswer<'a> {
    token_type: &'static str,
    expires_in: i64,
    ext_expires_in: i64,
    access_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_info: Option<String>,
}

#[derive(Serialize)]
struct ClientInfo {
    uid: Uuid,
    utid: Uuid,
}

/// The form of a device's poll (RFC 8628 3.4).
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Lengths of a `code_verifier` (RFC 7636 4.1).
const VERIFIER_LENGTH: std::ops::RangeInclusive<usize> = 43..=128;

/// What is asked for.
pub(super) struct Wanted {
    audience: String,
    continuous: bool,
    client_info: bool,
    id_token: bool,
    refresh_token: bool,
    /// For the ID token: what the authorization request said.
    nonce: Option<String>,
}

impl Identity {
    /// `POST /{tenant}/oauth2[/v2.0]/token`
    pub async fn token(&self, request: TokenRequest<'_>) -> IdentityAnswer {
        match self.grant(&request).await {
            Ok(answer) => answer,
            Err(refusal) => {
                let mut answer = refusal.answer(self.now(), request.correlation_id);
                let by_header = request.authorization.is_some() && answer.status == 401;
                answer.challenge = by_header.then_some("Basic realm=\"strongroom\"");
                answer
            }
        }
    }

    async fn grant(&self, request: &TokenRequest<'_>) -> Result<IdentityAnswer, Refusal> {
        if !self.is_tenant(request.tenant) {
            return Err(Refusal::UnknownTenant);
        }
        let mut form = Form::parse(request)?;
        let grant_type = form.grant_type.take().ok_or(Refusal::MissingGrantType)?;
        match grant_type.as_str() {
            "client_credentials" => self.client_credentials(form, request.peer).await,
            "authorization_code" => self.authorization_code(form, request.peer).await,
            // The second is what Azure's first clients send.
            DEVICE_CODE | "device_code" => self.redeem_device_code(form, request.peer).await,
            "password" => self.password(form, request.peer).await,
            "refresh_token" => self.refresh(form, request.peer).await,
            _ => Err(Refusal::GrantType),
        }
    }

    async fn client_credentials(&self, mut form: Form, peer: IpAddr) -> Result<IdentityAnswer, Refusal> {
        let (state, now) = (self.state(), self.now());
        let client_id = form.client_id()?;
        let credential = form.take_credential()?.ok_or(Refusal::NoCredential)?;
        let (object_id, proof) = self.authenticate_client(&state.directory, client_id, &credential, peer, now)?;
        let member = state.directory.member(object_id).filter(|m| m.enabled).ok_or(Refusal::ApplicationDisabled)?;
        let wanted = self.wanted(&form, false)?;
        let subject = Subject { object_id, client_id, member, name: None, proof };
        self.answer_with_tokens(&subject, &wanted, None, now).await
    }

    async fn password(&self, mut form: Form, peer: IpAddr) -> Result<IdentityAnswer, Refusal> {
        let now = self.now();
        let (client_id, proof) = self.user_client(&mut form, peer, now)?;
        let (Some(user_name), Some(password)) = (form.username.take(), form.password.take()) else {
            return Err(Refusal::MissingUser);
        };
        let wanted = self.wanted(&form, true)?;
        let hash = self.check_password(&user_name, password, peer, now).await?;
        // The directory may have changed while the password was hashed: what it says now counts.
        let state = self.state();
        let user = state.directory.user(&user_name).filter(|u| u.password.as_ref() == Some(&hash));
        let user = user.ok_or(Refusal::WrongPassword)?;
        let member = state.directory.member(user.object_id).filter(|m| m.enabled).ok_or(Refusal::UserDisabled)?;
        let name = user.name.as_deref();
        let subject = Subject { object_id: user.object_id, client_id, member, name, proof };
        self.answer_with_tokens(&subject, &wanted, Some(&hash), now).await
    }

    async fn authorization_code(&self, mut form: Form, peer: IpAddr) -> Result<IdentityAnswer, Refusal> {
        let now = self.now();
        let (client_id, proof) = self.user_client(&mut form, peer, now)?;
        let (Some(code), Some(redirect_uri), Some(verifier)) =
            (form.code.take(), form.redirect_uri.take(), form.code_verifier.take())
        else {
            return Err(Refusal::MissingCode);
        };
        let code = self.sign_ins().codes.redeem(&code, now)?;
        if code.client_id != client_id || code.redirect_uri != *redirect_uri {
            return Err(Refusal::BadCode);
        }
        let sound = VERIFIER_LENGTH.contains(&verifier.len())
            && verifier.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        if !sound || URL_SAFE_NO_PAD.encode(sha256_of(verifier.as_bytes())) != code.code_challenge {
            return Err(Refusal::WrongVerifier);
        }
        let mut wanted = self.wanted_of_person(form, &code.scope)?;
        wanted.nonce = code.nonce;
        self.answer_person(&code.who, client_id, proof, &wanted, now).await
    }

    async fn redeem_device_code(&self, mut form: Form, peer: IpAddr) -> Result<IdentityAnswer, Refusal> {
        let now = self.now();
        let (client_id, proof) = self.user_client(&mut form, peer, now)?;
        let code = form.device_code.take().ok_or(Refusal::MissingDeviceCode)?;
        let (device, who) = self.sign_ins().devices.poll(&code, client_id, now)?;
        let wanted = self.wanted_of_person(form, &device.scope)?;
        self.answer_person(&who, client_id, proof, &wanted, now).await
    }

    /// The request may name the scope again; it is the one that the person signed in for.
    fn wanted_of_person(&self, mut form: Form, signed_in_for: &str) -> Result<Wanted, Refusal> {
        let first = self.wanted(&Form::of_scope(signed_in_for), true)?;
        if form.scope.is_none() && form.resource.is_none() {
            form.scope = Some(Zeroizing::new(signed_in_for.to_owned()));
        }
        let wanted = self.wanted(&form, true)?;
        let same = without_slash(&wanted.audience) == without_slash(&first.audience);
        if same { Ok(wanted) } else { Err(Refusal::BadCode) }
    }

    /// Tokens for who signed in a moment ago, if the directory still has them so.
    async fn answer_person(
        &self,
        who: &SignedIn,
        client_id: Uuid,
        proof: &'static str,
        wanted: &Wanted,
        now: Timestamp,
    ) -> Result<IdentityAnswer, Refusal> {
        let state = self.state();
        let member = state.directory.member(who.object_id).filter(|m| m.enabled).ok_or(Refusal::AccountChanged)?;
        let user = member.user_name.as_deref().and_then(|name| state.directory.user(name));
        let user = user.filter(|u| u.password.as_ref() == Some(&who.password)).ok_or(Refusal::AccountChanged)?;
        let subject = Subject { object_id: who.object_id, client_id, member, name: user.name.as_deref(), proof };
        self.answer_with_tokens(&subject, wanted, Some(&who.password), now).await
    }

    async fn refresh(&self, mut form: Form, peer: IpAddr) -> Result<IdentityAnswer, Refusal> {
        let (state, now) = (self.state(), self.now());
        let (client_id, proof) = self.user_client(&mut form, peer, now)?;
        let text = form.refresh_token.take().ok_or(Refusal::MissingRefreshToken)?;
        let wanted = self.wanted(&form, true)?;
        let parsed = if text.len() <= TOKEN_MAX { Token::parse(&text) } else { None };
        let token = parsed.filter(|t| t.verify(self.verifying_key(), &[Algorithm::Rs256]));
        let token = token.ok_or(Refusal::StaleRefreshToken)?;
        let current = token.claims.get("exp").and_then(serde_json::Value::as_i64).is_some_and(|exp| now.0 < exp);
        let ours = token.text("iss") == Some(self.issuer())
            && token.text("aud") == Some(REFRESH_AUDIENCE)
            && token.text("appid").and_then(parse_guid) == Some(client_id);
        if !(current && ours) {
            return Err(Refusal::StaleRefreshToken);
        }
        let object_id = token.text("oid").and_then(parse_guid).ok_or(Refusal::StaleRefreshToken)?;
        let member = state.directory.member(object_id).filter(|m| m.enabled).ok_or(Refusal::StaleRefreshToken)?;
        let user = member.user_name.as_deref().and_then(|name| state.directory.user(name));
        let (Some(user), Some(hash)) = (user, user.and_then(|u| u.password.as_ref())) else {
            return Err(Refusal::StaleRefreshToken);
        };
        if token.text("pwd") != Some(&fingerprint(&hash.to_string())) {
            return Err(Refusal::StaleRefreshToken);
        }
        let name = user.name.as_deref();
        let subject = Subject { object_id, client_id, member, name, proof };
        self.answer_with_tokens(&subject, &wanted, Some(hash), now).await
    }

    /// The client that a user logs in through: one that proves itself, or a public one of the settings.
    fn user_client(&self, form: &mut Form, peer: IpAddr, now: Timestamp) -> Result<(Uuid, &'static str), Refusal> {
        let client_id = form.client_id()?;
        let state = self.state();
        match form.take_credential()? {
            Some(credential) => {
                let (object_id, proof) =
                    self.authenticate_client(&state.directory, client_id, &credential, peer, now)?;
                let enabled = state.directory.member(object_id).is_some_and(|m| m.enabled);
                if enabled { Ok((client_id, proof)) } else { Err(Refusal::ApplicationDisabled) }
            }
            None if self.is_public_client(client_id) => Ok((client_id, "0")),
            None => Err(Refusal::PublicClient),
        }
    }

    /// The application's object id, and how it proved itself. Failures are counted.
    fn authenticate_client(
        &self,
        directory: &Directory,
        client_id: Uuid,
        credential: &Credential,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<(Uuid, &'static str), Refusal> {
        let application = directory.application(client_id);
        let (checked, proof) = match credential {
            Credential::Secret(secret) => {
                let secrets = application.map(|a| a.secrets.as_slice()).unwrap_or_default();
                let known = secrets.iter().map(|s| (s.sha256, s.expires));
                (check_secret(known, secret, now), "1")
            }
            Credential::Assertion(assertion) => (self.check_assertion(client_id, application, assertion, now), "2"),
        };
        match (checked, application) {
            (Ok(()), Some(application)) => {
                self.client_attempts().succeeded(&(client_id, peer));
                Ok((application.object_id, proof))
            }
            (Ok(()), None) => Err(Refusal::WrongSecret),
            (Err(refusal), _) => {
                let failures = self.client_attempts().failed((client_id, peer), now);
                Err(if failures > CLIENT_FAILURES_MAX { Refusal::TooManyAttempts } else { refusal })
            }
        }
    }

    /// The user's hash, when the password is right. An unknown user costs as much as a wrong password.
    pub(super) async fn check_password(
        &self,
        user_name: &str,
        password: Zeroizing<String>,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<PasswordHash, Refusal> {
        let user = sha256_of(user_name.to_lowercase().as_bytes());
        let (from_peer, anywhere, of_peer) = ((user, Some(peer)), (user, None), (ALL_USERS, Some(peer)));
        let attempts = self.user_attempts();
        // Counted before the work, so that many at the same time do not pass together.
        if attempts.failed(of_peer, now) > PASSWORD_FAILURES_OF_PEER_MAX {
            return Err(Refusal::TooManyAttempts);
        }
        if attempts.failures(&from_peer, now) >= PASSWORD_FAILURES_MAX
            || attempts.failures(&anywhere, now) >= PASSWORD_FAILURES_ANYWHERE_MAX
        {
            return Err(Refusal::TooManyAttempts);
        }
        attempts.failed(from_peer, now);
        attempts.failed(anywhere, now);
        let turn = tokio::time::timeout(HASHING_WAIT, self.hashing().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Refusal::Busy) };
        let known = self.state().directory.user(user_name).and_then(|u| u.password.clone());
        let hash = known.clone().unwrap_or_else(PasswordHash::nobody);
        let verified = tokio::task::spawn_blocking(move || {
            let right = hash.verify(password.as_bytes());
            drop(turn);
            right
        });
        let right = verified.await.map_err(|_| Refusal::Busy)?;
        let hash = known.filter(|_| right).ok_or(Refusal::WrongPassword)?;
        attempts.succeeded(&from_peer);
        attempts.succeeded(&anywhere);
        attempts.forgive(&of_peer);
        Ok(hash)
    }

    /// Reads `scope` (v2.0) or `resource` (v1.0).
    pub(super) fn wanted(&self, form: &Form, for_user: bool) -> Result<Wanted, Refusal> {
        let scope = form.scope.as_deref().map_or("", String::as_str);
        let mut resources = scope.split_ascii_whitespace().filter(|s| !OPENID_SCOPES.contains(s));
        let audience = match (resources.next(), form.resource.as_deref()) {
            (Some(scope), _) => {
                let (resource, permission) = scope.rsplit_once('/').ok_or(Refusal::BadScope)?;
                if permission != ".default" && !(for_user && permission == "user_impersonation") {
                    return Err(Refusal::BadScope);
                }
                self.known_audience(resource)?
            }
            (None, Some(resource)) => self.known_audience(resource)?,
            (None, None) => return Err(Refusal::MissingScope),
        };
        if resources.next().is_some() {
            return Err(Refusal::SeveralResources);
        }
        let has = |name: &str| for_user && scope.split_ascii_whitespace().any(|s| s == name);
        Ok(Wanted {
            audience,
            continuous: form.is_continuous(),
            client_info: form.wants_client_info(),
            id_token: has("openid"),
            refresh_token: has("offline_access"),
            nonce: None,
        })
    }

    /// The audience as we spell it, with the final slash that was asked for.
    pub(super) fn known_audience(&self, resource: &str) -> Result<String, Refusal> {
        let bare = without_slash(resource);
        let known = self.audiences().iter().find(|a| a.eq_ignore_ascii_case(bare)).ok_or(Refusal::UnknownResource)?;
        Ok(if bare.len() < resource.len() { format!("{known}/") } else { known.clone() })
    }

    async fn answer_with_tokens(
        &self,
        subject: &Subject<'_>,
        wanted: &Wanted,
        password: Option<&PasswordHash>,
        now: Timestamp,
    ) -> Result<IdentityAnswer, Refusal> {
        let access = self.access_token(subject, &wanted.audience, wanted.continuous, now).await?;
        let id = if wanted.id_token { Some(self.id_token(subject, wanted.nonce.as_deref(), now).await?) } else { None };
        let refresh = match password {
            Some(hash) if wanted.refresh_token => Some(self.refresh_token(subject, &hash.to_string(), now).await?),
            Some(_) | None => None,
        };
        let info = ClientInfo { uid: subject.object_id, utid: self.tenant() };
        let info = wanted.client_info.then(|| serde_json::to_vec(&info).map(|j| URL_SAFE_NO_PAD.encode(j)));
        let body = secret_json(&TokenAnswer {
            token_type: "Bearer",
            expires_in: LIFETIME_TOLD,
            ext_expires_in: LIFETIME_TOLD,
            access_token: &access.token,
            id_token: id.as_ref().map(|t| t.token.as_str()),
            refresh_token: refresh.as_ref().map(|t| t.token.as_str()),
            client_info: info.transpose().map_err(|_| Refusal::Unavailable)?,
        })?;
        let mut answer = IdentityAnswer::of(body, "no-store");
        answer.principal = Some(self.principal_of(subject));
        answer.stamps =
            [Some(&access), id.as_ref(), refresh.as_ref()].into_iter().flatten().map(|t| t.stamp.clone()).collect();
        Ok(answer)
    }
}

/// Compares with every secret of the application, in constant time.
fn check_secret(
    known: impl Iterator<Item = ([u8; 32], Option<Timestamp>)>,
    secret: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    let given = sha256_of(secret.as_bytes());
    let (mut matched, mut current) = (Choice::from(0), Choice::from(0));
    for (sha256, expires) in known {
        let same = sha256.ct_eq(&given);
        matched |= same;
        current |= same & Choice::from(u8::from(expires.is_none_or(|e| now < e)));
    }
    match (bool::from(current), bool::from(matched)) {
        (true, _) => Ok(()),
        (false, true) => Err(Refusal::SecretExpired),
        (false, false) => Err(Refusal::WrongSecret),
    }
}
