//! The private CA, certificates from files, and the rustls configuration.
