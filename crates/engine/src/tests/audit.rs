//! The outbox, and commits whose outcome is in doubt.

use super::house::{Fault, House, recorded};
use std::sync::Arc;
use std::time::Duration;
use strongroom_model::audit::{AuditRecord, Stamp};
use strongroom_model::error::{Error, Unavailable};
use strongroom_model::role::CRYPTO_USER;
use strongroom_model::{DataAction, RoleScope};
use uuid::Uuid;

impl House {
    async fn objects(&self) -> Vec<String> {
        self.engine.outbox(10_000).await.unwrap().into_iter().map(|r| r.record.object).collect()
    }
}

#[tokio::test]
async fn each_change_leaves_one_row_in_the_order_of_commits() {
    let house = House::new().await;
    let before = house.objects().await.len();
    let mut expected = Vec::new();
    for i in 0..40 {
        let key = format!("k{}", (i * 7) % 40);
        let made = house.create(&key).await.unwrap();
        expected.push(format!("keys/{key}/{}", made.version));
    }
    house.delete("k0").await.unwrap();
    house.purge("k0").await.unwrap();
    let rows = house.objects().await;
    assert_eq!(rows[before..before + 40], expected);
    assert_eq!(rows.last().map(String::as_str), Some("keys/k0"));
    assert_eq!(rows.len(), before + 42);
    let oldest = house.engine.outbox(5).await.unwrap();
    assert_eq!(oldest.iter().map(|r| r.record.object.clone()).collect::<Vec<_>>(), rows[..5]);
    house.engine.remove_from_outbox(&oldest).await.unwrap();
    assert_eq!(house.objects().await, rows[5..]);
    let house = house.restart().await;
    tokio::time::timeout(Duration::from_secs(5), house.engine.outbox_changed()).await.unwrap();
    let all = house.engine.outbox(1000).await.unwrap();
    house.engine.remove_from_outbox(&all).await.unwrap();
    assert!(house.objects().await.is_empty());
    let missed = crate::OutboxRow { path: b"mark".to_vec(), record: recorded().record };
    house.engine.remove_from_outbox(&[missed]).await.unwrap();
    house.restart().await;
}

#[tokio::test]
async fn a_refused_change_leaves_no_row() {
    let house = House::new().await;
    let before = house.objects().await.len();
    assert!(house.delete("none").await.is_err());
    assert!(house.assign(Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4(), RoleScope::Hsm).await.is_err());
    house.store.fail_next(&[Fault::Failed]);
    assert_eq!(house.create("k").await.err(), Some(Error::Unavailable(Unavailable::Store)));
    assert_eq!(house.objects().await.len(), before);
}

#[tokio::test]
async fn a_change_that_was_chained_is_recorded_whatever_becomes_of_its_commit() {
    let house = House::new().await;
    let start = house.engine.outbox(10_000).await.unwrap().len();
    assert!(house.engine.take_not_committed().is_empty());
    house.create("k").await.unwrap();
    house.store.fail_next(&[Fault::Failed]);
    assert!(house.create("k").await.is_err());
    house.rotate("k").await.unwrap();
    let off = crate::keys::UpdateKey {
        attributes: crate::keys::AttributeChange { enabled: Some(false), ..Default::default() },
        ..Default::default()
    };
    house.store.fail_next(&[Fault::Failed]);
    assert!(house.update("k", off.clone()).await.is_err());
    house.update("k", off).await.unwrap();
    // Tags are not the partition's affair.
    house.update("k", crate::keys::UpdateKey { tags: Some(Default::default()), ..Default::default() }).await.unwrap();

    let committed: Vec<_> = house.engine.outbox(10_000).await.unwrap().split_off(start);
    let committed: Vec<_> = committed.into_iter().map(|row| row.record).collect();
    let dropped = house.engine.take_not_committed();
    assert!(house.engine.take_not_committed().is_empty());
    assert!(committed.iter().all(|r| r.operation != "KeyChangeNotCommitted"));
    assert!(dropped.iter().all(|r| r.operation == "KeyChangeNotCommitted" && r.status == 409));
    assert!(dropped.iter().all(|r| r.object.starts_with("keys/k/") && r.actor == recorded().record.actor));
    let entry = |record: &AuditRecord| match &record.stamp {
        Some(Stamp::Change(change)) => Some((change.place.sequence, change.place.generation)),
        Some(Stamp::Use(_) | Stamp::System(_)) | None => None,
    };
    let entries = |records: &[AuditRecord]| records.iter().map(entry).collect::<Vec<_>>();
    assert_eq!(entries(&committed), [Some((1, 1)), Some((3, 1)), Some((5, 2)), None]);
    assert_eq!(entries(&dropped), [Some((2, 1)), Some((4, 2))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sleeps_through_a_row() {
    let house = Arc::new(House::new().await);
    let drained = Arc::clone(&house);
    let draining = tokio::spawn(async move {
        let mut seen = 0;
        while seen < 200 {
            drained.engine.outbox_changed().await;
            let rows = drained.engine.outbox(1000).await.unwrap();
            seen += rows.iter().filter(|r| r.record.object.starts_with("keys/")).count();
            drained.engine.remove_from_outbox(&rows).await.unwrap();
        }
    });
    for i in 0..200 {
        house.create(&format!("k{}", i % 10)).await.unwrap();
        if i % 16 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    tokio::time::timeout(Duration::from_secs(10), draining).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_settled_and_nothing_is_done_twice() {
    use Fault::{DoneUnknown, LostUnknown};
    let house = House::new().await;
    for (n, faults) in [&[DoneUnknown][..], &[LostUnknown], &[LostUnknown, DoneUnknown]].into_iter().enumerate() {
        let key = format!("k{n}");
        let rows = house.objects().await.len();
        house.store.fail_next(faults);
        let made = house.create(&key).await.unwrap();
        assert_eq!(house.get(&key).await.unwrap().version, made.version);
        house.store.fail_next(faults);
        house.delete(&key).await.unwrap();
        house.store.fail_next(faults);
        house.recover(&key).await.unwrap();
        let id = Uuid::from_u128(0x100 + n as u128);
        house.store.fail_next(faults);
        house.assign(id, id, CRYPTO_USER, RoleScope::Keys).await.unwrap();
        assert!(house.may(id, DataAction::KeysRead, RoleScope::Keys).is_ok());
        house.delete(&key).await.unwrap();
        house.store.fail_next(faults);
        house.purge(&key).await.unwrap();
        assert_eq!(house.objects().await.len(), rows + 6);
    }
    house.store.fail_next(&[LostUnknown; 20]);
    assert_eq!(house.create("k").await.err(), Some(Error::Unavailable(Unavailable::Store)));
    house.store.fail_next(&[]);
    assert!(house.get("k").await.is_err());
}
