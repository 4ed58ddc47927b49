//! The other surfaces: login host, managed identity, the node itself, and hosts that are nobody's.

use super::House;
use super::house::plain;
use crate::http::route;

#[tokio::test]
async fn the_login_host_serves_its_documents() {
    let house = House::new().await;
    let login = house.host("login");
    let get = async |target: &str| house.request("GET", &login, target, "", "").await;
    for target in ["/adfs/.well-known/openid-configuration", "/organizations/v2.0/.well-known/openid-configuration"] {
        let document = get(target).await;
        assert_eq!(document.status, 200, "{target}");
        assert!(document.json()["token_endpoint"].as_str().unwrap().contains(&login));
    }
    for target in ["/common/discovery/keys", "/common/discovery/v2.0/keys"] {
        assert_eq!(get(target).await.json()["keys"].as_array().unwrap().len(), 1, "{target}");
    }
    assert_eq!(get("/common/discovery/instance").await.status, 200);
    let missing = get("/keys").await;
    assert_eq!((missing.status, missing.json()["error"].as_str()), (404, Some("invalid_request")));
    let wrong = get("/common/oauth2/v2.0/token").await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")));
    let bad = house.request("POST", &login, "/common/oauth2/v2.0/token", "", "grant_type=x").await;
    assert!((400..500).contains(&bad.status), "{bad:?}");
    assert_eq!(bad.header("cache-control"), Some("no-store"));
    house.audited(bad.header("x-ms-request-id").unwrap()).await;
}

#[tokio::test]
async fn unknown_hosts_get_no_challenge() {
    let house = House::new().await;
    for host in ["nobody.managedhsm", "a.b.managedhsm", "v.vault", "elsewhere"] {
        let answer = house.request("GET", &house.host(host), "/keys?api-version=7.6", "", "").await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "NotFound"), "{host}");
        assert!(answer.header("www-authenticate").is_none());
    }
    let other_port = house.request("GET", "demo.managedhsm.localhost:1", "/keys", "", "").await;
    assert_eq!(other_port.status, 404);
    for head in [
        "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\nConnection: close\r\n\r\n",
    ] {
        let answer = house.send(head.as_bytes()).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "BadParameter"));
    }
}

#[tokio::test]
async fn the_node_tells_how_it_is_on_any_host() {
    let house = House::new().await;
    for host in ["demo.managedhsm.localhost", "127.0.0.1", "login.localhost"] {
        for (target, word) in [("/healthz", "healthy"), ("/readyz", "ready")] {
            let answer = house.request("GET", host, target, "", "").await;
            assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some(word)), "{answer:?}");
        }
    }
    let head = house.request("HEAD", "localhost", "/readyz", "", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let post = house.request("POST", "localhost", "/readyz", "", "").await;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET")));
}

#[tokio::test]
async fn managed_identity_answers_this_machine_only() {
    let house = House::new().await;
    let port = house.address.port();
    let ask = async |host: &str, headers: &str| {
        let target = format!(
            "/metadata/identity/oauth2/token/?api-version=2018-02-01&resource=https://managedhsm.localhost:{port}"
        );
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
        plain(house.managed_identity, request.as_bytes()).await
    };
    let token = ask("127.0.0.1", "Metadata: true\r\n").await;
    assert_eq!(token.status, 200, "{token:?}");
    let token = token.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(house.hsm("GET", "/keys?api-version=7.6", Some(&token), "").await.code(), "AccessDenied");
    assert_eq!(ask("127.0.0.1", "").await.status, 400);
    assert_eq!(ask("127.0.0.1", "Metadata: true\r\nX-Forwarded-For: 10.0.0.1\r\n").await.status, 400);
    assert_eq!(ask("evil.example", "Metadata: true\r\n").await.status, 400);
    let hsm = plain(
        house.managed_identity,
        b"GET /keys?api-version=7.6 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(hsm.await.status, 404);
}

#[test]
fn the_table_of_the_documentation_is_that_of_the_routes() {
    let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api-coverage.md");
    let page = std::fs::read_to_string(pages).unwrap();
    let told: Vec<&str> = page.lines().skip_while(|l| !l.starts_with("| operation |")).skip(2).collect();
    let told: Vec<&str> = told.into_iter().take_while(|line| !line.is_empty()).collect();
    let offered = route::HSM_ROUTES.iter().map(|row| {
        let since = row.since.unwrap_or_default();
        format!("| {} | {} `/{}` | {since} | whole |", row.operation, row.method, row.pattern)
    });
    let missing = route::NOT_OFFERED.iter().map(|row| {
        format!("| {} | {} `/{}` | {} | not there: 404 |", row.operation, row.method, row.pattern, row.since)
    });
    let wanted: Vec<String> = offered.chain(missing).collect();
    assert_eq!(told, wanted, "docs/api-coverage.md");
    assert!(page.contains("2026-04-01"), "the newest version is named");
}
