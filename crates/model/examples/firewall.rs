//! How long one decision of the firewall takes, with the most rules that a resource may have:
//! `cargo run --release -p strongroom-model --example firewall`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;
use strongroom_model::limits::{HSM_IP_RULES_MAX, PRIVATE_ENDPOINTS_MAX, VAULT_IP_RULES_MAX};
use strongroom_model::network::{
    CompiledPolicy, DefaultAction, EndpointConnection, EndpointStatus, IpRule, NetworkPolicy, NetworkSettings, Origin,
};
use uuid::Uuid;

const ROUNDS: u32 = 10_000_000;
const TRUSTED: u128 = 1000;

fn policy(rules: usize) -> NetworkPolicy {
    let rule = |n: usize| match n % 2 {
        0 => format!("{}.{}.{}.0/25", 11 + n % 97, n / 97, n % 251),
        _ => format!("2001:db8:{n:x}::/48"),
    };
    let connection = |n: usize| EndpointConnection {
        name: format!("endpoint-{n}"),
        endpoint_id: String::new(),
        status: EndpointStatus::Approved,
        description: String::new(),
    };
    NetworkPolicy {
        default_action: DefaultAction::Deny,
        ip_rules: (0..rules).map(|n| IpRule::parse(&rule(n)).unwrap()).collect(),
        connections: (0..PRIVATE_ENDPOINTS_MAX).map(connection).collect(),
        ..NetworkPolicy::default()
    }
}

fn measure(what: &str, mut decide: impl FnMut(u32)) {
    let started = Instant::now();
    for round in 0..ROUNDS {
        decide(round);
    }
    println!("{what:<52} {:6.1} ns", started.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
}

fn main() {
    let trusted_services = (0..TRUSTED).map(|n| Uuid::from_u128(n << 64)).collect();
    let settings = NetworkSettings { trusted_services, ..NetworkSettings::default() };
    for rules in [HSM_IP_RULES_MAX, VAULT_IP_RULES_MAX] {
        let compiled = CompiledPolicy::new(policy(rules), &settings, &[]);
        // Addresses all over: a multiplication by an odd number visits each once.
        let spread = |round: u32| round.wrapping_mul(2_654_435_761);
        measure(&format!("{rules} rules, an IPv4 address"), |round| {
            black_box(compiled.admit(Origin::Public(IpAddr::V4(Ipv4Addr::from_bits(spread(round))))));
        });
        measure(&format!("{rules} rules, an IPv6 address"), |round| {
            let address = 0x2001_0db8_u128 << 96 | u128::from(spread(round) >> 20) << 80;
            black_box(compiled.admit(Origin::Public(IpAddr::V6(Ipv6Addr::from_bits(address)))));
        });
        measure(&format!("{TRUSTED} trusted services, one of them"), |round| {
            black_box(compiled.trusts(&Uuid::from_u128(u128::from(round % 1000) << 64)));
        });
        measure(&format!("{PRIVATE_ENDPOINTS_MAX} private endpoints, the last one"), |_| {
            black_box(compiled.admit(Origin::Endpoint(black_box("endpoint-63"))));
        });
    }
}
