//! How a change reaches the store: conditional on a record, its audit row in the same commit, its outcome always known.

use crate::core::Core;
use crate::keys::cache::VersionId;
use crate::keys::rotation::rotation_due;
use crate::pool::Pool;
use crate::records::shapes::{Head, IndexRecord, ManagementRecord, OutboxRecord, RolesRecord};
use crate::records::{Stored, paths, random_id, store_error};
use std::sync::PoisonError;
use std::time::Duration;
use strongroom_model::KeyName;
use strongroom_model::audit::AuditRecord;
use strongroom_model::error::{Error, Result, Unavailable};
use strongroom_store::{Change, Condition, Revision, StoreError};

/// Attempts at one change before its caller hears that others were faster.
pub(crate) const ATTEMPTS: usize = 16;
/// Times that an unknown outcome is asked for.
const SETTLE_ATTEMPTS: usize = 5;
/// Pause between them.
const SETTLE_PAUSE: Duration = Duration::from_millis(200);

/// What came of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Committed {
    /// It holds, since this revision.
    At(Revision),
    /// It holds; the revision is not known.
    Settled,
    /// A condition did not hold: nothing was changed.
    Lost,
}

/// How a commit recognises its own success later.
pub(crate) enum Proof<'a> {
    /// The head at the path bears this commit id.
    Head(&'a [u8], [u8; 16]),
    /// The head that was to go has gone, or another object has taken its name.
    Gone(&'a [u8], [u8; 16]),
    /// The record of the role set bears this commit id.
    Roles(&'a [u8], [u8; 16]),
    /// The record of the management plane bears this commit id.
    Management(&'a [u8], [u8; 16]),
}

/// A change of a key as a whole.
#[derive(Clone)]
pub(crate) struct HeadChange<'a> {
    /// The pool.
    pub(crate) pool: &'a Pool,
    /// The key's name.
    pub(crate) name: &'a KeyName,
    /// Before; `None` when the name is free.
    pub(crate) before: Option<&'a Stored<Head>>,
    /// After; `None` for a purge.
    pub(crate) after: Option<&'a Head>,
    /// The version whose record is written, when there is one.
    pub(crate) version: Option<VersionId>,
    /// Further conditions.
    pub(crate) conditions: Vec<Condition>,
    /// Further changes.
    pub(crate) changes: Vec<Change>,
    /// What is audited.
    pub(crate) audit: AuditRecord,
}

impl Head {
    /// The head after a change, with a new generation and commit id; the caller changes the rest.
    pub(crate) fn next(&self) -> Self {
        Self { generation: self.generation.saturating_add(1), commit: random_id(), ..self.clone() }
    }
}

/// The rows of the indexes that go with a head.
fn index_rows(pool: &Pool, head: Option<&Head>) -> Vec<Vec<u8>> {
    let paths = &pool.live.paths;
    let Some(head) = head else { return Vec::new() };
    match &head.deleted {
        Some(d) => vec![paths.deleted_head(&head.name), paths.due(d.dates.scheduled_purge, &head.name)],
        None => rotation_due(head).map(|time| paths.due(time, &head.name)).into_iter().collect(),
    }
}

/// A row that is not copied yet; see [`Core::keep_row`].
struct KeptRow<'a> {
    core: &'a Core,
    row: Vec<u8>,
}

impl Drop for KeptRow<'_> {
    fn drop(&mut self) {
        self.core.unsettled.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.row);
    }
}

impl Core {
    /// Commits a change of a key; while it is under way nobody reads the name from the cache.
    pub(crate) async fn commit_key(&self, change: HeadChange<'_>) -> Result<Committed> {
        let HeadChange { pool, name, before, after, version, mut conditions, mut changes, audit } = change;
        let path = pool.live.paths.head(name);
        conditions.push(match before {
            Some(stored) => Condition::Unchanged(path.clone(), stored.revision),
            None => Condition::Absent(path.clone()),
        });
        changes.push(match after {
            Some(head) => self.records.put(path.clone(), head)?,
            None => Change::Delete(path.clone()),
        });
        let (old, new) = (index_rows(pool, before.map(|s| &s.value)), index_rows(pool, after));
        changes.extend(old.iter().filter(|row| !new.contains(row)).map(|row| Change::Delete(row.clone())));
        for row in new.iter().filter(|row| !old.contains(row)) {
            changes.push(self.records.put(row.clone(), &IndexRecord)?);
        }
        let proof = match (before, after) {
            (_, Some(head)) => Proof::Head(&path, head.commit),
            (Some(stored), None) => Proof::Gone(&path, stored.value.object),
            (None, None) => return Ok(Committed::Lost),
        };
        let _changing = pool.live.cache.change(name, version);
        self.commit_audited(conditions, changes, audit, proof).await
    }

