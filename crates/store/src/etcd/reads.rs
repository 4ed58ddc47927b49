//! Linearizable reads, of the present state and of a pinned one.

use std::sync::Arc;

use etcd_client::{GetOptions, KeyValue};
use tokio::runtime::Handle;

use super::layout::Place;
use super::{Shared, ended_by};
use crate::{Entry, Page, Pending, Revision, Snapshot, StoreError};

/// Records that one request reads, at most: 64 MiB when each is as large as a record may be.
const PART: usize = 128;
/// Times that a scan of the present state begins anew because its state was compacted away meanwhile.
const SCANS: usize = 3;

/// The state at one revision of the cluster.
pub(super) struct EtcdSnapshot {
    pub(super) shared: Arc<Shared>,
    pub(super) runtime: Handle,
    /// Of the last commit of this store.
    pub(super) revision: Revision,
    /// The cluster's at that time: others write to it, too.
    pub(super) at: i64,
}

impl Snapshot for EtcdSnapshot {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn get<'a>(&'a self, path: &'a [u8]) -> Pending<'a, Option<Entry>> {
        let (shared, path, at) = (Arc::clone(&self.shared), path.to_vec(), self.at);
        Box::pin(ended_by(self.runtime.spawn(async move { get(&shared, &path, Some(at)).await })))
    }

    fn scan<'a>(&'a self, from: &'a [u8], to: &'a [u8], limit: usize) -> Pending<'a, Page> {
        let (shared, from, to, at) = (Arc::clone(&self.shared), from.to_vec(), to.to_vec(), self.at);
        Box::pin(ended_by(self.runtime.spawn(async move { scan(&shared, &from, &to, limit, at).await })))
    }
}

/// The revision of a record as etcd counts it.
pub(super) fn revision(record: &KeyValue) -> Revision {
    Revision(u64::try_from(record.mod_revision()).unwrap_or(0))
}

fn entry(shared: &Shared, record: KeyValue) -> Result<Entry, StoreError> {
    let revision = revision(&record);
    let (key, value) = record.into_key_value();
    match shared.layout.place(&key) {
        Place::Record(path) => Ok(Entry { path: path.to_vec(), value, revision }),
        // What was not asked for.
        Place::Marker | Place::Foreign => Err(StoreError::Failed),
    }
}

/// The record at a path, at a revision of the cluster or now.
pub(super) async fn get(shared: &Shared, path: &[u8], at: Option<i64>) -> Result<Option<Entry>, StoreError> {
    let key = shared.layout.record(path);
    let options = GetOptions::new().with_revision(at.unwrap_or(0));
    let mut answer = shared.cluster.read(&key, options).await?;
    answer.take_kvs().pop().map(|record| entry(shared, record)).transpose()
}

/// At most `limit` records of `from..to`, as they are now.
pub(super) async fn scan_now(shared: &Shared, from: &[u8], to: &[u8], limit: usize) -> Result<Page, StoreError> {
    for _ in 1..SCANS {
        match scan(shared, from, to, limit, 0).await {
            Err(StoreError::Compacted) => {}
            outcome => return outcome,
        }
    }
    scan(shared, from, to, limit, 0).await
}

/// At most `limit` records of `from..to` at a revision of the cluster; 0 is the present one, for all parts.
async fn scan(shared: &Shared, from: &[u8], to: &[u8], limit: usize, mut at: i64) -> Result<Page, StoreError> {
    let mut page = Page::default();
    if from >= to {
        return Ok(page);
    }
    let (mut from, to) = (shared.layout.record(from), shared.layout.record(to));
    loop {
        // One more than is wanted tells whether there is more; to etcd 0 means all.
        let wanted = limit.saturating_sub(page.entries.len());
        let part = i64::try_from(wanted.clamp(1, PART)).unwrap_or(1);
        let options = GetOptions::new().with_range(to.clone()).with_limit(part).with_revision(at);
        let mut answer = shared.cluster.read(&from, options).await?;
        if at == 0 {
            at = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
        }
        let (records, more) = (answer.take_kvs(), answer.more());
        if wanted == 0 {
            page.more = !records.is_empty();
            return Ok(page);
        }
        if let Some(last) = records.last() {
            from = [last.key(), &[0]].concat();
        }
        for record in records {
            page.entries.push(entry(shared, record)?);
        }
        if !more || page.entries.len() >= limit {
            page.more = more;
            return Ok(page);
        }
    }
}
