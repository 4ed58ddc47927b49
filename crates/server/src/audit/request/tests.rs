//! A line is, byte for byte, what serde writes of the record's shape.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::audit::AuditOrigin;
use proptest::prelude::*;
use serde::Serialize;
use std::net::IpAddr;
use strongroom_model::Timestamp;
use strongroom_model::audit::{Actor, AuditRecord};
use strongroom_model::principal::PrincipalKind;
use uuid::Uuid;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(rename = "TenantId")]
    tenant_id: Uuid,
    time: String,
    resource_id: String,
    operation_name: &'a str,
    operation_version: &'a str,
    category: &'static str,
    result_type: &'static str,
    result_signature: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    result_description: &'a str,
    properties: Properties,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller_ip_address: Option<IpAddr>,
    identity: String,
    client_info: &'a str,
    correlation_id: Uuid,
    subnet_id: &'static str,
    http_status_code: u16,
    #[serde(rename = "PoolName")]
    pool_name: &'a str,
    request_uri: &'a str,
    resource_group: &'a str,
    resource_provider: &'static str,
    resource: &'a str,
    resource_type: &'static str,
    request_id: Uuid,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(rename = "privateEndpoint", skip_serializing_if = "str::is_empty")]
    private_endpoint: &'a str,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    use_: Option<Use>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<Use>,
    #[serde(skip_serializing_if = "Option::is_none")]
    folded: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outbox: Option<String>,
}

#[derive(Serialize)]
struct Properties {
    #[serde(rename = "PoolType")]
    pool_type: &'static str,
    #[serde(rename = "sku_Family")]
    sku_family: &'static str,
    #[serde(rename = "sku_Name")]
    sku_name: &'static str,
}

#[derive(Serialize)]
struct Use {
    chain: String,
    sequence: u64,
    hash: String,
    time: i64,
    generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verb: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<String>,
    #[serde(rename = "upTo", skip_serializing_if = "Option::is_none")]
    up_to: Option<u64>,
}

impl Use {
    fn of(stamp: &Stamp) -> Self {
        let place = stamp.place();
        let (key, verb, binding, up_to) = match stamp {
            Stamp::Use(_) => (None, None, None, None),
            Stamp::System(system) => (Some(system.key.to_string()), None, None, None),
            Stamp::Change(ChangeStamp { change, .. }) => match change {
                KeyChange::Generate(binding) => (None, Some("generate"), Some(hex::encode(binding)), None),
                KeyChange::Import(binding) => (None, Some("import"), Some(hex::encode(binding)), None),
                KeyChange::Rebind(binding) => (None, Some("rebind"), Some(hex::encode(binding)), None),
                KeyChange::Reserve(up_to) => (None, Some("reserve"), None, Some(*up_to)),
            },
        };
        let (chain, hash) = (hex::encode(place.chain), hex::encode(place.hash));
        let (sequence, time, generation) = (place.sequence, place.time.0, place.generation);
        Self { chain, sequence, hash, time, generation, key, verb, binding, up_to }
    }
}

fn origin(group: &str) -> AuditOrigin {
    AuditOrigin { tenant_id: Uuid::from_u128(7), subscription_id: Uuid::from_u128(8), resource_group: group.into() }
}

fn wanted(group: &str, r: &AuditRecord, outbox: Option<&[u8]>) -> String {
    let id = format!("/subscriptions/{}/resourcegroups/{group}", Uuid::from_u128(8)).to_ascii_uppercase();
    let provider = "/PROVIDERS/MICROSOFT.KEYVAULT/MANAGEDHSMS/";
    let failed = r.status >= 400;
    let reason = http::StatusCode::from_u16(r.status).unwrap().canonical_reason().map(|r| r.replace(' ', ""));
    let time = jiff::Timestamp::from_millisecond(r.time_ms).unwrap();
    let line = Line {
        tenant_id: Uuid::from_u128(7),
        time: time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        resource_id: if r.resource.is_empty() { id } else { id + provider + &r.resource.to_ascii_uppercase() },
        operation_name: &r.operation,
        operation_version: &r.operation_version,
        category: "AuditEvent",
        result_type: if failed { "Failure" } else { "Success" },
        result_signature: if failed { reason.unwrap_or_else(|| r.status.to_string()) } else { "OK".into() },
        result_description: &r.error_code,
        properties: Properties { pool_type: "M-HSM", sku_family: "B", sku_name: "Standard_B1" },
        duration_ms: f64::from(u32::try_from(r.duration_us).unwrap()) / 1000.0,
        caller_ip_address: r.caller_address,
        identity: serde_json::from_str(&identity(&r.actor).unwrap()).unwrap(),
        client_info: &r.client_info,
        correlation_id: r.correlation_id.unwrap_or(r.request_id),
        subnet_id: "(unknown)",
        http_status_code: r.status,
        pool_name: &r.resource,
        request_uri: &r.request_uri,
        resource_group: group,
        resource_provider: "MICROSOFT.KEYVAULT",
        resource: &r.resource,
        resource_type: "managedHSMs",
        request_id: r.request_id,
        id: &r.object,
        private_endpoint: &r.private_endpoint,
        use_: r.stamp.as_ref().filter(|s| !matches!(s, Stamp::Change(_))).map(Use::of),
        change: r.stamp.as_ref().filter(|s| matches!(s, Stamp::Change(_))).map(Use::of),
        folded: (r.folded > 0).then_some(r.folded),
        outbox: outbox.map(outbox_id),
    };
    serde_json::to_string(&line).unwrap()
}

