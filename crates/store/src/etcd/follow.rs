//! The one watch of the store: it feeds the history, from which every watcher of this process is told.
//!
//! A lost connection is taken up where it broke. Where that cannot be (compacted, or a commit is missing), the history
//! begins anew and every watcher that is behind is told to read the present state.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{EventType, GetOptions, KeyValue, WatchOptions, WatchResponse, WatchStream};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::Shared;
use super::cluster::{ANSWER_BYTES_MAX, Cluster, with_causes};
use super::layout::{Layout, Place};
use super::reads::revision;
use crate::{Change, Revision, StoreError};

/// How long a member may take to begin a watch.
const BEGIN_TIME: Duration = Duration::from_secs(1);
/// How long the watch may be behind a revision that somebody has seen, before another member is asked.
const BEHIND_TIME: Duration = Duration::from_millis(750);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Pause between attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// How far the watch has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    /// The cluster's revision up to which everything was told.
    pub(super) at: i64,
    /// The number of our commits up to there: the marker's version.
    commits: i64,
}

/// Why a watch ended.
enum End {
    /// The connection or the member: go on where it broke.
    Lost,
    /// Changes are missing.
    Gap,
}

/// Where the cluster is now, and the revision of our last commit.
pub(super) async fn present(cluster: &Cluster, layout: &Layout) -> Result<(Position, Revision), StoreError> {
    let answer = cluster.read(layout.marker(), GetOptions::new()).await?;
    let at = answer.header().map(etcd_client::ResponseHeader::revision).ok_or(StoreError::Failed)?;
    let marker = answer.kvs().first();
    let commits = marker.map_or(0, KeyValue::version);
    Ok((Position { at, commits }, marker.map(revision).unwrap_or_default()))
}

/// Feeds the history until the store ends.
pub(super) async fn run(shared: Arc<Shared>, mut position: Position) {
    loop {
        match follow(&shared, &mut position).await {
            End::Lost => sleep(PAUSE).await,
            End::Gap => position = begin_anew(&shared).await,
        }
    }
}

/// Reads where the cluster is, however long that takes, and begins the history there.
async fn begin_anew(shared: &Shared) -> Position {
    loop {
        match present(&shared.cluster, &shared.layout).await {
            Ok((position, revision)) => {
                tracing::warn!(revision = revision.0, "etcd: changes were missed: what is kept in memory is read anew");
                shared.history.reset(revision);
                return position;
            }
            Err(error) => {
                tracing::warn!(%error, "etcd: changes were missed, and the present state cannot be read");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Watches at one member until the watch ends.
async fn follow(shared: &Shared, position: &mut Position) -> End {
    let (number, member) = shared.cluster.member();
    let options = WatchOptions::new().with_prefix().with_start_revision(position.at + 1);
    let begun = timeout(BEGIN_TIME, async {
        member
            .watch_client()
            .max_decoding_message_size(ANSWER_BYTES_MAX)
            .watch(shared.layout.prefix(), Some(options))
            .await
    });
    let mut stream = match begun.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            shared.cluster.give_up(number, &with_causes(&error));
            return End::Lost;
        }
        Err(_) => {
            shared.cluster.give_up(number, &"it does not begin the watch");
            return End::Lost;
        }
    };
    let end = receive(shared, &mut stream, position).await;
    if let Err(why) = &end {
        shared.cluster.give_up(number, why);
    }
    end.unwrap_or(End::Lost)
}

/// Publishes what comes, until the stream ends or falls behind.
async fn receive(shared: &Shared, stream: &mut WatchStream, position: &mut Position) -> Result<End, String> {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut behind_since: Option<(Revision, Instant)> = None;
    loop {
        tokio::select! {
            biased;
            message = stream.message() => match message {
                Ok(Some(message)) => {
                    if message.canceled() {
                        let compacted = message.compact_revision() > 0;
                        return if compacted { Ok(End::Gap) } else { Err(message.cancel_reason().to_owned()) };
                    }
                    if publish(shared, &message, position).is_err() {
                        return Ok(End::Gap);
                    }
                }
                Ok(None) => return Err("it ended the watch".to_owned()),
                // More than is taken at once: it would come again and again.
                Err(etcd_client::Error::GRpcStatus(status)) if status.code() == tonic::Code::OutOfRange => {
                    return Ok(End::Gap);
                }
                Err(error) => return Err(with_causes(&error)),
            },
            _ = looks.tick() => {
                let told = shared.history.latest();
                behind_since = match behind_since {
                    _ if told >= shared.cluster.expected() => None,
                    Some((then, since)) if then == told => Some((then, since)),
                    Some(_) | None => Some((told, Instant::now())),
                };
                if behind_since.is_some_and(|(_, since)| since.elapsed() > BEHIND_TIME) {
                    return Err("its watch is silent".to_owned());
                }
            }
        }
    }
}

/// Changes are missing.
struct Missing;

/// Publishes the commits of one message, each whole.
fn publish(shared: &Shared, message: &WatchResponse, position: &mut Position) -> Result<(), Missing> {
    let mut events = message.events().iter().filter_map(|event| Some((event.event_type(), event.kv()?))).peekable();
    while let Some((_, first)) = events.peek() {
        let at = first.mod_revision();
        let mut changes = Vec::new();
        while let Some((kind, record)) = events.next_if(|(_, record)| record.mod_revision() == at) {
            match (shared.layout.place(record.key()), kind) {
                (Place::Record(path), EventType::Put) => {
                    changes.push(Change::Put(path.to_vec(), record.value().to_vec()))
                }
                (Place::Record(path), EventType::Delete) => changes.push(Change::Delete(path.to_vec())),
                (Place::Marker, EventType::Put) if record.version() == position.commits + 1 => {
                    position.commits = record.version();
                }
                (Place::Marker, EventType::Put | EventType::Delete) => {
                    tracing::error!(at, "etcd: the watch has left out commits, or somebody else wrote the marker");
                    return Err(Missing);
                }
                (Place::Foreign, EventType::Put | EventType::Delete) => {}
            }
        }
        shared.history.publish(Revision(u64::try_from(at).unwrap_or(0)), changes);
        position.at = at;
    }
    Ok(())
}
