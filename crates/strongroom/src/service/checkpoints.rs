//! Once a second: the signed states of the use chains go into the log; now and then the log's own state is signed.

use crate::failure::Failure;
use crate::service::chains::PoolChains;
use std::sync::Arc;
use std::time::{Duration, Instant};
use strongroom_engine::Engine;
use strongroom_hsm::PublicKey;
use strongroom_model::error::{Error, Internal};
use strongroom_model::{Algorithm, KeySpec};
use strongroom_server::audit::{AuditLog, Head};
use tokio::time::{MissedTickBehavior, interval};

/// The installation's audit key, in pool `system`, and the document that remembers the last signed head; where several nodes
/// share the store, each has a log, and a document, of its own.
const AUDIT: &str = "audit";
const LAST_HEAD: &str = "audit-head";
/// How often use chains are looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// Longest time that requests stay without a signed head after them.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Most requests without one.
const HEAD_REQUESTS: u64 = 4096;

/// The task.
pub(super) struct Checkpoints {
    engine: Arc<Engine>,
    audit: Arc<AuditLog>,
    key: (Vec<u8>, Vec<u8>),
    last_head: String,
    chains: Vec<PoolChains>,
    /// Requests in the log at the last head.
    signed: u64,
    signed_at: Instant,
}

impl Checkpoints {
    /// Opens the audit key, and holds the head that was signed last against the log.
    pub(super) async fn new(engine: Arc<Engine>, audit: Arc<AuditLog>) -> Result<Self, Failure> {
        let key = match engine.system_key(AUDIT, KeySpec::EcP256).await?.public {
            PublicKey::Ec { x, y, .. } => (x, y),
            PublicKey::Rsa { .. } | PublicKey::Oct => return Err(Error::Internal(Internal::CorruptRecord).into()),
        };
        let last_head =
            engine.node().map_or_else(|| LAST_HEAD.to_owned(), |node| format!("{LAST_HEAD}-{}", node.simple()));
        if let Some(head) = engine.document(&last_head).await?.and_then(|bytes| decode(&bytes))
            && !audit.check_head(head)?
        {
            tracing::error!(
                sequence = head.sequence,
                "the audit log does not hold a line that was signed: lines are missing at its end, or it is another log"
            );
        }
        let signed = audit.requests();
        Ok(Self { engine, audit, key, last_head, chains: Vec::new(), signed, signed_at: Instant::now() })
    }

    /// Runs until the future is dropped.
    pub(super) async fn run(&mut self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.tick().await {
                tracing::warn!(%error, "use chains and log were not signed this second");
            }
        }
    }

    async fn tick(&mut self) -> Result<(), Error> {
        self.use_chains().await?;
        let waiting = self.audit.requests().wrapping_sub(self.signed);
        if waiting >= HEAD_REQUESTS || (waiting > 0 && self.signed_at.elapsed() >= HEAD_TIME) {
            self.sign_head().await?;
        }
        Ok(())
    }

    /// Signs what has not been signed, at a clean stop.
    pub(super) async fn last(&mut self) {
        let mut result = self.use_chains().await;
        if result.is_ok() && self.audit.requests() != self.signed {
            result = self.sign_head().await;
            // The head was a use too.
            result = result.and(self.use_chains().await);
        }
        if let Err(error) = result {
            tracing::warn!(%error, "the end of the log is not signed");
        }
    }

    /// Records what was chained and not committed, then shows the states of all chains; a pool that fails holds up no other.
    async fn use_chains(&mut self) -> Result<(), Error> {
        for record in self.engine.take_not_committed() {
            self.audit.append(record).await?;
        }
        let mut result = Ok(());
        for pool in self.engine.open_pools() {
            if !self.chains.iter().any(|chains| chains.is_of(&pool)) {
                self.chains.push(PoolChains::new(pool));
            }
        }
        for chains in &mut self.chains {
            result = result.and(chains.round(&self.engine, &self.audit).await);
        }
        result
    }

    /// Signs the last line that is safe on the disk: a head must never outlive its line.
    async fn sign_head(&mut self) -> Result<(), Error> {
        let requests = self.audit.requests();
        let head = self.audit.sync().await?;
        let digest = head.digest().to_vec();
        let (signature, stamp) = self.engine.sign_with_system_key(AUDIT, Algorithm::Es256, digest).await?;
        self.audit.append_head(head, &signature, &self.key, &stamp).await?;
        (self.signed, self.signed_at) = (requests, Instant::now());
        self.engine.put_document(&self.last_head, encode(head)).await
    }
}

fn encode(head: Head) -> Vec<u8> {
    [&head.sequence.to_be_bytes()[..], &head.hash].concat()
}

fn decode(bytes: &[u8]) -> Option<Head> {
    let (sequence, hash) = bytes.split_first_chunk::<8>()?;
    Some(Head { sequence: u64::from_be_bytes(*sequence), hash: hash.try_into().ok()? })
}
