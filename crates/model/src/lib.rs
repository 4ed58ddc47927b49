//! The vocabulary: names, key specs, algorithms, actions, roles, errors, secret types, limits, clock.
#![forbid(unsafe_code)]
