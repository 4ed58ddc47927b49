//! Durations of rotation policies: ISO 8601, in whole days.

use super::IsoDuration;
use strongroom_model::error::{BadParameter, Error, Result};

/// Designators in the order in which they may stand, with their days.
const UNITS: &[(u8, i64)] = &[(b'Y', 365), (b'M', 30), (b'W', 7), (b'D', 1)];
/// Digits of one number, at most; keeps the sum far from overflow.
const DIGITS_MAX: usize = 5;

impl IsoDuration {
    /// Parses `P1Y2M3D`, `P4W` and the like: whole numbers, a time part (`T…`) is refused since rotation counts days.
    pub fn parse(text: &str) -> Result<Self> {
        let malformed = Error::BadParameter(BadParameter::Malformed("duration"));
        let Some(mut rest) = text.strip_prefix('P').map(str::as_bytes) else { return Err(malformed) };
        let (mut units, mut days) = (UNITS, 0_i64);
        if rest.is_empty() {
            return Err(malformed);
        }
        while !rest.is_empty() {
            let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            let (number, tail) = rest.split_at(digits);
            let Some((unit, tail)) = tail.split_first() else { return Err(malformed) };
            let Some(at) = units.iter().position(|(u, _)| u == unit) else { return Err(malformed) };
            if digits == 0 || digits > DIGITS_MAX {
                return Err(malformed);
            }
            let number = number.iter().fold(0_i64, |n, d| n * 10 + i64::from(d - b'0'));
            days += number * units.get(at).map_or(0, |(_, d)| *d);
            units = units.get(at + 1..).unwrap_or_default();
            rest = tail;
        }
        Ok(Self { text: text.to_owned(), days })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations_count_days() {
        for (text, days) in
            [("P28D", 28), ("P1Y2M3D", 365 + 60 + 3), ("P4W", 28), ("P0D", 0), ("P99999Y", 99_999 * 365)]
        {
            let parsed = IsoDuration::parse(text).unwrap();
            assert_eq!((parsed.days, parsed.text.as_str()), (days, text));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "", "P", "28D", "P28", "PD", "P-1D", "P1.5D", "PT1H", "P1DT1H", "P1D1Y", "P1D2D", "p28d", "P100000D",
            "P１D",
        ] {
            assert!(IsoDuration::parse(bad).is_err(), "{bad}");
        }
    }
}
