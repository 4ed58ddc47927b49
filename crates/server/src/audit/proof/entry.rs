//! What a line says of the use chains, taken apart: everything that its hash was made of is in the record.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use strongroom_hsm::verbs::{Checkpoint, Named, Opening};
use strongroom_hsm::{Act, Entry, KeyKind, PublicKey};
use strongroom_model::audit::KeyChange;
use strongroom_model::{Curve, KeyName, KeyVersion, Operation, PoolId, Timestamp, VaultId};
use uuid::Uuid;

/// The operations of records of uses, and what they do with the key.
const USES: &[(&str, Operation)] = &[
    ("KeyEncrypt", Operation::Encrypt),
    ("KeyDecrypt", Operation::Decrypt),
    ("KeySign", Operation::Sign),
    ("KeyVerify", Operation::Verify),
    ("KeyWrap", Operation::WrapKey),
    ("KeyUnwrap", Operation::UnwrapKey),
];

/// The members of a line that are looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::audit) struct SeenLine {
    pub(in crate::audit) kind: Option<String>,
    pub(in crate::audit) outbox: Option<String>,
    pub(in crate::audit) head: Option<SeenHead>,
    #[serde(rename = "use")]
    pub(super) use_: Option<SeenPlace>,
    pub(super) change: Option<SeenPlace>,
    pub(super) opening: Option<SeenOpening>,
    pub(in crate::audit) checkpoint: Option<SeenCheckpoint>,
    operation_name: Option<String>,
    id: Option<String>,
    identity: Option<String>,
}

#[derive(Deserialize)]
pub(in crate::audit) struct SeenHead {
    pub(in crate::audit) sequence: u64,
    pub(in crate::audit) hash: String,
    pub(in crate::audit) signature: String,
    pub(in crate::audit) key: SeenKey,
}

#[derive(Deserialize, Clone, PartialEq, Eq)]
pub(in crate::audit) struct SeenKey {
    pub(in crate::audit) x: String,
    pub(in crate::audit) y: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SeenPlace {
    chain: String,
    sequence: u64,
    hash: String,
    time: i64,
    generation: u64,
    key: Option<String>,
    verb: Option<String>,
    binding: Option<String>,
    up_to: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SeenOpening {
    pool: Uuid,
    pub(super) pool_name: String,
    time: i64,
    key: Option<SeenKey>,
    previous: Option<String>,
    chains: Vec<String>,
    checkpoints: Vec<SeenState>,
    signature: String,
    pub(super) again: bool,
}

#[derive(Deserialize)]
struct SeenState {
    chain: String,
    sequence: u64,
    hash: String,
}

#[derive(Deserialize)]
pub(in crate::audit) struct SeenCheckpoint {
    pool: Uuid,
    chain: String,
    sequence: u64,
    hash: String,
    time: i64,
    signature: String,
}

/// An entry as its record has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordedEntry {
    pub(super) chain: [u8; 16],
    pub(super) sequence: u64,
    pub(super) time: Timestamp,
    caller: Uuid,
    kind: KeyKind,
    version: KeyVersion,
    generation: u64,
    act: Act,
    name: String,
    /// The hash that the record states.
    pub(super) hash: [u8; 32],
}

impl RecordedEntry {
    /// The hash that its fields give behind `last`.
    pub(super) fn hash_after(&self, last: &[u8; 32]) -> [u8; 32] {
        let entry = Entry {
            chain: self.chain,
            sequence: self.sequence,
            time: self.time,
            caller: self.caller,
            kind: self.kind,
            vault: VaultId::NONE,
            version: self.version,
            generation: self.generation,
            act: self.act,
            name: &self.name,
        };
        entry.hash_after(last)
    }
}

impl SeenLine {
    /// The entry of a use chain that this line shows; `None` inside when the record does not make one.
    pub(super) fn entry(&self) -> Option<Option<RecordedEntry>> {
        match (&self.use_, &self.change) {
            (None, None) => None,
            (Some(place), None) => Some(self.use_of(place)),
            (None, Some(place)) => Some(self.change_of(place)),
            (Some(_), Some(_)) => Some(None),
        }
    }

