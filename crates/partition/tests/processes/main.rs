//! Keeper, service and partition as real processes: this program is all three, and the runner of the tests over them.
//!
//! A test starts a keeper with a scenario as its configuration; the service runs the scenario and ends with 0 when all that
//! it asserts holds, with 78 when not (so that the keeper does not start it again).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod node;
mod outbreak;
mod probe;
mod scenarios;
mod tests;

use probe::Probe;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use strongroom_hsm_soft::SoftProvider;
use strongroom_model::PoolId;
use strongroom_partition::keeper::{self, EXIT_CONFIGURATION, KeeperOptions};
use strongroom_partition::process::{self, PartitionOptions};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("keeper") => keeper(&flags(&args), || ()),
        Some("probing-keeper") => keeper(&flags(&args), outbreak::of_the_keeper),
        Some("unlockable-keeper") => {
            node::forbid_memory_lock();
            keeper(&flags(&args), || ())
        }
        Some("keeper-without-landlock") => {
            node::forbid_landlock();
            keeper(&flags(&args), || ())
        }
        Some("service") => scenarios::service(&flags(&args)),
        Some("partition") => partition(&flags(&args)),
        Some(_) | None => runner(&args),
    }
}

/// `--name value` and `--switch`.
fn flags(args: &[String]) -> HashMap<String, String> {
    let named = args.iter().enumerate().filter_map(|(i, a)| Some((a.strip_prefix("--")?, args.get(i + 1))));
    named.map(|(name, value)| (name.to_owned(), value.cloned().unwrap_or_default())).collect()
}

fn keeper(flags: &HashMap<String, String>, confined: fn()) -> ExitCode {
    let options = KeeperOptions {
        seal: PathBuf::from(&flags["seal"]),
        data: PathBuf::from(&flags["data"]),
        create_seal: flags.contains_key("create-seal"),
        dev: flags.contains_key("dev"),
        allow_unlocked_memory: flags.contains_key("allow-unlocked-memory"),
        runtimes: flags["runtimes"].parse().unwrap(),
        config_fd: flags["config-fd"].parse().unwrap(),
        lock_fd: None,
        confined,
    };
    keeper::run(options).unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(EXIT_CONFIGURATION)
    })
}

fn partition(flags: &HashMap<String, String>) -> ExitCode {
    let options = PartitionOptions {
        pool: PoolId(flags["pool"].parse().unwrap()),
        runtimes: flags["runtimes"].parse().unwrap(),
        keeper_fd: flags["keeper-fd"].parse().unwrap(),
        kek_fd: flags["kek-fd"].parse().unwrap(),
        lane_fds: flags["lane-fds"].split(',').map(|fd| fd.parse().unwrap()).collect(),
        dev: flags.contains_key("dev"),
        allow_unlocked_memory: flags.contains_key("allow-unlocked-memory"),
    };
    match process::run(Probe { provider: SoftProvider, keeper: rustix::process::getppid().unwrap() }, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Understands as much of the usual runner's command line as cargo and nextest use.
fn runner(args: &[String]) -> ExitCode {
    let has = |name: &str| args.iter().any(|a| a == name);
    if has("--list") {
        let listed = tests::ALL.iter().filter(|_| !has("--ignored"));
        listed.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&String> = args.iter().filter(|a| !a.starts_with('-')).collect();
    let mut failed = 0;
    for (name, test) in tests::ALL {
        let exact = |w: &&String| if has("--exact") { w.as_str() == *name } else { name.contains(w.as_str()) };
        if wanted.is_empty() || wanted.iter().any(exact) {
            let good = catch_unwind(AssertUnwindSafe(test)).is_ok();
            println!("test {name} ... {}", if good { "ok" } else { "FAILED" });
            failed += usize::from(!good);
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
