//! What the benches repeat of this module's inside.

use super::endpoint::PeerAddress;
use super::headers::{AnswerFacts, CommonHeaders, PeerHeaders};
use super::ids::RequestIds;
use super::path::Path;
use super::route::{self, Surface};
use super::router::Router;
use http::{HeaderMap, Method};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The route table, folded.
pub(crate) struct BenchRouter(Router);

impl BenchRouter {
    pub(crate) fn new() -> Self {
        Self(Router::new(route::all()))
    }

    pub(crate) fn find(&self, path: &str) -> Option<usize> {
        let path = Path::parse(path).ok()?;
        self.0.find(Surface::Hsm, &path, &Method::POST).ok().map(|found| found.params.len())
    }
}

/// The headers of an installation and of one peer.
pub(crate) struct BenchHeaders {
    common: CommonHeaders,
    peer: PeerHeaders,
}

impl BenchHeaders {
    pub(crate) fn new() -> Self {
        let peer = PeerHeaders::new(&PeerAddress::of(IpAddr::V4(Ipv4Addr::LOCALHOST)), None);
        Self { common: CommonHeaders::new("local", env!("CARGO_PKG_VERSION")), peer }
    }

    pub(crate) fn answer(&self) -> usize {
        let headers = self.common.hsm(&AnswerFacts {
            method: &Method::POST,
            ids: &RequestIds::new(&HeaderMap::new()),
            latency: Duration::from_micros(900),
            peer: &self.peer,
            error: false,
            body: true,
        });
        headers.len()
    }
}
