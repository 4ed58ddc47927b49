//! The layer table of ARCHITECTURE.md: which crate of ours may use which.

use crate::CheckError;
use cargo_metadata::{DependencyKind, MetadataCommand};
use std::path::Path;

/// Each crate with what of ours it may use in the product; tests may use more, as long as no circle comes of it.
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("wire", &[]),
    ("hsm", &["model"]),
    ("hsm-soft", &["model", "hsm"]),
    ("partition", &["model", "hsm", "hsm-soft"]),
    ("store", &["model"]),
    ("engine", &["model", "hsm", "store"]),
    ("server", &["model", "wire", "hsm", "store", "engine"]),
    ("strongroom", &["model", "wire", "hsm", "hsm-soft", "partition", "store", "engine", "server"]),
    ("counts", &[]),
    ("fuzz", &["model", "hsm", "hsm-soft", "partition", "store", "engine", "server"]),
    ("xtask", &["model"]),
];

/// Crates of the outside that only the named crates may use: what the others must not know about.
const RESERVED: &[(&str, &[&str])] = &[
    ("aws-lc-rs", &["hsm", "hsm-soft", "partition", "server", "strongroom", "fuzz"]),
    ("k256", &["hsm-soft"]),
    ("aes-kw", &["hsm-soft"]),
    ("redb", &["store"]),
    ("hyper", &["server", "strongroom"]),
    ("rustls", &["server", "strongroom"]),
    ("serde_json", &["wire", "server", "strongroom", "fuzz", "xtask"]),
    ("libc", &["partition"]),
];

/// What breaks the table, a line each.
pub(crate) fn broken(root: &Path) -> Result<Vec<String>, CheckError> {
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec()?;
    let mut broken = Vec::new();
    for package in &metadata.packages {
        let short = short(&package.name);
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == short) else {
            broken.push(format!("{}: not in the layer table (crates/xtask/src/layers.rs)", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal) {
            let name = dependency.name.as_str();
            if dependency.path.is_some() && !allowed.contains(&self::short(name)) {
                broken.push(format!("{}: may not use {name}", package.name));
            }
            if RESERVED.iter().any(|(crate_name, users)| *crate_name == name && !users.contains(&short)) {
                broken.push(format!("{}: {name} is not for this layer", package.name));
            }
        }
    }
    Ok(broken)
}

fn short(name: &str) -> &str {
    name.strip_prefix("strongroom-").unwrap_or(name)
}
