//! One use chain: its entries linked in their order, though their records overtake each other, and held against its signed states.

use super::entry::RecordedEntry;
use super::{At, ChainFindingKind as Kind};
use std::collections::{BTreeMap, VecDeque};
use strongroom_hsm::verbs::{Checkpoint, Named};
use strongroom_model::{PoolId, Timestamp};

/// Entries back to which a signed state, or a record that is there twice, may point.
const REACH: usize = 1 << 18;
/// The same, once the next run has begun.
const REACH_ENDED: usize = 1 << 13;

/// What is known of a chain.
#[derive(Default)]
pub(super) struct Chain {
    /// Whose it is, once an opening or a checkpoint said so.
    pub(super) pool: Option<PoolId>,
    /// Whether an opening in this log names it.
    pub(super) opened: bool,
    /// Whether entries of it may be in an older part of the log, or in another one.
    pub(super) elsewhere: bool,
    /// The hash before the first entry.
    start: Option<[u8; 32]>,
    /// All entries up to this one are linked.
    linked: u64,
    /// The hash there; nothing before the opening is known.
    hash: Option<[u8; 32]>,
    /// Hashes of the last linked entries.
    recent: VecDeque<[u8; 32]>,
    /// Whether the next run has begun.
    ended: bool,
    waiting: BTreeMap<u64, (RecordedEntry, At)>,
    /// Signed states of entries that are not linked yet.
    states: BTreeMap<u64, ([u8; 32], At)>,
    /// The last signed state.
    pub(super) signed: Option<Named>,
    signed_at: At,
    /// Entries recorded.
    pub(super) entries: u64,
    first_beyond: Option<Timestamp>,
    last_time: Option<Timestamp>,
}

/// Something wrong in a chain.
pub(super) struct Wrong {
    pub(super) kind: Kind,
    pub(super) at: At,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// What is left to say of a chain at the end.
#[derive(Default)]
pub(super) struct Rest {
    /// Entries below the last signed state.
    pub(super) proven: u64,
    /// Entries below it that are not here, of a chain that began elsewhere.
    pub(super) elsewhere: u64,
    /// From which number on nothing is proven, up to which it is recorded, and how many of those are.
    pub(super) unproven: Option<(u64, u64, u64)>,
    /// When those were made.
    pub(super) between: Option<(Timestamp, Timestamp)>,
}

impl Chain {
    /// The chain begins from here.
    pub(super) fn open(&mut self, pool: PoolId, start: [u8; 32], wrong: &mut Vec<Wrong>) {
        (self.pool, self.opened, self.start, self.hash) = (Some(pool), true, Some(start), Some(start));
        self.link(wrong);
    }

    /// The next run has begun: little more comes.
    pub(super) fn end(&mut self) {
        self.ended = true;
        let excess = self.recent.len().saturating_sub(REACH_ENDED);
        self.recent.drain(..excess);
    }

    /// Takes a record's entry in.
    pub(super) fn add(&mut self, entry: RecordedEntry, at: At, wrong: &mut Vec<Wrong>) {
        let sequence = entry.sequence;
        let mut find = |kind| wrong.push(Wrong { kind, at, from: sequence, to: sequence });
        if sequence == 0 {
            return find(Kind::Altered);
        }
        if sequence <= self.linked {
            // A change whose commit was in doubt may be recorded twice; both records must be of one and the same entry.
            let same = self.recent_hash(sequence) == Some(entry.hash);
            let before = if sequence == 1 { self.start } else { self.recent_hash(sequence - 1) };
            if !same || before.is_none_or(|before| entry.hash_after(&before) != entry.hash) {
                find(Kind::Twice);
            }
            return;
        }
        if let Some((known, _)) = self.waiting.get(&sequence) {
            if *known != entry {
                find(Kind::Twice);
            }
            return;
        }
        self.entries += 1;
        self.last_time = self.last_time.max(Some(entry.time));
        if self.signed.is_none_or(|s| s.sequence < sequence) && self.first_beyond.is_none() {
            self.first_beyond = Some(entry.time);
        }
        self.waiting.insert(sequence, (entry, at));
        self.link(wrong);
    }

