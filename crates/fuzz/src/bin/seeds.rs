//! `seeds FOLDER`: writes each target's seeds and regressions to `FOLDER/TARGET`, where libFuzzer begins.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;
use strongroom_fuzz::{TARGETS, regressions};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        anstream::eprintln!("usage: seeds FOLDER");
        return ExitCode::from(2);
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("seeds: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> std::io::Result<()> {
    for target in TARGETS {
        let folder = folder.join(target.name);
        std::fs::create_dir_all(&folder)?;
        let all = (target.seeds)().into_iter().chain(regressions(target.name)?);
        for (number, seed) in all.enumerate() {
            std::fs::write(folder.join(format!("seed-{number:03}")), seed)?;
        }
    }
    Ok(())
}
