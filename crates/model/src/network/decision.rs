//! The compiled form of a policy, and the decision.

use super::PublicNetworkAccess;
use super::{Bypass, DefaultAction, EndpointConnection, EndpointStatus, IpRule, NetworkPolicy, NetworkSettings};
use std::net::IpAddr;
use uuid::Uuid;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A public listener; the real peer.
    Public(IpAddr),
    /// A private endpoint; its name.
    Endpoint(&'a str),
}

/// Why a request does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkRefusal {
    /// No rule names the address.
    Address {
        /// The real peer.
        client: IpAddr,
        /// Whether trusted services would have passed.
        bypass: Bypass,
    },
    /// Public access is off.
    Public {
        /// Whether trusted services would have passed.
        bypass: Bypass,
    },
    /// The connection of the private endpoint is not approved.
    Connection(EndpointStatus),
    /// The private endpoint belongs to another resource than the one that was asked for.
    OtherResource,
}

/// What the origin of a request decides, before anybody looks at its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It passes.
    Passes,
    /// It passes if the caller is a trusted service; else this is why not.
    TrustedOnly(NetworkRefusal),
    /// It passes under no rule and no bypass: its token need not be looked at.
    Refused(NetworkRefusal),
}

/// A policy made ready to decide: sorted, disjoint ranges. Deciding takes one binary search and allocates nothing.
#[derive(Debug, Default)]
pub struct CompiledPolicy {
    /// As they were given.
    rules: NetworkPolicy,
    /// With the endpoints of the configuration.
    policy: NetworkPolicy,
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    /// Sorted; empty where nobody bypasses.
    trusted: Vec<Uuid>,
}

/// Disjoint ranges in ascending order, both ends included.
#[derive(Debug, Default)]
struct Ranges<T>(Vec<(T, T)>);

impl<T: Copy + Ord> Ranges<T> {
    fn new(mut ranges: Vec<(T, T)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= *end => *end = last.max(*end),
                Some(_) | None => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    fn contains(&self, value: T) -> bool {
        let behind = self.0.partition_point(|(first, _)| *first <= value);
        self.0.get(..behind).and_then(<[_]>::last).is_some_and(|(_, last)| value <= *last)
    }
}

impl CompiledPolicy {
    /// Compiles the rules with what surrounds them; `endpoints` are those of the configuration.
    pub fn new(rules: NetworkPolicy, settings: &NetworkSettings, endpoints: &[EndpointConnection]) -> Self {
        let policy = rules.clone().with_endpoints(endpoints);
        let of_networks =
            policy.virtual_network_rules.iter().filter_map(|rule| settings.networks.get(&rule.id)).flatten();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for rule in policy.ip_rules.iter().chain(of_networks) {
            match ends(rule) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                (IpAddr::V6(first), IpAddr::V6(last)) => v6.push((first.to_bits(), last.to_bits())),
                // A rule has one family.
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
            }
        }
        let mut trusted = match policy.bypass {
            Bypass::AzureServices => settings.trusted_services.clone(),
            Bypass::None => Vec::new(),
        };
        trusted.sort_unstable();
        Self { v4: Ranges::new(v4), v6: Ranges::new(v6), trusted, rules, policy }
    }

    /// The rules as they were given, without the endpoints that nobody has decided about.
    pub fn rules(&self) -> &NetworkPolicy {
        &self.rules
    }

    /// The policy in force, with the endpoints of the configuration among its connections.
    pub fn policy(&self) -> &NetworkPolicy {
        &self.policy
    }

    /// Decides on the origin alone.
    pub fn admit(&self, origin: Origin<'_>) -> Admission {
        match origin {
            Origin::Endpoint(name) => match self.policy.connection(name).map(|connection| connection.status) {
                Some(EndpointStatus::Approved) => Admission::Passes,
                // Trusted services are no exception: at Azure such a connection carries nothing at all.
                Some(status) => Admission::Refused(NetworkRefusal::Connection(status)),
                None => Admission::Refused(NetworkRefusal::OtherResource),
            },
            Origin::Public(_) if self.policy.public_access == PublicNetworkAccess::Disabled => {
                self.unless_trusted(NetworkRefusal::Public { bypass: self.policy.bypass })
            }
            Origin::Public(_) if self.policy.default_action == DefaultAction::Allow => Admission::Passes,
            Origin::Public(client) => match self.names(client) {
                true => Admission::Passes,
                false => self.unless_trusted(NetworkRefusal::Address { client, bypass: self.policy.bypass }),
            },
        }
    }

    /// Whether a caller is a trusted service that `bypass` lets pass.
    pub fn trusts(&self, object_id: &Uuid) -> bool {
        self.trusted.binary_search(object_id).is_ok()
    }

    fn unless_trusted(&self, refusal: NetworkRefusal) -> Admission {
        if self.trusted.is_empty() { Admission::Refused(refusal) } else { Admission::TrustedOnly(refusal) }
    }

    fn names(&self, client: IpAddr) -> bool {
        match client.to_canonical() {
            IpAddr::V4(client) => self.v4.contains(client.to_bits()),
            IpAddr::V6(client) => self.v6.contains(client.to_bits()),
        }
    }
}

fn ends(rule: &IpRule) -> (IpAddr, IpAddr) {
    (rule.first(), rule.last())
}
