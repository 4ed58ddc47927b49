//! Lists: every item once, in order, whatever happens beside; tokens of other lists refused.

use super::house::{House, name, request};
use crate::keys::KeyItem;
use crate::{PageRequest, PoolRequest};
use std::collections::BTreeSet;
use strongroom_model::error::{BadParameter, Error};
use strongroom_model::{DataAction, PoolName};

fn after(token: Option<String>, size: usize) -> PageRequest {
    PageRequest { size, after: token }
}

impl House {
    async fn walk(&self, size: usize) -> Vec<KeyItem> {
        let g = self.grant(DataAction::KeysRead);
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let page = self.engine.get_keys(&g, after(token, size)).await.unwrap();
            assert!(page.items.len() <= size);
            all.extend(page.items);
            token = page.next;
            if token.is_none() {
                return all;
            }
        }
    }
}

#[tokio::test]
async fn lists_show_each_live_key_once_in_order() {
    let house = House::new().await;
    for i in 0..130 {
        house.create(&format!("K{i:03}")).await.unwrap();
    }
    for i in 5..120 {
        house.delete(&format!("k{i:03}")).await.unwrap();
    }
    for size in [1, 7, 25] {
        let names: Vec<_> = house.walk(size).await.into_iter().map(|i| i.name.to_string()).collect();
        let expected: Vec<_> = (0..5).chain(120..130).map(|i| format!("K{i:03}")).collect();
        assert_eq!(names, expected);
    }
    let g = house.grant(DataAction::DeletedKeysRead);
    let (mut deleted, mut token) = (Vec::new(), None);
    loop {
        let page = house.engine.get_deleted_keys(&g, after(token, 25)).await.unwrap();
        deleted.extend(page.items.into_iter().map(|i| i.key.name.to_string()));
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(deleted, (5..120).map(|i| format!("K{i:03}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_empty_page_may_have_a_next_one() {
    let house = House::new().await;
    for i in 0..130 {
        house.create(&format!("k{i:03}")).await.unwrap();
        house.delete(&format!("k{i:03}")).await.unwrap();
    }
    house.create("z").await.unwrap();
    let first = house.engine.get_keys(&house.grant(DataAction::KeysRead), after(None, 25)).await.unwrap();
    assert!(first.items.is_empty() && first.next.is_some());
    assert_eq!(house.walk(25).await.len(), 1);
}

#[tokio::test]
async fn the_versions_of_a_key_are_listed_with_their_attributes() {
    let house = House::new().await;
    let mut made = BTreeSet::new();
    for _ in 0..60 {
        made.insert(house.create("k").await.unwrap().version);
    }
    let g = house.grant(DataAction::KeysRead);
    let (mut seen, mut token) = (BTreeSet::new(), None);
    loop {
        let page = house.engine.get_key_versions(&g, &name("K"), after(token, 25)).await.unwrap();
        assert!(page.items.iter().all(|i| seen.insert(i.version.unwrap()) && i.attributes.enabled));
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, made);
}

#[tokio::test]
async fn a_token_is_good_for_its_list_only() {
    let house = House::new().await;
    let other = PoolRequest { name: PoolName::parse("other").unwrap(), ..request() };
    let other = house.engine.ensure_pool(other).await.unwrap();
    for i in 0..3 {
        house.create(&format!("k{i}")).await.unwrap();
        house.create("k0").await.unwrap();
    }
    for i in 3..6 {
        house.create(&format!("k{i}")).await.unwrap();
        house.delete(&format!("k{i}")).await.unwrap();
    }
    let (read, deleted) = (house.grant(DataAction::KeysRead), house.grant(DataAction::DeletedKeysRead));
    let engine = &house.engine;
    let keys = engine.get_keys(&read, after(None, 1)).await.unwrap().next.unwrap();
    let versions = engine.get_key_versions(&read, &name("k0"), after(None, 1)).await.unwrap().next.unwrap();
    let gone = engine.get_deleted_keys(&deleted, after(None, 1)).await.unwrap().next.unwrap();
    let foreign = Some(Error::BadParameter(BadParameter::SkipToken));
    let mut changed = keys.clone().into_bytes();
    changed[50] = if changed[50] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    for bad in [String::new(), "x".into(), "a".repeat(5000), "é".into(), changed, versions.clone(), gone.clone()] {
        assert_eq!(engine.get_keys(&read, after(Some(bad.clone()), 1)).await.err(), foreign, "{bad}");
    }
    for bad in [&keys, &gone] {
        let list = engine.get_key_versions(&read, &name("k0"), after(Some(bad.clone()), 1)).await;
        assert_eq!(list.err(), foreign);
    }
    let list = engine.get_key_versions(&read, &name("k1"), after(Some(versions), 1)).await;
    assert_eq!(list.err(), foreign);
    let caller = super::house::caller(super::house::ADMIN, &[]);
    let g =
        engine.authorise(&other, &caller, DataAction::RoleAssignmentsWrite, strongroom_model::RoleScope::Hsm).unwrap();
    let asked = crate::roles::CreateRoleAssignment {
        principal_id: super::house::ADMIN,
        role_definition_id: strongroom_model::role::CRYPTO_USER,
        scope: strongroom_model::RoleScope::Hsm,
    };
    engine.create_role_assignment(&g, super::house::recorded(), uuid::Uuid::new_v4(), asked).await.unwrap();
    let g = engine.authorise(&other, &caller, DataAction::KeysRead, strongroom_model::RoleScope::Keys).unwrap();
    assert_eq!(engine.get_keys(&g, after(Some(keys.clone()), 1)).await.err(), foreign);
    assert!(engine.get_keys(&read, after(Some(keys), 1)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_complete_and_without_repeats_while_others_write() {
    let house = std::sync::Arc::new(House::new().await);
    for i in 0..80 {
        house.create(&format!("stays-{i:02}")).await.unwrap();
    }
    let writer = std::sync::Arc::clone(&house);
    let writing = tokio::spawn(async move {
        for round in 0..300 {
            let key = format!("{}-{}", ["a", "stays-40x", "z"][round % 3], round % 7);
            let _ = writer.create(&key).await;
            let _ = writer.delete(&key).await;
            let _ = writer.purge(&key).await;
            let _ = writer.create(&format!("stays-{:02}", round % 80)).await;
        }
    });
    while !writing.is_finished() {
        let names: Vec<_> = house.walk(7).await.into_iter().map(|i| i.name.to_string()).collect();
        assert!(names.is_sorted_by(|a, b| a < b));
        assert_eq!(names.iter().filter(|n| n.starts_with("stays-") && n.len() == 8).count(), 80);
    }
    writing.await.unwrap();
}
