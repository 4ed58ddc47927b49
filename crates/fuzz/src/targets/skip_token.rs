//! Skip tokens: only the list that made one takes it.

use crate::house::{House, recorded};
use std::cell::RefCell;
use strongroom_engine::PageRequest;
use strongroom_engine::keys::{AttributeChange, CreateKey, Tags};
use strongroom_model::error::{BadParameter, Error};
use strongroom_model::{DataAction, KeyName, KeyOps, KeySpec, KeyType, RoleScope};

/// Stands in an input for a token that the list of keys made.
const REAL: &str = "REAL";

thread_local! {
    static HOUSE: RefCell<Option<(House, String)>> = const { RefCell::new(None) };
}

fn house() -> (House, String) {
    let house = House::new();
    for name in ["a", "b", "c"] {
        let grant = house.grant(0, DataAction::KeysCreate, RoleScope::Hsm);
        let key = CreateKey {
            spec: KeySpec::EcP256,
            ops: KeyOps::default_for(KeyType::Ec),
            attributes: AttributeChange::default(),
            tags: Tags::new(),
        };
        let made = house.engine.create_key(&grant, recorded(), KeyName::parse(name).unwrap(), key);
        house.runtime.block_on(made).unwrap();
    }
    let grant = house.grant(0, DataAction::KeysRead, RoleScope::Hsm);
    let page = house.runtime.block_on(house.engine.get_keys(&grant, PageRequest { size: 1, after: None })).unwrap();
    let token = page.next.unwrap();
    (house, token)
}

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    HOUSE.with_borrow_mut(|slot| {
        let (house, real) = slot.get_or_insert_with(house);
        let token = text.replace(REAL, real);
        let ask = || PageRequest { size: 1, after: Some(token.clone()) };
        let refused = Some(Error::BadParameter(BadParameter::SkipToken));
        let read = |pool| house.grant(pool, DataAction::KeysRead, RoleScope::Hsm);
        let own = house.runtime.block_on(house.engine.get_keys(&read(0), ask()));
        if token == *real {
            assert!(own.is_ok_and(|page| page.items.len() == 1));
        } else {
            assert_eq!(own.err(), refused, "{token}");
        }
        let other_pool = house.runtime.block_on(house.engine.get_keys(&read(1), ask()));
        assert_eq!(other_pool.err(), refused, "{token}");
        let name = KeyName::parse("a").unwrap();
        let versions = house.runtime.block_on(house.engine.get_key_versions(&read(0), &name, ask()));
        assert_eq!(versions.err(), refused, "{token}");
        let deleted = house.grant(0, DataAction::DeletedKeysRead, RoleScope::Hsm);
        let deleted = house.runtime.block_on(house.engine.get_deleted_keys(&deleted, ask()));
        assert_eq!(deleted.err(), refused, "{token}");
    });
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let long = "A".repeat(1023);
    [REAL, "", "REAL=", "REALAA", "AREAL", "AQEAAAAH", "a.b/c+d", &long].map(|t| t.as_bytes().to_vec()).to_vec()
}
