//! The signed states of the use chains on their way into store and log.
//!
//! A state is shown as signed only when every entry below it has its line in the log. Then the partition's next run is bound to
//! name it, it is stored for the next start, and it goes into the log, in this order: so whatever is killed, an entry that is
//! missing below a signed state was removed, and a run that does not name the last state in the log was not given it.

use std::sync::Arc;
use std::time::{Duration, Instant};
use strongroom_engine::{Engine, Pool};
use strongroom_hsm::verbs::{Checkpoint, History};
use strongroom_model::error::Error;
use strongroom_server::audit::AuditLog;

/// Time for which signed states may wait for the records below them before somebody should know.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// States of one chain that wait.
const WAITING_MAX: usize = 64;

/// The chains of one pool.
pub(super) struct PoolChains {
    pool: Arc<Pool>,
    /// What the store names, and the log holds.
    kept: Option<History>,
    /// Signed states of the run that goes on, whose records are not all there yet.
    waiting: Vec<Checkpoint>,
    waiting_since: Instant,
    /// What is to be kept and shown, while store or log refuse.
    unfinished: Option<History>,
}

impl PoolChains {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        Self { pool, kept: None, waiting: Vec::new(), waiting_since: Instant::now(), unfinished: None }
    }

    pub(super) fn is_of(&self, pool: &Pool) -> bool {
        self.pool.id == pool.id
    }

    /// One round: fetches what the partition signs, shows what is covered.
    pub(super) async fn round(&mut self, engine: &Engine, audit: &AuditLog) -> Result<(), Error> {
        if let Some(next) = self.unfinished.take() {
            self.keep(engine, audit, next).await?;
        }
        let signed = engine.sign_chains(&self.pool).await?;
        if self.kept.is_none() {
            // The last process may have ended between store and log; what the log holds twice is one and the same.
            let stored = engine.history(&self.pool);
            let again = stored.opening != signed.opening;
            audit.append_opening(self.pool.name.as_str(), &stored.opening, again).await?;
            audit.append_checkpoints(&stored.checkpoints).await?;
            self.kept = Some(stored);
        }
        let same_run = self.kept.as_ref().is_some_and(|kept| kept.opening == signed.opening);
        if !same_run {
            self.waiting.clear();
        }
        signed.checkpoints.into_iter().for_each(|state| self.wait(state));
        let covered = self.take_covered(audit);
        if same_run && covered.is_empty() {
            return Ok(());
        }
        let mut next = History { opening: signed.opening, checkpoints: Vec::new() };
        if let Some(kept) = self.kept.as_ref().filter(|_| same_run) {
            next.checkpoints.clone_from(&kept.checkpoints);
        }
        for checkpoint in covered {
            next.checkpoints.retain(|old| old.chain != checkpoint.chain);
            next.checkpoints.push(checkpoint);
        }
        self.keep(engine, audit, next).await
    }

    /// Lets a state wait for its records; of many that wait, the newest gives way to one that is newer still.
    fn wait(&mut self, state: Checkpoint) {
        let of_chain = self.waiting.iter().filter(|w| w.chain == state.chain).count();
        let newest = self.waiting.iter_mut().rev().find(|w| w.chain == state.chain);
        match newest {
            Some(newest) if of_chain >= WAITING_MAX => *newest = state,
            Some(_) | None => self.waiting.push(state),
        }
    }

    /// Of each chain the newest state that is covered by records; older ones are no longer wanted.
    fn take_covered(&mut self, audit: &AuditLog) -> Vec<Checkpoint> {
        let mut covered: Vec<Checkpoint> = Vec::new();
        self.waiting.retain(|state| {
            let is_covered = audit.recorded_up_to(&state.chain) >= state.sequence;
            if is_covered {
                covered.retain(|older| older.chain != state.chain);
                covered.push(state.clone());
            }
            !is_covered
        });
        if self.waiting.is_empty() || !covered.is_empty() {
            self.waiting_since = Instant::now();
        } else if self.waiting_since.elapsed() > WAIT_MAX {
            tracing::warn!(pool = %self.pool.name, "signed states of use chains wait for records that do not come");
            self.waiting_since = Instant::now();
        }
        covered
    }

    /// Keeps a history and shows what is new in it; when store or log refuse, the next round begins here.
    async fn keep(&mut self, engine: &Engine, audit: &AuditLog, next: History) -> Result<(), Error> {
        self.unfinished = Some(next.clone());
        if engine.keep_history(&self.pool, &next).await? {
            let known = self.kept.as_ref().filter(|kept| kept.opening == next.opening);
            let new: Vec<Checkpoint> = match known {
                Some(kept) => next.checkpoints.iter().filter(|c| !kept.checkpoints.contains(c)).cloned().collect(),
                None => next.checkpoints.clone(),
            };
            if known.is_none() {
                audit.append_opening(self.pool.name.as_str(), &next.opening, false).await?;
            }
            audit.append_checkpoints(&new).await?;
            self.kept = Some(next);
        } else {
            // The partition has ended: its next run names what was kept before, so this must not be shown any more.
            self.waiting.clear();
        }
        self.unfinished = None;
        Ok(())
    }
}
