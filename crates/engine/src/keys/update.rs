//! Update: attributes, operations and tags of one version.

use super::create::{check_ops, check_tags, check_validity};
use super::{KeyBundle, UpdateKey};
use crate::commit::{ATTEMPTS, Committed, HeadChange};
use crate::core::{Core, finish};
use crate::engine::Recorded;
use crate::pool::Pool;
use crate::records::shapes::{Head, Newest, VersionRecord};
use std::sync::Arc;
use strongroom_hsm::{HsmError, RebindChange};
use strongroom_model::audit::ChangeStamp;
use strongroom_model::error::{BadParameter, Conflict, Error, Result};
use strongroom_model::{KeyName, KeyOp, KeyVersion};
use uuid::Uuid;

impl Core {
    /// See [`crate::Engine::update_key`].
    pub(crate) async fn update_key(
        self: &Arc<Self>,
        pool: &Pool,
        r: Recorded,
        name: KeyName,
        version: Option<KeyVersion>,
        change: UpdateKey,
    ) -> Result<KeyBundle> {
        self.check_changes_allowed()?;
        if let Some(tags) = &change.tags {
            check_tags(tags)?;
        }
        for _ in 0..ATTEMPTS {
            let _turn = pool.live.turn(&name).await;
            let before = self.stored_live_head(pool, &name).await?;
            let head = &before.value;
            let version = version.unwrap_or(head.newest.version);
            let record = self.stored_version(pool, head, version).await?;
            let Some((record, stamp)) = self.changed(pool, record, &change, r.caller()).await? else { continue };
            let object = format!("keys/{}/{version}", head.name);
            let chained = stamp.map(|stamp| self.chained(&r, object.clone(), stamp));
            let newest = if version == head.newest.version {
                Newest { version, attributes: record.attributes(), tags: record.tags.clone() }
            } else {
                head.newest.clone()
            };
            let after = Head { newest, ..head.next() };
            let commit = HeadChange {
                pool,
                name: &name,
                before: Some(&before),
                after: Some(&after),
                version: Some((head.object, version)),
                conditions: Vec::new(),
                changes: vec![self.records.put(pool.live.paths.version(&head.object, version), &record)?],
                audit: chained.as_ref().map_or_else(|| finish(&r, object), |chained| chained.record(&r)),
            };
            if self.commit_key(commit).await? != Committed::Lost {
                if let Some(chained) = chained {
                    chained.committed();
                }
                return Ok(record.bundle(&after.name));
            }
        }
        Err(Error::Conflict(Conflict::Concurrent))
    }

    /// The record after the change; the partition seals the key anew when its binding is touched. `None` when the record is
    /// an old one meanwhile.
    async fn changed(
        &self,
        pool: &Pool,
        record: VersionRecord,
        change: &UpdateKey,
        caller: Uuid,
    ) -> Result<Option<(VersionRecord, Option<ChangeStamp>)>> {
        let binding = &record.blob.binding;
        let asked = change.attributes;
        let rebind = RebindChange {
            enabled: asked.enabled.filter(|e| *e != binding.enabled),
            not_before: asked.not_before.filter(|t| Some(*t) != binding.not_before),
            expires: asked.expires.filter(|t| Some(*t) != binding.expires),
            ops: change.ops.filter(|o| *o != binding.ops),
        };
        check_validity(rebind.not_before.or(binding.not_before), rebind.expires.or(binding.expires))?;
        if let Some(ops) = rebind.ops {
            check_ops(ops, binding.spec)?;
            if ops.contains(KeyOp::Import) || binding.ops.contains(KeyOp::Import) {
                return Err(Error::BadParameter(BadParameter::ImportMixed));
            }
        }
        let updated = self.now().max(binding.created);
        let tags = change.tags.clone().unwrap_or_else(|| record.tags.clone());
        let (blob, stamp) = if rebind == RebindChange::default() {
            (record.blob, None)
        } else {
            match pool.live.gateway.rebind(Arc::new(record.blob), rebind, caller).await {
                // Another node has changed the key, and it was used since.
                Err(HsmError::StaleGeneration) => return Ok(None),
                rebound => rebound.map(|(blob, stamp)| (blob, Some(stamp)))?,
            }
        };
        Ok(Some((VersionRecord { blob, updated, tags, public: record.public }, stamp)))
    }
}
