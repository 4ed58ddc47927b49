//! The endpoints that a browser or a device talks to before there is a token.

use super::device::{INTERVAL, LIFETIME};
use super::pages::{self, SignInPage};
use super::redirect::{self, Parameters};
use super::ticket::{Authorization, Browser, Purpose, ResponseMode};
use super::{Code, Device, SignedIn, Verdict};
use crate::identity::answer::{IdentityAnswer, PageRequest};
use crate::identity::form::{Fields, Form};
use crate::identity::jwt::parse_guid;
use crate::identity::mint::{Subject, secret_json};
use crate::identity::refusal::Refusal;
use crate::identity::service::Identity;
use crate::identity::settings::client_name;
use serde::Serialize;
use std::net::IpAddr;
use strongroom_model::Timestamp;
use uuid::Uuid;

/// Longest `state`, `nonce` and scope that are carried along.
const TEXT_MAX: usize = 2048;
/// Characters of a `code_challenge`: SHA-256 in base64url.
const CHALLENGE_LENGTH: usize = 43;
/// Wrong user codes of one peer in a minute, after which none is looked at.
const WRONG_CODES_OF_PEER_MAX: u32 = 10;
/// The same of all peers: of 2^38 codes, those that wait are then found in centuries.
const WRONG_CODES_MAX: u32 = 600;

/// A refused authorization request: shown to the person, or sent back to the program once we know whose it is.
enum Refused {
    Shown(Refusal),
    SentBack(Box<Authorization>, Refusal),
}

/// The answer of RFC 8628 3.2.
#[derive(Serialize)]
struct DeviceAnswer<'a> {
    user_code: &'a str,
    device_code: &'a str,
    verification_uri: &'a str,
    expires_in: i64,
    interval: i64,
    message: String,
}

impl Identity {
    /// `GET /{tenant}/oauth2/v2.0/authorize`
    pub fn authorize(&self, request: &PageRequest<'_>) -> IdentityAnswer {
        match self.authorization(request) {
            Ok((authorization, hint)) => {
                let shown = Shown { status: 200, user_name: &hint, wrong: None };
                self.sign_in_page(request, Purpose::Authorize(authorization), &shown)
            }
            Err(Refused::Shown(refusal)) => refused_page(refusal),
            Err(Refused::SentBack(authorization, refusal)) => self.send_back(&authorization, refusal),
        }
    }

    /// `POST /sign-in`
    pub async fn sign_in(&self, request: &PageRequest<'_>) -> IdentityAnswer {
        self.signed_in(request).await.unwrap_or_else(refused_page)
    }

    /// `GET /device`
    pub fn device_page(&self, request: &PageRequest<'_>) -> IdentityAnswer {
        self.code_page(request, 200, None)
    }

    /// `POST /device`
    pub fn enter_user_code(&self, request: &PageRequest<'_>) -> IdentityAnswer {
        self.entered(request).unwrap_or_else(refused_page)
    }

    /// `POST /{tenant}/oauth2/v2.0/devicecode`
    pub fn device_code(&self, request: &PageRequest<'_>) -> IdentityAnswer {
        self.new_device(request).unwrap_or_else(|refusal| refusal.answer(self.now(), request.correlation_id))
    }

    /// `GET /{tenant}/oauth2/v2.0/logout`: there is no session here that could be ended, and nobody is sent anywhere.
    pub fn logout(&self) -> IdentityAnswer {
        let text = "This browser is not signed in here: every sign-in asks for the password. Programs keep their tokens until \
                    you sign out in them. You can close this window.";
        pages::message(200, "Signed out", text, Some(Browser::clear_cookie()))
    }

