//! Scheduled work: rotation, purge of what is due, leftovers, served time; and what runs beside the requests.

use crate::core::{Core, to_its_end};
use crate::engine::Recorded;
use crate::pool::Pool;
use crate::records::{paths, store_error};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use strongroom_hsm::HsmError;
use strongroom_model::audit::{Actor, AuditRecord};
use strongroom_model::error::{Error, Result};
use strongroom_model::{KeyName, Timestamp};
use strongroom_store::{CHANGES_MAX, Condition, Revision, StoreError};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

/// How often the scheduler looks.
const TICK: Duration = Duration::from_secs(60);
/// How long a passed self-test holds; meanwhile any answer proves that the partition is there.
const PROOF_HOLDS: Duration = Duration::from_secs(60);
/// How long a partition may take for one.
const PROOF_TIME: Duration = Duration::from_secs(5);

/// Keys of one pool that a round of the scheduler looks at though nothing can be done for them yet.
pub(crate) const IN_VAIN_MAX: usize = 2048;

/// A job of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    /// Rotates a key.
    Rotation,
    /// Purges a deleted key.
    Purge,
}

/// The right of one job to one key; only the scheduler makes it.
pub(crate) struct SystemGrant {
    job: Job,
    pool: Arc<Pool>,
    name: KeyName,
}

impl SystemGrant {
    /// The pool.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The key.
    pub(crate) fn name(&self) -> &KeyName {
        &self.name
    }

    /// The audit record of what the job does, which nobody asked for over the network.
    pub(crate) fn recorded(&self, now: Timestamp) -> Recorded {
        let (actor, operation, status) = match self.job {
            Job::Rotation => ("rotation", "KeyRotateIfDue", 200),
            Job::Purge => ("purge", "KeyPurge", 204),
        };
        system_recorded(now, actor, operation, self.pool.name.as_str(), status)
    }
}

/// What a job of the scheduler does, on its way into the log.
pub(crate) fn system_recorded(now: Timestamp, job: &str, operation: &str, resource: &str, status: u16) -> Recorded {
    let record = AuditRecord { operation: operation.into(), status, ..system_record(now, resource.into(), job) };
    Recorded { record, started: Instant::now() }
}

/// The record of what nobody asked for over the network.
pub(crate) fn system_record(now: Timestamp, resource: String, job: &str) -> AuditRecord {
    AuditRecord {
        time_ms: now.0.saturating_mul(1000),
        resource,
        operation: String::new(),
        operation_version: String::new(),
        status: 200,
        error_code: String::new(),
        duration_us: 0,
        caller_address: None,
        private_endpoint: String::new(),
        actor: Actor::System(job.into()),
        request_id: Uuid::new_v4(),
        correlation_id: None,
        client_info: String::new(),
        request_uri: String::new(),
        object: String::new(),
        stamp: None,
        folded: 0,
    }
}

