//! `timing [SAMPLES]`: whether the time of a refusal tells why it was refused (Welch's t test on two classes of inputs).
//!
//! Inputs of two classes come in random order through a partition with the real provider. |t| above 4.5 says that their times
//! differ; a comparison that leaks must show it in the same run, and one in constant time must not, or the run is worth nothing.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let samples = match std::env::args().nth(1).map(|text| text.parse()) {
        None => 10_000,
        Some(Ok(samples)) if samples >= 100 => samples,
        Some(_) => {
            anstream::eprintln!("usage: timing [SAMPLES], at least 100");
            return ExitCode::from(2);
        }
    };
    let report = strongroom_fuzz::timing::measure(samples);
    anstream::println!("{:>9}  {:>9}  {:>9}  {:>9}  comparison", "samples", "t", "cropped t", "verdict");
    for row in &report.rows {
        anstream::println!(
            "{:>9}  {:>9.2}  {:>9.2}  {:>9}  {}",
            row.samples,
            row.t,
            row.cropped,
            row.verdict(),
            row.name
        );
    }
    if report.is_sound() {
        ExitCode::SUCCESS
    } else {
        anstream::eprintln!(
            "timing: the controls failed: the machine is too noisy, or the method is broken; believe no row"
        );
        ExitCode::FAILURE
    }
}
