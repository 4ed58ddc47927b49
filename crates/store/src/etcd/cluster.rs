//! The members of the cluster: one is used until it fails, then the next one; and what their refusals mean.

use std::error::Error as _;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use etcd_client::{Certificate, Client, ConnectOptions, GetOptions, GetResponse, Identity, TlsOptions, Txn};
use tokio::time::timeout;
use tonic::{Code, ConnectError, Status};

use crate::{Revision, StoreError};

/// How long one member may take for a read.
const READ_TIME: Duration = Duration::from_secs(1);
/// How long all of them may take for one, together: an election takes one to two seconds.
const READ_TIME_ALL: Duration = Duration::from_secs(5);
/// Pause after all members have failed.
const READ_PAUSE: Duration = Duration::from_millis(100);
/// How long a commit may take until its outcome is called unknown.
const COMMIT_TIME: Duration = Duration::from_secs(3);
const CONNECT_TIME: Duration = Duration::from_secs(1);
/// How often a silent connection is tried; etcd closes connections that are tried more often than every five seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(6);
const KEEP_ALIVE_TIME: Duration = Duration::from_secs(2);
/// Bytes of an answer, at most: a part of a scan, or the commits that a watch has to catch up with.
pub(super) const ANSWER_BYTES_MAX: usize = 96 * 1024 * 1024;
const HTTPS: &str = "https://";

/// Where the cluster is and who we are.
pub struct Options {
    /// `https://HOST:PORT` of each member.
    pub endpoints: Vec<String>,
    /// Whose certificates the members have (PEM).
    pub ca: Vec<u8>,
    /// Our certificate with its chain (PEM).
    pub certificate: Vec<u8>,
    /// Its key (PEM).
    pub key: zeroize::Zeroizing<String>,
    /// What all keys begin with; ends in `/`.
    pub prefix: String,
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No endpoint, or one that is none.
    #[error("{0:?} is not an endpoint: expected https://HOST:PORT, one for each member")]
    Endpoint(String),
    /// The prefix.
    #[error("the prefix {0:?} cannot be used: expected up to 128 bytes that end in /")]
    Prefix(String),
    /// A certificate or the key is not what it has to be.
    #[error("the certificates for etcd cannot be used: {0}")]
    Tls(String),
    /// No member answers, or they have no quorum.
    #[error("etcd does not answer at {endpoints}: {reason}")]
    Unreachable {
        /// All of them.
        endpoints: String,
        /// What the last one said.
        reason: String,
    },
    /// No thread.
    #[error("the store's thread cannot be started: {0}")]
    Thread(std::io::Error),
    /// It died.
    #[error("the store's thread ended before the store was open")]
    Ended,
}

/// What came of a commit that was answered.
pub(super) enum Sent {
    /// It holds since this revision.
    Done(Revision),
    /// A condition did not hold.
    Refused,
}

/// What a failed call means.
enum Failed {
    /// It was not sent, or was refused before anything was done: another member may do it.
    NotSent,
    /// The cluster refused it for good.
    Refused(StoreError),
    /// It may have been done.
    Open,
}

/// See the module.
pub(super) struct Cluster {
    members: Vec<Client>,
    endpoints: Vec<String>,
    /// Which one is used.
    current: AtomicUsize,
    /// The latest revision that anybody has seen.
    expected: AtomicU64,
    /// What the last failed call said.
    trouble: std::sync::Mutex<String>,
}

