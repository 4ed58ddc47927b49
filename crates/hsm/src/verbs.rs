//! All that can be asked of a partition, and all that it answers.

use crate::binding::{Binding, KeyDraft, RebindChange};
use crate::error::HsmError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;
use strongroom_model::audit::{ChangeStamp, UseStamp};
use strongroom_model::clock::Timestamp;
use strongroom_model::{Algorithm, Curve, PoolId, SecretBytes};
use uuid::Uuid;

/// A request with its number on the lane.
#[derive(Serialize, Deserialize)]
pub struct Envelope {
    /// Chosen by the service, given back in the reply.
    pub id: u64,
    /// Seconds to add to the partition's clock; refused unless the partition was started for `dev`.
    pub clock_offset: i64,
    /// What is asked.
    pub request: Request,
}

/// One verb with its arguments.
#[derive(Serialize, Deserialize)]
pub enum Request {
    /// What can this provider do? → [`Reply::Described`]
    Describe,
    /// Make the pool's first root and its audit key; only where no root is open. → [`Reply::RootCreated`]
    CreateRoot,
    /// Open the pool's root, and start the use chains after the run before. → [`Reply::RootOpened`]
    OpenRoot(RootParts),
    /// Make a key, for this caller. → [`Reply::KeyMade`]
    Generate(KeyDraft, Uuid),
    /// Take over a key that came in the clear, for this caller. → [`Reply::KeyMade`]
    Import(KeyDraft, KeyMaterial, Uuid),
    /// Change what may be changed and seal anew, one generation later, for this caller. → [`Reply::Rebound`]
    Rebind(Arc<KeyBlob>, RebindChange, Uuid),
    /// Use a key. → [`Reply::Done`] or [`Reply::NeedBlob`]
    Operate(Operate),
    /// Random bytes. → [`Reply::Random`]
    Random {
        /// How many.
        count: u16,
    },
    /// Sign the state of every chain that moved since the last call. → [`Reply::Signed`]
    Checkpoint,
    /// Run the self-tests now. → [`Reply::Healthy`]
    SelfTest,
}

/// The answer to one envelope.
#[derive(Serialize, Deserialize)]
pub struct Answer {
    /// The envelope's number.
    pub id: u64,
    /// What came of it.
    pub result: Result<Reply, HsmError>,
}

/// What a verb answers.
#[derive(Serialize, Deserialize)]
#[allow(missing_docs, reason = "each variant is named by the verb it answers")]
pub enum Reply {
    Described(Capabilities),
    RootCreated { wrapped: WrappedRoot, audit_key: KeyMade, opening: Opening },
    RootOpened(Opening),
    KeyMade(KeyMade, ChangeStamp),
    Rebound(KeyBlob, ChangeStamp),
    Done(Output, UseStamp),
    NeedBlob,
    Random(#[serde(with = "carried")] SecretBytes),
    Signed(History),
    Healthy,
}

/// What a provider is and can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Its name in every blob it seals.
    pub provider: ProviderName,
    /// `hsmPlatform` of the API: "0" for software.
    pub hsm_platform: String,
    /// The algorithms it has.
    pub algorithms: Vec<Algorithm>,
    /// Whether its roots can be exported to a security domain.
    pub exports_security_domain: bool,
}

/// The providers there are; the number is part of the sealed format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProviderName {
    /// AWS-LC in the partition's memory.
    Software = 1,
}

/// A pool's roots, sealed under the node's key-encryption key; opaque outside of the partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedRoot(pub Vec<u8>);

/// A sealed key with the binding it opens under; holds no secret in the clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyBlob {
    /// The binding, as data; the canonical encoding of it is the associated data.
    pub binding: Binding,
    /// The sealed format.
    pub sealed: Vec<u8>,
}

/// Names one sealing of one key: the commitment of its sealed format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlobId(pub [u8; 32]);

/// A new key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyMade {
    /// The key, sealed.
    pub blob: KeyBlob,
    /// Its public half.
    pub public: PublicKey,
}

/// The public half of a key; integers big-endian without leading zeros (RSA), coordinates at full length (EC).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PublicKey {
    /// Modulus and exponent.
    Rsa {
        /// `n`
        n: Vec<u8>,
        /// `e`
        e: Vec<u8>,
    },
    /// A point.
    Ec {
        /// `crv`
        curve: Curve,
        /// `x`
        x: Vec<u8>,
        /// `y`
        y: Vec<u8>,
    },
    /// A symmetric key has none.
    Oct,
}

/// A key that came in the clear (JWK); integers big-endian, leading zeros allowed.
#[derive(Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are RFC 7518's")]
pub enum KeyMaterial {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
        #[serde(with = "carried")]
        d: SecretBytes,
        #[serde(with = "carried")]
        p: SecretBytes,
        #[serde(with = "carried")]
        q: SecretBytes,
        #[serde(with = "carried")]
        dp: SecretBytes,
        #[serde(with = "carried")]
        dq: SecretBytes,
        #[serde(with = "carried")]
        qi: SecretBytes,
    },
    Ec {
        curve: Curve,
        x: Vec<u8>,
        y: Vec<u8>,
        #[serde(with = "carried")]
        d: SecretBytes,
    },
    Oct {
        #[serde(with = "carried")]
        k: SecretBytes,
    },
}

