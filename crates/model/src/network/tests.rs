#![allow(clippy::unwrap_used)]
use super::*;
use crate::error::BadIpRule;
use crate::limits::{HSM_IP_RULES_MAX, VAULT_IP_RULES_MAX};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn rule(text: &str) -> IpRule {
    IpRule::parse(text).unwrap()
}

fn subnet(name: &str) -> SubnetId {
    let start = "/subscriptions/6d4b4a1e-0000-4000-8000-000000000002/resourceGroups/g/providers/Microsoft.Network";
    SubnetId::parse(&format!("{start}/virtualNetworks/v/subnets/{name}")).unwrap()
}

#[test]
fn rules_are_shown_as_azure_shows_them() {
    for (text, shown) in [
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.7/32", "192.0.2.7/32"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("255.255.255.255/1", "128.0.0.0/1"),
        ("1.2.3.4/0", "0.0.0.0/0"),
        ("2001:DB8::0001", "2001:db8::1/128"),
        ("2001:db8:ffff::/33", "2001:db8:8000::/33"),
        ("::/0", "::/0"),
    ] {
        assert_eq!(rule(text).to_string(), shown, "{text}");
        assert_eq!(IpRule::parse(shown), Ok(rule(text)), "{text}");
    }
}

#[test]
fn hostile_ranges_are_refused_for_their_reason() {
    let long = format!("192.0.2.1/{}", "0".repeat(100));
    for (text, why) in [
        ("", BadIpRule::Address),
        ("/24", BadIpRule::Address),
        (" 192.0.2.1", BadIpRule::Address),
        ("192.0.2.1 ", BadIpRule::Address),
        ("\"192.0.2.1\"", BadIpRule::Address),
        ("'192.0.2.1'", BadIpRule::Address),
        ("192.0.2", BadIpRule::Address),
        ("192.0.2.1.1", BadIpRule::Address),
        ("192.0.2.256", BadIpRule::Address),
        ("192.0.2.01", BadIpRule::Address),
        ("0300.0.2.1", BadIpRule::Address),
        ("0xc0.0.2.1", BadIpRule::Address),
        ("3221225985", BadIpRule::Address),
        ("192.0.2.1-192.0.2.9", BadIpRule::Address),
        ("192.0.2.*", BadIpRule::Address),
        ("192.0.2.1\0", BadIpRule::Address),
        ("١٩٢.0.2.1", BadIpRule::Address),
        ("[2001:db8::1]", BadIpRule::Address),
        ("fe80::1%eth0", BadIpRule::Address),
        ("2001:db8::1::", BadIpRule::Address),
        ("localhost", BadIpRule::Address),
        (&long, BadIpRule::Address),
        ("192.0.2.1/", BadIpRule::Prefix),
        ("192.0.2.1/33", BadIpRule::Prefix),
        ("192.0.2.1/256", BadIpRule::Prefix),
        ("192.0.2.1/-1", BadIpRule::Prefix),
        ("192.0.2.1/+1", BadIpRule::Prefix),
        ("192.0.2.1/ 1", BadIpRule::Prefix),
        ("192.0.2.1/024", BadIpRule::Prefix),
        ("192.0.2.1/00", BadIpRule::Prefix),
        ("192.0.2.1/24/24", BadIpRule::Prefix),
        ("192.0.2.1/255.255.255.0", BadIpRule::Prefix),
        ("2001:db8::/129", BadIpRule::Prefix),
        ("::ffff:192.0.2.1", BadIpRule::Mapped),
        ("::ffff:c000:201/120", BadIpRule::Mapped),
        ("::ffff:0:0/96", BadIpRule::Mapped),
        ("::ffff:192.0.2.1/0", BadIpRule::Mapped),
    ] {
        assert_eq!(IpRule::parse(text), Err(Error::BadParameter(BadParameter::IpRule(why))), "{text:?}");
    }
}

