//! RSA and ECDSA.

use super::{Case, Reason, Runner, Verdict, agrees, bytes, pass_if, refused, text};
use crate::ec::{EcKey, EcPublic};
use crate::rsa::{Padding, RsaKey, RsaPublic, Scheme, stripped};
use aws_lc_rs::digest;
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use serde_json::Value;
use strongroom_hsm::HsmError;
use strongroom_model::{Curve, Digest, KeySpec};

fn hash_named(name: &str) -> Option<Digest> {
    match name.replace('-', "").to_ascii_uppercase().as_str() {
        "SHA256" => Some(Digest::Sha256),
        "SHA384" => Some(Digest::Sha384),
        "SHA512" => Some(Digest::Sha512),
        _ => None,
    }
}

fn hashed(hash: Digest, message: &Value) -> Vec<u8> {
    let algorithm = match hash {
        Digest::Sha256 => &digest::SHA256,
        Digest::Sha384 => &digest::SHA384,
        Digest::Sha512 => &digest::SHA512,
    };
    digest::digest(algorithm, &bytes(message)).as_ref().to_vec()
}

/// The curve, when the API pairs it with the hash.
fn curve_with(curve: &str, hash: &str) -> Option<(Curve, Digest)> {
    let (curve, needs) = match curve {
        "secp256r1" | "P-256" => (Curve::P256, Digest::Sha256),
        "secp256k1" => (Curve::P256K, Digest::Sha256),
        "secp384r1" | "P-384" => (Curve::P384, Digest::Sha384),
        "secp521r1" | "P-521" => (Curve::P521, Digest::Sha512),
        _ => return None,
    };
    (hash_named(hash) == Some(needs)).then_some((curve, needs))
}

type EcGroup = Option<(EcPublic, Curve, Digest)>;

fn ec_group(group: &Value) -> EcGroup {
    let key = &group["publicKey"];
    let (curve, hash) = curve_with(text(&key["curve"]), text(&group["sha"]))?;
    Some((EcPublic::from_coordinates(curve, &bytes(&key["wx"]), &bytes(&key["wy"])).unwrap(), curve, hash))
}

pub(super) fn ecdsa_der<'a>(group: &'a Value, bitcoin: bool) -> Runner<'a> {
    let key = ec_group(group);
    Box::new(move |test| {
        let Some((key, curve, hash)) = &key else { return Ok(Verdict::NotApplicable(Reason::Hash)) };
        let Some(raw) = raw_of_der(&bytes(&test["sig"]), curve.coordinate_len()) else {
            return refused(Reason::SignatureEncoding, super::stated(test) != Some(true));
        };
        let verified = key.verify(&hashed(*hash, &test["msg"]), &raw).unwrap();
        if bitcoin && raw[32..] > HALF_ORDER[..] {
            return Ok(Verdict::NotApplicable(Reason::LowS));
        }
        agrees(test, verified, || true)
    })
}

pub(super) fn ecdsa_raw<'a>(group: &'a Value) -> Runner<'a> {
    let key = ec_group(group);
    Box::new(move |test| {
        let Some((key, _, hash)) = &key else { return Ok(Verdict::NotApplicable(Reason::Hash)) };
        let verified = key.verify(&hashed(*hash, &test["msg"]), &bytes(&test["sig"])).unwrap();
        agrees(test, verified, || true)
    })
}

/// Half the order of secp256k1, rounded down.
const HALF_ORDER: &[u8; 32] = b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\
    \x5d\x57\x6e\x73\x57\xa4\x50\x1d\xdf\xe9\x2f\x46\x68\x1b\x20\xa0";

/// `SEQUENCE { INTEGER r, INTEGER s }` in strict DER, as `r ‖ s`; `None` for anything else.
fn raw_of_der(der: &[u8], len: usize) -> Option<Vec<u8>> {
    fn item(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
        let [found, first, rest @ ..] = bytes else { return None };
        let (size, rest) = match *first {
            short @ 0..=0x7f => (usize::from(short), rest),
            0x81 => match rest {
                [size, rest @ ..] if *size >= 0x80 => (usize::from(*size), rest),
                _ => return None,
            },
            _ => return None,
        };
        if *found == tag { rest.split_at_checked(size) } else { None }
    }
    let number = |content: &[u8]| -> Option<Vec<u8>> {
        let minimal = match content {
            [] => false,
            [first, ..] if *first >= 0x80 => false,
            [0, next, ..] => *next >= 0x80,
            _ => true,
        };
        let digits = stripped(content);
        let zeros = len.checked_sub(digits.len())?;
        minimal.then(|| [vec![0; zeros], digits.to_vec()].concat())
    };
    let (sequence, after) = item(der, 0x30)?;
    let (r, rest) = item(sequence, 0x02)?;
    let (s, end) = item(rest, 0x02)?;
    let whole = after.is_empty() && end.is_empty();
    whole.then(|| Some([number(r)?, number(s)?].concat()))?
}

