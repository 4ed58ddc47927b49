//! Every cell of the algorithm table, forth and back, and imported keys.

use super::house::{BASE, House, json, key};
use crate::http::call::{Answer, Handler};
use crate::http::handlers::base64url;
use crate::http::handlers::keys::*;
use serde_json::{Value, json};
use std::path::Path;
use strongroom_model::algorithm::{ALGORITHMS, Mechanism};
use strongroom_model::error::{BadParameter, Error, Result};
use strongroom_model::key::KEY_SPECS;
use strongroom_model::{Algorithm, DataAction as A, KeyOps, KeySpec, Operation};
use strongroom_wire::SecretText;

fn handler(operation: Operation) -> Handler {
    match operation {
        Operation::Encrypt => encrypt,
        Operation::Decrypt => decrypt,
        Operation::Sign => sign,
        Operation::Verify => verify,
        Operation::WrapKey => wrap_key,
        Operation::UnwrapKey => unwrap_key,
    }
}

async fn operate(house: &House, name: &str, operation: Operation, body: Value) -> Result<Answer> {
    house.call(handler(operation), operation.row().action, key(name).with(body)).await
}

fn text(bytes: &[u8]) -> Value {
    json!(base64url::encode(bytes).unwrap().expose())
}

fn bytes(value: &Value) -> Vec<u8> {
    base64url::public("value", Some(&SecretText::borrowed(value.as_str().unwrap())), 64 * 1024).unwrap()
}

/// A key with every operation that its type can have.
async fn make(house: &House, name: &str, spec: KeySpec) {
    let row = spec.row();
    let all = ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"];
    let ops: Vec<&str> = all.into_iter().filter(|op| KeyOps::parse(row.kty, [*op]).is_ok()).collect();
    let body = match row.curve {
        Some(curve) => json!({"kty": "EC", "crv": curve.as_str(), "key_ops": ops}),
        None => json!({"kty": row.kty.hsm_name(), "key_size": row.bits, "key_ops": ops}),
    };
    house.call(create_key, A::KeysCreate, key(name).with(body)).await.unwrap();
}

async fn cipher(house: &House, name: &str, algorithm: Algorithm) {
    let row = algorithm.row();
    let gcm = row.mechanism == Mechanism::AesGcm;
    let cbc = matches!(row.mechanism, Mechanism::AesCbc | Mechanism::AesCbcPad);
    let mut body = json!({"alg": row.name, "value": text(&[0x5a; 16])});
    if cbc {
        body["iv"] = text(&[1; 16]);
    }
    if gcm {
        body["aad"] = text(b"context");
    }
    let answer = operate(house, name, Operation::Encrypt, body.clone()).await.unwrap();
    assert!(answer.stamp.is_some() && !answer.audited && answer.object.starts_with(&format!("keys/{name}/")));
    let made = json(&answer);
    assert_eq!(made["kid"], format!("{BASE}/{}", answer.object));
    assert_ne!(made["value"], body["value"]);
    assert_eq!((made.get("aad"), made.get("tag").is_some()), (body.get("aad"), gcm));
    if gcm {
        assert_eq!((bytes(&made["iv"]).len(), bytes(&made["tag"]).len()), (12, 16));
    } else {
        assert_eq!(made.get("iv"), body.get("iv"));
    }
    let mut back = json!({"alg": row.name, "value": made["value"]});
    for member in ["iv", "tag", "aad"].into_iter().filter(|m| made.get(m).is_some()) {
        back[member] = made[member].clone();
    }
    let opened = operate(house, name, Operation::Decrypt, back.clone()).await.unwrap();
    assert_eq!((&json(&opened)["value"], opened.object), (&body["value"], answer.object));
    if gcm {
        back["aad"] = text(b"another");
        let failure = operate(house, name, Operation::Decrypt, back).await.err();
        assert_eq!(failure, Some(Error::BadParameter(BadParameter::CryptographicFailure)));
    }
}

async fn wrapping(house: &House, name: &str, algorithm: Algorithm) {
    let body = json!({"alg": algorithm.row().name, "value": text(&[0x6b; 32])});
    let wrapped = json(&operate(house, name, Operation::WrapKey, body.clone()).await.unwrap());
    let back = json!({"alg": algorithm.row().name, "value": wrapped["value"]});
    let opened = json(&operate(house, name, Operation::UnwrapKey, back).await.unwrap());
    assert_eq!((&opened["value"], &opened["kid"]), (&body["value"], &wrapped["kid"]));
}

