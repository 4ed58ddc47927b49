//! Why the boundary refuses or fails, in closed reasons.

use serde::{Deserialize, Serialize};
use strongroom_model::error::{BadParameter, Error, Forbidden, Internal, Unavailable};
use strongroom_model::key::Operation;

/// Why a verb was not carried out. Holds no secret and no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum HsmError {
    /// The pool's root has not been opened in this partition.
    #[error("the root is not open")]
    NotOpen,
    /// A root is open already, or one exists where a new one was asked for.
    #[error("the root is open already")]
    AlreadyOpen,
    /// A blob does not open under its binding, in this pool, with the key generations known.
    #[error("the blob does not open")]
    Unsealable,
    /// The wrapped root does not open under this node's key-encryption key.
    #[error("the wrapped root does not open under this seal")]
    WrongSeal,
    /// What is to be named as the run before was not signed by this pool's audit key, or does not belong together.
    #[error("the run before is not one that this pool's audit key signed")]
    History,
    /// A newer generation of this key is known.
    #[error("a newer generation of the key is known")]
    StaleGeneration,
    /// A change that a rebind may not make, or a draft that no key may have.
    #[error("the binding does not allow this change")]
    BindingRule,
    /// The key is disabled.
    #[error("the key is disabled")]
    Disabled(Operation),
    /// Before `nbf`.
    #[error("the key is not valid yet")]
    NotYetValid(Operation),
    /// From `exp` on.
    #[error("the key has expired")]
    Expired(Operation),
    /// `key_ops` lacks the operation.
    #[error("the key does not permit the operation")]
    NotPermitted(Operation),
    /// The algorithm does not serve this operation or does not fit this key.
    #[error("the algorithm does not fit")]
    AlgorithmMismatch,
    /// A value (digest, iv, tag, block …) has the wrong length.
    #[error("a value has the wrong length")]
    BadLength(ValueName),
    /// Imported material is invalid: parts missing or contradicting each other, weak, a point off its curve.
    #[error("the key material is invalid")]
    BadMaterial,
    /// Decrypt or unwrap failed, for whatever reason.
    #[error("the value does not decrypt")]
    Undecryptable,
    /// A result failed its own check, or a self-test failed: nothing leaves.
    #[error("a self-check failed")]
    SelfCheck,
    /// The provider lacks the mechanism or the random source failed.
    #[error("the provider failed")]
    Provider,
    /// The request could not be decoded, or the reply is not one to it.
    #[error("protocol error")]
    Protocol,
    /// The partition is gone and did not come back in time.
    #[error("the partition is lost")]
    Lost,
}

/// Which value has the wrong length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the API's")]
pub enum ValueName {
    Value,
    Digest,
    Iv,
    Aad,
    Tag,
    Count,
}

impl ValueName {
    /// The parameter's name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Digest => "digest",
            Self::Iv => "iv",
            Self::Aad => "aad",
            Self::Tag => "tag",
            Self::Count => "count",
        }
    }
}

impl From<HsmError> for Error {
    fn from(error: HsmError) -> Self {
        match error {
            HsmError::Disabled(op) => Self::Forbidden(Forbidden::KeyDisabled(op)),
            HsmError::NotYetValid(op) => Self::Forbidden(Forbidden::KeyNotYetValid(op)),
            HsmError::Expired(op) => Self::Forbidden(Forbidden::KeyExpired(op)),
            HsmError::NotPermitted(op) => Self::Forbidden(Forbidden::OperationNotPermitted(op)),
            HsmError::AlgorithmMismatch => Self::BadParameter(BadParameter::Unsupported("alg")),
            HsmError::BadLength(name) => Self::BadParameter(BadParameter::Malformed(name.as_str())),
            HsmError::BadMaterial => Self::BadParameter(BadParameter::KeyMaterial),
            HsmError::Undecryptable => Self::BadParameter(BadParameter::CryptographicFailure),
            HsmError::BindingRule => Self::BadParameter(BadParameter::Unsupported("attributes")),
            HsmError::NotOpen | HsmError::Lost => Self::Unavailable(Unavailable::Partition),
            HsmError::Unsealable | HsmError::WrongSeal | HsmError::History | HsmError::StaleGeneration => {
                Self::Internal(Internal::CorruptRecord)
            }
            HsmError::SelfCheck | HsmError::Provider => Self::Internal(Internal::SelfCheck),
            HsmError::AlreadyOpen | HsmError::Protocol => Self::Internal(Internal::PartitionProtocol),
        }
    }
}
