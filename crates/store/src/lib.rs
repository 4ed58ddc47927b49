//! Ordered transactional keys and values with snapshot and watch: memory, redb, and the suite every back end must pass.
#![forbid(unsafe_code)]
