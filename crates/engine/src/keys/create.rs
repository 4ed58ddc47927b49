//! New versions of keys: create, import, and what rotation shares with them.

use super::cache::VersionId;
use super::read::key_not_found;
use super::{AttributeChange, CreateKey, ImportKey, KeyBundle, Tags};
use crate::commit::{ATTEMPTS, Committed, HeadChange};
use crate::core::Core;
use crate::engine::Recorded;
use crate::pool::Pool;
use crate::records::shapes::{Head, Newest, VersionRecord};
use crate::records::{Stored, random_id};
use std::sync::Arc;
use strongroom_hsm::KeyMade;
use strongroom_hsm::binding::{KeyDraft, KeyKind};
use strongroom_hsm::verbs::KeyMaterial;
use strongroom_model::audit::{AuditRecord, ChangeStamp};
use strongroom_model::error::{BadParameter, Conflict, Error, Forbidden, Result};
use strongroom_model::key::KEY_OPS;
use strongroom_model::limits::{TAG_TEXT_MAX, TAGS_MAX, VERSIONS_PER_KEY_MAX};
use strongroom_model::{KeyName, KeyOp, KeyOps, KeySpec, KeyVersion, Timestamp, VaultId};

/// What the head must be for a new version to go onto it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Onto {
    /// A free name, or a live key.
    Name,
    /// A live key whose newest version is still this one, and enabled.
    Newest(KeyVersion),
    /// Exactly the head with this commit id; otherwise the change is off.
    Head([u8; 16]),
}

/// Refuses more or longer tags than the API allows.
pub(crate) fn check_tags(tags: &Tags) -> Result<()> {
    let too_long = |text: &String| text.chars().count() > TAG_TEXT_MAX;
    if tags.len() > TAGS_MAX {
        return Err(Error::BadParameter(BadParameter::Length { parameter: "tags", min: 0, max: TAGS_MAX }));
    }
    if tags.iter().any(|(name, value)| too_long(name) || too_long(value)) {
        return Err(Error::BadParameter(BadParameter::Length { parameter: "tags", min: 0, max: TAG_TEXT_MAX }));
    }
    Ok(())
}