    /// Holds a signed state, whose signature is right, against the entries.
    pub(super) fn sign(&mut self, state: &Checkpoint, at: At, wrong: &mut Vec<Wrong>) {
        let named = Named { chain: state.chain, sequence: state.sequence, hash: state.hash };
        let mut find = |kind| wrong.push(Wrong { kind, at, from: state.sequence, to: state.sequence });
        match self.signed {
            // Told again after a start.
            Some(known) if known == named => return,
            Some(known) if known.sequence >= named.sequence => return find(Kind::StateDiffers),
            Some(_) | None => {}
        }
        (self.pool, self.signed, self.signed_at) = (Some(state.pool), Some(named), at);
        self.first_beyond = self.waiting.range(state.sequence + 1..).next().map(|(_, (entry, _))| entry.time);
        if state.sequence > self.linked {
            self.states.insert(state.sequence, (state.hash, at));
        } else if self.recent_hash(state.sequence) != Some(state.hash) {
            find(Kind::StateDiffers);
        }
    }

    /// The hash after a linked entry, when it is near enough.
    fn recent_hash(&self, sequence: u64) -> Option<[u8; 32]> {
        let oldest = self.linked + 1 - self.recent.len() as u64;
        self.recent.get(usize::try_from(sequence.checked_sub(oldest)?).ok()?).copied()
    }

    /// Links what follows without a gap.
    fn link(&mut self, wrong: &mut Vec<Wrong>) {
        while let Some(last) = self.hash {
            let Some((entry, at)) = self.waiting.remove(&(self.linked + 1)) else { return };
            self.take(&entry, at, Some(last), wrong);
        }
    }

    /// Makes an entry the last linked one; `last` is the hash before it when that is known.
    fn take(&mut self, entry: &RecordedEntry, at: At, last: Option<[u8; 32]>, wrong: &mut Vec<Wrong>) {
        let (from, to) = (entry.sequence, entry.sequence);
        if last.is_some_and(|last| entry.hash_after(&last) != entry.hash) {
            wrong.push(Wrong { kind: Kind::Altered, at, from, to });
        }
        if let Some((hash, at)) = self.states.remove(&entry.sequence)
            && hash != entry.hash
        {
            wrong.push(Wrong { kind: Kind::StateDiffers, at, from, to });
        }
        (self.linked, self.hash) = (entry.sequence, Some(entry.hash));
        if self.recent.len() >= if self.ended { REACH_ENDED } else { REACH } {
            self.recent.pop_front();
        }
        self.recent.push_back(entry.hash);
    }

    /// Goes over the gaps that are left, and says what is proven and what is not. `cut`: the beginning of the log is not here.
    pub(super) fn finish(mut self, cut: bool, wrong: &mut Vec<Wrong>) -> Rest {
        let elsewhere = self.elsewhere || (cut && !self.opened);
        let signed = self.signed.map_or(0, |s| s.sequence);
        let mut gaps: Vec<(u64, u64)> = Vec::new();
        for (sequence, (entry, at)) in std::mem::take(&mut self.waiting) {
            let gap = sequence > self.linked + 1;
            if gap {
                gaps.push((self.linked + 1, sequence - 1));
            }
            let last = self.hash.filter(|_| !gap);
            self.take(&entry, at, last, wrong);
        }
        if self.linked < signed {
            gaps.push((self.linked + 1, signed));
        }
        let mut rest = Rest { proven: signed, ..Rest::default() };
        for (from, to) in gaps.into_iter().filter(|gap| gap.0 <= signed) {
            let to = to.min(signed);
            rest.proven -= to + 1 - from;
            if elsewhere {
                rest.elsewhere += to + 1 - from;
            } else {
                wrong.push(Wrong { kind: Kind::Missing, at: self.signed_at, from, to });
            }
        }
        if self.linked > signed {
            rest.unproven = Some((signed + 1, self.linked, self.entries.saturating_sub(rest.proven)));
            rest.between = self.first_beyond.zip(self.last_time);
        }
        rest
    }
}
