//! What can be typed.

use crate::dev::flags::{ClockOffset, HsmFlag, PrincipalName, UserName};
use crate::failure::Failure;
use clap::{Args, Parser, Subcommand};
use std::os::fd::RawFd;
use std::path::PathBuf;
use strongroom_server::config::Config;
use uuid::Uuid;

/// A Managed HSM that you own, wire-compatible with Azure Key Vault Managed HSM.
#[derive(Parser)]
#[command(name = "strongroom", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands; those that are hidden are started by the keeper only.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start a managed HSM for development on this machine, with an issuer and a private CA of its own.
    Dev(DevArgs),
    /// Start in production.
    Serve(ServeArgs),
    /// The audit log.
    Audit {
        /// What to do.
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// The seal file.
    Seal {
        /// What to do.
        #[command(subcommand)]
        command: SealCommand,
    },
    /// The service principals of the embedded issuer. Changes count within a second, without a restart.
    Principal {
        /// Whose directory.
        #[command(flatten)]
        directory: DirectoryArgs,
        /// What to do.
        #[command(subcommand)]
        command: PrincipalCommand,
    },
    /// Measure processor time and latency of the main operations over HTTPS, beside the bare ceiling.
    Bench(crate::bench::BenchArgs),
    /// The bare ceiling of one operation, for `bench`.
    #[command(hide = true)]
    BenchCeiling {
        /// The primitive.
        primitive: String,
        /// Where its certificate goes.
        certificate: PathBuf,
    },
    /// The keeper.
    #[command(hide = true)]
    Keeper(KeeperArgs),
    /// The service.
    #[command(hide = true)]
    Service(ServiceArgs),
    /// A partition.
    #[command(hide = true)]
    Partition(PartitionArgs),
    /// Waits until `dev` is ready and says so.
    #[command(hide = true)]
    Announce,
}

/// `strongroom dev`
#[derive(Args)]
pub(crate) struct DevArgs {
    /// The one HTTPS port.
    #[arg(long, default_value_t = 8443, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,
    /// Where everything lies; made when it is not there.
    #[arg(long, value_name = "DIR", default_value = "./strongroom-dev")]
    pub(crate) data: PathBuf,
    /// The end of every host name.
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    pub(crate) domain: String,
    /// A managed HSM; an inactive one answers the challenge and refuses the rest. Repeatable [default: demo]
    #[arg(long, value_name = "NAME[,inactive]")]
    pub(crate) hsm: Vec<HsmFlag>,
    /// Write the environment for clients to this file (KEY=VALUE lines, mode 0600) when the HSM is ready.
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
    /// Move the clock of keys and rules, in seconds or days (90d).
    #[arg(long, value_name = "TIME", default_value = "0", allow_hyphen_values = true)]
    pub(crate) clock_offset: ClockOffset,
    /// One more service principal, without any role. Repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) principal: Vec<PrincipalName>,
    /// A person who can sign in, without any role. Repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Vec<PrincipalName>,
    /// Other issuers whose tokens count: a TOML file with `[[issuers]]` tables as in the configuration.
    #[arg(long, value_name = "FILE")]
    pub(crate) issuers: Option<PathBuf>,
    /// Keep keys in another store than the embedded one: a file with the settings of [store] (docs/configuration.md).
    #[arg(long, value_name = "FILE")]
    pub(crate) store: Option<PathBuf>,
    /// Runtimes of the service [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) runtimes: Option<u16>,
    /// Keys kept ready for use, for each managed HSM [default: 16384]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..=10_000_000))]
    pub(crate) cache_keys: Option<u32>,
    /// Memory for pages of the store, in MiB [default: 64]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(crate) cache_store_mib: Option<u32>,
    /// What is logged on standard error: error, warn, info, debug or a filter.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    pub(crate) log: String,
}

/// `strongroom serve`
#[derive(Args)]
pub(crate) struct ServeArgs {
    /// The configuration (docs/configuration.md).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Print the resolved configuration and end.
    #[arg(long)]
    pub(crate) check: bool,
}

/// `strongroom audit`
#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// Check that no line of a log was changed, removed, moved or put in, and that it agrees with what the partitions signed.
    Verify(VerifyArgs),
}

