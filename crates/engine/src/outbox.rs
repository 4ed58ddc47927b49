//! The outbox: audit records of changes, on their way from their commits into the log.
//!
//! Where several nodes share the store, each copies its own rows. Those of a node that does not come any more are moved to
//! another one: one commit, which one node alone can make.

use crate::core::Core;
use crate::engine::OutboxRow;
use crate::records::shapes::OutboxRecord;
use crate::records::{SCAN_PART, paths, store_error};
use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use strongroom_model::error::Result;
use strongroom_store::{CHANGES_MAX, Change, Condition, Entry, StoreError};
use uuid::Uuid;

/// How long a row of another node lies there before this one takes it over: longer than its own commit can be in doubt.
pub(crate) const TAKEN_OVER_AFTER: Duration = Duration::from_secs(120);

impl Core {
    /// See [`crate::Engine::outbox`].
    pub(crate) async fn outbox(&self, limit: usize) -> Result<Vec<OutboxRow>> {
        let mut oldest = self.all_rows(limit).await?;
        if let Some(node) = self.records.node {
            oldest = self.of_this_node(oldest, node).await?;
            // In order: what comes behind a row whose commit is in doubt waits with it.
            let doubtful = |row: &Entry, unsettled: &HashSet<Vec<u8>>| unsettled.contains(&row.path);
            let unsettled = self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
            let settled = oldest.iter().position(|row| doubtful(row, &unsettled)).unwrap_or(oldest.len());
            oldest.truncate(settled);
        }
        oldest.truncate(limit);
        let row = |entry: Entry| {
            let record = self.records.open::<OutboxRecord>(&entry.path, &entry.value)?.0;
            Ok(OutboxRow { path: entry.path, record })
        };
        oldest.into_iter().map(row).collect()
    }

    /// The oldest rows, in the order of their commits: so many, or all where some belong to other nodes.
    async fn all_rows(&self, limit: usize) -> Result<Vec<Entry>> {
        let (mut from, to) = (paths::OUTBOX.to_vec(), paths::end_of(paths::OUTBOX));
        let mut oldest: Vec<Entry> = Vec::new();
        let snapshot = self.records.store.snapshot().await.map_err(store_error)?;
        loop {
            let page = snapshot.scan(&from, &to, SCAN_PART).await.map_err(store_error)?;
            let next = page.entries.last().map(|e| paths::after(&e.path));
            oldest.extend(page.entries);
            // Where others have rows as well, all are looked at.
            if self.records.node.is_none() && oldest.len() >= limit.saturating_mul(2) {
                oldest.sort_unstable_by_key(|e| e.revision);
                oldest.truncate(limit);
            }
            match next {
                Some(next) if page.more => from = next,
                Some(_) | None => break,
            }
        }
        oldest.sort_unstable_by_key(|e| e.revision);
        Ok(oldest)
    }

    /// The rows of this node; those of others are taken over when they have lain there too long.
    async fn of_this_node(&self, rows: Vec<Entry>, node: Uuid) -> Result<Vec<Entry>> {
        let prefix = paths::outbox_of(node);
        let (mine, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.path.starts_with(&prefix));
        for row in self.abandoned(&others) {
            self.take_over_row(row, node).await?;
        }
        Ok(mine)
    }

    /// Which rows of other nodes this node has seen for too long.
    fn abandoned<'a>(&self, others: &'a [Entry]) -> Vec<&'a Entry> {
        let mut known = self.others_rows.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let seen: HashMap<Vec<u8>, Instant> =
            others.iter().map(|row| (row.path.clone(), known.get(&row.path).copied().unwrap_or(now))).collect();
        *known = seen;
        others.iter().filter(|row| known.get(&row.path).is_some_and(|at| at.elapsed() >= TAKEN_OVER_AFTER)).collect()
    }

    /// Makes a row of another node one of this node's, unless somebody was faster.
    async fn take_over_row(&self, row: &Entry, node: Uuid) -> Result<()> {
        let record = self.records.open::<OutboxRecord>(&row.path, &row.value)?;
        let put = self.records.put(paths::outbox_row(Some(node)), &record)?;
        let condition = Condition::Unchanged(row.path.clone(), row.revision);
        match self.records.store.commit(vec![condition], vec![put, Change::Delete(row.path.clone())]).await {
            Ok(_) => {
                tracing::warn!("an audit record that another node left in the store goes into this node's log");
                self.outbox_filled.notify_one();
                Ok(())
            }
            // After an unknown outcome too: the next look says where the row is.
            Err(StoreError::Conflict | StoreError::Unknown) => Ok(()),
            Err(error) => Err(store_error(error)),
        }
    }

    /// See [`crate::Engine::remove_from_outbox`].
    pub(crate) async fn remove_from_outbox(&self, rows: &[OutboxRow]) -> Result<()> {
        let parts = rows.chunks(CHANGES_MAX).map(|part| {
            // Only rows of the outbox: a caller's mistake removes nothing else.
            let paths = part.iter().map(|r| &r.path).filter(|p| p.starts_with(paths::OUTBOX));
            let changes: Vec<Change> = paths.map(|p| Change::Delete(p.clone())).collect();
            self.records.store.commit(Vec::new(), changes)
        });
        // All are on their way before the first one is waited for: they share syncs.
        let under_way: Vec<_> = parts.collect();
        for part in under_way {
            part.await.map_err(store_error)?;
        }
        Ok(())
    }
}