pub(super) fn ec_public_key(test: &Value) -> Case {
    let curve = Curve::parse(text(&test["curve"])).unwrap();
    let made = EcPublic::from_coordinates(curve, &bytes(&test["qx"]), &bytes(&test["qy"]));
    agrees(test, made.is_ok(), || true)
}

pub(super) fn ecdsa_cavp(test: &Value) -> Case {
    let Some((curve, hash)) = curve_with(text(&test["curve"]), text(&test["hash"])) else {
        return Ok(Verdict::NotApplicable(Reason::Hash));
    };
    let [x, y] = ["qx", "qy"].map(|name| bytes(&test[name]));
    let digest = hashed(hash, &test["msg"]);
    let [r, s] = ["r", "s"].map(|name| {
        let number = bytes(&test[name]);
        let digits = stripped(&number);
        [vec![0; curve.coordinate_len() - digits.len()], digits.to_vec()].concat()
    });
    let public = EcPublic::from_coordinates(curve, &x, &y).map_err(|e| e.to_string())?;
    let verified = public.verify(&digest, &[r, s].concat()).unwrap();
    agrees(test, verified, || true)?;
    if test["d"].is_string() {
        let key = EcKey::import(curve, &x, &y, &bytes(&test["d"])).map_err(|e| e.to_string())?;
        let signature = key.sign(&digest).map_err(|e| e.to_string())?;
        return pass_if(public.verify(&digest, &signature) == Ok(true));
    }
    Ok(Verdict::Passed)
}

/// Why a public key is not offered; checks that it is refused.
fn public_not_offered(n: &[u8], e: &[u8]) -> Option<Reason> {
    if ![2048, 3072, 4096].contains(&(8 * n.len())) || n[0] < 0x80 {
        Some(Reason::ModulusSize)
    } else if e != [1, 0, 1] {
        Some(Reason::Exponent)
    } else {
        None
    }
}

fn rsa_public(n: &[u8], e: &[u8]) -> Result<RsaPublic, Case> {
    let (n, e) = (stripped(n), stripped(e));
    let made = RsaPublic::new(n, e);
    match (public_not_offered(n, e), made) {
        (Some(reason), made) => Err(refused(reason, made.is_err())),
        (None, made) => made.map_err(|e| Err(e.to_string())),
    }
}

pub(super) fn rsa_verify<'a>(group: &'a Value) -> Runner<'a> {
    let pss = text(&group["type"]).contains("Pss");
    let key = &group["publicKey"];
    let public = rsa_public(&bytes(&key["modulus"]), &bytes(&key["publicExponent"]));
    Box::new(move |test| {
        let public = match &public {
            Ok(public) => public,
            Err(Ok(Verdict::NotApplicable(reason))) => return Ok(Verdict::NotApplicable(*reason)),
            Err(_) => return Err("the key is refused".to_owned()),
        };
        let Some(hash) = hash_named(text(&group["sha"])) else { return Ok(Verdict::NotApplicable(Reason::Hash)) };
        let scheme = if pss { Scheme::Pss } else { Scheme::Pkcs1 };
        let verified = public.verify(scheme, hash, &hashed(hash, &test["msg"]), &bytes(&test["sig"])).unwrap();
        if pss && text(&group["mgfSha"]) != text(&group["sha"]) {
            return refused(Reason::Hash, !verified);
        }
        if pss && group["sLen"].as_u64() != Some(hash.size() as u64) {
            return refused(Reason::SaltLength, !verified || !super::stated(test).unwrap_or(true));
        }
        agrees(test, verified, || true)
    })
}

pub(super) fn rsa_cavp(test: &Value, pss: bool) -> Case {
    let public = match rsa_public(&bytes(&test["n"]), &bytes(&test["e"])) {
        Ok(public) => public,
        Err(case) => return case,
    };
    let Some(hash) = hash_named(text(&test["hash"])) else { return Ok(Verdict::NotApplicable(Reason::Hash)) };
    let scheme = if pss { Scheme::Pss } else { Scheme::Pkcs1 };
    let verified = public.verify(scheme, hash, &hashed(hash, &test["msg"]), &bytes(&test["sig"])).unwrap();
    if pss && bytes(&test["saltVal"]).len() != hash.size() {
        return refused(Reason::SaltLength, !verified);
    }
    agrees(test, verified, || true)
}

