//! Whether the host names lead to this machine: clients insist on names, and `*.localhost` does not resolve everywhere.

use std::net::ToSocketAddrs;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use strongroom_server::config::ServiceConfig;

/// Longest wait for the resolver: without a network it may wait for servers that never answer.
const RESOLVER_TIME: Duration = Duration::from_secs(2);

/// Every host name of the installation.
pub(crate) fn host_names(config: &ServiceConfig) -> Vec<String> {
    let fixed = ["login", "management", "graph"].map(String::from);
    let pools = config.pools.iter().map(|pool| format!("{}.managedhsm", pool.name));
    fixed.into_iter().chain(pools).map(|label| format!("{label}.{}", config.domain)).collect()
}

/// A question to the resolver that is under way.
pub(crate) struct Resolving(Receiver<Vec<String>>, Vec<String>);

/// Asks the resolver on a thread of its own.
pub(crate) fn resolve(config: &ServiceConfig) -> Resolving {
    let names: Vec<_> = host_names(config).into_iter().filter(|name| !is_unused(name)).collect();
    let (sender, receiver) = channel();
    let (asked, port) = (names.clone(), config.port);
    let thread = std::thread::Builder::new().name("resolver".into()).spawn(move || {
        let lost = asked.into_iter().filter(|name| !leads_here(name, port)).collect();
        // Nobody waits any more when it took too long.
        let _late = sender.send(lost);
    });
    match thread {
        Ok(_) => Resolving(receiver, names),
        Err(error) => {
            tracing::warn!(%error, "host names cannot be looked up");
            Resolving(channel().1, names)
        }
    }
}

/// Management and directory are not served yet: that their names resolve is not needed.
fn is_unused(name: &str) -> bool {
    name.starts_with("management.") || name.starts_with("graph.")
}

fn leads_here(name: &str, port: u16) -> bool {
    (name, port).to_socket_addrs().is_ok_and(|mut found| found.any(|address| address.ip().is_loopback()))
}

impl Resolving {
    /// The names that do not lead here.
    pub(crate) fn lost(self) -> Vec<String> {
        self.0.recv_timeout(RESOLVER_TIME).unwrap_or(self.1)
    }
}
