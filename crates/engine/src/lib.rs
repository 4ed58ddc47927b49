//! Every rule of keys, roles, deletion, rotation and pools.
#![forbid(unsafe_code)]
