//! The AWS-LC provider: the only code in which a plaintext private key exists.
#![forbid(unsafe_code)]
