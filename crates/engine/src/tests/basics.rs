//! Keys, one after the other.

use super::house::{House, ec, name, of, recorded, sign};
use crate::keys::{AttributeChange, Tags, UpdateKey};
use strongroom_hsm::verbs::Output;
use strongroom_model::error::{BadParameter, Conflict, Error, Forbidden, NotFound};
use strongroom_model::{Algorithm, DataAction, KeyOp, KeyOps, KeySpec, Operation, RoleScope, Timestamp};

#[tokio::test]
async fn a_key_is_made_read_and_used() {
    let house = House::new().await;
    let made = house.create("My-Key").await.unwrap();
    let got = house.get("my-KEY").await.unwrap();
    assert_eq!((got.version, got.name.as_str()), (made.version, "My-Key"));
    let g = house.grant(DataAction::KeysSign);
    // The first entry of the chain is the making of the key.
    for expected in 2..=4 {
        let (key, output, stamp) =
            house.engine.operate(&g, &name("MY-key"), None, Algorithm::Es256, sign()).await.unwrap();
        assert_eq!((key.version, stamp.sequence), (made.version, expected));
        assert!(matches!(output, Output::Signature(_)));
    }
    let second = house.create("my-key").await.unwrap();
    assert_ne!(second.version, made.version);
    assert_eq!(second.name.as_str(), "My-Key");
    assert_eq!(house.get("my-key").await.unwrap().version, second.version);
    let old = house.engine.get_key(&house.grant(DataAction::KeysRead), &name("my-key"), Some(made.version)).await;
    assert_eq!(old.unwrap().version, made.version);
}

