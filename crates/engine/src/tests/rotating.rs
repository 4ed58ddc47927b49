//! Rotation: on demand, by policy, once.

use super::house::{House, name, recorded};
use crate::keys::{AttributeChange, CreateKey, IsoDuration, RotateTrigger, RotationPolicy, Tags, UpdateKey};
use strongroom_model::audit::Actor;
use strongroom_model::clock::DAY;
use strongroom_model::error::{BadParameter, Error, Forbidden, Result};
use strongroom_model::{DataAction, KeyOp, KeyOps};

fn days(text: &str) -> IsoDuration {
    IsoDuration::parse(text).unwrap()
}

fn policy(rotate: Option<RotateTrigger>, expiry: Option<&str>) -> RotationPolicy {
    RotationPolicy { rotate, expiry: expiry.map(days), created: None, updated: None }
}

impl House {
    async fn set_policy(&self, policy: RotationPolicy) -> Result<RotationPolicy> {
        let g = self.grant(DataAction::KeysWrite);
        self.engine.update_key_rotation_policy(&g, recorded(), name("k"), policy).await
    }

    async fn policy(&self) -> RotationPolicy {
        self.engine.get_key_rotation_policy(&self.grant(DataAction::KeysRead), &name("k")).await.unwrap()
    }

    async fn versions(&self) -> u32 {
        self.core().stored_head(&self.pool, &name("k")).await.unwrap().unwrap().value.versions
    }
}

#[tokio::test]
async fn policies_keep_the_rules_of_a_managed_hsm() {
    let house = House::new().await;
    house.create("k").await.unwrap();
    assert_eq!(house.policy().await, policy(None, None));
    let after = |text| Some(RotateTrigger::AfterCreate(days(text)));
    let before = |text| Some(RotateTrigger::BeforeExpiry(days(text)));
    let range = |r: Result<RotationPolicy>| matches!(r, Err(Error::BadParameter(BadParameter::Range { .. })));
    assert!(range(house.set_policy(policy(after("P27D"), None)).await));
    assert!(range(house.set_policy(policy(None, Some("P27D"))).await));
    assert!(range(house.set_policy(policy(before("P63D"), Some("P90D"))).await));
    let missing = house.set_policy(policy(before("P30D"), None)).await.err();
    assert_eq!(missing, Some(Error::BadParameter(BadParameter::Missing("expiryTime"))));
    for good in [policy(after("P28D"), None), policy(before("P62D"), Some("P90D")), policy(None, Some("P4W"))] {
        let set = house.set_policy(good.clone()).await.unwrap();
        assert_eq!((&set.rotate, &set.expiry), (&good.rotate, &good.expiry));
    }
    house.clock.advance(5);
    let set = house.set_policy(policy(after("P1Y"), None)).await.unwrap();
    assert_eq!(set.updated.unwrap().0 - set.created.unwrap().0, 5);
    assert_eq!(house.policy().await, set);
    house.delete("k").await.unwrap();
    house.purge("k").await.unwrap();
    house.create("k").await.unwrap();
    assert_eq!(house.policy().await, policy(None, None));
}

#[tokio::test]
async fn a_rotation_takes_over_what_the_key_is() {
    let house = House::new().await;
    let tags = Tags::from([("a".to_owned(), "b".to_owned())]);
    let ops = KeyOps::NONE.with(KeyOp::Sign);
    let first = house.create_as("k", CreateKey { tags: tags.clone(), ops, ..super::house::ec() }).await.unwrap();
    house.set_policy(policy(None, Some("P90D"))).await.unwrap();
    house.clock.advance(100);
    let next = house.rotate("K").await.unwrap();
    assert_ne!(next.version, first.version);
    assert_eq!((next.spec, next.ops, next.tags), (first.spec, ops, tags));
    assert_eq!(next.attributes.expires.unwrap().0, super::house::START.0 + 100 + 90 * DAY);
    assert_eq!(house.get("k").await.unwrap().version, next.version);
    let attributes = AttributeChange { enabled: Some(false), ..AttributeChange::default() };
    house.update("k", UpdateKey { attributes, ..UpdateKey::default() }).await.unwrap();
    assert_eq!(house.rotate("k").await.err(), Some(Error::Forbidden(Forbidden::RotateDisabled)));
    assert!(matches!(house.rotate("none").await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn two_nodes_rotate_a_due_key_once() {
    let house = House::new().await;
    house.create("k").await.unwrap();
    house.set_policy(policy(Some(RotateTrigger::AfterCreate(days("P28D"))), None)).await.unwrap();
    let other = house.second_node().await;
    let round = async || tokio::join!(house.core().do_what_is_due(), other.core().do_what_is_due());
    house.clock.advance(28 * DAY - 1);
    round().await;
    assert_eq!(house.versions().await, 1);
    house.clock.advance(1);
    round().await;
    round().await;
    assert_eq!(house.versions().await, 2);
    let rows = house.engine.outbox(1000).await.unwrap();
    let by_job: Vec<_> =
        rows.iter().filter(|r| r.record.actor == Actor::System("rotation".into())).map(|r| &r.record).collect();
    assert_eq!(by_job.len(), 1);
    let newest = house.get("k").await.unwrap();
    assert_eq!(by_job[0].object, format!("keys/k/{}", newest.version));
    house.clock.advance(28 * DAY);
    round().await;
    assert_eq!(house.versions().await, 3);
}

#[tokio::test]
async fn a_key_that_expires_is_rotated_before() {
    let house = House::new().await;
    let expires = Some(super::house::START.plus(100 * DAY));
    let attributes = AttributeChange { expires, ..AttributeChange::default() };
    house.create_as("k", CreateKey { attributes, ..super::house::ec() }).await.unwrap();
    house.set_policy(policy(Some(RotateTrigger::BeforeExpiry(days("P30D"))), Some("P90D"))).await.unwrap();
    for (advance, versions) in [(70 * DAY - 1, 1), (1, 2), (59 * DAY, 2), (DAY, 3)] {
        house.clock.advance(advance);
        house.core().do_what_is_due().await;
        assert_eq!(house.versions().await, versions);
    }
}

#[tokio::test]
async fn disabled_deleted_and_unwilling_keys_are_left_alone() {
    let house = House::new().await;
    house.create("k").await.unwrap();
    house.set_policy(policy(Some(RotateTrigger::AfterCreate(days("P28D"))), None)).await.unwrap();
    let enable = |enabled| UpdateKey {
        attributes: AttributeChange { enabled: Some(enabled), ..AttributeChange::default() },
        ..UpdateKey::default()
    };
    house.update("k", enable(false)).await.unwrap();
    house.clock.advance(30 * DAY);
    house.core().do_what_is_due().await;
    house.update("k", enable(true)).await.unwrap();
    house.audit_full.store(true, std::sync::atomic::Ordering::SeqCst);
    house.core().do_what_is_due().await;
    assert_eq!(house.versions().await, 1);
    house.audit_full.store(false, std::sync::atomic::Ordering::SeqCst);
    house.delete("k").await.unwrap();
    house.core().do_what_is_due().await;
    assert_eq!(house.versions().await, 1);
    house.recover("k").await.unwrap();
    house.core().do_what_is_due().await;
    assert_eq!(house.versions().await, 2);
    house.set_policy(policy(None, None)).await.unwrap();
    house.clock.advance(300 * DAY);
    house.core().do_what_is_due().await;
    assert_eq!(house.versions().await, 2);
}