/// One use of a key.
#[derive(Serialize, Deserialize)]
pub struct Operate {
    /// Which sealing of which key.
    pub key: BlobId,
    /// The blob itself, when the partition said that it needs it.
    pub blob: Option<Arc<KeyBlob>>,
    /// `alg`.
    pub algorithm: Algorithm,
    /// The operation with its values.
    pub input: Input,
    /// The caller's object id: part of the use chain.
    pub caller: Uuid,
}

/// The values of an operation, lengths already bounded by the service, checked again by the provider.
#[derive(Serialize, Deserialize)]
pub enum Input {
    /// Sign a digest.
    Sign {
        /// Exactly as long as the algorithm's hash.
        digest: Vec<u8>,
    },
    /// Verify a signature over a digest.
    Verify {
        /// Exactly as long as the algorithm's hash.
        digest: Vec<u8>,
        /// Any length; a wrong one does not verify.
        signature: Vec<u8>,
    },
    /// Encrypt.
    Encrypt {
        /// What to encrypt.
        #[serde(with = "carried")]
        plaintext: SecretBytes,
        /// For AES-CBC, 16 bytes from the caller; refused for AES-GCM.
        iv: Option<Vec<u8>>,
        /// For AES-GCM.
        aad: Option<Vec<u8>>,
    },
    /// Decrypt.
    Decrypt {
        /// What to decrypt.
        ciphertext: Vec<u8>,
        /// For AES.
        iv: Option<Vec<u8>>,
        /// For AES-GCM.
        aad: Option<Vec<u8>>,
        /// For AES-GCM: 16 bytes.
        tag: Option<Vec<u8>>,
    },
    /// Wrap a key given in the clear.
    WrapKey {
        /// The key to wrap.
        #[serde(with = "carried")]
        key: SecretBytes,
    },
    /// Unwrap.
    UnwrapKey {
        /// The wrapped key.
        wrapped: Vec<u8>,
    },
}

impl Input {
    /// The operation that these values are for.
    pub const fn operation(&self) -> strongroom_model::Operation {
        use strongroom_model::Operation as O;
        match self {
            Self::Sign { .. } => O::Sign,
            Self::Verify { .. } => O::Verify,
            Self::Encrypt { .. } => O::Encrypt,
            Self::Decrypt { .. } => O::Decrypt,
            Self::WrapKey { .. } => O::WrapKey,
            Self::UnwrapKey { .. } => O::UnwrapKey,
        }
    }
}

/// The result of an operation.
#[derive(Serialize, Deserialize)]
pub enum Output {
    /// Of sign.
    Signature(Vec<u8>),
    /// Of verify.
    Verified(bool),
    /// Of encrypt and wrapKey.
    Ciphertext {
        /// The ciphertext or wrapped key.
        value: Vec<u8>,
        /// The IV that was used, for AES ciphers.
        iv: Option<Vec<u8>>,
        /// For AES-GCM: 16 bytes.
        tag: Option<Vec<u8>>,
    },
    /// Of decrypt and unwrapKey.
    Plaintext(#[serde(with = "carried")] SecretBytes),
}

/// What opens a pool's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootParts {
    /// From [`Reply::RootCreated`].
    pub wrapped: WrappedRoot,
    /// From [`Reply::RootCreated`].
    pub audit_key: Arc<KeyBlob>,
    /// Its public half.
    pub audit_public: PublicKey,
    /// The run before, which the new one names: refused unless this pool's audit key signed all of it.
    pub last: History,
}

/// A run of a partition, as far as it is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// How it began.
    pub opening: Opening,
    /// Signed states of its chains.
    pub checkpoints: Vec<Checkpoint>,
}

/// The beginning of a run of a partition: one chain for each of its threads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The pool.
    pub pool: PoolId,
    /// When, by the partition's clock.
    pub time: Timestamp,
    /// The pool's audit key, which signs this and every checkpoint.
    pub audit_key: PublicKey,
    /// [`Opening::digest`] of the run before; `None` when this run made the root.
    pub previous: Option<[u8; 32]>,
    /// The chains of this run.
    pub chains: Vec<[u8; 16]>,
    /// The last signed states of the run before.
    pub checkpoints: Vec<Named>,
    /// ES256 (`r ‖ s`) by the audit key over the canonical encoding of all of the above.
    pub signature: Vec<u8>,
}

/// The state of a chain, as an opening names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The chain.
    pub chain: [u8; 16],
    /// Number of the last entry in it.
    pub sequence: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// The signed state of one use chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The pool.
    pub pool: PoolId,
    /// The chain.
    pub chain: [u8; 16],
    /// Number of the last entry in it.
    pub sequence: u64,
    /// Its hash.
    pub hash: [u8; 32],
    /// When it was signed, by the partition's clock.
    pub time: Timestamp,
    /// ES256 (`r ‖ s`) by the pool's audit key over the canonical encoding of all of the above.
    pub signature: Vec<u8>,
}

/// How a secret crosses the socket: the type itself cannot be serialised, only a field that says so.
pub mod carried {
    use super::{Deserializer, SecretBytes, Serializer};
    use serde::de::{Error, SeqAccess, Visitor};
    use std::fmt;

    /// Writes the bytes; the frame around them is wiped after use.
    pub fn serialize<S: Serializer>(secret: &SecretBytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(secret.expose())
    }

    /// Reads the bytes into a secret, borrowing them from the frame.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretBytes, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = SecretBytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<SecretBytes, E> {
                Ok(SecretBytes::copy_of(bytes))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<SecretBytes, A::Error> {
                Err(A::Error::custom("expected bytes"))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
