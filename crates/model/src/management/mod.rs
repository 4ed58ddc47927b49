//! The management plane's vocabulary (Azure Resource Manager): actions, scopes, built-in roles, names of groups and places.

pub mod action;
mod name;
mod role;
mod scope;

pub use action::ManagementAction;
pub use name::{GroupName, Location, ResourceKind};
pub use role::{BUILT_IN_ROLES, BuiltInRole, OWNER, built_in_role};
pub use scope::Scope;
