//! Client assertions: signed by the right key, and for this client, this endpoint and this time, or refused.

use super::identity::{AUDIENCE, CLIENT, FEDERATED_ISSUER, FEDERATED_SUBJECT, LOGIN, NOW, TENANT, read, with};
use crate::house::{first, parts};

/// `0 ‖ header ‖ 0 ‖ claims`, which get a good signature; or any other byte and the assertion as it is sent.
pub(crate) fn run(data: &[u8]) {
    let (mode, rest) = first(data);
    let [header, claims] = parts(rest);
    with(|issuer| {
        let assertion = match mode {
            0 => issuer.signed_by_client(header, claims),
            _ => String::from_utf8_lossy(rest).into_owned(),
        };
        if ask(issuer, &assertion) != 200 {
            return;
        }
        assert_eq!(mode, 0, "a forged assertion");
        let claims = read(claims);
        let (iss, sub) = (claims["iss"].as_str().unwrap_or_default(), claims["sub"].as_str().unwrap_or_default());
        if iss.eq_ignore_ascii_case(CLIENT) {
            assert!(sub.eq_ignore_ascii_case(CLIENT));
            let aud = claims["aud"].as_str().unwrap_or_default().to_ascii_lowercase();
            assert!(aud.starts_with(&format!("{LOGIN}/")), "{aud}");
        } else {
            assert_eq!((iss, sub), (FEDERATED_ISSUER, FEDERATED_SUBJECT));
        }
        let now = 1_800_000_000.0;
        assert!(claims["exp"].as_f64().is_some_and(|exp| exp + 60.0 > now && exp < now + 2.0 * 86_400.0));
    });
}

fn ask(issuer: &super::identity::Issuer, assertion: &str) -> u16 {
    let scope = format!("{AUDIENCE}/.default");
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", CLIENT),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion),
        ("scope", &scope),
    ];
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    issuer.ask("adfs", None, Some("application/x-www-form-urlencoded"), body.as_bytes()).status
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let header = r#"{"alg":"ES256","typ":"JWT"}"#;
    let claims = |iss: &str, sub: &str, aud: &str| {
        let exp = NOW + 600;
        format!(r#"{{"iss":"{iss}","sub":"{sub}","aud":"{aud}","jti":"1","nbf":{NOW}.5,"exp":{exp}.25}}"#)
    };
    let endpoint = format!("{LOGIN}/{TENANT}/oauth2/v2.0/token");
    let seed = |header: &str, claims: &str| [b"\0", header.as_bytes(), b"\0", claims.as_bytes()].concat();
    let own = claims(CLIENT, CLIENT, &endpoint);
    let federated = claims(FEDERATED_ISSUER, FEDERATED_SUBJECT, "api://AzureADTokenExchange");
    let kid = r#"{"alg":"ES256","kid":"fed"}"#;
    let taken = |header: &str, claims: &str| {
        with(|issuer| ask(issuer, &issuer.signed_by_client(header.as_bytes(), claims.as_bytes())) == 200)
    };
    assert!(taken(header, &own) && taken(kid, &federated), "the first seeds are good assertions");
    vec![
        seed(header, &own),
        seed(kid, &federated),
        seed(r#"{"alg":"ES256","x5c":["AAAA"],"x5t#S256":"AAAA","x5t":"AAAA"}"#, &own),
        seed(r#"{"alg":"none","jwk":{"kty":"EC"}}"#, &own),
        seed(header, &federated.replace("\"api://AzureADTokenExchange\"", r#"["a","api://AzureADTokenExchange"]"#)),
        b"\x01eyJhbGciOiJFUzI1NiJ9.e30.AAAA".to_vec(),
    ]
}
