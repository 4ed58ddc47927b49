//! The outbox: audit records of changes, on their way from their commits into the log.
//!
//! Where several nodes share the store, each copies its own rows: its log holds what its partitions chained. The rows of a
//! node that does not come any more are moved to another one: one commit, which one node alone can make.

use crate::core::Core;
use crate::engine::OutboxRow;
use crate::records::shapes::OutboxRecord;
use crate::records::{SCAN_PART, paths, store_error};
use std::sync::PoisonError;
use strongroom_model::clock::DAY;
use strongroom_model::error::Result;
use strongroom_store::{CHANGES_MAX, Change, Condition, Entry, StoreError};
use uuid::Uuid;

/// How old a row of another node is, in seconds, when this one takes it over. A node that copies late finds its chains with
/// a gap, so only one that is gone for good may lose its rows.
pub(crate) const TAKEN_OVER_AFTER: i64 = DAY;

impl Core {
    /// See [`crate::Engine::outbox`].
    pub(crate) async fn outbox(&self, limit: usize) -> Result<Vec<OutboxRow>> {
        let prefix = self.records.node.map_or_else(|| paths::OUTBOX.to_vec(), paths::outbox_of);
        let (mut from, to) = (prefix.clone(), paths::end_of(&prefix));
        let mut oldest: Vec<Entry> = Vec::new();
        let snapshot = self.records.store.snapshot().await.map_err(store_error)?;
        loop {
            let page = snapshot.scan(&from, &to, SCAN_PART).await.map_err(store_error)?;
            let next = page.entries.last().map(|e| paths::after(&e.path));
            oldest.extend(page.entries);
            if oldest.len() >= limit.saturating_mul(2) {
                oldest.sort_unstable_by_key(|e| e.revision);
                oldest.truncate(limit);
            }
            match next {
                Some(next) if page.more => from = next,
                Some(_) | None => break,
            }
        }
        oldest.sort_unstable_by_key(|e| e.revision);
        oldest.truncate(limit);
        // In order: what comes behind a row whose commit is in doubt waits with it.
        let doubtful = {
            let unsettled = self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
            oldest.iter().position(|row| unsettled.contains(&row.path))
        };
        oldest.truncate(doubtful.unwrap_or(limit));
        let row = |entry: Entry| {
            let record = self.records.open::<OutboxRecord>(&entry.path, &entry.value)?.0;
            Ok(OutboxRow { path: entry.path, record })
        };
        oldest.into_iter().map(row).collect()
    }

    /// Takes over the rows of nodes that have not come for a day.
    pub(crate) async fn take_over_rows(&self) -> Result<()> {
        let Some(node) = self.records.node else { return Ok(()) };
        let mine = paths::outbox_of(node);
        let (mut from, to) = (paths::OUTBOX.to_vec(), paths::end_of(paths::OUTBOX));
        loop {
            let page = self.records.store.scan(&from, &to, SCAN_PART).await.map_err(store_error)?;
            let Some(last) = page.entries.last() else { return Ok(()) };
            from = paths::after(&last.path);
            for row in page.entries.iter().filter(|row| !row.path.starts_with(&mine)) {
                self.take_over_row(row, node).await?;
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Makes a row of another node one of this node's when it is old enough, unless somebody was faster.
    async fn take_over_row(&self, row: &Entry, node: Uuid) -> Result<()> {
        let record = self.records.open::<OutboxRecord>(&row.path, &row.value)?;
        if record.0.time_ms / 1000 + TAKEN_OVER_AFTER > self.now().0 {
            return Ok(());
        }
        let put = self.records.put(paths::outbox_row(Some(node)), &record)?;
        let condition = Condition::Unchanged(row.path.clone(), row.revision);
        match self.records.store.commit(vec![condition], vec![put, Change::Delete(row.path.clone())]).await {
            Ok(_) => {
                tracing::warn!("an audit record that another node left in the store goes into this node's log");
                self.outbox_filled.notify_one();
                Ok(())
            }
            // After an unknown outcome too: the next round says where the row is.
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
