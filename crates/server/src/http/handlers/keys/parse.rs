//! From the bodies of create, import and update to domain words.

use super::super::base64url;
use std::borrow::Cow;
use std::collections::BTreeMap;
use strongroom_engine::keys::{AttributeChange, CreateKey, ImportKey, Tags, UpdateKey};
use strongroom_hsm::verbs::KeyMaterial;
use strongroom_model::error::{BadParameter, Error, Result};
use strongroom_model::{Curve, KeyOps, KeySpec, KeyType, SecretBytes, Timestamp, limits};
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
        tags: tags(body.tags)?.unwrap_or_default(),
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
    let tags = tags(body.tags)?.unwrap_or_default();
    let (spec, material) = material(kty, &key)?;
    Ok((ImportKey { spec, ops, attributes, tags }, material))
}

/// `PATCH /keys/{name}/{version}`.
pub(super) fn update(body: KeyUpdateParameters<'_>) -> Result<UpdateKey> {
    refuse(body.release_policy.is_some(), "release_policy")?;
    Ok(UpdateKey {
        ops: body.key_ops.as_deref().map(any_key_ops).transpose()?,
        attributes: attributes(body.attributes)?,
        tags: tags(body.tags)?,
    })
}

fn spec_to_create(kty: KeyType, crv: Option<&str>, key_size: Option<i32>) -> Result<KeySpec> {
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

fn key_ops(kty: KeyType, names: Option<&[Cow<'_, str>]>) -> Result<Option<KeyOps>> {
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

fn date(parameter: &'static str, seconds: i64) -> Result<Timestamp> {
    if (DATE_MIN..=DATE_MAX).contains(&seconds) {
        Ok(Timestamp(seconds))
    } else {
        Err(bad(BadParameter::Range { parameter, min: DATE_MIN, max: DATE_MAX }))
    }
}

fn tags(given: Option<BTreeMap<String, String>>) -> Result<Option<Tags>> {
    let Some(tags) = given else { return Ok(None) };
    if tags.len() > limits::TAGS_MAX {
        return Err(bad(BadParameter::Length { parameter: "tags", min: 0, max: limits::TAGS_MAX }));
    }
    let too_long = |text: &String| text.chars().nth(limits::TAG_TEXT_MAX).is_some();
    if tags.iter().any(|(name, value)| name.is_empty() || too_long(name) || too_long(value)) {
        return Err(bad(BadParameter::Length { parameter: "tags", min: 1, max: limits::TAG_TEXT_MAX }));
    }
    Ok(Some(tags))
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