impl Cluster {
    pub(super) async fn connect(options: &Options) -> Result<Self, OpenError> {
        if options.endpoints.is_empty() {
            return Err(OpenError::Endpoint(String::new()));
        }
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(&options.ca))
            .identity(Identity::from_pem(&options.certificate, options.key.as_bytes()));
        let connection = ConnectOptions::new()
            .with_tls(tls)
            .with_connect_timeout(CONNECT_TIME)
            .with_keep_alive(KEEP_ALIVE, KEEP_ALIVE_TIME)
            // A member that has lost its leader says so instead of waiting for one.
            .with_require_leader(true);
        let mut members = Vec::with_capacity(options.endpoints.len());
        for endpoint in &options.endpoints {
            if !endpoint.starts_with(HTTPS) {
                return Err(OpenError::Endpoint(endpoint.clone()));
            }
            let client = Client::connect([endpoint], Some(connection.clone())).await;
            members.push(client.map_err(|error| unconnected(endpoint, &error))?);
        }
        // Nodes that start at different times begin with different members.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let current = AtomicUsize::new(usize::try_from(now.subsec_micros()).unwrap_or(0) % members.len());
        let (endpoints, expected) = (options.endpoints.clone(), AtomicU64::new(0));
        Ok(Self { members, endpoints, current, expected, trouble: std::sync::Mutex::default() })
    }

    /// Why the store cannot be opened, when the first read fails.
    pub(super) fn refusal(&self, error: StoreError) -> OpenError {
        let said = self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let reason = if said.is_empty() { error.to_string() } else { said };
        OpenError::Unreachable { endpoints: self.endpoints.join(", "), reason }
    }

    /// The member to use now, and its number.
    pub(super) fn member(&self) -> (usize, Client) {
        let number = self.current.load(Ordering::Relaxed) % self.members.len();
        // The number is within the members.
        self.members.get(number).map_or_else(|| (0, self.first()), |member| (number, member.clone()))
    }

    #[allow(clippy::indexing_slicing, reason = "`connect` refuses an empty list")]
    fn first(&self) -> Client {
        self.members[0].clone()
    }

    /// Uses the next member from now on, unless somebody else has seen to that.
    pub(super) fn give_up(&self, number: usize, why: &dyn fmt::Display) {
        let next = (number + 1) % self.members.len();
        if self.current.compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let (from, to) = (self.endpoints.get(number), self.endpoints.get(next));
            tracing::warn!(?from, ?to, reason = %why, "etcd: a member fails, the next one is used");
        }
        *self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = why.to_string();
    }

    /// Somebody has seen this revision: the watch must come to it.
    pub(super) fn expect(&self, revision: Revision) {
        self.expected.fetch_max(revision.0, Ordering::Relaxed);
    }

    /// The latest revision that anybody has seen.
    pub(super) fn expected(&self) -> Revision {
        Revision(self.expected.load(Ordering::Relaxed))
    }

    /// Reads a key or a range from one member after the other until one answers.
    pub(super) async fn read(&self, key: &[u8], options: GetOptions) -> Result<GetResponse, StoreError> {
        let begun = Instant::now();
        for attempt in 1_usize.. {
            let (number, member) = self.member();
            let mut client = member.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX);
            match timeout(READ_TIME, client.get(key, Some(options.clone()))).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => match meaning(&error) {
                    Failed::Refused(reason) => return Err(reason),
                    Failed::NotSent | Failed::Open => self.give_up(number, &with_causes(&error)),
                },
                Err(_) => self.give_up(number, &"it does not answer"),
            }
            if begun.elapsed() > READ_TIME_ALL {
                break;
            }
            if attempt % self.members.len() == 0 {
                tokio::time::sleep(READ_PAUSE).await;
            }
        }
        Err(StoreError::Unreachable)
    }

    /// Sends a commit once: to the next member only when it certainly was not sent to the one before.
    pub(super) async fn send(&self, transaction: Txn) -> Result<Sent, StoreError> {
        for _ in 0..=self.members.len() {
            let (number, member) = self.member();
            match timeout(COMMIT_TIME, member.kv_client().txn(transaction.clone())).await {
                Ok(Ok(answer)) if !answer.succeeded() => return Ok(Sent::Refused),
                Ok(Ok(answer)) => {
                    let revision = answer.header().and_then(|header| u64::try_from(header.revision()).ok());
                    return revision.map(|revision| Sent::Done(Revision(revision))).ok_or(StoreError::Unknown);
                }
                Ok(Err(error)) => match meaning(&error) {
                    Failed::NotSent => self.give_up(number, &with_causes(&error)),
                    Failed::Refused(reason) => return Err(reason),
                    Failed::Open => {
                        self.give_up(number, &with_causes(&error));
                        return Err(StoreError::Unknown);
                    }
                },
                Err(_) => {
                    self.give_up(number, &"it does not answer");
                    return Err(StoreError::Unknown);
                }
            }
        }
        Err(StoreError::Unreachable)
    }
}

/// Why a client was not made; nothing was sent yet.
fn unconnected(endpoint: &str, error: &etcd_client::Error) -> OpenError {
    if matches!(error, etcd_client::Error::InvalidUri(_) | etcd_client::Error::InvalidArgs(_)) {
        OpenError::Endpoint(endpoint.to_owned())
    } else {
        OpenError::Tls(with_causes(error))
    }
}

/// What etcd's words mean: its gRPC codes alone do not tell a full disk from a hurry (`rpctypes/error.go`).
fn meaning(error: &etcd_client::Error) -> Failed {
    let etcd_client::Error::GRpcStatus(status) = error else { return Failed::Open };
    let (code, text) = (status.code(), status.message());
    let refused = |reason| {
        tracing::error!(%status, "etcd refuses");
        Failed::Refused(reason)
    };
    if never_sent(status) || text.contains("no leader") || text.contains("too many requests") {
        Failed::NotSent
    } else if code == Code::OutOfRange && text.contains("compacted") {
        Failed::Refused(StoreError::Compacted)
    } else if code == Code::ResourceExhausted && text.contains("database space exceeded") {
        refused(StoreError::Full)
    } else if code == Code::InvalidArgument {
        // A request larger or longer than this cluster is set to take.
        refused(StoreError::TooLarge)
    } else if code == Code::PermissionDenied || code == Code::Unauthenticated || code == Code::Unimplemented {
        refused(StoreError::Unreachable)
    } else {
        Failed::Open
    }
}

/// Whether no connection came about.
fn never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error with what lies behind it: gRPC's own words are few.
pub(super) fn with_causes(error: &etcd_client::Error) -> String {
    let (mut text, mut cause) = if let etcd_client::Error::GRpcStatus(status) = error {
        (status.message().to_owned(), status.source())
    } else {
        (error.to_string(), error.source())
    };
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
