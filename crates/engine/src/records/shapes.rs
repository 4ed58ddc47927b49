//! What lies in the store: one type a kind of record, each with its tag.

use super::Record;
use crate::keys::{Attributes, Deletion, IsoDuration, RotateTrigger, Tags};
use crate::management::{Assignment, Group, ManagedHsm, Vault};
use crate::pool::PoolState;
use serde::{Deserialize, Serialize};
use strongroom_hsm::verbs::{History, WrappedRoot};
use strongroom_hsm::{KeyBlob, PublicKey};
use strongroom_model::audit::AuditRecord;
use strongroom_model::role::{RoleAssignment, RoleDefinition};
use strongroom_model::{KeyName, KeyVersion, PoolId, PoolName, Timestamp};

macro_rules! records {
    ($($type:ty = $tag:literal;)*) => {
        $(impl Record for $type { const TAG: u8 = $tag; })*
        #[cfg(test)]
        pub(crate) const TAGS: &[u8] = &[$($tag,)*];
    };
}

records! {
    MarkRecord = 1;
    ServedRecord = 2;
    DocumentRecord = 3;
    OutboxRecord = 4;
    PoolRecord = 5;
    EpochRecord = 6;
    HistoryRecord = 7;
    SystemKeyRecord = 8;
    RolesRecord = 9;
    DefinitionRecord = 10;
    AssignmentRecord = 11;
    Head = 12;
    IndexRecord = 13;
    VersionRecord = 14;
    UsesRecord = 15;
    SkipToken = 16;
    ManagementRecord = 17;
    Group = 18;
    ManagedHsm = 19;
    Vault = 20;
    Assignment = 21;
    PurgedRecord = 22;
}

/// Who made the store, and in which format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MarkRecord {
    /// Repeats the number that lies in the clear.
    pub(crate) format: u32,
    /// Made by `dev`.
    pub(crate) development: bool,
}

/// How long this installation has served keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServedRecord {
    /// Seconds of service, with at most a day for each time switched off.
    pub(crate) seconds: u64,
    /// When that was written, by the wall clock.
    pub(crate) saved: i64,
}

/// A small document of the product.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DocumentRecord(pub(crate) Vec<u8>);

/// An audit record that is not in the log yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OutboxRecord(pub(crate) AuditRecord);

/// Where a pool's root stands with regard to a security domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Domain {
    /// The pool was made active without one: nobody but this installation can bring its root back.
    None,
}

/// A pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PoolRecord {
    pub(crate) id: PoolId,
    pub(crate) name: PoolName,
    pub(crate) state: PoolState,
    pub(crate) domain: Domain,
    pub(crate) retention_days: u32,
    pub(crate) purge_protection: bool,
    pub(crate) created: Timestamp,
    pub(crate) root: WrappedRoot,
    pub(crate) audit_key: KeyBlob,
    pub(crate) audit_public: PublicKey,
}

/// Which epoch of a pool holds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct EpochRecord(pub(crate) u32);

/// The last run of a pool's partition that is safe here, with the last signed state of its use chains.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HistoryRecord(pub(crate) History);

/// A key of the product.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SystemKeyRecord {
    pub(crate) blob: KeyBlob,
    pub(crate) public: PublicKey,
}

/// What every change of a role set is conditional on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct RolesRecord {
    /// One more at each change.
    pub(crate) generation: u64,
    /// Random at each change.
    pub(crate) commit: [u8; 16],
}

/// A custom role definition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DefinitionRecord(pub(crate) RoleDefinition);

/// A role assignment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AssignmentRecord(pub(crate) RoleAssignment);

/// The deletion of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeletedHead {
    /// The dates, by the wall clock.
    pub(crate) dates: Deletion,
    /// The served time at the deletion, in seconds.
    pub(crate) served: u64,
}

/// A rotation policy as set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PolicyRecord {
    pub(crate) rotate: Option<RotateTrigger>,
    pub(crate) expiry: Option<IsoDuration>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

/// The newest version as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Newest {
    pub(crate) version: KeyVersion,
    pub(crate) attributes: Attributes,
    pub(crate) tags: Tags,
}

/// A key as a whole; every change of the key is conditional on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Spelled as at creation.
    pub(crate) name: KeyName,
    /// Random at creation; names the versions, so that a later key of the same name cannot see them.
    pub(crate) object: [u8; 16],
    /// One more at each change.
    pub(crate) generation: u64,
    /// Random at each change: recognises its own commit.
    pub(crate) commit: [u8; 16],
    /// Versions made so far.
    pub(crate) versions: u32,
    /// The newest one.
    pub(crate) newest: Newest,
    /// Set while the key is deleted.
    pub(crate) deleted: Option<DeletedHead>,
    /// Set when somebody set one.
    pub(crate) policy: Option<PolicyRecord>,
}

/// A row of an index: its path says everything.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct IndexRecord;

/// One version of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct VersionRecord {
    pub(crate) blob: KeyBlob,
    pub(crate) public: PublicKey,
    pub(crate) updated: Timestamp,
    pub(crate) tags: Tags,
}

/// AES-GCM encryptions reserved for one version.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct UsesRecord {
    /// So many may have been made.
    pub(crate) reserved: u64,
}

/// What every change of the management plane is conditional on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct ManagementRecord {
    /// One more at each change.
    pub(crate) generation: u64,
    /// Random at each change.
    pub(crate) commit: [u8; 16],
}

/// A purge of a managed HSM or vault.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PurgedRecord {
    /// When nothing of it opened any more.
    pub(crate) purged: Timestamp,
    /// The pool whose records are to go.
    pub(crate) pool: Option<PoolId>,
    /// When they had gone.
    pub(crate) done: Option<Timestamp>,
}

/// Where a list goes on; never stored, but sealed like a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SkipToken(pub(crate) Vec<u8>);

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_kinds_of_record_share_a_tag() {
        let mut tags = super::TAGS.to_vec();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), super::TAGS.len());
    }
}
