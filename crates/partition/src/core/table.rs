//! The table of opened keys that all threads of a partition share: read-mostly, bounded, and deaf to old generations.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use strongroom_hsm::verbs::BlobId;
use strongroom_hsm::{Binding, HsmError};

/// Opened keys held at once; a parsed RSA key takes about 5 KiB of locked memory.
pub const OPENED_KEYS_MAX: usize = 16_384;
/// Keys whose newest generation is remembered after they were closed. Only of keys that were changed since they were made:
/// the first generation has no older one.
pub const KNOWN_GENERATIONS_MAX: usize = 1 << 18;
/// Entries from which those that need not be remembered are cleared out, now and then.
const CLEAR_FROM: usize = 2 * OPENED_KEYS_MAX;
const SHARDS: usize = 16;
/// Keys in one of a shard's two maps.
const HALF: usize = OPENED_KEYS_MAX / SHARDS / 2;

/// An opened key with the binding that says what it may do.
pub(super) struct Opened<K> {
    /// The provider's key.
    pub(super) key: K,
    /// From the blob that it was opened from.
    pub(super) binding: Binding,
    newest: Arc<AtomicU64>,
}

/// Two maps instead of a list in order of use: what was not used while `young` filled up goes with `old`.
struct Shard<K> {
    young: HashMap<BlobId, Arc<Opened<K>>>,
    old: HashMap<BlobId, Arc<Opened<K>>>,
}

impl<K> Shard<K> {
    fn put(&mut self, id: BlobId, key: Arc<Opened<K>>) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, key);
    }
}

/// What is known of generations.
struct Known {
    /// By [`Binding::identity`].
    newest: HashMap<[u8; 32], Arc<AtomicU64>>,
    /// So many entries make the next one clear out what need not be remembered.
    clear_at: usize,
}

impl Known {
    /// Forgets keys that are not open: those of the first generation, and when too many are left, all.
    fn clear(&mut self) {
        // Keys that are open somewhere keep theirs: that is what refuses older ones.
        let open = |known: &Arc<AtomicU64>| Arc::strong_count(known) > 1;
        self.newest.retain(|_, known| open(known) || known.load(Ordering::Acquire) > 1);
        if self.newest.len() >= KNOWN_GENERATIONS_MAX {
            self.newest.retain(|_, known| open(known));
        }
        self.newest.shrink_to(CLEAR_FROM);
        self.clear_at = (2 * self.newest.len()).clamp(CLEAR_FROM, KNOWN_GENERATIONS_MAX);
    }
}

/// See the module.
///
/// A generation counts as known once a blob of it was presented and opened, not when a rebind made it: a change whose commit
/// failed must not take the key away from everybody.
pub(super) struct Table<K> {
    shards: [RwLock<Shard<K>>; SHARDS],
    known: Mutex<Known>,
}

impl<K> Table<K> {
    /// An empty table.
    pub(super) fn new() -> Self {
        let shard = |_| RwLock::new(Shard { young: HashMap::new(), old: HashMap::new() });
        Self {
            shards: std::array::from_fn(shard),
            known: Mutex::new(Known { newest: HashMap::new(), clear_at: CLEAR_FROM }),
        }
    }

    fn shard(&self, id: &BlobId) -> &RwLock<Shard<K>> {
        &self.shards[usize::from(id.0[0]) % SHARDS]
    }

    /// The key of this sealing, when it is open; [`HsmError::StaleGeneration`] when a newer one has been seen since.
    pub(super) fn get(&self, id: &BlobId) -> Result<Option<Arc<Opened<K>>>, HsmError> {
        let found = {
            let shard = self.shard(id).read().unwrap_or_else(PoisonError::into_inner);
            shard
                .young
                .get(id)
                .map(|k| (Arc::clone(k), true))
                .or_else(|| shard.old.get(id).map(|k| (Arc::clone(k), false)))
        };
        let Some((key, young)) = found else { return Ok(None) };
        if key.binding.generation < key.newest.load(Ordering::Acquire) {
            let mut shard = self.shard(id).write().unwrap_or_else(PoisonError::into_inner);
            shard.young.remove(id);
            shard.old.remove(id);
            return Err(HsmError::StaleGeneration);
        }
        if !young {
            let mut shard = self.shard(id).write().unwrap_or_else(PoisonError::into_inner);
            shard.old.remove(id);
            shard.put(*id, Arc::clone(&key));
        }
        Ok(Some(key))
    }