#[test]
fn subnets_compare_without_case_and_keep_their_spelling() {
    let (id, other) = (subnet("Front"), subnet("front"));
    assert_eq!(id, other);
    assert_eq!(id.cmp(&other), std::cmp::Ordering::Equal);
    assert!(id.as_str().ends_with("/Front"));
    assert!(subnet("back") < other);
    let whole = id.as_str();
    for bad in ["", "/", "front", &whole[1..], &format!("{whole}/"), &format!("{whole}/x"), &whole.replace("/v/", "//")]
    {
        assert!(SubnetId::parse(bad).is_err(), "{bad:?}");
    }
    assert!(SubnetId::parse(&whole.replace("Microsoft.Network", "Microsoft.Compute")).is_err());
    assert!(SubnetId::parse(&whole.replace("/v/", "/v%2f/")).is_err());
    assert!(SubnetId::parse(&whole.replace("/v/", &format!("/{}/", "v".repeat(2048)))).is_err());
    assert!(SubnetId::parse(&whole.to_uppercase()).is_ok_and(|upper| upper == id));
}

#[test]
fn numbers_are_limited() {
    let policy = |rules: usize| NetworkPolicy {
        ip_rules: (0..rules).map(|n| rule(&format!("192.0.{}.{}", n / 256, n % 256))).collect(),
        ..NetworkPolicy::default()
    };
    assert_eq!(policy(HSM_IP_RULES_MAX).check(HSM_IP_RULES_MAX), Ok(()));
    assert!(policy(HSM_IP_RULES_MAX + 1).check(HSM_IP_RULES_MAX).is_err());
    assert_eq!(policy(VAULT_IP_RULES_MAX).check(VAULT_IP_RULES_MAX), Ok(()));
    assert!(policy(VAULT_IP_RULES_MAX + 1).check(VAULT_IP_RULES_MAX).is_err());
    let subnets = (0..=VIRTUAL_NETWORK_RULES_MAX).map(|n| VirtualNetworkRule { id: subnet(&n.to_string()) });
    let many = NetworkPolicy { virtual_network_rules: subnets.collect(), ..NetworkPolicy::default() };
    assert!(many.check(HSM_IP_RULES_MAX).is_err());
    let mut long = NetworkPolicy::default();
    long.decide(connection("e", EndpointStatus::Approved, CONNECTION_TEXT_MAX));
    assert_eq!(long.check(HSM_IP_RULES_MAX), Ok(()));
    long.decide(connection("E", EndpointStatus::Approved, CONNECTION_TEXT_MAX + 1));
    assert_eq!(long.connections.len(), 1);
    assert!(long.check(HSM_IP_RULES_MAX).is_err());
}

#[test]
fn what_is_there_twice_is_dropped() {
    let policy = NetworkPolicy {
        ip_rules: vec![rule("192.0.2.1"), rule("10.0.0.0/8"), rule("192.0.2.1/32"), rule("10.1.2.3/8")],
        virtual_network_rules: ["Front", "back", "front"].map(|name| VirtualNetworkRule { id: subnet(name) }).into(),
        ..NetworkPolicy::default()
    };
    let policy = policy.without_repeats();
    assert_eq!(policy.ip_rules, [rule("192.0.2.1"), rule("10.0.0.0/8")]);
    assert_eq!(policy.virtual_network_rules.len(), 2);
    assert!(policy.virtual_network_rules[0].id.as_str().ends_with("/Front"));
}

fn connection(name: &str, status: EndpointStatus, text: usize) -> EndpointConnection {
    let endpoint_id = format!("/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/privateEndpoints/{name}");
    EndpointConnection { name: name.into(), endpoint_id, status, description: "x".repeat(text) }
}

