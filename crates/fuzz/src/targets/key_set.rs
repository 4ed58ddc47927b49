//! Key sets of other issuers: only public keys that the document has, each under one name.

use serde_json::Value;
use strongroom_server::identity::kids_of_key_set;
use uuid::Uuid;

const ISSUER: &str = "https://login.example/70000000-0000-4000-8000-000000000001/v2.0";
const TENANT: Uuid = Uuid::from_u128(0x7000_0000_0000_4000_8000_0000_0000_0001);

/// The document as it is fetched.
pub(crate) fn run(data: &[u8]) {
    let Some(kids) = kids_of_key_set(data, ISSUER, &[TENANT]) else { return };
    let document: Value = serde_json::from_slice(data).unwrap();
    let keys = document["keys"].as_array().unwrap();
    assert!((1..=64).contains(&kids.len()) && keys.len() <= 64);
    for (at, kid) in kids.iter().enumerate() {
        assert!(!kids[..at].contains(kid), "one name for two keys");
        assert!(keys.iter().any(|key| key["kid"] == **kid && key["use"] != "enc"), "a key from nowhere");
    }
    for key in keys {
        assert!(key.get("d").is_none() && key.get("k").is_none(), "a secret key was taken along");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let n = "w".repeat(342);
    let rsa = format!(r#"{{"kty":"RSA","use":"sig","kid":"a","n":"{n}","e":"AQAB"}}"#);
    // The generator of P-256 (SP 800-186).
    let (x, y) = ("axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY", "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU");
    let ec = format!(r#"{{"kty":"EC","crv":"P-256","kid":"b","alg":"ES256","x":"{x}","y":"{y}"}}"#);
    let tied = rsa.replace(r#""kid":"a""#, r#""kid":"c","issuer":"https://login.example/{tenantid}/v2.0""#);
    let set = |keys: &[&str]| format!(r#"{{"keys":[{}]}}"#, keys.join(",")).into_bytes();
    let seeds = vec![
        set(&[&rsa, &ec, &tied]),
        set(&[&rsa.replace("sig", "enc"), &ec]),
        set(&[&rsa, &rsa]),
        set(&[&ec.replace(r#""kty""#, r#""d":"AA","kty""#)]),
        br#"{"keys":[{"kty":"oct","kid":"a","k":"AA"}]}"#.to_vec(),
    ];
    assert_eq!(kids_of_key_set(&seeds[0], ISSUER, &[TENANT]).map(|kids| kids.len()), Some(3), "the first seed is good");
    seeds
}
