//! The headers that every answer of a managed HSM bears (behaviour notes, section 6), ready made where they can be.

use super::endpoint::PeerAddress;
use super::ids::RequestIds;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
const SERVER_LATENCY: HeaderName = HeaderName::from_static("x-ms-server-latency");
const REGION: HeaderName = HeaderName::from_static("x-ms-keyvault-region");
const NETWORK_INFO: HeaderName = HeaderName::from_static("x-ms-keyvault-network-info");
const BUILD_VERSION: HeaderName = HeaderName::from_static("x-ms-build-version");

/// The usual values of `x-ms-server-latency`, ready made.
const LATENCIES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
const EMPTY: HeaderValue = HeaderValue::from_static("");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// The ready-made part, and what of it depends on the installation.
pub(super) struct CommonHeaders {
    /// On every answer, of whatever surface.
    secure: HeaderMap,
    /// On every answer of a managed HSM.
    hsm: HeaderMap,
    region: HeaderValue,
    build_version: HeaderValue,
}

/// What the headers of one answer tell.
pub(super) struct AnswerFacts<'a> {
    /// The request's method.
    pub(super) method: &'a Method,
    /// The two ids.
    pub(super) ids: &'a RequestIds,
    /// From the request's head to now.
    pub(super) latency: Duration,
    /// Ready made for the connection.
    pub(super) peer: &'a PeerHeaders,
    /// Whether the answer is an error: these lack region and network.
    pub(super) error: bool,
    /// Whether there is a body.
    pub(super) body: bool,
}

/// What answers to one peer bear, ready made: the network they came over, and all else that is the same for each.
pub(super) struct PeerHeaders {
    network_info: HeaderValue,
    /// A good answer with a body, its values to be replaced and what it lacks to be removed.
    good: OnceLock<HeaderMap>,
}

impl PeerHeaders {
    /// For a peer, and the resource id of the private endpoint it came through.
    pub(super) fn new(peer: &PeerAddress, endpoint: Option<&str>) -> Self {
        Self { network_info: network_info(peer, endpoint), good: OnceLock::new() }
    }
}

impl CommonHeaders {
    /// Makes the ready-made part; a region or version that no header may hold is left empty.
    pub(super) fn new(region: &str, build_version: &str) -> Self {
        let text = |t: &str| HeaderValue::from_str(t).unwrap_or(EMPTY);
        let mut secure = HeaderMap::with_capacity(8);
        secure
            .insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains"));
        secure.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let mut hsm = secure.clone();
        hsm.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        hsm.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
        hsm.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"));
        Self { secure, hsm, region: text(region), build_version: text(build_version) }
    }

    /// Everything that a good answer can bear.
    fn good(&self, network_info: &HeaderValue) -> HeaderMap {
        let mut headers = self.hsm.clone();
        headers.insert(REGION, self.region.clone());
        headers.insert(NETWORK_INFO, network_info.clone());
        headers.insert(BUILD_VERSION, self.build_version.clone());
        headers.insert(header::CONTENT_TYPE, JSON);
        for replaced in [SERVER_LATENCY, REQUEST_ID, CLIENT_REQUEST_ID] {
            headers.insert(replaced, EMPTY);
        }
        headers
    }

    /// Headers of an answer of a managed HSM.
    pub(super) fn hsm(&self, facts: &AnswerFacts<'_>) -> HeaderMap {
        let mut headers = if facts.error {
            let mut headers = self.hsm.clone();
            headers.reserve(8);
            add_type(&mut headers, facts.body);
            if facts.method == Method::GET {
                headers.insert(BUILD_VERSION, self.build_version.clone());
            }
            headers
        } else {
            // Copied whole, and what is too much taken out: that spares a map that grows and hashes each name.
            let mut headers = facts.peer.good.get_or_init(|| self.good(&facts.peer.network_info)).clone();
            let too_much = [
                (facts.method != Method::GET, BUILD_VERSION),
                (!facts.body, header::CONTENT_TYPE),
                (facts.ids.client_request_id.is_none(), CLIENT_REQUEST_ID),
            ];
            for (_, name) in too_much.into_iter().filter(|(out, _)| *out) {
                headers.remove(name);
            }
            headers
        };
        headers.insert(SERVER_LATENCY, milliseconds(facts.latency));
        add_ids(&mut headers, facts.ids);
        headers
    }

    /// Headers of an answer of any other surface; the caller adds what only that one has.
    pub(super) fn other(&self, ids: &RequestIds, body: bool) -> HeaderMap {
        let mut headers = self.secure.clone();
        add_ids(&mut headers, ids);
        add_type(&mut headers, body);
        headers
    }
}

fn milliseconds(latency: Duration) -> HeaderValue {
    let whole = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
    let usual = usize::try_from(whole).ok().and_then(|whole| LATENCIES.get(whole));
    usual.map_or_else(|| whole.into(), |text| HeaderValue::from_static(text))
}

