//! Partitions in threads of the calling process: for tests of what stands above the boundary.
//!
//! Each request and each answer passes through the codec, as on a lane, and a killed partition loses what one in a process
//! of its own would lose.

use crate::codec::{Buffer, Inbox, decode, encode_answer, encode_request};
use crate::core::{Core, ThreadChain};
use crate::memory::{Lesson, RootMemory};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use strongroom_hsm::gateway::Pending;
use strongroom_hsm::verbs::{Answer, Envelope, History};
use strongroom_hsm::{Gateway, HsmError, Partitions, Provider, Reply, Request};
use strongroom_model::clock::SystemClock;
use strongroom_model::{PoolId, SecretBytes};

/// Partitions of one node, each with a state of its own.
pub struct LocalPartitions<P: Provider> {
    node: Arc<Node<P>>,
    pools: Mutex<HashMap<PoolId, Arc<LocalGateway<P>>>>,
}

struct Node<P> {
    provider: Arc<P>,
    kek: SecretBytes,
    dev: bool,
    clock_offset: AtomicI64,
}

/// A partition's state and the one chain that all its threads share here.
type Running<P> = Arc<(Core<P>, ThreadChain)>;

struct LocalGateway<P: Provider> {
    node: Arc<Node<P>>,
    pool: PoolId,
    running: Arc<Mutex<Option<Running<P>>>>,
    memory: Arc<RootMemory>,
    next_id: AtomicU64,
    closed: AtomicBool,
}

impl<P: Provider> LocalPartitions<P> {
    /// Partitions that compute with `provider` under the node's key-encryption key (32 bytes).
    pub fn new(provider: P, kek: SecretBytes, dev: bool) -> Self {
        let node = Node { provider: Arc::new(provider), kek, dev, clock_offset: AtomicI64::new(0) };
        Self { node: Arc::new(node), pools: Mutex::new(HashMap::new()) }
    }

    /// Ends the partition of `pool`: what it was working on is lost, the next request starts a new one.
    pub fn kill(&self, pool: PoolId) {
        if let Some(gateway) = self.pools.lock().unwrap_or_else(PoisonError::into_inner).get(&pool) {
            *gateway.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Seconds that every request from now on adds to the partitions' clock; refused there unless made for `dev`.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.node.clock_offset.store(seconds, Ordering::Relaxed);
    }
}

impl<P: Provider> Partitions for LocalPartitions<P> {
    fn gateway(&self, pool: PoolId) -> Pending<'_, Arc<dyn Gateway>> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let gateway = pools.entry(pool).or_insert_with(|| {
            Arc::new(LocalGateway {
                node: Arc::clone(&self.node),
                pool,
                running: Arc::default(),
                memory: Arc::default(),
                next_id: AtomicU64::new(0),
                closed: AtomicBool::new(false),
            })
        });
        let gateway: Arc<dyn Gateway> = Arc::<LocalGateway<P>>::clone(gateway);
        Box::pin(async { Ok(gateway) })
    }

    fn close(&self, pool: PoolId) {
        let gateway = self.pools.lock().unwrap_or_else(PoisonError::into_inner).remove(&pool);
        if let Some(gateway) = gateway {
            gateway.closed.store(true, Ordering::Release);
            *gateway.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

impl<P: Provider> LocalGateway<P> {
    /// The running partition, started and its root opened again when there is none.
    fn running(&self) -> Result<Running<P>, HsmError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(HsmError::Lost);
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &*running {
            return Ok(Arc::clone(running));
        }
        let kek = SecretBytes::copy_of(self.node.kek.expose());
        let clock = Box::new(SystemClock { offset: 0 });
        let core = Core::new(Arc::clone(&self.node.provider), self.pool, kek, clock, self.node.dev);
        let chain = core.thread_chain()?;
        if let Some(request) = self.memory.reopen() {
            let lesson = Lesson::of(&request);
            let result = core.handle(&chain, Envelope { id: 0, clock_offset: 0, request }).result;
            self.memory.learn(lesson, &result);
            result?;
        }
        Ok(Arc::clone(running.insert(Arc::new((core, chain)))))
    }
}

impl<P: Provider> Gateway for LocalGateway<P> {
    fn call(&self, request: &Request) -> Pending<'_> {
        let lesson = Lesson::of(request);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut frame = Buffer::default();
        let encoded = encode_request(id, self.node.clock_offset.load(Ordering::Relaxed), request, &mut frame);
        // Started here and not when polled: dropping the future does not undo the request.
        let answer = encoded.and_then(|()| self.running()).map(|running| {
            let (slot, memory) = (Arc::clone(&self.running), Arc::clone(&self.memory));
            tokio::task::spawn_blocking(move || {
                let result = work(&running, &frame, id);
                let alive = slot.lock().unwrap_or_else(PoisonError::into_inner);
                if !alive.as_ref().is_some_and(|r| Arc::ptr_eq(r, &running)) {
                    return Err(HsmError::Lost);
                }
                memory.learn(lesson, &result);
                result
            })
        });
        Box::pin(async move { answer?.await.map_err(|_| HsmError::Lost)? })
    }

    fn remember(&self, history: &History) -> bool {
        self.memory.remember(history)
    }
}

