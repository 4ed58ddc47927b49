//! What is wrong with a configuration: which setting, where, and what was expected.

use std::io;
use std::path::{Path, PathBuf};

/// Why a configuration is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Not TOML, a setting that there is none of, or a value of another type.
    #[error("{}:{line}: {setting}{message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line in it, from 1.
        line: usize,
        /// The setting on that line with a colon, or nothing.
        setting: String,
        /// What the parser says.
        message: String,
    },
    /// A setting has a value that it cannot have.
    #[error("{}: {setting}: {problem}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Which.
        setting: String,
        /// What was expected.
        problem: String,
    },
}

impl ConfigError {
    /// Finds line and setting of the parser's complaint.
    pub(crate) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or_default();
        let line = before.matches('\n').count();
        let key = text.lines().nth(line).and_then(|l| l.split_once('=')).map_or("", |(key, _)| key.trim());
        let message = error.message().to_owned();
        let named = key.is_empty() || message.contains(&format!("`{key}`"));
        let setting = if named { String::new() } else { format!("{key}: ") };
        Self::Syntax { path: path.into(), line: line + 1, setting, message }
    }
}
