//! What others may try: addresses, clients, stolen and repeated codes, forged pages.

use super::*;
use std::sync::Barrier;

/// Until client and address are right, the browser is sent nowhere.
#[tokio::test]
async fn nothing_goes_to_an_address_or_client_that_is_not_known() {
    let fixture = Fixture::with(people());
    let mut browser = Browser::default();
    let evil = "https://evil.example/";
    for (what, query, code) in [
        ("an unknown client", with("client_id", &NOBODY.to_string()), "AADSTS700016"),
        ("an application with a secret", with("client_id", &APP_CLIENT.to_string()), "AADSTS700016"),
        ("no client", without("client_id"), "AADSTS900144"),
        ("a client that is no GUID", with("client_id", "az"), "AADSTS900144"),
        ("no address", without("redirect_uri"), "AADSTS50011"),
        ("another host", with("redirect_uri", evil), "AADSTS50011"),
        ("another host behind a name", with("redirect_uri", "http://localhost@evil.example"), "AADSTS50011"),
        ("a script", with("redirect_uri", "javascript:alert(1)"), "AADSTS50011"),
        ("two addresses", [parameters(), vec![("redirect_uri".into(), evil.into())]].concat(), "AADSTS90100"),
        ("two states", [parameters(), vec![("state".into(), "x".into())]].concat(), "AADSTS90100"),
        ("a long state", with("state", &"x".repeat(2049)), "AADSTS90015"),
        ("a long nonce", with("nonce", &"x".repeat(2049)), "AADSTS90015"),
    ] {
        let answer = browser.authorize(&fixture, &query);
        assert_eq!(answer.error_code, code, "{what}");
        assert!(
            answer.status >= 400 && answer.page.as_ref().unwrap().location.is_none() && !html(&answer).contains("evil"),
            "{what}"
        );
    }
    let mut request = browser.request(&[], b"");
    request.tenant = Some("elsewhere");
    assert_eq!(fixture.identity.authorize(&request).error_code, "AADSTS90002");
}

#[tokio::test]
async fn requests_that_cannot_be_done_go_back_to_their_program() {
    let fixture = Fixture::with(people());
    let mut browser = Browser::default();
    for (query, error) in [
        (with("response_type", "token"), "unsupported_response_type"),
        (with("response_type", "code id_token"), "unsupported_response_type"),
        (without("response_type"), "unsupported_response_type"),
        (without("code_challenge"), "invalid_request"),
        (with("code_challenge", "short"), "invalid_request"),
        (with("code_challenge", &"?".repeat(43)), "invalid_request"),
        (with("code_challenge_method", "plain"), "invalid_request"),
        (without("code_challenge_method"), "invalid_request"),
        (with("response_mode", "web_message"), "invalid_request"),
        (with("scope", "openid"), "invalid_request"),
        (with("scope", "https://vault.azure.net/.default"), "invalid_resource"),
        (with("scope", "https://managedhsm.localhost:8443/everything"), "invalid_scope"),
        (with("prompt", "none"), "login_required"),
        (with("request", "x.y.z"), "request_not_supported"),
        (with("request_uri", "https://evil.example/r"), "request_not_supported"),
    ] {
        let location = location(&browser.authorize(&fixture, &query));
        assert!(location.starts_with("http://localhost:8400/?error="), "{location}");
        assert_eq!(parameter(&location, "error").as_deref(), Some(error), "{query:?}");
        assert_eq!(parameter(&location, "state").as_deref(), Some("state-1"));
        assert!(parameter(&location, "code").is_none());
    }
}

