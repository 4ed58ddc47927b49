//! The keeper and the confined process around a provider: start, sandbox, message codec, healing.
#![forbid(unsafe_code)]
