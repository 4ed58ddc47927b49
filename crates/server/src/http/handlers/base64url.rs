//! Bytes in JSON: base64url (RFC 4648, 5) without padding; padding at the end is tolerated, as the service does.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use strongroom_model::SecretBytes;
use strongroom_model::error::{BadParameter, Error, Internal, Result};
use strongroom_wire::SecretText;
use zeroize::Zeroizing;

/// Most padding that a text can end with.
const PADDING_MAX: usize = 2;

/// Decodes `parameter` straight into memory that is wiped; `max` bounds its bytes.
pub(super) fn secret(parameter: &'static str, text: Option<&SecretText<'_>>, max: usize) -> Result<SecretBytes> {
    let (text, len) = measure(parameter, text, max)?;
    SecretBytes::fill_with(len, |bytes| decode(parameter, text, bytes))
}

/// Decodes `parameter`, which is no secret of the caller's (ciphertext, signature, public half).
pub(super) fn public(parameter: &'static str, text: Option<&SecretText<'_>>, max: usize) -> Result<Vec<u8>> {
    let (text, len) = measure(parameter, text, max)?;
    let mut bytes = vec![0; len];
    decode(parameter, text, &mut bytes)?;
    Ok(bytes)
}

/// The text without padding and the number of its bytes; a parameter that must be there and is not is named.
fn measure<'t>(parameter: &'static str, text: Option<&'t SecretText<'_>>, max: usize) -> Result<(&'t str, usize)> {
    let text = without_padding(text.ok_or(Error::BadParameter(BadParameter::Missing(parameter)))?.expose());
    let tail = match text.len() % 4 {
        0 => 0,
        2 => 1,
        3 => 2,
        _ => return Err(Error::BadParameter(BadParameter::Malformed(parameter))),
    };
    let len = text.len() / 4 * 3 + tail;
    if len > max {
        return Err(Error::BadParameter(BadParameter::Length { parameter, min: 0, max }));
    }
    Ok((text, len))
}

fn decode(parameter: &'static str, text: &str, bytes: &mut [u8]) -> Result<()> {
    match URL_SAFE_NO_PAD.decode_slice(text, bytes) {
        Ok(written) if written == bytes.len() => Ok(()),
        Ok(_) | Err(_) => Err(Error::BadParameter(BadParameter::Malformed(parameter))),
    }
}

/// Encodes into text that is wiped; nothing of it stays elsewhere.
pub(super) fn encode(bytes: &[u8]) -> Result<SecretText<'static>> {
    let len = base64::encoded_len(bytes.len(), false).ok_or(Error::Internal(Internal::Encoding))?;
    let mut text = Zeroizing::new(vec![0; len]);
    URL_SAFE_NO_PAD.encode_slice(bytes, &mut text).map_err(|_| Error::Internal(Internal::Encoding))?;
    let text = String::from_utf8(std::mem::take(&mut *text)).map_err(|_| Error::Internal(Internal::Encoding))?;
    Ok(SecretText::owned(Zeroizing::new(text)))
}

/// The text as we would have written it: padding goes where it fills the last group, other `=` stay and are refused.
fn without_padding(text: &str) -> &str {
    let whole = text.len().is_multiple_of(4);
    let padding = text.bytes().rev().take(PADDING_MAX).take_while(|b| whole && *b == b'=').count();
    text.get(..text.len() - padding).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn decoded(text: &str) -> Result<Vec<u8>> {
        let text = SecretText::borrowed(text);
        let secret = secret("value", Some(&text), 100).map(|b| b.expose().to_vec());
        assert_eq!(secret, public("value", Some(&text), 100));
        secret
    }

    #[test]
    fn padding_is_tolerated_and_nothing_else() {
        for good in ["aGk", "aGk="] {
            assert_eq!(decoded(good).unwrap(), b"hi", "{good}");
        }
        assert_eq!(decoded("aA==").unwrap(), b"h");
        assert_eq!(decoded("_-8").unwrap(), [0xff, 0xef]);
        assert_eq!(decoded("").unwrap(), b"");
        // Other alphabet, white space, bad lengths, bits that say nothing, padding inside or too much of it.
        for bad in [
            "/+8", "aGk ", "\naGk", "a", "aGkaa", "aGl", "aA===", "aA=", "a=Gk", "=", "==", "====", "a===", "é",
            "aGk\u{0}",
        ] {
            let error = decoded(bad).unwrap_err();
            assert_eq!(error, Error::BadParameter(BadParameter::Malformed("value")), "{bad:?}");
        }
    }

    #[test]
    fn length_is_bounded_before_anything_is_decoded() {
        let length = Error::BadParameter(BadParameter::Length { parameter: "value", min: 0, max: 100 });
        assert_eq!(decoded(&"A".repeat(136)).unwrap_err(), length);
        assert_eq!(decoded(&"A".repeat(134)).unwrap().len(), 100);
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decoded(encode(&bytes).unwrap().expose()).unwrap(), bytes);
        }

        #[test]
        fn any_text_is_decoded_or_refused(text in any::<String>()) {
            if let Ok(bytes) = decoded(&text) {
                let encoded = encode(&bytes).unwrap();
                prop_assert_eq!(encoded.expose(), without_padding(&text));
            }
        }
    }
}
