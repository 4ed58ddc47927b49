//! What the processes say about themselves: lines on standard error, for people or for machines.

use serde::{Deserialize, Serialize};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// `text` for people, `json` for machines.
    #[serde(default)]
    pub format: LogFormat,
    /// What is said: `error`, `warn`, `info`, `debug`, or a filter such as `info,strongroom_engine=debug`.
    #[serde(default = "default_level")]
    pub level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: default_level() }
    }
}

fn default_level() -> String {
    "info".into()
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people, with colours at a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Carries the level to the processes that read no configuration.
const LEVEL_VARIABLE: &str = "STRONGROOM_LOG_LEVEL";
/// Carries the format to them; its value is [`JSON`] or nothing.
const FORMAT_VARIABLE: &str = "STRONGROOM_LOG_FORMAT";
const JSON: &str = "json";

/// Lets a process, and those that it starts, log in the same way.
pub fn hand_on(settings: &LogSettings, command: &mut std::process::Command) {
    command.env(LEVEL_VARIABLE, &settings.level);
    match settings.format {
        LogFormat::Text => command.env_remove(FORMAT_VARIABLE),
        LogFormat::Json => command.env(FORMAT_VARIABLE, JSON),
    };
}

/// Sets logging up as [`hand_on`] said.
pub fn init_inherited() -> Result<(), LogError> {
    let json = std::env::var(FORMAT_VARIABLE).is_ok_and(|format| format == JSON);
    let format = if json { LogFormat::Json } else { LogFormat::Text };
    init(&LogSettings { format, level: std::env::var(LEVEL_VARIABLE).unwrap_or_else(|_| default_level()) })
}

/// Why nothing is logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is not one.
    #[error("log.level: {0:?} is neither a level (error, warn, info, debug) nor a filter")]
    Level(String),
    /// Something logs already.
    #[error("logging was set up twice")]
    Twice,
}

/// Checks `level` without setting anything up.
pub fn check(settings: &LogSettings) -> Result<(), LogError> {
    EnvFilter::try_new(&settings.level).map(|_| ()).map_err(|_| LogError::Level(settings.level.clone()))
}

/// Sends the log of this process to standard error.
pub fn init(settings: &LogSettings) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&settings.level).map_err(|_| LogError::Level(settings.level.clone()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match settings.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    set.map_err(|_| LogError::Twice)
}