#[test]
fn a_private_endpoint_passes_when_it_is_approved_and_only_then() {
    let settings = NetworkSettings { trusted_services: vec![Uuid::from_u128(1)], ..NetworkSettings::default() };
    let configured = [connection("one", EndpointStatus::Pending, 0), connection("two", EndpointStatus::Approved, 0)];
    let mut policy = NetworkPolicy { public_access: PublicNetworkAccess::Disabled, ..NetworkPolicy::default() };
    let admit = |policy: &NetworkPolicy, name| {
        CompiledPolicy::new(policy.clone(), &settings, &configured).admit(Origin::Endpoint(name))
    };
    let refused = |status| Admission::Refused(NetworkRefusal::Connection(status));
    assert_eq!(admit(&policy, "one"), refused(EndpointStatus::Pending));
    assert_eq!(admit(&policy, "Two"), Admission::Passes);
    assert_eq!(admit(&policy, "three"), Admission::Refused(NetworkRefusal::OtherResource));
    for status in [EndpointStatus::Pending, EndpointStatus::Rejected, EndpointStatus::Disconnected] {
        policy.decide(connection("TWO", status, 0));
        assert_eq!(admit(&policy, "two"), refused(status));
    }
    policy.decide(connection("one", EndpointStatus::Approved, 0));
    assert_eq!(admit(&policy, "one"), Admission::Passes);
    // Open to everybody or not: the endpoint goes by its own connection.
    policy.public_access = PublicNetworkAccess::Enabled;
    assert_eq!(admit(&policy, "two"), refused(EndpointStatus::Disconnected));
}

#[test]
fn trusted_services_pass_where_the_bypass_says_so() {
    let (known, unknown) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let settings = NetworkSettings { trusted_services: vec![Uuid::from_u128(9), known], ..NetworkSettings::default() };
    let nobody = NetworkSettings::default();
    let origin = Origin::Public("192.0.2.1".parse().unwrap());
    for public_access in [PublicNetworkAccess::Enabled, PublicNetworkAccess::Disabled] {
        let policy = |bypass| NetworkPolicy {
            public_access,
            default_action: DefaultAction::Deny,
            bypass,
            ..NetworkPolicy::default()
        };
        let with = CompiledPolicy::new(policy(Bypass::AzureServices), &settings, &[]);
        assert!(matches!(with.admit(origin), Admission::TrustedOnly(_)));
        assert!(with.trusts(&known) && !with.trusts(&unknown));
        let without = CompiledPolicy::new(policy(Bypass::None), &settings, &[]);
        assert!(matches!(without.admit(origin), Admission::Refused(_)));
        assert!(!without.trusts(&known));
        let alone = CompiledPolicy::new(policy(Bypass::AzureServices), &nobody, &[]);
        assert!(matches!(alone.admit(origin), Admission::Refused(_)));
    }
}

#[test]
fn a_policy_is_open_unless_something_is_said() {
    let open = CompiledPolicy::default();
    assert_eq!(open.admit(Origin::Public(Ipv4Addr::LOCALHOST.into())), Admission::Passes);
    assert_eq!(open.admit(Origin::Public(Ipv6Addr::LOCALHOST.into())), Admission::Passes);
    assert_eq!(open.policy(), &NetworkPolicy::default());
}

/// The rules read one by one, without any of the compiled form's care.
fn naive(policy: &NetworkPolicy, settings: &NetworkSettings, client: IpAddr) -> bool {
    let bits = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(a) => a.octets().iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1)).collect::<Vec<_>>(),
        IpAddr::V6(a) => a.octets().iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1)).collect(),
    };
    let covers = |rule: &IpRule| {
        let shown = rule.to_string();
        let (address, prefix) = shown.split_once('/').unwrap();
        let (of_rule, of_client) = (bits(address.parse().unwrap()), bits(client));
        let prefix: usize = prefix.parse().unwrap();
        of_rule.len() == of_client.len() && of_rule[..prefix] == of_client[..prefix]
    };
    policy.public_access == PublicNetworkAccess::Enabled
        && (policy.default_action == DefaultAction::Allow
            || policy.ip_rules.iter().any(covers)
            || policy
                .virtual_network_rules
                .iter()
                .any(|rule| settings.networks.get(&rule.id).is_some_and(|ranges| ranges.iter().any(covers))))
}

