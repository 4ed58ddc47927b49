//! Durations of rotation policies: ISO 8601, in whole days.

use super::IsoDuration;
use strongroom_model::error::{BadParameter, Error, Result};

/// Designators in the order in which they may stand, with their days.
const DATE: &[(u8, i64)] = &[(b'Y', 365), (b'M', 30), (b'W', 7), (b'D', 1)];
/// Designators behind `T`, with their seconds.
const TIME: &[(u8, i64)] = &[(b'H', 3600), (b'M', 60), (b'S', 1)];
/// Seconds of a day.
const DAY: i64 = 24 * 3600;
/// Digits of one number, at most; keeps the sum far from overflow.
const DIGITS_MAX: usize = 5;
/// The same behind `T`: 30 days are 2,592,000 seconds.
const TIME_DIGITS_MAX: usize = 9;

impl IsoDuration {
    /// Parses `P1Y2M3D`, `P4W`, `PT720H` and the like: whole numbers that add up to whole days, since rotation counts days.
    pub fn parse(text: &str) -> Result<Self> {
        Self::days(text).map(|days| Self { text: text.to_owned(), days }).ok_or(malformed())
    }

    fn days(text: &str) -> Option<i64> {
        let rest = text.strip_prefix('P')?;
        let (date, time) = match rest.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (rest, None),
        };
        let seconds = match time {
            Some("") => return None,
            Some(time) => sum(time, TIME, TIME_DIGITS_MAX)?,
            None if date.is_empty() => return None,
            None => 0,
        };
        let days = sum(date, DATE, DIGITS_MAX)?;
        (seconds % DAY == 0).then_some(days + seconds / DAY)
    }
}

fn malformed() -> Error {
    Error::BadParameter(BadParameter::Malformed("duration"))
}

/// Numbers with their designators, each at most once and in order, added up.
fn sum(text: &str, mut units: &[(u8, i64)], digits_max: usize) -> Option<i64> {
    let (mut rest, mut sum) = (text.as_bytes(), 0);
    while !rest.is_empty() {
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (number, tail) = rest.split_at(digits);
        let (unit, tail) = tail.split_first()?;
        let at = units.iter().position(|(u, _)| u == unit)?;
        if digits == 0 || digits > digits_max {
            return None;
        }
        let number = number.iter().fold(0_i64, |n, d| n * 10 + i64::from(d - b'0'));
        sum += number * units.get(at)?.1;
        units = units.get(at + 1..)?;
        rest = tail;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations_count_days() {
        for (text, days) in [
            ("P28D", 28),
            ("P1Y2M3D", 365 + 60 + 3),
            ("P4W", 28),
            ("P0D", 0),
            ("P99999Y", 99_999 * 365),
            ("PT720H", 30),
            ("P1DT24H", 2),
            ("PT2592000S", 30),
            ("PT23H60M", 1),
            ("P1MT0S", 30),
        ] {
            let parsed = IsoDuration::parse(text).unwrap();
            assert_eq!((parsed.days, parsed.text.as_str()), (days, text));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "P",
            "28D",
            "P28",
            "PD",
            "P-1D",
            "P1.5D",
            "PT1H",
            "P1DT1H",
            "PT",
            "P1DT",
            "PT36H",
            "PT1D",
            "PT24H1H",
            "PT24M24H",
            "PTT24H",
            "PT9999999999S",
            "P1D1Y",
            "P1D2D",
            "p28d",
            "P100000D",
            "P１D",
        ] {
            assert!(IsoDuration::parse(bad).is_err(), "{bad}");
        }
    }
}