    /// Checks a request: until the client and its address are known to be right, nothing is sent back.
    fn authorization(&self, request: &PageRequest<'_>) -> Result<(Authorization, String), Refused> {
        let shown = Refused::Shown;
        if !request.tenant.is_some_and(|tenant| self.is_tenant(tenant)) {
            return Err(shown(Refusal::UnknownTenant));
        }
        let fields = Fields::of_query(request.query).map_err(shown)?;
        let client_id = fields.get("client_id").and_then(parse_guid).ok_or(shown(Refusal::MissingClientId))?;
        if !self.is_public_client(client_id) {
            return Err(shown(Refusal::PublicClient));
        }
        let redirect_uri = fields.get("redirect_uri").filter(|uri| redirect::is_loopback(uri));
        let redirect_uri = redirect_uri.ok_or(shown(Refusal::RedirectUri))?.to_owned();
        let text = |name: &str| match fields.get(name) {
            Some(text) if text.len() > TEXT_MAX => Err(shown(Refusal::TooLong)),
            text => Ok(text.map(str::to_owned)),
        };
        let mode = match fields.get("response_mode") {
            None | Some("query") => Ok(ResponseMode::Query),
            Some("fragment") => Ok(ResponseMode::Fragment),
            Some("form_post") => Ok(ResponseMode::FormPost),
            Some(_) => Err(Refusal::ResponseMode),
        };
        let authorization = Authorization {
            client_id,
            redirect_uri,
            mode: mode.unwrap_or(ResponseMode::Query),
            scope: text("scope")?.unwrap_or_default(),
            code_challenge: fields.get("code_challenge").unwrap_or_default().to_owned(),
            state: text("state")?,
            nonce: text("nonce")?,
        };
        match mode.err().or_else(|| self.unsupported(&fields, &authorization)) {
            Some(refusal) => Err(Refused::SentBack(Box::new(authorization), refusal)),
            None => Ok((authorization, fields.get("login_hint").unwrap_or_default().to_owned())),
        }
    }

    /// What of a request of a known client cannot be done.
    fn unsupported(&self, fields: &Fields, authorization: &Authorization) -> Option<Refusal> {
        if fields.get("request").is_some() || fields.get("request_uri").is_some() {
            return Some(Refusal::RequestObject);
        }
        if fields.get("response_type") != Some("code") {
            return Some(Refusal::ResponseType);
        }
        let challenge = &authorization.code_challenge;
        let sound = challenge.len() == CHALLENGE_LENGTH
            && challenge.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if fields.get("code_challenge_method") != Some("S256") || !sound {
            return Some(Refusal::MissingChallenge);
        }
        if fields.get("prompt").is_some_and(|p| p.split(' ').any(|p| p == "none")) {
            return Some(Refusal::LoginRequired);
        }
        self.wanted(&Form::of_scope(&authorization.scope), true).err()
    }

    fn send_back(&self, authorization: &Authorization, refusal: Refusal) -> IdentityAnswer {
        let row = refusal.row();
        let mut parameters: Parameters =
            vec![("error", row.error.to_owned()), ("error_description", refusal.description())];
        self.add_common(&mut parameters, authorization);
        IdentityAnswer { error_code: refusal.code(), ..answer_of(authorization, &parameters) }
    }

    /// `state` lets the program know its own request, `iss` (RFC 9207) whose answer this is.
    fn add_common(&self, parameters: &mut Parameters, authorization: &Authorization) {
        if let Some(state) = &authorization.state {
            parameters.push(("state", state.clone()));
        }
        parameters.push(("iss", self.issuer().to_owned()));
    }

    async fn signed_in(&self, request: &PageRequest<'_>) -> Result<IdentityAnswer, Refusal> {
        let now = self.now();
        let fields = Fields::of_page(request)?;
        let text = fields.get("ticket").unwrap_or_default();
        let purpose = self.sign_ins().tickets.open(text, request.cookies, now)?;
        if fields.get("action") == Some("cancel") {
            return self.cancelled(&purpose, now);
        }
        let user_name = fields.get("username").unwrap_or_default();
        let password = fields.password();
        match self.check_person(user_name, password, request.peer, now).await {
            Ok(who) => self.go_on(&purpose, who, now),
            Err(refusal) => {
                let row = refusal.row();
                let shown = Shown { status: row.status, user_name, wrong: Some(row.text) };
                let mut page = self.sign_in_page(request, purpose, &shown);
                page.error_code = refusal.code();
                Ok(page)
            }
        }
    }

