//! Azure's JSON exactly as it travels: serde structs and nothing else.
//!
//! What comes in is read strictly: a wrong type, an array where an object belongs, or a member given twice is refused;
//! members that nobody knows are skipped, and `null` counts as absent. Members that must be there are still `Option`s
//! here, so that the server can name the missing one. What goes out has its members in alphabetical order, as a managed
//! HSM writes them: fields are declared in that order.
#![forbid(unsafe_code)]

pub mod keys;
pub mod management;
mod object;
pub mod operations;
pub mod roles;
pub mod rotation;
mod text;

pub use object::parse;
pub use text::SecretText;
