//! The way to one pool's partition, healed when the partition dies.

use super::lanes::{LONG_PENDING_MAX, Lanes, Outgoing, Route, Slot, Unsent};
use super::{Keeper, runtime_index};
use crate::codec::{Buffer, encode_request};
use crate::memory::{Lesson, RootMemory};
use arc_swap::ArcSwapOption;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use strongroom_hsm::gateway::Pending;
use strongroom_hsm::verbs::History;
use strongroom_hsm::{Gateway, HsmError, Request};
use strongroom_model::PoolId;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

/// How long a request waits for a partition that is being replaced.
const HEAL_WAIT: Duration = Duration::from_secs(5);
/// First pause between two attempts to replace a partition; doubled up to [`HEAL_PAUSE_MAX`].
const HEAL_PAUSE: Duration = Duration::from_millis(50);
/// See [`HEAL_PAUSE`].
const HEAL_PAUSE_MAX: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct PoolGateway {
    pool: PoolId,
    keeper: Arc<Keeper>,
    me: Weak<Self>,
    /// The living partition; none before the first and while it is replaced.
    lanes: ArcSwapOption<Lanes>,
    healed: Notify,
    healing: AtomicBool,
    /// No partition is wanted any more.
    closed: AtomicBool,
    memory: RootMemory,
    next_id: AtomicU64,
    /// Turns to make or check an RSA key.
    long: Arc<Semaphore>,
}

impl PoolGateway {
    pub(super) fn new(pool: PoolId, keeper: Arc<Keeper>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            pool,
            keeper,
            me: Weak::clone(me),
            lanes: ArcSwapOption::empty(),
            healed: Notify::new(),
            healing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            memory: RootMemory::default(),
            next_id: AtomicU64::new(0),
            long: Arc::new(Semaphore::new(LONG_PENDING_MAX)),
        })
    }

    /// Waits for the living partition, starting it when there is none.
    pub(super) async fn ready(&self) -> Result<Arc<Lanes>, HsmError> {
        let wait = async {
            loop {
                let healed = self.healed.notified();
                if self.closed.load(Ordering::Acquire) {
                    return Err(HsmError::Lost);
                }
                if let Some(lanes) = self.lanes.load_full() {
                    return Ok(lanes);
                }
                self.heal();
                healed.await;
            }
        };
        timeout(HEAL_WAIT, wait).await.unwrap_or(Err(HsmError::Lost))
    }

    /// Takes note that these lanes are closed.
    pub(super) fn lost(&self, lanes: &Arc<Lanes>) {
        let present = self.lanes.load();
        if present.as_ref().is_some_and(|p| Arc::ptr_eq(p, lanes)) {
            self.lanes.compare_and_swap(&present, None);
            self.heal();
        }
    }

    /// Ends the partition, and starts no other one.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(lanes) = self.lanes.swap(None) {
            lanes.close();
        }
        self.healed.notify_waiters();
    }

    /// Has the partition replaced, unless that is under way already or nobody wants one.
    fn heal(&self) {
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        let (Some(me), Ok(runtime)) = (self.me.upgrade(), tokio::runtime::Handle::try_current()) else { return };
        if self.healing.swap(true, Ordering::AcqRel) {
            return;
        }
        let turn = HealTurn(me);
        runtime.spawn(async move {
            let gateway = &turn.0;
            let mut pause = HEAL_PAUSE;
            while gateway.lanes.load().is_none() && !gateway.closed.load(Ordering::Acquire) {
                match gateway.start_partition().await {
                    Ok(lanes) => gateway.take(lanes),
                    Err(error) => {
                        tracing::warn!(pool = %gateway.pool, "the partition did not start: {error}");
                        tokio::time::sleep(pause).await;
                        pause = (2 * pause).min(HEAL_PAUSE_MAX);
                    }
                }
            }
        });
    }

    /// Takes over a new partition, unless nobody wants it any more.
    fn take(&self, lanes: Arc<Lanes>) {
        self.lanes.store(Some(lanes));
        if self.closed.load(Ordering::Acquire)
            && let Some(lanes) = self.lanes.swap(None)
        {
            lanes.close();
        }
    }

    /// A new partition with the root opened again, when there was one.
    async fn start_partition(&self) -> Result<Arc<Lanes>, HsmError> {
        let sockets = timeout(HEAL_WAIT, self.keeper.start(self.pool)).await.map_err(|_| HsmError::Lost)??;
        let lanes = Lanes::new(sockets, Weak::clone(&self.me), self.keeper.stall_after).map_err(|_| HsmError::Lost)?;
        if let Some(request) = self.memory.reopen() {
            let lesson = Lesson::of(&request);
            let outgoing = Outgoing::Request(&request, self.keeper.clock_offset.load(Ordering::Relaxed));
            let sent = lanes.send(runtime_index(), self.next_id(), Route::of(&request), outgoing, &mut None);
            let slot = sent.map_err(|_| HsmError::Lost)?;
            let result = timeout(HEAL_WAIT, received(slot)).await.map_err(|_| HsmError::Lost).flatten();
            self.memory.learn(lesson, &result);
            result?;
        }
        Ok(lanes)
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends at once, when there is a partition, room on its lane, and a turn for what takes long.
    fn send_now(&self, id: u64, route: Route, outgoing: Outgoing<'_>) -> Result<Slot, Unsent> {
        let mut turn = None;
        if route.long {
            turn = Some(Arc::clone(&self.long).try_acquire_owned().map_err(|_| Unsent::Full)?);
        }
        match &*self.lanes.load() {
            Some(lanes) => lanes.send(runtime_index(), id, route, outgoing, &mut turn),
            None => Err(Unsent::Closed),
        }
    }

    /// Sends what could not be sent at once: waits for a turn, for a partition, and for room on its lane.
    async fn send_later(&self, id: u64, route: Route, frame: Buffer) -> Result<Slot, HsmError> {
        let mut turn = None;
        if route.long {
            turn = Some(Arc::clone(&self.long).acquire_owned().await.map_err(|_| HsmError::Lost)?);
        }
        loop {
            let lanes = self.ready().await?;
            match lanes.send(runtime_index(), id, route, Outgoing::Frame(&frame), &mut turn) {
                Ok(slot) => return Ok(slot),
                Err(Unsent::Full) => lanes.room(runtime_index(), route).await,
                Err(Unsent::Closed) => self.lost(&lanes),
                Err(Unsent::Refused(error)) => return Err(error),
            }
        }
    }
}

