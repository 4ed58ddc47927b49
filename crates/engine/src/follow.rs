//! Keeps what is in memory in step with the store: role sets whose state came into doubt, and, where several nodes share
//! the store, everything that the others change.

use crate::core::Core;
use crate::records::paths;
use crate::sharing::{self, PROOF_PERIOD};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use strongroom_model::{KeyName, KeyVersion};
use strongroom_store::{Change, Pending, Revision, Snapshot, StoreError, Watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Pause before what failed is tried again.
const PAUSE: Duration = Duration::from_millis(500);

impl Core {
    /// See [`crate::Engine::follow`].
    pub(crate) async fn follow(self: Arc<Self>) {
        if !self.currency.is_shared() {
            loop {
                self.settle_doubts().await;
                self.roles_doubted.notified().await;
            }
        }
        loop {
            let error = self.follow_others().await;
            if error == StoreError::Closed {
                return;
            }
            tracing::warn!(%error, "what this node keeps in memory is read anew");
            sleep(PAUSE).await;
        }
    }

    /// Reads every role set that is in doubt, until none is.
    async fn settle_doubts(&self) {
        while let Some(pool) = self.open_pools().into_iter().find(|pool| pool.live.roles_in_doubt()) {
            if let Err(error) = self.refresh_roles(&pool).await {
                tracing::warn!(%error, pool = %pool.name, "the roles of a pool are in doubt and cannot be read: it answers nothing");
                sleep(PAUSE).await;
            }
        }
    }

    /// Takes in what other nodes do, and proves it, until that fails.
    async fn follow_others(self: &Arc<Self>) -> StoreError {
        match self.begin_to_follow().await {
            Ok(watch) => match self.take_in_all(watch).await {
                Ok(never) => match never {},
                Err(error) => error,
            },
            Err(error) => error,
        }
    }

    /// Forgets what may be old, and watches from there.
    async fn begin_to_follow(&self) -> Result<Box<dyn Watch>, StoreError> {
        let at = sharing::now();
        let since = self.records.store.snapshot().await?.revision();
        let watch = self.records.store.watch(b"", since).await?;
        for pool in self.open_pools() {
            pool.live.cache.clear();
            self.refresh_roles(&pool).await.map_err(|_| StoreError::Unreachable)?;
        }
        self.refresh_management().await.map_err(|_| StoreError::Unreachable)?;
        self.currency.prove(at);
        Ok(watch)
    }

    async fn take_in_all(&self, mut watch: Box<dyn Watch>) -> Result<std::convert::Infallible, StoreError> {
        let mut ticks = interval(PROOF_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut proof: Option<(u64, Pending<'_, Box<dyn Snapshot>>)> = None;
        loop {
            let read = async {
                match &mut proof {
                    Some((at, read)) => (*at, read.await),
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                told = watch.next() => self.take_in(told?).await?,
                (at, read) = read => {
                    proof = None;
                    match read {
                        Ok(present) => {
                            while let Some(told) = watch.next_up_to(present.revision()).await? {
                                self.take_in(told).await?;
                            }
                            self.currency.prove(at);
                        }
                        Err(StoreError::Closed) => return Err(StoreError::Closed),
                        Err(error) => tracing::warn!(%error, "this node cannot prove that what it keeps in memory is current"),
                    }
                }
                () = self.roles_doubted.notified() => self.settle_doubts().await,
                _ = ticks.tick() => {
                    if proof.is_none() {
                        proof = Some((sharing::now(), self.records.store.snapshot()));
                    }
                }
            }
        }
    }

    /// Forgets what a commit changed; reads roles anew.
    async fn take_in(&self, (revision, changes): (Revision, Vec<Change>)) -> Result<(), StoreError> {
        let management = changes.iter().any(|change| change.path() == paths::MANAGEMENT);
        if management
            && self.management.set.load().revision.is_none_or(|mine| mine < revision)
            && let Err(error) = self.refresh_management().await
        {
            tracing::warn!(%error, "the changed management plane cannot be read");
            return Err(StoreError::Unreachable);
        }
        for pool in self.open_pools() {
            let of_pool = &pool.live.paths;
            let mine: Vec<&str> = changes.iter().filter_map(|change| of_pool.below(change.path())).collect();
            let names = mine.iter().filter_map(|path| KeyName::parse(path.strip_prefix("heads/")?).ok());
            let versions: Vec<_> = mine.iter().filter_map(|path| version_of(path)).collect();
            for name in names {
                pool.live.cache.changed_elsewhere(&name, &versions);
            }
            let roles = mine.contains(&"roles") && pool.live.roles.read().revision < revision;
            if roles && let Err(error) = self.refresh_roles(&pool).await {
                tracing::warn!(%error, pool = %pool.name, "changed roles cannot be read");
                return Err(StoreError::Unreachable);
            }
        }
        Ok(())
    }
}

/// Object and version of `versions/{object}/{version}`.
fn version_of(path: &str) -> Option<([u8; 16], KeyVersion)> {
    let (object, version) = path.strip_prefix("versions/")?.split_once('/')?;
    let mut id = [0; 16];
    hex::decode_to_slice(object, &mut id).ok()?;
    Some((id, KeyVersion::parse(version).ok()?))
}
