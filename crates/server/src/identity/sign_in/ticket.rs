//! What a page's form carries: where the sign-in leads, under a MAC, tied to the browser that was given the page.

use crate::identity::directory::sha256_of;
use crate::identity::refusal::Refusal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use strongroom_model::Timestamp;
use uuid::Uuid;

/// Seconds a page can be used.
const LIFETIME: i64 = 900;
/// The cookie; its prefix keeps other hosts from setting it.
const COOKIE: &str = "__Host-strongroom-sign-in";
/// Characters of its value: 256 bits in base64url.
const COOKIE_LENGTH: usize = 43;

/// Where a sign-in leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// To a code for a program that listens on loopback.
    Authorize(Authorization),
    /// To the page for a user code.
    EnterCode,
    /// To tokens for another device; SHA-256 of its device code.
    Device([u8; 32]),
}

/// A checked authorization request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Authorization {
    pub(super) client_id: Uuid,
    pub(super) redirect_uri: String,
    pub(super) mode: ResponseMode,
    pub(super) scope: String,
    pub(super) code_challenge: String,
    pub(super) state: Option<String>,
    pub(super) nonce: Option<String>,
}

/// How the answer goes back (OAuth 2.0 Multiple Response Types, Form Post Response Mode).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ResponseMode {
    Query,
    Fragment,
    FormPost,
}

#[derive(Serialize, Deserialize)]
struct Ticket {
    purpose: Purpose,
    browser: [u8; 32],
    expires: i64,
}

/// Makes and checks tickets, with a key that this process made.
pub(in crate::identity) struct Tickets(hmac::Key);

/// What ties a page to a browser.
pub(super) struct Browser(String);

impl Browser {
    /// The browser of a `Cookie` header, or a new one.
    pub(super) fn of(cookies: Option<&str>) -> Result<Self, Refusal> {
        match Self::known(cookies) {
            Some(known) => Ok(known),
            None => Ok(Self(super::random_text()?.to_string())),
        }
    }

    fn known(cookies: Option<&str>) -> Option<Self> {
        let value = cookies?.split(';').find_map(|c| c.trim().strip_prefix(COOKIE)?.strip_prefix('='))?;
        let sound = value.len() == COOKIE_LENGTH && URL_SAFE_NO_PAD.decode(value).is_ok();
        sound.then(|| Self(value.to_owned()))
    }

    /// `Set-Cookie`
    pub(super) fn set_cookie(&self) -> String {
        format!("{COOKIE}={}; Path=/; Max-Age={LIFETIME}; Secure; HttpOnly; SameSite=Lax", self.0)
    }

    /// `Set-Cookie` that takes it back.
    pub(super) fn clear_cookie() -> String {
        format!("{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax")
    }
}

impl Tickets {
    pub(super) fn new() -> Option<Self> {
        hmac::Key::generate(hmac::HMAC_SHA256, &aws_lc_rs::rand::SystemRandom::new()).ok().map(Self)
    }

    /// The text for the form.
    pub(super) fn issue(&self, purpose: Purpose, browser: &Browser, now: Timestamp) -> Result<String, Refusal> {
        let ticket = Ticket { purpose, browser: sha256_of(browser.0.as_bytes()), expires: now.plus(LIFETIME).0 };
        let json = serde_json::to_vec(&ticket).map_err(|_| Refusal::Unavailable)?;
        let tag = hmac::sign(&self.0, &json);
        Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(&json), URL_SAFE_NO_PAD.encode(tag)))
    }

    /// Where a form leads that came back from the browser which got it, in time.
    pub(super) fn open(&self, text: &str, cookies: Option<&str>, now: Timestamp) -> Result<Purpose, Refusal> {
        self.opened(text, cookies, now).ok_or(Refusal::StalePage)
    }

    fn opened(&self, text: &str, cookies: Option<&str>, now: Timestamp) -> Option<Purpose> {
        let (json, tag) = text.split_once('.')?;
        let (json, tag) = (URL_SAFE_NO_PAD.decode(json).ok()?, URL_SAFE_NO_PAD.decode(tag).ok()?);
        hmac::verify(&self.0, &json, &tag).ok()?;
        let ticket: Ticket = serde_json::from_slice(&json).ok()?;
        let same = sha256_of(Browser::known(cookies)?.0.as_bytes()) == ticket.browser;
        let current = now.0 < ticket.expires && ticket.expires <= now.plus(LIFETIME).0;
        (same && current).then_some(ticket.purpose)
    }
}
