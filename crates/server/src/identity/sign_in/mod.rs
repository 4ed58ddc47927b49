//! People sign in: authorization code with PKCE (RFC 6749, RFC 7636, RFC 8252) and device code (RFC 8628).
//!
//! What a page needs to know travels in its form, under a MAC and tied to the browser by a cookie; nothing is kept for who has not
//! proved anything. Codes are kept in memory, by their hash: a restart makes them worthless.

mod authorize;
mod codes;
mod device;
mod pages;
mod redirect;
mod ticket;

pub(super) use codes::{Code, Codes};
pub(super) use device::{Device, Devices, Verdict};
pub(super) use ticket::Tickets;

use super::attempts::Attempts;
use super::password::PasswordHash;
use super::problem::IdentityError;
use super::refusal::Refusal;
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::net::IpAddr;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Bytes of a code.
const CODE_LENGTH: usize = 32;

/// Who signed in, and the hash that the password was checked against: what the directory says when a code is redeemed counts.
#[derive(Clone)]
pub(super) struct SignedIn {
    pub(super) object_id: Uuid,
    pub(super) password: PasswordHash,
}

/// Everything that a sign-in goes through.
pub(super) struct SignIn {
    pub(super) tickets: Tickets,
    pub(super) codes: Codes,
    pub(super) devices: Devices,
    /// Wrong user codes of one peer, and of all.
    user_codes: Attempts<Option<IpAddr>>,
}

impl SignIn {
    pub(super) fn new() -> Result<Self, IdentityError> {
        Ok(Self {
            tickets: Tickets::new().ok_or(IdentityError::Random)?,
            codes: Codes::default(),
            devices: Devices::default(),
            user_codes: Attempts::new(),
        })
    }
}

/// 256 random bits in text.
fn random_text() -> Result<Zeroizing<String>, Refusal> {
    let mut random = Zeroizing::new([0; CODE_LENGTH]);
    rand::fill(random.as_mut_slice()).map_err(|_| Refusal::Unavailable)?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice())))
}