    async fn check_person(
        &self,
        user_name: &str,
        password: zeroize::Zeroizing<String>,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<SignedIn, Refusal> {
        let hash = self.check_password(user_name, password, peer, now).await?;
        // The directory may have changed while the password was hashed: what it says now counts.
        let state = self.state();
        let user = state.directory.user(user_name).filter(|u| u.password.as_ref() == Some(&hash));
        let user = user.ok_or(Refusal::WrongPassword)?;
        state.directory.member(user.object_id).filter(|m| m.enabled).ok_or(Refusal::UserDisabled)?;
        Ok(SignedIn { object_id: user.object_id, password: hash })
    }

    fn go_on(&self, purpose: &Purpose, who: SignedIn, now: Timestamp) -> Result<IdentityAnswer, Refusal> {
        let state = self.state();
        let (object_id, member) = (who.object_id, state.directory.member(who.object_id));
        let member = member.ok_or(Refusal::UserDisabled)?;
        let subject = |client_id| self.principal_of(&Subject { object_id, client_id, member, name: None, proof: "0" });
        match purpose {
            Purpose::Authorize(authorization) => {
                let code = Code {
                    client_id: authorization.client_id,
                    redirect_uri: authorization.redirect_uri.clone(),
                    code_challenge: authorization.code_challenge.clone(),
                    scope: authorization.scope.clone(),
                    nonce: authorization.nonce.clone(),
                    who,
                };
                let code = self.sign_ins().codes.issue(code, now)?;
                let mut parameters: Parameters = vec![("code", code.to_string())];
                self.add_common(&mut parameters, authorization);
                let principal = Some(subject(authorization.client_id));
                Ok(IdentityAnswer { principal, ..answer_of(authorization, &parameters) })
            }
            Purpose::Device(id) => {
                let device = self.sign_ins().devices.get(id, now).ok_or(Refusal::StalePage)?;
                self.sign_ins().devices.decide(id, Verdict::Approved(who), now)?;
                let text = "The other device is signed in now. You can close this window.";
                let page = pages::message(200, "Signed in", text, Some(Browser::clear_cookie()));
                Ok(IdentityAnswer { principal: Some(subject(device.client_id)), ..page })
            }
            Purpose::EnterCode => Err(Refusal::StalePage),
        }
    }

    fn cancelled(&self, purpose: &Purpose, now: Timestamp) -> Result<IdentityAnswer, Refusal> {
        match purpose {
            Purpose::Authorize(authorization) => Ok(self.send_back(authorization, Refusal::SignInCancelled)),
            Purpose::Device(id) => {
                self.sign_ins().devices.decide(id, Verdict::Declined, now)?;
                let text = "The other device was not signed in. You can close this window.";
                Ok(pages::message(200, "Cancelled", text, Some(Browser::clear_cookie())))
            }
            Purpose::EnterCode => Err(Refusal::StalePage),
        }
    }

    fn new_device(&self, request: &PageRequest<'_>) -> Result<IdentityAnswer, Refusal> {
        if !request.tenant.is_some_and(|tenant| self.is_tenant(tenant)) {
            return Err(Refusal::UnknownTenant);
        }
        let fields = Fields::of_form(request)?;
        let client_id = fields.get("client_id").and_then(parse_guid).ok_or(Refusal::MissingClientId)?;
        if !self.is_public_client(client_id) {
            return Err(Refusal::PublicClient);
        }
        let scope = fields.get("scope").unwrap_or_default().to_owned();
        if scope.len() > TEXT_MAX {
            return Err(Refusal::TooLong);
        }
        self.wanted(&Form::of_scope(&scope), true)?;
        let device = Device { client_id, scope, peer: request.peer };
        let codes = self.sign_ins().devices.issue(device, self.now())?;
        let verification_uri = format!("{}/device", self.login_url());
        let message = format!(
            "To sign in, use a web browser to open the page {verification_uri} and enter the code {} to authenticate.",
            codes.user_code
        );
        let body = secret_json(&DeviceAnswer {
            user_code: &codes.user_code,
            device_code: &codes.device_code,
            verification_uri: &verification_uri,
            expires_in: LIFETIME,
            interval: INTERVAL,
            message,
        })?;
        Ok(IdentityAnswer::of(body, "no-store"))
    }

    fn entered(&self, request: &PageRequest<'_>) -> Result<IdentityAnswer, Refusal> {
        let now = self.now();
        let fields = Fields::of_page(request)?;
        let purpose = self.sign_ins().tickets.open(fields.get("ticket").unwrap_or_default(), request.cookies, now)?;
        if purpose != Purpose::EnterCode {
            return Err(Refusal::StalePage);
        }
        let attempts = &self.sign_ins().user_codes;
        let (of_peer, of_all) = (Some(request.peer), None);
        if attempts.failures(&of_peer, now) >= WRONG_CODES_OF_PEER_MAX
            || attempts.failures(&of_all, now) >= WRONG_CODES_MAX
        {
            return Ok(self.code_page(request, Refusal::TooManyAttempts.row().status, Some(Refusal::TooManyAttempts)));
        }
        match self.sign_ins().devices.find(fields.get("user_code").unwrap_or_default(), now) {
            Some((id, _)) => {
                let shown = Shown { status: 200, user_name: "", wrong: None };
                Ok(self.sign_in_page(request, Purpose::Device(id), &shown))
            }
            None => {
                attempts.failed(of_peer, now);
                attempts.failed(of_all, now);
                Ok(self.code_page(request, Refusal::WrongUserCode.row().status, Some(Refusal::WrongUserCode)))
            }
        }
    }

    fn code_page(&self, request: &PageRequest<'_>, status: u16, wrong: Option<Refusal>) -> IdentityAnswer {
        let made = Browser::of(request.cookies).and_then(|browser| {
            let ticket = self.sign_ins().tickets.issue(Purpose::EnterCode, &browser, self.now())?;
            Ok(pages::enter_code(status, &ticket, wrong.map(|r| r.row().text), Some(browser.set_cookie())))
        });
        let page = made.unwrap_or_else(refused_page);
        IdentityAnswer { error_code: wrong.map_or(page.error_code, Refusal::code), ..page }
    }

    fn sign_in_page(&self, request: &PageRequest<'_>, purpose: Purpose, shown: &Shown<'_>) -> IdentityAnswer {
        self.try_sign_in_page(request, purpose, shown).unwrap_or_else(refused_page)
    }

    fn try_sign_in_page(
        &self,
        request: &PageRequest<'_>,
        purpose: Purpose,
        shown: &Shown<'_>,
    ) -> Result<IdentityAnswer, Refusal> {
        let now = self.now();
        let (client_id, device, target) = match &purpose {
            Purpose::Authorize(a) => (a.client_id, None, Some(a.redirect_uri.clone())),
            Purpose::Device(id) => {
                let device = self.sign_ins().devices.get(id, now).ok_or(Refusal::StalePage)?;
                (device.client_id, Some(device.peer.to_string()), None)
            }
            Purpose::EnterCode => return Err(Refusal::StalePage),
        };
        let browser = Browser::of(request.cookies)?;
        let ticket = self.sign_ins().tickets.issue(purpose, &browser, now)?;
        let page = SignInPage {
            ticket: &ticket,
            client: &named(client_id),
            device,
            user_name: shown.user_name,
            wrong: shown.wrong,
            target: target.as_deref(),
        };
        Ok(page.answer(shown.status, Some(browser.set_cookie())))
    }
}

/// What of the sign-in page differs from one time to the next.
struct Shown<'a> {
    status: u16,
    user_name: &'a str,
    wrong: Option<&'a str>,
}

fn answer_of(authorization: &Authorization, parameters: &Parameters) -> IdentityAnswer {
    match authorization.mode {
        ResponseMode::FormPost => pages::form_post(authorization, parameters),
        ResponseMode::Query | ResponseMode::Fragment => pages::redirect(authorization.location(parameters)),
    }
}

/// The program's name, when it is a known one, and its client id.
fn named(client_id: Uuid) -> String {
    client_name(client_id).map_or_else(|| client_id.to_string(), |name| format!("{name} ({client_id})"))
}

fn refused_page(refusal: Refusal) -> IdentityAnswer {
    let row = refusal.row();
    let page = pages::message(row.status, "This cannot be done", row.text, None);
    IdentityAnswer { error_code: refusal.code(), retry_after: refusal.retry_after(), ..page }
}
