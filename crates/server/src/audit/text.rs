//! JSON, written straight into the log's buffer (RFC 8259): what is known to be plain is copied, the rest goes through serde.

use std::io::Write;
use uuid::Uuid;

/// Appends what is JSON already.
pub(super) fn raw(out: &mut Vec<u8>, json: &str) {
    out.extend_from_slice(json.as_bytes());
}

/// Appends text inside quotation marks that the caller writes, escaped where it must be.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    // One pass without a branch: these texts are short, and nearly all of them plain.
    if text.bytes().fold(true, |all, byte| all & plain(byte)) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let start = out.len();
    // Text into memory: it always encodes.
    let _encoded = serde_json::to_writer(&mut *out, text);
    out.remove(start);
    out.pop();
}

/// Appends a UUID in its usual form.
pub(super) fn uuid(out: &mut Vec<u8>, id: Uuid) {
    let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
    raw(out, id.as_hyphenated().encode_lower(&mut buffer));
}

/// Appends bytes in lower-case hexadecimal.
pub(super) fn hexadecimal(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + 2 * bytes.len(), b'0');
    if let Some(room) = out.get_mut(start..) {
        // The room is exactly twice as long: this cannot fail.
        let _fits = hex::encode_to_slice(bytes, room);
    }
}

/// Appends what has a plain form without quotation marks and backslashes.
pub(super) fn plain(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    // Writing into memory does not fail.
    let _written = write!(out, "{value}");
}

/// Digits of the longest `u64`.
const DIGITS: usize = 20;

/// Appends a number in decimal.
pub(super) fn number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; DIGITS];
    let mut first = DIGITS;
    while first == DIGITS || number > 0 {
        first -= 1;
        if let (Some(digit), Ok(value)) = (digits.get_mut(first), u8::try_from(number % 10)) {
            *digit = b'0' + value;
        }
        number /= 10;
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_is_escaped_as_serde_does(given in "\\PC*|[ -~]*|(.|\n|\u{0}|\"|\\\\)*") {
            let mut out = b"before\"".to_vec();
            text(&mut out, &given);
            out.push(b'"');
            prop_assert_eq!(String::from_utf8(out).unwrap(), "before".to_owned() + &serde_json::to_string(&given).unwrap());
        }

        #[test]
        fn numbers_are_decimal(given in any::<u64>(), small in 0..1000_u64) {
            for value in [given, small, 0, u64::MAX] {
                let mut out = Vec::new();
                number(&mut out, value);
                prop_assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
            }
        }
    }
}
