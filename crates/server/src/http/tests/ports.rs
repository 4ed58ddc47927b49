//! Ports: taken ones, missing ones, and those that must stay on this machine.

use crate::http::{ListenAddress, ListenError, ListenSettings, Listeners};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

fn at(address: SocketAddr, optional: bool) -> ListenAddress {
    ListenAddress { address, setting: "--port", optional }
}

fn settings(tls: Vec<ListenAddress>) -> ListenSettings {
    ListenSettings { tls, workers: 3, ..ListenSettings::default() }
}

#[test]
fn a_taken_port_is_said_with_its_setting() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = other.local_addr().unwrap();
    let error = Listeners::bind(&settings(vec![at(address, false)])).unwrap_err();
    assert!(matches!(error, ListenError::Taken { .. }), "{error}");
    assert!(error.to_string().contains("--port") && error.to_string().contains(&address.to_string()));
    // A second server of ours is no exception, though both would share the port.
    drop(other);
    let first = Listeners::bind(&settings(vec![at(address, false)])).unwrap();
    let second = Listeners::bind(&settings(vec![at(address, false)])).unwrap_err();
    assert!(matches!(second, ListenError::Taken { .. }), "{second}");
    assert_eq!(first.addresses(), [address]);
}

#[test]
fn addresses_that_are_not_here() {
    let nowhere: SocketAddr = "[2001:db8::1]:0".parse().unwrap();
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bound = Listeners::bind(&settings(vec![at(here, false), at(nowhere, true)])).unwrap();
    assert_eq!(bound.addresses().len(), 1);
    assert!(matches!(Listeners::bind(&settings(vec![at(nowhere, false)])), Err(ListenError::Refused { .. })));
    assert!(matches!(Listeners::bind(&settings(vec![at(nowhere, true)])), Err(ListenError::Nowhere)));
}

#[test]
fn managed_identity_stays_on_this_machine() {
    let open = ListenSettings {
        managed_identity: vec![at(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), false)],
        ..settings(vec![at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false)])
    };
    assert!(matches!(Listeners::bind(&open), Err(ListenError::NotLoopback { .. })));
}
