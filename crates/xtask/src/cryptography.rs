//! The cryptography in use, as assets of CycloneDX 1.6: the algorithm table's rows, and what the product does for itself.

use serde_json::{Value, json};
use strongroom_model::algorithm::{ALGORITHMS, AlgorithmRow, Digest, Mechanism};
use strongroom_model::key::{Curve, Operation};

/// One algorithm or protocol, with who computes it and what for.
pub(crate) struct Asset {
    /// Its `bom-ref`.
    pub(crate) reference: String,
    name: String,
    description: String,
    /// The crate of the outside that computes it.
    pub(crate) library: &'static str,
    /// Our crate that asks for it.
    place: &'static str,
    properties: Value,
}

impl Asset {
    /// The component of the bill.
    pub(crate) fn component(&self) -> Value {
        json!({
            "type": "cryptographic-asset",
            "bom-ref": self.reference,
            "name": self.name,
            "description": self.description,
            "cryptoProperties": self.properties,
            "properties": [
                {"name": "strongroom:library", "value": self.library},
                {"name": "strongroom:crate", "value": self.place},
            ],
        })
    }
}

/// The reference of an algorithm of the keys API.
pub(crate) fn reference(algorithm: &str) -> String {
    format!("crypto/keys/{algorithm}")
}

/// Everything.
pub(crate) fn assets() -> Vec<Asset> {
    ALGORITHMS.iter().map(of_row).chain(own()).chain(protocols()).collect()
}

const fn digest(of: Digest) -> &'static str {
    match of {
        Digest::Sha256 => "SHA-256",
        Digest::Sha384 => "SHA-384",
        Digest::Sha512 => "SHA-512",
    }
}

const fn curve(of: Curve) -> &'static str {
    match of {
        Curve::P256 => "secp256r1",
        Curve::P256K => "secp256k1",
        Curve::P384 => "secp384r1",
        Curve::P521 => "secp521r1",
    }
}

/// What CycloneDX calls it, with mode or padding, and its standard.
fn described(of: Mechanism) -> (Value, &'static str) {
    match of {
        Mechanism::RsaPkcs1Encryption => (json!({"primitive": "pke", "padding": "pkcs1v15"}), "RFC 8017, 7.2"),
        Mechanism::RsaOaepSha1 => {
            (json!({"primitive": "pke", "padding": "oaep", "parameterSetIdentifier": "SHA-1"}), "RFC 8017, 7.1")
        }
        Mechanism::RsaOaepSha256 => {
            (json!({"primitive": "pke", "padding": "oaep", "parameterSetIdentifier": "SHA-256"}), "RFC 8017, 7.1")
        }
        Mechanism::RsaPkcs1Signature(hash) => (
            json!({"primitive": "signature", "padding": "pkcs1v15", "parameterSetIdentifier": digest(hash)}),
            "RFC 8017, 8.2",
        ),
        Mechanism::RsaPss(hash) => (
            json!({"primitive": "signature", "padding": "other", "parameterSetIdentifier": digest(hash)}),
            "RSASSA-PSS, RFC 8017, 8.1",
        ),
        Mechanism::Ecdsa(on, hash) => (
            json!({"primitive": "signature", "curve": curve(on), "parameterSetIdentifier": digest(hash)}),
            "FIPS 186-5, 6",
        ),
        Mechanism::AesKeyWrap => (json!({"primitive": "block-cipher", "mode": "other"}), "SP 800-38F KW, RFC 3394"),
        Mechanism::AesKeyWrapPad => (json!({"primitive": "block-cipher", "mode": "other"}), "SP 800-38F KWP, RFC 5649"),
        Mechanism::AesGcm => (json!({"primitive": "ae", "mode": "gcm"}), "SP 800-38D"),
        Mechanism::AesCbc => (json!({"primitive": "block-cipher", "mode": "cbc", "padding": "raw"}), "SP 800-38A"),
        Mechanism::AesCbcPad => {
            (json!({"primitive": "block-cipher", "mode": "cbc", "padding": "pkcs7"}), "SP 800-38A, RFC 5652, 6.3")
        }
        Mechanism::Hmac(hash) => (json!({"primitive": "mac", "parameterSetIdentifier": digest(hash)}), "FIPS 198-1"),
    }
}

