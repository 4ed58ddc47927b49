//! The private parsers of this module with their oracles, for the crate `strongroom-fuzz`; not in the product.

use super::host::{Site, Sites, authority_of};
use super::path::{Path, parse_query, query_value};
use http::{HeaderValue, Request, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// A path that parses has one spelling: written out and parsed again, it is the same path.
pub fn path(raw: &str) {
    let Ok(path) = Path::parse(raw) else { return };
    for part in path.scope.iter().flatten().chain(&path.parts) {
        assert!(!part.is_empty() && part != "." && part != "..", "{part:?}");
        assert!(!part.contains(|c: char| c == '/' || c.is_control()), "{part:?}");
    }
    let escape = |part: &str| format!("/{}", utf8_percent_encode(part, NON_ALPHANUMERIC));
    let scope = path.scope.iter().flatten().map(|part| escape(part));
    let marker = path.scope.is_some().then(|| "/providers/Microsoft.Authorization".to_owned());
    let written: String = scope.chain(marker).chain(path.parts.iter().map(|part| escape(part))).collect();
    // A path of many parts can be longer with its scope split than it may be.
    match Path::parse(&written) {
        Ok(again) => {
            assert_eq!(again, path, "{raw:?} is read in two ways");
            assert_eq!(again.canonical(), path.canonical());
        }
        Err(error) => assert!(path.scope.is_some(), "{raw:?} parses and {written:?} does not: {error}"),
    }
}

/// A query parses to what `form_urlencoded` says, or is refused for its length.
pub fn query(raw: Option<&str>) {
    if let Ok(pairs) = parse_query(raw) {
        for (name, _) in &pairs {
            let first = pairs.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
            assert_eq!(query_value(&pairs, name), first);
        }
    }
}

/// A request's host names one of our sites only when it is spelled as one, whatever was remembered before.
pub fn host(target: &[u8], host: &[u8], second: &[u8]) {
    let mut request = Request::new(());
    if !target.is_empty() {
        let Ok(target) = std::str::from_utf8(target) else { return };
        let Ok(uri) = format!("https://{target}/").parse::<Uri>() else { return };
        *request.uri_mut() = uri;
    }
    for value in [host, second] {
        if !value.is_empty() {
            let Ok(value) = HeaderValue::from_bytes(value) else { return };
            request.headers_mut().append("host", value);
        }
    }
    let (head, ()) = request.into_parts();
    let Ok(authority) = authority_of(&head) else { return };
    assert!(second.is_empty() || host.is_empty(), "two hosts are one too many");
    assert!(target.is_empty() || host.is_empty() || head.uri.authority().is_some_and(|a| a.as_str() == authority));
    let sites = Sites::new("localhost", 8443);
    let site = sites.find(authority);
    assert_eq!(sites.find(authority), site);
    assert_eq!(Sites::new("other.example", 8443).find(authority), not_ours(authority), "a site of another domain");
    if let Site::Hsm { name, base, private } = &site {
        let usual = format!("{}.managedhsm.localhost", name.as_str());
        let wanted =
            if *private { format!("{}.privatelink.managedhsm.localhost", name.as_str()) } else { usual.clone() };
        let spelled = authority.to_ascii_lowercase();
        assert!(
            spelled == wanted || spelled == format!("{wanted}:8443") || is_padded(&spelled, &wanted),
            "{authority}"
        );
        assert_eq!(**base, format!("https://{usual}:8443"));
    }
}

/// Ports may have leading zeros (RFC 3986, 3.2.3: any digits).
fn is_padded(spelled: &str, wanted: &str) -> bool {
    spelled
        .strip_prefix(wanted)
        .and_then(|rest| rest.strip_prefix(':'))
        .is_some_and(|p| p.trim_start_matches('0') == "8443")
}

/// What an installation elsewhere makes of an authority: its own names, should somebody ask for them.
fn not_ours(authority: &str) -> Site {
    if authority.to_ascii_lowercase().contains("other.example") {
        Sites::new("other.example", 8443).find(authority)
    } else {
        Site::Unknown
    }
}
