//! Clients that prove themselves by a secret, a certificate or another issuer; what their tokens say; how long they count.

use super::*;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// A certificate, its key, and its two thumbprints.
struct Client {
    der: Vec<u8>,
    pem: String,
    key: KeyPair,
}

impl Client {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        let key = KeyPair::from_pkcs8(key.serialized_der()).unwrap();
        Self { der: certificate.der().to_vec(), pem: certificate.pem(), key }
    }

    fn sha1(&self) -> Vec<u8> {
        digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &self.der).as_ref().to_vec()
    }

    fn sha256(&self) -> Vec<u8> {
        digest(&SHA256, &self.der).as_ref().to_vec()
    }
}

fn assertion_claims(aud: &str, exp: &str) -> String {
    format!(r#"{{"aud":"{aud}","iss":"{APP_CLIENT}","sub":"{APP_CLIENT}","jti":"x","iat":{NOW}.25,"exp":{exp}}}"#)
}

fn good_claims() -> String {
    assertion_claims(&format!("{LOGIN}/{TENANT}/oauth2/v2.0/token"), &format!("{}.75", NOW + 600))
}

#[tokio::test]
async fn a_secret_buys_a_token_that_validates() {
    let fixture = Fixture::new();
    for tenant in ["adfs", "organizations", "common", "Common", &TENANT.to_string(), &TENANT.to_string().to_uppercase()]
    {
        let answer = fixture.post_to(tenant, &secret_grant(SECRET), None).await;
        let body = json(&answer);
        assert_eq!((body["token_type"].as_str(), body["expires_in"].as_i64()), (Some("Bearer"), Some(3599)));
        assert_eq!((answer.stamps.len(), answer.cache_control), (1, "no-store"));
        assert_eq!(answer.principal.as_ref().unwrap().object_id, APP);
        let token = access_token(&answer);
        let principal = fixture.validate(&token).unwrap();
        assert_eq!((principal.object_id, &*principal.groups), (APP, [GROUP].as_slice()));
        assert_eq!(principal.app_id.as_deref(), Some(APP_CLIENT.to_string().as_str()));
        let claims = claims_of(&token);
        assert_eq!(claims["iss"], format!("{LOGIN}/{TENANT}/v2.0"));
        assert_eq!((claims["exp"].as_i64(), claims["nbf"].as_i64()), (Some(NOW + 3600), Some(NOW)));
        assert_eq!((&claims["sub"], &claims["idtyp"]), (&claims["oid"], &"app".into()));
        assert_eq!((&claims["xms_cc"][0], &claims["ver"]), (&"CP1".into(), &"2.0".into()));
    }
}

#[tokio::test]
async fn the_secret_may_stand_in_the_header() {
    let fixture = Fixture::new();
    let fields = [("grant_type", "client_credentials"), ("resource", HSM)];
    let basic = |secret: &str| format!("Basic {}", STANDARD.encode(format!("{APP_CLIENT}:{secret}")));
    fixture.validate(&access_token(&fixture.post_to("adfs", &fields, Some(&basic(SECRET))).await)).unwrap();
    let wrong = fixture.post_to("adfs", &fields, Some(&basic("wrong"))).await;
    assert_eq!(refusal(&wrong), (401, "invalid_client".to_owned(), 7_000_215));
    assert!(wrong.challenge.is_some());
    let both = fixture.post_to("adfs", &secret_grant(SECRET), Some(&basic(SECRET))).await;
    assert_eq!(refusal(&both).0, 400);
}

#[tokio::test]
async fn scopes_become_audiences_of_this_installation_only() {
    let fixture = Fixture::new();
    let graph = "https://graph.localhost:8443";
    for (scope, audience, aud) in [
        (format!("{HSM}/.default"), HSM, HSM.to_owned()),
        (format!("{graph}//.default"), graph, format!("{graph}/")),
        ("HTTPS://ManagedHSM.localhost:8443/.default".to_owned(), HSM, HSM.to_owned()),
        (
            "https://vault.localhost:8443/.default".to_owned(),
            "https://vault.localhost:8443/",
            "https://vault.localhost:8443".to_owned(),
        ),
        (
            "https://management.localhost:8443//.default".to_owned(),
            "https://management.localhost:8443",
            "https://management.localhost:8443/".to_owned(),
        ),
        ("https://extra.example/.default".to_owned(), "https://extra.example", "https://extra.example".to_owned()),
    ] {
        let mut fields = secret_grant(SECRET);
        fields[3].1 = &scope;
        let token = access_token(&fixture.post(&fields).await);
        assert_eq!(claims_of(&token)["aud"], aud);
        fixture.identity.validate(&token, audience).unwrap();
        if audience != HSM {
            assert_eq!(fixture.validate(&token).err(), Some(Unauthenticated::Audience), "{scope}");
        }
    }
    for (scope, number) in [
        ("https://evil.example/.default", 500_011),
        ("https://managedhsm.localhost/.default", 500_011),
        ("https://managedhsm.localhost:8443.evil.example/.default", 500_011),
        ("https://managedhsm.localhost:8443", 70_011),
        ("https://managedhsm.localhost:8443/user_impersonation", 70_011),
        (".default", 70_011),
        ("https://managedhsm.localhost:8443/.default https://vault.localhost:8443/.default", 28_000),
        ("openid", 900_144),
        ("", 900_144),
    ] {
        let mut fields = secret_grant(SECRET);
        fields[3].1 = scope;
        assert_eq!(refusal(&fixture.post(&fields).await).2, number, "{scope}");
    }
}

#[tokio::test]
async fn an_unknown_client_and_a_wrong_secret_look_alike() {
    let fixture = Fixture::new();
    let strip = |answer: IdentityAnswer| {
        let mut body = json(&answer);
        body["trace_id"] = Value::Null;
        let text = body["error_description"].as_str().unwrap().split("Trace ID").next().unwrap().to_owned();
        body["error_description"] = text.into();
        (answer.status, body)
    };
    let wrong = strip(fixture.post(&secret_grant("wrong")).await);
    let nobody = NOBODY.to_string();
    let mut fields = secret_grant(SECRET);
    fields[1].1 = &nobody;
    assert_eq!(strip(fixture.post(&fields).await), wrong);
    let wrong = strip(fixture.post(&assertion_grant("x.y.z")).await);
    let mut fields = assertion_grant("x.y.z");
    fields[1].1 = &nobody;
    assert_eq!(strip(fixture.post(&fields).await), wrong);
}

#[tokio::test]
async fn malformed_requests_are_named() {
    let fixture = Fixture::new();
    let good = secret_grant(SECRET);
    let without = |name: &str| good.iter().copied().filter(|(n, _)| *n != name).collect::<Vec<_>>();
    let with = |name: &'static str, value: &'static str| [&good[..], &[(name, value)]].concat();
    let mut other_grant = good;
    other_grant[0].1 = "implicit";
    let mut odd_client = good;
    odd_client[1].1 = "not-a-guid";
    let mut one = assertion_grant("a.b.c");
    one[2].1 = "urn:other";
    for (fields, status, number) in [
        (without("grant_type"), 400, 900_144),
        (without("client_id"), 400, 900_144),
        (without("client_secret"), 401, 7_000_218),
        (without("scope"), 400, 900_144),
        (with("client_id", "20000000-0000-4000-8000-000000000002"), 400, 90_100),
        (with("client_assertion", "a.b.c"), 400, 90_023),
        (other_grant.to_vec(), 400, 70_003),
        (odd_client.to_vec(), 400, 900_144),
        (one.to_vec(), 401, 700_030),
        (Vec::new(), 400, 900_144),
    ] {
        let answer = fixture.post(&fields).await;
        let got = refusal(&answer);
        assert_eq!((got.0, got.2), (status, number), "{fields:?}");
    }
    assert_eq!(refusal(&fixture.post_to("elsewhere", &good, None).await).2, 90_002);
    let request = TokenRequest {
        tenant: "adfs",
        authorization: None,
        content_type: Some("application/json"),
        body: b"{}",
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        correlation_id: Uuid::nil(),
    };
    assert_eq!(refusal(&fixture.identity.token(request).await).0, 400);
}

#[tokio::test]
async fn secrets_rotate_and_expire() {
    let mut fixture = Fixture::new();
    let at = |second: i64| Some(jiff::Timestamp::from_second(second).unwrap());
    fixture.change(|file| {
        let hash = |s: &str| hex::encode(digest(&SHA256, s.as_bytes()));
        let secret = |s: &str, expires| ApplicationSecret { sha256: hash(s), expires, description: None };
        file.applications[0].secrets = vec![secret("old", at(NOW + 10)), secret("new", None)];
    });
    for secret in ["old", "new"] {
        access_token(&fixture.post(&secret_grant(secret)).await);
    }
    assert_eq!(refusal(&fixture.post(&secret_grant(SECRET)).await).2, 7_000_215);
    fixture.clock.advance(10);
    assert_eq!(refusal(&fixture.post(&secret_grant("old")).await).2, 7_000_222);
    access_token(&fixture.post(&secret_grant("new")).await);
}

#[tokio::test]
async fn guessing_is_slowed_down_and_a_right_secret_still_passes() {
    let fixture = Fixture::new();
    for _ in 0..10 {
        assert_eq!(fixture.post(&secret_grant("wrong")).await.status, 401);
    }
    let slowed = fixture.post(&secret_grant("wrong")).await;
    assert_eq!((slowed.status, slowed.retry_after), (429, Some(60)));
    access_token(&fixture.post(&secret_grant(SECRET)).await);
    assert_eq!(fixture.post(&secret_grant("wrong")).await.status, 401);
}

#[tokio::test]
async fn certificates_sign_assertions() {
    let client = Client::new();
    let mut fixture = Fixture::new();
    let x5t = |t: Vec<u8>| (URL_SAFE_NO_PAD.encode(&t), URL_SAFE.encode(&t));
    let (sha1, sha1_padded) = x5t(client.sha1());
    let (sha256, sha256_padded) = x5t(client.sha256());
    let x5c = STANDARD.encode(&client.der);
    let registered = |pem: bool| ApplicationCertificate {
        sha256: (!pem).then(|| hex::encode_upper(client.sha256())),
        pem: pem.then(|| client.pem.clone()),
    };
    for pem in [true, false] {
        fixture.change(|file| file.applications[0].certificates = vec![registered(pem)]);
        for (named, alg, padding) in [
            (format!(r#""x5t":"{sha1}""#), "RS256", &RSA_PKCS1_SHA256 as &'static dyn RsaEncoding),
            (format!(r#""x5t":"{sha1_padded}""#), "RS256", &RSA_PKCS1_SHA256),
            (format!(r#""x5t#S256":"{sha256}""#), "PS256", &RSA_PSS_SHA256),
            (format!(r#""x5t#S256":"{sha256_padded}""#), "PS256", &RSA_PSS_SHA256),
        ] {
            let header = format!(r#"{{"alg":"{alg}","typ":"JWT",{named},"x5c":["{x5c}"]}}"#);
            let assertion = sign_jwt(&header, &good_claims(), &client.key, padding);
            fixture.validate(&access_token(&fixture.post(&assertion_grant(&assertion)).await)).unwrap();
        }
    }
    let header = format!(r#"{{"alg":"RS256","x5t":"{sha1}"}}"#);
    let bare = sign_jwt(&header, &good_claims(), &client.key, &RSA_PKCS1_SHA256);
    assert_eq!(refusal(&fixture.post(&assertion_grant(&bare)).await).2, 700_027, "a thumbprint alone has no key");
    fixture.change(|file| file.applications[0].certificates = vec![registered(true)]);
    access_token(&fixture.post(&assertion_grant(&bare)).await);
}

#[tokio::test]
async fn an_assertion_may_be_padded_in_every_part() {
    let client = Client::new();
    let mut fixture = Fixture::new();
    fixture.change(|file| {
        file.applications[0].certificates =
            vec![ApplicationCertificate { sha256: None, pem: Some(client.pem.clone()) }];
    });
    let mut padded = 0;
    for spaces in 0..3 {
        let header = format!(r#"{{"alg":"PS256",{}"typ":"JWT"}}"#, " ".repeat(spaces));
        let input = format!("{}.{}", URL_SAFE.encode(&header), URL_SAFE.encode(good_claims()));
        let mut signature = vec![0; client.key.public_modulus_len()];
        client.key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
        let assertion = format!("{input}.{}", URL_SAFE.encode(signature));
        padded += usize::from(assertion.contains("=."));
        access_token(&fixture.post(&assertion_grant(&assertion)).await);
        let wrong = assertion.replacen('.', "=.", 1);
        assert_eq!(refusal(&fixture.post(&assertion_grant(&wrong)).await).2, 700_027);
    }
    assert!(padded > 0);
}

#[tokio::test]
async fn assertions_that_are_not_quite_right() {
    let (client, stranger) = (Client::new(), Client::new());
    let mut fixture = Fixture::new();
    fixture.change(|file| {
        file.applications[0].certificates =
            vec![ApplicationCertificate { sha256: None, pem: Some(client.pem.clone()) }];
    });
    let endpoint = format!("{LOGIN}/{TENANT}/oauth2/v2.0/token");
    let later = (NOW + 600).to_string();
    let header = r#"{"alg":"RS256"}"#;
    let sign = |claims: &str| sign_jwt(header, claims, &client.key, &RSA_PKCS1_SHA256);
    for aud in
        ["adfs/oauth2/token", "common/oauth2/v2.0/token", "organizations/oauth2/v2.0/token/", "adfs", "common/v2.0"]
    {
        let claims = assertion_claims(&format!("{LOGIN}/{aud}"), &later);
        assert_eq!(fixture.post(&assertion_grant(&sign(&claims))).await.status, 200, "{aud}");
    }
    let named = format!(r#"{{"alg":"RS256","x5t":"{}"}}"#, URL_SAFE_NO_PAD.encode(stranger.sha1()));
    let mine = format!(r#"{{"alg":"RS256","x5c":["{}"]}}"#, STANDARD.encode(&stranger.der));
    let good = assertion_claims(&endpoint, &later);
    let other_sub = good.replace(&format!("\"sub\":\"{APP_CLIENT}\""), &format!("\"sub\":\"{NOBODY}\""));
    for (name, assertion, number) in [
        ("another certificate", sign_jwt(header, &good, &stranger.key, &RSA_PKCS1_SHA256), 700_027),
        ("another certificate sent along", sign_jwt(&mine, &good, &stranger.key, &RSA_PKCS1_SHA256), 700_027),
        ("another thumbprint", sign_jwt(&named, &good, &client.key, &RSA_PKCS1_SHA256), 700_027),
        ("another sub", sign(&other_sub), 700_027),
        ("another iss", sign(&good.replace(&APP_CLIENT.to_string(), &NOBODY.to_string())), 700_027),
        ("another aud", sign(&assertion_claims("https://login.evil.example/adfs", &later)), 700_027),
        ("aud of another tenant", sign(&assertion_claims(&format!("{LOGIN}/{OTHER_TENANT}"), &later)), 700_027),
        ("aud of another path", sign(&assertion_claims(&format!("{LOGIN}/adfs/oauth2/authorize"), &later)), 700_027),
        ("aud with the host cut", sign(&assertion_claims(&format!("{LOGIN}0/adfs"), &later)), 700_027),
        ("expired", sign(&assertion_claims(&endpoint, &(NOW - 60).to_string())), 700_024),
        ("good for ever", sign(&assertion_claims(&endpoint, "99999999999")), 700_024),
        ("exp a text", sign(&assertion_claims(&endpoint, "\"x\"")), 700_027),
        ("exp twice", sign(&assertion_claims(&endpoint, &format!("1,\"exp\":{later}"))), 700_027),
        ("not a token", "x".to_owned(), 700_027),
        ("PS256 named, RS256 made", sign_jwt(r#"{"alg":"PS256"}"#, &good, &client.key, &RSA_PKCS1_SHA256), 700_027),
        ("HS256", sign_jwt(r#"{"alg":"HS256"}"#, &good, &client.key, &RSA_PKCS1_SHA256), 700_027),
    ] {
        let mut fresh = Fixture::with(fixture.file.clone());
        fresh.change(|_| {});
        let got = refusal(&fresh.post(&assertion_grant(&assertion)).await);
        assert_eq!((got.0, got.2), (401, number), "{name}");
    }
}

fn federated(iss: &str, sub: &str, aud: &str, exp: i64) -> String {
    format!(r#"{{"iss":"{iss}","sub":"{sub}","aud":{aud},"exp":{exp},"nbf":{NOW},"iat":{NOW}}}"#)
}

#[tokio::test]
async fn another_issuer_stands_for_an_application() {
    let fixture = Fixture::new();
    let (aud, exp) = ("\"api://AzureADTokenExchange\"", NOW + 300);
    let good = federated(FEDERATED_ISSUER, FEDERATED_SUBJECT, aud, exp);
    let sign =
        |kid: &str, claims: &str| sign_federated(&format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"JWT"}}"#), claims);
    let listed = federated(FEDERATED_ISSUER, FEDERATED_SUBJECT, "[\"x\",\"api://AzureADTokenExchange\"]", exp);
    for assertion in [
        sign("fed-1", &good),
        format!("{}\n", sign("fed-1", &good)),
        sign("fed-1", &listed),
        sign_federated(r#"{"alg":"ES256"}"#, &good),
    ] {
        fixture.validate(&access_token(&fixture.post(&assertion_grant(&assertion)).await)).unwrap();
    }
    for (name, assertion, number) in [
        ("another issuer", sign("fed-1", &federated("https://evil.example", FEDERATED_SUBJECT, aud, exp)), 700_027),
        (
            "another subject",
            sign("fed-1", &federated(FEDERATED_ISSUER, "repo:one/two:pull_request", aud, exp)),
            700_027,
        ),
        (
            "another audience",
            sign("fed-1", &federated(FEDERATED_ISSUER, FEDERATED_SUBJECT, "\"api://x\"", exp)),
            700_027,
        ),
        ("no audience", sign("fed-1", &federated(FEDERATED_ISSUER, FEDERATED_SUBJECT, "null", exp)), 700_027),
        ("an unknown key", sign("fed-2", &good), 700_027),
        (
            "our own issuer's key",
            sign_jwt(r#"{"alg":"RS256","kid":"fed-1"}"#, &good, &ISSUER_KEY, &RSA_PKCS1_SHA256),
            700_027,
        ),
        ("expired", sign("fed-1", &federated(FEDERATED_ISSUER, FEDERATED_SUBJECT, aud, NOW - 60)), 700_024),
    ] {
        assert_eq!(refusal(&fixture.post(&assertion_grant(&assertion)).await).2, number, "{name}");
    }
    let mut rsa = Fixture::new();
    rsa.change(|file| file.applications[0].federated_credentials[0].jwks = Some(jwks(&OTHER_KEY, "fed-1")));
    for (header, padding, status) in [
        (r#"{"alg":"RS256","kid":"fed-1"}"#, &RSA_PKCS1_SHA256 as &'static dyn RsaEncoding, 200),
        (r#"{"alg":"PS256"}"#, &RSA_PSS_SHA256, 200),
        (r#"{"alg":"ES256"}"#, &RSA_PKCS1_SHA256, 401),
        (r#"{"alg":"RS384"}"#, &RSA_PKCS1_SHA256, 401),
    ] {
        let assertion = sign_jwt(header, &good, &OTHER_KEY, padding);
        assert_eq!(rsa.post(&assertion_grant(&assertion)).await.status, status, "{header}");
    }
}

#[tokio::test]
async fn a_token_counts_until_its_end_and_no_longer() {
    let fixture = Fixture::new();
    let token = fixture.token().await;
    fixture.validate(&token).unwrap();
    fixture.clock.advance(3599);
    fixture.validate(&token).unwrap();
    fixture.clock.advance(61);
    assert_eq!(fixture.validate(&token).err(), Some(Unauthenticated::Expired));
    fixture.clock.advance(-3600 - 121);
    assert_eq!(fixture.validate(&token).err(), Some(Unauthenticated::NotYetValid), "the clock was set back");
}

#[tokio::test]
async fn the_audience_is_checked_on_every_hit() {
    let fixture = Fixture::new();
    let token = fixture.token().await;
    for _ in 0..3 {
        fixture.validate(&token).unwrap();
        fixture.identity.validate(&token, &format!("{HSM}/")).unwrap();
        for other in ["https://vault.localhost:8443", "https://managedhsm.localhost", ""] {
            assert_eq!(fixture.identity.validate(&token, other).err(), Some(Unauthenticated::Audience));
        }
    }
    assert_eq!(fixture.identity.cached_tokens(), 1);
}
