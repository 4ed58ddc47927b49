//! From the bodies of create, import and update to domain words.

use super::super::base64url;
use std::borrow::Cow;
use strongroom_engine::keys::{AttributeChange, CreateKey, ImportKey, UpdateKey};
use strongroom_hsm::verbs::KeyMaterial;
use strongroom_model::error::{BadParameter, Error, Result};
use strongroom_model::{Curve, KeyOps, KeySpec, KeyType, SecretBytes, Timestamp};
use strongroom_wire::SecretText;
use strongroom_wire::keys::{
    KeyAttributesInput, KeyCreateParameters, KeyImportParameters, KeyUpdateParameters, PrivateJsonWebKey,
};

/// The one public exponent there is (DESIGN 5).
const PUBLIC_EXPONENT: i32 = 65_537;
/// The same in a JWK.
const PUBLIC_EXPONENT_BYTES: [u8; 3] = [1, 0, 1];
/// 0001-01-01 and 9999-12-31: what the service, and every client's calendar, can hold.
const DATE_MIN: i64 = -62_135_596_800;
const DATE_MAX: i64 = 253_402_300_799;
/// The longest part of a key: the modulus of RSA-4096 with a leading zero. More is cut off by name before decoding.
const KEY_PART_MAX: usize = 513;

pub(super) const fn bad(reason: BadParameter) -> Error {
    Error::BadParameter(reason)
}

/// `POST /keys/{name}/create`.
pub(super) fn create(body: KeyCreateParameters<'_>) -> Result<CreateKey> {
    let kty = KeyType::parse(&body.kty.ok_or(bad(BadParameter::Missing("kty")))?)?;
    let spec = spec_to_create(kty, body.crv.as_deref(), body.key_size)?;
    match (kty, body.public_exponent) {
        (_, None) | (KeyType::Rsa, Some(PUBLIC_EXPONENT)) => {}
        (KeyType::Rsa, Some(_)) => return Err(bad(BadParameter::Unsupported("public_exponent"))),
        (KeyType::Ec | KeyType::Oct, Some(_)) => return Err(bad(BadParameter::NotAllowed("public_exponent"))),
    }
    refuse(body.release_policy.is_some(), "release_policy")?;
    Ok(CreateKey {
        spec,
        ops: key_ops(kty, body.key_ops.as_deref())?.unwrap_or(KeyOps::default_for(kty)),
        attributes: attributes(body.attributes)?,
        tags: body.tags.unwrap_or_default(),
    })
}

/// `PUT /keys/{name}`.
pub(super) fn import(body: KeyImportParameters<'_>) -> Result<(ImportKey, KeyMaterial)> {
    let key = body.key.ok_or(bad(BadParameter::Missing("key")))?;
    let kty = KeyType::parse(key.kty.as_deref().ok_or(bad(BadParameter::Missing("kty")))?)?;
    refuse(key.key_hsm.is_some(), "key_hsm")?;
    refuse(body.release_policy.is_some(), "release_policy")?;
    let ops = key_ops(kty, key.key_ops.as_deref())?.unwrap_or(KeyOps::default_for(kty));
    let attributes = attributes(body.attributes)?;
    let tags = body.tags.unwrap_or_default();
    let (spec, material) = material(kty, &key)?;
    Ok((ImportKey { spec, ops, attributes, tags }, material))
}

/// `PATCH /keys/{name}/{version}`.
pub(super) fn update(body: KeyUpdateParameters<'_>) -> Result<UpdateKey> {
    refuse(body.release_policy.is_some(), "release_policy")?;
    Ok(UpdateKey {
        ops: body.key_ops.as_deref().map(any_key_ops).transpose()?,
        attributes: attributes(body.attributes)?,
        tags: body.tags,
    })
}

