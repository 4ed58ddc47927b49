//! What can go wrong, in closed reasons; one file in the server turns them into Azure's JSON.

mod management;

pub use management::ManagementError;

use crate::action::DataAction;
use crate::algorithm::Algorithm;
use crate::key::{KeySpec, Operation};
use crate::network::NetworkRefusal;
use crate::role::RoleScope;

/// A result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why a request is not carried out. Nothing in here is ever secret: names were parsed, parameters are named by static text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `api-version` missing or not one of ours: 400.
    #[error("api-version is missing or unknown")]
    ApiVersion,
    /// A name in the path or body breaks its pattern: 400.
    #[error("invalid name: {0:?}")]
    BadName(BadName),
    /// Something else in the request is wrong: 400.
    #[error("bad parameter: {0:?}")]
    BadParameter(BadParameter),
    /// No valid token: 401 with the challenge.
    #[error("not authenticated: {0:?}")]
    Unauthenticated(Unauthenticated),
    /// Local RBAC does not allow the action at the scope: 403 `AccessDenied`.
    #[error("not authorised for {} on {scope}", action.as_str())]
    AccessDenied {
        /// What was asked.
        action: DataAction,
        /// Where.
        scope: RoleScope,
    },
    /// A rule other than RBAC forbids it: 403 `Forbidden`.
    #[error("forbidden: {0:?}")]
    Forbidden(Forbidden),
    /// No such object, or none that the caller may know of: 404.
    #[error("not found: {0:?}")]
    NotFound(NotFound),
    /// The state of an object is in the way: 409.
    #[error("conflict: {0:?}")]
    Conflict(Conflict),
    /// The method is not one of this path's: 405.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// The body is larger than its route allows: 413.
    #[error("body too large")]
    BodyTooLarge,
    /// The body did not come in time: 408.
    #[error("request timed out")]
    RequestTimeout,
    /// Too many requests: 429 with `Retry-After`.
    #[error("throttled")]
    Throttled,
    /// A part of this node cannot work now: 503.
    #[error("{0}")]
    Unavailable(Unavailable),
    /// A rule of the management plane: its own codes, see [`ManagementError`].
    #[error("management plane: {0:?}")]
    Management(Box<ManagementError>),
    /// Our fault: 500; the details are in the log under the request id.
    #[error("internal error: {0}")]
    Internal(Internal),
}

impl From<ManagementError> for Error {
    fn from(error: ManagementError) -> Self {
        Self::Management(Box::new(error))
    }
}

/// Which name is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadName {
    /// A key's name.
    Key,
    /// A key's version.
    KeyVersion,
    /// A vault's or HSM's name.
    Pool,
    /// A role scope.
    Scope,
    /// The GUID of a role definition or assignment.
    Guid,
    /// A path part that no name may hold (`/`, NUL, `.`, `..`, bad percent encoding).
    Path,
}