/// Few distinct bits, so that rules and clients meet, overlap and touch.
fn address() -> impl Strategy<Value = IpAddr> {
    let small = prop_oneof![Just(0u8), Just(1), Just(127), Just(128), Just(255), any::<u8>()];
    prop_oneof![
        prop::array::uniform4(small.clone()).prop_map(IpAddr::from),
        (prop::array::uniform2(small.clone()), small.clone()).prop_map(|([a, b], c)| Ipv6Addr::new(
            u16::from(a),
            0,
            0,
            0,
            0,
            0,
            u16::from(b),
            u16::from(c)
        )
        .into()),
        prop::array::uniform4(small).prop_map(|octets| Ipv4Addr::from(octets).to_ipv6_mapped().into()),
    ]
}

fn ranges() -> impl Strategy<Value = Vec<IpRule>> {
    let one = (address(), 0u8..=128).prop_map(|(address, prefix)| {
        let address = address.to_canonical();
        rule(&format!("{address}/{}", if address.is_ipv4() { prefix % 33 } else { prefix }))
    });
    prop::collection::vec(one, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn the_decision_equals_the_rules_read_one_by_one(
        (public, deny, rules) in (any::<bool>(), prop::bool::weighted(0.9), ranges()),
        (near, far, named) in (ranges(), ranges(), 0usize..4),
        clients in prop::collection::vec(address(), 1..20),
    ) {
        let settings = NetworkSettings {
            networks: [(subnet("near"), near), (subnet("far"), far)].into(),
            ..NetworkSettings::default()
        };
        let policy = NetworkPolicy {
            public_access: if public { PublicNetworkAccess::Enabled } else { PublicNetworkAccess::Disabled },
            default_action: if deny { DefaultAction::Deny } else { DefaultAction::Allow },
            virtual_network_rules: ["NEAR", "far", "unknown"][..named.min(3)]
                .iter()
                .map(|name| VirtualNetworkRule { id: subnet(name) })
                .collect(),
            ip_rules: rules,
            ..NetworkPolicy::default()
        };
        let compiled = CompiledPolicy::new(policy.clone(), &settings, &[]);
        let edges = policy.ip_rules.iter().flat_map(|rule| [rule.first(), rule.last()]).collect::<Vec<_>>();
        for client in clients.into_iter().chain(edges) {
            let passes = compiled.admit(Origin::Public(client)) == Admission::Passes;
            prop_assert_eq!(passes, naive(&policy, &settings, client), "{}", client);
        }
    }

    #[test]
    fn any_text_is_a_rule_that_reads_back_or_none(text in "[0-9a-f:./ ]{0,20}|\\PC{0,20}") {
        if let Ok(parsed) = IpRule::parse(&text) {
            prop_assert_eq!(IpRule::parse(&parsed.to_string()), Ok(parsed));
            prop_assert!(parsed.contains(parsed.first()) && parsed.contains(parsed.last()));
        }
    }
}

#[test]
fn policies_read_back_from_what_the_store_keeps() {
    let mut policy = NetworkPolicy {
        public_access: PublicNetworkAccess::Disabled,
        default_action: DefaultAction::Deny,
        bypass: Bypass::None,
        ip_rules: vec![rule("192.0.2.0/24"), rule("2001:db8::/32")],
        virtual_network_rules: vec![VirtualNetworkRule { id: subnet("Front") }],
        ..NetworkPolicy::default()
    };
    policy.decide(connection("one", EndpointStatus::Rejected, 3));
    let bytes = postcard::to_stdvec(&policy).unwrap();
    assert_eq!(postcard::from_bytes::<NetworkPolicy>(&bytes).unwrap(), policy);
    let hostile = postcard::to_stdvec("::ffff:192.0.2.1/128").unwrap();
    assert!(postcard::from_bytes::<IpRule>(&hostile).is_err());
    assert!(postcard::from_bytes::<SubnetId>(&postcard::to_stdvec("/subscriptions").unwrap()).is_err());
}
