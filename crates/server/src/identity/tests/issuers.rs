//! Other issuers, on a server of the tests' own: token shapes, hostile tokens, key rotation, documents that nobody should believe.

mod documents;
mod server;

use super::Unauthenticated::{Audience, Disabled, Malformed, Signature, Tenant};
use super::settings::{Blocked, IssuerSettings, ObjectIds, TokenAlgorithm};
use super::*;
use serde_json::json as object;
use server::Server;
use strongroom_model::principal::PrincipalKind;

/// The tenant of the other issuer, and who is in it.
const T: Uuid = Uuid::from_u128(0x7000_0000_0000_4000_8000_0000_0000_0001);
const PERSON: Uuid = Uuid::from_u128(0x7000_0000_0000_4000_8000_0000_0000_0002);
const PROGRAM: Uuid = Uuid::from_u128(0x7000_0000_0000_4000_8000_0000_0000_0003);
const CLIENT: Uuid = Uuid::from_u128(0x7000_0000_0000_4000_8000_0000_0000_0004);
const TEAM: Uuid = Uuid::from_u128(0x7000_0000_0000_4000_8000_0000_0000_0005);
/// The registration of this installation at the other issuer.
const API: Uuid = Uuid::from_u128(0x7000_0000_0000_4000_8000_0000_0000_0006);
const VAULT: &str = "https://vault.localhost:8443";

/// The issuer as tests configure it: its documents on the server, its name the server's address.
fn settings(server: &Server) -> IssuerSettings {
    let settings = object!({
        "issuer": server.url("/v2.0"),
        "tenants": [T],
        "ca_file": server.ca_file,
        "audiences": { "managed_hsm": [API, "api://strongroom/"], "vault": [] },
    });
    serde_json::from_value(settings).unwrap()
}

/// An installation that trusts the server, its keys fetched.
async fn trusting(server: &Server) -> Fixture {
    let fixture = Fixture::with_issuers(directory(), vec![settings(server)]);
    fixture.fetch().await;
    fixture
}

impl Fixture {
    async fn fetch(&self) {
        for followed in self.identity.followed() {
            self.identity.refresh_issuer(followed).await;
        }
    }
}

/// What Microsoft Entra ID writes into a v2.0 token of a program.
fn program(server: &Server) -> Value {
    object!({
        "aud": API, "iss": server.url("/v2.0"), "iat": NOW, "nbf": NOW, "exp": NOW + 3900,
        "aio": "E2NgYPg=", "azp": CLIENT, "azpacr": "1", "idtyp": "app", "oid": PROGRAM,
        "rh": "0.AAAA.", "roles": ["Access"], "sub": PROGRAM, "tid": T, "uti": "AAAA", "ver": "2.0",
    })
}

/// And into a v1.0 token of a person.
fn person(issuer: &str) -> Value {
    object!({
        "aud": format!("api://strongroom"), "iss": issuer, "iat": NOW, "nbf": NOW, "exp": NOW + 4200,
        "acr": "1", "aio": "AUQAu/8==", "amr": ["pwd", "mfa"], "appid": CLIENT, "appidacr": "0",
        "family_name": "Lovelace", "given_name": "Ada", "groups": [TEAM], "ipaddr": "192.0.2.1", "name": "Ada Lovelace",
        "oid": PERSON, "rh": "0.BBBB.", "scp": "user_impersonation", "sub": "pairwise-subject", "tid": T,
        "unique_name": "ada@example.org", "upn": "ada@example.org", "uti": "BBBB", "ver": "1.0", "wids": [NOBODY],
    })
}

fn signed(claims: &Value) -> String {
    signed_as(object!({ "typ": "JWT", "alg": "RS256", "kid": "key-1", "x5t": "key-1" }), claims)
}

