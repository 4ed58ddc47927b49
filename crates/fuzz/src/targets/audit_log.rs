//! Lines of the audit log, as `strongroom audit verify` reads them: a changed log is never taken for the one before.

use std::cell::RefCell;
use std::path::Path;
use strongroom_server::audit::{AuditLog, AuditOrigin, AuditSettings, Report, verify};
use uuid::Uuid;

thread_local! {
    static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

/// Whole lines.
pub(crate) fn run(data: &[u8]) {
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| tempfile::tempdir().unwrap()).path();
        let mut text = data.to_vec();
        if text.last().is_some_and(|last| *last != b'\n') {
            // The rest of an unfinished line is waited for.
            text.push(b'\n');
        }
        let report = read(folder, &text);
        let lines = text.iter().filter(|b| **b == b'\n').count() as u64;
        assert!(report.lines <= lines && report.signed_heads <= report.lines);
        assert!(report.finding.is_some() || report.lines == lines);
        if let Some(finding) = &report.finding {
            assert!((1..=lines).contains(&finding.line), "{finding:?}");
        }
        if report.finding.is_none() && lines > 0 {
            // Every line counts: without its last byte but one the log is another one.
            let mut cut = text.clone();
            cut.remove(text.len().saturating_sub(2));
            assert!(read(folder, &cut).finding.is_some());
        }
    });
}

fn read(folder: &Path, text: &[u8]) -> Report {
    std::fs::write(folder.join("insights-logs-auditevent.jsonl"), text).unwrap();
    verify(folder, None).unwrap()
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        AuditSettings { folder: folder.path().join("audit"), reserve_bytes: 1 << 16, segment_bytes: 1 << 20 };
    let origin = AuditOrigin { tenant_id: Uuid::nil(), subscription_id: Uuid::nil(), resource_group: "g".into() };
    let log = AuditLog::open(&settings, &origin).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for _ in 0..3 {
        runtime.block_on(log.append(crate::house::recorded().record)).unwrap();
    }
    runtime.block_on(log.sync()).unwrap();
    log.close();
    let file = std::fs::read_dir(&settings.folder).unwrap().filter_map(|e| std::fs::read(e.unwrap().path()).ok());
    let mut log: Vec<u8> = file.max_by_key(Vec::len).unwrap();
    // What is kept ready behind the end of the log is none of it.
    log.truncate(log.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1));
    assert!(log.len() > 500, "a log with lines");
    let lines: Vec<&[u8]> = log.split_inclusive(|b| *b == b'\n').collect();
    vec![log.clone(), lines[..2].concat(), lines[1..].concat(), lines[0].to_vec()]
}
