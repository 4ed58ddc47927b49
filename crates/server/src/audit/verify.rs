//! The verification of a log, offline: walks every segment and says what was removed, changed, moved or cut off.

use crate::audit::chain::{Head, Link, read_link};
use crate::audit::proof::{At, ChainsProof, KnownKey, Proof, SeenHead, SeenKey, SeenLine};
use crate::audit::segments;
use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Lines back to which a signed head may point.
const HEADS_REACH: usize = 1 << 17;
/// Looks at an unfinished last line, and the pause before each.
const WRITER_TRIES: usize = 3;
const WRITER_PAUSE: Duration = Duration::from_millis(20);
/// The first byte of an uncompressed point.
const UNCOMPRESSED: u8 = 4;

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FindingKind {
    /// It is not a line of an audit log, or not wholly there.
    Unreadable,
    /// It was changed after it was written.
    Changed,
    /// Lines before it are missing.
    Removed,
    /// It stands behind a later one, or a second time.
    Reordered,
    /// It follows a line that is not the one before it here.
    Replaced,
    /// A signed head does not agree with the lines before it.
    HeadDiffers,
    /// A signed head's signature is wrong, or its key is not the one of the first head.
    HeadForged,
    /// The log ends before a line that is known to have been in it.
    Truncated,
}

/// The first bad line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The segment.
    pub file: PathBuf,
    /// The line in it, from 1.
    pub line: u64,
    /// The number that was expected there.
    pub expected_sequence: u64,
    /// What is wrong.
    pub kind: FindingKind,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Segments read.
    pub segments: u64,
    /// Lines that are as they were written.
    pub lines: u64,
    /// Number of the first line here; above 1 when older segments were moved away.
    pub first_sequence: u64,
    /// Number of the last good line.
    pub last_sequence: u64,
    /// Its hash, in hexadecimal digits.
    pub last_hash: String,
    /// Signed heads that agree.
    pub signed_heads: u64,
    /// Up to which line a signed head vouches.
    pub signed_up_to: u64,
    /// Records of changes that were copied twice (a kill between copying and removing): the same change, not two.
    pub repeated: u64,
    /// Torn ends that were cut off at a start, and so recorded.
    pub cuts: u64,
    /// Checkpoints of use chains.
    pub checkpoints: u64,
    /// The first bad line; nothing when the log is whole.
    pub finding: Option<Finding>,
    /// What the partitions signed of the uses and changes of keys, up to the first bad line.
    pub use_chains: ChainsProof,
}

impl Report {
    /// Whether nothing contradicts anything.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.finding.is_none() && self.use_chains.findings.is_empty()
    }
}

/// Verifies all segments of a folder, and that `known` (an earlier head, kept elsewhere) is in it.
pub fn verify(folder: &Path, known: Option<Head>) -> io::Result<Report> {
    verify_with_keys(folder, known, Vec::new())
}

/// The same, and that the pools named have these audit keys.
pub fn verify_with_keys(folder: &Path, known: Option<Head>, keys: Vec<KnownKey>) -> io::Result<Report> {
    let mut walk = Walk { known, proof: Proof::new(keys), ..Walk::default() };
    let files = segments::all(folder)?;
    for path in &files {
        walk.report.segments += 1;
        if !walk.segment(path)? {
            return Ok(walk.finish(&files));
        }
    }
    if walk.known.is_some() {
        let file = folder.join(segments::CURRENT);
        walk.find(&file, walk.line, FindingKind::Truncated);
    }
    Ok(walk.finish(&files))
}

#[derive(Default)]
struct Walk {
    report: Report,
    /// The last good line.
    last: Head,
    /// Line number in the present segment.
    line: u64,
    known: Option<Head>,
    recent: VecDeque<Head>,
    key: Option<SeenKey>,
    outbox: HashSet<String>,
    proof: Proof,
}

impl Walk {
    /// Walks one segment; false when a bad line ended it.
    fn segment(&mut self, path: &Path) -> io::Result<bool> {
        let mut reader = BufReader::new(File::open(path)?);
        let mut line = Vec::new();
        self.line = 0;
        while reader.read_until(b'\n', &mut line)? > 0 {
            self.line += 1;
            for _ in 0..WRITER_TRIES {
                if line.ends_with(b"\n") {
                    break;
                }
                // The log may be in use: its writer may be in the middle of this very line.
                std::thread::sleep(WRITER_PAUSE);
                reader.read_until(b'\n', &mut line)?;
            }
            let whole = line.pop() == Some(b'\n');
            let checked = if whole { self.check(&line) } else { Err(FindingKind::Unreadable) };
            if let Err(kind) = checked {
                self.find(path, self.line, kind);
                return Ok(false);
            }
            line.clear();
        }
        Ok(true)
    }

