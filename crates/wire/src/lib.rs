//! Azure's JSON exactly as it travels: serde structs and nothing else.
#![forbid(unsafe_code)]
