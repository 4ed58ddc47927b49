//! Several nodes on one store: who this node is, and whether what it keeps in memory is current.
//!
//! A node that shares its store proves twice a second, by a linearizable read of the store's revision and a watch that has
//! told everything up to it, that it has taken in what the others did. Two seconds after the last proof it stops.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use strongroom_model::DataAction;
use strongroom_model::error::{Error, Result, Unavailable};
use uuid::Uuid;

/// How often the proof is begun.
pub(crate) const PROOF_PERIOD: Duration = Duration::from_millis(500);
/// How long it holds, from its beginning.
pub const PROOF_HOLDS: Duration = Duration::from_secs(2);

/// Who uses the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// This engine alone.
    Alone,
    /// Several nodes, each with an id of its own.
    Node {
        /// This one; the same after a restart.
        id: Uuid,
        /// What it does while it cannot prove that what it keeps in memory is current.
        without_proof: WithoutProof,
    },
}

/// See [`Sharing::Node`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutProof {
    /// Refuses everything.
    Refuse,
    /// Goes on with cryptographic operations, under the keys and roles that it last knew of, and refuses the rest.
    Cryptography,
}

/// Whether what is kept in memory is current.
pub(crate) struct Currency {
    sharing: Sharing,
    /// When the last proof was begun, in milliseconds of [`now`]; 0 before the first.
    proved: AtomicU64,
}

/// Milliseconds since the machine was started, and the time that it slept: what was proved before a sleep is old.
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let millis = Duration::try_from(time).map_or(0, |since| since.as_millis());
    u64::try_from(millis).unwrap_or(u64::MAX)
}

impl Sharing {
    /// The node's id, where it shares its store.
    pub(crate) fn node(self) -> Option<Uuid> {
        match self {
            Self::Alone => None,
            Self::Node { id, .. } => Some(id),
        }
    }
}

impl Currency {
    pub(crate) fn new(sharing: Sharing) -> Self {
        Self { sharing, proved: AtomicU64::new(0) }
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.sharing != Sharing::Alone
    }

    /// Everything that was in the store at this time of [`now`] has been taken in.
    pub(crate) fn prove(&self, at: u64) {
        self.proved.fetch_max(at, Ordering::AcqRel);
    }

    /// What is done without a proof; `None` while there is one, and where none is needed.
    pub(crate) fn unproved(&self) -> Option<WithoutProof> {
        let Sharing::Node { without_proof, .. } = self.sharing else { return None };
        let proved = self.proved.load(Ordering::Acquire);
        let holds = proved > 0 && now().saturating_sub(proved) < PROOF_HOLDS.as_millis() as u64;
        (!holds).then_some(without_proof)
    }

    /// Refuses what this node must not do now.
    pub(crate) fn check(&self, action: DataAction) -> Result<()> {
        match self.unproved() {
            None => Ok(()),
            Some(WithoutProof::Cryptography) if is_cryptographic(action) => self.once_known(),
            Some(WithoutProof::Cryptography | WithoutProof::Refuse) => Err(Error::Unavailable(Unavailable::Unproved)),
        }
    }

    /// Before its first proof a node knows nothing that it could go on with.
    fn once_known(&self) -> Result<()> {
        if self.proved.load(Ordering::Acquire) > 0 { Ok(()) } else { Err(Error::Unavailable(Unavailable::Unproved)) }
    }
}

/// Whether an action uses a key and does nothing else.
fn is_cryptographic(action: DataAction) -> bool {
    const CRYPTOGRAPHIC: [DataAction; 7] = [
        DataAction::KeysEncrypt,
        DataAction::KeysDecrypt,
        DataAction::KeysWrap,
        DataAction::KeysUnwrap,
        DataAction::KeysSign,
        DataAction::KeysVerify,
        DataAction::Rng,
    ];
    CRYPTOGRAPHIC.contains(&action)
}
