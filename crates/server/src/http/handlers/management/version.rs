//! The `api-version` of the management plane: a date.

use strongroom_model::error::{ManagementError, Result};

/// Every version that Azure has published for `Microsoft.KeyVault`, oldest first (behaviour notes, section 1).
pub(super) static KEY_VAULT: &[&str] = &[
    "2015-06-01",
    "2016-10-01",
    "2018-02-14-preview",
    "2018-02-14",
    "2019-09-01",
    "2020-04-01-preview",
    "2021-04-01-preview",
    "2021-06-01-preview",
    "2021-10-01",
    "2021-11-01-preview",
    "2022-02-01-preview",
    "2022-07-01",
    "2022-11-01",
    "2023-02-01",
    "2023-07-01",
    "2024-04-01-preview",
    "2024-11-01",
    "2024-12-01-preview",
    "2025-05-01",
    "2026-02-01",
    "2026-04-01",
    "2026-05-15",
];
/// From here on a new vault is one in which roles decide, when nothing is said.
const RBAC_BY_DEFAULT: &str = "2026-02-01";

/// A version as the caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementVersion(String);

impl ManagementVersion {
    /// Parses a date, with `-preview` or without. For `Microsoft.KeyVault` it is one of the table, or later than all of it.
    pub fn parse(text: &str, key_vault: bool) -> Result<Self> {
        let newest = KEY_VAULT.last().copied().unwrap_or_default();
        let known =
            KEY_VAULT.iter().any(|v| v.eq_ignore_ascii_case(text)) || text.get(..10).is_some_and(|d| d > newest);
        if is_date(text) && (known || !key_vault) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(ManagementError::ApiVersion.into())
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether roles decide in a new vault when nothing is said.
    pub(super) fn rbac_by_default(&self) -> bool {
        self.0.as_str() >= RBAC_BY_DEFAULT
    }
}

/// `YYYY-MM-DD` or `YYYY-MM-DD-preview`.
fn is_date(text: &str) -> bool {
    let Some((date, tail)) = text.split_at_checked(10) else { return false };
    let digits = date.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
    let within = |range: std::ops::Range<usize>, max: u8| {
        date.get(range).and_then(|t| t.parse::<u8>().ok()).is_some_and(|n| (1..=max).contains(&n))
    };
    digits && within(5..7, 12) && within(8..10, 31) && (tail.is_empty() || tail.eq_ignore_ascii_case("-preview"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_are_dates() {
        for good in ["2023-07-01", "2026-05-15", "2024-04-01-preview", "2030-01-01"] {
            assert!(ManagementVersion::parse(good, true).is_ok(), "{good}");
        }
        for bad in ["", "7.4", "2023-07-02", "2023-13-01", "2015-11-01", "2023-07-01-beta", "2023-07-01x", "٢٠٢٣-٠٧-٠١"]
        {
            assert!(ManagementVersion::parse(bad, true).is_err(), "{bad}");
        }
        assert!(
            ManagementVersion::parse("2015-11-01", false).is_ok() && ManagementVersion::parse("7.4", false).is_err()
        );
        assert!(ManagementVersion::parse("2026-02-01", true).unwrap().rbac_by_default());
        assert!(!ManagementVersion::parse("2025-05-01", true).unwrap().rbac_by_default());
    }
}
