//! The outbox: audit records of changes, on their way from their commits into the log.

use crate::core::Core;
use crate::engine::OutboxRow;
use crate::records::shapes::OutboxRecord;
use crate::records::{SCAN_PART, paths, store_error};
use strongroom_model::error::Result;
use strongroom_store::{CHANGES_MAX, Change, Entry};

impl Core {
    /// See [`crate::Engine::outbox`].
    pub(crate) async fn outbox(&self, limit: usize) -> Result<Vec<OutboxRow>> {
        let (mut from, to) = (paths::OUTBOX.to_vec(), paths::end_of(paths::OUTBOX));
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
        let row = |entry: Entry| {
            let record = self.records.open::<OutboxRecord>(&entry.path, &entry.value)?.0;
            Ok(OutboxRow { path: entry.path, record })
        };
        oldest.into_iter().map(row).collect()
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