pub(in crate::http::handlers) fn spec_to_create(
    kty: KeyType,
    crv: Option<&str>,
    key_size: Option<i32>,
) -> Result<KeySpec> {
    let bits = key_size.map(u32::try_from).transpose().map_err(|_| bad(BadParameter::Unsupported("key_size")))?;
    match (kty, crv) {
        (KeyType::Ec, crv) => {
            let spec = KeySpec::on_curve(crv.map(Curve::parse).transpose()?)?;
            let fits = bits.is_none_or(|b| b == spec.row().bits);
            if fits { Ok(spec) } else { Err(bad(BadParameter::Unsupported("key_size"))) }
        }
        (KeyType::Rsa | KeyType::Oct, Some(_)) => Err(bad(BadParameter::NotAllowed("crv"))),
        (KeyType::Rsa | KeyType::Oct, None) => KeySpec::sized(kty, bits),
    }
}

pub(in crate::http::handlers) fn key_ops(kty: KeyType, names: Option<&[Cow<'_, str>]>) -> Result<Option<KeyOps>> {
    names.map(|names| KeyOps::parse(kty, names.iter().map(AsRef::as_ref))).transpose()
}

fn attributes(given: Option<KeyAttributesInput>) -> Result<AttributeChange> {
    let Some(given) = given else { return Ok(AttributeChange::default()) };
    refuse(given.exportable == Some(true), "exportable")?;
    refuse(given.external_key.is_some(), "external_key")?;
    Ok(AttributeChange {
        enabled: given.enabled,
        not_before: given.nbf.map(|t| date("nbf", t)).transpose()?,
        expires: given.exp.map(|t| date("exp", t)).transpose()?,
    })
}

pub(in crate::http::handlers) fn date(parameter: &'static str, seconds: i64) -> Result<Timestamp> {
    if (DATE_MIN..=DATE_MAX).contains(&seconds) {
        Ok(Timestamp(seconds))
    } else {
        Err(bad(BadParameter::Range { parameter, min: DATE_MIN, max: DATE_MAX }))
    }
}

fn refuse(present: bool, parameter: &'static str) -> Result<()> {
    if present { Err(bad(BadParameter::Unsupported(parameter))) } else { Ok(()) }
}

/// The key in the clear, with the spec that its sizes say. Whether its parts agree is for the partition to check.
fn material(kty: KeyType, key: &PrivateJsonWebKey<'_>) -> Result<(KeySpec, KeyMaterial)> {
    match kty {
        KeyType::Rsa => rsa(key),
        KeyType::Ec => ec(key),
        KeyType::Oct => {
            let k = part("k", key.k.as_ref())?;
            Ok((KeySpec::sized(KeyType::Oct, Some(bit_length(k.expose())))?, KeyMaterial::Oct { k }))
        }
    }
}

fn rsa(key: &PrivateJsonWebKey<'_>) -> Result<(KeySpec, KeyMaterial)> {
    let (n, e) = (integer(&part("n", key.n.as_ref())?), integer(&part("e", key.e.as_ref())?));
    let leading = n.first().map_or(0, |byte| byte.leading_zeros());
    let spec = KeySpec::sized(KeyType::Rsa, Some(bit_length(&n).saturating_sub(leading)))?;
    refuse(e != PUBLIC_EXPONENT_BYTES, "e")?;
    let d = part("d", key.d.as_ref())?;
    let (p, q) = (part("p", key.p.as_ref())?, part("q", key.q.as_ref())?);
    let (dp, dq, qi) = (part("dp", key.dp.as_ref())?, part("dq", key.dq.as_ref())?, part("qi", key.qi.as_ref())?);
    Ok((spec, KeyMaterial::Rsa { n, e, d, p, q, dp, dq, qi }))
}

fn ec(key: &PrivateJsonWebKey<'_>) -> Result<(KeySpec, KeyMaterial)> {
    let curve = Curve::parse(key.crv.as_deref().ok_or(bad(BadParameter::Missing("crv")))?)?;
    let material = KeyMaterial::Ec {
        curve,
        x: part("x", key.x.as_ref())?.expose().to_vec(),
        y: part("y", key.y.as_ref())?.expose().to_vec(),
        d: part("d", key.d.as_ref())?,
    };
    Ok((KeySpec::on_curve(Some(curve))?, material))
}

fn part(name: &'static str, text: Option<&SecretText<'_>>) -> Result<SecretBytes> {
    let bytes = base64url::secret(name, text, KEY_PART_MAX)?;
    if bytes.is_empty() { Err(bad(BadParameter::Missing(name))) } else { Ok(bytes) }
}

/// A public integer without its leading zeros.
fn integer(bytes: &SecretBytes) -> Vec<u8> {
    bytes.expose().iter().copied().skip_while(|b| *b == 0).collect()
}

fn bit_length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).map_or(u32::MAX, |len| len.saturating_mul(u8::BITS))
}

