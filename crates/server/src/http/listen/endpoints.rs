//! Sockets of private endpoints.

use super::{EndpointPlace, ListenEndpoint, ListenError, patiently};
use crate::http::dispatch::Door;
use crate::http::endpoint::EndpointDoor;
use crate::http::sockets::{self, Bound};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// The addresses of a place, with its interface and whether it may be missing.
fn addresses(place: &EndpointPlace) -> Vec<(SocketAddr, Option<&str>, bool)> {
    match place {
        EndpointPlace::Address(address) => vec![(*address, None, false)],
        EndpointPlace::Interface { name, port } => vec![
            ((Ipv4Addr::UNSPECIFIED, *port).into(), Some(name), false),
            ((Ipv6Addr::UNSPECIFIED, *port).into(), Some(name), true),
        ],
        EndpointPlace::Unix(_) | EndpointPlace::Vsock(_) => Vec::new(),
    }
}

/// Binds what has an address once without sharing it, and lets it go again.
pub(super) fn probe(endpoint: &ListenEndpoint) -> Result<(), ListenError> {
    for (address, device, optional) in addresses(&endpoint.place) {
        match patiently(|| sockets::tcp(address, false, device)) {
            Ok(_) => {}
            Err(error) if optional && error.kind() != io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(failed(endpoint, error)),
        }
    }
    Ok(())
}

/// Binds the endpoint for every worker; the addresses that it has.
pub(super) fn open(
    endpoint: &ListenEndpoint,
    workers: &mut [Vec<(Bound, Door)>],
) -> Result<Vec<SocketAddr>, ListenError> {
    let refuse = |error| failed(endpoint, error);
    let door = Arc::new(EndpointDoor {
        name: endpoint.name.clone(),
        id: endpoint.id.clone(),
        resource: endpoint.resource.clone(),
    });
    let one = match &endpoint.place {
        EndpointPlace::Unix(path) => Some(patiently(|| sockets::unix(path)).map_err(refuse)?),
        EndpointPlace::Vsock(port) => patiently(|| sockets::vsock(*port)).map_err(refuse)?,
        EndpointPlace::Address(_) | EndpointPlace::Interface { .. } => None,
    };
    if let Some(one) = &one {
        for listeners in workers.iter_mut() {
            listeners.push((one.again().map_err(refuse)?, Door::Endpoint(Arc::clone(&door))));
        }
    } else if matches!(endpoint.place, EndpointPlace::Vsock(_)) {
        tracing::error!(
            name = %endpoint.name,
            "this kernel has no sockets for virtual machines (vsock): the private endpoint is not there"
        );
    }
    let mut bound = Vec::new();
    for (mut address, device, optional) in addresses(&endpoint.place) {
        for (index, listeners) in workers.iter_mut().enumerate() {
            let listener = match sockets::tcp(address, true, device) {
                Ok(listener) => listener,
                Err(_) if optional && index == 0 => break,
                Err(error) => return Err(refuse(error)),
            };
            address = listener.local_addr().map_err(refuse)?;
            if index == 0 {
                bound.push(address);
            }
            listeners.push((Bound::Tcp(listener), Door::Endpoint(Arc::clone(&door))));
        }
    }
    Ok(bound)
}

fn failed(endpoint: &ListenEndpoint, error: io::Error) -> ListenError {
    let (name, place) = (endpoint.name.clone(), endpoint.place.clone());
    if error.kind() == io::ErrorKind::AddrInUse {
        ListenError::EndpointTaken { name, place }
    } else {
        ListenError::EndpointRefused { name, place, error }
    }
}