    /// Takes in a key that was just opened, which makes its generation known.
    pub(super) fn admit(&self, id: BlobId, key: K, binding: Binding) -> Result<Arc<Opened<K>>, HsmError> {
        let newest = self.know(&binding)?;
        let opened = Arc::new(Opened { key, binding, newest });
        self.shard(&id).write().unwrap_or_else(PoisonError::into_inner).put(id, Arc::clone(&opened));
        Ok(opened)
    }

    /// Makes the generation of an authentic binding known, or refuses it as stale.
    pub(super) fn know(&self, binding: &Binding) -> Result<Arc<AtomicU64>, HsmError> {
        let mut table = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if table.newest.len() >= table.clear_at {
            table.clear();
        }
        let known = table.newest.entry(binding.identity()).or_default();
        if binding.generation < known.load(Ordering::Acquire) {
            return Err(HsmError::StaleGeneration);
        }
        known.store(binding.generation, Ordering::Release);
        Ok(Arc::clone(known))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use strongroom_hsm::{KeyDraft, KeyKind};
    use strongroom_model::clock::Timestamp;
    use strongroom_model::key::{KeyOps, KeySpec, Origin};
    use strongroom_model::{KeyVersion, PoolId, VaultId};
    use uuid::Uuid;

    fn binding(number: u32) -> Binding {
        let draft = KeyDraft {
            vault: VaultId::NONE,
            kind: KeyKind::Customer,
            name: format!("key-{number}"),
            version: KeyVersion([1; 16]),
            spec: KeySpec::EcP256,
            ops: KeyOps::NONE,
            enabled: true,
            not_before: None,
            expires: None,
        };
        draft.bind(PoolId(Uuid::nil()), Origin::Generated, Timestamp(0))
    }

    fn id(number: u32) -> BlobId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        BlobId(bytes)
    }

    #[test]
    fn the_table_is_bounded_and_keeps_what_is_used() {
        let table = Table::new();
        table.admit(id(0), 0, binding(0)).unwrap();
        let many = u32::try_from(3 * OPENED_KEYS_MAX).unwrap();
        for number in 1..many {
            table.admit(id(number), number, binding(number)).unwrap();
            assert_eq!(table.get(&id(0)).unwrap().unwrap().key, 0);
        }
        let open = (0..many).filter(|n| table.get(&id(*n)).unwrap().is_some()).count();
        assert!((OPENED_KEYS_MAX / 2..=OPENED_KEYS_MAX).contains(&open), "{open}");
    }

    #[test]
    fn what_is_remembered_of_generations_is_bounded_and_old_ones_stay_refused() {
        let table = Table::new();
        let changed = Binding { generation: 2, ..binding(0) };
        table.admit(id(0), (), changed).unwrap();
        for number in 1..u32::try_from(6 * OPENED_KEYS_MAX).unwrap() {
            table.admit(id(number), (), binding(number)).unwrap();
            assert!(table.known.lock().unwrap().newest.len() <= 2 * (OPENED_KEYS_MAX + 2));
        }
        // It was closed long ago, and its first generation is still refused.
        assert!(table.get(&id(0)).unwrap().is_none());
        assert!(matches!(table.admit(id(1 << 30), (), binding(0)), Err(HsmError::StaleGeneration)));
    }

    #[test]
    fn an_older_generation_never_comes_back() {
        let table = Table::new();
        table.admit(id(1), (), binding(7)).unwrap();
        let next = Binding { generation: 2, ..binding(7) };
        table.admit(id(2), (), next.clone()).unwrap();
        assert!(matches!(table.get(&id(1)), Err(HsmError::StaleGeneration)));
        assert!(matches!(table.admit(id(1), (), binding(7)), Err(HsmError::StaleGeneration)));
        assert!(table.get(&id(2)).unwrap().is_some());
        // Two sealings of one generation: of two changes at once, one is never stored.
        table.admit(id(3), (), next).unwrap();
        assert!(table.get(&id(2)).unwrap().is_some() && table.get(&id(3)).unwrap().is_some());
    }
}
