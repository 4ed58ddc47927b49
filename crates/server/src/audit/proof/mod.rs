//! The use chains in a log, computed again from its records and held against what the partitions signed.
//!
//! What a partition did with keys cannot be put in, changed, moved or taken out up to the last signed state of each chain. What
//! is beyond that state is not proven, which is normal where something was killed, and is said number by number.

mod chain;
mod entry;
#[cfg(test)]
mod tests;

pub(super) use entry::{SeenHead, SeenKey, SeenLine};

use chain::{Chain, Wrong};
use entry::SeenOpening;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use strongroom_hsm::PublicKey;
use strongroom_hsm::verbs::{Checkpoint, Named, Opening};
use strongroom_model::{PoolId, Timestamp};
use uuid::Uuid;

/// Findings that are listed; further ones are counted.
const FINDINGS_MAX: usize = 100;

/// What is wrong with a use chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ChainFindingKind {
    /// The record is not what the partition chained: a field of it was changed, or another record put in its place.
    Altered,
    /// Another record has this number already.
    Twice,
    /// A signed state vouches for these entries, and the log does not hold them.
    Missing,
    /// A signed state has another hash than the entries, or goes back behind an earlier one.
    StateDiffers,
    /// A state or an opening was not signed by the pool's audit key.
    Forged,
    /// A run does not name the last run and the last signed states before it: an old past was put under it.
    PastDiffers,
    /// A state of a chain that no opening of its pool names, or whose run has ended.
    Unopened,
    /// The pool whose audit key was given has no opening here.
    Absent,
}

/// Something wrong with a use chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainFinding {
    /// What.
    pub kind: ChainFindingKind,
    /// The chain, in hexadecimal digits; empty where the run as a whole is meant.
    pub chain: String,
    /// First and last number of the entries that are meant; 0 where none is.
    pub from: u64,
    /// See [`ChainFinding::from`].
    pub to: u64,
    /// The segment of the line that shows it.
    pub file: PathBuf,
    /// That line, from 1.
    pub line: u64,
}

/// The end of a chain that no signed state covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unproven {
    /// The pool's name; empty when no opening names the chain.
    pub pool: String,
    /// The chain, in hexadecimal digits.
    pub chain: String,
    /// From this number on entries may be missing.
    pub from: u64,
    /// The last number that is recorded.
    pub recorded_to: u64,
    /// Entries from there to there that are recorded.
    pub recorded: u64,
    /// When the first and the last of them were made, in seconds since 1970.
    pub between: Option<(i64, i64)>,
}

/// The chains of one pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolProof {
    /// Its name, as the service wrote it.
    pub name: String,
    /// Its id, which is signed.
    pub pool: Uuid,
    /// SHA-256 of its audit key, in hexadecimal digits: to be compared, and to be given the next time.
    pub audit_key: String,
    /// Whether that was given.
    pub pinned: bool,
    /// Runs of its partition.
    pub runs: u64,
    /// Entries recorded.
    pub entries: u64,
    /// Entries that a signed state covers.
    pub proven: u64,
}

/// What was found of the use chains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainsProof {
    /// By pool.
    pub pools: Vec<PoolProof>,
    /// What is recorded beyond the last signed states: normal where something was killed.
    pub unproven: Vec<Unproven>,
    /// Entries below signed states of chains that began in an older part of the log, or in another one.
    pub elsewhere: u64,
    /// Signed states that could not be checked, since no opening here says by which key.
    pub unchecked: u64,
    /// What is wrong.
    pub findings: Vec<ChainFinding>,
    /// Findings that are not listed.
    pub more_findings: u64,
}

/// A line: segment and number.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) segment: usize,
    pub(super) line: u64,
}

/// An audit key that was given, and for which pool, by name or id.
pub type KnownKey = (String, [u8; 32]);

struct Pool {
    name: String,
    key: PublicKey,
    run: [u8; 32],
    chains: Vec<[u8; 16]>,
    runs: u64,
}

/// What has been seen of the chains so far.
#[derive(Default)]
pub(super) struct Proof {
    keys: Vec<KnownKey>,
    pools: BTreeMap<PoolId, Pool>,
    chains: HashMap<[u8; 16], Chain>,
    /// States of pools whose key is not known yet.
    unchecked: Vec<(Checkpoint, At)>,
    wrong: Vec<(Option<[u8; 16]>, Wrong)>,
    more: u64,
    /// Whether the log begins in the middle.
    cut: bool,
}

