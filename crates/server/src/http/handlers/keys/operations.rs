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
