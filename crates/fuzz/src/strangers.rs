//! What a caller without a right can learn from time: which keys exist, and how near a guessed secret is.

use crate::house::House;
use crate::targets::identity;
use crate::timing::{Kind, Row, compare};
use std::hint::black_box;
use std::sync::Arc;
use strongroom_engine::keys::{AttributeChange, CreateKey, Tags};
use strongroom_model::{DataAction, KeyName, KeyOps, KeySpec, KeyType, Principal, RoleScope};
use uuid::Uuid;

pub(crate) fn rows(samples: usize) -> Vec<Row> {
    vec![existing_or_missing(samples), secrets(samples / 10)]
}

fn existing_or_missing(samples: usize) -> Row {
    let house = House::new();
    let name = |text: &str| KeyName::parse(text).unwrap();
    let key = CreateKey {
        spec: KeySpec::EcP256,
        ops: KeyOps::default_for(KeyType::Ec),
        attributes: AttributeChange::default(),
        tags: Tags::new(),
    };
    let grant = house.grant(0, DataAction::KeysCreate, RoleScope::Hsm);
    let made = house.engine.create_key(&grant, crate::house::recorded(), name("there"), key);
    house.runtime.block_on(made).unwrap();
    let stranger = Arc::new(Principal { object_id: Uuid::from_u128(0x5747), ..Principal::clone(&house.caller) });
    let scope = |class: bool| RoleScope::Key(name(if class { "there" } else { "thirt" }));
    compare("no role: a key that exists against one that does not", Kind::Tested, samples, scope, |scope| {
        for _ in 0..20 {
            let refused = house.engine.authorise(&house.pools[0], &stranger, DataAction::KeysRead, scope.clone());
            assert!(black_box(refused).is_err());
        }
    })
}

fn secrets(samples: usize) -> Row {
    let secret = |class: bool| {
        let mut secret = identity::SECRET.as_bytes().to_vec();
        let at = if class { secret.len() - 1 } else { 0 };
        secret[at] ^= 1;
        let secret = String::from_utf8(secret).unwrap();
        format!(
            "grant_type=client_credentials&client_id={}&scope={}%2F.default&client_secret={secret}",
            identity::CLIENT,
            identity::AUDIENCE
        )
    };
    compare("client secret: wrong at its end against its beginning", Kind::Tested, samples, secret, |body| {
        let form = Some("application/x-www-form-urlencoded");
        let answer = identity::with(|issuer| issuer.ask("adfs", None, form, body.as_bytes()));
        assert_eq!(black_box(answer).status, 401);
    })
}
