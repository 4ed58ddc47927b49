//! The store on an etcd cluster, for several nodes at once.
//!
//! Every commit writes one more record, the *marker*, beside its changes. So each commit has a revision of its own, the
//! marker's version counts the commits without a gap, and a watch that has told the marker's present revision has told
//! everything: no progress notification of etcd is believed, which some versions send too early.
//!
//! A commit whose answer does not come is [`StoreError::Unknown`] and is never sent twice: whoever began it looks at what
//! it was to write. What a client of ours sends late (a paused process, a slow network) is refused by its conditions.

mod cluster;
mod follow;
mod layout;
mod reads;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, Txn, TxnOp};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use cluster::{Cluster, Sent};
pub use cluster::{OpenError, Options};
use layout::Layout;
use reads::EtcdSnapshot;

use crate::history::History;
use crate::{Change, Condition, Entry, Page, Pending, Revision, Snapshot, Store, StoreError, Watch, limits};

/// How long an acknowledgement waits for this node's own watch. A node whose watch is behind for longer cannot prove that
/// its caches are current, which is noticed elsewhere.
const PUBLISH_TIME: Duration = Duration::from_secs(1);
/// How long the end of the store waits for commits that were begun.
const END_TIME: Duration = Duration::from_secs(5);
/// The mod_revision that no record has.
const NEVER: i64 = -1;

/// A store on an etcd cluster. Dropping it ends the commits begun, within five seconds.
pub struct EtcdStore {
    shared: Arc<Shared>,
    runtime: Handle,
    /// Held by each commit under way.
    under_way: Option<mpsc::Sender<()>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the tasks of the store work on.
struct Shared {
    cluster: Cluster,
    layout: Layout,
    history: Arc<History>,
}

impl EtcdStore {
    /// Connects to the cluster, and waits until one member answers with a quorum behind it.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let layout = Layout::new(&options.prefix)?;
        let (opened, outcome) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let (under_way, mut ended) = mpsc::channel(1);
        let thread = std::thread::Builder::new().name("store-etcd".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(opened.send(Err(OpenError::Thread(error)))),
            };
            runtime.block_on(async {
                let ready = start(&options, layout).await;
                let failed = ready.is_err();
                let handle = Handle::current();
                if opened.send(ready.map(|shared| (shared, handle))).is_err() || failed {
                    return;
                }
                // Nothing is sent: it ends with the store, and so does the other when the last commit has ended.
                let _dropped = stopped.await;
                let _late = tokio::time::timeout(END_TIME, ended.recv()).await;
            });
        });
        let thread = thread.map_err(OpenError::Thread)?;
        let (shared, runtime) = outcome.recv().unwrap_or(Err(OpenError::Ended))?;
        Ok(Self { shared, runtime, under_way: Some(under_way), stop: Some(stop), thread: Some(thread) })
    }

    /// Runs on the store's own thread, whatever runtime waits for it, or whether any does.
    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Pending<'static, T> {
        Box::pin(ended_by(self.runtime.spawn(work)))
    }
}

/// What came of a task of the store's thread.
async fn ended_by<T>(task: tokio::task::JoinHandle<Result<T, StoreError>>) -> Result<T, StoreError> {
    task.await.unwrap_or_else(|error| Err(if error.is_panic() { StoreError::Failed } else { StoreError::Closed }))
}

async fn start(options: &Options, layout: Layout) -> Result<Arc<Shared>, OpenError> {
    let cluster = Cluster::connect(options).await?;
    let (position, revision) = follow::present(&cluster, &layout).await.map_err(|error| cluster.refusal(error))?;
    let history = History::new(revision);
    let shared = Arc::new(Shared { cluster, layout, history });
    tokio::spawn(follow::run(Arc::clone(&shared), position));
    Ok(shared)
}

impl Drop for EtcdStore {
    fn drop(&mut self) {
        drop((self.under_way.take(), self.stop.take()));
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's thread died");
        }
        self.shared.history.end(StoreError::Closed);
    }
}

impl Store for EtcdStore {
    fn get<'a>(&'a self, path: &'a [u8]) -> Pending<'a, Option<Entry>> {
        let (shared, path) = (Arc::clone(&self.shared), path.to_vec());
        self.run(async move { reads::get(&shared, &path, None).await })
    }

    fn scan<'a>(&'a self, from: &'a [u8], to: &'a [u8], limit: usize) -> Pending<'a, Page> {
        let (shared, from, to) = (Arc::clone(&self.shared), from.to_vec(), to.to_vec());
        self.run(async move { reads::scan_now(&shared, &from, &to, limit).await })
    }

    fn snapshot(&self) -> Pending<'_, Box<dyn Snapshot>> {
        let (shared, runtime) = (Arc::clone(&self.shared), self.runtime.clone());
        self.run(async move {
            let (position, revision) = follow::present(&shared.cluster, &shared.layout).await?;
            shared.cluster.expect(revision);
            let snapshot: Box<dyn Snapshot> = Box::new(EtcdSnapshot { shared, runtime, revision, at: position.at });
            Ok(snapshot)
        })
    }

    fn commit(&self, conditions: Vec<Condition>, changes: Vec<Change>) -> Pending<'_, Revision> {
        if let Err(error) = limits::check(&conditions, &changes) {
            return Box::pin(std::future::ready(Err(error)));
        }
        let (shared, under_way) = (Arc::clone(&self.shared), self.under_way.clone());
        // Begun before the future is polled, so dropping it changes nothing.
        self.run(async move {
            let outcome = commit(&shared, &conditions, changes).await;
            drop(under_way);
            outcome
        })
    }

    fn watch(&self, prefix: &[u8], since: Revision) -> Pending<'_, Box<dyn Watch>> {
        Box::pin(std::future::ready(self.shared.history.watch(prefix, since)))
    }
}

async fn commit(shared: &Shared, conditions: &[Condition], changes: Vec<Change>) -> Result<Revision, StoreError> {
    let transaction = transaction(&shared.layout, conditions, changes);
    match shared.cluster.send(transaction).await? {
        Sent::Done(revision) => {
            shared.cluster.expect(revision);
            let published = tokio::time::timeout(PUBLISH_TIME, shared.history.reached(revision)).await;
            if published.is_err() {
                tracing::debug!(revision = revision.0, "a commit is acknowledged before the watch has told it");
            }
            Ok(revision)
        }
        Sent::Refused => Err(StoreError::Conflict),
    }
}

/// The changes and the marker, if all conditions hold.
fn transaction(layout: &Layout, conditions: &[Condition], changes: Vec<Change>) -> Txn {
    let compares: Vec<Compare> = conditions.iter().map(|condition| compare(layout, condition)).collect();
    let operation = |change| match change {
        Change::Put(path, value) => TxnOp::put(layout.record(&path), value, None),
        Change::Delete(path) => TxnOp::delete(layout.record(&path), None),
    };
    let marker = TxnOp::put(layout.marker(), Vec::new(), None);
    let operations: Vec<TxnOp> = changes.into_iter().map(operation).chain([marker]).collect();
    Txn::new().when(compares).and_then(operations)
}

fn compare(layout: &Layout, condition: &Condition) -> Compare {
    match condition {
        Condition::Absent(path) => Compare::create_revision(layout.record(path), CompareOp::Equal, 0),
        Condition::Unchanged(path, revision) => {
            // To etcd a record that is not there has revision 0.
            let revision = i64::try_from(revision.0).ok().filter(|revision| *revision > 0).unwrap_or(NEVER);
            Compare::mod_revision(layout.record(path), CompareOp::Equal, revision)
        }
    }
}
