//! The life of a key.

use super::house::{BASE, House, json, key};
use crate::http::handlers::keys::*;
use crate::http::handlers::tests::house::Asked;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use strongroom_model::DataAction as A;
use strongroom_model::error::{BadName, BadParameter, Conflict, Error, NotFound};

#[tokio::test]
async fn a_key_is_made_read_and_changed() {
    let house = House::new().await;
    let body = json!({"kty": "EC", "crv": "P-384", "tags": {"t": "1"}, "attributes": {"exp": 4_000_000_000_i64}});
    let made = house.call(create_key, A::KeysCreate, key("My-Key").with(body)).await.unwrap();
    assert_eq!((made.status, made.audited, made.stamp.is_some()), (200, true, false));
    let bundle = json(&made);
    assert_eq!((&bundle["key"]["kty"], &bundle["key"]["crv"]), (&json!("EC-HSM"), &json!("P-384")));
    assert_eq!(bundle["key"]["key_ops"], json!(["sign", "verify"]));
    assert_eq!((&bundle["tags"]["t"], &bundle["attributes"]["exp"]), (&json!("1"), &json!(4_000_000_000_i64)));
    assert_eq!(bundle["attributes"]["recoveryLevel"], "CustomizedRecoverable+Purgeable");
    let object = made.object;
    assert_eq!(bundle["key"]["kid"], format!("{BASE}/{object}"));
    assert!(object.starts_with("keys/My-Key/"));

    // Under another spelling, with and without a version: the same bundle, and nothing to audit in the store.
    let version = object.rsplit_once('/').unwrap().1;
    for name in ["my-key".to_owned(), "MY-KEY/".to_owned(), format!("My-Key/{version}")] {
        let read = house.call(get_key, A::KeysRead, key(&name)).await.unwrap();
        assert_eq!((read.audited, &read.object, json(&read)), (false, &object, bundle.clone()), "{name}");
    }

    let change = json!({"attributes": {"enabled": false}, "key_ops": ["verify"], "tags": {}});
    let changed = house.call(update_key, A::KeysWrite, key("my-key").with(change)).await.unwrap();
    assert!(changed.audited && changed.object == object);
    let changed = json(&changed);
    assert_eq!((&changed["attributes"]["enabled"], &changed["key"]["key_ops"]), (&json!(false), &json!(["verify"])));
    assert_eq!((changed.get("tags"), &changed["attributes"]["exp"]), (None, &json!(4_000_000_000_i64)));

    for (body, error) in [
        (json!({"key_ops": ["encrypt"]}), BadParameter::Unsupported("key_ops")),
        (json!({"attributes": {"nbf": 4_000_000_001_i64}}), BadParameter::ValidityOrder),
    ] {
        let refused = house.call(update_key, A::KeysWrite, key("my-key").with(body)).await.err();
        assert_eq!(refused, Some(Error::BadParameter(error)));
    }
    let missing = house.call(get_key, A::KeysRead, key("other")).await.err();
    assert_eq!(missing, Some(Error::NotFound(NotFound::Key("other".into()))));
    assert_eq!(house.call(get_key, A::KeysRead, key("a_b")).await.err(), Some(Error::BadName(BadName::Key)));
    let bad_version = house.call(get_key, A::KeysRead, key("my-key/nothex")).await.err();
    assert_eq!(bad_version, Some(Error::BadName(BadName::KeyVersion)));
}

#[tokio::test]
async fn a_key_is_deleted_recovered_and_purged() {
    let house = House::new().await;
    let made = house.call(create_key, A::KeysCreate, key("k").with(json!({"kty": "oct"}))).await.unwrap();
    let deleted = house.call(delete_key, A::KeysDelete, key("K")).await.unwrap();
    assert_eq!((deleted.status, deleted.object.as_str(), deleted.audited), (200, "keys/k", true));
    let deleted = json(&deleted);
    assert_eq!(deleted["recoveryId"], format!("{BASE}/deletedkeys/k"));
    let lived = deleted["scheduledPurgeDate"].as_i64().unwrap() - deleted["deletedDate"].as_i64().unwrap();
    assert_eq!(lived, 7 * 86_400);
    assert_eq!(deleted["key"], json(&made)["key"]);
    let read = house.call(get_deleted_key, A::DeletedKeysRead, key("k")).await.unwrap();
    assert_eq!((json(&read), read.audited), (deleted.clone(), false));
    let list = json(&house.call(get_deleted_keys, A::DeletedKeysRead, Asked::default()).await.unwrap());
    assert_eq!(list["value"][0]["kid"], format!("{BASE}/keys/k"));
    assert_eq!(list["value"][0]["recoveryId"], deleted["recoveryId"]);
    assert_eq!(list["nextLink"], Value::Null);
    let again = house.call(create_key, A::KeysCreate, key("k").with(json!({"kty": "oct"}))).await.err();
    assert_eq!(again, Some(Error::Conflict(Conflict::KeyDeleted("k".into()))));

    let recovered = house.call(recover_deleted_key, A::DeletedKeysRecover, key("k")).await.unwrap();
    assert_eq!((&json(&recovered)["key"], recovered.audited), (&deleted["key"], true));
    house.call(delete_key, A::KeysDelete, key("k")).await.unwrap();
    let purged = house.call(purge_deleted_key, A::DeletedKeysDelete, key("k")).await.unwrap();
    assert_eq!((purged.status, purged.body.len(), purged.object.as_str(), purged.audited), (204, 0, "keys/k", true));
    let gone = house.call(get_deleted_key, A::DeletedKeysRead, key("k")).await.err();
    assert_eq!(gone, Some(Error::NotFound(NotFound::DeletedKey("k".into()))));
}

