//! The binding: what a sealed key is tied to, as one canonical string of bytes (DESIGN 6).
//!
//! The operation set, validity, exportability and policy of a key are enforced inside the partition from here, whatever
//! the service believes.

use crate::error::HsmError;
use serde::{Deserialize, Serialize};
use strongroom_model::clock::Timestamp;
use strongroom_model::key::{KeyOp, KeyOps, KeySpec, Operation, Origin};
use strongroom_model::{KeyVersion, PoolId, VaultId};

/// What a sealed key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyKind {
    /// A customer's key.
    Customer = 1,
    /// A signing key of the product: issuer, private CA, audit.
    Internal = 2,
}

/// Everything a key blob is bound to. Its canonical encoding is the associated data of the sealed format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The pool; backups carry the domain id in its place.
    pub pool: PoolId,
    /// The vault, or [`VaultId::NONE`].
    pub vault: VaultId,
    /// What it is for.
    pub kind: KeyKind,
    /// The name in ASCII lower case.
    pub name: String,
    /// The version.
    pub version: KeyVersion,
    /// Key type with curve or size.
    pub spec: KeySpec,
    /// What it may do.
    pub ops: KeyOps,
    /// `attributes.enabled`.
    pub enabled: bool,
    /// `attributes.nbf`.
    pub not_before: Option<Timestamp>,
    /// `attributes.exp`.
    pub expires: Option<Timestamp>,
    /// `attributes.exportable`; never changes.
    pub exportable: bool,
    /// SHA-256 of the release policy.
    pub release_policy: Option<[u8; 32]>,
    /// Whether the release policy may never change.
    pub release_policy_immutable: bool,
    /// Where the key came from; never changes.
    pub origin: Origin,
    /// When it was made, by the partition's clock; never changes.
    pub created: Timestamp,
    /// SHA-256 of the public key's canonical encoding; `None` for symmetric keys.
    pub public_key: Option<[u8; 32]>,
    /// 1 at first, one more at each rebind.
    pub generation: u64,
}

/// What a caller decides about a new key; the partition adds pool, origin, time, public key and generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDraft {
    /// See [`Binding::vault`].
    pub vault: VaultId,
    /// See [`Binding::kind`].
    pub kind: KeyKind,
    /// See [`Binding::name`]; ASCII lower case.
    pub name: String,
    /// See [`Binding::version`].
    pub version: KeyVersion,
    /// See [`Binding::spec`].
    pub spec: KeySpec,
    /// See [`Binding::ops`].
    pub ops: KeyOps,
    /// See [`Binding::enabled`].
    pub enabled: bool,
    /// See [`Binding::not_before`].
    pub not_before: Option<Timestamp>,
    /// See [`Binding::expires`].
    pub expires: Option<Timestamp>,
}

impl KeyDraft {
    /// The binding of the key that this draft makes.
    pub fn bind(self, pool: PoolId, origin: Origin, created: Timestamp) -> Binding {
        Binding {
            pool,
            vault: self.vault,
            kind: self.kind,
            name: self.name,
            version: self.version,
            spec: self.spec,
            ops: self.ops,
            enabled: self.enabled,
            not_before: self.not_before,
            expires: self.expires,
            exportable: false,
            release_policy: None,
            release_policy_immutable: false,
            origin,
            created,
            public_key: None,
            generation: 1,
        }
    }
}

/// What a rebind may change; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebindChange {
    /// See [`Binding::enabled`].
    pub enabled: Option<bool>,
    /// See [`Binding::not_before`].
    pub not_before: Option<Timestamp>,
    /// See [`Binding::expires`].
    pub expires: Option<Timestamp>,
    /// See [`Binding::ops`].
    pub ops: Option<KeyOps>,
}

impl Binding {
    /// Names this version of this key whatever its generation: a hash of kind, vault, version and name.
    pub fn identity(&self) -> [u8; 32] {
        // Only the last part varies in length: no two keys give the same bytes.
        let fixed = [&[self.kind as u8], &self.vault.0.as_bytes()[..], &self.version.0].concat();
        crate::chain::sha256(&[&fixed, self.name.as_bytes()].concat())
    }

    /// The binding after a change: one generation later, everything but enabled, nbf, exp and ops as before.
    pub fn rebind(&self, change: &RebindChange) -> Result<Self, HsmError> {
        let mut next = self.clone();
        next.enabled = change.enabled.unwrap_or(self.enabled);
        next.not_before = change.not_before.or(self.not_before);
        next.expires = change.expires.or(self.expires);
        next.ops = change.ops.unwrap_or(self.ops);
        let import_touched = self.ops.contains(KeyOp::Import) || next.ops.contains(KeyOp::Import);
        if import_touched && next.ops != self.ops {
            return Err(HsmError::BindingRule);
        }
        next.generation = self.generation.checked_add(1).ok_or(HsmError::BindingRule)?;
        Ok(next)
    }

    /// Refuses `next` unless [`Binding::rebind`] could have made it of this binding: the provider's own check.
    pub fn may_become(&self, next: &Self) -> Result<(), HsmError> {
        let allowed = Self {
            enabled: next.enabled,
            not_before: next.not_before,
            expires: next.expires,
            ops: next.ops,
            generation: self.generation.checked_add(1).ok_or(HsmError::BindingRule)?,
            ..self.clone()
        };
        let change = RebindChange { ops: Some(next.ops), ..RebindChange::default() };
        self.rebind(&change)?;
        let dates_kept = self.not_before.is_none_or(|_| next.not_before.is_some())
            && self.expires.is_none_or(|_| next.expires.is_some());
        if allowed == *next && dates_kept { Ok(()) } else { Err(HsmError::BindingRule) }
    }

    /// Refuses an operation that the key's own rules forbid at `now` (behaviour notes, section 5).
    pub fn permits(&self, operation: Operation, now: Timestamp) -> Result<(), HsmError> {
        let row = operation.row();
        if !self.ops.contains(row.key_op) {
            return Err(HsmError::NotPermitted(operation));
        }
        if row.needs_enabled && !self.enabled {
            return Err(HsmError::Disabled(operation));
        }
        if row.needs_validity && self.not_before.is_some_and(|nbf| now < nbf) {
            return Err(HsmError::NotYetValid(operation));
        }
        if row.needs_validity && self.expires.is_some_and(|exp| now >= exp) {
            return Err(HsmError::Expired(operation));
        }
        Ok(())
    }
}
