//! AES, HMAC and the key derivation of the sealed format.

use super::{Case, Reason, Verdict, agrees, bytes, pass_if, refused, text};
use crate::oct::OctKey;
use aws_lc_rs::kdf::{KbkdfCtrHmacAlgorithmId, get_kbkdf_ctr_hmac_algorithm, kbkdf_ctr_hmac};
use serde_json::Value;
use strongroom_model::{Digest, SecretBytes};

/// The key, or `None` where its size is not offered.
fn key(value: &Value) -> Option<OctKey> {
    OctKey::new(SecretBytes::new(bytes(value))).ok()
}

pub(super) fn gcm(test: &Value) -> Case {
    let Some(key) = key(&test["key"]) else { return Ok(Verdict::NotApplicable(Reason::KeySize)) };
    let [iv, aad, ct, tag, msg] = ["iv", "aad", "ct", "tag", "msg"].map(|name| bytes(&test[name]));
    let opened = key.gcm_decrypt(&ct, Some(&iv), &aad, Some(&tag));
    let Ok(nonce) = <[u8; 12]>::try_from(iv) else { return refused(Reason::IvSize, opened.is_err()) };
    if tag.len() != 16 {
        return refused(Reason::TagSize, opened.is_err());
    }
    let sealed = key.gcm_encrypt_with(nonce, &msg, &aad).map_err(|e| e.to_string())?;
    let same = sealed.ciphertext == ct && sealed.tag.as_slice() == tag;
    agrees(test, opened.is_ok(), || opened.is_ok_and(|plaintext| plaintext.same_as(&msg)) && same)
}

pub(super) fn cbc(test: &Value, pad: bool) -> Case {
    let Some(key) = key(&test["key"]) else { return Ok(Verdict::NotApplicable(Reason::KeySize)) };
    let [iv, ct, msg] = ["iv", "ct", "msg"].map(|name| bytes(&test[name]));
    let opened = key.cbc_decrypt(&ct, Some(&iv), pad);
    let sealed = key.cbc_encrypt(&msg, Some(&iv), pad);
    agrees(test, opened.is_ok(), || opened.is_ok_and(|plaintext| plaintext.same_as(&msg)) && sealed == Ok(ct))
}

pub(super) fn wrap(test: &Value, key_name: &str, padded: bool) -> Case {
    let Some(key) = key(&test[key_name]) else { return Ok(Verdict::NotApplicable(Reason::KeySize)) };
    let (ct, msg) = (bytes(&test["ct"]), bytes(&test["msg"]));
    let opened = if padded { key.unwrap_padded(&ct) } else { key.unwrap(&ct) };
    let wrapped = if padded { key.wrap_padded(&msg) } else { key.wrap(&msg) };
    agrees(test, opened.is_ok(), || opened.is_ok_and(|plaintext| plaintext.same_as(&msg)) && wrapped == Ok(ct))
}

pub(super) fn hmac(algorithm: &str, group: &Value, test: &Value) -> Case {
    let hash = match algorithm {
        "HMACSHA256" => Digest::Sha256,
        "HMACSHA384" => Digest::Sha384,
        "HMACSHA512" => Digest::Sha512,
        _ => return Ok(Verdict::NotApplicable(Reason::Hash)),
    };
    let Some(key) = key(&test["key"]) else { return Ok(Verdict::NotApplicable(Reason::KeySize)) };
    let (msg, tag) = (bytes(&test["msg"]), bytes(&test["tag"]));
    if group["tagSize"].as_u64() != Some(8 * hash.size() as u64) {
        let digest = vec![0; hash.size()];
        return refused(Reason::TagSize, key.mac_verify(hash, &digest, &tag) == Ok(false));
    }
    let mac = key.mac_any(hash, &msg).map_err(|e| e.to_string())?;
    if msg.len() == hash.size() && key.mac_verify(hash, &msg, &tag) != Ok(mac == tag) {
        return Err("verify disagrees".to_owned());
    }
    agrees(test, mac == tag, || true)
}

pub(super) fn kbkdf(test: &Value) -> Case {
    if (text(&test["prf"]), text(&test["rlen"])) != ("HMAC_SHA256", "32_BITS") {
        return Ok(Verdict::NotApplicable(Reason::Derivation));
    }
    let algorithm = get_kbkdf_ctr_hmac_algorithm(KbkdfCtrHmacAlgorithmId::Sha256).unwrap();
    let expected = bytes(&test["ko"]);
    let mut out = vec![0; expected.len()];
    kbkdf_ctr_hmac(algorithm, &bytes(&test["ki"]), &bytes(&test["fixedInput"]), &mut out).unwrap();
    pass_if(out == expected)
}
