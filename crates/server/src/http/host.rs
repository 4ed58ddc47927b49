//! Which service a request is for: the surface and the name, from `Host` or `:authority`.

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, header};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use strongroom_model::PoolName;

/// Host names that one worker remembers, so that a request does not take its host apart again.
const REMEMBERED_MAX: usize = 64;

/// The label of names that lead to private endpoints.
pub(crate) const PRIVATE_LINK: &str = "privatelink";

/// What a host name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Site {
    /// `{name}.managedhsm.{domain}`, or `{name}.privatelink.managedhsm.{domain}`
    Hsm {
        /// The name.
        name: PoolName,
        /// `https://{name}.managedhsm.{domain}[:port]`
        base: Arc<str>,
        /// Whether the name for private endpoints was used.
        private: bool,
    },
    /// `{name}.vault.{domain}`, or a managed HSM whose name breaks the rules: there is none.
    NoPool,
    /// `login.{domain}`
    Identity,
    /// `management.{domain}`
    Management,
    /// `graph.{domain}`
    Graph,
    /// Any other host.
    Unknown,
}

/// A request whose host is missing, given twice, or contradicts itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadHost;

/// The names of this installation.
#[derive(Debug)]
pub(super) struct Sites {
    id: u64,
    /// `.managedhsm.{domain}`
    hsm_suffix: String,
    /// `.privatelink.managedhsm.{domain}`
    private_suffix: String,
    vault_suffix: String,
    login: String,
    management: String,
    graph: String,
    port: u16,
}

/// What one worker remembers, for one [`Sites`].
struct Remembered {
    sites: u64,
    authority: Box<str>,
    site: Site,
}

thread_local! {
    static REMEMBERED: RefCell<Vec<Remembered>> = const { RefCell::new(Vec::new()) };
}

/// A number that no other [`Sites`] of this process has.
fn new_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Sites {
    pub(super) fn new(domain: &str, port: u16) -> Self {
        let domain = domain.to_ascii_lowercase();
        Self {
            id: new_id(),
            hsm_suffix: format!(".managedhsm.{domain}"),
            private_suffix: format!(".{PRIVATE_LINK}.managedhsm.{domain}"),
            vault_suffix: format!(".vault.{domain}"),
            login: format!("login.{domain}"),
            management: format!("management.{domain}"),
            graph: format!("graph.{domain}"),
            port,
        }
    }

    /// The site of an authority: names compare without case, the port is ours or absent.
    pub(super) fn find(&self, authority: &str) -> Site {
        if let Some(site) = self.remembered(authority) {
            return site;
        }
        let site = self.find_anew(authority);
        // Only the spelling that clients send: the others are as many as somebody likes.
        if matches!(site, Site::Hsm { .. }) && !authority.bytes().any(|b| b.is_ascii_uppercase()) {
            self.remember(authority, &site);
        }
        site
    }

    fn remembered(&self, authority: &str) -> Option<Site> {
        REMEMBERED.with_borrow(|known| {
            let same = |r: &&Remembered| *r.authority == *authority && r.sites == self.id;
            known.iter().find(same).map(|r| r.site.clone())
        })
    }

    fn remember(&self, authority: &str, site: &Site) {
        REMEMBERED.with_borrow_mut(|known| {
            if known.len() < REMEMBERED_MAX {
                known.push(Remembered { sites: self.id, authority: authority.into(), site: site.clone() });
            }
        });
    }

    fn find_anew(&self, authority: &str) -> Site {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && !port.ends_with(']') => (host, Some(port)),
            Some(_) | None => (authority, None),
        };
        let plain = port.is_none_or(|p| p.bytes().all(|b| b.is_ascii_digit()));
        let ours = port.is_none_or(|p| p.parse() == Ok(self.port));
        if !plain || !ours {
            return Site::Unknown;
        }
        let host = host.to_ascii_lowercase();
        let private = host.strip_suffix(&self.private_suffix);
        if let Some(name) = private.or_else(|| host.strip_suffix(&self.hsm_suffix)) {
            return match PoolName::parse(name) {
                // Ids and links bear the usual name, whichever was used.
                Ok(name) => Site::Hsm {
                    base: self.base(&format!("{name}{}", self.hsm_suffix)).into(),
                    name,
                    private: private.is_some(),
                },
                Err(_) => Site::NoPool,
            };
        }
        match host {
            host if host.ends_with(&self.vault_suffix) => Site::NoPool,
            host if host == self.login => Site::Identity,
            host if host == self.management => Site::Management,
            host if host == self.graph => Site::Graph,
            _ => Site::Unknown,
        }
    }

    /// How ids and links of a host begin: the port is left out when it is 443.
    fn base(&self, host: &str) -> String {
        if self.port == 443 { format!("https://{host}") } else { format!("https://{host}:{}", self.port) }
    }
}

