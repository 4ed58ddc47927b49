//! Encrypt, decrypt, sign, verify, wrapKey, unwrapKey.

use super::super::{base64url, json};
use super::parse::bad;
use super::render::since;
use super::{key_name, key_version, object_of, renderer};
use crate::http::call::{Answer, Call, HandlerFuture};
use std::sync::LazyLock;
use strongroom_hsm::verbs::{Input, Output};
use strongroom_model::algorithm::{ALGORITHMS, Mechanism, UNSUPPORTED};
use strongroom_model::error::{BadParameter, Result};
use strongroom_model::{Algorithm, ApiVersion, limits};
use strongroom_wire::SecretText;
use strongroom_wire::operations::{
    KeyOperationResult, KeyOperationsParameters, KeySignParameters, KeyVerifyParameters, KeyVerifyResult,
};

/// Bytes of an AES block, and so of a CBC initialisation vector.
const CBC_IV_LEN: usize = 16;
/// Bytes of a GCM initialisation vector, SP 800-38D 8.2.
const GCM_IV_LEN: usize = 12;
/// Bytes of a GCM tag.
const GCM_TAG_LEN: usize = 16;

/// `encrypt`: encrypts a few bytes with a key.
pub fn encrypt(call: Call) -> HandlerFuture {
    Box::pin(operate(call, parse_encrypt))
}

/// `decrypt`: decrypts what `encrypt` made.
pub fn decrypt(call: Call) -> HandlerFuture {
    Box::pin(operate(call, parse_decrypt))
}

/// `sign`: signs a digest.
pub fn sign(call: Call) -> HandlerFuture {
    Box::pin(operate(call, parse_sign))
}

/// `verify`: verifies a signature over a digest.
pub fn verify(call: Call) -> HandlerFuture {
    Box::pin(operate(call, parse_verify))
}

/// `wrapKey`: encrypts a symmetric key with a key.
pub fn wrap_key(call: Call) -> HandlerFuture {
    Box::pin(operate(call, parse_wrap_key))
}

/// `unwrapKey`: decrypts what `wrapKey` made.
pub fn unwrap_key(call: Call) -> HandlerFuture {
    Box::pin(operate(call, parse_unwrap_key))
}

/// A parsed operation.
struct Parsed<'b> {
    algorithm: Algorithm,
    input: Input,
    /// What `encrypt` gives back as it came.
    aad: Option<SecretText<'b>>,
}

fn parse_encrypt(body: &[u8], version: ApiVersion) -> Result<Parsed<'_>> {
    let body: KeyOperationsParameters<'_> = json::parse(body)?;
    let algorithm = algorithm(body.alg.as_deref(), version)?;
    let Extras { iv, aad, tag: _ } = Extras::parse(rule(algorithm, Direction::Encrypt), &body)?;
    let plaintext = base64url::secret("value", body.value.as_ref(), limits::OPERAND_MAX)?;
    Ok(Parsed { algorithm, input: Input::Encrypt { plaintext, iv, aad }, aad: body.aad })
}

fn parse_decrypt(body: &[u8], version: ApiVersion) -> Result<Parsed<'_>> {
    let body: KeyOperationsParameters<'_> = json::parse(body)?;
    let algorithm = algorithm(body.alg.as_deref(), version)?;
    let Extras { iv, aad, tag } = Extras::parse(rule(algorithm, Direction::Decrypt), &body)?;
    let ciphertext = base64url::public("value", body.value.as_ref(), limits::OPERAND_MAX)?;
    Ok(Parsed { algorithm, input: Input::Decrypt { ciphertext, iv, aad, tag }, aad: None })
}

fn parse_sign(body: &[u8], version: ApiVersion) -> Result<Parsed<'_>> {
    let body: KeySignParameters<'_> = json::parse(body)?;
    let algorithm = algorithm(body.alg.as_deref(), version)?;
    let digest = digest("value", algorithm, body.value.as_ref())?;
    Ok(Parsed { algorithm, input: Input::Sign { digest }, aad: None })
}

