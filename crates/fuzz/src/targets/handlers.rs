//! Every operation of the managed HSM behind the gates: hostile names, queries and bodies are answered or are the caller's
//! fault, and no answer holds a key. Import, base64url and every body are read here.

use crate::house::{CALLER, House, first, holds, parts, recorded};
use std::cell::RefCell;
use std::sync::Arc;
use strongroom_model::error::Error;
use strongroom_model::{ApiVersion, RoleScope, SecretBytes};
use strongroom_server::http::call::Call;
use strongroom_server::http::route::{Access, HSM_ROUTES, Route, Run};

/// The canary key, as it is imported, and in base64url.
const CANARY: &[u8; 32] = b"canary:never-in-any-answer:32byt";
const CANARY_TEXT: &str = "Y2FuYXJ5Om5ldmVyLWluLWFueS1hbnN3ZXI6MzJieXQ";
/// Inputs after which the house is made anew, so that it does not fill up.
const LIFE: usize = 2_000;
const ID: &str = "0fee0fee-0fee-4fee-8fee-0fee0fee0fee";

thread_local! {
    static HOUSE: RefCell<Option<(House, usize)>> = const { RefCell::new(None) };
}

fn row(name: &str) -> &'static Route {
    HSM_ROUTES.iter().find(|row| row.operation == name).unwrap()
}

