//! How a target becomes a fuzzer.

pub use libfuzzer_sys;
pub use strongroom_fuzz;

/// The main of a fuzzer: runs the target of this name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            static TARGET: std::sync::LazyLock<&$crate::strongroom_fuzz::Target> =
                std::sync::LazyLock::new(|| $crate::strongroom_fuzz::target($name).expect("a target of that name"));
            (TARGET.run)(data);
        });
    };
}