/// `strongroom audit verify`
#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// The folder of the log.
    pub(crate) folder: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// An earlier last line, as this command printed it: the log must still hold it.
    #[arg(long, value_name = "SEQUENCE:HASH")]
    pub(crate) head: Option<crate::commands::audit::KnownHead>,
    /// The audit key of a pool, as this command printed it: what the pool's partitions signed must be signed by it. May be
    /// given for each pool.
    #[arg(long = "audit-key", value_name = "POOL=KEY")]
    pub(crate) audit_keys: Vec<crate::commands::audit::GivenKey>,
}

/// `strongroom seal`
#[derive(Subcommand)]
pub(crate) enum SealCommand {
    /// Make a seal file with new random keys. Without it every key is lost: keep a copy apart from every backup of the store.
    Create {
        /// Where; nothing may be there, and it must not be inside the data folder.
        path: PathBuf,
    },
}

/// Which directory file.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct DirectoryArgs {
    /// The directory file.
    #[arg(long, value_name = "FILE")]
    directory: Option<PathBuf>,
    /// A configuration, whose identity.directory is meant.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl DirectoryArgs {
    /// The file.
    pub(crate) fn path(&self) -> Result<PathBuf, Failure> {
        match (&self.directory, &self.config) {
            (Some(path), _) => Ok(path.clone()),
            (None, Some(config)) => Ok(Config::read(config)?.identity.directory),
            (None, None) => Err(Failure::configuration("--directory or --config says which directory is meant")),
        }
    }
}

/// `strongroom principal`
#[derive(Subcommand)]
pub(crate) enum PrincipalCommand {
    /// Add a service principal and print its ids and its secret, which is shown this once.
    Add {
        /// For people.
        name: PrincipalName,
    },
    /// List who there is.
    List,
    /// Give a service principal one more secret, which is shown this once.
    Secret {
        /// Whose.
        client_id: Uuid,
    },
    /// Add a person and print the object id and a password, which is shown this once.
    AddUser {
        /// The user principal name, such as ada@example.org.
        name: UserName,
    },
    /// Give a person a new password, which is shown this once; refresh tokens of the old one end.
    Password {
        /// The user principal name.
        name: UserName,
    },
    /// Refuse a principal or group of another issuer, whatever that issuer says.
    Block {
        /// As roles are assigned to it.
        object_id: Uuid,
    },
    /// Take it back.
    Unblock {
        /// As it was blocked.
        object_id: Uuid,
    },
    /// Let a principal log in again.
    Enable {
        /// Client id, or object id.
        id: Uuid,
    },
    /// Refuse a principal and all its tokens.
    Disable {
        /// Client id, or object id.
        id: Uuid,
    },
}

/// How the first process starts the keeper.
#[derive(Args)]
pub(crate) struct KeeperArgs {
    #[arg(long)]
    pub(crate) seal: PathBuf,
    #[arg(long)]
    pub(crate) data: PathBuf,
    #[arg(long)]
    pub(crate) create_seal: bool,
    #[arg(long)]
    pub(crate) dev: bool,
    #[arg(long)]
    pub(crate) allow_unlocked_memory: bool,
    #[arg(long)]
    pub(crate) runtimes: usize,
    #[arg(long)]
    pub(crate) config_fd: RawFd,
    #[arg(long)]
    pub(crate) lock_fd: RawFd,
}

/// How the keeper starts the service.
#[derive(Args)]
pub(crate) struct ServiceArgs {
    #[arg(long)]
    pub(crate) config_fd: RawFd,
    #[arg(long)]
    pub(crate) keeper_fd: RawFd,
    #[arg(long)]
    pub(crate) store_seal_fd: RawFd,
    #[arg(long)]
    pub(crate) runtimes: usize,
}

/// How the keeper starts a partition.
#[derive(Args)]
pub(crate) struct PartitionArgs {
    #[arg(long)]
    pub(crate) pool: Uuid,
    #[arg(long)]
    pub(crate) runtimes: usize,
    #[arg(long)]
    pub(crate) keeper_fd: RawFd,
    #[arg(long)]
    pub(crate) kek_fd: RawFd,
    #[arg(long, value_delimiter = ',')]
    pub(crate) lane_fds: Vec<RawFd>,
    #[arg(long)]
    pub(crate) dev: bool,
    #[arg(long)]
    pub(crate) allow_unlocked_memory: bool,
}