/// Refuses a key that becomes valid when it is no longer.
pub(crate) fn check_validity(not_before: Option<Timestamp>, expires: Option<Timestamp>) -> Result<()> {
    match (not_before, expires) {
        (Some(nbf), Some(exp)) if nbf >= exp => Err(Error::BadParameter(BadParameter::ValidityOrder)),
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

/// Refuses operations that a key of this type cannot do, and `import` beside another one.
pub(crate) fn check_ops(ops: KeyOps, spec: KeySpec) -> Result<()> {
    let fits = |op: KeyOp| KEY_OPS.iter().any(|(o, _, types)| *o == op && types.contains(&spec.kty()));
    if !ops.iter().all(fits) {
        return Err(Error::BadParameter(BadParameter::Unsupported("key_ops")));
    }
    if ops.contains(KeyOp::Import) && ops.iter().count() > 1 {
        return Err(Error::BadParameter(BadParameter::ImportMixed));
    }
    Ok(())
}

/// A customer's key in a managed HSM; its version is random and never comes again.
pub(crate) fn draft(name: &KeyName, spec: KeySpec, ops: KeyOps) -> KeyDraft {
    KeyDraft {
        vault: VaultId::NONE,
        kind: KeyKind::Customer,
        name: name.folded(),
        version: KeyVersion(random_id()),
        spec,
        ops,
        enabled: true,
        not_before: None,
        expires: None,
    }
}

impl Core {
    /// See [`crate::Engine::create_key`].
    pub(crate) async fn create_key(
        self: &Arc<Self>,
        pool: &Pool,
        r: Recorded,
        name: KeyName,
        key: CreateKey,
    ) -> Result<KeyBundle> {
        let CreateKey { spec, ops, attributes, tags } = key;
        let draft = self.new_draft(pool, &name, spec, ops, attributes, &tags).await?;
        let made = pool.live.gateway.generate(draft, r.caller()).await?;
        self.add_made(pool, &r, &name, made, tags).await
    }

    /// See [`crate::Engine::import_key`].
    pub(crate) async fn import_key(
        self: &Arc<Self>,
        pool: &Pool,
        r: Recorded,
        name: KeyName,
        key: ImportKey,
        material: KeyMaterial,
    ) -> Result<KeyBundle> {
        let ImportKey { spec, ops, attributes, tags } = key;
        let draft = self.new_draft(pool, &name, spec, ops, attributes, &tags).await?;
        let made = pool.live.gateway.import(draft, material, r.caller()).await?;
        self.add_made(pool, &r, &name, made, tags).await
    }

    /// The draft of a new version, once everything is checked that can be refused before a key is made.
    async fn new_draft(
        &self,
        pool: &Pool,
        name: &KeyName,
        spec: KeySpec,
        ops: KeyOps,
        attributes: AttributeChange,
        tags: &Tags,
    ) -> Result<KeyDraft> {
        let AttributeChange { enabled, not_before, expires } = attributes;
        self.check_changes_allowed()?;
        check_tags(tags)?;
        check_ops(ops, spec)?;
        check_validity(not_before, expires)?;
        let head = self.stored_head(pool, name).await?;
        fits(head.as_ref(), Onto::Name, name)?;
        Ok(KeyDraft { enabled: enabled.unwrap_or(true), not_before, expires, ..draft(name, spec, ops) })
    }

    async fn add_made(
        self: &Arc<Self>,
        pool: &Pool,
        r: &Recorded,
        name: &KeyName,
        made: (KeyMade, ChangeStamp),
        tags: Tags,
    ) -> Result<KeyBundle> {
        match self.add_version(pool, r, name, made, tags, Onto::Name).await? {
            Some(bundle) => Ok(bundle),
            None => Err(Error::Conflict(Conflict::Concurrent)),
        }
    }

    /// Puts a version that the partition has made onto the head of its name; `None` when the head is another one now.
    pub(crate) async fn add_version(
        self: &Arc<Self>,
        pool: &Pool,
        r: &Recorded,
        name: &KeyName,
        (made, stamp): (KeyMade, ChangeStamp),
        tags: Tags,
        onto: Onto,
    ) -> Result<Option<KeyBundle>> {
        let version = VersionRecord { updated: made.blob.binding.created, blob: made.blob, public: made.public, tags };
        let chained = self.chained(r, format!("keys/{name}/{}", version.blob.binding.version), stamp);
        for _ in 0..ATTEMPTS {
            let _turn = pool.live.turn(name).await;
            let before = self.stored_head(pool, name).await?;
            if !fits(before.as_ref(), onto, name)? {
                return Ok(None);
            }
            let newest = Newest {
                version: version.blob.binding.version,
                attributes: version.attributes(),
                tags: version.tags.clone(),
            };
            let after = match &before {
                Some(stored) => {
                    Head { versions: stored.value.versions.saturating_add(1), newest, ..stored.value.next() }
                }
                None => first_head(name, newest),
            };
            let id: VersionId = (after.object, after.newest.version);
            let path = pool.live.paths.version(&id.0, id.1);
            let change = HeadChange {
                pool,
                name,
                before: before.as_ref(),
                after: Some(&after),
                version: Some(id),
                conditions: vec![strongroom_store::Condition::Absent(path.clone())],
                changes: vec![self.records.put(path, &version)?],
                audit: AuditRecord { object: format!("keys/{}/{}", after.name, id.1), ..chained.record(r) },
            };
            if self.commit_key(change).await? != Committed::Lost {
                chained.committed();
                return Ok(Some(version.bundle(&after.name)));
            }
        }
        Err(Error::Conflict(Conflict::Concurrent))
    }
}

fn first_head(name: &KeyName, newest: Newest) -> Head {
    Head {
        name: name.clone(),
        object: random_id(),
        generation: 1,
        commit: random_id(),
        versions: 1,
        newest,
        deleted: None,
        policy: None,
    }
}

/// Whether a new version can go onto a head; `false` when the head has moved on and the caller is to think again.
fn fits(head: Option<&Stored<Head>>, onto: Onto, name: &KeyName) -> Result<bool> {
    let Some(head) = head.map(|s| &s.value) else {
        return match onto {
            Onto::Name => Ok(true),
            Onto::Newest(_) => Err(key_not_found(name, None)),
            Onto::Head(_) => Ok(false),
        };
    };
    match onto {
        Onto::Name if head.deleted.is_some() => {
            return Err(Error::Conflict(Conflict::KeyDeleted(head.name.to_string())));
        }
        Onto::Newest(_) if head.deleted.is_some() => return Err(key_not_found(name, None)),
        Onto::Newest(version) if head.newest.version != version => return Ok(false),
        Onto::Newest(_) if !head.newest.attributes.enabled => return Err(Error::Forbidden(Forbidden::RotateDisabled)),
        Onto::Head(commit) if head.commit != commit => return Ok(false),
        Onto::Name | Onto::Newest(_) | Onto::Head(_) => {}
    }
    if head.versions >= VERSIONS_PER_KEY_MAX {
        return Err(Error::Forbidden(Forbidden::VersionsExhausted));
    }
    Ok(true)
}
