//! Configuration: every setting typed and documented, unknown ones refused by name.