const fn function(of: Operation) -> &'static str {
    match of {
        Operation::Encrypt | Operation::WrapKey => "encrypt",
        Operation::Decrypt | Operation::UnwrapKey => "decrypt",
        Operation::Sign => "sign",
        Operation::Verify => "verify",
    }
}

/// Who computes a row: AWS-LC, but for its two gaps (Cargo.toml says which).
fn library(row: &AlgorithmRow) -> &'static str {
    match row.mechanism {
        Mechanism::Ecdsa(Curve::P256K, _) => "k256",
        Mechanism::AesKeyWrap if row.bits == Some(192) => "aes-kw",
        Mechanism::RsaPkcs1Encryption
        | Mechanism::RsaOaepSha1
        | Mechanism::RsaOaepSha256
        | Mechanism::RsaPkcs1Signature(_)
        | Mechanism::RsaPss(_)
        | Mechanism::Ecdsa(Curve::P256 | Curve::P384 | Curve::P521, _)
        | Mechanism::AesKeyWrap
        | Mechanism::AesKeyWrapPad
        | Mechanism::AesGcm
        | Mechanism::AesCbc
        | Mechanism::AesCbcPad
        | Mechanism::Hmac(_) => "aws-lc-rs",
    }
}

fn of_row(row: &AlgorithmRow) -> Asset {
    let (mut algorithm, standard) = described(row.mechanism);
    let mut functions: Vec<&str> = row.uses.iter().map(|of| function(*of)).collect();
    functions.dedup();
    functions.sort_unstable();
    functions.dedup();
    algorithm["cryptoFunctions"] = json!(functions);
    algorithm["executionEnvironment"] = json!("software-plain-ram");
    algorithm["certificationLevel"] = json!(["none"]);
    if let Some(bits) = row.bits {
        algorithm["parameterSetIdentifier"] = json!(bits.to_string());
    }
    Asset {
        reference: reference(row.name),
        name: row.name.to_owned(),
        description: format!("Customers' {} keys, since API version {}; {standard}", row.kty.hsm_name(), row.since),
        library: library(row),
        place: "strongroom-hsm-soft",
        properties: json!({"assetType": "algorithm", "algorithmProperties": algorithm}),
    }
}

/// What the product computes for itself: name, primitive, parameters, library, crate, purpose.
const OWN: &[(&str, &str, &str, &str, &str, &str)] = &[
    (
        "AES-256-GCM",
        "ae",
        "256",
        "aws-lc-rs",
        "strongroom-hsm",
        "seals keys, records and the root, each under a key of its own",
    ),
    (
        "KBKDF-CTR-HMAC-SHA-256",
        "kdf",
        "SP 800-108",
        "aws-lc-rs",
        "strongroom-hsm",
        "derives the key and the commitment of each sealed value",
    ),
    ("SHA-256", "hash", "256", "aws-lc-rs", "strongroom-hsm", "chains uses and lines of the audit log (FIPS 180-4)"),
    (
        "ECDSA P-256 with SHA-256",
        "signature",
        "secp256r1",
        "aws-lc-rs",
        "strongroom-hsm-soft",
        "signs use chains, heads of the audit log, and the private CA's certificates",
    ),
    (
        "RSA-2048 PKCS#1 with SHA-256",
        "signature",
        "2048",
        "aws-lc-rs",
        "strongroom-server",
        "signs and verifies tokens",
    ),
    (
        "PBKDF2-HMAC-SHA-256",
        "kdf",
        "SP 800-132",
        "aws-lc-rs",
        "strongroom-server",
        "hashes passwords and client secrets in the directory file",
    ),
    (
        "Random bit generator of AWS-LC",
        "drbg",
        "SP 800-90A CTR_DRBG",
        "aws-lc-rs",
        "strongroom-hsm-soft",
        "makes keys, IVs and random bytes, seeded by the kernel's generator",
    ),
    (
        "Random bit generator of the kernel",
        "drbg",
        "getrandom(2)",
        "rustix",
        "strongroom-engine",
        "makes the seal and the store key",
    ),
    (
        "Primality test",
        "other",
        "Baillie-PSW",
        "crypto-primes",
        "strongroom-hsm-soft",
        "tests the primes of imported RSA keys",
    ),
    (
        "Constant-time comparison",
        "other",
        "bytes",
        "subtle",
        "strongroom-hsm",
        "compares commitments, tags and secrets",
    ),
];

