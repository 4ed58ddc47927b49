//! A pool's roots, and the record that holds them wrapped.

use aws_lc_rs::rand;
use strongroom_hsm::HsmError;
use strongroom_hsm::sealed::{self, KEY_LEN, Label};
use strongroom_hsm::verbs::WrappedRoot;
use strongroom_model::{PoolId, SecretBytes};
use zeroize::Zeroizing;

/// First byte of the record's plaintext; `generation u32 ‖ root 32` follow, in ascending order.
const RECORD: u8 = 1;
const GENERATION_LEN: usize = 4;
const ENTRY_LEN: usize = GENERATION_LEN + KEY_LEN;

/// The opened roots of one pool, all generations.
pub struct SoftRoot {
    pool: PoolId,
    /// Ascending, never empty.
    generations: Vec<(u32, SecretBytes)>,
}

impl SoftRoot {
    /// A first root, random.
    pub(crate) fn create(pool: PoolId) -> Result<Self, HsmError> {
        const FIRST: u32 = 1;
        let root = SecretBytes::fill_with(KEY_LEN, rand::fill).map_err(|_| HsmError::Provider)?;
        Ok(Self { pool, generations: vec![(FIRST, root)] })
    }

    /// Seals all generations as one record, under the newest one's number.
    pub(crate) fn wrap(&self, kek: &SecretBytes) -> Result<WrappedRoot, HsmError> {
        let mut record = Zeroizing::new(Vec::with_capacity(1 + ENTRY_LEN * self.generations.len()));
        record.push(RECORD);
        for (generation, root) in &self.generations {
            record.extend_from_slice(&generation.to_be_bytes());
            record.extend_from_slice(root.expose());
        }
        let (newest, _) = self.newest()?;
        sealed::seal(kek, newest, Label::Root, self.pool.0.as_bytes(), &record).map(WrappedRoot)
    }

    /// Opens a record; every failure is [`HsmError::WrongSeal`].
    pub(crate) fn unwrap(kek: &SecretBytes, pool: PoolId, wrapped: &WrappedRoot) -> Result<Self, HsmError> {
        let wrong = |_| HsmError::WrongSeal;
        let newest = sealed::generation(&wrapped.0).map_err(wrong)?;
        let record = sealed::open(|_| Some(kek), Label::Root, pool.0.as_bytes(), &wrapped.0).map_err(wrong)?;
        let Some((&RECORD, entries)) = record.expose().split_first() else { return Err(HsmError::WrongSeal) };
        let (entries, rest) = entries.as_chunks::<ENTRY_LEN>();
        let mut generations = Vec::with_capacity(entries.len());
        for entry in entries {
            let (number, root) = entry.split_at(GENERATION_LEN);
            let number = number.try_into().map(u32::from_be_bytes).map_err(|_| HsmError::WrongSeal)?;
            generations.push((number, SecretBytes::copy_of(root)));
        }
        let ascending = generations.is_sorted_by(|(a, _), (b, _)| a < b);
        let named = generations.last().is_some_and(|(last, _)| *last == newest);
        if rest.is_empty() && ascending && named { Ok(Self { pool, generations }) } else { Err(HsmError::WrongSeal) }
    }

    /// The pool these roots are of.
    pub(crate) const fn pool(&self) -> PoolId {
        self.pool
    }

    /// What seals from now on.
    pub(crate) fn newest(&self) -> Result<(u32, &SecretBytes), HsmError> {
        self.generations.last().map(|(generation, root)| (*generation, root)).ok_or(HsmError::NotOpen)
    }

    /// The root of a generation.
    pub(crate) fn of(&self, generation: u32) -> Option<&SecretBytes> {
        self.generations.iter().find(|(g, _)| *g == generation).map(|(_, root)| root)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use uuid::Uuid;

    fn pool(byte: u8) -> PoolId {
        PoolId(Uuid::from_bytes([byte; 16]))
    }

    fn kek(byte: u8) -> SecretBytes {
        SecretBytes::new(vec![byte; KEY_LEN])
    }

    #[test]
    fn a_root_opens_for_its_pool_and_under_its_kek_only() {
        let root = SoftRoot::create(pool(1)).unwrap();
        let wrapped = root.wrap(&kek(1)).unwrap();
        let opened = SoftRoot::unwrap(&kek(1), pool(1), &wrapped).unwrap();
        assert!(opened.of(1).unwrap().same_as(root.of(1).unwrap().expose()));
        assert!(opened.of(0).is_none() && opened.of(2).is_none());
        for (kek, pool) in [(kek(2), pool(1)), (kek(1), pool(2))] {
            assert_eq!(SoftRoot::unwrap(&kek, pool, &wrapped).err(), Some(HsmError::WrongSeal));
        }
        for at in 0..wrapped.0.len() {
            let mut changed = wrapped.clone();
            changed.0[at] ^= 1;
            assert_eq!(SoftRoot::unwrap(&kek(1), pool(1), &changed).err(), Some(HsmError::WrongSeal), "{at}");
        }
        assert_eq!(SoftRoot::unwrap(&kek(1), pool(1), &WrappedRoot(Vec::new())).err(), Some(HsmError::WrongSeal));
    }

    #[test]
    fn several_generations_come_back_and_the_newest_seals() {
        let two = [(3, kek(3)), (5, kek(5))];
        let root = SoftRoot { pool: pool(1), generations: two.into() };
        let opened = SoftRoot::unwrap(&kek(1), pool(1), &root.wrap(&kek(1)).unwrap()).unwrap();
        assert_eq!(opened.newest().unwrap().0, 5);
        assert!(opened.of(3).unwrap().same_as(&[3; KEY_LEN]));
    }

    #[test]
    fn a_record_of_another_shape_is_refused() {
        let entry = |generation: u32| [&generation.to_be_bytes()[..], &[7; KEY_LEN]].concat();
        let shapes: [Vec<u8>; 6] = [
            vec![],
            vec![RECORD],
            [vec![2], entry(1)].concat(),
            [vec![RECORD], entry(1), vec![0]].concat(),
            [vec![RECORD], entry(2), entry(1)].concat(),
            [vec![RECORD], entry(1), entry(1)].concat(),
        ];
        for record in shapes {
            let sealed = sealed::seal(&kek(1), 1, Label::Root, pool(1).0.as_bytes(), &record).unwrap();
            assert!(SoftRoot::unwrap(&kek(1), pool(1), &WrappedRoot(sealed)).is_err(), "{record:?}");
        }
        let record = [vec![RECORD], entry(1)].concat();
        let misnamed = sealed::seal(&kek(1), 2, Label::Root, pool(1).0.as_bytes(), &record).unwrap();
        assert!(SoftRoot::unwrap(&kek(1), pool(1), &WrappedRoot(misnamed)).is_err());
    }
}