fn signed_as(header: Value, claims: &Value) -> String {
    sign_jwt(&header.to_string(), &claims.to_string(), &OTHER_KEY, &RSA_PKCS1_SHA256)
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[tokio::test]
async fn both_token_shapes_of_entra_become_principals() {
    let server = Server::start().await;
    // v1.0: the issuer has another name than the host of its documents.
    let v1 = IssuerSettings {
        issuer: format!("https://sts.example/{T}/"),
        discovery_url: Some(server.url("/v1/.well-known/openid-configuration")),
        ..settings(&server)
    };
    server.discovery("/v1/.well-known/openid-configuration", &v1.issuer, "/keys");
    let fixture = Fixture::with_issuers(directory(), vec![settings(&server), v1.clone()]);
    assert_eq!(fixture.validate(&signed(&program(&server))), Err(Signature), "no key was fetched yet");
    fixture.fetch().await;

    let of_program = fixture.validate(&signed(&program(&server))).unwrap();
    assert_eq!((of_program.object_id, of_program.tenant_id, of_program.kind), (PROGRAM, T, PrincipalKind::Application));
    assert_eq!(of_program.app_id.as_deref(), Some(CLIENT.to_string().as_str()));
    assert_eq!((of_program.user_name.as_deref(), of_program.groups.len()), (None, 0));
    assert_eq!(*of_program.issuer, server.url("/v2.0"));

    let of_person = fixture.validate(&signed(&person(&v1.issuer))).unwrap();
    assert_eq!((of_person.object_id, of_person.kind), (PERSON, PrincipalKind::User));
    assert_eq!((of_person.user_name.as_deref(), &*of_person.groups), (Some("ada@example.org"), [TEAM].as_slice()));
    // The embedded issuer goes on beside them.
    fixture.validate(&fixture.token().await).unwrap();
    assert!(fixture.identity.troubles().is_empty());
}

#[tokio::test]
async fn every_hostile_token_of_another_issuer_is_refused_for_its_reason() {
    let server = Server::start().await;
    let mut fixture = trusting(&server).await;
    fixture.change(|file| file.blocked.push(Blocked { object_id: NOBODY, reason: None }));
    let base = || program(&server);
    let header = |name: &str, value: Value| {
        let mut header = object!({ "typ": "JWT", "alg": "RS256", "kid": "key-1" });
        header[name] = value;
        signed_as(header, &base())
    };
    let pss = sign_jwt(
        &object!({ "alg": "PS256", "kid": "key-1" }).to_string(),
        &base().to_string(),
        &OTHER_KEY,
        &RSA_PSS_SHA256,
    );
    let ours = sign_jwt(
        &object!({ "alg": "RS256", "kid": kid(&ISSUER_KEY) }).to_string(),
        &base().to_string(),
        &ISSUER_KEY,
        &RSA_PKCS1_SHA256,
    );
    for (what, token, reason) in [
        ("another name", signed(&with(base(), "iss", server.url("/v2.0/").into())), Unauthenticated::Issuer),
        ("our name", signed(&with(base(), "iss", fixture.identity.issuer().into())), Signature),
        ("our key", ours, Signature),
        ("an unknown key", header("kid", "key-2".into()), Signature),
        ("no key named", header("kid", Value::Null), Signature),
        ("a certificate brought along", header("x5c", object!(["AA=="])), Malformed),
        ("an algorithm that is not allowed", pss, Signature),
        ("another tenant", signed(&with(base(), "tid", OTHER_TENANT.to_string().into())), Tenant),
        ("our tenant", signed(&with(base(), "tid", TENANT.to_string().into())), Tenant),
        ("no tenant", signed(&without(base(), "tid")), Tenant),
        ("another audience", signed(&with(base(), "aud", NOBODY.to_string().into())), Audience),
        ("our own audience, which is not configured", signed(&with(base(), "aud", HSM.into())), Audience),
        ("an audience that is no text", signed(&with(base(), "aud", object!([API, 1]))), Audience),
        ("no audience", signed(&without(base(), "aud")), Audience),
        ("too many audiences", signed(&with(base(), "aud", vec![API.to_string(); 17].into())), Audience),
        ("expired", signed(&with(base(), "exp", (NOW - 60).into())), Unauthenticated::Expired),
        ("ahead", signed(&with(base(), "nbf", (NOW + 61).into())), Unauthenticated::NotYetValid),
        ("times as text", signed(&with(base(), "exp", "1900000000".into())), Malformed),
        ("no principal", signed(&without(base(), "oid")), Malformed),
        ("a principal that is no GUID", signed(&with(base(), "oid", "ada".into())), Malformed),
        ("a principal of our directory", signed(&with(base(), "oid", APP.to_string().into())), Disabled),
        ("a group of our directory", signed(&with(base(), "oid", GROUP.to_string().into())), Disabled),
        ("a blocked principal", signed(&with(base(), "oid", NOBODY.to_string().into())), Disabled),
        ("no client", signed(&without(base(), "azp")), Malformed),
        ("a client with a line break", signed(&with(base(), "azp", "a\nb".into())), Malformed),
        ("a client too long", signed(&with(base(), "azp", "a".repeat(257).into())), Malformed),
        ("another kind", signed(&with(base(), "idtyp", "device".into())), Malformed),
        ("an ID token", signed(&with(base(), "at_hash", "AAAA".into())), Malformed),
        ("an ID token of Keycloak", signed(&with(base(), "typ", "ID".into())), Malformed),
        ("a refresh token of Keycloak", signed(&with(base(), "typ", "Refresh".into())), Malformed),
        ("bound to a key", signed(&with(base(), "cnf", object!({ "kid": "x" }))), Malformed),
        ("groups that are no list", signed(&with(base(), "groups", "all".into())), Malformed),
        ("groups that are no texts", signed(&with(base(), "groups", object!([1]))), Malformed),
    ] {
        assert_eq!(fixture.validate(&token), Err(reason), "{what}");
    }
    fixture.validate(&signed(&base())).unwrap();
    let for_vault = fixture.identity.validate(&signed(&base()), VAULT);
    assert_eq!(for_vault, Err(Audience), "a token for the managed HSM is none for the vault");
}

#[tokio::test]
async fn groups_are_the_issuers_own_and_an_overage_means_none() {
    let server = Server::start().await;
    let mut fixture = trusting(&server).await;
    let groups = |fixture: &Fixture, claims: &Value| fixture.validate(&signed(claims)).unwrap().groups.to_vec();
    let base = || with(program(&server), "groups", object!([TEAM, GROUP, "Developers"]));
    assert_eq!(groups(&fixture, &base()), [TEAM], "a group of our directory is not the issuer's to give");
    fixture.change(|file| file.blocked.push(Blocked { object_id: TEAM, reason: Some("left".to_owned()) }));
    assert!(groups(&fixture, &base()).is_empty());
    fixture.change(|file| file.blocked.clear());
    let elsewhere = with(
        with(base(), "_claim_names", object!({ "groups": "src1" })),
        "_claim_sources",
        object!({ "src1": { "endpoint": server.url("/graph") } }),
    );
    for overage in [elsewhere, with(base(), "hasgroups", true.into()), with(base(), "hasgroups", "true".into())] {
        assert!(groups(&fixture, &overage).is_empty());
    }
    assert_eq!(server.hits("/graph"), 0, "nobody asks where the token says");
    assert_eq!(groups(&fixture, &with(base(), "_claim_names", object!({ "other": "src1" }))), [TEAM]);
}

#[tokio::test]
async fn whoever_is_blocked_is_refused_at_once_though_the_token_is_cached() {
    let server = Server::start().await;
    let mut fixture = trusting(&server).await;
    let token = signed(&program(&server));
    fixture.validate(&token).unwrap();
    fixture.change(|file| file.blocked.push(Blocked { object_id: PROGRAM, reason: None }));
    assert_eq!(fixture.validate(&token), Err(Disabled));
    fixture.change(|file| file.blocked.clear());
    fixture.validate(&token).unwrap();
}

/// An issuer in the manner of Keycloak: other claims, other algorithms, one tenant that no token names.
#[tokio::test]
async fn claims_have_the_names_of_the_settings_and_derived_ids_are_nobody_elses() {
    let server = Server::start().await;
    let mut other = settings(&server);
    other.object_ids = ObjectIds::Derived;
    other.algorithms = vec![TokenAlgorithm::Es256, TokenAlgorithm::Ps256];
    other.claims = serde_json::from_value(object!({
        "object_id": ["sub"], "tenant": [], "application": ["azp"], "user_name": ["preferred_username"], "groups": ["teams"],
    }))
    .unwrap();
    server.answer("/keys", &federated_jwks("ec-1"));
    let fixture = Fixture::with_issuers(directory(), vec![other]);
    fixture.fetch().await;
    let issuer = server.url("/v2.0");
    let claims = |subject: &str| {
        object!({ "iss": issuer, "aud": ["account", API], "exp": NOW + 60, "sub": subject, "typ": "Bearer", "azp": "web",
                  "preferred_username": "ada", "teams": ["/crew", "/crew/night"] })
    };
    let sign = |subject: &str| sign_federated(r#"{"alg":"ES256","kid":"ec-1"}"#, &claims(subject).to_string());
    let principal = fixture.validate(&sign(&APP.to_string())).unwrap();
    // SHA-256 over the three lines, as the documentation says; version and variant set.
    let expected = |text: &str| {
        let mut bytes = [0; 16];
        let hash = digest(&SHA256, format!("{issuer}\n{T}\n{text}").as_bytes());
        bytes.copy_from_slice(&hash.as_ref()[..16]);
        (bytes[6], bytes[8]) = (bytes[6] & 0x0f | 0x80, bytes[8] & 0x3f | 0x80);
        Uuid::from_bytes(bytes)
    };
    assert_eq!(principal.object_id, expected(&APP.to_string()), "though the text is an id of our directory");
    assert_eq!(*principal.groups, [expected("/crew"), expected("/crew/night")]);
    assert_eq!(
        (principal.tenant_id, principal.app_id.as_deref(), principal.kind),
        (T, Some("web"), PrincipalKind::User)
    );
    assert_ne!(fixture.validate(&sign("ada")).unwrap().object_id, principal.object_id);
    assert_eq!(fixture.validate(&sign("a\nb")), Err(Malformed));
    assert_eq!(fixture.validate(&sign(&"a".repeat(257))), Err(Malformed));
}

#[tokio::test]
async fn a_key_that_leaves_the_set_is_refused_at_once_and_a_new_one_is_asked_for() {
    let server = Server::start().await;
    let fixture = Fixture::with_issuers(directory(), vec![settings(&server)]);
    let watching = tokio::spawn(Arc::clone(&fixture.identity).watch());
    let old = signed(&program(&server));
    fixture.identity.authenticate(&old, HSM).await.unwrap();
    assert_eq!(fixture.identity.cached_tokens(), 1);

    server.answer("/keys", &jwks(&OTHER_KEY, "key-2"));
    let new = signed_as(object!({ "alg": "RS256", "kid": "key-2" }), &program(&server));
    let asked = server.hits("/keys");
    for _ in 0..100 {
        assert_eq!(fixture.identity.authenticate(&new, HSM).await, Err(Signature), "they were fetched a moment ago");
    }
    assert_eq!(server.hits("/keys"), asked, "strangers cannot make us ask as often as they like");
    fixture.identity.followed()[0].close_gap();
    fixture.identity.authenticate(&new, HSM).await.unwrap();
    assert_eq!(fixture.validate(&old), Err(Signature), "its key has left the set");
    watching.abort();
}

/// An issuer that does not answer keeps a few requests waiting, not all that strangers make up.
#[tokio::test]
async fn few_requests_wait_for_an_issuer_that_does_not_answer() {
    let server = Server::start().await;
    server.answer_raw("/keys", server::SILENCE.to_vec());
    let fixture = Fixture::with_issuers(directory(), vec![settings(&server)]);
    let watching = tokio::spawn(Arc::clone(&fixture.identity).watch());
    let token = signed(&program(&server));
    let mut requests: Vec<_> = (0..200).map(|_| Box::pin(fixture.identity.authenticate(&token, HSM))).collect();
    let mut refused = 0;
    for request in &mut requests {
        if let Some(answer) = futures_util::FutureExt::now_or_never(request.as_mut()) {
            assert_eq!(answer, Err(Signature));
            refused += 1;
        }
    }
    assert_eq!(refused, 200 - 32);
    watching.abort();
}

#[tokio::test]
async fn keys_of_a_silent_issuer_count_for_their_time_and_no_longer() {
    let server = Server::start().await;
    let fixture = trusting(&server).await;
    let token = signed(&with(program(&server), "exp", (NOW + 10 * 86_400).into()));
    fixture.validate(&token).unwrap();
    server.answer_raw("/keys", b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec());
    fixture.clock.advance(86_399);
    fixture.fetch().await;
    fixture.validate(&token).unwrap();
    let told = fixture.identity.troubles().concat();
    assert!(told.contains("last fetched 86399 seconds ago") && !told.contains("127.0.0.1"), "{told}");
    fixture.clock.advance(1);
    assert_eq!(fixture.validate(&token), Err(Signature), "though it was cached a moment ago");
    assert!(fixture.identity.troubles().concat().contains("refused"));
    server.answer("/keys", &jwks(&OTHER_KEY, "key-1"));
    fixture.fetch().await;
    fixture.validate(&token).unwrap();
    assert!(fixture.identity.troubles().is_empty());
}

#[test]
fn settings_that_would_trust_too_much_are_refused() {
    let base: IssuerSettings =
        serde_json::from_value(object!({ "issuer": "https://a.example/t", "tenants": [T] })).unwrap();
    let edit = |edit: &dyn Fn(&mut IssuerSettings)| {
        let mut edited = base.clone();
        edit(&mut edited);
        edited
    };
    let problem = |list: Vec<IssuerSettings>| settings::issuers_problem(&list).map(|(setting, _)| setting);
    assert_eq!(problem(vec![base.clone()]), None);
    for (member, wrong) in [
        ("issuer, discovery_url", edit(&|i| i.issuer = "http://a.example/t".to_owned())),
        ("issuer", edit(&|i| i.issuer = String::new())),
        ("keys_url", edit(&|i| i.keys_url = Some("http://a.example/keys".to_owned()))),
        (
            "keys_url",
            edit(&|i| (i.keys_url, i.discovery_url) = (Some("https://a/k".into()), Some("https://a/d".into()))),
        ),
        ("tenants", edit(&|i| i.tenants.clear())),
        ("algorithms", edit(&|i| i.algorithms.clear())),
        ("clock_skew_seconds", edit(&|i| i.clock_skew_seconds = 301)),
        ("refresh_seconds", edit(&|i| i.refresh_seconds = 9)),
        ("keys_max_age_seconds", edit(&|i| i.keys_max_age_seconds = 299)),
        ("claims", edit(&|i| i.claims.object_id.clear())),
        ("claims.tenant", edit(&|i| (i.claims.tenant, i.tenants) = (vec![], vec![T, OTHER_TENANT]))),
        ("audiences", edit(&|i| i.audiences.vault = Some(vec!["a b".to_owned()]))),
    ] {
        assert!(problem(vec![wrong]).is_some_and(|setting| setting.contains(member)), "{member}");
    }
    let elsewhere = edit(&|i| i.issuer = "https://b.example/t".to_owned());
    assert!(problem(vec![base.clone(), base.clone()]).is_some_and(|s| s.contains("issuer")));
    assert!(problem(vec![base.clone(), elsewhere.clone()]).is_some_and(|s| s.contains("object_ids")));
    let derived = IssuerSettings { object_ids: ObjectIds::Derived, ..elsewhere };
    assert_eq!(problem(vec![base.clone(), derived.clone()]), None);
    for unknown in ["none", "HS256", "ES256K", "RSA-OAEP", "rs256"] {
        assert!(serde_json::from_value::<TokenAlgorithm>(unknown.into()).is_err(), "{unknown}");
    }
    let moved = edit(&|i| i.keys_url = Some("https://a.example:8443/keys".to_owned()));
    assert_eq!(settings::outgoing_ports(&[base, derived, moved]), [443, 8443]);
}
