//! Where the service must get at files and ports: all that it can reach once it is confined.

use super::{FolderError, ServiceConfig};
use std::fs;
use std::path::{Path, PathBuf};

/// Where systems keep the certificates of the authorities that they trust, and what those folders link to.
const SYSTEM_AUTHORITIES: &[&str] = &[
    "/etc/ssl/certs",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates/extracted",
    "/var/lib/ca-certificates",
];

/// A folder that the service works in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkFolder {
    /// The setting that it follows from.
    pub setting: &'static str,
    /// Where; links are followed.
    pub folder: PathBuf,
    /// Whether files are made and written there.
    pub write: bool,
}

impl ServiceConfig {
    /// The folders that the service works in. Folders and not files, since a file that is replaced is another one.
    pub fn work_folders(&self) -> Vec<WorkFolder> {
        let mut found: Vec<WorkFolder> = Vec::new();
        let store = self.data.join("store");
        for (setting, folder) in [("data", &self.data), ("data", &store), ("audit.folder", &self.audit.folder)] {
            found.push(WorkFolder { setting, folder: real(folder), write: true });
        }
        let from_authority = self.tls.certificate_chain.is_none();
        let files = [
            ("identity.directory", Some(&self.identity.directory), false),
            ("tls.certificate_chain", self.tls.certificate_chain.as_ref(), false),
            ("tls.private_key", self.tls.private_key.as_ref(), false),
            ("tls.ca_file", self.tls.ca_file.as_ref().filter(|_| from_authority), true),
        ];
        let etcd = ["store.ca", "store.certificate", "store.key"].into_iter().zip(self.store.files());
        let files = files.into_iter().chain(etcd.map(|(setting, path)| (setting, path, false)));
        let issuers = &self.identity.issuers;
        let authorities = issuers.iter().map(|issuer| ("identity.issuers", issuer.ca_file.as_ref(), false));
        for (setting, path, write) in files.chain(authorities) {
            let Some(path) = path else { continue };
            // The name's folder, and where a link leads to: the file is read there.
            for folder in [real(parent(path)), parent(&real(path)).into()] {
                found.push(WorkFolder { setting, folder, write });
            }
        }
        if issuers.iter().any(|issuer| issuer.ca_file.is_none()) {
            let there = SYSTEM_AUTHORITIES.iter().map(Path::new).filter(|folder| folder.is_dir());
            found.extend(there.map(|f| WorkFolder { setting: "identity.issuers", folder: real(f), write: false }));
        }
        // Sockets are made there, and replaced when an earlier run left them behind.
        let sockets = self.network.endpoints.iter().filter_map(|endpoint| endpoint.unix.as_deref());
        found.extend(sockets.map(|p| WorkFolder { setting: "private_endpoint", folder: real(parent(p)), write: true }));
        found.dedup();
        // What lies below another folder is reached with it.
        let below = |work: &WorkFolder, other: &WorkFolder| {
            work.folder != other.folder && work.folder.starts_with(&other.folder) && (other.write || !work.write)
        };
        let kept = found.iter().filter(|work| !found.iter().any(|other| below(work, other)));
        kept.cloned().collect()
    }

    /// Checks that the folders which the service works in are there.
    pub fn check_work_folders(&self) -> Result<(), FolderError> {
        match self.work_folders().into_iter().find(|work| !work.folder.is_dir()) {
            Some(WorkFolder { setting, folder, .. }) => Err(FolderError::Unreachable { setting, folder }),
            None => Ok(()),
        }
    }

    /// The TCP ports that the service listens on.
    pub fn listening_ports(&self) -> Vec<u16> {
        let endpoints = self.network.endpoints.iter().filter_map(|endpoint| endpoint.port);
        let mut ports: Vec<u16> = [self.port].into_iter().chain(self.managed_identity_port).chain(endpoints).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Whether it listens on a Unix socket, and whether on one for virtual machines.
    pub fn listens_locally(&self) -> (bool, bool) {
        let endpoints = &self.network.endpoints;
        (endpoints.iter().any(|e| e.unix.is_some()), endpoints.iter().any(|e| e.vsock.is_some()))
    }

    /// Checks that the seal lies in no folder that the service can reach, links followed.
    pub fn check_seal_place(&self) -> Result<(), FolderError> {
        let places = [real(&self.seal), real(parent(&self.seal))];
        for WorkFolder { setting, folder, .. } in self.work_folders() {
            if places.iter().any(|place| place.starts_with(&folder)) {
                return Err(FolderError::SealReached { seal: self.seal.clone(), folder, setting });
            }
        }
        Ok(())
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// The path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => real(folder).join(name),
        _ => path.into(),
    })
}