    /// A use: of a key of the product, which is named beside it, or of the record's own object.
    fn use_of(&self, place: &SeenPlace) -> Option<RecordedEntry> {
        if let Some(key) = &place.key {
            return made(place, key, Uuid::nil(), Act::Use(Operation::Sign));
        }
        let name = self.operation_name.as_deref()?;
        let operation = USES.iter().find(|(known, _)| *known == name)?.1;
        made(place, self.id.as_deref()?, self.caller()?, Act::Use(operation))
    }

    fn change_of(&self, place: &SeenPlace) -> Option<RecordedEntry> {
        let binding = place.binding.as_deref().map(hex_of::<32>);
        let change = match (place.verb.as_deref()?, binding, place.up_to) {
            ("generate", Some(binding), None) => KeyChange::Generate(binding?),
            ("import", Some(binding), None) => KeyChange::Import(binding?),
            ("rebind", Some(binding), None) => KeyChange::Rebind(binding?),
            ("reserve", None, Some(up_to)) => KeyChange::Reserve(up_to),
            (_, Some(_) | None, Some(_) | None) => return None,
        };
        made(place, self.id.as_deref()?, self.caller()?, Act::Change(change))
    }

    /// The caller's object id, nil where there is none.
    fn caller(&self) -> Option<Uuid> {
        #[derive(Deserialize)]
        struct Identity {
            claim: Option<Claim>,
        }
        #[derive(Deserialize)]
        struct Claim {
            #[serde(rename = "http://schemas.microsoft.com/identity/claims/objectidentifier")]
            object_id: Option<Uuid>,
        }
        let identity: Identity = serde_json::from_str(self.identity.as_deref()?).ok()?;
        Some(identity.claim.and_then(|claim| claim.object_id).unwrap_or_default())
    }
}

fn made(place: &SeenPlace, object: &str, caller: Uuid, act: Act) -> Option<RecordedEntry> {
    let mut parts = object.split('/');
    let kind = match parts.next()? {
        "keys" => KeyKind::Customer,
        "systemkeys" => KeyKind::Internal,
        _ => return None,
    };
    let name = KeyName::parse(parts.next()?).ok()?.folded();
    let version = KeyVersion(hex_of(parts.next()?)?);
    Some(RecordedEntry {
        chain: hex_of(&place.chain)?,
        sequence: place.sequence,
        time: Timestamp(place.time),
        caller,
        kind,
        version,
        generation: place.generation,
        act,
        name,
        hash: hex_of(&place.hash)?,
    })
    .filter(|_| parts.next().is_none())
}

impl SeenOpening {
    pub(super) fn parsed(&self) -> Option<Opening> {
        let key = self.key.as_ref()?;
        let state =
            |s: &SeenState| Some(Named { chain: hex_of(&s.chain)?, sequence: s.sequence, hash: hex_of(&s.hash)? });
        Some(Opening {
            pool: PoolId(self.pool),
            time: Timestamp(self.time),
            audit_key: PublicKey::Ec { curve: Curve::P256, x: decoded(&key.x)?, y: decoded(&key.y)? },
            previous: match &self.previous {
                Some(text) => Some(hex_of(text)?),
                None => None,
            },
            chains: self.chains.iter().map(|c| hex_of(c)).collect::<Option<_>>()?,
            checkpoints: self.checkpoints.iter().map(state).collect::<Option<_>>()?,
            signature: decoded(&self.signature)?,
        })
    }
}

impl SeenCheckpoint {
    pub(super) fn parsed(&self) -> Option<Checkpoint> {
        Some(Checkpoint {
            pool: PoolId(self.pool),
            chain: hex_of(&self.chain)?,
            sequence: self.sequence,
            hash: hex_of(&self.hash)?,
            time: Timestamp(self.time),
            signature: decoded(&self.signature)?,
        })
    }
}

fn hex_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok().map(|()| bytes)
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::route::HSM_ROUTES;

    #[test]
    fn every_use_of_a_key_is_an_operation_of_a_route() {
        for row in strongroom_model::key::OPERATIONS {
            let name = USES.iter().find(|(_, operation)| *operation == row.operation).map(|(name, _)| *name);
            assert!(HSM_ROUTES.iter().any(|route| Some(route.log_name) == name), "{}", row.name);
        }
    }
}