#[tokio::test]
async fn what_strangers_write_stays_text() {
    let fixture = Fixture::with(people());
    let mut browser = Browser::default();
    let script = "\"><script>alert('x')</script>&amp;<b x='";
    let mut query = with("state", script);
    query.push(("login_hint".into(), script.into()));
    query.push(("response_mode".into(), "form_post".into()));
    let page = browser.authorize(&fixture, &query);
    let text = ticket(&page);
    let wrong = [("ticket", text.as_str()), ("username", script), ("password", "wrong")];
    let again = browser.sign_in(&fixture, &wrong).await;
    let back = browser.sign_in(&fixture, &credentials(&text)).await;
    for answer in [&page, &again, &back] {
        let html = html(answer);
        assert!(!html.contains("<script") && !html.contains("<b x="), "{html}");
        assert!(html.contains("&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)"), "{html}");
    }
    for wrong in [script, "%3Cscript%3E", "<script>"] {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("ticket", ""), ("user_code", wrong)])
            .finish();
        assert!(!html(&fixture.identity.enter_user_code(&browser.request(&[], body.as_bytes()))).contains("<script"));
    }
}

#[tokio::test]
async fn a_page_counts_in_its_browser_for_its_time_and_from_its_site() {
    let fixture = Fixture::with(people());
    let mut browser = Browser::default();
    let text = ticket(&browser.authorize(&fixture, &parameters()));
    let (json, tag) = text.split_once('.').unwrap();
    let decoded = String::from_utf8(URL_SAFE_NO_PAD.decode(json).unwrap()).unwrap();
    let forged = URL_SAFE_NO_PAD.encode(decoded.replace("localhost:8400", "localhost:6666"));
    for (what, bad) in [
        ("no ticket", String::new()),
        ("no MAC", json.to_owned()),
        ("an empty MAC", format!("{json}.")),
        ("another's MAC", format!("{forged}.{tag}")),
        ("cut", text[..text.len() - 1].to_owned()),
    ] {
        let answer = browser.clone().sign_in(&fixture, &credentials(&bad)).await;
        assert_eq!((answer.status, answer.error_code.as_str()), (400, "AADSTS165000"), "{what}");
    }
    let mut stranger = Browser::default();
    stranger.authorize(&fixture, &parameters());
    let mut bare = Browser::default();
    let mut cross = Browser { fetch_site: Some("cross-site"), ..browser.clone() };
    let mut sibling = Browser { fetch_site: Some("same-site"), ..browser.clone() };
    for other in [&mut stranger, &mut bare, &mut cross, &mut sibling] {
        assert_eq!(other.sign_in(&fixture, &credentials(&text)).await.error_code, "AADSTS165000");
    }
    // A second page in the same browser leaves the first one good.
    browser.authorize(&fixture, &parameters());
    let mut own = Browser { fetch_site: Some("same-origin"), ..browser.clone() };
    location(&own.sign_in(&fixture, &credentials(&text)).await);
    fixture.clock.advance(900);
    assert_eq!(browser.clone().sign_in(&fixture, &credentials(&text)).await.error_code, "AADSTS165000");
    fixture.clock.advance(-1000);
    assert_eq!(browser.sign_in(&fixture, &credentials(&text)).await.error_code, "AADSTS165000", "a clock set back");
}

