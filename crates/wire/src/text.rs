//! Text that may hold a secret.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use zeroize::Zeroizing;

/// The text of a member whose bytes nobody but the caller may see: key material, plaintext, ciphertext, digests.
///
/// There is no `Debug`, `Display`, `Clone` or `PartialEq`. Incoming text is borrowed from the body, so that no copy is
/// made beside the one that its owner wipes; outgoing text is owned and wiped on drop. Incoming text with a JSON escape
/// is refused: base64url needs none, and unescaping would leave a copy in the parser's memory.
pub struct SecretText<'a>(Text<'a>);

enum Text<'a> {
    Borrowed(&'a str),
    Owned(Zeroizing<String>),
}

impl<'a> SecretText<'a> {
    /// Text of somebody else, who wipes it.
    pub const fn borrowed(text: &'a str) -> Self {
        Self(Text::Borrowed(text))
    }

    /// The text itself: the only way to it.
    pub fn expose(&self) -> &str {
        match &self.0 {
            Text::Borrowed(text) => text,
            Text::Owned(text) => text,
        }
    }
}

impl SecretText<'static> {
    /// Text that is wiped on drop.
    pub const fn owned(text: Zeroizing<String>) -> Self {
        Self(Text::Owned(text))
    }
}

impl Serialize for SecretText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for SecretText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = SecretText<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text without escapes")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<SecretText<'de>, E> {
                Ok(SecretText::borrowed(text))
            }
            fn visit_str<E: Error>(self, _: &str) -> Result<SecretText<'de>, E> {
                Err(E::custom("escaped text"))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn incoming_text_is_not_copied() {
        let body = r#""c2VjcmV0""#.to_owned();
        let text: SecretText<'_> = serde_json::from_str(&body).unwrap();
        assert_eq!(text.expose(), "c2VjcmV0");
        assert!(body.as_bytes().as_ptr_range().contains(&text.expose().as_ptr()));
    }

    #[test]
    fn escapes_and_other_types_are_refused() {
        for bad in [r#""c2Vj\u0063""#, "5", "null", "[]", r#"["a"]"#, r#""\/""#] {
            assert!(serde_json::from_str::<SecretText<'_>>(bad).is_err(), "{bad}");
        }
    }
}
