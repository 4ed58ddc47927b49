//! The binary: `dev`, `serve`, the commands beside them, and the processes behind them.
#![forbid(unsafe_code)]

mod bench;
mod cli;
mod commands;
mod dev;
mod failure;
mod keeper;
mod serve;
mod service;

use clap::Parser;
use cli::{AuditCommand, Cli, Command, PrincipalCommand, SealCommand};
use failure::Failure;
use std::io::Write;
use std::process::ExitCode;

/// A request makes some sixty small values and a few large ones: measured at a tenth of its processor time with the C library's
/// allocator. What must be wiped is wiped by its type, whatever the allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is nobody's loss.
            let _closed = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    rustix::process::umask(UMASK);
    match run(cli.command) {
        Ok(code) => code,
        Err(failure) => {
            let _closed = writeln!(std::io::stderr().lock(), "strongroom: {}", failure.message());
            ExitCode::from(failure.exit_code())
        }
    }
}

/// What this program makes is for its user alone, whatever the shell says; what clients read gets its mode by name.
const UMASK: rustix::fs::Mode = rustix::fs::Mode::from_raw_mode(0o077);

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Dev(args) => dev::start(args),
        Command::Serve(args) => serve::start(&args),
        Command::Audit { command: AuditCommand::Verify(args) } => commands::audit::verify_log(&args),
        Command::Seal { command: SealCommand::Create { path } } => commands::seal::create(&path),
        Command::Principal { directory, command } => match command {
            PrincipalCommand::Add { name } => commands::principal::add(&directory.path()?, &name),
            PrincipalCommand::List => commands::principal::list(&directory.path()?),
            PrincipalCommand::Secret { client_id } => commands::principal::new_secret(&directory.path()?, client_id),
            PrincipalCommand::AddUser { name } => commands::principal::add_user(&directory.path()?, &name),
            PrincipalCommand::Password { name } => commands::principal::new_password(&directory.path()?, &name),
            PrincipalCommand::Block { object_id } => commands::principal::block(&directory.path()?, object_id),
            PrincipalCommand::Unblock { object_id } => commands::principal::unblock(&directory.path()?, object_id),
            PrincipalCommand::Enable { id } => commands::principal::set_enabled(&directory.path()?, id, true),
            PrincipalCommand::Disable { id } => commands::principal::set_enabled(&directory.path()?, id, false),
        },
        Command::Bench(args) => measured(bench::run(&args)),
        Command::BenchCeiling { primitive, certificate } => measured(bench::run_ceiling(&primitive, &certificate)),
        Command::Keeper(args) => keeper::run_keeper(args),
        Command::Service(args) => service::run(&args),
        Command::Partition(args) => keeper::run_partition(args),
        Command::Announce => dev::announce::run(),
    }
}

fn measured(outcome: Result<(), bench::BenchError>) -> Result<ExitCode, Failure> {
    outcome.map(|()| ExitCode::SUCCESS).map_err(Failure::failed)
}
