//! Which entries of use chains are in the log: a chain's state is only shown as signed when every entry below it has its line.
//!
//! So an entry that is missing below a signed state was removed, whatever was killed.

use crate::audit::Place;
use std::collections::{BTreeSet, HashMap};
use strongroom_model::PoolId;

/// See the module.
#[derive(Default)]
pub(super) struct Recorded {
    chains: HashMap<[u8; 16], Progress>,
    /// The chains of the run that goes on.
    runs: HashMap<PoolId, Vec<[u8; 16]>>,
}

#[derive(Default)]
struct Progress {
    /// All entries up to this one have their lines.
    up_to: u64,
    /// Entries beyond that have theirs: requests overtake each other.
    beyond: BTreeSet<u64>,
}

impl Recorded {
    /// These entries have their lines.
    pub(super) fn note(&mut self, places: &[Place]) {
        for (chain, sequence) in places {
            let progress = self.chains.entry(*chain).or_default();
            if *sequence != progress.up_to + 1 {
                progress.beyond.insert(*sequence);
                continue;
            }
            progress.up_to += 1;
            while progress.beyond.first() == Some(&(progress.up_to + 1)) {
                progress.beyond.pop_first();
                progress.up_to += 1;
            }
        }
    }

    /// All entries up to this one have their lines.
    pub(super) fn up_to(&self, chain: &[u8; 16]) -> u64 {
        self.chains.get(chain).map_or(0, |progress| progress.up_to)
    }

    /// A run with these chains goes on now; those of the run before are forgotten.
    pub(super) fn begin(&mut self, pool: PoolId, chains: &[[u8; 16]]) {
        for ended in self.runs.insert(pool, chains.to_vec()).unwrap_or_default() {
            if !chains.contains(&ended) {
                self.chains.remove(&ended);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_chain_is_recorded_up_to_its_first_gap() {
        let (a, b, pool) = ([1; 16], [2; 16], PoolId(Uuid::nil()));
        let mut recorded = Recorded::default();
        recorded.begin(pool, &[a, b]);
        recorded.note(&[(a, 2), (a, 4), (b, 1)]);
        assert_eq!((recorded.up_to(&a), recorded.up_to(&b)), (0, 1));
        recorded.note(&[(a, 1)]);
        assert_eq!(recorded.up_to(&a), 2);
        recorded.note(&[(a, 3), (a, 3), (a, 1)]);
        assert_eq!(recorded.up_to(&a), 4);
        recorded.begin(pool, &[b]);
        assert_eq!((recorded.up_to(&a), recorded.up_to(&b)), (0, 1));
    }
}
