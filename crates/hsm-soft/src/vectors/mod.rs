//! Test vectors that other people made, run on the mechanisms themselves.
//!
//! A few lie in `tests/vectors`; all of them in the folder that `STRONGROOM_SHARED` names, or `../shared` beside the
//! repository. Each case passes, or has a reason not to apply; anything else fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod api;
mod asymmetric;
mod symmetric;

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Why a case does not apply. Where the API can be asked at all, the case checks that it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// The API has no such algorithm.
    Algorithm,
    /// JOSE containers: the server's tests.
    Jose,
    /// A hash, or pair of hashes or of curve and hash, that no algorithm of the API has.
    Hash,
    /// RSA of a size that is not offered; refused on import.
    ModulusSize,
    /// RSA with a public exponent other than 65537; refused on import.
    Exponent,
    /// RSA of three primes; refused on import.
    ThreePrimes,
    /// A PSS salt of another length than the hash; does not verify.
    SaltLength,
    /// OAEP with a label: the API has none.
    Label,
    /// A symmetric key that is not 128, 192 or 256 bits; refused on import.
    KeySize,
    /// A GCM IV that is not 96 bits; refused.
    IvSize,
    /// A tag shorter than the algorithm's; refused.
    TagSize,
    /// An ECDSA signature whose DER has no `r ‖ s` of the fixed length.
    SignatureEncoding,
    /// Bitcoin's rule that `s` be low: ECDSA has none.
    LowS,
    /// Another counter than 32 bits, or another PRF, in the key derivation.
    Derivation,
}

/// What came of one case.
enum Verdict {
    Passed,
    NotApplicable(Reason),
}

type Case = Result<Verdict, String>;

/// Passes when `holds`.
fn pass_if(holds: bool) -> Case {
    if holds { Ok(Verdict::Passed) } else { Err("another result".to_owned()) }
}

/// Does not apply, and `refused` as it must be.
fn refused(reason: Reason, refused: bool) -> Case {
    if refused {
        Ok(Verdict::NotApplicable(reason))
    } else {
        Err(format!("accepted, though {reason:?} is not offered"))
    }
}

#[derive(Default)]
struct Tally {
    passed: usize,
    not_applicable: BTreeMap<Reason, usize>,
    failed: Vec<String>,
}

impl Tally {
    fn add(&mut self, file: &str, id: &Value, case: Case) {
        match case {
            Ok(Verdict::Passed) => self.passed += 1,
            Ok(Verdict::NotApplicable(reason)) => *self.not_applicable.entry(reason).or_default() += 1,
            Err(what) => self.failed.push(format!("{file} {id}: {what}")),
        }
    }
}

/// The result that the vector states: `Some(true)` valid, `Some(false)` invalid, `None` either.
fn stated(test: &Value) -> Option<bool> {
    match test["result"].as_str() {
        Some("invalid") => Some(false),
        Some("acceptable") => None,
        Some("valid") | None => Some(true),
        Some(other) => panic!("result {other}"),
    }
}

/// Whether an outcome agrees with the stated result; `good` must hold for every acceptance.
fn agrees(test: &Value, accepted: bool, good: impl FnOnce() -> bool) -> Case {
    match stated(test) {
        Some(expected) if expected != accepted => Err(format!("accepted: {accepted}")),
        Some(_) | None => pass_if(!accepted || good()),
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_default();
    let even = if text.len().is_multiple_of(2) { text.to_owned() } else { format!("0{text}") };
    hex::decode(even).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Runs one file.
fn run_file(path: &Path, tally: &mut Tally) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let no_group = Value::Null;
    let groups: Vec<(&Value, &Value)> = match file["testGroups"].as_array() {
        Some(groups) => groups.iter().map(|group| (group, &group["tests"])).collect(),
        None => vec![(&no_group, &file["tests"])],
    };
    let before = tally.passed + tally.not_applicable.values().sum::<usize>() + tally.failed.len();
    for (group, tests) in groups {
        let mut run = runner(name, &file, group);
        for test in tests.as_array().unwrap() {
            let id = if test["tcId"].is_null() { &test["id"] } else { &test["tcId"] };
            tally.add(name, id, run(test));
        }
    }
    let after = tally.passed + tally.not_applicable.values().sum::<usize>() + tally.failed.len();
    assert_eq!(Some((after - before) as u64), file["numberOfTests"].as_u64(), "{name}: every case was run");
}

type Runner<'a> = Box<dyn FnMut(&Value) -> Case + 'a>;

/// Finds what runs the cases of a file: by its schema, or by its name where it has none.
fn runner<'a>(name: &'a str, file: &'a Value, group: &'a Value) -> Runner<'a> {
    let not = |reason| -> Runner<'a> { Box::new(move |_| Ok(Verdict::NotApplicable(reason))) };
    let algorithm = text(&file["algorithm"]);
    let schema = text(&file["schema"]);
    if schema.starts_with("json_web") {
        return not(Reason::Jose);
    }
    match (schema, algorithm) {
        ("aead_test_schema_v1.json", "AES-GCM") => Box::new(symmetric::gcm),
        ("ind_cpa_test_schema_v1.json", "AES-CBC-PKCS5") => Box::new(|test| symmetric::cbc(test, true)),
        ("keywrap_test_schema_v1.json", "AES-WRAP") => Box::new(|test| symmetric::wrap(test, "key", false)),
        ("keywrap_test_schema_v1.json", "AES-KWP") => Box::new(|test| symmetric::wrap(test, "key", true)),
        ("mac_test_schema_v1.json", mac) if mac.starts_with("HMAC") => {
            Box::new(move |test| symmetric::hmac(mac, group, test))
        }
        ("ecdsa_verify_schema_v1.json", _) => asymmetric::ecdsa_der(group, false),
        ("ecdsa_bitcoin_verify_schema.json", _) => asymmetric::ecdsa_der(group, true),
        ("ecdsa_p1363_verify_schema_v1.json", _) => asymmetric::ecdsa_raw(group),
        ("rsaes_oaep_decrypt_schema_v1.json" | "rsaes_pkcs1_decrypt_schema_v1.json", _) => {
            asymmetric::rsa_decrypt(group)
        }
        ("rsassa_pkcs1_generate_schema_v1.json", _) => asymmetric::rsa_sign(group),
        ("rsassa_pkcs1_verify_schema_v1.json", _)
        | ("rsassa_pss_verify_schema_v1.json" | "rsassa_pss_with_parameters_verify_schema.json", _) => {
            asymmetric::rsa_verify(group)
        }
        ("", _) => runner_by_name(name),
        (_, "A128CBC-HS256" | "A192CBC-HS384" | "A256CBC-HS512" | "AES-CMAC" | "HKDF-SHA-256" | "HKDF-SHA-512")
        | (_, "EcCurveTest" | "PrimalityTest") => not(Reason::Algorithm),
        (schema, algorithm) => panic!("{name}: nothing runs {schema} of {algorithm}"),
    }
}

