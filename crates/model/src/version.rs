//! The `api-version` of the data plane: a list, an order, and nothing else.

use crate::error::{Error, Result};

/// One version of the data-plane API; later versions compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion(u16);

/// Every version that Azure has published for the data plane, oldest first (behaviour notes, section 1).
pub static DATA_PLANE: &[&str] = &[
    "2015-06-01",
    "2016-10-01",
    "7.0-preview",
    "7.0",
    "7.1-preview",
    "7.1",
    "7.2-preview",
    "7.2",
    "7.3-preview",
    "7.3",
    "7.4-preview.1",
    "7.4",
    "7.5-preview.1",
    "7.5",
    "7.6-preview.1",
    "7.6-preview.2",
    "7.6",
    "2025-06-01-preview",
    "2025-07-01",
    "2026-01-01-preview",
    "2026-03-01-preview",
    "2026-04-01",
    "2026-05-01-preview",
    "2026-07-01-preview",
];

impl ApiVersion {
    /// Finds a version; a dated one later than all known ones gets the newest semantics, anything else is refused.
    pub fn parse(text: &str) -> Result<Self> {
        let known = DATA_PLANE.iter().position(|v| v.eq_ignore_ascii_case(text));
        let position = known.or_else(|| is_later_date(text).then(|| DATA_PLANE.len() - 1));
        position.and_then(|p| u16::try_from(p).ok()).map(Self).ok_or(Error::ApiVersion)
    }

    /// The row of a version that is in the table; for route and field tables, checked by a test over them.
    pub fn known(text: &str) -> Option<Self> {
        DATA_PLANE.iter().position(|v| *v == text).and_then(|p| u16::try_from(p).ok()).map(Self)
    }

    /// The oldest version.
    pub const FIRST: Self = Self(0);
}

/// `YYYY-MM-DD` or `YYYY-MM-DD-preview`, after the newest row.
fn is_later_date(text: &str) -> bool {
    let (Some(date), Some(newest)) = (text.get(..10), DATA_PLANE.last()) else { return false };
    let digits = date.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
    let month = date.get(5..7).and_then(|m| m.parse::<u8>().ok()).is_some_and(|m| (1..=12).contains(&m));
    let day = date.get(8..10).and_then(|d| d.parse::<u8>().ok()).is_some_and(|d| (1..=31).contains(&d));
    let tail = matches!(text.get(10..), Some("" | "-preview"));
    digits && month && day && tail && newest.get(..10).is_some_and(|n| date > n)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_are_ordered_and_unknown_ones_refused() {
        assert!(ApiVersion::parse("7.6").unwrap() > ApiVersion::parse("7.6-preview.2").unwrap());
        assert!(ApiVersion::parse("2025-07-01").unwrap() > ApiVersion::parse("7.6").unwrap());
        assert_eq!(ApiVersion::parse("2027-01-01").unwrap(), ApiVersion::parse("2026-07-01-preview").unwrap());
        for bad in ["", "7.7", "1.0", "2026-13-01", "2026-02-02", "2027-01-01x", "2027-01-41", "7.6 ", "٢٠٢٧-٠١-٠١"]
        {
            assert!(ApiVersion::parse(bad).is_err(), "{bad}");
        }
    }
}
