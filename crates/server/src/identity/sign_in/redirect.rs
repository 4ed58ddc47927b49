//! Where answers may go: programs of the person's own machine, on loopback (RFC 8252 7.3).

use super::ticket::{Authorization, ResponseMode};
use http::Uri;

/// Hosts that are this machine, as a browser takes them.
const LOOPBACK: &[&str] = &["localhost", "127.0.0.1", "[::1]"];
/// Longest address.
const ADDRESS_MAX: usize = 512;

/// Whether a `redirect_uri` is one of a public client's: plain HTTP on loopback, any port and path, nothing else.
pub(super) fn is_loopback(text: &str) -> bool {
    parse(text).is_some()
}

fn parse(text: &str) -> Option<Uri> {
    if text.len() > ADDRESS_MAX || text.contains(['#', '?', '\\']) || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    let port = authority.as_str().strip_prefix(authority.host())?;
    let sound = port.is_empty() || port.strip_prefix(':')?.parse::<u16>().is_ok_and(|p| p != 0);
    (sound && uri.scheme_str() == Some("http") && LOOPBACK.contains(&authority.host())).then_some(uri)
}

/// The address as a source of a Content-Security-Policy: browsers hold a form to it over redirects too.
pub(super) fn source(redirect_uri: &str) -> String {
    match parse(redirect_uri).as_ref().and_then(Uri::authority) {
        // No policy can name an IPv6 address.
        Some(authority) if !authority.as_str().starts_with('[') => format!("http://{authority}"),
        Some(_) => "http:".to_owned(),
        None => "'none'".to_owned(),
    }
}

/// The answer's parameters, in their order.
pub(super) type Parameters = Vec<(&'static str, String)>;

impl Authorization {
    /// The address to send the browser to; form posts are pages instead.
    pub(super) fn location(&self, parameters: &Parameters) -> String {
        let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let mark = match self.mode {
            ResponseMode::Query | ResponseMode::FormPost => '?',
            ResponseMode::Fragment => '#',
        };
        let has_path = self.redirect_uri.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
        let slash = if has_path { "" } else { "/" };
        format!("{}{slash}{mark}{encoded}", self.redirect_uri)
    }
}

#[cfg(test)]
mod tests {
    use super::{is_loopback, source};

    #[test]
    fn answers_go_to_this_machine_only() {
        for (good, policy) in [
            ("http://localhost", "http://localhost"),
            ("http://localhost:8400", "http://localhost:8400"),
            ("http://127.0.0.1:1/a/b", "http://127.0.0.1:1"),
            ("http://[::1]:1234/", "http:"),
        ] {
            assert!(is_loopback(good), "{good}");
            assert_eq!(source(good), policy);
        }
        for bad in [
            "",
            "localhost",
            "//localhost",
            "https://localhost:1",
            "http://localhost.evil.example",
            "http://localhost@evil.example",
            "http://evil.example#localhost",
            "http://evil.example/localhost",
            "http://localhost:1@evil.example/",
            "http://localhost:x",
            "http://localhost:",
            "http://localhost:0",
            "http://localhost:65536",
            "http://LOCALHOST",
            "http://127.0.0.2",
            "http://127.1",
            "http://0.0.0.0",
            "http://2130706433",
            "http://[::]",
            "http://localhost/?a=b",
            "http://localhost/#a",
            "http://localhost\\@evil.example",
            "http://localhost/ ",
            "http://localhost/\r\nSet-Cookie: a=b",
            "http://localhost;script-src *",
            "javascript:alert(1)",
            "urn:ietf:wg:oauth:2.0:oob",
            "data:text/html,x",
        ] {
            assert!(!is_loopback(bad), "{bad}");
            assert_eq!(source(bad), "'none'");
        }
    }
}
