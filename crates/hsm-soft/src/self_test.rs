//! Self-tests of every mechanism: at start, hourly, and on request.
//!
//! Each algorithm computes a known answer that another implementation made, the way back, and a refusal; so does the
//! sealed format. They take some milliseconds.

use crate::key::SoftKey;
use std::collections::{HashMap, HashSet};
use strongroom_hsm::HsmError;
use strongroom_hsm::sealed::{self, KEY_LEN, Label};
use strongroom_hsm::verbs::{Input, Output};
use strongroom_model::algorithm::{ALGORITHMS, Mechanism};
use strongroom_model::{Algorithm, KeySpec, Operation, SecretBytes};

const KNOWN_ANSWERS: &str = include_str!("known_answers.txt");

/// The names of the keys in the file.
const KEYS: &[(&str, KeySpec)] = &[
    ("rsa", KeySpec::Rsa2048),
    ("p256", KeySpec::EcP256),
    ("p256k", KeySpec::EcP256K),
    ("p384", KeySpec::EcP384),
    ("p521", KeySpec::EcP521),
    ("oct128", KeySpec::Oct128),
    ("oct192", KeySpec::Oct192),
    ("oct256", KeySpec::Oct256),
];

/// Runs them all; [`HsmError::SelfCheck`] when one fails, or when an algorithm has none.
pub(crate) fn run() -> Result<(), HsmError> {
    check_all(KNOWN_ANSWERS).map_err(|_| HsmError::SelfCheck)
}

fn check_all(known_answers: &str) -> Result<(), HsmError> {
    let mut keys = HashMap::new();
    let mut tested = HashSet::new();
    let mut sealed_tested = false;
    for line in known_answers.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["key", name, material] => {
                let spec = KEYS.iter().find(|(known, _)| known == name).ok_or(HsmError::SelfCheck)?.1;
                keys.insert(*name, SoftKey::open(spec, SecretBytes::new(unhex(material)?))?);
            }
            ["sign", algorithm, key, digest, signature] => {
                let key = keys.get(key).ok_or(HsmError::SelfCheck)?;
                let algorithm = Algorithm::parse(algorithm).map_err(|_| HsmError::SelfCheck)?;
                check_signature(key, algorithm, &unhex(digest)?, &unhex(signature)?)?;
                tested.insert(algorithm);
            }
            ["cipher", algorithm, key, plaintext, ciphertext, iv, aad, tag] => {
                let key = keys.get(key).ok_or(HsmError::SelfCheck)?;
                let algorithm = Algorithm::parse(algorithm).map_err(|_| HsmError::SelfCheck)?;
                let answer = CipherAnswer {
                    plaintext: unhex(plaintext)?,
                    ciphertext: unhex(ciphertext)?,
                    iv: optional(iv)?,
                    aad: optional(aad)?,
                    tag: optional(tag)?,
                };
                check_cipher(key, algorithm, &answer)?;
                tested.insert(algorithm);
            }
            ["sealed", value] => {
                check_sealed(unhex(value)?)?;
                sealed_tested = true;
            }
            _ => return Err(HsmError::SelfCheck),
        }
    }
    demand(sealed_tested && ALGORITHMS.iter().all(|row| tested.contains(&row.algorithm)))
}

struct CipherAnswer {
    plaintext: Vec<u8>,
    ciphertext: Vec<u8>,
    iv: Option<Vec<u8>>,
    aad: Option<Vec<u8>>,
    tag: Option<Vec<u8>>,
}

fn check_signature(key: &SoftKey, algorithm: Algorithm, digest: &[u8], known: &[u8]) -> Result<(), HsmError> {
    let mechanism = algorithm.row().mechanism;
    let verify = |digest: &[u8], signature: &[u8]| {
        let input = Input::Verify { digest: digest.to_vec(), signature: signature.to_vec() };
        key.operate(mechanism, &input).map(|output| matches!(output, Output::Verified(true)))
    };
    let Output::Signature(made) = key.operate(mechanism, &Input::Sign { digest: digest.to_vec() })? else {
        return Err(HsmError::SelfCheck);
    };
    let other_digest: Vec<u8> = digest.iter().map(|byte| byte ^ 1).collect();
    demand(verify(digest, known)? && verify(digest, &made)? && !verify(&other_digest, known)?)?;
    demand(!is_deterministic(mechanism) || made == known)
}

