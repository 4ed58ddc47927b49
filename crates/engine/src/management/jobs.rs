//! Scheduled work of the management plane: purge of what is due, removal of what a purge left behind.

use crate::core::Core;
use crate::jobs::system_recorded;
use crate::records::paths::PoolPaths;
use crate::records::shapes::{EpochRecord, PurgedRecord};
use crate::records::{paths, store_error};
use std::sync::Arc;
use strongroom_model::PoolId;
use strongroom_model::clock::DAY;
use strongroom_model::error::{Error, ManagementError, Result};
use strongroom_store::{CHANGES_MAX, Change, Condition};
use uuid::Uuid;

impl Core {
    /// One round; what fails is tried again in the next one.
    pub(crate) async fn visit_management(self: &Arc<Self>) {
        if let Err(error) = self.purge_due_resources().await {
            tracing::warn!(%error, "deleted resources that are due wait");
        }
        if let Err(error) = self.open_pools_with_work().await {
            tracing::warn!(%error, "managed HSMs in which something is due are not open");
        }
        if let Err(error) = self.collect_purged().await {
            tracing::warn!(%error, "leftovers of purged managed HSMs stay for now");
        }
    }

    /// Opens the pools that nobody has used yet since the start and in which something is due.
    async fn open_pools_with_work(self: &Arc<Self>) -> Result<()> {
        let set = self.management.set.load_full();
        for hsm in set.hsms.values().filter(|h| h.resource.deleted.is_none()) {
            let name = &hsm.resource.name;
            if self.pools.load().contains_key(name) {
                continue;
            }
            let Some(epoch) = self.records.get::<EpochRecord>(&paths::epoch(hsm.pool)).await? else { continue };
            let of_pool = PoolPaths::new(hsm.pool, epoch.value.0);
            let (from, to) = (of_pool.all_due(), of_pool.due_until(self.now()));
            let due = self.records.store.scan(&from, &to, 1).await.map_err(store_error)?;
            if !due.entries.is_empty() {
                self.opened_pool(name).await?;
            }
        }
        Ok(())
    }

    async fn purge_due_resources(&self) -> Result<()> {
        let set = self.management.set.load_full();
        let due_hsms = set.hsms.values().map(|h| &h.resource).filter(|x| self.resource_is_due(x));
        for resource in due_hsms {
            let r = system_recorded(self.now(), "purge", "ManagedHsmPurge", resource.name.as_str(), 202);
            gone_is_fine(self.purge_managed_hsm(r, resource.name.clone(), true).await)?;
        }
        let due_vaults = set.vaults.values().map(|v| &v.resource).filter(|x| self.resource_is_due(x));
        for resource in due_vaults {
            let r = system_recorded(self.now(), "purge", "VaultPurge", resource.name.as_str(), 202);
            gone_is_fine(self.purge_vault(r, resource.name.clone(), true).await)?;
        }
        Ok(())
    }

    /// Removes the records of purged pools in parts, and the notes of purges that were done a day ago.
    pub(crate) async fn collect_purged(&self) -> Result<()> {
        let to = paths::end_of(paths::PURGED);
        let mut from = paths::PURGED.to_vec();
        loop {
            let notes = self.records.scan::<PurgedRecord>(&from, &to, CHANGES_MAX).await?;
            for (path, note) in &notes.rows {
                match (note.value.pool, note.value.done) {
                    (Some(pool), None) => {
                        self.remove_pool_records(pool).await?;
                        let done = PurgedRecord { done: Some(self.now()), ..note.value.clone() };
                        let change = vec![self.records.put(path.clone(), &done)?];
                        let unchanged = vec![Condition::Unchanged(path.clone(), note.revision)];
                        self.records.store.commit(unchanged, change).await.map_err(store_error)?;
                    }
                    (_, Some(done)) if self.now() >= done.plus(DAY) => {
                        // What a request that was under way at the purge wrote behind it goes now at the latest.
                        if let Some(pool) = note.value.pool {
                            self.remove_pool_records(pool).await?;
                        }
                        let change = vec![Change::Delete(path.clone())];
                        self.records.store.commit(Vec::new(), change).await.map_err(store_error)?;
                    }
                    (None, None) | (_, Some(_)) => {}
                }
            }
            match notes.rows.last() {
                Some((last, _)) if notes.more => from = paths::after(last),
                Some(_) | None => return Ok(()),
            }
        }
    }

    async fn remove_pool_records(&self, pool: PoolId) -> Result<()> {
        let prefix = paths::all_of_pool(pool);
        let to = paths::end_of(&prefix);
        loop {
            let page = self.records.store.scan(&prefix, &to, CHANGES_MAX).await.map_err(store_error)?;
            if page.entries.is_empty() {
                return Ok(());
            }
            let changes = page.entries.into_iter().map(|e| Change::Delete(e.path)).collect();
            self.records.store.commit(Vec::new(), changes).await.map_err(store_error)?;
        }
    }

    /// How far the purge with this id has come; `None` when there was none, or it was done more than a day ago.
    pub(super) async fn purge_status(&self, id: Uuid) -> Result<Option<super::PurgeStatus>> {
        let note = self.records.get::<PurgedRecord>(&paths::purged(id)).await?;
        Ok(note.map(|n| match n.value.done {
            Some(_) => super::PurgeStatus::Done,
            None => super::PurgeStatus::UnderWay,
        }))
    }
}

/// A resource that was recovered or purged meanwhile is no failure.
fn gone_is_fine(result: Result<Uuid>) -> Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(Error::Management(reason)) if matches!(*reason, ManagementError::DeletedNotFound(..)) => Ok(()),
        Err(error) => Err(error),
    }
}