fn principal(issuer: String) -> Principal {
    Principal {
        object_id: Uuid::from_u128(1),
        tenant_id: Uuid::from_u128(2),
        app_id: Some("app".into()),
        user_name: None,
        groups: Vec::new().into(),
        kind: PrincipalKind::Application,
        issuer: issuer.into(),
    }
}

fn record() -> impl Strategy<Value = AuditRecord> {
    let text = || prop_oneof![Just(String::new()), "[ -~]{0,40}", "(\\PC|\"|\\\\|\n|\u{1}){0,20}"];
    let actor = prop_oneof![
        Just(Actor::Anonymous),
        text().prop_map(Actor::System),
        text().prop_map(|issuer| Actor::Principal(principal(issuer))),
    ];
    let place = (any::<[u8; 16]>(), any::<u64>(), any::<[u8; 32]>(), any::<i64>(), any::<u64>()).prop_map(
        |(chain, sequence, hash, time, generation)| UseStamp {
            chain,
            sequence,
            hash,
            time: Timestamp(time),
            generation,
        },
    );
    let what = (0..6_u8, any::<[u8; 32]>(), any::<u64>(), text());
    let stamp = prop::option::of((place, what).prop_map(|(place, (kind, binding, up_to, key))| {
        let change = |change| Stamp::Change(ChangeStamp { place, change });
        match kind {
            0 => Stamp::Use(place),
            1 => Stamp::System(SystemStamp { place, key: key.into() }),
            2 => change(KeyChange::Generate(binding)),
            3 => change(KeyChange::Import(binding)),
            4 => change(KeyChange::Rebind(binding)),
            _ => change(KeyChange::Reserve(up_to)),
        }
    }));
    let times = (0..4_000_000_000_000_i64, any::<u32>(), 200..600_u16, any::<u32>());
    let ids = (any::<u128>(), prop::option::of(any::<u128>()), prop::option::of(any::<IpAddr>()));
    let texts = (text(), text(), text(), text(), text(), text(), text(), text());
    (times, ids, texts, actor, stamp).prop_map(|(times, ids, texts, actor, stamp)| AuditRecord {
        time_ms: times.0,
        resource: texts.0,
        operation: texts.1,
        operation_version: texts.2,
        status: times.2,
        error_code: texts.3,
        duration_us: times.1.into(),
        caller_address: ids.2,
        private_endpoint: texts.7,
        actor,
        request_id: Uuid::from_u128(ids.0),
        correlation_id: ids.1.map(Uuid::from_u128),
        client_info: texts.4,
        request_uri: texts.5,
        object: texts.6,
        stamp,
        folded: times.3 % 3,
    })
}

proptest! {
    #[test]
    fn a_line_is_what_serde_writes(record in record(), outbox in any::<bool>(), group in "[ -~]{0,10}") {
        let lines = Lines::new(&origin(&group));
        let outbox = outbox.then_some(&b"path"[..]);
        let mut out = b"before".to_vec();
        lines.request(&mut out, &Entry::from(&record), outbox).unwrap();
        out.push(b'}');
        prop_assert_eq!(String::from_utf8(out).unwrap(), "before".to_owned() + &wanted(&group, &record, outbox));
        prop_assert_eq!(&AuditRecord::from(Entry::from(&record)), &record);
    }

    #[test]
    fn callers_that_take_turns_keep_their_identities(turns in prop::collection::vec(0..3_usize, 1..10)) {
        let callers: Vec<_> = (0..3).map(|n| Arc::new(principal(format!("issuer {n}")))).collect();
        let lines = Lines::new(&origin("rg"));
        let anonymous = AuditRecord { actor: Actor::Anonymous, ..blank() };
        for turn in turns {
            let entry = Entry { who: Who::Caller(&callers[turn]), ..Entry::from(&anonymous) };
            let mut out = Vec::new();
            lines.request(&mut out, &entry, None).unwrap();
            out.push(b'}');
            let record = AuditRecord { actor: Actor::Principal(principal(format!("issuer {turn}"))), ..blank() };
            prop_assert_eq!(String::from_utf8(out).unwrap(), wanted("rg", &record, None));
        }
    }
}

fn blank() -> AuditRecord {
    AuditRecord {
        time_ms: 1_795_511_887_075,
        resource: "demo".into(),
        operation: "KeySign".into(),
        operation_version: "7.6".into(),
        status: 200,
        error_code: String::new(),
        duration_us: 1_030,
        caller_address: None,
        private_endpoint: String::new(),
        actor: Actor::Anonymous,
        request_id: Uuid::from_u128(5),
        correlation_id: None,
        client_info: String::new(),
        request_uri: String::new(),
        object: String::new(),
        stamp: None,
        folded: 0,
    }
}