fn runner_by_name<'a>(name: &str) -> Runner<'a> {
    let stem = name.trim_end_matches(".json");
    match stem {
        "rfc3394_rfc5649" => Box::new(|test| symmetric::wrap(test, "kek", text(&test["name"]).starts_with("RFC5649"))),
        "sp800_108_counter_hmac" => Box::new(symmetric::kbkdf),
        "ec_public_key_validation" => Box::new(asymmetric::ec_public_key),
        "ecdsa_secp256k1_siggen" | "ecdsa_siggen_186_3" | "ecdsa_sigver_186_3" => Box::new(asymmetric::ecdsa_cavp),
        "sigver15_186_3" => Box::new(|test| asymmetric::rsa_cavp(test, false)),
        "sigverpss_186_3" => Box::new(|test| asymmetric::rsa_cavp(test, true)),
        "rsa_oaep_hash_mgf_pairs" | "rsa_pkcs1v15_decrypt" => Box::new(asymmetric::rsa_pkcs1_decrypt),
        "api_ec" | "api_oct" | "api_rsa" => Box::new(api::case),
        kw if kw.starts_with("kw_") => Box::new(|test| symmetric::wrap(test, "key", false)),
        kwp if kwp.starts_with("kwp_") => Box::new(|test| symmetric::wrap(test, "key", true)),
        gcm if gcm.starts_with("aes_gcm") => Box::new(symmetric::gcm),
        cbc if cbc.starts_with("aes_cbc_mmt") => Box::new(|test| symmetric::cbc(test, false)),
        other => panic!("{other}: nothing runs it"),
    }
}

fn run_folder(folder: &Path, tally: &mut Tally) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "json"));
    files.sort();
    assert!(!files.is_empty(), "{} holds no vectors", folder.display());
    for file in &files {
        run_file(file, tally);
    }
}

fn report(tally: &Tally) {
    println!("vectors: {} passed", tally.passed);
    for (reason, count) in &tally.not_applicable {
        println!("vectors: {count} not applicable: {reason:?}");
    }
    assert!(tally.failed.is_empty(), "{} failed: {:#?}", tally.failed.len(), tally.failed);
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_vectors_in_the_repository_pass() {
    let mut tally = Tally::default();
    run_folder(&here().join("tests/vectors"), &mut tally);
    report(&tally);
    strongroom_counts::count("vectors in the repository", tally.passed);
    assert!(tally.passed > 500, "{} passed", tally.passed);
}

#[test]
fn the_vectors_beside_the_repository_pass() {
    let beside = here().join("../../../shared");
    let shared = std::env::var_os("STRONGROOM_SHARED").map_or(beside, PathBuf::from).join("vectors");
    if !shared.is_dir() {
        println!("vectors: SKIPPED, no folder {} (STRONGROOM_SHARED names another)", shared.display());
        return;
    }
    let mut tally = Tally::default();
    for folder in ["wycheproof", "cavp", "pkcs1", "rfc", "generated"] {
        run_folder(&shared.join(folder), &mut tally);
    }
    report(&tally);
    strongroom_counts::count("vectors beside the repository", tally.passed);
    let refused = tally.not_applicable.values().sum::<usize>();
    strongroom_counts::count("vectors that do not apply, each for a listed reason", refused);
    assert!(tally.passed > 5000, "{} passed", tally.passed);
}
