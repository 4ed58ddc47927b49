//! `strongroom audit verify`

use crate::cli::VerifyArgs;
use crate::failure::Failure;
use anstyle::{AnsiColor, Style};
use std::io::{self, Write};
use std::process::ExitCode;
use std::str::FromStr;
use strongroom_server::audit::{
    ChainFinding, ChainFindingKind, ChainsProof, FindingKind, Head, KnownKey, Report, verify_with_keys,
};

const HEAD: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const NOTE: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Exit code when the log is not whole.
const NOT_WHOLE: u8 = 1;

/// An earlier last line, as it was printed.
#[derive(Clone, Copy)]
pub(crate) struct KnownHead(Head);

impl FromStr for KnownHead {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected SEQUENCE:HASH with 64 hexadecimal digits";
        let (sequence, digits) = text.split_once(':').ok_or(EXPECTED)?;
        let mut head = Head { sequence: sequence.parse().map_err(|_| EXPECTED)?, hash: [0; 32] };
        hex::decode_to_slice(digits, &mut head.hash).map_err(|_| EXPECTED)?;
        Ok(Self(head))
    }
}

/// An audit key, as an earlier run of this command showed it.
#[derive(Clone)]
pub(crate) struct GivenKey(KnownKey);

impl FromStr for GivenKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "expected POOL=KEY: a pool's name or id, and 64 hexadecimal digits as this command prints them";
        let (pool, digits) = text.split_once('=').ok_or(EXPECTED)?;
        let mut key = [0; 32];
        hex::decode_to_slice(digits, &mut key).map_err(|_| EXPECTED)?;
        Ok(Self((pool.to_owned(), key)))
    }
}

/// Walks the log and says what it found.
pub(crate) fn verify_log(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let keys = args.audit_keys.iter().map(|given| given.0.clone()).collect();
    let report = verify_with_keys(&args.folder, args.head.map(|head| head.0), keys)
        .map_err(|error| Failure::configuration(format!("{}: {error}", args.folder.display())))?;
    if report.segments == 0 {
        return Err(Failure::configuration(format!("{}: there is no audit log in this folder", args.folder.display())));
    }
    // A closed pipe is nobody's loss; the exit code tells.
    let _closed = if args.json {
        writeln!(io::stdout().lock(), "{}", serde_json::to_string_pretty(&report)?)
    } else {
        let mut out = anstream::AutoStream::auto(io::stdout().lock());
        say(&mut out, &report).and_then(|()| out.flush())
    };
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(NOT_WHOLE) })
}

fn say(out: &mut impl Write, r: &Report) -> io::Result<()> {
    writeln!(out, "{} lines in {} files, numbers {} to {}", r.lines, r.segments, r.first_sequence, r.last_sequence)?;
    writeln!(out, "{} signed heads, up to line {}; {} use checkpoints", r.signed_heads, r.signed_up_to, r.checkpoints)?;
    writeln!(out, "last line {}:{}", r.last_sequence, r.last_hash)?;
    if r.first_sequence > 1 {
        note(out, &format!("the lines before {} are not in this folder", r.first_sequence))?;
    }
    if r.cuts > 0 {
        note(out, &format!("{} times a crash tore the last line, and it was cut off", r.cuts))?;
    }
    if r.repeated > 0 {
        note(out, &format!("{} records of changes were copied twice after a crash; each is one change", r.repeated))?;
    }
    say_chains(out, &r.use_chains)?;
    for finding in &r.use_chains.findings {
        let ChainFinding { kind, chain, from, to, file, line } = finding;
        let which = match (chain.is_empty(), from == to) {
            (true, _) => String::new(),
            (false, true) => format!(", chain {chain} number {from}"),
            (false, false) => format!(", chain {chain} numbers {from} to {to}"),
        };
        writeln!(out, "{BAD}NOT SOUND:{BAD:#} {}:{line}{which}: {}", file.display(), chain_meaning(*kind))?;
    }
    if r.use_chains.more_findings > 0 {
        writeln!(out, "{BAD}and {} more like these{BAD:#}", r.use_chains.more_findings)?;
    }
    match &r.finding {
        Some(f) => {
            let (file, line, expected) = (f.file.display(), f.line, f.expected_sequence);
            let why = meaning(f.kind);
            writeln!(out, "{BAD}NOT WHOLE:{BAD:#} {file}:{line} (where number {expected} belongs): {why}")
        }
        None if r.is_sound() => {
            writeln!(out, "{GOOD}the log is whole, and agrees with what the partitions signed{GOOD:#}")
        }
        None => writeln!(out, "{BAD}the lines are whole, but do not agree with what the partitions signed{BAD:#}"),
    }
}

