//! What a person or a pipe sees of the figures.

use super::Figures;
use super::scale::Scale;
use anstyle::{AnsiColor, Style};
use std::io::{IsTerminal, Write};

/// Says on a terminal what is being measured.
pub(super) fn progress(name: &str) {
    if std::io::stderr().is_terminal() {
        anstream::eprintln!("measuring: {name}");
    }
}

/// Prints the figures: a table for people and pipes, JSON on request.
pub(super) fn print(figures: &Figures, json: bool) {
    let mut out = anstream::stdout().lock();
    let text = if json { serde_json::to_string_pretty(figures).unwrap_or_default() + "\n" } else { render(figures) };
    // A closed pipe is the reader's choice.
    let _written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn latency(micros: Option<u32>) -> String {
    micros.map_or_else(|| "-".into(), |m| m.to_string())
}

fn render(figures: &Figures) -> String {
    let (bold, dim) = (Style::new().bold(), AnsiColor::BrightBlack.on_default());
    let mut text = format!(
        "{bold}{:<28}{:>10}{:>12}{:>12}{:>9}{:>9}{:>9}{:>12}{:>12}{bold:#}\n",
        "operation", "req/s", "CPU µs/req", "ceiling µs", "ratio", "p50 µs", "p99 µs", "p50 at 70%", "p99 at 70%"
    );
    for f in &figures.operations {
        let ceiling = f.ceiling_micros.map_or_else(|| "-".into(), |c| format!("{c:.1}"));
        let ratio = f.ceiling_micros.map_or_else(|| "-".into(), |c| format!("{:.2}", f.cpu_micros / c));
        text += &format!(
            "{:<28}{:>10.0}{:>12.1}{:>12}{:>9}{:>9}{:>9}{:>12}{:>12}\n",
            f.name,
            f.per_second,
            f.cpu_micros,
            ceiling,
            ratio,
            f.p50_micros,
            f.p99_micros,
            latency(f.open_p50_micros),
            latency(f.open_p99_micros)
        );
    }
    if let Some(g) = &figures.sign_beside_generation {
        text += &format!(
            "P-256 sign at a steady rate: p50 {} p99 {} µs alone, p50 {} p99 {} µs while {} RSA-4096 keys were made ({:.1} x p99)\n",
            g.idle_p50_micros,
            g.idle_p99_micros,
            g.busy_p50_micros,
            g.busy_p99_micros,
            g.keys_made,
            f64::from(g.busy_p99_micros) / f64::from(g.idle_p99_micros.max(1))
        );
    }
    text + &format!(
        "{dim}CPU: service and partitions together, one runtime, audit on. Ceiling: same TLS and HTTP stack, constant answer, bare primitive.{dim:#}\n"
    )
}

/// Prints what was measured of stores of several sizes.
pub(super) fn print_scale(all: &[Scale], json: bool) {
    let mut out = anstream::stdout().lock();
    let text = if json { serde_json::to_string_pretty(all).unwrap_or_default() + "\n" } else { render_scale(all) };
    // A closed pipe is the reader's choice.
    let _written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A line's name, and its figure.
type ScaleRow<'a> = (&'a str, &'a dyn Fn(&Scale) -> f64);

fn render_scale(all: &[Scale]) -> String {
    let mib = |kib: u64| kib as f64 / 1024.0;
    let rows: &[ScaleRow<'_>] = &[
        ("start, ms", &|s| s.start_millis),
        ("get, cold, CPU µs", &|s| s.get_cold.cpu_micros),
        ("get, cached, CPU µs", &|s| s.get_cached.cpu_micros),
        ("sign, cold, CPU µs", &|s| s.sign_cold.cpu_micros),
        ("sign, cached, CPU µs", &|s| s.sign_cached.cpu_micros),
        ("page of 25, CPU µs", &|s| s.list_page.cpu_micros),
        ("get, cold, p50 µs", &|s| s.get_cold.p50_micros),
        ("get, cached, p50 µs", &|s| s.get_cached.p50_micros),
        ("sign, cold, p50 µs", &|s| s.sign_cold.p50_micros),
        ("sign, cached, p50 µs", &|s| s.sign_cached.p50_micros),
        ("page of 25, p50 µs", &|s| s.list_page.p50_micros),
        ("service at start, MiB", &|s| mib(s.memory_at_start.service_kib)),
        ("service halfway, MiB", &|s| mib(s.memory_halfway.service_kib)),
        ("service after, MiB", &|s| mib(s.memory_after.service_kib)),
        ("partition at start, MiB", &|s| mib(s.memory_at_start.partition_kib)),
        ("partition halfway, MiB", &|s| mib(s.memory_halfway.partition_kib)),
        ("partition after, MiB", &|s| mib(s.memory_after.partition_kib)),
        ("file, bytes a version", &|s| s.file_bytes_per_version),
    ];
    let bold = Style::new().bold();
    let mut text = format!("{bold}{:<26}", "key versions");
    for scale in all {
        text += &format!("{:>12}{:>8}", scale.versions, "ratio");
    }
    text += &format!("{bold:#}\n");
    for (name, value) in rows {
        text += &format!("{name:<26}");
        let first = all.first().map_or(1.0, value);
        for scale in all {
            text += &format!("{:>12.1}{:>8.2}", value(scale), value(scale) / first);
        }
        text += "\n";
    }
    text
}