/// The one authority that a request names; an absolute target and `Host` must agree.
pub(super) fn authority_of(head: &Parts) -> Result<&str, BadHost> {
    let named = single(&head.headers)?;
    match (head.uri.authority().map(Authority::as_str), named) {
        (Some(target), None) => Ok(target),
        (None, Some(host)) => Ok(host),
        (Some(target), Some(host)) if target.eq_ignore_ascii_case(host) => Ok(target),
        (Some(_), Some(_)) | (None, None) => Err(BadHost),
    }
}

fn single(headers: &HeaderMap) -> Result<Option<&str>, BadHost> {
    let mut values = headers.get_all(header::HOST).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(BadHost);
    }
    first.map(|value| value.to_str().map_err(|_| BadHost)).transpose()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use http::Request;

    fn head(uri: &str, hosts: &[&str]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn hosts_name_their_service() {
        let sites = Sites::new("Localhost", 8443);
        for (host, wanted) in [
            ("login.localhost:8443", Site::Identity),
            ("LOGIN.localhost", Site::Identity),
            ("management.localhost:8443", Site::Management),
            ("graph.localhost:8443", Site::Graph),
            ("v.vault.localhost:8443", Site::NoPool),
            ("a.b.managedhsm.localhost:8443", Site::NoPool),
            (".managedhsm.localhost:8443", Site::NoPool),
            (".privatelink.managedhsm.localhost:8443", Site::NoPool),
            ("login.localhost:443", Site::Unknown),
            ("login.localhost:", Site::Unknown),
            ("login.localhost:+8443", Site::Unknown),
            ("localhost:8443", Site::Unknown),
            ("127.0.0.1:8443", Site::Unknown),
            ("[::1]:8443", Site::Unknown),
            ("managedhsm.localhost", Site::Unknown),
            ("demo.managedhsm.localhost.evil.example:8443", Site::Unknown),
            ("", Site::Unknown),
        ] {
            assert_eq!(sites.find(host), wanted, "{host}");
        }
        for host in ["demo.managedhsm.localhost:8443", "DEMO.ManagedHSM.localhost", "demo.managedhsm.localhost:8443"] {
            let Site::Hsm { name, base, private: false } = sites.find(host) else { panic!("{host}") };
            assert_eq!((name.as_str(), &*base), ("demo", "https://demo.managedhsm.localhost:8443"));
        }
        let Site::Hsm { name, base, private: true } = sites.find("Demo.PrivateLink.managedhsm.localhost:8443") else {
            panic!()
        };
        assert_eq!((name.as_str(), &*base), ("demo", "https://demo.managedhsm.localhost:8443"));
        assert_eq!(sites.find("a.b.privatelink.managedhsm.localhost"), Site::NoPool);
        let Site::Hsm { base, .. } = Sites::new("hsm.example", 443).find("one.managedhsm.hsm.example:443") else {
            panic!()
        };
        assert_eq!(&*base, "https://one.managedhsm.hsm.example");
    }

    #[test]
    fn a_request_names_exactly_one_host() {
        assert_eq!(authority_of(&head("/", &["a"])), Ok("a"));
        assert_eq!(authority_of(&head("https://a/", &[])), Ok("a"));
        assert_eq!(authority_of(&head("https://a/", &["A"])), Ok("a"));
        assert_eq!(authority_of(&head("https://a/", &["b"])), Err(BadHost));
        assert_eq!(authority_of(&head("/", &["a", "a"])), Err(BadHost));
        assert_eq!(authority_of(&head("/", &[])), Err(BadHost));
    }
}
