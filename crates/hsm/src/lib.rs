//! The boundary to the keys: its verbs, binding, sealed format, capabilities, and the suite every provider must pass.
#![forbid(unsafe_code)]