fn parse_verify(body: &[u8], version: ApiVersion) -> Result<Parsed<'_>> {
    let body: KeyVerifyParameters<'_> = json::parse(body)?;
    let algorithm = algorithm(body.alg.as_deref(), version)?;
    let digest = digest("digest", algorithm, body.digest.as_ref())?;
    let signature = base64url::public("value", body.value.as_ref(), limits::OPERAND_MAX)?;
    Ok(Parsed { algorithm, input: Input::Verify { digest, signature }, aad: None })
}

fn parse_wrap_key(body: &[u8], version: ApiVersion) -> Result<Parsed<'_>> {
    let body: KeyOperationsParameters<'_> = json::parse(body)?;
    let algorithm = algorithm(body.alg.as_deref(), version)?;
    Extras::parse(NO_EXTRAS, &body)?;
    let key = base64url::secret("value", body.value.as_ref(), limits::OPERAND_MAX)?;
    Ok(Parsed { algorithm, input: Input::WrapKey { key }, aad: None })
}

fn parse_unwrap_key(body: &[u8], version: ApiVersion) -> Result<Parsed<'_>> {
    let body: KeyOperationsParameters<'_> = json::parse(body)?;
    let algorithm = algorithm(body.alg.as_deref(), version)?;
    Extras::parse(NO_EXTRAS, &body)?;
    let wrapped = base64url::public("value", body.value.as_ref(), limits::OPERAND_MAX)?;
    Ok(Parsed { algorithm, input: Input::UnwrapKey { wrapped }, aad: None })
}

async fn operate(call: Call, parse: fn(&[u8], ApiVersion) -> Result<Parsed<'_>>) -> Result<Answer> {
    let (name, version) = (key_name(&call)?, key_version(&call)?);
    let Parsed { algorithm, input, aad } = parse(call.body.expose(), call.version)?;
    let (key, output, stamp) = call.engine.operate(&call.grant, &name, version, algorithm, input).await?;
    let kid = renderer(&call).kid(&key.name, Some(key.version));
    let object = object_of(&key.name, Some(key.version));
    let mut answer = match output {
        Output::Verified(value) => json::answer(200, &KeyVerifyResult { value }, object, false)?,
        Output::Signature(value) => json::answer(200, &result(kid, &value)?, object, false)?,
        Output::Plaintext(value) => json::answer(200, &result(kid, value.expose())?, object, false)?,
        Output::Ciphertext { value, iv, tag } => {
            let iv = iv.as_deref().map(base64url::encode).transpose()?;
            let tag = tag.as_deref().map(base64url::encode).transpose()?;
            json::answer(200, &KeyOperationResult { aad, iv, tag, ..result(kid, &value)? }, object, false)?
        }
    };
    answer.stamp = Some(stamp);
    Ok(answer)
}

fn result<'b>(kid: String, value: &[u8]) -> Result<KeyOperationResult<'b>> {
    Ok(KeyOperationResult { aad: None, iv: None, kid, tag: None, value: base64url::encode(value)? })
}

/// The first version of each algorithm, in the order of [`ALGORITHMS`].
static SINCE: LazyLock<Vec<ApiVersion>> = LazyLock::new(|| ALGORITHMS.iter().map(|row| since(row.since)).collect());

/// `alg`: known, supported, and not younger than the version that the caller speaks.
fn algorithm(alg: Option<&str>, version: ApiVersion) -> Result<Algorithm> {
    let alg = alg.ok_or(bad(BadParameter::Missing("alg")))?;
    if UNSUPPORTED.iter().any(|(name, _)| *name == alg) {
        return Err(bad(BadParameter::Unsupported("alg")));
    }
    let algorithm = Algorithm::parse(alg)?;
    if SINCE.get(algorithm as usize).is_some_and(|since| version >= *since) {
        Ok(algorithm)
    } else {
        Err(bad(BadParameter::Unknown("alg")))
    }
}