fn add_ids(headers: &mut HeaderMap, ids: &RequestIds) {
    let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
    if let Ok(value) = HeaderValue::from_str(ids.request_id.as_hyphenated().encode_lower(&mut buffer)) {
        headers.insert(REQUEST_ID, value);
    }
    if let Some(echo) = &ids.client_request_id {
        headers.insert(CLIENT_REQUEST_ID, echo.clone());
    }
}

fn add_type(headers: &mut HeaderMap, body: bool) {
    if body {
        headers.insert(header::CONTENT_TYPE, JSON);
    }
}

/// `x-ms-keyvault-network-info` for a peer; `endpoint` is the resource id of the private endpoint it came through.
fn network_info(peer: &PeerAddress, endpoint: Option<&str>) -> HeaderValue {
    let (address, family) = match peer {
        PeerAddress::Ip(ip @ IpAddr::V4(_)) => (ip.to_string(), "Ipv4"),
        PeerAddress::Ip(ip @ IpAddr::V6(_)) => (ip.to_string(), "Ipv6"),
        PeerAddress::Unix => (String::new(), "Unix"),
        PeerAddress::Vsock(cid) => (cid.to_string(), "Vsock"),
    };
    let kind = match endpoint {
        Some(id) => format!("PrivateLink;private_endpoint={id}"),
        None => family.to_owned(),
    };
    HeaderValue::from_str(&format!("conn_type={kind};addr={address};act_addr_fam={family};")).unwrap_or(EMPTY)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::http::ids::RequestIds;

    #[test]
    fn answers_bear_what_azure_answers() {
        let common = CommonHeaders::new("eastus", "1.0.0");
        let mut sent = HeaderMap::new();
        sent.insert("x-ms-client-request-id", HeaderValue::from_static("2b4f67ae-23d3-11ef-a4c2-00155d0bf3a5"));
        let ids = RequestIds::new(&sent);
        let peer = PeerHeaders::new(&PeerAddress::of("::ffff:127.0.0.1".parse().unwrap()), None);
        let facts = |method, error| AnswerFacts {
            method,
            ids: &ids,
            latency: Duration::from_micros(2_900),
            peer: &peer,
            error,
            body: true,
        };
        let good = common.hsm(&facts(&Method::GET, false));
        assert_eq!(good.len(), 12);
        for (name, value) in [
            ("x-ms-server-latency", "2"),
            ("x-ms-keyvault-region", "eastus"),
            ("x-ms-keyvault-network-info", "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=Ipv4;"),
            ("x-ms-build-version", "1.0.0"),
            ("x-ms-client-request-id", "2b4f67ae-23d3-11ef-a4c2-00155d0bf3a5"),
            ("x-frame-options", "SAMEORIGIN"),
            ("content-security-policy", "default-src 'self'"),
            ("cache-control", "no-cache"),
            ("x-content-type-options", "nosniff"),
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
            ("content-type", "application/json; charset=utf-8"),
        ] {
            assert_eq!(good.get(name).unwrap(), value, "{name}");
        }
        assert_eq!(good.get("x-ms-request-id").unwrap().to_str().unwrap(), ids.request_id.to_string());
        let bad = common.hsm(&facts(&Method::POST, true));
        for name in ["x-ms-keyvault-region", "x-ms-keyvault-network-info", "x-ms-build-version"] {
            assert!(bad.get(name).is_none(), "{name}");
        }
        assert_eq!(bad.len(), 9);
        let unnamed = RequestIds::new(&HeaderMap::new());
        let latency = Duration::from_millis(12_345);
        let bare = common.hsm(&AnswerFacts { ids: &unnamed, latency, body: false, ..facts(&Method::POST, false) });
        for name in ["x-ms-build-version", "content-type", "x-ms-client-request-id"] {
            assert!(bare.get(name).is_none(), "{name}");
        }
        assert_eq!((bare.len(), bare.get("x-ms-server-latency").unwrap()), (9, &HeaderValue::from_static("12345")));
    }

    #[test]
    fn a_private_endpoint_is_named() {
        let info = |peer| network_info(&peer, Some("/x/privateEndpoints/one")).to_str().unwrap().to_owned();
        let start = "conn_type=PrivateLink;private_endpoint=/x/privateEndpoints/one";
        let v6 = PeerAddress::of("2001:db8::1".parse().unwrap());
        assert_eq!(info(v6), format!("{start};addr=2001:db8::1;act_addr_fam=Ipv6;"));
        assert_eq!(info(PeerAddress::Unix), format!("{start};addr=;act_addr_fam=Unix;"));
        assert_eq!(info(PeerAddress::Vsock(3)), format!("{start};addr=3;act_addr_fam=Vsock;"));
    }
}