/// The right to heal, given back however the task ends.
struct HealTurn(Arc<PoolGateway>);

impl Drop for HealTurn {
    fn drop(&mut self) {
        self.0.healing.store(false, Ordering::Release);
        self.0.healed.notify_waiters();
    }
}

async fn received(slot: Slot) -> Result<strongroom_hsm::Reply, HsmError> {
    slot.await.map_err(|_| HsmError::Lost).flatten()
}

impl Gateway for PoolGateway {
    fn call(&self, request: &Request) -> Pending<'_> {
        let (lesson, route, id) = (Lesson::of(request), Route::of(request), self.next_id());
        let offset = self.keeper.clock_offset.load(Ordering::Relaxed);
        let sent = self.send_now(id, route, Outgoing::Request(request, offset));
        let later = match sent {
            Ok(slot) => {
                return Box::pin(async move {
                    let result = received(slot).await;
                    self.memory.learn(lesson, &result);
                    result
                });
            }
            Err(Unsent::Refused(error)) => return Box::pin(async move { Err(error) }),
            Err(Unsent::Full | Unsent::Closed) => {
                let mut frame = Buffer::default();
                encode_request(id, offset, request, &mut frame).map(|()| frame)
            }
        };
        Box::pin(async move {
            let result = received(self.send_later(id, route, later?).await?).await;
            self.memory.learn(lesson, &result);
            result
        })
    }

    fn remember(&self, history: &History) -> bool {
        self.memory.remember(history)
    }
}