impl Proof {
    pub(super) fn new(keys: Vec<KnownKey>) -> Self {
        Self { keys, ..Self::default() }
    }

    /// The first line here is not the first of the log.
    pub(super) fn cut(&mut self) {
        self.cut = true;
    }

    /// Takes in a line whose place in the log is right.
    pub(super) fn line(&mut self, seen: &SeenLine, at: At) {
        match seen.entry() {
            Some(Some(entry)) => {
                let mut wrong = Vec::new();
                let id = entry.chain;
                self.chain(id).add(entry, at, &mut wrong);
                self.find_all(Some(id), wrong);
            }
            Some(None) => self.find(None, ChainFindingKind::Altered, at),
            None => {}
        }
        if let Some(opening) = &seen.opening {
            self.opening(opening, at);
        }
        if let Some(checkpoint) = &seen.checkpoint {
            match checkpoint.parsed() {
                Some(state) => self.checkpoint(state, at),
                None => self.find(None, ChainFindingKind::Forged, at),
            }
        }
    }

    fn chain(&mut self, id: [u8; 16]) -> &mut Chain {
        self.chains.entry(id).or_default()
    }

    fn find(&mut self, chain: Option<[u8; 16]>, kind: ChainFindingKind, at: At) {
        self.find_all(chain, vec![Wrong { kind, at, from: 0, to: 0 }]);
    }

    fn find_all(&mut self, chain: Option<[u8; 16]>, wrong: Vec<Wrong>) {
        for wrong in wrong {
            if self.wrong.len() < FINDINGS_MAX {
                self.wrong.push((chain, wrong));
            } else {
                self.more += 1;
            }
        }
    }

    /// Whether the key is the one that was given for this pool, when one was.
    fn is_known_key(&self, name: &str, opening: &Opening) -> bool {
        let given = self.keys.iter().find(|(pool, _)| is_pool(pool, name, opening.pool));
        given.is_none_or(|(_, key)| opening.audit_key.fingerprint() == Some(*key))
    }

    fn opening(&mut self, seen: &SeenOpening, at: At) {
        let Some(opening) = seen.parsed().filter(Opening::verify) else {
            return self.find(None, ChainFindingKind::Forged, at);
        };
        let known = self.pools.get(&opening.pool);
        let same_key = known.is_none_or(|pool| pool.key == opening.audit_key);
        if !same_key || !self.is_known_key(&seen.pool_name, &opening) {
            return self.find(None, ChainFindingKind::Forged, at);
        }
        let run = opening.digest();
        if known.is_some_and(|pool| pool.run == run) {
            // Told again after a start.
            return;
        }
        let first = known.is_none();
        let ended = known.map(|pool| pool.chains.clone()).unwrap_or_default();
        if known.is_some_and(|pool| {
            opening.previous != Some(pool.run) || opening.checkpoints != self.states(&pool.chains, &opening)
        }) {
            self.find(None, ChainFindingKind::PastDiffers, at);
        }
        for id in ended {
            self.chain(id).end();
        }
        for id in &opening.chains {
            let mut wrong = Vec::new();
            let elsewhere = first && (self.cut || seen.again);
            let start = opening.start_of(id);
            let chain = self.chain(*id);
            if chain.opened {
                wrong.push(Wrong { kind: ChainFindingKind::PastDiffers, at, from: 0, to: 0 });
            } else {
                chain.elsewhere = elsewhere;
                chain.open(opening.pool, start, &mut wrong);
            }
            self.find_all(Some(*id), wrong);
        }
        let runs = self.pools.get(&opening.pool).map_or(0, |pool| pool.runs) + 1;
        let Opening { pool, audit_key, chains, .. } = opening;
        self.pools.insert(pool, Pool { name: seen.pool_name.clone(), key: audit_key, run, chains, runs });
        for (state, at) in std::mem::take(&mut self.unchecked) {
            self.checkpoint(state, at);
        }
    }