async fn signature(house: &House, name: &str, algorithm: Algorithm) {
    let digest = text(&vec![9; algorithm.digest().unwrap().size()]);
    let alg = algorithm.row().name;
    let made = json(&operate(house, name, Operation::Sign, json!({"alg": alg, "value": digest})).await.unwrap());
    let mut check = json!({"alg": alg, "digest": digest, "value": made["value"]});
    let answer = operate(house, name, Operation::Verify, check.clone()).await.unwrap();
    assert_eq!((answer.body.as_slice(), answer.stamp.is_some()), (&b"{\"value\":true}"[..], true));
    check["digest"] = text(&vec![8; algorithm.digest().unwrap().size()]);
    let answer = operate(house, name, Operation::Verify, check).await.unwrap();
    assert_eq!(answer.body.as_slice(), b"{\"value\":false}");
}

#[tokio::test]
async fn every_cell_of_the_table_works() {
    let house = House::new().await;
    let mut cells = 0;
    for row in KEY_SPECS {
        let name = format!("{:?}", row.spec);
        make(&house, &name, row.spec).await;
        for algorithm in ALGORITHMS {
            for operation in [Operation::Encrypt, Operation::Sign, Operation::WrapKey] {
                if algorithm.algorithm.check(operation, row.spec).is_err() {
                    continue;
                }
                match operation {
                    Operation::Encrypt | Operation::Decrypt => cipher(&house, &name, algorithm.algorithm).await,
                    Operation::Sign | Operation::Verify => signature(&house, &name, algorithm.algorithm).await,
                    Operation::WrapKey | Operation::UnwrapKey => wrapping(&house, &name, algorithm.algorithm).await,
                }
                cells += 1;
            }
        }
    }
    // 3 RSA sizes x (3 ciphers + 3 wraps + 6 signatures), 4 curves, 9 wraps, 9 ciphers, 9 HMACs.
    assert_eq!(cells, 3 * 12 + 4 + 9 + 9 + 9);
    strongroom_counts::count("matrix: cells that work, through the handlers", cells);
}

#[tokio::test]
async fn an_algorithm_of_another_key_or_operation_is_refused() {
    let house = House::new().await;
    make(&house, "ec", KeySpec::EcP256).await;
    for (operation, body) in [
        (Operation::Sign, json!({"alg": "RS256", "value": text(&[1; 32])})),
        (Operation::Sign, json!({"alg": "ES384", "value": text(&[1; 48])})),
        (Operation::Sign, json!({"alg": "RSA-OAEP", "value": text(&[1; 32])})),
    ] {
        let refused = operate(&house, "ec", operation, body).await.err();
        assert!(matches!(refused, Some(Error::BadParameter(BadParameter::AlgorithmMismatch { .. }))), "{refused:?}");
    }
    let refused = operate(&house, "ec", Operation::Encrypt, json!({"alg": "RSA-OAEP", "value": "AAAA"})).await.err();
    assert!(matches!(refused, Some(Error::BadParameter(_) | Error::Forbidden(_))), "{refused:?}");
}

fn example(name: &str) -> Value {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wire/tests/examples/keys");
    let text = std::fs::read(examples.join(name).with_extension("json")).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap()["parameters"]["parameters"].take()
}

#[tokio::test]
async fn keys_are_imported_whole_or_refused() {
    let house = House::new().await;
    let body = example("ImportKey");
    let made = json(&house.call(import_key, A::KeysImport, key("rsa").with(body.clone())).await.unwrap());
    assert_eq!((&made["key"]["n"], &made["key"]["e"]), (&body["key"]["n"], &body["key"]["e"]));
    assert_eq!(made["key"]["kty"], "RSA-HSM");
    assert!(["d", "p", "q", "dp", "dq", "qi", "k"].iter().all(|m| made["key"].get(m).is_none()));
    signature(&house, "rsa", Algorithm::Ps256).await;

    let k = text(&[3; 32]);
    house.call(import_key, A::KeysImport, key("oct").with(json!({"key": {"kty": "oct", "k": k}}))).await.unwrap();
    cipher(&house, "oct", Algorithm::A256Gcm).await;
    // RFC 7515, A.3.
    let ec = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"});
    house.call(import_key, A::KeysImport, key("ec").with(json!({"key": ec}))).await.unwrap();
    signature(&house, "ec", Algorithm::Es256).await;

    for (member, value) in [("d", text(&[1; 256])), ("p", text(&[3; 128])), ("qi", text(&[1]))] {
        let mut wrong = body.clone();
        wrong["key"][member] = value;
        let refused = house.call(import_key, A::KeysImport, key("wrong").with(wrong)).await.err();
        assert_eq!(refused, Some(Error::BadParameter(BadParameter::KeyMaterial)), "{member}");
    }
    let mut off = ec;
    off["y"] = text(&[1; 32]);
    let refused = house.call(import_key, A::KeysImport, key("off").with(json!({"key": off}))).await.err();
    assert_eq!(refused, Some(Error::BadParameter(BadParameter::KeyMaterial)));
}
