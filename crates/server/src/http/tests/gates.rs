//! The order of the gates, row by row.

use super::House;
use super::house::VERSION;
use crate::http::route::{Access, HSM_ROUTES, Route, ScopeSource};
use uuid::Uuid;

/// A path that the row answers.
fn path_of(row: &Route) -> String {
    let scoped = matches!(row.access, Access::Hsm { scope: ScopeSource::Path, .. });
    let scope = if scoped { "/keys/k1" } else { "" };
    let filled = row
        .pattern
        .replace("{scope}", &format!("{scope}/providers/Microsoft.Authorization"))
        .replace("{name}", "k1")
        .replace("{version?}", VERSION)
        .replace("{id}", &Uuid::from_u128(5).to_string());
    format!("/{}", filled.trim_start_matches('/'))
}

#[tokio::test]
async fn every_row_wants_a_token_and_a_role() {
    let house = House::new().await;
    let stranger = house.token(&house.stranger).await;
    for row in HSM_ROUTES {
        let (method, target) = (row.method.as_str(), path_of(row) + "?api-version=7.6");
        let refused = house.hsm(method, &target, None, "").await;
        assert_eq!(refused.status, 401, "{} {target}", row.operation);
        assert_eq!(refused.header("content-length"), Some("0"));
        let denied = house.hsm(method, &target, Some(&stranger), "{}").await;
        assert_eq!(
            (denied.status, denied.code().as_str()),
            (403, "AccessDenied"),
            "{} {target}: {denied:?}",
            row.operation
        );
        let Access::Hsm { action, scope } = row.access else { panic!("{}", row.operation) };
        let at = match scope {
            ScopeSource::Hsm | ScopeSource::PathHsm => "/",
            ScopeSource::Keys => "/keys",
            ScopeSource::Key | ScopeSource::Path => "/keys/k1",
        };
        let message = denied.json()["error"]["message"].as_str().unwrap().to_owned();
        let wanted = format!("Not authorized to access {} on {at} (Activity ID: ", action.as_str());
        assert!(message.starts_with(&wanted), "{message}");
        let line = house.audited(denied.header("x-ms-request-id").unwrap()).await;
        assert!(line.to_string().contains(row.log_name), "{line}");
    }
}

#[tokio::test]
async fn the_challenge_comes_before_everything_else() {
    let house = House::new().await;
    let port = house.address.port();
    let challenge = format!(
        "Bearer authorization=\"https://login.localhost:{port}/{}\", resource=\"https://managedhsm.localhost:{port}\"",
        Uuid::from_u128(0x7e)
    );
    for (name, target) in [
        ("demo.managedhsm", "/keys?api-version=7.6"),
        ("demo.managedhsm", "/keys"),
        ("demo.managedhsm", "/no/such/path"),
        ("demo.managedhsm", "/keys/%zz"),
        ("demo.managedhsm", "/"),
        ("sleepy.managedhsm", "/keys?api-version=7.6"),
        ("DEMO.managedhsm", "/keys?api-version=7.6"),
    ] {
        let answer = house.request("PUT", &house.host(name), target, "", "").await;
        assert_eq!(answer.status, 401, "{name} {target}");
        assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()));
        assert_eq!(answer.body, "");
    }
    for token in ["x", "a.b.c", &house.token(&house.stranger).await.replace('.', "!"), &"a".repeat(17_000)] {
        let answer = house.hsm("GET", "/keys?api-version=7.6", Some(token), "").await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some(challenge.as_str())));
    }
}

#[tokio::test]
async fn then_come_path_state_version_and_role() {
    let house = House::new().await;
    let (admin, stranger) = (house.token(&house.admin).await, house.token(&house.stranger).await);
    for (method, target, status, code) in [
        ("GET", "/no/such/path", 404, "NotFound"),
        ("POST", "/backup?api-version=7.6", 404, "NotFound"),
        ("GET", "/keys/..%2fx?api-version=7.6", 400, "BadParameter"),
        ("PUT", "/keys?api-version=7.6", 405, "MethodNotAllowed"),
        ("GET", "/keys", 400, "BadParameter"),
        ("GET", "/keys?api-version=9.9", 400, "BadParameter"),
        ("POST", "/rng?api-version=7.2", 400, "BadParameter"),
        ("GET", "/keys/a_b?api-version=7.6", 400, "BadParameter"),
        ("GET", "/keys?api-version=7.6", 403, "AccessDenied"),
        ("GET", "/keys?api%2Dversion=7.6", 403, "AccessDenied"),
        ("GET", "/secrets/x/providers/Microsoft.Authorization/roleAssignments?api-version=7.6", 400, "BadParameter"),
        ("PUT", "/keys/k/providers/Microsoft.Authorization/roleDefinitions/x?api-version=7.6", 400, "BadParameter"),
    ] {
        let answer = house.hsm(method, target, Some(&stranger), "").await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {target}: {answer:?}");
    }
    let wrong = house.hsm("PUT", "/keys", Some(&admin), "").await;
    assert_eq!(wrong.header("allow"), Some("GET"));
    let override_put = format!("Authorization: Bearer {stranger}\r\nX-HTTP-METHOD: DELETE\r\n");
    let answer =
        house.request("POST", &house.host("demo.managedhsm"), "/keys/k?api-version=7.6", &override_put, "").await;
    assert!(answer.body.contains("managedHsm/keys/delete on /keys/k"), "{answer:?}");
    for target in ["/keys?api-version=7.6", "/no/such/path", "/keys"] {
        let bearer = format!("Authorization: Bearer {admin}\r\n");
        let asleep = house.request("GET", &house.host("sleepy.managedhsm"), target, &bearer, "").await;
        assert_eq!((asleep.status, asleep.code().as_str()), (403, "Forbidden"), "{target}");
    }
}

