//! `strongroom audit verify`

use crate::cli::VerifyArgs;
use crate::failure::Failure;
use std::io::{self, Write};
use std::process::ExitCode;
use std::str::FromStr;
use strongroom_server::audit::{FindingKind, Head, Report, verify};

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

/// Walks the log and says what it found.
pub(crate) fn verify_log(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let report = verify(&args.folder, args.head.map(|head| head.0))
        .map_err(|error| Failure::configuration(format!("{}: {error}", args.folder.display())))?;
    if report.segments == 0 {
        return Err(Failure::configuration(format!("{}: there is no audit log in this folder", args.folder.display())));
    }
    let mut out = io::stdout().lock();
    // A closed pipe is nobody's loss; the exit code tells.
    let _closed =
        if args.json { writeln!(out, "{}", serde_json::to_string_pretty(&report)?) } else { say(&mut out, &report) };
    Ok(if report.finding.is_some() { ExitCode::from(NOT_WHOLE) } else { ExitCode::SUCCESS })
}

fn say(out: &mut impl Write, r: &Report) -> io::Result<()> {
    writeln!(out, "{} lines in {} files, numbers {} to {}", r.lines, r.segments, r.first_sequence, r.last_sequence)?;
    writeln!(out, "{} signed heads, up to line {}; {} use checkpoints", r.signed_heads, r.signed_up_to, r.checkpoints)?;
    writeln!(out, "last line {}:{}", r.last_sequence, r.last_hash)?;
    if r.first_sequence > 1 {
        writeln!(out, "note: the lines before {} are not in this folder", r.first_sequence)?;
    }
    if r.cuts > 0 {
        writeln!(out, "note: {} times a crash tore the last line, and it was cut off", r.cuts)?;
    }
    if r.repeated > 0 {
        writeln!(out, "note: {} records of changes were copied twice after a crash; each is one change", r.repeated)?;
    }
    if r.unrecorded_uses > 0 {
        writeln!(out, "note: {} uses of keys were counted by a partition and have no record", r.unrecorded_uses)?;
    }
    match &r.finding {
        None => writeln!(out, "the log is whole"),
        Some(f) => {
            let (file, line, expected) = (f.file.display(), f.line, f.expected_sequence);
            writeln!(out, "NOT WHOLE: {file}:{line} (where number {expected} belongs): {}", meaning(f.kind))
        }
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
