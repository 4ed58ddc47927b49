//! Documents that nobody should believe (threats A24): each is refused, and the keys from before stay in force.

use super::server::response;
use super::*;

const JSON: &str = "Content-Type: application/json";

fn cases(server: &Server) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let good = jwks(&OTHER_KEY, "key-9");
    let json = |body: &str| response(JSON, body.as_bytes());
    let keys = |what, body: &str| (what, "/keys", json(body));
    let key = good.trim_start_matches(r#"{"keys":["#).trim_end_matches("]}").to_owned();
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", server.url("/elsewhere"));
    let endless = [format!("HTTP/1.1 200 OK\r\n{JSON}\r\n\r\n").into_bytes(), vec![b' '; 300 * 1024]].concat();
    let cut = format!("HTTP/1.1 200 OK\r\n{JSON}\r\nContent-Length: 9999\r\n\r\n{good}");
    let head = format!("HTTP/1.1 200 OK\r\n{JSON}\r\nX: {}\r\n\r\n{good}", "x".repeat(64 * 1024));
    let discovery = |what, issuer: &str, keys: &str| {
        let document = object!({ "issuer": issuer, "jwks_uri": keys }).to_string();
        (what, "/v2.0/.well-known/openid-configuration", json(&document))
    };
    let issuer = server.url("/v2.0");
    let elsewhere = server.url("/keys").replace("127.0.0.1", "localhost");
    vec![
        ("a redirect", "/keys", redirect.into_bytes()),
        ("an error with keys", "/keys", good_with_status("500 Internal Server Error", &good)),
        ("a partial answer", "/keys", good_with_status("206 Partial Content", &good)),
        ("HTML", "/keys", response("Content-Type: text/html", good.as_bytes())),
        ("no content type", "/keys", response("X: y", good.as_bytes())),
        ("compressed", "/keys", response("Content-Type: application/json\r\nContent-Encoding: gzip", good.as_bytes())),
        ("too large by its length", "/keys", response(JSON, " ".repeat(300 * 1024).as_bytes())),
        ("too large without a length", "/keys", endless),
        ("cut off", "/keys", cut.into_bytes()),
        ("a head without end", "/keys", head.into_bytes()),
        ("no HTTP", "/keys", b"\x00\x01\x02\x03\r\n\r\n".to_vec()),
        ("nothing", "/keys", Vec::new()),
        keys("no JSON", "{"),
        keys("a list", "[]"),
        keys("a repeated member", &good.replacen('{', r#"{"keys":[],"#, 1)),
        keys("a repeated member of a key", &good.replace(r#""kty":"RSA""#, r#""kty":"RSA","kty":"EC""#)),
        keys("a huge number", &good.replacen('{', r#"{"a":1e999,"#, 1)),
        keys("deep", &good.replacen('{', &format!(r#"{{"a":{}1{},"#, "[".repeat(9), "]".repeat(9)), 1)),
        keys("two objects", &format!("{good}{good}")),
        keys("no keys", r#"{"keys":[]}"#),
        keys("keys that are no list", r#"{"keys":{}}"#),
        keys("keys that are no objects", r#"{"keys":["key"]}"#),
        keys("too many keys", &format!(r#"{{"keys":[{}]}}"#, vec![key.as_str(); 65].join(","))),
        keys("one kid twice", &format!(r#"{{"keys":[{key},{key}]}}"#)),
        keys("a key without kid", &good.replace(r#""kid":"key-9","#, "")),
        keys("a key for encryption", &good.replace(r#""use":"sig""#, r#""use":"enc""#)),
        keys("a private key", &good.replace(r#""use":"sig""#, r#""use":"sig","d":"AQAB""#)),
        keys("a symmetric key", r#"{"keys":[{"kty":"oct","kid":"key-9","k":"AAAA"}]}"#),
        keys("an unknown algorithm", &good.replace(r#""use":"sig""#, r#""alg":"RS1""#)),
        keys(
            "a key of another tenant (Storm-0558)",
            &good.replace(r#""use":"sig""#, &format!(r#""issuer":"https://login.example/{NOBODY}/v2.0""#)),
        ),
        keys("a key of another issuer", &good.replace(r#""use":"sig""#, r#""issuer":"https://login.example/""#)),
        discovery("another issuer's document", &server.url("/v3.0"), &server.url("/keys")),
        discovery("keys on another host", &issuer, &elsewhere),
        discovery("keys without TLS", &issuer, &server.url("/keys").replace("https", "http")),
        discovery("keys in a file", &issuer, "file:///etc/passwd"),
        discovery("keys at another port", &issuer, "https://127.0.0.1:1/keys"),
    ]
}

fn good_with_status(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{JSON}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn a_document_that_nobody_should_believe_changes_nothing() {
    let server = Server::start().await;
    let fixture = trusting(&server).await;
    let epoch = fixture.identity.epoch();
    let token = signed(&program(&server));
    let new = signed_as(object!({ "alg": "RS256", "kid": "key-9" }), &program(&server));
    for (what, path, bytes) in cases(&server) {
        let before = server.hits(path);
        server.answer_raw(path, bytes);
        fixture.fetch().await;
        assert_eq!(server.hits(path), before + 1, "{what}");
        assert!(!fixture.identity.troubles().is_empty(), "{what} was believed");
        assert_eq!(fixture.validate(&new), Err(Signature), "{what}");
        fixture.validate(&token).unwrap();
        server.discovery("/v2.0/.well-known/openid-configuration", &server.url("/v2.0"), "/keys");
        server.answer("/keys", &jwks(&OTHER_KEY, "key-1"));
    }
    assert_eq!((server.hits("/elsewhere"), fixture.identity.epoch()), (0, epoch));
    fixture.fetch().await;
    assert!(fixture.identity.troubles().is_empty());
}

#[tokio::test]
async fn keys_may_be_tied_to_an_algorithm_and_to_every_tenant() {
    let server = Server::start().await;
    let mut both = settings(&server);
    both.algorithms = vec![TokenAlgorithm::Rs256, TokenAlgorithm::Ps256];
    let tied = |with: &str| jwks(&OTHER_KEY, "key-1").replace(r#""use":"sig""#, with);
    server.answer("/keys", &tied(r#""alg":"PS256","issuer":"https://login.example/{tenantid}/v2.0""#));
    let fixture = Fixture::with_issuers(directory(), vec![both]);
    fixture.fetch().await;
    assert_eq!(fixture.validate(&signed(&program(&server))), Err(Signature), "the key is for PS256");
    let header = object!({ "alg": "PS256", "kid": "key-1" }).to_string();
    let pss = sign_jwt(&header, &program(&server).to_string(), &OTHER_KEY, &RSA_PSS_SHA256);
    fixture.validate(&pss).unwrap();
    server.answer("/keys", &tied(&format!(r#""issuer":"https://login.example/{T}/v2.0""#)));
    fixture.fetch().await;
    fixture.validate(&signed(&program(&server))).unwrap();
}

#[tokio::test]
async fn a_certificate_of_a_foreign_authority_is_refused() {
    let (server, other) = (Server::start().await, Server::start().await);
    let mut wrong = settings(&server);
    wrong.ca_file = Some(other.ca_file.clone());
    let fixture = Fixture::with_issuers(directory(), vec![wrong]);
    fixture.fetch().await;
    assert_eq!(server.hits("/keys"), 0);
    assert_eq!(fixture.validate(&signed(&program(&server))), Err(Signature));
    assert!(fixture.identity.troubles().concat().contains("never fetched"));
    let empty = IssuerSettings { ca_file: Some(fixture.path()), ..settings(&server) };
    let clock = Arc::clone(&fixture.clock) as Arc<dyn Clock>;
    let refused = start(fixture.path(), clock, vec![empty]).err().unwrap().to_string();
    assert!(refused.contains("ca_file"), "{refused}");
}
