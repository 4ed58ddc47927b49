//! The sealed format: what opens is exactly what was sealed, under the label and binding it was sealed for.

use crate::house::first;
use strongroom_hsm::sealed::{KEY_LEN, Label, OVERHEAD, generation, open, seal};
use strongroom_model::SecretBytes;

const GENERATION: u32 = 7;

fn key() -> SecretBytes {
    SecretBytes::new(vec![0x42; KEY_LEN])
}

/// What the seeds seal says what it was sealed for: whatever opens can be held against that.
fn contents(label: Label, binding: &[u8]) -> Vec<u8> {
    [label.as_str().as_bytes(), binding].concat()
}

/// `label ‖ length of the binding ‖ binding ‖ sealed`
pub(crate) fn run(data: &[u8]) {
    let (label, rest) = first(data);
    let (length, rest) = first(rest);
    let label = Label::ALL[usize::from(label) % Label::ALL.len()];
    let (binding, sealed) = rest.split_at(usize::from(length).min(rest.len()));
    let named = generation(sealed);
    assert_eq!(named.is_ok(), sealed.len() >= OVERHEAD && sealed.starts_with(&[1, 1]));
    let key = key();
    if let Ok(opened) = open(|generation| (generation == GENERATION).then_some(&key), label, binding, sealed) {
        assert_eq!(named, Ok(GENERATION));
        assert_eq!(opened.len() + OVERHEAD, sealed.len());
        assert!(opened.same_as(&contents(label, binding)), "a value opened for what it was not sealed for");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let seed = |(number, label): (usize, &Label)| {
        let binding = b"pool and name".get(number..).unwrap_or_default();
        let sealed = seal(&key(), GENERATION, *label, binding, &contents(*label, binding)).unwrap_or_default();
        let head = [number, binding.len()].map(|n| u8::try_from(n).unwrap_or(0));
        [&head[..], binding, &sealed].concat()
    };
    Label::ALL.iter().enumerate().map(seed).collect()
}
