//! Secret bytes: a type that cannot be printed, copied, compared or serialised, and is wiped on drop.

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Bytes that must never reach a log, an error or the disk in the clear.
///
/// There is no `Debug`, `Display`, `Clone`, `PartialEq`, `Serialize` or `Deref`: whoever needs the bytes says so with
/// [`SecretBytes::expose`].
pub struct SecretBytes(Box<[u8]>);

impl SecretBytes {
    /// Takes the bytes over without leaving a copy behind: a vector with spare capacity is copied and its old memory wiped.
    pub fn new(mut bytes: Vec<u8>) -> Self {
        if bytes.len() == bytes.capacity() {
            return Self(bytes.into_boxed_slice());
        }
        let exact: Box<[u8]> = bytes.as_slice().into();
        bytes.zeroize();
        Self(exact)
    }

    /// A secret of `len` bytes, filled in place by `fill`.
    pub fn fill_with<E>(len: usize, fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut secret = Self(vec![0; len].into_boxed_slice());
        fill(&mut secret.0)?;
        Ok(secret)
    }

    /// Copies a slice that somebody else wipes.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes themselves: the only way to them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Number of bytes; a length is not a secret.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no byte at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares with `other` in constant time for equal lengths.
    pub fn same_as(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::SecretBytes;

    #[test]
    fn holds_exactly_the_bytes_given() {
        let mut roomy = Vec::with_capacity(64);
        roomy.extend_from_slice(b"canary");
        let secret = SecretBytes::new(roomy);
        assert_eq!(secret.expose(), b"canary");
        assert!(secret.same_as(b"canary"));
        assert!(!secret.same_as(b"canarz"));
        assert!(!secret.same_as(b"canary-and-more"));
    }
}
