//! Soft delete, recovery and purge. They touch the head alone; what lies behind it is removed after a purge.

use super::{DeletedKeyBundle, Deletion, KeyBundle};
use crate::commit::{ATTEMPTS, Committed, HeadChange};
use crate::core::{Core, finish};
use crate::engine::Recorded;
use crate::jobs::SystemGrant;
use crate::pool::Pool;
use crate::records::shapes::{DeletedHead, Head, IndexRecord, PoolRecord};
use crate::records::{Stored, paths, store_error};
use strongroom_model::KeyName;
use strongroom_model::audit::AuditRecord;
use strongroom_model::clock::DAY;
use strongroom_model::error::{Conflict, Error, Forbidden, Internal, NotFound, Result};
use strongroom_store::{CHANGES_MAX, Change, Condition};

/// Who wants a key purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purge {
    /// A caller, before its time: refused under purge protection.
    Asked,
    /// The scheduler: done when both clocks say that the time has come.
    WhenDue,
}

fn deleted_key_not_found(name: &KeyName) -> Error {
    Error::NotFound(NotFound::DeletedKey(name.to_string()))
}

impl Core {
    /// See [`crate::Engine::delete_key`].
    pub(crate) async fn delete_key(&self, pool: &Pool, r: Recorded, name: KeyName) -> Result<DeletedKeyBundle> {
        self.check_changes_allowed()?;
        for _ in 0..ATTEMPTS {
            let _turn = pool.live.turn(&name).await;
            let before = self.stored_live_head(pool, &name).await?;
            let deleted = self.now();
            let retention = i64::from(pool.retention_days) * DAY;
            let dates = Deletion { deleted, scheduled_purge: deleted.plus(retention) };
            let mark = DeletedHead { dates, served: self.served_seconds() };
            let after = Head { deleted: Some(mark), ..before.value.next() };
            if let Some(key) = self.commit_deletion(pool, &r, &name, &before, &after).await? {
                return Ok(DeletedKeyBundle { key, deletion: dates });
            }
        }
        Err(Error::Conflict(Conflict::Concurrent))
    }

    /// See [`crate::Engine::recover_deleted_key`].
    pub(crate) async fn recover_deleted_key(&self, pool: &Pool, r: Recorded, name: KeyName) -> Result<KeyBundle> {
        self.check_changes_allowed()?;
        for _ in 0..ATTEMPTS {
            let _turn = pool.live.turn(&name).await;
            let (before, _) = self.deleted_head(pool, &name).await?;
            let after = Head { deleted: None, ..before.value.next() };
            if let Some(key) = self.commit_deletion(pool, &r, &name, &before, &after).await? {
                return Ok(key);
            }
        }
        Err(Error::Conflict(Conflict::Concurrent))
    }

