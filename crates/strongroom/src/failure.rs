//! Why the program ends: one line for people, and an exit code for service managers.

use std::error::Error;

/// Exit code for a configuration or a start that cannot work (`EX_CONFIG` of sysexits.h): starting again does not help.
const CONFIGURATION: u8 = 78;
/// Exit code for everything else.
const FAILED: u8 = 1;

/// The end of the program.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    exit_code: u8,
}

impl Failure {
    /// Something that somebody has to mend before the next start.
    pub(crate) fn configuration(error: impl std::fmt::Display) -> Self {
        Self { message: error.to_string(), exit_code: CONFIGURATION }
    }

    /// Something that may be over at the next start.
    pub(crate) fn failed(error: impl std::fmt::Display) -> Self {
        Self { message: error.to_string(), exit_code: FAILED }
    }

    /// The line.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::configuration(error)
    }
}
