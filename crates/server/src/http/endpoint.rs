//! Private endpoints: listeners at which one managed HSM answers, and no other name.

use super::body::RequestBody;
use super::dispatch::{Peer, Reply, reply};
use super::firewall::refused;
use super::host::{Site, authority_of};
use super::path::Path;
use super::service::Service;
use super::trail::{Exchange, Trail, UNKNOWN_OPERATION};
use std::net::IpAddr;
use std::sync::Arc;
use strongroom_model::PoolName;
use strongroom_model::network::NetworkRefusal;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerAddress {
    /// TCP; IPv4 in the dress of IPv6 is IPv4.
    Ip(IpAddr),
    /// A process of this machine.
    Unix,
    /// A virtual machine of this host, by its context id.
    Vsock(u32),
}

impl PeerAddress {
    pub(super) fn of(address: IpAddr) -> Self {
        Self::Ip(address.to_canonical())
    }

    pub(super) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix | Self::Vsock(_) => None,
        }
    }
}

/// What a listener of a private endpoint knows.
#[derive(Debug)]
pub(super) struct EndpointDoor {
    /// Its name: that of its connection.
    pub(super) name: String,
    /// Its resource id.
    pub(super) id: String,
    /// The managed HSM that answers.
    pub(super) resource: PoolName,
}

impl Service {
    /// Answers a request that came through a private endpoint: for its managed HSM, under both names; nothing else is there.
    pub(super) async fn endpoint<B: RequestBody>(
        self: &Arc<Self>,
        peer: &Peer,
        door: &EndpointDoor,
        exchange: &Exchange,
        body: &mut B,
        admitted: bool,
    ) -> Reply {
        let path = Path::parse(exchange.head.uri.path());
        match authority_of(&exchange.head).map(|authority| self.sites.find(authority)) {
            Ok(Site::Hsm { name, base, .. }) if name == door.resource => {
                let trail = Trail::new(Some(name.clone()), base);
                self.hsm(peer, exchange, trail, &name, &path, body, admitted).await
            }
            Ok(Site::Hsm { .. } | Site::NoPool | Site::Identity | Site::Management | Site::Graph | Site::Unknown)
            | Err(_) => self.not_behind(door, exchange).await,
        }
    }

    async fn not_behind(&self, door: &EndpointDoor, exchange: &Exchange) -> Reply {
        let mut trail = Trail::new(Some(door.resource.clone()), Arc::from(""));
        trail.operation = UNKNOWN_OPERATION;
        let rendered = self.record_refusal(exchange, &trail, refused(NetworkRefusal::OtherResource)).await;
        reply(rendered.status, self.headers.other(&exchange.ids, true), rendered.hsm_body(&exchange.ids))
    }
}