/// Follows a list to its end, one line a page.
async fn all(house: &House, handler: crate::http::call::Handler, asked: Asked<'_>) -> Vec<String> {
    let (mut kids, mut token) = (Vec::new(), None::<String>);
    loop {
        let mut asked = asked.clone();
        asked.query.push(("maxresults", "1"));
        if let Some(token) = &token {
            asked.query.push(("$skiptoken", token));
        }
        let page = json(&house.call(handler, A::KeysRead, asked).await.unwrap());
        let items = page["value"].as_array().unwrap();
        assert!(items.len() <= 1);
        kids.extend(items.iter().map(|i| i["kid"].as_str().unwrap().to_owned()));
        let Some(link) = page["nextLink"].as_str() else { return kids };
        let (path, query) = link.split_once('?').unwrap();
        assert!(path.starts_with(&format!("{BASE}/keys")), "{path}");
        let query: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        assert_eq!((query[0].1.as_str(), query[2].1.as_str()), ("2026-04-01", "1"));
        token = Some(query[1].1.clone());
    }
}

#[tokio::test]
async fn lists_are_followed_page_by_page() {
    let house = House::new().await;
    for name in ["a", "B", "c"] {
        house.call(create_key, A::KeysCreate, key(name).with(json!({"kty": "oct"}))).await.unwrap();
    }
    for _ in 0..2 {
        let rotated = house.call(rotate_key, A::KeysRotate, key("b")).await.unwrap();
        assert!(rotated.audited && rotated.object.starts_with("keys/B/"));
    }
    let keys = all(&house, get_keys, Asked::default()).await;
    assert_eq!(keys, ["a", "B", "c"].map(|n| format!("{BASE}/keys/{n}")));
    let versions = all(&house, get_key_versions, key("b")).await;
    let distinct: BTreeSet<&String> = versions.iter().collect();
    assert_eq!((versions.len(), distinct.len()), (3, 3));
    assert!(versions.iter().all(|v| v.starts_with(&format!("{BASE}/keys/B/"))));
    let mut foreign = Asked::default();
    foreign.query.push(("$skiptoken", "made-up"));
    let refused = house.call(get_keys, A::KeysRead, foreign).await.err();
    assert_eq!(refused, Some(Error::BadParameter(BadParameter::SkipToken)));
}

#[tokio::test]
async fn a_rotation_policy_is_set_and_read() {
    let house = House::new().await;
    house.call(create_key, A::KeysCreate, key("k").with(json!({"kty": "oct"}))).await.unwrap();
    let none = json(&house.call(get_key_rotation_policy, A::KeysRead, key("k")).await.unwrap());
    assert_eq!(none["id"], format!("{BASE}/keys/k/rotationpolicy"));
    assert_eq!(none["lifetimeActions"], json!([]));
    let action = json!({"action": {"type": "Rotate"}, "trigger": {"timeAfterCreate": "P30D"}});
    let policy = json!({"lifetimeActions": [action], "attributes": {"expiryTime": "P90D"}});
    let set = house.call(update_key_rotation_policy, A::KeysWrite, key("k").with(policy)).await.unwrap();
    assert_eq!((set.status, set.audited), (200, true));
    let set = json(&set);
    assert_eq!((&set["lifetimeActions"], &set["attributes"]["expiryTime"]), (&json!([action]), &json!("P90D")));
    assert!(set["attributes"]["created"].is_i64() && set["attributes"]["updated"].is_i64());
    assert_eq!(json(&house.call(get_key_rotation_policy, A::KeysRead, key("k")).await.unwrap()), set);
    let short = json!({"lifetimeActions": [{"action": {"type": "Rotate"}, "trigger": {"timeAfterCreate": "P27D"}}]});
    let refused = house.call(update_key_rotation_policy, A::KeysWrite, key("k").with(short)).await.err();
    assert!(matches!(refused, Some(Error::BadParameter(_))), "{refused:?}");
    let rotated = json(&house.call(rotate_key, A::KeysRotate, key("k")).await.unwrap());
    assert!(rotated["attributes"]["exp"].is_i64());
}

#[tokio::test]
async fn random_bytes_are_as_many_as_asked() {
    let house = House::new().await;
    let asked = Asked::default().with(json!({"count": 128}));
    let random = house.call(get_random_bytes, A::Rng, asked.clone()).await.unwrap();
    assert_eq!((random.audited, json(&random)["value"].as_str().unwrap().len()), (false, 171));
    assert_ne!(json(&house.call(get_random_bytes, A::Rng, asked).await.unwrap()), json(&random));
}
