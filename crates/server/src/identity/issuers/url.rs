//! `https` URLs of other hosts, taken apart once.

use http::Uri;
use rustls::pki_types::ServerName;

/// The port of HTTPS.
const HTTPS_PORT: u16 = 443;

/// An absolute `https` URL without user, fragment or odd characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::identity) struct SecureUrl {
    host: String,
    port: u16,
    path_and_query: String,
}

impl SecureUrl {
    /// Takes a URL apart; `None` for anything but `https://host[:port]/path[?query]`.
    pub(in crate::identity) fn parse(text: &str) -> Option<Self> {
        if text.contains('#') || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority()?;
        if uri.scheme_str() != Some("https") || authority.as_str().contains('@') {
            return None;
        }
        let host = authority.host().to_ascii_lowercase();
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => HTTPS_PORT,
            port => port.strip_prefix(':')?.parse().ok().filter(|p| *p != 0)?,
        };
        let url = Self { host, port, path_and_query: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned() };
        url.server_name().map(|_| url)
    }

    /// The name that the certificate must be for.
    pub(super) fn server_name(&self) -> Option<ServerName<'static>> {
        ServerName::try_from(self.bare_host().to_owned()).ok()
    }

    /// The host as the resolver takes it: without brackets.
    pub(super) fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    pub(in crate::identity) const fn port(&self) -> u16 {
        self.port
    }

    /// `host[:port]`, as `Host` has it.
    pub(super) fn authority(&self) -> String {
        if self.port == HTTPS_PORT { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// `https://host[:port]`
    pub(in crate::identity) fn origin(&self) -> String {
        format!("https://{}", self.authority())
    }

    pub(in crate::identity) fn path_and_query(&self) -> &str {
        &self.path_and_query
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::SecureUrl;

    #[test]
    fn only_plain_https_urls_are_taken() {
        for (good, origin, path) in [
            ("https://Login.Example.org/t/v2.0?a=b", "https://login.example.org", "/t/v2.0?a=b"),
            ("https://login.example.org:443", "https://login.example.org", "/"),
            ("https://127.0.0.1:8443/keys", "https://127.0.0.1:8443", "/keys"),
            ("https://[::1]:8443/keys", "https://[::1]:8443", "/keys"),
        ] {
            let url = SecureUrl::parse(good).unwrap();
            assert_eq!((url.origin().as_str(), url.path_and_query()), (origin, path), "{good}");
        }
        for bad in [
            "",
            "login.example.org",
            "/keys",
            "http://login.example.org/",
            "file:///etc/passwd",
            "https:///keys",
            "https://a@login.example.org/",
            "https://a:b@login.example.org/",
            "https://login.example.org/#x",
            "https://login.example.org:0/",
            "https://login.example.org:99999/",
            "https://login.example.org:/",
            "https://login.example.org/a b",
            "https://login.example.org/\r\nHost: x",
            "https://lo_gin..example.org/",
            "https://[::1/",
        ] {
            assert!(SecureUrl::parse(bad).is_none(), "{bad}");
        }
    }
}