fn check_cipher(key: &SoftKey, algorithm: Algorithm, answer: &CipherAnswer) -> Result<(), HsmError> {
    let row = algorithm.row();
    let wraps = !row.uses.contains(&Operation::Encrypt);
    let forward = if wraps {
        Input::WrapKey { key: SecretBytes::copy_of(&answer.plaintext) }
    } else {
        let iv = if row.mechanism == Mechanism::AesGcm { None } else { answer.iv.clone() };
        Input::Encrypt { plaintext: SecretBytes::copy_of(&answer.plaintext), iv, aad: answer.aad.clone() }
    };
    let back = |ciphertext: Vec<u8>, iv: Option<Vec<u8>>, tag: Option<Vec<u8>>| {
        let input = if wraps {
            Input::UnwrapKey { wrapped: ciphertext }
        } else {
            Input::Decrypt { ciphertext, iv, aad: answer.aad.clone(), tag }
        };
        match key.operate(row.mechanism, &input)? {
            Output::Plaintext(plaintext) => Ok(plaintext.same_as(&answer.plaintext)),
            Output::Signature(_) | Output::Verified(_) | Output::Ciphertext { .. } => Err(HsmError::SelfCheck),
        }
    };
    let Output::Ciphertext { value, iv, tag } = key.operate(row.mechanism, &forward)? else {
        return Err(HsmError::SelfCheck);
    };
    demand(!is_deterministic(row.mechanism) || value == answer.ciphertext)?;
    demand(back(value, iv, tag)?)?;
    demand(back(answer.ciphertext.clone(), answer.iv.clone(), answer.tag.clone())?)?;
    let mut changed = answer.ciphertext.clone();
    if let Some(first) = changed.first_mut() {
        *first ^= 1;
    }
    // Another plaintext or none: the ciphers without authentication give one.
    demand(!back(changed, answer.iv.clone(), answer.tag.clone()).unwrap_or(false))
}

/// The value that the sealed format's golden file holds too.
fn check_sealed(mut value: Vec<u8>) -> Result<(), HsmError> {
    let key = SecretBytes::new(vec![0x42; KEY_LEN]);
    let open = |value: &[u8]| sealed::open(|_| Some(&key), Label::Key, b"pool and name", value);
    demand(open(&value)?.same_as(b"a value"))?;
    if let Some(last) = value.last_mut() {
        *last ^= 1;
    }
    demand(open(&value).is_err())
}

const fn is_deterministic(mechanism: Mechanism) -> bool {
    match mechanism {
        Mechanism::RsaPkcs1Signature(_)
        | Mechanism::AesKeyWrap
        | Mechanism::AesKeyWrapPad
        | Mechanism::AesCbc
        | Mechanism::AesCbcPad
        | Mechanism::Hmac(_) => true,
        Mechanism::RsaPkcs1Encryption
        | Mechanism::RsaOaepSha1
        | Mechanism::RsaOaepSha256
        | Mechanism::RsaPss(_)
        | Mechanism::Ecdsa(_, _)
        | Mechanism::AesGcm => false,
    }
}

fn demand(holds: bool) -> Result<(), HsmError> {
    if holds { Ok(()) } else { Err(HsmError::SelfCheck) }
}

fn unhex(text: &str) -> Result<Vec<u8>, HsmError> {
    hex::decode(text).map_err(|_| HsmError::SelfCheck)
}

fn optional(text: &str) -> Result<Option<Vec<u8>>, HsmError> {
    if text == "-" { Ok(None) } else { unhex(text).map(Some) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_mechanism_gives_its_known_answer() {
        run().unwrap();
    }

    #[test]
    fn a_changed_answer_and_a_missing_algorithm_are_noticed() {
        let lines: Vec<&str> = KNOWN_ANSWERS.lines().filter(|line| !line.starts_with('#')).collect();
        for (at, line) in lines.iter().enumerate() {
            let (rest, last) = line.split_at(line.len() - 1);
            let changed = format!("{rest}{}", if last == "0" { "1" } else { "0" });
            let mut file = lines.clone();
            if last != "-" {
                file[at] = &changed;
                assert!(check_all(&file.join("\n")).is_err(), "{line}");
            }
        }
        let without_one: Vec<&str> = lines.iter().copied().filter(|line| !line.contains("ES256K")).collect();
        assert!(check_all(&without_one.join("\n")).is_err());
    }
}