impl Core {
    /// See [`crate::Engine::run_jobs`].
    pub(crate) async fn run_jobs(self: Arc<Self>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.do_what_is_due().await;
        }
    }

    /// One round of the scheduler; what fails is tried again in the next one.
    pub(crate) async fn do_what_is_due(self: &Arc<Self>) {
        if let Err(error) = self.save_served().await {
            tracing::warn!(%error, "served time is not saved");
        }
        if let Err(error) = self.take_over_rows().await {
            tracing::warn!(%error, "audit records of lost nodes wait in the store");
        }
        if let Err(error) = self.check_changes_allowed() {
            tracing::warn!(%error, "scheduled work waits: no changes are allowed");
            return;
        }
        self.visit_management().await;
        for pool in self.pools.load().values() {
            if let Err(error) = self.collect_leftovers(pool).await {
                tracing::warn!(%error, pool = %pool.name, "leftovers of purged keys stay for now");
            }
            if let Err(error) = self.visit_due_keys(pool).await {
                tracing::warn!(%error, pool = %pool.name, "keys that are due wait");
            }
        }
    }

    async fn collect_leftovers(&self, pool: &Pool) -> Result<()> {
        let prefix = pool.live.paths.all_leftovers();
        let (mut from, to) = (prefix.clone(), paths::end_of(&prefix));
        loop {
            let notes = self.records.store.scan(&from, &to, CHANGES_MAX).await.map_err(store_error)?;
            let Some(last) = notes.entries.last() else { return Ok(()) };
            from = paths::after(&last.path);
            for note in &notes.entries {
                let mut object = [0; 16];
                let id = note.path.strip_prefix(prefix.as_slice()).unwrap_or_default();
                if hex::decode_to_slice(id, &mut object).is_ok() {
                    self.records.open::<crate::records::shapes::IndexRecord>(&note.path, &note.value)?;
                    self.remove_leftovers(pool, &object).await?;
                }
            }
            if !notes.more {
                return Ok(());
            }
        }
    }

    /// Visits what the index of dates names, oldest first, [`CHANGES_MAX`] at a time so that they share the store's syncs.
    ///
    /// A key may be named though nothing can be done yet (its retention is not served, it is disabled, its versions are
    /// exhausted). A round looks at [`IN_VAIN_MAX`] such keys and leaves the others to the next one, which goes on behind
    /// them: the work of a round does not grow with their number, and each is looked at in its turn.
    pub(crate) async fn visit_due_keys(self: &Arc<Self>, pool: &Arc<Pool>) -> Result<()> {
        let (all, to) = (pool.live.paths.all_due(), pool.live.paths.due_until(self.now()));
        let behind = pool.live.visited.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut from = behind.filter(|path| *path < to).unwrap_or(all);
        let mut in_vain = 0;
        loop {
            let page = self.records.store.scan(&from, &to, CHANGES_MAX).await.map_err(store_error)?;
            let Some(last) = page.entries.last() else { return Ok(()) };
            from = paths::after(&last.path);
            let mut visits = JoinSet::new();
            for name in page.entries.iter().filter_map(|e| paths::last_part(&e.path)) {
                let (core, pool) = (Arc::clone(self), Arc::clone(pool));
                visits.spawn(async move {
                    let visited = name.clone();
                    (name, to_its_end(async move { core.visit_due_key(pool, visited).await }).await)
                });
            }
            while let Some(visit) = visits.join_next().await {
                match visit {
                    Ok((_, Ok(true))) => {}
                    Ok((_, Ok(false))) => in_vain += 1,
                    Ok((name, Err(error))) => {
                        in_vain += 1;
                        tracing::warn!(%error, %name, "a key that is due waits");
                    }
                    // The end of the process.
                    Err(_) => return Ok(()),
                }
            }
            if !page.more {
                return Ok(());
            }
            if in_vain >= IN_VAIN_MAX {
                *pool.live.visited.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
                return Ok(());
            }
        }
    }

    /// Purges or rotates a key when its own record says that it is due: the index only says where to look. Whether it was.
    async fn visit_due_key(self: &Arc<Self>, pool: Arc<Pool>, name: KeyName) -> Result<bool> {
        let Some(head) = self.stored_head(&pool, &name).await? else { return Ok(false) };
        let job = if head.value.deleted.is_some() { Job::Purge } else { Job::Rotation };
        let g = SystemGrant { job, pool, name };
        let done = match job {
            Job::Purge => self.purge_if_due(&g).await,
            Job::Rotation => self.rotate_if_due(&g).await,
        };
        match done {
            // Recovered, deleted or purged meanwhile.
            Err(Error::NotFound(_)) => Ok(false),
            done => done,
        }
    }

    /// See [`crate::Engine::ready`].
    pub(crate) async fn ready(&self) -> Result<()> {
        let mut proofs = JoinSet::new();
        for pool in self.open_pools() {
            proofs.spawn(async move { prove(&pool).await });
        }
        while let Some(proof) = proofs.join_next().await {
            proof.unwrap_or(Err(HsmError::Lost))?;
        }
        Ok(())
    }

    /// See [`crate::Engine::store_takes_changes`].
    pub(crate) async fn store_takes_changes(&self) -> std::result::Result<(), StoreError> {
        // A commit that cannot hold goes all the way to the disk's door and writes nothing.
        let never = Condition::Unchanged(paths::OUTBOX.to_vec(), Revision(u64::MAX));
        match self.records.store.commit(vec![never], Vec::new()).await {
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// See [`crate::Engine::stop`].
    pub(crate) async fn stop(&self) {
        for pool in self.pools.load().values() {
            self.return_uses(pool).await;
        }
        if let Err(error) = self.save_served().await {
            tracing::warn!(%error, "served time is not saved");
        }
    }
}

/// A self-test within its time, or another use when one has passed lately.
async fn prove(pool: &Pool) -> std::result::Result<(), HsmError> {
    let recent = *pool.live.proved.lock().unwrap_or_else(PoisonError::into_inner);
    if recent.is_some_and(|at| at.elapsed() < PROOF_HOLDS) {
        let answer = tokio::time::timeout(PROOF_TIME, pool.live.gateway.random(1)).await;
        return answer.unwrap_or(Err(HsmError::Lost)).map(|_| ());
    }
    let test = tokio::time::timeout(PROOF_TIME, pool.live.gateway.self_test()).await;
    test.unwrap_or(Err(HsmError::Lost))?;
    *pool.live.proved.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    Ok(())
}
