//! Who calls: the embedded issuer, and the one path by which every token is validated.
