//! Whatever a body holds, a handler answers or refuses it as the caller's fault, and quotes nothing of it.

use super::house::{Asked, House, key};
use crate::http::call::Handler;
use crate::http::handlers::{keys, roles};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use strongroom_model::DataAction as A;
use strongroom_model::error::Error;

const CANARY: &str = "c4n4ryc4n4ry";
const MUTATED: u32 = 1500;
const ID: &str = "0fee0fee-0fee-4fee-8fee-0fee0fee0fee";

/// Every handler that reads a body, with one it takes; secret members hold the canary.
fn handlers() -> Vec<(Handler, A, &'static str, Value)> {
    let k = "c4n4ryc4n4ryc4n4ryc4nw";
    let digest = "c4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ryE";
    vec![
        (keys::create_key, A::KeysCreate, "made", json!({"kty": "oct", "tags": {"t": CANARY}, "key_ops": ["sign"]})),
        (keys::import_key, A::KeysImport, "taken", json!({"key": {"kty": "oct", "k": k}, "tags": {"t": CANARY}})),
        (
            keys::update_key,
            A::KeysWrite,
            "oct",
            json!({"tags": {"t": CANARY}, "attributes": {"exp": 4_000_000_000_i64}}),
        ),
        (keys::encrypt, A::KeysEncrypt, "oct", json!({"alg": "A256GCM", "value": CANARY, "aad": CANARY})),
        (keys::encrypt, A::KeysEncrypt, "oct", json!({"alg": "A256CBCPAD", "value": CANARY, "iv": k})),
        (keys::wrap_key, A::KeysWrap, "oct", json!({"alg": "A256KW", "value": k})),
        (keys::sign, A::KeysSign, "ec", json!({"alg": "ES256", "value": digest})),
        (keys::verify, A::KeysVerify, "ec", json!({"alg": "ES256", "digest": digest, "value": CANARY})),
        (keys::get_random_bytes, A::Rng, "", json!({"count": 5})),
        (
            keys::update_key_rotation_policy,
            A::KeysWrite,
            "oct",
            json!({"lifetimeActions": [{"action": {"type": "Rotate"}, "trigger": {"timeAfterCreate": "P30D"}}]}),
        ),
        (
            roles::create_role_assignment,
            A::RoleAssignmentsWrite,
            "",
            json!({"properties": {"principalId": ID, "roleDefinitionId": strongroom_model::role::CRYPTO_USER}}),
        ),
        (
            roles::set_role_definition,
            A::RoleDefinitionsWrite,
            "",
            json!({"properties": {"roleName": CANARY, "permissions": [{"dataActions": [A::Rng.as_str()]}]}}),
        ),
        (
            keys::decrypt,
            A::KeysDecrypt,
            "oct",
            json!({"alg": "A256GCM", "value": CANARY, "iv": "c4n4ryc4n4ryc4n4", "tag": k}),
        ),
        (keys::unwrap_key, A::KeysUnwrap, "oct", json!({"alg": "A256KW", "value": digest})),
    ]
}

/// Whether it is the caller's fault, and says nothing of what was sent.
fn is_fair(error: &Error) -> bool {
    let fault = matches!(error, Error::BadParameter(_) | Error::Forbidden(_) | Error::NotFound(_) | Error::Conflict(_));
    fault && !format!("{error:?} {error}").contains("c4n4ry")
}

async fn house() -> House {
    let house = House::new().await;
    for (name, body) in [("oct", json!({"kty": "oct", "key_size": 256})), ("ec", json!({"kty": "EC"}))] {
        house.call(keys::create_key, A::KeysCreate, key(name).with(body)).await.unwrap();
    }
    house
}

fn asked(name: &str, raw: Vec<u8>) -> Asked<'_> {
    let mut asked = key(name);
    asked.params.push(("id", ID));
    asked.raw = Some(raw);
    asked
}

#[tokio::test]
async fn bodies_that_are_taken_are_taken() {
    let house = house().await;
    for (at, (handler, action, name, body)) in handlers().into_iter().enumerate() {
        let answer = house.call(handler, action, asked(name, body.to_string().into_bytes())).await;
        // The last two do not decrypt.
        assert_eq!(answer.as_ref().is_ok(), at < handlers().len() - 2, "{body} {:?}", answer.as_ref().err());
        assert!(answer.err().is_none_or(|e| is_fair(&e)), "{body}");
    }
}

#[test]
fn mutated_bodies_are_the_callers_fault() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let house = runtime.block_on(house());
    let all = handlers();
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    let strategy = (0..all.len(), prop::collection::vec(change, 1..4));
    let mut runner =
        TestRunner::new(ProptestConfig { cases: MUTATED, failure_persistence: None, ..ProptestConfig::default() });
    let outcome = runner.run(&strategy, |(which, changes)| {
        let (handler, action, name, body) = &all[which];
        let mut bytes = body.to_string().into_bytes();
        for (place, byte, how) in changes {
            let at = place.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => bytes.truncate(at.max(1)),
                _ => bytes[at] ^= 1,
            }
        }
        if let Err(error) = runtime.block_on(house.call(*handler, *action, asked(name, bytes))) {
            prop_assert!(is_fair(&error), "{error:?}");
        }
        Ok(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");
    strongroom_counts::count("mutated bodies", MUTATED);
}
