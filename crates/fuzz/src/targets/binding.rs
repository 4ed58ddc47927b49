//! Bindings: what decodes is the canonical encoding of what it says, byte for byte.

use strongroom_hsm::Binding;

pub(crate) fn run(data: &[u8]) {
    if let Ok(binding) = Binding::decode(data) {
        assert_eq!(binding.encode(), data, "one binding has one encoding");
        assert!(binding.has_canonical_name());
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let golden = [
        include_str!("../../../hsm/tests/golden/binding-full.hex"),
        include_str!("../../../hsm/tests/golden/binding-least.hex"),
    ];
    golden.iter().map(|text| hex::decode(text.trim()).unwrap_or_default()).collect()
}
