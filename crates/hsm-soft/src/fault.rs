//! A fault as a glitch or a failing memory cell would cause it, for the tests of the checks against it.

/// Flips a bit of a fresh RSA signature when a test asked for it; nothing in the product.
#[cfg(not(test))]
pub(crate) fn strike(_signature: &mut [u8]) {}

#[cfg(test)]
pub(crate) fn strike(signature: &mut [u8]) {
    BIT.with(|bit| {
        if let Some(bit) = bit.get() {
            signature[bit / 8] ^= 1 << (bit % 8);
        }
    });
}

#[cfg(test)]
thread_local! {
    /// The bit to flip in this thread.
    pub(crate) static BIT: std::cell::Cell<Option<usize>> = const { std::cell::Cell::new(None) };
}
