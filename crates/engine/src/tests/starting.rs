//! Starts, restarts, and stores that somebody touched.

use super::house::{House, name, request};
use crate::keys::{CreateKey, Tags};
use crate::{Engine, EngineParts, PoolRequest, PoolState, StartError};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use strongroom_model::error::{Error, Internal};
use strongroom_model::{Algorithm, DataAction, KeySpec, PoolName, SecretBytes};
use strongroom_store::{Change, Store};

async fn refused(parts: EngineParts) -> StartError {
    match Engine::start(parts).await {
        Ok(_) => panic!("started"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let house = House::new().await;
    let made = house.create("My-Key").await.unwrap();
    house.delete("My-Key").await.unwrap();
    house.recover("my-key").await.unwrap();
    house.create("gone").await.unwrap();
    house.delete("gone").await.unwrap();
    let started = house.partitions.started();
    let id = house.pool.id;
    let house = house.restart().await;
    assert_eq!((house.pool.id, house.partitions.started()), (id, started));
    assert_eq!(house.sign("my-key").await.unwrap().version, made.version);
    assert_eq!(house.get("my-key").await.unwrap().name.as_str(), "My-Key");
    assert!(house.get_deleted("gone").await.is_ok());
    assert!(house.engine.ready().await.is_ok());
}

#[tokio::test]
async fn another_seal_another_owner_and_a_newer_format_are_refused() {
    let house = House::new().await;
    let other = EngineParts { store_seal: SecretBytes::new(vec![8; 32]), ..house.parts() };
    assert!(matches!(refused(other).await, StartError::WrongSeal));
    let production = EngineParts { development: false, ..house.parts() };
    assert!(matches!(refused(production).await, StartError::Development));
    let entry = house.store.get(b"format").await.unwrap().unwrap();
    let with_format = async |number: u32| {
        let value = [&entry.value[..entry.value.len() - 4], &number.to_be_bytes()].concat();
        house.store.commit(vec![], vec![Change::Put(b"format".to_vec(), value)]).await.unwrap();
        refused(house.parts()).await
    };
    assert!(matches!(with_format(2).await, StartError::NewerFormat { found: 2, known: 1 }));
    assert!(matches!(with_format(0).await, StartError::Damaged(_)));
}

#[tokio::test]
async fn a_production_store_is_not_opened_by_dev() {
    let house = House::new().await;
    let empty = std::sync::Arc::new(super::house::FaultyStore::new());
    let parts = |development| {
        let mut parts = super::house::parts(&empty, &house.partitions, &house.clock, &house.audit_full);
        parts.development = development;
        parts
    };
    Engine::start(parts(false)).await.unwrap();
    assert!(matches!(refused(parts(true)).await, StartError::Production));
    Engine::start(parts(false)).await.unwrap();
}

#[tokio::test]
async fn a_pool_stays_as_it_was_made() {
    let house = House::new().await;
    let engine = Engine::start(house.parts()).await.unwrap();
    let ask = async |request: PoolRequest| engine.ensure_pool(request).await;
    for bad in [
        PoolRequest { retention_days: 8, ..request() },
        PoolRequest { name: PoolName::parse("system").unwrap(), ..request() },
        PoolRequest { name: PoolName::parse("vaults").unwrap(), ..request() },
        PoolRequest { name: PoolName::parse("short").unwrap(), retention_days: 6, ..request() },
        PoolRequest { name: PoolName::parse("long").unwrap(), retention_days: 91, ..request() },
    ] {
        assert!(matches!(ask(bad.clone()).await, Err(StartError::Pool(..))), "{bad:?}");
    }
    assert!(engine.pool(&request().name).is_none() && engine.pool(&PoolName::parse("system").unwrap()).is_none());
    let pool = ask(PoolRequest { purge_protection: true, ..request() }).await.unwrap();
    assert!(pool.purge_protection() && pool.state == PoolState::Activated);
    let engine = Engine::start(house.parts()).await.unwrap();
    assert!(matches!(engine.ensure_pool(request()).await, Err(StartError::Pool(..))));
    let inactive = PoolRequest { name: PoolName::parse("idle").unwrap(), state: PoolState::Provisioned, ..request() };
    assert_eq!(engine.ensure_pool(inactive.clone()).await.unwrap().state, PoolState::Provisioned);
    let engine = Engine::start(house.parts()).await.unwrap();
    let active = PoolRequest { state: PoolState::Activated, ..inactive };
    assert!(matches!(engine.ensure_pool(active).await, Err(StartError::Pool(..))));
}

#[tokio::test]
async fn system_keys_and_documents_stay() {
    let house = House::new().await;
    let made = house.engine.system_key("issuer", KeySpec::EcP256).await.unwrap();
    assert_eq!(house.engine.document("ca").await.unwrap(), None);
    house.engine.put_document("ca", vec![1, 2, 3]).await.unwrap();
    let house = house.restart().await;
    let again = house.engine.system_key("Issuer", KeySpec::EcP256).await.unwrap();
    assert_eq!((again.name.as_str(), &again.public), ("issuer", &made.public));
    assert_eq!(house.engine.document("ca").await.unwrap(), Some(vec![1, 2, 3]));
    let signed = house.engine.sign_with_system_key("issuer", Algorithm::Es256, vec![1; 32]).await.unwrap();
    assert!(!signed.0.is_empty());
    assert!(house.engine.sign_with_system_key("none", Algorithm::Es256, vec![1; 32]).await.is_err());
}

#[tokio::test]
async fn two_starts_at_once_make_one_system_key() {
    let house = House::new().await;
    let other = house.second_node().await;
    let (a, b) = tokio::join!(
        house.engine.system_key("issuer", KeySpec::EcP256),
        other.engine.system_key("issuer", KeySpec::EcP256)
    );
    let path = house.core().system.live.paths.system("issuer");
    assert_eq!(a.unwrap().public, b.unwrap().public);
    assert!(house.store.get(&path).await.unwrap().is_some());
}

#[tokio::test]
async fn a_record_that_was_edited_or_swapped_is_refused() {
    let house = House::new().await;
    house.create("a").await.unwrap();
    house.create("b").await.unwrap();
    let records = house.dump().await;
    let of = |part: &str| {
        let here = |e: &&strongroom_store::Entry| String::from_utf8_lossy(&e.path).contains(part);
        records.iter().filter(here).cloned().collect::<Vec<_>>()
    };
    let corrupt = Some(Error::Internal(Internal::CorruptRecord));
    let put = async |path: &[u8], value: Vec<u8>| {
        house.store.commit(vec![], vec![Change::Put(path.to_vec(), value)]).await.unwrap();
        house.second_node_unchecked().await
    };
    let heads = of("/heads/");
    let other = put(&heads[0].path, heads[1].value.clone()).await.unwrap();
    assert_eq!(other.get("a").await.err(), corrupt);
    assert!(other.get("b").await.is_ok());
    put(&heads[0].path, heads[0].value.clone()).await.unwrap();
    for version in of("/versions/") {
        let mut edited = version.value.clone();
        *edited.last_mut().unwrap() ^= 1;
        let other = put(&version.path, edited).await.unwrap();
        let failures = [other.sign("a").await.err(), other.sign("b").await.err()];
        assert_eq!(failures.iter().filter(|f| **f == corrupt).count(), 1);
        put(&version.path, version.value).await.unwrap();
    }
    let id = house.pool.id.0.simple().to_string();
    let is_read_at_the_start = |e: &&strongroom_store::Entry| {
        let path = String::from_utf8_lossy(&e.path);
        let of_pool = path.contains(&id) && ["/assignments/", "/roles", "/epoch"].iter().any(|p| path.contains(p));
        of_pool || ["pools/demo", "pools/system", "mark"].contains(&&*path)
    };
    let read_at_the_start: Vec<_> = records.iter().filter(is_read_at_the_start).collect();
    assert_eq!(read_at_the_start.len(), 3 + 2 + 3);
    for record in read_at_the_start {
        let mut edited = record.value.clone();
        edited[40] ^= 1;
        let path = String::from_utf8_lossy(&record.path);
        assert!(matches!(put(&record.path, edited).await, Err(StartError::Damaged(_))), "{path}");
        put(&record.path, record.value.clone()).await.unwrap();
    }
}

#[tokio::test]
async fn the_store_shows_names_and_nothing_else() {
    let house = House::new().await;
    let tags = Tags::from([("canary-tag".to_owned(), "canary-value".to_owned())]);
    house.create_as("Canary-Name", CreateKey { tags, ..super::house::ec() }).await.unwrap();
    house.engine.put_document("ca", b"canary-document".to_vec()).await.unwrap();
    house
        .assign(uuid::Uuid::from_u128(7), uuid::Uuid::from_bytes(*b"canary-principal"), ADMIN_ROLE, KEYS)
        .await
        .unwrap();
    let canaries =
        ["canary-tag", "canary-value", "Canary-Name", "canary-document", "canary-principal", "\u{c5}\u{c5}\u{c5}"];
    let mut names = 0;
    for entry in house.dump().await {
        for canary in canaries {
            let forms = [
                canary.as_bytes().to_vec(),
                BASE64_STANDARD.encode(canary).into_bytes(),
                BASE64_URL_SAFE_NO_PAD.encode(canary).into_bytes(),
                hex::encode(canary).into_bytes(),
            ];
            for form in forms {
                let inside = |bytes: &[u8]| bytes.windows(form.len()).any(|w| w == form);
                assert!(!inside(&entry.value) && !inside(&entry.path), "{canary}");
            }
        }
        names += usize::from(entry.path.ends_with(b"/heads/canary-name"));
    }
    assert_eq!(names, 1);
    let g = house.grant(DataAction::KeysRead);
    assert!(house.engine.get_key(&g, &name("canary-name"), None).await.is_ok());
}

const ADMIN_ROLE: uuid::Uuid = strongroom_model::role::CRYPTO_USER;
const KEYS: strongroom_model::RoleScope = strongroom_model::RoleScope::Keys;
