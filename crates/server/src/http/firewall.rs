//! The firewall: whether a request may come from where it comes from. It is asked twice: for the origin before the token is
//! looked at, and for the caller when only trusted services pass.

use super::dispatch::{Door, Peer};
use std::sync::Arc;
use strongroom_model::Principal;
use strongroom_model::error::{Error, Forbidden, Result};
use strongroom_model::network::{Admission, CompiledPolicy, NetworkRefusal, Origin};

/// What the origin decided.
pub(super) enum Gate {
    /// It passes.
    Open,
    /// Trusted services pass, by the policy that was in force then.
    Trusted(Arc<CompiledPolicy>, NetworkRefusal),
}

impl Gate {
    /// Asks the policy in force for the origin of a request; an error when no caller could pass.
    pub(super) fn of(policy: &Arc<CompiledPolicy>, peer: &Peer) -> Result<Self> {
        match policy.admit(origin(peer)) {
            Admission::Passes => Ok(Self::Open),
            Admission::TrustedOnly(refusal) => Ok(Self::Trusted(Arc::clone(policy), refusal)),
            Admission::Refused(refusal) => Err(refused(refusal)),
        }
    }

    /// Lets a caller pass, or refuses it.
    pub(super) fn admit(&self, caller: &Principal) -> Result<()> {
        match self {
            Self::Open => Ok(()),
            Self::Trusted(policy, _) if policy.trusts(&caller.object_id) => Ok(()),
            Self::Trusted(_, refusal) => Err(refused(*refusal)),
        }
    }
}

pub(super) fn refused(refusal: NetworkRefusal) -> Error {
    Error::Forbidden(Forbidden::Network(refusal))
}

fn origin(peer: &Peer) -> Origin<'_> {
    match &peer.door {
        Door::Endpoint(endpoint) => Origin::Endpoint(&endpoint.name),
        // Public listeners have addresses; were there one without, nothing would pass there.
        Door::Tls | Door::ManagedIdentity => peer.address.ip().map_or(Origin::Endpoint(""), Origin::Public),
    }
}