/// A digest of exactly the algorithm's length; one for an algorithm that signs nothing is refused with the key's type, later.
fn digest(parameter: &'static str, algorithm: Algorithm, text: Option<&SecretText<'_>>) -> Result<Vec<u8>> {
    match algorithm.digest() {
        Some(digest) => exactly(parameter, text, digest.size()),
        None => base64url::public(parameter, text, limits::OPERAND_MAX),
    }
}

fn exactly(parameter: &'static str, text: Option<&SecretText<'_>>, len: usize) -> Result<Vec<u8>> {
    let bytes = base64url::public(parameter, text, limits::OPERAND_MAX)?;
    if bytes.len() == len { Ok(bytes) } else { Err(bad(BadParameter::Length { parameter, min: len, max: len })) }
}

/// What stands beside `value` in encrypt and decrypt.
struct Extras {
    iv: Option<Vec<u8>>,
    aad: Option<Vec<u8>>,
    tag: Option<Vec<u8>>,
}

/// Which of them an algorithm takes: exact lengths of those that must be there, `None` for those that must not.
#[derive(Clone, Copy)]
struct ExtrasRule {
    iv: Option<usize>,
    aad: bool,
    tag: Option<usize>,
}

const NO_EXTRAS: ExtrasRule = ExtrasRule { iv: None, aad: false, tag: None };

#[derive(Clone, Copy)]
enum Direction {
    Encrypt,
    Decrypt,
}

fn rule(algorithm: Algorithm, direction: Direction) -> ExtrasRule {
    match (algorithm.row().mechanism, direction) {
        // The partition makes the IV, so that none is ever used twice.
        (Mechanism::AesGcm, Direction::Encrypt) => ExtrasRule { iv: None, aad: true, tag: None },
        (Mechanism::AesGcm, Direction::Decrypt) => {
            ExtrasRule { iv: Some(GCM_IV_LEN), aad: true, tag: Some(GCM_TAG_LEN) }
        }
        (Mechanism::AesCbc | Mechanism::AesCbcPad, Direction::Encrypt | Direction::Decrypt) => {
            ExtrasRule { iv: Some(CBC_IV_LEN), aad: false, tag: None }
        }
        (
            Mechanism::RsaPkcs1Encryption
            | Mechanism::RsaOaepSha1
            | Mechanism::RsaOaepSha256
            | Mechanism::RsaPkcs1Signature(_)
            | Mechanism::RsaPss(_)
            | Mechanism::Ecdsa(_, _)
            | Mechanism::AesKeyWrap
            | Mechanism::AesKeyWrapPad
            | Mechanism::Hmac(_),
            Direction::Encrypt | Direction::Decrypt,
        ) => NO_EXTRAS,
    }
}

