//! The values of flags.

use std::str::FromStr;
use strongroom_model::PoolName;
use strongroom_model::clock::DAY;

/// `--hsm NAME[,inactive]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HsmFlag {
    pub(crate) name: PoolName,
    pub(crate) inactive: bool,
}

impl FromStr for HsmFlag {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, inactive) = match text.split_once(',') {
            None => (text, false),
            Some((name, "inactive")) => (name, true),
            Some(_) => return Err("expected NAME or NAME,inactive"),
        };
        let name = PoolName::parse(name)
            .map_err(|_| "expected 3 to 24 letters, digits and single hyphens, a letter first, no hyphen last")?;
        Ok(Self { name, inactive })
    }
}

/// `--clock-offset`, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockOffset(pub(crate) i64);

/// A hundred years: what is beyond does not fit into the dates of tokens and certificates.
const OFFSET_MAX: i64 = 36_525 * DAY;

impl FromStr for ClockOffset {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected seconds (86400) or days (90d), at most a hundred years";
        let (number, unit) = text.strip_suffix('d').map_or((text, 1), |days| (days, DAY));
        let seconds = number.parse::<i64>().ok().and_then(|n| n.checked_mul(unit)).ok_or(EXPECTED)?;
        if seconds.abs() <= OFFSET_MAX { Ok(Self(seconds)) } else { Err(EXPECTED) }
    }
}

/// The name of a service principal: it becomes part of the names of environment variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrincipalName(String);

/// Longest such name.
const PRINCIPAL_MAX: usize = 64;

impl PrincipalName {
    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PrincipalName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=PRINCIPAL_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && text.starts_with(|c: char| c.is_ascii_alphabetic());
        if fits { Ok(Self(text.into())) } else { Err("expected 1 to 64 letters, digits, - and _, a letter first") }
    }
}

/// A user principal name: a name, `@`, a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserName(String);

/// Longest such name.
const USER_NAME_MAX: usize = 113;

impl UserName {
    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let fits = text.len() <= USER_NAME_MAX
            && text.split_once('@').is_some_and(|(name, domain)| {
                !name.is_empty() && !domain.is_empty() && name.bytes().chain(domain.bytes()).all(plain)
            });
        if fits { Ok(Self(text.into())) } else { Err("expected a name such as ada@example.org") }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_user_name_has_a_domain() {
        assert!("ada.l@example.org".parse::<UserName>().is_ok());
        for bad in ["", "ada", "@example.org", "ada@", "a@b@c", "a b@c", "a/b@c", &format!("a@{}", "b".repeat(112))] {
            assert!(bad.parse::<UserName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_hsm_is_a_name_and_perhaps_inactive() {
        assert_eq!("demo".parse::<HsmFlag>().map(|h| h.inactive), Ok(false));
        assert_eq!(
            "Sleepy,inactive".parse::<HsmFlag>().map(|h| (h.name.to_string(), h.inactive)),
            Ok(("sleepy".into(), true))
        );
        for bad in ["", "x", "demo,", "demo,active", "demo,inactive,", "a_b_c", ",inactive"] {
            assert!(bad.parse::<HsmFlag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_offset_is_in_seconds_or_days() {
        let cases = [("0", 0), ("90d", 7_776_000), ("-3600", -3600), ("-1d", -86_400)];
        for (text, seconds) in cases {
            assert_eq!(text.parse(), Ok(ClockOffset(seconds)), "{text}");
        }
        for bad in ["", "d", "1h", "1.5d", "99999999999999999999", "9223372036854775807", "40000d"] {
            assert!(bad.parse::<ClockOffset>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_principal_is_a_word() {
        assert!("reader-2".parse::<PrincipalName>().is_ok());
        for bad in ["", "2x", "a b", "a=b", "a\n", "é", &"x".repeat(65)] {
            assert!(bad.parse::<PrincipalName>().is_err(), "{bad}");
        }
    }
}