/// One request through the codec, the partition, and the codec again.
fn work<P: Provider>(running: &(Core<P>, ThreadChain), frame: &Buffer, id: u64) -> Result<Reply, HsmError> {
    let envelope: Envelope = first_frame(frame)?;
    let answer = running.0.handle(&running.1, envelope);
    let mut frame = Buffer::default();
    encode_answer(&answer, &mut frame);
    let answer: Answer = first_frame(&frame)?;
    if answer.id == id { answer.result } else { Err(HsmError::Protocol) }
}

fn first_frame<T: serde::de::DeserializeOwned>(bytes: &Buffer) -> Result<T, HsmError> {
    let mut inbox = Inbox::default();
    let mut rest = bytes.as_slice();
    loop {
        if let Some(frame) = inbox.next_frame().map_err(|_| HsmError::Protocol)? {
            return decode(frame).map_err(|_| HsmError::Protocol);
        }
        let room = inbox.room();
        let count = room.len().min(rest.len());
        if count == 0 {
            return Err(HsmError::Protocol);
        }
        let (now, later) = rest.split_at(count);
        room.get_mut(..count).ok_or(HsmError::Protocol)?.copy_from_slice(now);
        inbox.received(count);
        rest = later;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use strongroom_hsm::verbs::{Input, Output};
    use strongroom_hsm::{KeyDraft, KeyKind};
    use strongroom_hsm_soft::SoftProvider;
    use strongroom_model::key::{KeyOps, KeySpec};
    use strongroom_model::{Algorithm, KeyVersion, VaultId};
    use uuid::Uuid;

    const POOL: PoolId = PoolId(Uuid::from_bytes([7; 16]));

    fn draft() -> KeyDraft {
        KeyDraft {
            vault: VaultId::NONE,
            kind: KeyKind::Customer,
            name: "a".to_owned(),
            version: KeyVersion([4; 16]),
            spec: KeySpec::EcP256,
            ops: KeyOps::default_for(KeySpec::EcP256.kty()),
            enabled: true,
            not_before: None,
            expires: None,
        }
    }

    #[tokio::test]
    async fn a_killed_partition_heals_and_its_run_names_the_one_before() {
        let partitions = LocalPartitions::new(SoftProvider, SecretBytes::new(vec![1; 32]), false);
        let gateway = partitions.gateway(POOL).await.unwrap();
        let (_, audit, _) = gateway.create_root().await.unwrap();
        let blob = Arc::new(gateway.generate(draft(), Uuid::nil()).await.unwrap().0.blob);
        let sign = || gateway.operate(&blob, Algorithm::Es256, Uuid::nil(), Input::Sign { digest: vec![1; 32] });
        assert!(matches!(sign().await.unwrap(), (Output::Signature(_), _)));
        let first = gateway.checkpoint().await.unwrap();
        assert!(gateway.remember(&first));
        let pending = sign();
        partitions.kill(POOL);
        pending.await.unwrap();
        // What the first run signed is named; what ended without being remembered is not.
        let second = gateway.checkpoint().await.unwrap();
        assert!(second.opening.verify() && second.checkpoints.iter().all(|c| c.verify(&audit.public)));
        assert_eq!(second.opening.previous, Some(first.opening.digest()));
        assert_eq!(second.opening.checkpoints[0].hash, first.checkpoints[0].hash);
        assert!(!gateway.remember(&first), "that run has ended");
        partitions.kill(POOL);
        sign().await.unwrap();
        assert!(!gateway.remember(&second), "that one too");
        let third = gateway.checkpoint().await.unwrap();
        assert_eq!(third.opening.previous, Some(first.opening.digest()));
        assert_eq!(gateway.create_root().await.err(), Some(HsmError::AlreadyOpen));
    }

    #[tokio::test]
    async fn a_dropped_call_is_carried_out_all_the_same() {
        let partitions = LocalPartitions::new(SoftProvider, SecretBytes::new(vec![1; 32]), true);
        let gateway = partitions.gateway(POOL).await.unwrap();
        drop(gateway.call(&Request::CreateRoot));
        // The one that was dropped may still be at work.
        while gateway.generate(draft(), Uuid::nil()).await.is_err_and(|e| e == HsmError::NotOpen) {}
        assert_eq!(gateway.create_root().await.err(), Some(HsmError::AlreadyOpen));
        partitions.set_clock_offset(1_000);
        let moved = gateway.generate(draft(), Uuid::nil()).await.unwrap().0.blob.binding.created;
        partitions.set_clock_offset(0);
        assert!(gateway.generate(draft(), Uuid::nil()).await.unwrap().0.blob.binding.created < moved);
    }
}
