//! What the partition demands of drafts and changes, whatever the service believes.

use strongroom_hsm::{Binding, HsmError, KeyDraft, KeyKind};
use strongroom_model::clock::Timestamp;
use strongroom_model::key::{KEY_OPS, KeyOp, KeyOps, KeySpec, Origin};
use strongroom_model::{KeyName, KeyVersion, PoolId, VaultId};

/// Name of the internal key that signs checkpoints: no request may make, change or use it.
const CHECKPOINT_KEY: &str = "checkpoints";

/// The binding of a pool's audit key: it permits no operation, only the partition itself signs with it.
pub(super) fn audit_binding(pool: PoolId, version: KeyVersion, now: Timestamp) -> Binding {
    let draft = KeyDraft {
        vault: VaultId::NONE,
        kind: KeyKind::Internal,
        name: CHECKPOINT_KEY.to_owned(),
        version,
        spec: KeySpec::EcP256,
        ops: KeyOps::NONE,
        enabled: true,
        not_before: None,
        expires: None,
    };
    draft.bind(pool, Origin::Generated, now)
}

/// Whether this is the key that signs checkpoints.
pub(super) fn is_audit_key(kind: KeyKind, name: &str) -> bool {
    kind == KeyKind::Internal && name == CHECKPOINT_KEY
}

/// Refuses a binding that no key may have: operations foreign to its type, `import` beside another, `nbf` not before `exp`,
/// a name outside the pattern or not in lower case.
pub(super) fn check(binding: &Binding) -> Result<(), HsmError> {
    let kty = binding.spec.kty();
    let foreign = |(op, _, types): &(KeyOp, &str, &[_])| binding.ops.contains(*op) && !types.contains(&kty);
    let import = KeyOps::NONE.with(KeyOp::Import);
    let mixed = binding.ops.contains(KeyOp::Import) && binding.ops != import;
    let dates = binding.not_before.zip(binding.expires).is_none_or(|(nbf, exp)| nbf < exp);
    let name = KeyName::parse(&binding.name).is_ok_and(|n| n.folded() == binding.name);
    let reserved = is_audit_key(binding.kind, &binding.name);
    if KEY_OPS.iter().any(foreign) || mixed || !dates || !name || reserved {
        return Err(HsmError::BindingRule);
    }
    Ok(())
}