fn note(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "{NOTE}note:{NOTE:#} {text}")
}

/// The table of pools, and what is not proven.
fn say_chains(out: &mut impl Write, chains: &ChainsProof) -> io::Result<()> {
    if !chains.pools.is_empty() {
        let head = ["pool", "runs", "entries", "proven"];
        writeln!(out, "{HEAD}{:<24}{:>6}{:>12}{:>12}  audit key{HEAD:#}", head[0], head[1], head[2], head[3])?;
    }
    for pool in &chains.pools {
        let colour = if pool.proven == pool.entries { GOOD } else { NOTE };
        let given = if pool.pinned { " (as given)" } else { "" };
        write!(out, "{:<24}{:>6}{:>12}", pool.name, pool.runs, pool.entries)?;
        writeln!(out, "{colour}{:>12}{colour:#}  {}{given}", pool.proven, pool.audit_key)?;
    }
    for u in &chains.unproven {
        let pool = if u.pool.is_empty() { "a run without an opening" } else { u.pool.as_str() };
        let when = u.between.map_or_else(String::new, |(from, to)| format!(", made {} to {}", time(from), time(to)));
        let text = format!(
            "not proven: {pool}, chain {}, from number {} on: {} recorded up to {}{when}; where something was killed, others \
             may be missing",
            u.chain, u.from, u.recorded, u.recorded_to
        );
        note(out, &text)?;
    }
    if chains.elsewhere > 0 {
        note(
            out,
            &format!(
                "{} uses and changes that were signed are in an older part of the log, or nowhere",
                chains.elsewhere
            ),
        )?;
    }
    if chains.unchecked > 0 {
        note(
            out,
            &format!("{} checkpoints are of pools whose audit key is not in this part of the log", chains.unchecked),
        )?;
    }
    Ok(())
}

fn time(seconds: i64) -> String {
    strongroom_server::audit::time_text(seconds)
}

fn chain_meaning(kind: ChainFindingKind) -> &'static str {
    match kind {
        ChainFindingKind::Altered => "the record is not what the partition did with the key",
        ChainFindingKind::Twice => "another record is there of the same number",
        ChainFindingKind::Missing => "the partition signed these uses or changes, and their records are gone",
        ChainFindingKind::StateDiffers => "a signed state does not agree with the records before it",
        ChainFindingKind::Forged => "not signed by the pool's audit key, or by another than was given",
        ChainFindingKind::PastDiffers => "a partition was started after an older state than the last one in this log",
        ChainFindingKind::Unopened => "a signed state of a run that is not opened here, or has ended",
        ChainFindingKind::Absent => "a pool whose audit key was given is not in this log",
    }
}

fn meaning(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Unreadable => "not a line of an audit log, or not wholly there",
        FindingKind::Changed => "the line was changed after it was written",
        FindingKind::Removed => "lines before this one were removed",
        FindingKind::Reordered => "the line stands behind a later one, or is there twice",
        FindingKind::Replaced => "the line before this one is not the one that was there when it was written",
        FindingKind::HeadDiffers => "a signed head does not agree with the lines before it",
        FindingKind::HeadForged => "a signed head has a wrong signature or another key",
        FindingKind::Truncated => "the log ends before a line that is known to have been in it",
    }
}