    /// Commits a head that was deleted or recovered; the key it stands for, or `None` when somebody was faster.
    async fn commit_deletion(
        &self,
        pool: &Pool,
        r: &Recorded,
        name: &KeyName,
        before: &Stored<Head>,
        after: &Head,
    ) -> Result<Option<KeyBundle>> {
        let version = after.newest.version;
        let key = match self.stored_version(pool, after, version).await {
            Ok(record) => record.bundle(&after.name),
            // Another node purged the key since its head was read.
            Err(Error::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let change = HeadChange {
            pool,
            name,
            before: Some(before),
            after: Some(after),
            version: None,
            conditions: Vec::new(),
            changes: Vec::new(),
            audit: finish(r, format!("keys/{}/{version}", after.name)),
        };
        Ok((self.commit_key(change).await? != Committed::Lost).then_some(key))
    }

    async fn deleted_head(&self, pool: &Pool, name: &KeyName) -> Result<(Stored<Head>, DeletedHead)> {
        let Some(head) = self.stored_head(pool, name).await? else { return Err(deleted_key_not_found(name)) };
        let mark = head.value.deleted.ok_or_else(|| deleted_key_not_found(name))?;
        Ok((head, mark))
    }

    /// See [`crate::Engine::get_deleted_key`].
    pub(crate) async fn get_deleted_key(&self, pool: &Pool, name: &KeyName) -> Result<DeletedKeyBundle> {
        for _ in 0..ATTEMPTS {
            let (head, mark) = self.deleted_head(pool, name).await?;
            match self.stored_version(pool, &head.value, head.value.newest.version).await {
                Ok(version) => {
                    return Ok(DeletedKeyBundle { key: version.bundle(&head.value.name), deletion: mark.dates });
                }
                // Purged between the two reads: the next look at the head says so.
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(deleted_key_not_found(name))
    }

    /// Whether the wall clock and the served time both say that a deleted key's retention is over.
    fn is_due(&self, pool: &Pool, mark: &DeletedHead) -> bool {
        let retention = (i64::from(pool.retention_days) * DAY).unsigned_abs();
        let served = self.served_seconds().saturating_sub(mark.served);
        self.now() >= mark.dates.scheduled_purge && served >= retention
    }

    /// Purges a deleted key: first the head and the role assignments at its scope, then what lies behind it. `false` when the
    /// scheduler came too early.
    async fn purge_key(
        &self,
        pool: &Pool,
        name: &KeyName,
        why: Purge,
        audit: impl Fn(&Head) -> AuditRecord,
    ) -> Result<bool> {
        for _ in 0..ATTEMPTS {
            let _turn = pool.live.turn(name).await;
            let (before, mark) = self.deleted_head(pool, name).await?;
            let conditions = match why {
                Purge::Asked => vec![self.unprotected(pool).await?],
                Purge::WhenDue if !self.is_due(pool, &mark) => return Ok(false),
                Purge::WhenDue => Vec::new(),
            };
            let object = before.value.object;
            if self.commit_purge(pool, name, &before, conditions, audit(&before.value)).await? {
                if let Err(error) = self.remove_leftovers(pool, &object).await {
                    tracing::warn!(%error, "the versions of a purged key are still there: the scheduler removes them");
                }
                return Ok(true);
            }
        }
        Err(Error::Conflict(Conflict::Concurrent))
    }

    /// That the pool has no purge protection, also when another node turns it on before the commit.
    async fn unprotected(&self, pool: &Pool) -> Result<Condition> {
        let path = paths::pool(&pool.name);
        let stored = self.records.get::<PoolRecord>(&path).await?;
        let stored = stored.ok_or(Error::Internal(Internal::CorruptRecord))?;
        if stored.value.purge_protection || pool.purge_protection() {
            return Err(Error::Forbidden(Forbidden::PurgeProtected));
        }
        Ok(Condition::Unchanged(path, stored.revision))
    }

    async fn commit_purge(
        &self,
        pool: &Pool,
        name: &KeyName,
        before: &Stored<Head>,
        conditions: Vec<Condition>,
        audit: AuditRecord,
    ) -> Result<bool> {
        let leftovers = pool.live.paths.leftovers(&before.value.object);
        let change = HeadChange {
            pool,
            name,
            before: Some(before),
            after: None,
            version: None,
            conditions,
            changes: vec![self.records.put(leftovers, &IndexRecord)?],
            audit,
        };
        self.commit_with_assignments_removed(pool, name, change).await
    }

    /// Purges a deleted key whose time has come; `false` when it has not.
    pub(crate) async fn purge_if_due(&self, g: &SystemGrant) -> Result<bool> {
        let r = g.recorded(self.now());
        let audit = |head: &Head| finish(&r, format!("keys/{}", head.name));
        self.purge_key(g.pool(), g.name(), Purge::WhenDue, audit).await
    }

    /// See [`crate::Engine::purge_deleted_key`].
    pub(crate) async fn purge_deleted_key(&self, pool: &Pool, r: Recorded, name: KeyName) -> Result<()> {
        self.check_changes_allowed()?;
        self.purge_key(pool, &name, Purge::Asked, |head| finish(&r, format!("keys/{}", head.name))).await.map(|_| ())
    }

    /// Removes versions and counters of a purged key in bounded commits, then the note that they are to be removed.
    pub(crate) async fn remove_leftovers(&self, pool: &Pool, object: &[u8; 16]) -> Result<()> {
        let p = &pool.live.paths;
        for prefix in [p.versions(object), p.all_uses(object)] {
            let to = paths::end_of(&prefix);
            loop {
                let page = self.records.store.scan(&prefix, &to, CHANGES_MAX).await.map_err(store_error)?;
                if page.entries.is_empty() {
                    break;
                }
                let changes = page.entries.into_iter().map(|e| Change::Delete(e.path)).collect();
                self.records.store.commit(Vec::new(), changes).await.map_err(store_error)?;
            }
        }
        let note = vec![Change::Delete(p.leftovers(object))];
        self.records.store.commit(Vec::new(), note).await.map_err(store_error)?;
        Ok(())
    }
}