fn own() -> impl Iterator<Item = Asset> {
    OWN.iter().map(|(name, primitive, parameters, library, place, purpose)| Asset {
        reference: format!("crypto/own/{}", name.replace(' ', "-")),
        name: (*name).to_owned(),
        description: format!("The product itself: {purpose}"),
        library,
        place,
        properties: json!({"assetType": "algorithm", "algorithmProperties": {
            "primitive": primitive,
            "parameterSetIdentifier": parameters,
            "executionEnvironment": "software-plain-ram",
            "certificationLevel": ["none"],
        }}),
    })
}

/// The suites of `server/src/tls/config.rs`, by version.
const SUITES: &[(&str, &[&str])] = &[
    ("1.3", &["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"]),
    (
        "1.2",
        &[
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        ],
    ),
];

fn protocols() -> impl Iterator<Item = Asset> {
    let tls = SUITES.iter().map(|(version, suites)| {
        let suites: Vec<Value> = suites.iter().map(|name| json!({"name": name})).collect();
        Asset {
            reference: format!("crypto/protocol/tls@{version}"),
            name: format!("TLS {version}"),
            description: "Connections of clients, and to token issuers".to_owned(),
            library: "rustls",
            place: "strongroom-server",
            properties: json!({"assetType": "protocol", "protocolProperties": {
                "type": "tls", "version": version, "cipherSuites": suites}}),
        }
    });
    let groups = [("X25519MLKEM768", "kem", "ML-KEM-768 with X25519"), ("X25519", "key-agree", "RFC 7748")];
    let groups =
        groups.into_iter().chain([("secp256r1", "key-agree", "SP 800-56A"), ("secp384r1", "key-agree", "SP 800-56A")]);
    tls.chain(groups.map(|(name, primitive, standard)| Asset {
        reference: format!("crypto/key-exchange/{name}"),
        name: name.to_owned(),
        description: format!("Key exchange of TLS; {standard}"),
        library: "aws-lc-rs",
        place: "strongroom-server",
        properties: json!({"assetType": "algorithm", "algorithmProperties": {
            "primitive": primitive,
            "parameterSetIdentifier": name,
            "executionEnvironment": "software-plain-ram",
            "certificationLevel": ["none"],
        }}),
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn suites_and_groups_are_those_of_the_listener() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../server/src/tls/config.rs");
        let source = std::fs::read_to_string(source).unwrap();
        let list = source.split("const SUITES").nth(1).unwrap().split("];").next().unwrap();
        let suite = |line: &str| line.trim().strip_prefix("suite::").map(|s| s.trim_end_matches(',').to_owned());
        let mut offered: Vec<String> = list.lines().filter_map(suite).map(|s| s.replace("TLS13_", "TLS_")).collect();
        let mut told: Vec<String> = SUITES.iter().flat_map(|(_, s)| s.iter().map(|s| (*s).to_owned())).collect();
        offered.sort();
        told.sort();
        assert_eq!(told, offered);
        let names: Vec<String> = protocols().map(|a| a.name.to_ascii_uppercase()).collect();
        let groups = source.split("kx_groups: vec![").nth(1).unwrap().split(']').next().unwrap();
        for group in groups.split(',').filter_map(|g| g.trim().strip_prefix("kx_group::")) {
            assert!(names.iter().any(|n| n == group), "{group}");
        }
    }

    #[test]
    fn libraries_are_those_that_the_provider_asks() {
        let provider = concat!(env!("CARGO_MANIFEST_DIR"), "/../hsm-soft/src");
        let ec = std::fs::read_to_string(format!("{provider}/ec.rs")).unwrap();
        let oct = std::fs::read_to_string(format!("{provider}/oct.rs")).unwrap();
        assert!(ec.contains("use k256::") && oct.contains("use aes_kw::"));
    }
}
