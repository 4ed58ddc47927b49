//! AES-GCM uses: counted, reserved in blocks, exhausted, given back.

use super::house::{House, name, of};
use crate::records::shapes::UsesRecord;
use std::sync::Arc;
use strongroom_hsm::verbs::Input;
use strongroom_model::error::{Error, Forbidden, Result};
use strongroom_model::limits::GCM_USES_MAX;
use strongroom_model::{Algorithm, DataAction, KeySpec, SecretBytes};
use strongroom_store::Store;

impl House {
    async fn encrypt(&self, key: &str, algorithm: Algorithm) -> Result<()> {
        let g = self.grant(DataAction::KeysEncrypt);
        let input = Input::Encrypt { plaintext: SecretBytes::new(vec![1; 16]), iv: None, aad: None };
        self.engine.operate(&g, &name(key), None, algorithm, input).await.map(|_| ())
    }

    async fn uses_path(&self, key: &str) -> Vec<u8> {
        let head = self.core().stored_head(&self.pool, &name(key)).await.unwrap().unwrap().value;
        self.pool.live.paths.uses(&head.object, head.newest.version)
    }

    async fn reserved(&self, key: &str) -> Option<u64> {
        let path = self.uses_path(key).await;
        self.core().records.get::<UsesRecord>(&path).await.unwrap().map(|s| s.value.reserved)
    }
}

#[tokio::test]
async fn blocks_are_reserved_ahead_double_under_load_and_come_back() {
    let house = House::new().await;
    house.create_as("k", of(KeySpec::Oct256)).await.unwrap();
    house.encrypt("k", Algorithm::A256Cbc).await.unwrap();
    assert_eq!(house.reserved("k").await, None);
    house.encrypt("k", Algorithm::A256Gcm).await.unwrap();
    assert_eq!(house.reserved("k").await, Some(1 << 10));
    for _ in 0..1 << 10 {
        house.encrypt("k", Algorithm::A256Gcm).await.unwrap();
    }
    assert_eq!(house.reserved("k").await, Some((1 << 10) + (1 << 11)));
    house.engine.stop().await;
    assert_eq!(house.reserved("k").await, Some((1 << 10) + 1));
}

#[tokio::test]
async fn a_use_that_was_refused_is_not_counted() {
    let house = House::new().await;
    let what = crate::keys::CreateKey { ops: strongroom_model::KeyOps::NONE, ..of(KeySpec::Oct128) };
    house.create_as("k", what).await.unwrap();
    for _ in 0..10 {
        assert!(house.encrypt("k", Algorithm::A128Gcm).await.is_err());
    }
    house.engine.stop().await;
    assert_eq!(house.reserved("k").await, Some(0));
}

#[tokio::test]
async fn the_last_use_is_the_last_one() {
    let house = House::new().await;
    house.create_as("k", of(KeySpec::Oct256)).await.unwrap();
    let path = house.uses_path("k").await;
    let change = house.core().records.put(path, &UsesRecord { reserved: GCM_USES_MAX - 3 }).unwrap();
    house.store.commit(vec![], vec![change]).await.unwrap();
    for _ in 0..3 {
        house.encrypt("k", Algorithm::A256Gcm).await.unwrap();
    }
    let exhausted = Some(Error::Forbidden(Forbidden::UsesExhausted));
    assert_eq!(house.encrypt("k", Algorithm::A256Gcm).await.err(), exhausted);
    assert_eq!(house.restart_and_encrypt("k").await, exhausted);
}

impl House {
    async fn restart_and_encrypt(self, key: &str) -> Option<Error> {
        let house = self.restart().await;
        let error = house.encrypt(key, Algorithm::A256Gcm).await.err();
        // The way out that the error names.
        house.rotate(key).await.unwrap();
        house.encrypt(key, Algorithm::A256Gcm).await.unwrap();
        error
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_use_is_made_twice_by_many_at_once_and_a_crash_loses_only_uses() {
    let house = Arc::new(House::new().await);
    house.create_as("k", of(KeySpec::Oct256)).await.unwrap();
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let house = Arc::clone(&house);
            tokio::spawn(async move {
                for _ in 0..200 {
                    house.encrypt("k", Algorithm::A256Gcm).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let before = house.reserved("k").await.unwrap();
    assert!((3200..3200 + (1 << 13)).contains(&before), "{before}");
    let house = Arc::into_inner(house).unwrap().restart().await;
    house.encrypt("k", Algorithm::A256Gcm).await.unwrap();
    assert_eq!(house.reserved("k").await, Some(before + (1 << 10)));
}

#[tokio::test]
async fn a_purged_key_leaves_no_counter() {
    let house = House::new().await;
    house.create_as("k", of(KeySpec::Oct256)).await.unwrap();
    house.encrypt("k", Algorithm::A256Gcm).await.unwrap();
    house.delete("k").await.unwrap();
    house.purge("k").await.unwrap();
    house.engine.stop().await;
    let left = house.dump().await;
    assert!(left.iter().all(|e| !String::from_utf8_lossy(&e.path).contains("/uses/")));
}
