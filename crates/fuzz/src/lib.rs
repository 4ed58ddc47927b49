//! Every parser of hostile bytes as a plain function with an oracle.
//!
//! A target takes any bytes and panics when a promise is broken. `tests/targets.rs` feeds each one a fixed number of mutated
//! seeds; `fuzz/` (outside of the workspace) hands the same functions to libFuzzer. What either found lies in
//! `fuzz/regressions/TARGET` and is tried first.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "the whole crate is tests: a broken promise panics")]

mod generator;
mod house;
pub mod keys;
pub mod malformed;
mod strangers;
mod targets;
pub mod timing;

pub use generator::{Generator, SEED};

use std::io;
use std::path::{Path, PathBuf};

/// One parser, or one part with a state.
pub struct Target {
    /// Its name: of the test, of the fuzzer's binary, and of its folder of regressions.
    pub name: &'static str,
    /// Panics when the bytes break a promise.
    pub run: fn(&[u8]),
    /// Inputs that reach deep; the same in every process.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Inputs of one round of the tests: fewer where one takes long.
    pub inputs: usize,
}

/// Inputs of one round, where nothing speaks against it.
const INPUTS: usize = 2_000;
/// The same for targets that compute with keys at each input.
const SLOW_INPUTS: usize = 500;

/// The same for the engine, where one input is two dozen operations.
const ENGINE_INPUTS: usize = 250;

macro_rules! targets {
    ($($name:ident $inputs:ident in $module:path;)*) => {
        /// Every target.
        pub static TARGETS: &[Target] = &[$({
            use $module as place;
            Target { name: stringify!($name), run: place::run, seeds: place::seeds, inputs: $inputs }
        }),*];
    };
}

targets! {
    sealed INPUTS in targets::sealed;
    binding INPUTS in targets::binding;
    checkpoint INPUTS in targets::checkpoint;
    frame SLOW_INPUTS in targets::frame;
    partition INPUTS in targets::partition;
    path INPUTS in targets::path;
    host INPUTS in targets::host;
    token INPUTS in targets::token;
    token_request INPUTS in targets::token_request;
    sign_in INPUTS in targets::sign_in;
    key_set INPUTS in targets::key_set;
    assertion SLOW_INPUTS in targets::assertion;
    directory SLOW_INPUTS in targets::directory;
    certificate INPUTS in targets::certificate;
    configuration INPUTS in targets::configuration;
    audit_log INPUTS in targets::audit_log;
    skip_token INPUTS in targets::skip_token;
    handlers INPUTS in targets::handlers;
    engine ENGINE_INPUTS in targets::engine;
}

/// The target of a name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// The folder of the fuzzer, beside the workspace's crates.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// Inputs that once broke a promise of this target.
pub fn regressions(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let folder = folder().join("regressions").join(target);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<io::Result<_>>()?;
    files.sort();
    files.iter().map(std::fs::read).collect()
}
