//! What is recorded of each request: facts in domain words; the server renders them in Azure's shape.

use crate::clock::Timestamp;
use crate::principal::Principal;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// The place of one use or change of a key in the chain of the partition thread that carried it out (DESIGN 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseStamp {
    /// The chain, random at each start of a partition thread.
    pub chain: [u8; 16],
    /// Number of this entry in the chain, from 1.
    pub sequence: u64,
    /// SHA-256 over the last hash and the canonical encoding of this entry.
    pub hash: [u8; 32],
    /// When, by the partition's clock: with the rest of the record, all that the hash was made of.
    pub time: Timestamp,
    /// The key's generation: the one that was used, or that the change made.
    pub generation: u64,
}

/// What a partition did to a sealed key, besides using it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyChange {
    /// Made it; the digest of its binding.
    Generate([u8; 32]),
    /// Took it over; the digest of its binding.
    Import([u8; 32]),
    /// Sealed it under another binding; the digest of the new one.
    Rebind([u8; 32]),
    /// Let it make AES-GCM encryptions up to this number, over all its life.
    Reserve(u64),
}

/// A change with its place in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeStamp {
    /// Where it stands.
    pub place: UseStamp,
    /// What was done.
    pub change: KeyChange,
}

/// What a record says of a use chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stamp {
    /// The record's actor used the record's object, as the record's operation says.
    Use(UseStamp),
    /// The product signed with a key of its own.
    System(SystemStamp),
    /// The record's object was made or changed, for the record's actor.
    Change(ChangeStamp),
}

impl Stamp {
    /// Where it stands.
    pub const fn place(&self) -> &UseStamp {
        match self {
            Self::Use(place) => place,
            Self::System(system) => &system.place,
            Self::Change(change) => &change.place,
        }
    }
}

/// A signature with a key of the product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemStamp {
    /// Where it stands.
    pub place: UseStamp,
    /// The key: `systemkeys/{name}/{version}`.
    pub key: Arc<str>,
}

/// Who acted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// Nobody was authenticated.
    Anonymous,
    /// A caller with a valid token.
    Principal(Principal),
    /// Scheduled work of this node: `system:<job>`.
    System(String),
}

impl Actor {
    /// The object id that enters the use chain; nil for whoever has none.
    pub const fn object_id(&self) -> Uuid {
        match self {
            Self::Principal(principal) => principal.object_id,
            Self::Anonymous | Self::System(_) => Uuid::nil(),
        }
    }
}

/// One request, or one act of scheduled work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Milliseconds since the Unix epoch, when the request came in.
    pub time_ms: i64,
    /// Name of the managed HSM or vault; empty for the node itself.
    pub resource: String,
    /// Operation in the words of Azure's log (`KeyCreate`, `KeySign` …).
    pub operation: String,
    /// `api-version`, as sent when known.
    pub operation_version: String,
    /// HTTP status of the answer.
    pub status: u16,
    /// Error code of the answer; empty on success.
    pub error_code: String,
    /// Microseconds from the request's first byte to this record.
    pub duration_us: u64,
    /// The real peer; none on a Unix or virtual-machine socket.
    pub caller_address: Option<IpAddr>,
    /// Resource id of the private endpoint that it came through; empty for public listeners.
    pub private_endpoint: String,
    /// Who.
    pub actor: Actor,
    /// `x-ms-request-id` of the answer.
    pub request_id: Uuid,
    /// `x-ms-client-request-id`, when it is a GUID.
    pub correlation_id: Option<Uuid>,
    /// `User-Agent`, cut to 256 printable characters.
    pub client_info: String,
    /// Scheme, host and parsed path parts; of the query only `api-version`.
    pub request_uri: String,
    /// The object that was touched: `keys/{name}/{version}`, `roleAssignments/{guid}` …; empty where there is none.
    pub object: String,
    /// For uses and changes of a key.
    pub stamp: Option<Stamp>,
    /// Refusals of the same kind folded into this record, besides the one it shows.
    pub folded: u32,
}
