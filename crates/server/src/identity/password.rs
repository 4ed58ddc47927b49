//! Password hashes: PBKDF2-HMAC-SHA-256 (RFC 8018, SP 800-132) in PHC string form.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::pbkdf2::{PBKDF2_HMAC_SHA256, derive};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::num::NonZeroU32;

/// Iterations of a new hash (OWASP's figure for this function).
const ITERATIONS: u32 = 600_000;
/// Most iterations of a hash in the directory: a check then takes seconds, not hours.
const ITERATIONS_MAX: u32 = 10_000_000;
/// Bytes of the random salt.
const SALT_LENGTH: usize = 16;
/// Bytes of the derived value.
const HASH_LENGTH: usize = 32;
const SCHEME: &str = "pbkdf2-sha256";

/// A stored password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PasswordHash {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    hash: [u8; HASH_LENGTH],
}

impl PasswordHash {
    /// Hashes a password under a new salt.
    pub(super) fn make(password: &[u8]) -> Option<Self> {
        let mut salt = vec![0; SALT_LENGTH];
        aws_lc_rs::rand::fill(&mut salt).ok()?;
        let iterations = NonZeroU32::new(ITERATIONS)?;
        Some(Self { iterations, hash: compute(iterations, &salt, password), salt })
    }

    /// Parses `$pbkdf2-sha256$i=600000$SALT$HASH`; fewer iterations than a new hash has are refused.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('$')?.split('$');
        let (scheme, cost, salt, hash) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let iterations: u32 = cost.strip_prefix("i=")?.parse().ok()?;
        let salt = STANDARD_NO_PAD.decode(salt).ok()?;
        let hash = STANDARD_NO_PAD.decode(hash).ok()?.try_into().ok()?;
        let sound = scheme == SCHEME
            && parts.next().is_none()
            && salt.len() >= SALT_LENGTH
            && (ITERATIONS..=ITERATIONS_MAX).contains(&iterations);
        sound.then_some(Self { iterations: NonZeroU32::new(iterations)?, salt, hash })
    }

    /// A hash that nobody's password has: it makes an unknown user cost as much as a known one.
    pub(super) fn nobody() -> Self {
        let iterations = NonZeroU32::new(ITERATIONS).unwrap_or(NonZeroU32::MIN);
        Self { iterations, salt: vec![0; SALT_LENGTH], hash: [0; HASH_LENGTH] }
    }

    /// Whether it is this password's; takes a good part of a second.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let computed = compute(self.iterations, &self.salt, password);
        verify_slices_are_equal(&computed, &self.hash).is_ok()
    }
}

impl std::fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (salt, hash) = (STANDARD_NO_PAD.encode(&self.salt), STANDARD_NO_PAD.encode(self.hash));
        write!(f, "${SCHEME}$i={}${salt}${hash}", self.iterations)
    }
}

fn compute(iterations: NonZeroU32, salt: &[u8], password: &[u8]) -> [u8; HASH_LENGTH] {
    let mut out = [0; HASH_LENGTH];
    derive(PBKDF2_HMAC_SHA256, iterations, salt, password, &mut out);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_hash_survives_its_text_and_knows_its_password() {
        let text = PasswordHash::make(b"correct horse").unwrap().to_string();
        let hash = PasswordHash::parse(&text).unwrap();
        assert!(hash.verify(b"correct horse"));
        assert!(!hash.verify(b"correct hors"));
    }

    #[test]
    fn the_derivation_is_the_standard_one() {
        // PBKDF2-HMAC-SHA-256, P = "password", S = "salt", c = 2 (the SHA-256 companion of RFC 6070).
        let out = compute(NonZeroU32::new(2).unwrap(), b"salt", b"password");
        assert_eq!(hex::encode(out), "ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43");
    }

    #[test]
    fn weak_or_malformed_hashes_are_refused() {
        let good = PasswordHash::nobody().to_string();
        assert!(PasswordHash::parse(&good).is_some());
        for bad in [
            String::new(),
            good.replace("i=600000", "i=599999"),
            good.replace("i=600000", "i=4294967295"),
            good.replace("sha256", "sha1"),
            format!("{good}$x"),
            good.replacen('$', "", 1),
            good.replace("AAAA", "A"),
        ] {
            assert!(PasswordHash::parse(&bad).is_none(), "{bad}");
        }
    }
}
