//! Reading keys: heads and versions, from the cache where they are there.

use super::cache::{Version, VersionId};
use super::{Attributes, KeyBundle};
use crate::core::Core;
use crate::pool::Pool;
use crate::records::Stored;
use crate::records::shapes::{Head, VersionRecord};
use std::sync::Arc;
use strongroom_model::error::{Error, NotFound, Result};
use strongroom_model::{KeyName, KeyVersion};

/// The answer for a key that is not there, deleted, or has no such version.
pub(crate) fn key_not_found(name: &KeyName, version: Option<KeyVersion>) -> Error {
    Error::NotFound(NotFound::Key(version.map_or_else(|| name.to_string(), |v| format!("{name}/{v}"))))
}

impl VersionRecord {
    /// What lists show of it.
    pub(crate) fn attributes(&self) -> Attributes {
        let binding = &self.blob.binding;
        Attributes {
            enabled: binding.enabled,
            not_before: binding.not_before,
            expires: binding.expires,
            created: binding.created,
            updated: self.updated,
            exportable: binding.exportable,
        }
    }

    /// What callers get.
    pub(crate) fn bundle(&self, name: &KeyName) -> KeyBundle {
        let binding = &self.blob.binding;
        KeyBundle {
            name: name.clone(),
            version: binding.version,
            spec: binding.spec,
            ops: binding.ops,
            public: self.public.clone(),
            attributes: self.attributes(),
            tags: self.tags.clone(),
        }
    }
}

impl Core {
    /// The head of a name as the store has it.
    pub(crate) async fn stored_head(&self, pool: &Pool, name: &KeyName) -> Result<Option<Stored<Head>>> {
        self.records.get(&pool.live.paths.head(name)).await
    }

    /// The head of a live key as the store has it.
    pub(crate) async fn stored_live_head(&self, pool: &Pool, name: &KeyName) -> Result<Stored<Head>> {
        let head = self.stored_head(pool, name).await?;
        head.filter(|h| h.value.deleted.is_none()).ok_or_else(|| key_not_found(name, None))
    }

    /// The record of one version as the store has it.
    pub(crate) async fn stored_version(&self, pool: &Pool, head: &Head, version: KeyVersion) -> Result<VersionRecord> {
        let stored = self.records.get(&pool.live.paths.version(&head.object, version)).await?;
        stored.map(|s| s.value).ok_or_else(|| key_not_found(&head.name, Some(version)))
    }

    async fn read_head(&self, pool: &Pool, name: &KeyName) -> Result<Option<Arc<Head>>> {
        let ticket = pool.live.cache.ticket(name);
        let Some(stored) = self.stored_head(pool, name).await? else { return Ok(None) };
        let head = Arc::new(stored.value);
        pool.live.cache.keep_head(ticket, &head);
        Ok(Some(head))
    }

    async fn read_version(&self, pool: &Pool, head: &Head, id: VersionId) -> Result<Arc<Version>> {
        let ticket = pool.live.cache.ticket(&head.name);
        let record = self.stored_version(pool, head, id.1).await?;
        let bundle = Arc::new(record.bundle(&head.name));
        let version = Arc::new(Version { bundle, blob: Arc::new(record.blob) });
        pool.live.cache.keep_version(ticket, id, &version);
        Ok(version)
    }

    /// The head of a live key.
    pub(crate) async fn live_head(&self, pool: &Pool, name: &KeyName) -> Result<Arc<Head>> {
        let head = match pool.live.cache.head(name) {
            Some(head) => Some(head),
            None => self.read_head(pool, name).await?,
        };
        head.filter(|h| h.deleted.is_none()).ok_or_else(|| key_not_found(name, None))
    }

    /// A version of a live key, the newest when none is named.
    pub(crate) async fn live_version(
        &self,
        pool: &Pool,
        name: &KeyName,
        version: Option<KeyVersion>,
    ) -> Result<(VersionId, Arc<Version>)> {
        let head = self.live_head(pool, name).await?;
        let id = (head.object, version.unwrap_or(head.newest.version));
        match pool.live.cache.version(&id) {
            Some(version) => Ok((id, version)),
            None => Ok((id, self.read_version(pool, &head, id).await?)),
        }
    }
}