/// Reads a private key by the names of its numbers; refusals of sizes that are not offered are checked.
fn rsa_private(key: &Value, names: [&str; 8]) -> Result<RsaKey, Case> {
    let [n, e, d, p, q, dp, dq, qi] = names.map(|name| bytes(&key[name]));
    let numbers = KeyPairComponents {
        public_key: PublicKeyComponents { n: n.as_slice(), e: e.as_slice() },
        d: d.as_slice(),
        p: p.as_slice(),
        q: q.as_slice(),
        dP: dp.as_slice(),
        dQ: dq.as_slice(),
        qInv: qi.as_slice(),
    };
    let spec = match 8 * stripped(&n).len() {
        3072 => KeySpec::Rsa3072,
        4096 => KeySpec::Rsa4096,
        _ => KeySpec::Rsa2048,
    };
    let made = RsaKey::import(spec, &numbers);
    if key["otherPrimeInfos"].is_array() {
        return Err(refused(Reason::ThreePrimes, made.is_err()));
    }
    if let Some(reason) = public_not_offered(stripped(&n), stripped(&e)) {
        return Err(refused(reason, made.is_err()));
    }
    made.map_err(|e| Err(e.to_string()))
}

pub(super) fn rsa_decrypt<'a>(group: &'a Value) -> Runner<'a> {
    let names =
        ["modulus", "publicExponent", "privateExponent", "prime1", "prime2", "exponent1", "exponent2", "coefficient"];
    let key = rsa_private(&group["privateKey"], names);
    let padding = match (text(&group["type"]), text(&group["sha"]), text(&group["mgfSha"])) {
        ("RsaesPkcs1Decrypt", _, _) => Some(Padding::Pkcs1),
        (_, "SHA-1", "SHA-1") => Some(Padding::OaepSha1),
        (_, "SHA-256", "SHA-256") => Some(Padding::OaepSha256),
        _ => None,
    };
    Box::new(move |test| {
        let key = match &key {
            Ok(key) => key,
            Err(Ok(Verdict::NotApplicable(reason))) => return Ok(Verdict::NotApplicable(*reason)),
            Err(_) => return Err("the key is refused".to_owned()),
        };
        let Some(padding) = padding else { return Ok(Verdict::NotApplicable(Reason::Hash)) };
        let decrypted = key.decrypt(padding, &bytes(&test["ct"]));
        if !text(&test["label"]).is_empty() {
            return refused(Reason::Label, decrypted.err() == Some(HsmError::Undecryptable));
        }
        let msg = bytes(&test["msg"]);
        agrees(test, decrypted.is_ok(), || decrypted.is_ok_and(|plaintext| plaintext.same_as(&msg)))
    })
}

pub(super) fn rsa_pkcs1_decrypt(test: &Value) -> Case {
    let padding = match (test["hash"].as_str(), test["mgfHash"].as_str()) {
        (None, None) => Padding::Pkcs1,
        (Some("sha1"), Some("sha1")) => Padding::OaepSha1,
        (Some("sha256"), Some("sha256")) => Padding::OaepSha256,
        _ => return Ok(Verdict::NotApplicable(Reason::Hash)),
    };
    let key = match rsa_private(&test["key"], ["n", "e", "d", "p", "q", "dp", "dq", "qi"]) {
        Ok(key) => key,
        Err(case) => return case,
    };
    let msg = bytes(&test["msg"]);
    pass_if(key.decrypt(padding, &bytes(&test["ct"])).is_ok_and(|plaintext| plaintext.same_as(&msg)))
}

pub(super) fn rsa_sign<'a>(group: &'a Value) -> Runner<'a> {
    let key = RsaKey::from_material(&bytes(&group["privateKeyPkcs8"]));
    let exponent = bytes(&group["privateKey"]["publicExponent"]);
    Box::new(move |test| {
        if exponent != [1, 0, 1] {
            return refused(Reason::Exponent, key.is_err());
        }
        let Some(hash) = hash_named(text(&group["sha"])) else { return Ok(Verdict::NotApplicable(Reason::Hash)) };
        let key = key.as_ref().map_err(|e| e.to_string())?;
        let signature = key.sign(Scheme::Pkcs1, hash, &hashed(hash, &test["msg"])).map_err(|e| e.to_string())?;
        pass_if(signature == bytes(&test["sig"]))
    })
}