    fn check(&mut self, line: &[u8]) -> Result<(), FindingKind> {
        let link = read_link(line).ok_or(FindingKind::Unreadable)?;
        self.check_link(&link)?;
        let seen: SeenLine = serde_json::from_slice(line).map_err(|_| FindingKind::Unreadable)?;
        self.last = Head { sequence: link.sequence, hash: link.hash };
        self.report.lines += 1;
        if self.recent.len() == HEADS_REACH {
            self.recent.pop_front();
        }
        self.recent.push_back(self.last);
        if let Some(known) = self.known.filter(|k| k.sequence == link.sequence) {
            self.known = None;
            if known.hash != link.hash {
                return Err(FindingKind::HeadDiffers);
            }
        }
        self.note(&seen)
    }

    fn check_link(&mut self, link: &Link) -> Result<(), FindingKind> {
        if link.computed != link.hash {
            return Err(FindingKind::Changed);
        }
        if self.report.lines == 0 {
            self.report.first_sequence = link.sequence;
            if link.sequence > 1 {
                self.proof.cut();
            }
            self.last = Head { sequence: link.sequence.saturating_sub(1), hash: link.previous };
            let at_start = link.sequence != 1 || link.previous == [0; 32];
            return if at_start { Ok(()) } else { Err(FindingKind::Replaced) };
        }
        match link.sequence.cmp(&(self.last.sequence + 1)) {
            std::cmp::Ordering::Less => Err(FindingKind::Reordered),
            std::cmp::Ordering::Greater => Err(FindingKind::Removed),
            std::cmp::Ordering::Equal if link.previous != self.last.hash => Err(FindingKind::Replaced),
            std::cmp::Ordering::Equal => Ok(()),
        }
    }

    /// Takes from a good line what other lines are held against.
    fn note(&mut self, seen: &SeenLine) -> Result<(), FindingKind> {
        if seen.outbox.as_ref().is_some_and(|id| !self.outbox.insert(id.clone())) {
            self.report.repeated += 1;
            return Ok(());
        }
        let segment = usize::try_from(self.report.segments.saturating_sub(1)).unwrap_or(usize::MAX);
        self.proof.line(seen, At { segment, line: self.line });
        self.report.checkpoints += u64::from(seen.checkpoint.is_some());
        match seen.kind.as_deref() {
            Some("cut") => self.report.cuts += 1,
            Some("truncated") => return Err(FindingKind::Truncated),
            _ => {}
        }
        seen.head.as_ref().map_or(Ok(()), |head| self.check_head(head))
    }

    fn check_head(&mut self, seen: &SeenHead) -> Result<(), FindingKind> {
        let mut head = Head { sequence: seen.sequence, hash: [0; 32] };
        hex::decode_to_slice(&seen.hash, &mut head.hash).map_err(|_| FindingKind::HeadForged)?;
        if self.key.get_or_insert_with(|| seen.key.clone()) != &seen.key || !signed(&head, seen) {
            return Err(FindingKind::HeadForged);
        }
        if !self.agrees(head) {
            return Err(FindingKind::HeadDiffers);
        }
        self.report.signed_heads += 1;
        self.report.signed_up_to = head.sequence;
        Ok(())
    }

    /// Whether the line that a head names has its hash; a head may point before the first line here.
    fn agrees(&self, head: Head) -> bool {
        let oldest = self.recent.front().map_or(0, |h| h.sequence);
        let back = head.sequence.checked_sub(oldest).and_then(|at| self.recent.get(usize::try_from(at).ok()?));
        head.sequence < self.report.first_sequence || back == Some(&head)
    }

    fn find(&mut self, file: &Path, line: u64, kind: FindingKind) {
        let expected_sequence = self.last.sequence + 1;
        self.report.finding = Some(Finding { file: file.into(), line, expected_sequence, kind });
    }

    fn finish(mut self, files: &[PathBuf]) -> Report {
        self.report.last_sequence = self.last.sequence;
        self.report.last_hash = hex::encode(self.last.hash);
        self.report.use_chains = self.proof.finish(files);
        self.report
    }
}

/// Whether the head's ES256 signature is right under its key.
fn signed(head: &Head, seen: &SeenHead) -> bool {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let point = [&[UNCOMPRESSED][..], &decode(&seen.key.x), &decode(&seen.key.y)].concat();
    let Ok(message) = digest::Digest::import_less_safe(&head.digest(), &digest::SHA256) else { return false };
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify_digest(&message, &decode(&seen.signature)).is_ok()
}
