//! Discovery, keys, and what MSAL asks about an authority.

use super::*;

#[test]
fn discovery_keeps_the_tenant_as_the_client_wrote_it() {
    let fixture = Fixture::new();
    for tenant in ["adfs", "common", "organizations", &TENANT.to_string()] {
        let answer = fixture.identity.openid_configuration(tenant);
        let body = json(&answer);
        assert_eq!(answer.status, 200);
        for member in [
            "issuer",
            "authorization_endpoint",
            "token_endpoint",
            "device_authorization_endpoint",
            "jwks_uri",
            "token_endpoint_auth_methods_supported",
            "response_types_supported",
            "subject_types_supported",
            "id_token_signing_alg_values_supported",
            "scopes_supported",
        ] {
            assert!(!body[member].is_null(), "{member}");
        }
        assert_eq!(body["token_endpoint"], format!("{LOGIN}/{tenant}/oauth2/v2.0/token"));
        assert_eq!(body["issuer"], format!("{LOGIN}/{TENANT}/v2.0"));
    }
    for tenant in ["", "elsewhere", &OTHER_TENANT.to_string(), &TENANT.simple().to_string()] {
        assert_eq!(refusal(&fixture.identity.openid_configuration(tenant)).2, 90_002);
        assert_eq!(refusal(&fixture.identity.jwks(tenant)).2, 90_002);
    }
}

#[tokio::test]
async fn the_published_key_verifies_the_tokens() {
    let fixture = Fixture::new();
    let token = fixture.token().await;
    let keys = json(&fixture.identity.jwks("common"));
    let key = keys["keys"][0].as_object().unwrap();
    let (kid, verifying) = jwt::VerifyingKey::of_jwk(key).unwrap();
    let parsed = jwt::Token::parse(&token).unwrap();
    assert_eq!(parsed.parameter("kid"), kid.as_deref());
    assert!(parsed.verify(&verifying, &[strongroom_model::Algorithm::Rs256]));
    assert!(!parsed.verify(&verifying, &[strongroom_model::Algorithm::Ps256]));
}

#[test]
fn the_thumbprint_is_the_standard_one() {
    // The example of RFC 7638, 3.1.
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMst\
             n64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbIS\
             D08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let n = URL_SAFE_NO_PAD.decode(n.replace(' ', "")).unwrap();
    assert_eq!(jwt::rsa_thumbprint(&n, &[1, 0, 1]), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn authority_questions_of_msal() {
    let fixture = Fixture::new();
    let instance = json(&fixture.identity.instance_discovery());
    assert_eq!(instance["metadata"][0]["aliases"], serde_json::json!(["login.localhost:8443", "login.localhost"]));
    assert!(
        instance["tenant_discovery_endpoint"].as_str().unwrap().ends_with("/v2.0/.well-known/openid-configuration")
    );
    let realm = json(&fixture.identity.user_realm("ada@example.org"));
    assert_eq!((&realm["account_type"], &realm["domain_name"]), (&"Managed".into(), &"example.org".into()));
}