/// What is wrong with a parameter; `&'static str` names it as the API does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadParameter {
    /// The body is not JSON, too deep, or of the wrong shape.
    Body(BadBody),
    /// A required one is missing.
    Missing(&'static str),
    /// It has a value that the API does not know.
    Unknown(&'static str),
    /// The API knows the value, this key type or product does not take it.
    Unsupported(&'static str),
    /// It is not base64url, a number, a date … as it should be.
    Malformed(&'static str),
    /// It must not be there.
    NotAllowed(&'static str),
    /// Its length in bytes or its number is wrong.
    Length {
        /// Which one.
        parameter: &'static str,
        /// Smallest allowed.
        min: usize,
        /// Largest allowed.
        max: usize,
    },
    /// Its value is out of range.
    Range {
        /// Which one.
        parameter: &'static str,
        /// Smallest allowed.
        min: i64,
        /// Largest allowed.
        max: i64,
    },
    /// The algorithm does not serve this operation or does not fit this key.
    AlgorithmMismatch {
        /// The algorithm.
        algorithm: Algorithm,
        /// The operation.
        operation: Operation,
        /// The key.
        spec: KeySpec,
    },
    /// `import` stands beside another key operation.
    ImportMixed,
    /// The imported key is not valid: parts missing or contradicting each other, weak, or a point off its curve.
    KeyMaterial,
    /// Decrypt or unwrap failed, for whatever reason.
    CryptographicFailure,
    /// `nbf` is not before `exp`.
    ValidityOrder,
    /// The skip token was not made by this list.
    SkipToken,
    /// The `$filter` is not one of the supported forms.
    Filter,
    /// A value of `networkAcls.ipRules` is not a range of addresses.
    IpRule(BadIpRule),
    /// A virtual-network rule names a subnet that the configuration gives no ranges.
    UnknownNetwork,
}

/// What is wrong with an IP rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadIpRule {
    /// What stands before the prefix length is not an IPv4 or IPv6 address.
    #[error("expected an IPv4 or IPv6 address or a range in CIDR notation, such as 192.0.2.0/24")]
    Address,
    /// The prefix length is not a number from 0 to 32, or 128 for IPv6.
    #[error("the prefix length must be a number from 0 to 32, or to 128 for IPv6")]
    Prefix,
    /// It is an IPv4 address written as IPv6.
    #[error("an IPv4 address must be written as IPv4, not inside of IPv6")]
    Mapped,
}

/// What is wrong with a body as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadBody {
    /// There is none and there must be one.
    Empty,
    /// Not JSON.
    Syntax,
    /// JSON of another shape.
    Shape,
    /// Not read to its end.
    Truncated,
}

/// Why a caller is not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unauthenticated {
    /// No `Authorization: Bearer`.
    Missing,
    /// Not a token, or too long.
    Malformed,
    /// Signature, algorithm or key.
    Signature,
    /// `iss` is none of ours.
    Issuer,
    /// `aud` is another resource.
    Audience,
    /// `tid` is another tenant.
    Tenant,
    /// Before `nbf`.
    NotYetValid,
    /// After `exp`.
    Expired,
    /// The principal was disabled.
    Disabled,
}

/// Why an authorised caller is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    /// The key is disabled; the operation.
    KeyDisabled(Operation),
    /// Before `nbf`.
    KeyNotYetValid(Operation),
    /// After `exp`.
    KeyExpired(Operation),
    /// `key_ops` lacks it.
    OperationNotPermitted(Operation),
    /// The key cannot be rotated while disabled.
    RotateDisabled,
    /// Purge protection is on and the retention is not over.
    PurgeProtected,
    /// The managed HSM is not activated.
    NotActivated,
    /// A built-in role can be neither changed nor deleted.
    BuiltInRole,
    /// It would remove the last administrator.
    LastAdministrator,
    /// The key has done all the AES-GCM encryptions it may: rotate it.
    UsesExhausted,
    /// The key has all the versions it may have.
    VersionsExhausted,
    /// The number of role definitions or assignments is at its limit.
    RolesExhausted,
    /// The network rules: the address, the private endpoint connection.
    Network(NetworkRefusal),
}

/// What was not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotFound {
    /// A key or a version of it: `name` or `name/version`.
    Key(String),
    /// A deleted key.
    DeletedKey(String),
    /// A role assignment.
    RoleAssignment,
    /// A role definition.
    RoleDefinition,
    /// A path that is no operation's.
    Path,
    /// A managed HSM or vault, by host name.
    Pool,
}

/// What is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// The name belongs to a deleted key.
    KeyDeleted(String),
    /// Somebody changed the object at the same time and the retries are used up.
    Concurrent,
    /// The same assignment exists already, under this or another name.
    RoleAssignmentExists,
    /// The assignment's GUID is in use with other contents.
    RoleAssignmentDiffers,
}

/// Which part cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The store takes no changes or cannot be read.
    #[error(
        "the store cannot be read or changed: its disk is full or failed, its file is damaged, or it does not answer; see the log"
    )]
    Store,
    /// This node shares its store, and cannot prove that what it keeps in memory is current.
    #[error("this node cannot prove that what it keeps in memory is current: the store that it shares does not answer")]
    Unproved,
    /// The pool's partition is not there.
    #[error("a partition is not there")]
    Partition,
    /// The audit log cannot be written.
    #[error("the audit log cannot be written")]
    Audit,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// The pool is sealed.
    #[error("the pool is sealed")]
    Sealed,
}

/// What of ours broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Internal {
    /// A record does not open or decode.
    #[error("a record of the store is damaged or was edited; restore the store from a backup")]
    CorruptRecord,
    /// The partition answered something else than was asked.
    #[error("the partition answered something else than was asked")]
    PartitionProtocol,
    /// A cryptographic self-check failed: no result leaves.
    #[error("a cryptographic self-check failed")]
    SelfCheck,
    /// A handler panicked.
    #[error("a handler panicked")]
    Panic,
    /// A value could not be encoded.
    #[error("a value could not be encoded")]
    Encoding,
}