#[tokio::test]
async fn a_code_is_good_once_for_its_client_address_and_verifier() {
    let mut fixture = Fixture::with(people());
    let other_client = Uuid::from_u128(0x1950_a258_227b_4e31_a9cf_7174_9594_5fc2).to_string();
    let long = "x".repeat(129);
    for (name, value, number) in [
        ("code", "AAAA", 70_000),
        ("client_id", &*other_client, 700_016),
        ("redirect_uri", "http://localhost:8401", 70_000),
        ("redirect_uri", "http://localhost:8400/", 70_000),
        ("code_verifier", "dBjftJeZ4CVP-mBz92K27uhbUJU1p1r_wW1gFWFOEjXK", 50_148),
        ("code_verifier", &challenge(VERIFIER), 50_148),
        ("code_verifier", "short", 50_148),
        ("code_verifier", &long, 50_148),
        ("code_verifier", "", 900_144),
        ("scope", "https://vault.localhost:8443/.default", 70_000),
    ] {
        let code = Browser::default().code(&fixture, &parameters()).await;
        let mut fields = redemption(&code);
        fields.retain(|(n, _)| n != name);
        fields.push((name.to_owned(), value.to_owned()));
        assert_eq!(refusal(&redeem(&fixture, &fields).await).2, number, "{name} {value}");
        if [70_000, 50_148].contains(&number) && name != "code" {
            let again = redeem(&fixture, &redemption(&code)).await;
            assert_eq!(refusal(&again).2, 70_000, "{name} {value}: it was used up by the wrong redemption");
        }
    }
    let code = Browser::default().code(&fixture, &parameters()).await;
    access_token(&redeem(&fixture, &redemption(&code)).await);
    assert_eq!(refusal(&redeem(&fixture, &redemption(&code)).await).2, 70_000, "replayed");

    let code = Browser::default().code(&fixture, &parameters()).await;
    fixture.clock.advance(120);
    assert_eq!(refusal(&redeem(&fixture, &redemption(&code)).await).2, 70_000, "expired");

    let code = Browser::default().code(&fixture, &parameters()).await;
    fixture.change(|file| file.users[0].enabled = false);
    assert_eq!(refusal(&redeem(&fixture, &redemption(&code)).await).2, 50_173, "disabled since");
    fixture.change(|file| file.users[0].enabled = true);
    let code = Browser::default().code(&fixture, &parameters()).await;
    let other = PASSWORD_HASH.replacen("600000", "600001", 1);
    fixture.change(|file| file.users[0].password = Some(other));
    assert_eq!(refusal(&redeem(&fixture, &redemption(&code)).await).2, 50_173, "the password changed since");
}

#[tokio::test]
async fn another_client_uses_up_a_code_and_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("directory.toml");
    people().save(&path).unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp(NOW)));
    let settings = serde_json::json!({ "tenant_id": TENANT, "directory": path });
    let identity = Identity::start(IdentityParts {
        settings: serde_json::from_value(settings).unwrap(),
        endpoints: Endpoints::new("localhost", 8443),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        signer: signer(&ISSUER_KEY),
    })
    .unwrap();
    let fixture = Fixture { folder, file: people(), clock, identity };
    let code = Browser::default().code(&fixture, &parameters()).await;
    let mut fields = redemption(&code);
    fields[1].1 = "1950a258-227b-4e31-a9cf-71749594 5fc2".replace(' ', "");
    assert_eq!(refusal(&redeem(&fixture, &fields).await).2, 70_000);
    assert_eq!(refusal(&redeem(&fixture, &redemption(&code)).await).2, 70_000);
}

#[tokio::test]
async fn of_many_at_once_with_one_code_exactly_one_gets_tokens() {
    let fixture = Fixture::with(people());
    const MANY: usize = 16;
    for _ in 0..4 {
        let code = Browser::default().code(&fixture, &parameters()).await;
        let barrier = Barrier::new(MANY);
        let won = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..MANY)
                .map(|_| {
                    scope.spawn(|| {
                        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                        barrier.wait();
                        runtime.block_on(redeem(&fixture, &redemption(&code))).status == 200
                    })
                })
                .collect();
            tries.into_iter().map(|t| t.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(won, 1);
    }
}

/// Codes and pages are in memory: a restart in the middle makes them worthless, never good twice.
#[tokio::test]
async fn a_restart_in_the_middle_means_starting_again() {
    let mut fixture = Fixture::with(people());
    let mut browser = Browser::default();
    let text = ticket(&browser.authorize(&fixture, &parameters()));
    let code = browser.code(&fixture, &parameters()).await;
    let clock = Arc::clone(&fixture.clock) as Arc<dyn Clock>;
    fixture.identity = start(fixture.path(), clock, Vec::new()).unwrap();
    assert_eq!(refusal(&redeem(&fixture, &redemption(&code)).await).2, 70_000);
    assert_eq!(browser.sign_in(&fixture, &credentials(&text)).await.error_code, "AADSTS165000");
    let code = browser.code(&fixture, &parameters()).await;
    access_token(&redeem(&fixture, &redemption(&code)).await);
}