#[tokio::test]
async fn an_administrator_gives_a_role_and_a_key_is_made_and_used() {
    let house = House::new().await;
    let (admin, user) = (house.token(&house.admin).await, house.token(&house.stranger).await);
    let role =
        "Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/21dbd100-6940-42c2-9190-5d6cb909625b";
    let body = format!(r#"{{"properties":{{"roleDefinitionId":"{role}","principalId":"{}"}}}}"#, house.stranger.0);
    let target = format!("///providers/Microsoft.Authorization/roleAssignments/{}?api-version=7.6", Uuid::new_v4());
    let made = house.hsm("PUT", &target, Some(&admin), &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let key = house.hsm("POST", "/keys/K1/create?api-version=7.6", Some(&user), r#"{"kty":"EC","crv":"P-256"}"#).await;
    assert_eq!(key.status, 200, "{key:?}");
    let kid = key.json()["key"]["kid"].as_str().unwrap().to_owned();
    let base = format!("https://demo.managedhsm.localhost:{}/keys/K1/", house.address.port());
    let version = kid.strip_prefix(&base).unwrap();
    let body = format!(r#"{{"alg":"ES256","value":"{}"}}"#, "A".repeat(43));
    for target in [format!("/keys/k1/{version}/sign"), "/KEYS/k%31//sign".to_owned()] {
        let signed = house.hsm("POST", &(target + "?api-version=2025-07-01"), Some(&user), &body).await;
        assert_eq!(signed.status, 200, "{signed:?}");
        assert_eq!(signed.json()["kid"].as_str(), Some(kid.as_str()));
        let line = house.audited(signed.header("x-ms-request-id").unwrap()).await.to_string();
        assert!(line.contains("KeySign") && line.contains(version), "{line}");
    }
    let got = house.hsm("GET", "/keys/k1/?api-version=7.4", Some(&user), "").await;
    assert_eq!((got.status, got.json()["key"]["kid"].as_str()), (200, Some(kid.as_str())));
    for (name, value) in [
        ("x-ms-keyvault-region", "local"),
        ("x-ms-build-version", "1.2.3"),
        ("x-ms-keyvault-network-info", "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=Ipv4;"),
        ("content-type", "application/json; charset=utf-8"),
    ] {
        assert_eq!(got.header(name), Some(value));
    }
}

#[tokio::test]
async fn a_failed_store_is_not_ready_and_changes_are_refused_for_now() {
    let house = House::new().await;
    let token = house.token(&house.admin).await;
    house.store_failed.store(true, std::sync::atomic::Ordering::Relaxed);
    let assignment = format!("/providers/Microsoft.Authorization/roleAssignments/{}?api-version=7.6", Uuid::new_v4());
    let body = serde_json::json!({"properties": {
        "roleDefinitionId": "Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/21dbd100-6940-42c2-9190-5d6cb909625b",
        "principalId": house.stranger.0,
    }});
    let answer = house.hsm("PUT", &assignment, Some(&token), &body.to_string()).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "ServiceUnavailable"));
    let ready = house.request("GET", &house.host("demo.managedhsm"), "/readyz", "", "").await;
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("store: the store failed"), "{}", ready.body);
}

#[tokio::test]
async fn without_an_audit_log_nothing_is_answered() {
    let house = House::new().await;
    let token = house.token(&house.stranger).await;
    assert!(house.audit.close());
    let answer = house.hsm("GET", "/keys?api-version=7.6", Some(&token), "").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "ServiceUnavailable"));
    let ready = house.request("GET", &house.host("demo.managedhsm"), "/readyz", "", "").await;
    assert_eq!(ready.status, 503);
}
