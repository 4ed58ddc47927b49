//! Cases in the shape of the API: a JWK to import, one operation, its result.

use super::{Case, Reason, pass_if, refused, text};
use crate::key::SoftKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use strongroom_hsm::HsmError;
use strongroom_hsm::verbs::{Input, KeyMaterial, Output};
use strongroom_model::{Algorithm, Curve, KeySpec, KeyType, SecretBytes};

fn decoded(value: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text(value)).unwrap()
}

fn secret(value: &Value) -> SecretBytes {
    SecretBytes::new(decoded(value))
}

fn optional(value: &Value) -> Option<Vec<u8>> {
    value.is_string().then(|| decoded(value))
}

fn import(key: &Value) -> Result<SoftKey, HsmError> {
    let bits = |value: &Value| u32::try_from(8 * decoded(value).len()).unwrap();
    let sized = |kty, value| KeySpec::sized(kty, Some(bits(value))).map_err(|_| HsmError::BadMaterial);
    let (spec, material) = match text(&key["kty"]) {
        "RSA" => (
            sized(KeyType::Rsa, &key["n"])?,
            KeyMaterial::Rsa {
                n: decoded(&key["n"]),
                e: decoded(&key["e"]),
                d: secret(&key["d"]),
                p: secret(&key["p"]),
                q: secret(&key["q"]),
                dp: secret(&key["dp"]),
                dq: secret(&key["dq"]),
                qi: secret(&key["qi"]),
            },
        ),
        "EC" => {
            let curve = Curve::parse(text(&key["crv"])).unwrap();
            let (x, y, d) = (decoded(&key["x"]), decoded(&key["y"]), secret(&key["d"]));
            (KeySpec::on_curve(Some(curve)).unwrap(), KeyMaterial::Ec { curve, x, y, d })
        }
        _ => (sized(KeyType::Oct, &key["k"])?, KeyMaterial::Oct { k: secret(&key["k"]) }),
    };
    SoftKey::import(spec, material)
}

pub(super) fn case(test: &Value) -> Case {
    let key = import(&test["key"]);
    if text(&test["op"]) == "import" {
        return pass_if(key.is_ok() == (text(&test["result"]) == "valid"));
    }
    if text(&test["key"]["kty"]) == "RSA" && text(&test["key"]["e"]) != "AQAB" {
        return refused(Reason::Exponent, key.err() == Some(HsmError::BadMaterial));
    }
    let key = key.map_err(|e| e.to_string())?;
    let input = match text(&test["op"]) {
        "sign" => Input::Sign { digest: decoded(&test["digest"]) },
        "verify" => Input::Verify { digest: decoded(&test["digest"]), signature: decoded(&test["signature"]) },
        "decrypt" => Input::Decrypt {
            ciphertext: decoded(&test["value"]),
            iv: optional(&test["iv"]),
            aad: optional(&test["aad"]),
            tag: optional(&test["tag"]),
        },
        "unwrapKey" => Input::UnwrapKey { wrapped: decoded(&test["value"]) },
        other => return Err(format!("operation {other}")),
    };
    let algorithm = Algorithm::parse(text(&test["alg"])).unwrap();
    let output = key.operate(algorithm.row().mechanism, &input);
    match &test["expect"] {
        Value::Bool(expected) => match output {
            Ok(Output::Verified(verified)) => pass_if(verified == *expected),
            // A digest of another length is an error of the call, not a signature that does not verify.
            Err(HsmError::BadLength(_)) => pass_if(!expected),
            Ok(_) | Err(_) => Err("no verdict".to_owned()),
        },
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => match output {
            Ok(Output::Plaintext(plaintext)) => {
                pass_if(text(&test["result"]) == "valid" && plaintext.same_as(&decoded(&test["expect"])))
            }
            Ok(_) => Err("no plaintext".to_owned()),
            Err(_) => pass_if(text(&test["result"]) == "invalid"),
        },
    }
}