impl Extras {
    fn parse(rule: ExtrasRule, body: &KeyOperationsParameters<'_>) -> Result<Self> {
        let fixed = |parameter, text: Option<&SecretText<'_>>, len: Option<usize>| match (text, len) {
            (text, Some(len)) => exactly(parameter, text, len).map(Some),
            (Some(_), None) => Err(bad(BadParameter::NotAllowed(parameter))),
            (None, None) => Ok(None),
        };
        let aad = match (body.aad.as_ref(), rule.aad) {
            (Some(_), true) => Some(base64url::public("aad", body.aad.as_ref(), limits::OPERAND_MAX)?),
            (Some(_), false) => return Err(bad(BadParameter::NotAllowed("aad"))),
            (None, _) => None,
        };
        Ok(Self { iv: fixed("iv", body.iv.as_ref(), rule.iv)?, aad, tag: fixed("tag", body.tag.as_ref(), rule.tag)? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};
    use std::path::Path;
    use strongroom_model::error::Error;
    use strongroom_model::{KeyType, Operation};

    type Parser = fn(&[u8], ApiVersion) -> Result<Parsed<'_>>;

    const PARSERS: &[(Operation, &str, Parser)] = &[
        (Operation::Encrypt, "encrypt", parse_encrypt),
        (Operation::Decrypt, "decrypt", parse_decrypt),
        (Operation::Sign, "sign", parse_sign),
        (Operation::Verify, "verify", parse_verify),
        (Operation::WrapKey, "wrapKey", parse_wrap_key),
        (Operation::UnwrapKey, "unwrapKey", parse_unwrap_key),
    ];

    fn newest() -> ApiVersion {
        ApiVersion::parse("2026-07-01-preview").unwrap()
    }

    fn example(name: &str) -> Value {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wire/tests/examples/keys");
        let text = std::fs::read(examples.join(name).with_extension("json")).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()["parameters"]["parameters"].take()
    }

    /// The reason of a refusal, or `None`; what was sent is never part of it.
    fn refused(parse: Parser, body: &Value) -> Option<BadParameter> {
        let error = parse(body.to_string().as_bytes(), newest()).err()?;
        assert!(matches!(error, Error::BadParameter(_)), "{error:?}");
        if let Error::BadParameter(reason) = error { Some(reason) } else { None }
    }

    #[test]
    fn the_official_examples_are_taken() {
        for (operation, name, parse) in PARSERS {
            let body = example(name);
            if *operation == Operation::Verify {
                // The example has digest and signature in each other's place.
                let length = BadParameter::Length { parameter: "digest", min: 64, max: 64 };
                assert_eq!(refused(*parse, &body), Some(length));
                let swapped = json!({"alg": body["alg"], "digest": body["value"], "value": body["digest"]});
                assert_eq!(refused(*parse, &swapped), None);
                continue;
            }
            let text = body.to_string();
            let parsed = parse(text.as_bytes(), newest()).unwrap();
            assert_eq!(parsed.algorithm.row().name, body["alg"], "{name}");
            assert_eq!(parsed.input.operation(), *operation);
        }
    }

    /// A body that fits an algorithm in every respect.
    fn fitting(algorithm: Algorithm, operation: Operation) -> Value {
        let bytes = |len: usize| json!(base64url::encode(&vec![7; len]).unwrap().expose());
        let mut body = json!({"alg": algorithm.row().name});
        let digest = algorithm.digest().map_or(32, strongroom_model::Digest::size);
        match operation {
            Operation::Sign => body["value"] = bytes(digest),
            Operation::Verify => {
                body["digest"] = bytes(digest);
                body["value"] = bytes(64);
            }
            Operation::Encrypt | Operation::Decrypt | Operation::WrapKey | Operation::UnwrapKey => {
                body["value"] = bytes(16);
            }
        }
        let direction = if operation == Operation::Decrypt { Direction::Decrypt } else { Direction::Encrypt };
        if matches!(operation, Operation::Encrypt | Operation::Decrypt) {
            let rule = rule(algorithm, direction);
            for (name, len) in [("iv", rule.iv), ("tag", rule.tag), ("aad", rule.aad.then_some(5))] {
                if let Some(len) = len {
                    body[name] = bytes(len);
                }
            }
        }
        body
    }

    #[test]
    fn every_cell_of_the_table_is_read() {
        for row in ALGORITHMS {
            for operation in row.uses {
                let (_, name, parse) = PARSERS.iter().find(|(o, _, _)| o == operation).unwrap();
                let body = fitting(row.algorithm, *operation);
                let text = body.to_string();
                let parsed = parse(text.as_bytes(), newest()).unwrap();
                assert_eq!((parsed.algorithm, parsed.input.operation()), (row.algorithm, *operation), "{name} {body}");
                assert_eq!(parsed.aad.is_some(), body.get("aad").is_some() && *operation == Operation::Encrypt);
                // Each member but `aad` must be there.
                for member in body.as_object().unwrap().keys().filter(|m| *m != "aad") {
                    let mut less = body.clone();
                    less.as_object_mut().unwrap().remove(member);
                    let missing = refused(*parse, &less);
                    assert!(matches!(missing, Some(BadParameter::Missing(m)) if m == member), "{less} {missing:?}");
                }
                // And each of the others must not.
                for member in ["iv", "aad", "tag"] {
                    if row.uses.contains(&Operation::Sign) || body.get(member).is_some() {
                        continue;
                    }
                    let mut more = body.clone();
                    more[member] = json!("AAAA");
                    let extra = refused(*parse, &more);
                    assert!(matches!(extra, Some(BadParameter::NotAllowed(m)) if m == member), "{more} {extra:?}");
                }
            }
        }
    }

    #[test]
    fn lengths_are_exact() {
        use BadParameter::Length;
        let a = |n: usize| "A".repeat(n);
        for (parse, body, reason) in [
            (
                parse_sign as Parser,
                json!({"alg": "ES256", "value": a(42)}),
                Length { parameter: "value", min: 32, max: 32 },
            ),
            (parse_sign, json!({"alg": "HS512", "value": a(64)}), Length { parameter: "value", min: 64, max: 64 }),
            (
                parse_verify,
                json!({"alg": "PS384", "digest": a(43), "value": "AA"}),
                Length { parameter: "digest", min: 48, max: 48 },
            ),
            (
                parse_encrypt,
                json!({"alg": "A256CBC", "value": "AA", "iv": a(16)}),
                Length { parameter: "iv", min: 16, max: 16 },
            ),
            (
                parse_decrypt,
                json!({"alg": "A128GCM", "value": "AA", "iv": a(22), "tag": a(22)}),
                Length { parameter: "iv", min: 12, max: 12 },
            ),
            (
                parse_decrypt,
                json!({"alg": "A128GCM", "value": "AA", "iv": a(16), "tag": a(20)}),
                Length { parameter: "tag", min: 16, max: 16 },
            ),
            (
                parse_encrypt,
                json!({"alg": "A128GCM", "value": a(limits::OPERAND_MAX * 4 / 3 + 2)}),
                Length { parameter: "value", min: 0, max: limits::OPERAND_MAX },
            ),
        ] {
            assert_eq!(refused(parse, &body), Some(reason));
        }
    }

    #[test]
    fn algorithms_are_known_supported_and_old_enough() {
        let sign = |alg: &str| refused(parse_sign, &json!({"alg": alg, "value": "A".repeat(43)}));
        assert_eq!(sign("RSNULL"), Some(BadParameter::Unsupported("alg")));
        for unknown in ["", "es256", "ES256 ", "c4n4ry", "none"] {
            assert_eq!(sign(unknown), Some(BadParameter::Unknown("alg")));
        }
        let by = |alg, version| algorithm(Some(alg), ApiVersion::parse(version).unwrap());
        assert_eq!(by("HS256", "7.5"), Err(bad(BadParameter::Unknown("alg"))));
        assert_eq!(by("HS256", "7.6"), Ok(Algorithm::Hs256));
        assert_eq!(by("A256GCM", "7.1"), Err(bad(BadParameter::Unknown("alg"))));
        assert_eq!(by("RS256", "2015-06-01"), Ok(Algorithm::Rs256));
        assert_eq!(SINCE.len(), ALGORITHMS.len());
        for row in ALGORITHMS.iter().filter(|row| row.kty == KeyType::Oct) {
            assert!(by(row.name, row.since).is_ok() && by(row.name, "7.0").is_err(), "{}", row.name);
        }
    }

    #[test]
    fn an_algorithm_of_another_operation_reaches_the_key() {
        let body = json!({"alg": "RSA-OAEP", "value": "AAAA"}).to_string();
        let parsed = parse_sign(body.as_bytes(), newest()).unwrap();
        assert!(parsed.algorithm.check(parsed.input.operation(), strongroom_model::KeySpec::Rsa2048).is_err());
    }
}
