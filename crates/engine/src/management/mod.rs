//! The management plane: resource groups, managed HSMs and vaults as resources, and who may manage them.
//!
//! All of it lies in one set in memory, read from the store at the start. Every change is conditional on one record, so
//! that two creations of one name, or two removals of the last Owner, cannot both succeed. Its rights are apart from those
//! of the data plane: nothing here gives a right to a key.

mod access;
mod api;
mod change;
mod groups;
mod hsms;
mod jobs;
mod merge;
mod resource;
mod set;
mod start;
mod vaults;

pub use access::{Assignment, AssignmentRequest, ManagementGrant};
pub use groups::{Group, GroupRequest};
pub use hsms::{HsmRequest, HsmUpdate, ManagedHsm};
pub use merge::ResourceRequest;
pub use resource::{
    ConnectionChange, CreateMode, Editor, NetworkChange, PurgeStatus, Resource, ResourceDeletion, Sku, SystemData, Tags,
};
pub use start::ManagementSettings;
pub use vaults::{AccessPolicy, PolicyChange, Vault, VaultRequest, VaultUpdate};

pub(crate) use set::ManagementSet;
pub(crate) use start::Management;