    /// The last signed states of these chains, in the order in which an opening names them.
    fn states(&self, chains: &[[u8; 16]], opening: &Opening) -> Vec<Named> {
        let mut states: Vec<Named> =
            chains.iter().filter_map(|id| self.chains.get(id).and_then(|chain| chain.signed)).collect();
        let place = |n: &Named| opening.checkpoints.iter().position(|o| o.chain == n.chain).unwrap_or(usize::MAX);
        states.sort_by_key(place);
        states
    }

    fn checkpoint(&mut self, state: Checkpoint, at: At) {
        let id = state.chain;
        let Some(pool) = self.pools.get(&state.pool) else {
            if self.cut {
                self.unchecked.push((state, at));
            } else {
                self.find(Some(id), ChainFindingKind::Unopened, at);
            }
            return;
        };
        if !state.verify(&pool.key) {
            return self.find(Some(id), ChainFindingKind::Forged, at);
        }
        let of_run = pool.chains.contains(&id);
        let known = self.chains.get(&id);
        let named = Named { chain: id, sequence: state.sequence, hash: state.hash };
        // A state is told again after a start; in a log that begins in the middle, runs of before may have left theirs.
        let again = known.is_some_and(|chain| chain.signed == Some(named));
        let before = self.cut && known.is_none_or(|chain| !chain.opened);
        if !of_run && !again && !before {
            return self.find(Some(id), ChainFindingKind::Unopened, at);
        }
        let mut wrong = Vec::new();
        self.chain(id).sign(&state, at, &mut wrong);
        self.find_all(Some(id), wrong);
    }

    /// All of it, once the log has ended; `segments` are its files.
    pub(super) fn finish(mut self, segments: &[PathBuf]) -> ChainsProof {
        let mut proof = ChainsProof { unchecked: self.unchecked.len() as u64, ..ChainsProof::default() };
        for (name, _) in self.keys.clone() {
            if !self.pools.iter().any(|(id, pool)| is_pool(&name, &pool.name, *id)) {
                self.find(None, ChainFindingKind::Absent, At::default());
            }
        }
        let keys = &self.keys;
        for (id, pool) in &self.pools {
            proof.pools.push(PoolProof {
                name: pool.name.clone(),
                pool: id.0,
                audit_key: pool.key.fingerprint().map(hex::encode).unwrap_or_default(),
                pinned: keys.iter().any(|(known, _)| is_pool(known, &pool.name, *id)),
                runs: pool.runs,
                entries: 0,
                proven: 0,
            });
        }
        let mut chains: Vec<_> = std::mem::take(&mut self.chains).into_iter().collect();
        chains.sort_unstable_by_key(|(id, _)| *id);
        for (id, chain) in chains {
            let (mut wrong, entries, pool) = (Vec::new(), chain.entries, chain.pool);
            let rest = chain.finish(self.cut, &mut wrong);
            self.find_all(Some(id), wrong);
            proof.elsewhere += rest.elsewhere;
            let of = proof.pools.iter_mut().find(|p| Some(PoolId(p.pool)) == pool);
            let name = of.as_ref().map(|p| p.name.clone()).unwrap_or_default();
            if let Some(of) = of {
                of.entries += entries;
                of.proven += rest.proven;
            }
            if let Some((from, recorded_to, recorded)) = rest.unproven {
                let seconds = |(first, last): (Timestamp, Timestamp)| (first.0, last.0);
                let between = rest.between.map(seconds);
                proof.unproven.push(Unproven {
                    pool: name,
                    chain: hex::encode(id),
                    from,
                    recorded_to,
                    recorded,
                    between,
                });
            }
        }
        proof.more_findings = self.more;
        let finding = |(chain, wrong): (Option<[u8; 16]>, Wrong)| ChainFinding {
            kind: wrong.kind,
            chain: chain.map(hex::encode).unwrap_or_default(),
            from: wrong.from,
            to: wrong.to,
            file: segments.get(wrong.at.segment).cloned().unwrap_or_default(),
            line: wrong.at.line,
        };
        proof.findings = self.wrong.into_iter().map(finding).collect();
        proof
    }
}

/// Whether what was given, a name or an id, means this pool.
fn is_pool(given: &str, name: &str, id: PoolId) -> bool {
    given.eq_ignore_ascii_case(name) || given.parse() == Ok(id.0)
}