/// Names of operations for a key whose type is not known yet; the engine holds the set to the type. Every set that some
/// type can have, a symmetric key can, but for `import`.
fn any_key_ops(names: &[Cow<'_, str>]) -> Result<KeyOps> {
    let parse = |kty| KeyOps::parse(kty, names.iter().map(AsRef::as_ref));
    parse(KeyType::Oct).or_else(|_| parse(KeyType::Rsa))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use std::path::Path;
    use strongroom_model::KeyOp;
    use strongroom_model::key::KEY_SPECS;

    /// The request's body of an official example.
    fn example(name: &str) -> Value {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wire/tests/examples/keys");
        let text = std::fs::read(examples.join(name).with_extension("json")).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()["parameters"]["parameters"].take()
    }

    fn created(body: &Value) -> Result<CreateKey> {
        create(strongroom_wire::parse(body.to_string().as_bytes()).unwrap())
    }

    fn imported(body: &Value) -> Result<(ImportKey, KeyMaterial)> {
        import(strongroom_wire::parse(body.to_string().as_bytes()).unwrap())
    }

    fn updated(body: &Value) -> Result<UpdateKey> {
        update(strongroom_wire::parse(body.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn the_official_examples_become_domain_words() {
        let create = created(&example("CreateKey")).unwrap();
        assert_eq!((create.spec, create.ops), (KeySpec::Rsa2048, KeyOps::default_for(KeyType::Rsa)));
        assert_eq!((create.attributes, create.tags.len()), (AttributeChange::default(), 2));

        let (import, material) = imported(&example("ImportKey")).unwrap();
        assert_eq!((import.spec, import.ops), (KeySpec::Rsa2048, KeyOps::default_for(KeyType::Rsa)));
        let KeyMaterial::Rsa { n, e, d, p, .. } = material else { unreachable!() };
        assert_eq!((n.len(), e, d.len(), p.len()), (256, vec![1, 0, 1], 256, 128));

        let update = updated(&example("UpdateKey")).unwrap();
        assert_eq!(update.ops, Some(KeyOps::NONE.with(KeyOp::Encrypt).with(KeyOp::Decrypt)));
        let (nbf, exp) = (Some(Timestamp(631_180_800)), Some(Timestamp(662_716_800)));
        assert_eq!(update.attributes, AttributeChange { enabled: Some(false), not_before: nbf, expires: exp });
        assert_eq!(update.tags, None);
    }

    #[test]
    fn every_spec_can_be_asked_for_and_defaults_are_rows() {
        for row in KEY_SPECS {
            let mut body = json!({"kty": row.kty.hsm_name()});
            match row.curve {
                Some(curve) => body["crv"] = json!(curve.as_str()),
                None => body["key_size"] = json!(row.bits),
            }
            assert_eq!(created(&body).unwrap().spec, row.spec);
            assert_eq!(created(&body).unwrap().ops, KeyOps::default_for(row.kty));
            if row.default {
                for kty in [row.kty.hsm_name(), row.kty.hsm_name().trim_end_matches("-HSM")] {
                    assert_eq!(created(&json!({"kty": kty})).unwrap().spec, row.spec);
                }
            }
        }
        let matching = json!({"kty": "EC", "crv": "P-521", "key_size": 521});
        assert_eq!(created(&matching).unwrap().spec, KeySpec::EcP521);
        let exponent = json!({"kty": "RSA", "public_exponent": 65_537, "attributes": {"exportable": false}});
        assert_eq!(created(&exponent).unwrap().spec, KeySpec::Rsa2048);
        assert_eq!(created(&json!({"kty": "EC", "key_ops": []})).unwrap().ops, KeyOps::NONE);
    }

    #[test]
    fn what_create_does_not_take_is_named() {
        use BadParameter as B;
        for (body, reason) in [
            (json!({}), B::Missing("kty")),
            (json!({"kty": "AKP"}), B::Unknown("kty")),
            (json!({"kty": "rsa"}), B::Unknown("kty")),
            (json!({"kty": "RSA", "key_size": 1024}), B::Unsupported("key_size")),
            (json!({"kty": "RSA", "key_size": -2048}), B::Unsupported("key_size")),
            (json!({"kty": "oct", "key_size": 64}), B::Unsupported("key_size")),
            (json!({"kty": "EC", "crv": "P-256", "key_size": 384}), B::Unsupported("key_size")),
            (json!({"kty": "EC", "crv": "P-257"}), B::Unknown("crv")),
            (json!({"kty": "oct", "crv": "P-256"}), B::NotAllowed("crv")),
            (json!({"kty": "RSA", "crv": "P-256"}), B::NotAllowed("crv")),
            (json!({"kty": "RSA", "public_exponent": 3}), B::Unsupported("public_exponent")),
            (json!({"kty": "EC", "public_exponent": 65_537}), B::NotAllowed("public_exponent")),
            (json!({"kty": "RSA", "key_ops": ["fly"]}), B::Unknown("key_ops")),
            (json!({"kty": "EC", "key_ops": ["encrypt"]}), B::Unsupported("key_ops")),
            (json!({"kty": "RSA", "key_ops": ["import", "sign"]}), B::ImportMixed),
            (json!({"kty": "RSA", "release_policy": {}}), B::Unsupported("release_policy")),
            (json!({"kty": "RSA", "attributes": {"exportable": true}}), B::Unsupported("exportable")),
            (json!({"kty": "RSA", "attributes": {"external_key": {"id": "x"}}}), B::Unsupported("external_key")),
            (
                json!({"kty": "RSA", "attributes": {"exp": DATE_MAX + 1}}),
                B::Range { parameter: "exp", min: DATE_MIN, max: DATE_MAX },
            ),
            (
                json!({"kty": "RSA", "attributes": {"nbf": i64::MIN}}),
                B::Range { parameter: "nbf", min: DATE_MIN, max: DATE_MAX },
            ),
        ] {
            assert_eq!(created(&body).err(), Some(bad(reason)), "{body}");
        }
    }

    #[test]
    fn imported_keys_show_their_spec() {
        let text = |len: usize| base64url::encode(&vec![0x81; len]).unwrap().expose().to_owned();
        for (bytes, spec) in [(16, KeySpec::Oct128), (24, KeySpec::Oct192), (32, KeySpec::Oct256)] {
            let (key, material) = imported(&json!({"key": {"kty": "oct", "k": text(bytes)}})).unwrap();
            let KeyMaterial::Oct { k } = material else { unreachable!() };
            assert_eq!((key.spec, k.len()), (spec, bytes));
        }
        for curve in Curve::ALL {
            let x = text(curve.coordinate_len());
            let jwk =
                json!({"kty": "EC-HSM", "crv": curve.as_str(), "x": x, "y": x, "d": x, "kid": "https://x/keys/y"});
            let (key, material) = imported(&json!({"key": jwk, "Hsm": false})).unwrap();
            let KeyMaterial::Ec { curve: read, x, y, d } = material else { unreachable!() };
            assert_eq!((key.spec, read), (KeySpec::on_curve(Some(*curve)).unwrap(), *curve));
            assert!([x.len(), y.len(), d.len()].iter().all(|l| *l == curve.coordinate_len()));
        }
        for (len, leading, spec) in [(256, 0, KeySpec::Rsa2048), (385, 1, KeySpec::Rsa3072), (512, 0, KeySpec::Rsa4096)]
        {
            let mut n = vec![0x81; len];
            n[..leading].fill(0);
            let n = base64url::encode(&n).unwrap().expose().to_owned();
            let part = text(8);
            let jwk = json!({"kty": "RSA", "n": n, "e": "AAEAAQ", "d": part, "p": part, "q": part, "dp": part,
                "dq": part, "qi": part});
            let (key, material) = imported(&json!({"key": jwk})).unwrap();
            let KeyMaterial::Rsa { n, e, .. } = material else { unreachable!() };
            assert_eq!((key.spec, n.len(), e), (spec, len - leading, vec![1, 0, 1]));
        }
    }

    #[test]
    fn what_import_does_not_take_is_named() {
        use BadParameter as B;
        let rsa = &example("ImportKey")["key"];
        for (change, reason) in [
            (json!({"kty": null}), B::Missing("kty")),
            (json!({"key_hsm": "AAAA"}), B::Unsupported("key_hsm")),
            (json!({"n": null}), B::Missing("n")),
            (json!({"n": ""}), B::Missing("n")),
            (json!({"n": "AAAA"}), B::Unsupported("key_size")),
            (json!({"n": "A".repeat(2000)}), B::Length { parameter: "n", min: 0, max: KEY_PART_MAX }),
            (json!({"e": "Aw"}), B::Unsupported("e")),
            (json!({"d": "c4n4ry!"}), B::Malformed("d")),
            (json!({"p": null, "q": null, "dp": null, "dq": null, "qi": null}), B::Missing("p")),
            (json!({"kty": "oct"}), B::Missing("k")),
            (json!({"kty": "oct", "k": "AAAA"}), B::Unsupported("key_size")),
            (json!({"kty": "EC"}), B::Missing("crv")),
            (json!({"kty": "EC", "crv": "P-256"}), B::Missing("x")),
        ] {
            let mut key = rsa.clone();
            key.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let error = imported(&json!({"key": key})).err();
            assert_eq!(error, Some(bad(reason)), "{change}");
            assert!(!format!("{error:?}").contains("c4n4ry"));
        }
        assert_eq!(imported(&json!({})).err(), Some(bad(B::Missing("key"))));
        let policy = json!({"key": rsa, "release_policy": {"data": "AA"}});
        assert_eq!(imported(&policy).err(), Some(bad(B::Unsupported("release_policy"))));
    }

    #[test]
    fn updates_take_operations_of_any_type() {
        let ops = |names: &[&str]| updated(&json!({"key_ops": names})).map(|u| u.ops.unwrap());
        assert_eq!(ops(&["import"]), Ok(KeyOps::NONE.with(KeyOp::Import)));
        assert_eq!(ops(&["sign", "encrypt", "deriveKey"]).unwrap().names().count(), 3);
        assert_eq!(ops(&["fly"]), Err(bad(BadParameter::Unknown("key_ops"))));
        assert_eq!(ops(&["import", "sign"]), Err(bad(BadParameter::ImportMixed)));
        let update = updated(&json!({"tags": {}})).unwrap();
        assert_eq!((update.ops, update.tags), (None, Some(BTreeMap::new())));
    }

    proptest! {
        #[test]
        fn no_member_of_any_text_is_fatal(member in 0..16_usize, text in any::<String>()) {
            let names = ["crv", "d", "dp", "dq", "e", "k", "key_hsm", "kty", "n", "p", "q", "qi", "x", "y", "kid", "z"];
            let mut body = example("ImportKey");
            body["key"][names[member]] = json!(text);
            if let Ok(body) = strongroom_wire::parse(body.to_string().as_bytes()) {
                drop(import(body));
            }
            let mut body = example("CreateKey");
            body[["crv", "kty"][member % 2]] = json!(text);
            body["key_ops"][0] = json!(text);
            if let Ok(body) = strongroom_wire::parse(body.to_string().as_bytes()) {
                drop(create(body));
            }
        }
    }
}