    /// A row of the outbox, and its path.
    pub(crate) fn outbox_row(&self, audit: AuditRecord) -> Result<(Vec<u8>, Change)> {
        let row = paths::outbox_row(self.records.node);
        let change = self.records.put(row.clone(), &OutboxRecord(audit))?;
        Ok((row, change))
    }

    /// Commits a change and its audit row.
    pub(crate) async fn commit_audited(
        &self,
        conditions: Vec<Condition>,
        mut changes: Vec<Change>,
        audit: AuditRecord,
        proof: Proof<'_>,
    ) -> Result<Committed> {
        let (row, change) = self.outbox_row(audit)?;
        changes.push(change);
        let kept = self.keep_row(&row);
        let outcome = self.settled(conditions, changes, &row, proof).await;
        drop(kept);
        if matches!(outcome, Ok(Committed::At(_) | Committed::Settled)) {
            self.outbox_filled.notify_one();
        }
        outcome
    }

    /// Commits, and finds out what became of it.
    async fn settled(
        &self,
        conditions: Vec<Condition>,
        changes: Vec<Change>,
        row: &[u8],
        proof: Proof<'_>,
    ) -> Result<Committed> {
        let mut unknown = 0;
        loop {
            let outcome = match self.records.store.commit(conditions.clone(), changes.clone()).await {
                Ok(revision) => Committed::At(revision),
                Err(StoreError::Conflict) if unknown > 0 && self.applied(row, &proof).await? => Committed::Settled,
                Err(StoreError::Conflict) => Committed::Lost,
                Err(StoreError::Unknown) if self.applied(row, &proof).await? => Committed::Settled,
                // It may still take place. Asked again with the same conditions, one of the two at most does.
                Err(StoreError::Unknown) if unknown < SETTLE_ATTEMPTS => {
                    unknown += 1;
                    tokio::time::sleep(SETTLE_PAUSE).await;
                    continue;
                }
                Err(StoreError::Unknown) => return Err(Error::Unavailable(Unavailable::Store)),
                Err(error) => return Err(store_error(error)),
            };
            return Ok(outcome);
        }
    }

    /// Keeps the row of a commit where it is until its outcome stands: it is the proof that the commit took place, however
    /// often the record was changed since. Only a store that others use has unknown outcomes.
    fn keep_row(&self, row: &[u8]) -> Option<KeptRow<'_>> {
        self.records.node?;
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner).insert(row.to_vec());
        Some(KeptRow { core: self, row: row.to_vec() })
    }

    /// Whether a commit whose outcome is unknown took place: its audit row lies there, or the record bears its mark.
    async fn applied(&self, row: &[u8], proof: &Proof<'_>) -> Result<bool> {
        if self.records.store.get(row).await.map_err(store_error)?.is_some() {
            return Ok(true);
        }
        Ok(match proof {
            Proof::Head(path, commit) => {
                self.records.get::<Head>(path).await?.is_some_and(|s| s.value.commit == *commit)
            }
            Proof::Gone(path, object) => {
                self.records.get::<Head>(path).await?.is_none_or(|s| s.value.object != *object)
            }
            Proof::Roles(path, commit) => {
                self.records.get::<RolesRecord>(path).await?.is_some_and(|s| s.value.commit == *commit)
            }
            Proof::Management(path, commit) => {
                self.records.get::<ManagementRecord>(path).await?.is_some_and(|s| s.value.commit == *commit)
            }
        })
    }
}