#[tokio::test]
async fn two_types_live_under_one_name() {
    let house = House::new().await;
    let rsa = house.create_as("k", of(KeySpec::Rsa2048)).await.unwrap();
    house.create_as("k", of(KeySpec::Oct256)).await.unwrap();
    assert_eq!(house.get("k").await.unwrap().spec, KeySpec::Oct256);
    let g = house.grant(DataAction::KeysSign);
    let used = house.engine.operate(&g, &name("k"), Some(rsa.version), Algorithm::Rs256, sign()).await;
    assert_eq!(used.unwrap().0.spec, KeySpec::Rsa2048);
    let wrong = house.engine.operate(&g, &name("k"), None, Algorithm::Rs256, sign()).await;
    assert!(matches!(wrong, Err(Error::BadParameter(BadParameter::AlgorithmMismatch { .. }))));
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let house = House::new().await;
    assert_eq!(house.get("none").await.unwrap_err(), Error::NotFound(NotFound::Key("none".into())));
    let made = house.create("k").await.unwrap();
    let other = house.create("other").await.unwrap();
    let g = house.grant(DataAction::KeysRead);
    let foreign = house.engine.get_key(&g, &name("k"), Some(other.version)).await;
    assert_eq!(foreign.unwrap_err(), Error::NotFound(NotFound::Key(format!("k/{}", other.version))));
    assert!(house.engine.get_key(&g, &name("k"), Some(made.version)).await.is_ok());
    for gone in [house.recover("k").await.err(), house.purge("k").await.err(), house.get_deleted("k").await.err()] {
        assert_eq!(gone, Some(Error::NotFound(NotFound::DeletedKey("k".into()))));
    }
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_nothing_else() {
    let house = House::new().await;
    let made = house.create("k").await.unwrap();
    house.clock.advance(10);
    let g = house.grant(DataAction::KeysWrite);
    let update = async |change: UpdateKey| house.engine.update_key(&g, recorded(), name("k"), None, change).await;
    let tags = Tags::from([("a".to_owned(), "b".to_owned())]);
    let tagged = update(UpdateKey { tags: Some(tags.clone()), ..UpdateKey::default() }).await.unwrap();
    assert_eq!((tagged.tags.clone(), tagged.attributes.enabled), (tags.clone(), true));
    assert_eq!(tagged.attributes.updated.0, made.attributes.updated.0 + 10);
    let attributes = AttributeChange { enabled: Some(false), ..AttributeChange::default() };
    let disabled = update(UpdateKey { attributes, ..UpdateKey::default() }).await.unwrap();
    assert_eq!((disabled.tags, disabled.attributes.enabled), (tags, false));
    assert!(!house.get("k").await.unwrap().attributes.enabled);
    let g = house.grant(DataAction::KeysSign);
    let used = house.engine.operate(&g, &name("k"), None, Algorithm::Es256, sign()).await;
    assert_eq!(used.err(), Some(Error::Forbidden(Forbidden::KeyDisabled(Operation::Sign))));
}

#[tokio::test]
async fn an_update_keeps_the_rules_of_keys() {
    let house = House::new().await;
    house.create("k").await.unwrap();
    let g = house.grant(DataAction::KeysWrite);
    let update = async |change: UpdateKey| house.engine.update_key(&g, recorded(), name("k"), None, change).await;
    let dates = |nbf, exp| AttributeChange { enabled: None, not_before: nbf, expires: exp };
    let order = Some(Error::BadParameter(BadParameter::ValidityOrder));
    let both = dates(Some(Timestamp(20)), Some(Timestamp(20)));
    assert_eq!(update(UpdateKey { attributes: both, ..UpdateKey::default() }).await.err(), order);
    let exp = dates(None, Some(Timestamp(100)));
    update(UpdateKey { attributes: exp, ..UpdateKey::default() }).await.unwrap();
    let late = dates(Some(Timestamp(101)), None);
    assert_eq!(update(UpdateKey { attributes: late, ..UpdateKey::default() }).await.err(), order);
    let ops = |ops| UpdateKey { ops: Some(ops), ..UpdateKey::default() };
    let encrypt = update(ops(KeyOps::NONE.with(KeyOp::Encrypt))).await;
    assert_eq!(encrypt.err(), Some(Error::BadParameter(BadParameter::Unsupported("key_ops"))));
    let none = update(ops(KeyOps::NONE)).await.unwrap();
    assert_eq!(none.ops, KeyOps::NONE);
    let tags: Tags = (0..16).map(|i| (i.to_string(), String::new())).collect();
    let many = update(UpdateKey { tags: Some(tags), ..UpdateKey::default() }).await;
    assert!(matches!(many, Err(Error::BadParameter(BadParameter::Length { parameter: "tags", .. }))));
    let tags = Tags::from([("t".to_owned(), "é".repeat(257))]);
    assert!(update(UpdateKey { tags: Some(tags), ..UpdateKey::default() }).await.is_err());
    let tags = Tags::from([("t".to_owned(), "é".repeat(256))]);
    assert!(update(UpdateKey { tags: Some(tags), ..UpdateKey::default() }).await.is_ok());
}

#[tokio::test]
async fn import_stands_alone() {
    let house = House::new().await;
    let ops = KeyOps::NONE.with(KeyOp::Import);
    house.create_as("k", crate::keys::CreateKey { ops, ..of(KeySpec::Rsa2048) }).await.unwrap();
    let mixed = crate::keys::CreateKey { ops: ops.with(KeyOp::Sign), ..of(KeySpec::Rsa2048) };
    assert_eq!(house.create_as("k", mixed).await.err(), Some(Error::BadParameter(BadParameter::ImportMixed)));
    let change = UpdateKey { ops: Some(KeyOps::default_for(strongroom_model::KeyType::Rsa)), ..UpdateKey::default() };
    let g = house.grant(DataAction::KeysWrite);
    let changed = house.engine.update_key(&g, recorded(), name("k"), None, change).await;
    assert_eq!(changed.err(), Some(Error::BadParameter(BadParameter::ImportMixed)));
}

#[tokio::test]
async fn a_key_has_a_hundred_versions_at_most() {
    let house = House::new().await;
    for _ in 0..100 {
        house.create("k").await.unwrap();
    }
    let exhausted = Some(Error::Forbidden(Forbidden::VersionsExhausted));
    assert_eq!(house.create("k").await.err(), exhausted);
    let g = house.grant(DataAction::KeysRotate);
    assert_eq!(house.engine.rotate_key(&g, recorded(), name("k")).await.err(), exhausted);
    house.delete("k").await.unwrap();
    house.purge("k").await.unwrap();
    house.create("k").await.unwrap();
}

#[tokio::test]
async fn deletion_hides_and_purge_destroys() {
    let house = House::new().await;
    let made = house.create("k").await.unwrap();
    let deleted = house.delete("K").await.unwrap();
    assert_eq!(deleted.key.version, made.version);
    assert_eq!(deleted.deletion.scheduled_purge.0 - deleted.deletion.deleted.0, 7 * 86_400);
    let not_found = Some(Error::NotFound(NotFound::Key("k".into())));
    let (read, write) = (house.grant(DataAction::KeysRead), house.grant(DataAction::KeysWrite));
    assert_eq!(house.get("k").await.err(), not_found);
    assert_eq!(house.delete("k").await.err(), not_found);
    let g = house.grant(DataAction::KeysSign);
    let used = house.engine.operate(&g, &name("k"), Some(made.version), Algorithm::Es256, sign()).await;
    assert_eq!(used.err(), not_found);
    let updated = house.engine.update_key(&write, recorded(), name("k"), None, UpdateKey::default()).await;
    assert_eq!(updated.err(), not_found);
    let page = house.engine.get_key_versions(&read, &name("k"), crate::PageRequest::default()).await;
    assert_eq!(page.err(), not_found);
    assert_eq!(house.engine.get_key_rotation_policy(&read, &name("k")).await.err(), not_found);
    let taken = Error::Conflict(Conflict::KeyDeleted("k".into()));
    assert_eq!(house.create("k").await.err(), Some(taken));
    assert_eq!(house.recover("k").await.unwrap().version, made.version);
    assert_eq!(house.get("k").await.unwrap().version, made.version);
    house.delete("k").await.unwrap();
    house.purge("k").await.unwrap();
    assert_eq!(house.get_deleted("k").await.err(), Some(Error::NotFound(NotFound::DeletedKey("k".into()))));
    let again = house.create("k").await.unwrap();
    let old = house.engine.get_key(&read, &name("k"), Some(made.version)).await;
    assert!(matches!(old, Err(Error::NotFound(_))));
    assert_ne!(again.version, made.version);
    let left = house.dump().await;
    let text = |e: &strongroom_store::Entry| String::from_utf8_lossy(&e.path).into_owned();
    assert_eq!(left.iter().filter(|e| text(e).contains("/versions/")).count(), 1);
    assert_eq!(left.iter().filter(|e| text(e).contains("/leftovers/") || text(e).contains("/deleted/")).count(), 0);
}

#[tokio::test]
async fn purge_protection_holds_against_everybody() {
    let house = House::with(crate::PoolRequest { purge_protection: true, ..super::house::request() }).await;
    house.create("k").await.unwrap();
    house.delete("k").await.unwrap();
    assert_eq!(house.purge("k").await.err(), Some(Error::Forbidden(Forbidden::PurgeProtected)));
    assert!(house.recover("k").await.is_ok());
}

#[tokio::test]
async fn a_grant_is_good_for_its_action_and_scope_only() {
    let house = House::new().await;
    house.create("a").await.unwrap();
    let here = house.may(super::house::ADMIN, DataAction::KeysRead, RoleScope::Key(name("a"))).unwrap();
    assert!(house.engine.get_key(&here, &name("A"), None).await.is_ok());
    let denied = |r: Option<Error>| matches!(r, Some(Error::AccessDenied { .. }));
    assert!(denied(house.engine.get_key(&here, &name("b"), None).await.err()));
    assert!(denied(house.engine.get_keys(&here, crate::PageRequest::default()).await.err()));
    assert!(denied(house.engine.create_key(&here, recorded(), name("a"), ec()).await.err()));
    assert!(denied(house.engine.operate(&here, &name("a"), None, Algorithm::Es256, sign()).await.err()));
    assert!(denied(house.engine.get_random_bytes(&here, 8).await.err()));
}

#[tokio::test]
async fn no_change_begins_when_it_cannot_be_audited() {
    let house = House::new().await;
    house.create("k").await.unwrap();
    house.audit_full.store(true, std::sync::atomic::Ordering::SeqCst);
    for refused in [house.create("k").await.err(), house.delete("k").await.err()] {
        assert!(matches!(refused, Some(Error::Unavailable(_))));
    }
    assert!(house.get("k").await.is_ok());
}