fn house() -> (House, usize) {
    let house = House::new();
    for (operation, name, body) in [
        ("ImportKey", "oct", format!(r#"{{"key":{{"kty":"oct","k":"{CANARY_TEXT}"}}}}"#)),
        ("CreateKey", "ec", r#"{"kty":"EC"}"#.to_owned()),
        ("CreateKey", "gone", r#"{"kty":"oct"}"#.to_owned()),
        ("DeleteKey", "gone", String::new()),
    ] {
        let asked = Asked { name, version: "", id: "", scope: "/", query: "", body: body.as_bytes() };
        assert!(call(&house, row(operation), &asked).is_ok_and(|(status, _)| status == 200), "{operation}");
    }
    (house, 0)
}

struct Asked<'a> {
    name: &'a str,
    version: &'a str,
    id: &'a str,
    scope: &'a str,
    query: &'a str,
    body: &'a [u8],
}

fn call(house: &House, row: &Route, asked: &Asked<'_>) -> Result<(u16, Vec<u8>), Error> {
    let (Access::Hsm { action, .. }, Run::Hsm(handler)) = (row.access, row.run) else { panic!("a row of the HSM") };
    let scope = RoleScope::parse(asked.scope)?;
    let version = ApiVersion::parse("2026-04-01")?;
    let mut query: Vec<(String, String)> = form_urlencoded::parse(asked.query.as_bytes()).into_owned().collect();
    query.insert(0, ("api-version".to_owned(), "2026-04-01".to_owned()));
    let answer = house.runtime.block_on(handler(Call {
        engine: Arc::clone(&house.engine),
        grant: house.grant(0, action, RoleScope::Hsm),
        recorded: recorded(),
        version,
        base: "https://demo.managedhsm.localhost:8443".into(),
        scope,
        params: [("name", asked.name), ("version", asked.version), ("id", asked.id)]
            .into_iter()
            .map(|(n, v)| (n, v.to_owned()))
            .collect(),
        query,
        body: SecretBytes::copy_of(asked.body),
    }))?;
    Ok((answer.status, answer.body.to_vec()))
}

/// `operation ‖ name ‖ 0 ‖ version ‖ 0 ‖ id ‖ 0 ‖ scope ‖ 0 ‖ query ‖ 0 ‖ body`
pub(crate) fn run(data: &[u8]) {
    let (operation, rest) = first(data);
    let row = &HSM_ROUTES[usize::from(operation) % HSM_ROUTES.len()];
    let [name, version, id, scope, query, body] = parts(rest);
    let text = std::str::from_utf8;
    let (Ok(name), Ok(version), Ok(id), Ok(scope), Ok(query)) =
        (text(name), text(version), text(id), text(scope), text(query))
    else {
        return;
    };
    // Making RSA keys takes a second each: the tests of the provider do it.
    if holds(body, b"RSA") && !holds(body, b"\"n\"") || body.len() > strongroom_model::limits::BODY_MAX {
        return;
    }
    HOUSE.with_borrow_mut(|slot| {
        let (house, inputs) = slot.get_or_insert_with(house);
        let asked = Asked { name, version, id, scope, query, body };
        match call(house, row, &asked) {
            Ok((status, answer)) => {
                assert!([row.success, 200].contains(&status), "{} answered {status}", row.operation);
                let json = serde_json::from_slice::<serde_json::Value>(&answer);
                assert!(answer.is_empty() || json.is_ok(), "{} answered something else than JSON", row.operation);
                let told = holds(data, CANARY_TEXT.as_bytes());
                assert!(told || !holds(&answer, &CANARY_TEXT.as_bytes()[..16]), "{}: a key left", row.operation);
                assert!(!holds(&answer, CANARY), "{}: a key left", row.operation);
            }
            Err(error) => {
                let fault = matches!(
                    error,
                    Error::BadParameter(_)
                        | Error::BadName(_)
                        | Error::Forbidden(_)
                        | Error::NotFound(_)
                        | Error::Conflict(_)
                        | Error::AccessDenied { .. }
                );
                assert!(fault, "{}: {error:?}", row.operation);
            }
        }
        *inputs += 1;
        if *inputs >= LIFE || lost_its_rights(house) {
            *slot = None;
        }
    });
}

/// An input may have taken the caller's roles away.
fn lost_its_rights(house: &House) -> bool {
    let needed = |row: &Route| match row.access {
        Access::Hsm { action, .. } => house.may(0, action, RoleScope::Hsm).is_err(),
        Access::Public { .. } | Access::Management { .. } | Access::Member { .. } => false,
    };
    HSM_ROUTES.iter().any(needed)
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let digest = "c4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ryE";
    let k = "c4n4ryc4n4ryc4n4ryc4nw";
    let create = concat!(
        r#"{"kty":"oct-HSM","key_size":256,"key_ops":["encrypt","decrypt"],"#,
        r#""attributes":{"enabled":true,"nbf":1,"exp":4000000000},"tags":{"a":"b"}}"#
    );
    let import = format!(
        r#"{{"Hsm":true,"key":{{"kty":"oct-HSM","k":"{k}","key_ops":["wrapKey"]}},"attributes":{{"enabled":true}},"tags":{{}}}}"#
    );
    let ec = concat!(
        r#"{"key":{"kty":"EC","crv":"P-256","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","#,
        r#""y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU","d":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}}"#
    );
    let rsa =
        r#"{"key":{"kty":"RSA","n":"AAAA","e":"AQAB","d":"AAAA","p":"AA","q":"AA","dp":"AA","dq":"AA","qi":"AA"}}"#;
    let policy = r#"{"lifetimeActions":[{"action":{"type":"Rotate"},"trigger":{"timeAfterCreate":"P30D"}}],"attributes":{"expiryTime":"P1Y2M"}}"#;
    let role = strongroom_model::role::CRYPTO_USER;
    let assignment = format!(r#"{{"properties":{{"principalId":"{ID}","roleDefinitionId":"{role}"}}}}"#);
    let definition = concat!(
        r#"{"properties":{"roleName":"mine","assignableScopes":["/"],"#,
        r#""permissions":[{"dataActions":["Microsoft.KeyVault/managedHsm/keys/read/action"]}]}}"#
    );
    let sign = format!(r#"{{"alg":"ES256","value":"{digest}"}}"#);
    let verify = format!(r#"{{"alg":"ES256","digest":"{digest}","value":"{digest}"}}"#);
    let unwrap = format!(r#"{{"alg":"A256KW","value":"{digest}"}}"#);
    let gcm = format!(r#"{{"alg":"A256GCM","value":"{k}","iv":"c4n4ryc4n4ryc4n4","tag":"{k}","aad":"AA"}}"#);
    let cbc = format!(r#"{{"alg":"A256CBCPAD","value":"{k}","iv":"{k}"}}"#);
    let bodies: [(&str, &str, &str); 20] = [
        ("CreateKey", "made", create),
        ("ImportKey", "taken", &import),
        ("ImportKey", "taken", ec),
        ("ImportKey", "taken", rsa),
        ("UpdateKeyRotationPolicy", "oct", policy),
        ("Encrypt", "oct", r#"{"alg":"A256GCM","value":"aGk","aad":"AA"}"#),
        ("Encrypt", "oct", &cbc),
        ("Decrypt", "oct", &gcm),
        ("Decrypt", "oct", &cbc),
        ("Sign", "ec", &sign),
        ("Verify", "ec", &verify),
        ("WrapKey", "oct", r#"{"alg":"A256KW","value":"c4n4ryc4n4ryc4n4ryc4nw"}"#),
        ("UnwrapKey", "oct", &unwrap),
        ("GetRandomBytes", "", r#"{"count":5}"#),
        ("RoleAssignments_Create", "", &assignment),
        ("RoleDefinitions_CreateOrUpdate", "", definition),
        ("RecoverDeletedKey", "gone", ""),
        ("RotateKey", "ec", ""),
        ("RoleAssignments_ListForScope", "", ""),
        ("UpdateKey", "oct", r#"{"key_ops":["sign"],"attributes":{"enabled":false},"tags":{"t":"v"}}"#),
    ];
    let index = |name: &str| u8::try_from(HSM_ROUTES.iter().position(|r| r.operation == name).unwrap()).unwrap();
    let seed = |operation: u8, name: &str, query: &str, body: &str| {
        let mut seed = vec![operation];
        seed.extend([name, "", ID, "/", query, body].join("\0").bytes());
        seed
    };
    let (house, _) = house();
    for (operation, name, body) in &bodies {
        let asked = Asked { name, version: "", id: ID, scope: "/", query: "", body: body.as_bytes() };
        let taken = call(&house, row(operation), &asked);
        // These bodies are in order, and what they hold is not.
        let refused = *body == rsa || ["Decrypt", "UnwrapKey"].contains(operation);
        assert_eq!(taken.is_ok(), !refused, "{operation} {body}: {:?}", taken.err());
    }
    let mut seeds: Vec<Vec<u8>> = bodies.iter().map(|(o, name, body)| seed(index(o), name, "", body)).collect();
    // Every operation once without a body, with all that a query can say.
    let query = format!("maxresults=5&$skiptoken=AAAA&$filter=principalId%20eq%20'{CALLER}'");
    seeds.extend((0..HSM_ROUTES.len()).map(|o| seed(u8::try_from(o).unwrap(), "oct", &query, "")));
    seeds
}
