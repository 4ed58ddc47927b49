//! Authorization codes (RFC 6749 4.1): kept by their hash, good once, for two minutes.

use super::SignedIn;
use crate::identity::directory::sha256_of;
use crate::identity::refusal::Refusal;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use strongroom_model::Timestamp;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Seconds a code is good for.
const LIFETIME: i64 = 120;
/// Codes that wait to be redeemed: each stands for a right password.
const CODES_MAX: usize = 4096;

/// What a code stands for.
pub(in crate::identity) struct Code {
    pub(in crate::identity) client_id: Uuid,
    pub(in crate::identity) redirect_uri: String,
    pub(in crate::identity) code_challenge: String,
    pub(in crate::identity) scope: String,
    pub(in crate::identity) nonce: Option<String>,
    pub(in crate::identity) who: SignedIn,
}

/// The codes that were not redeemed yet.
#[derive(Default)]
pub(in crate::identity) struct Codes(Mutex<HashMap<[u8; 32], (Timestamp, Code)>>);

impl Codes {
    /// A new code.
    pub(super) fn issue(&self, code: Code, now: Timestamp) -> Result<Zeroizing<String>, Refusal> {
        let text = super::random_text()?;
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, (issued, _)| is_current(*issued, now));
        if codes.len() >= CODES_MAX {
            return Err(Refusal::Busy);
        }
        codes.insert(sha256_of(text.as_bytes()), (now, code));
        Ok(text)
    }

    /// Takes a code out: of many who come with it, one gets it, whatever is found wrong with it afterwards.
    pub(in crate::identity) fn redeem(&self, text: &str, now: Timestamp) -> Result<Code, Refusal> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&sha256_of(text.as_bytes()));
        taken.filter(|(issued, _)| is_current(*issued, now)).map(|(_, code)| code).ok_or(Refusal::BadCode)
    }
}

fn is_current(issued: Timestamp, now: Timestamp) -> bool {
    (issued..issued.plus(LIFETIME)).contains(&now)
}
