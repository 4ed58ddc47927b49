//! Hostile bodies: every one is read or refused, none is fatal, and only what Azure would read is read.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};
use strongroom_wire::keys::*;
use strongroom_wire::operations::*;
use strongroom_wire::parse;
use strongroom_wire::roles::*;
use strongroom_wire::rotation::*;

/// A reader of one kind of body: whether it was read.
type Reader = fn(&[u8]) -> bool;

/// Every kind of body with a full valid one.
fn bodies() -> Vec<(Reader, Value)> {
    let attributes = json!({"enabled": true, "exp": 2, "exportable": false, "nbf": 1});
    let jwk = json!({"crv": "P-256", "d": "AA", "dp": "AA", "dq": "AA", "e": "AQAB", "k": "AA", "key_ops": ["sign"],
        "kty": "RSA", "n": "AA", "p": "AA", "q": "AA", "qi": "AA", "x": "AA", "y": "AA", "key_hsm": "AA"});
    let tags = json!({"name": "value"});
    let permission = json!({"actions": [], "dataActions": ["a"], "notActions": [], "notDataActions": ["b"]});
    vec![
        (
            |b| parse::<KeyCreateParameters<'_>>(b).is_ok(),
            json!({"attributes": attributes, "crv": "P-256", "key_ops": ["sign"], "key_size": 2048, "kty": "RSA",
                "public_exponent": 65_537, "tags": tags}),
        ),
        (|b| parse::<KeyImportParameters<'_>>(b).is_ok(), json!({"attributes": attributes, "key": jwk, "tags": tags})),
        (
            |b| parse::<KeyUpdateParameters<'_>>(b).is_ok(),
            json!({"attributes": attributes, "key_ops": ["sign"], "tags": tags}),
        ),
        (
            |b| parse::<KeyOperationsParameters<'_>>(b).is_ok(),
            json!({"aad": "AA", "alg": "A256GCM", "iv": "AA", "tag": "AA", "value": "AA"}),
        ),
        (|b| parse::<KeySignParameters<'_>>(b).is_ok(), json!({"alg": "RS256", "value": "AA"})),
        (|b| parse::<KeyVerifyParameters<'_>>(b).is_ok(), json!({"alg": "RS256", "digest": "AA", "value": "AA"})),
        (|b| parse::<GetRandomBytesRequest>(b).is_ok(), json!({"count": 4})),
        (
            |b| parse::<KeyRotationPolicy>(b).is_ok(),
            json!({"attributes": {"created": 1, "expiryTime": "P90D", "updated": 1}, "id": "x", "lifetimeActions":
                [{"action": {"type": "Rotate"}, "trigger": {"timeAfterCreate": "P30D", "timeBeforeExpiry": "P30D"}}]}),
        ),
        (
            |b| parse::<RoleAssignmentCreateParameters>(b).is_ok(),
            json!({"properties": {"principalId": "a", "roleDefinitionId": "b"}}),
        ),
        (
            |b| parse::<RoleDefinitionCreateParameters>(b).is_ok(),
            json!({"properties": {"assignableScopes": ["/"], "description": "d", "permissions": [permission],
                "roleName": "r", "type": "CustomRole"}}),
        ),
    ]
}

/// Every place in a document, as JSON pointers.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    if let Value::Object(members) = value {
        for (name, inner) in members {
            let place = format!("{at}/{name}");
            out.push(place.clone());
            places(inner, &place, out);
        }
    }
    if let Value::Array(items) = value {
        for (i, inner) in items.iter().enumerate() {
            let place = format!("{at}/{i}");
            out.push(place.clone());
            places(inner, &place, out);
        }
    }
}

fn with(body: &Value, place: &str, replaced: Value) -> String {
    let mut body = body.clone();
    *body.pointer_mut(place).unwrap() = replaced;
    body.to_string()
}

/// Whether what holds this place is a map of the caller's own names, or an array: `null` is no value there.
fn holds_values(body: &Value, place: &str) -> bool {
    place.starts_with("/tags/") || body.pointer(place.rsplit_once('/').unwrap().0).unwrap().is_array()
}

#[test]
fn null_is_absent_and_a_wrong_type_is_refused_at_every_place() {
    for (read, body) in bodies() {
        assert!(read(body.to_string().as_bytes()), "{body}");
        let mut all = Vec::new();
        places(&body, "", &mut all);
        for place in all {
            let null = with(&body, &place, Value::Null);
            assert_eq!(read(null.as_bytes()), !holds_values(&body, &place), "{null}");
            for wrong in [json!("text"), json!(5), json!(5.5), json!(true), json!([5]), json!({"a": 5})] {
                let now = body.pointer(&place).unwrap();
                let same = std::mem::discriminant(&wrong) == std::mem::discriminant(now) && !wrong.is_f64();
                if !(same || now.is_array() && now == &json!([])) {
                    let body = with(&body, &place, wrong);
                    assert!(!read(body.as_bytes()), "{body}");
                }
            }
        }
    }
}

#[test]
fn an_array_is_no_object_and_unknown_members_are_skipped() {
    for (read, body) in bodies() {
        let positional = Value::Array(body.as_object().unwrap().values().cloned().collect()).to_string();
        assert!(!read(positional.as_bytes()), "{positional}");
        let mut more = body.clone();
        more["unknown"] = json!([{"deep": [1, 2, {"er": null}]}, "x"]);
        assert!(read(more.to_string().as_bytes()), "{more}");
        for bad in ["", " ", "null", "5", "\"x\"", "[]", "[{}]", "{}{}", "{} x", "\u{feff}{}"] {
            assert!(!read(bad.as_bytes()), "{bad:?}");
        }
    }
}

#[test]
fn a_member_given_twice_is_refused() {
    for (read, body) in bodies() {
        let mut all = Vec::new();
        places(&body, "", &mut all);
        let text = body.to_string();
        for place in all.iter().filter(|p| !p.ends_with(|c: char| c.is_ascii_digit())) {
            let (holder, name) = place.rsplit_once('/').unwrap();
            let member = format!("\"{name}\":{}", body.pointer(place).unwrap());
            let holder = body.pointer(holder).unwrap().to_string();
            let doubled = text.replacen(&holder, &format!("{{{member},{}", &holder[1..]), 1);
            assert!(!read(doubled.as_bytes()), "{doubled}");
        }
    }
}

#[test]
fn numbers_are_whole_and_fit() {
    let read = |exp: &str| {
        let body = format!(r#"{{"attributes":{{"exp":{exp}}}}}"#);
        parse::<KeyUpdateParameters<'_>>(body.as_bytes()).ok().map(|b| b.attributes.unwrap().exp.unwrap())
    };
    for good in ["0", "-1", "253402300799", "9223372036854775807", "-9223372036854775808"] {
        assert_eq!(read(good), good.parse().ok(), "{good}");
    }
    for bad in ["1.0", "1.5", "1e3", "9223372036854775808", "18446744073709551616", "1e400", "01", "+1", "0x1", "NaN"] {
        assert_eq!(read(bad), None, "{bad}");
    }
}

#[test]
fn depth_is_survived() {
    const DEPTH: usize = 32 * 1024;
    for (read, _) in bodies() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            for member in ["unknown", "key", "attributes", "tags", "value", "properties", "release_policy"] {
                let (open, close) = (open.repeat(DEPTH), close.repeat(DEPTH));
                // Closed, cut off, and as the whole body.
                read(format!("{{\"{member}\":{open}1{close}}}").as_bytes());
                assert!(!read(format!("{{\"{member}\":{open}").as_bytes()));
                assert!(!read(open.as_bytes()));
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (read, _) in bodies() {
            read(&bytes);
        }
    }

    #[test]
    fn mutated_bodies_are_survived(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let bodies = bodies();
        let (read, body) = which.get(&bodies);
        let mut bytes = body.to_string().into_bytes();
        for (place, byte, how) in changes {
            let at = place.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes[at] = b'{',
            }
        }
        read(&bytes);
    }
}
