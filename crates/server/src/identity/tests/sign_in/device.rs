//! Device codes (RFC 8628).

use super::*;
use std::sync::Barrier;

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

fn ask(fixture: &Fixture, fields: &[(&str, &str)]) -> IdentityAnswer {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    fixture.identity.device_code(&Browser::default().request(&[], body.as_bytes()))
}

/// Device code and user code.
fn codes(fixture: &Fixture) -> (String, String) {
    let answer = ask(
        fixture,
        &[("client_id", AZ_CLI), ("scope", "https://managedhsm.localhost:8443/.default offline_access openid profile")],
    );
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let body = json(&answer);
    assert_eq!((&body["expires_in"], &body["interval"]), (&900.into(), &5.into()));
    assert_eq!(body["verification_uri"], format!("{LOGIN}/device"));
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    assert!(text("message").contains(&text("user_code")));
    (text("device_code"), text("user_code"))
}

async fn poll_as(fixture: &Fixture, device_code: &str, client_id: &str) -> IdentityAnswer {
    let fields =
        [("grant_type", DEVICE_CODE), ("client_id", client_id), ("device_code", device_code), ("client_info", "1")];
    fixture.post_to("organizations", &fields, None).await
}

async fn poll(fixture: &Fixture, device_code: &str) -> IdentityAnswer {
    poll_as(fixture, device_code, AZ_CLI).await
}

async fn error(fixture: &Fixture, device_code: &str) -> String {
    refusal(&poll(fixture, device_code).await).1
}

impl Browser {
    /// Types a user code.
    fn enter(&mut self, fixture: &Fixture, user_code: &str) -> IdentityAnswer {
        let page = fixture.identity.device_page(&self.request(&[], b""));
        self.keep(&page);
        let text = ticket(&page);
        let fields = [("ticket", text.as_str()), ("user_code", user_code)];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let answer = fixture.identity.enter_user_code(&self.request(&[], body.as_bytes()));
        self.keep(&answer);
        answer
    }

    async fn approve(&mut self, fixture: &Fixture, user_code: &str) -> IdentityAnswer {
        let text = ticket(&self.enter(fixture, user_code));
        self.sign_in(fixture, &credentials(&text)).await
    }
}

#[tokio::test]
async fn a_person_signs_another_device_in() {
    let fixture = Fixture::with(people());
    let (device_code, user_code) = codes(&fixture);
    assert_eq!(error(&fixture, &device_code).await, "authorization_pending");
    let mut browser = Browser::default();
    let typed = format!(" {}-{} ", user_code[..4].to_lowercase(), &user_code[4..]);
    let page = browser.enter(&fixture, &typed);
    for told in ["Azure CLI", "Another device", "127.0.0.1"] {
        assert!(html(&page).contains(told), "{told}");
    }
    let done = browser.sign_in(&fixture, &credentials(&ticket(&page))).await;
    assert_eq!((done.status, done.principal.as_ref().map(|p| p.object_id)), (200, Some(USER)));
    fixture.clock.advance(5);
    let answer = poll(&fixture, &device_code).await;
    assert_eq!(fixture.validate(&access_token(&answer)).unwrap().object_id, USER);
    let body = json(&answer);
    assert!(body["refresh_token"].is_string() && body["id_token"].is_string() && body["client_info"].is_string());
    assert_eq!(error(&fixture, &device_code).await, "bad_verification_code", "it is good once");
}

#[tokio::test]
async fn a_device_that_asks_too_often_waits_longer_and_codes_expire() {
    let fixture = Fixture::with(people());
    let (device_code, user_code) = codes(&fixture);
    assert_eq!(error(&fixture, &device_code).await, "authorization_pending");
    assert_eq!(error(&fixture, &device_code).await, "slow_down");
    fixture.clock.advance(5);
    assert_eq!(error(&fixture, &device_code).await, "slow_down", "ten seconds now");
    fixture.clock.advance(15);
    assert_eq!(error(&fixture, &device_code).await, "authorization_pending");
    fixture.clock.advance(900);
    assert_eq!(error(&fixture, &device_code).await, "expired_token");
    assert_eq!(Browser::default().enter(&fixture, &user_code).error_code, "AADSTS70018");
    // An approval that comes too late approves nothing.
    let (device_code, user_code) = codes(&fixture);
    let mut browser = Browser::default();
    let text = ticket(&browser.enter(&fixture, &user_code));
    fixture.clock.advance(899);
    let late = browser.clone();
    fixture.clock.advance(1);
    assert_eq!(late.clone().sign_in(&fixture, &credentials(&text)).await.error_code, "AADSTS165000");
    assert_eq!(error(&fixture, &device_code).await, "expired_token");
}

#[tokio::test]
async fn a_code_is_its_clients_and_the_first_word_counts() {
    let mut fixture = Fixture::with(people());
    let (device_code, user_code) = codes(&fixture);
    let other = poll_as(&fixture, &device_code, "1950a258-227b-4e31-a9cf-717495945fc2").await;
    assert_eq!(refusal(&other).1, "invalid_client");
    assert_eq!(error(&fixture, "AAAA").await, "bad_verification_code");
    let (mut one, mut two) = (Browser::default(), Browser::default());
    let (first, second) = (ticket(&one.enter(&fixture, &user_code)), ticket(&two.enter(&fixture, &user_code)));
    one.sign_in(&fixture, &[("ticket", &first), ("action", "cancel")]).await;
    assert_eq!(two.sign_in(&fixture, &credentials(&second)).await.error_code, "AADSTS165000");
    assert_eq!(error(&fixture, &device_code).await, "authorization_declined");
    assert_eq!(error(&fixture, &device_code).await, "bad_verification_code");

    let (device_code, user_code) = codes(&fixture);
    one.approve(&fixture, &user_code).await;
    fixture.change(|file| file.users[0].enabled = false);
    assert_eq!(refusal(&poll(&fixture, &device_code).await).2, 50_173, "disabled since");

    for (fields, number) in [
        (vec![("scope", "https://managedhsm.localhost:8443/.default")], 900_144),
        (vec![("client_id", "10000000-0000-4000-8000-000000000009")], 700_016),
        (vec![("client_id", AZ_CLI)], 900_144),
        (vec![("client_id", AZ_CLI), ("scope", "https://vault.azure.net/.default")], 500_011),
        (vec![("client_id", AZ_CLI), ("client_id", AZ_CLI)], 90_100),
    ] {
        assert_eq!(refusal(&ask(&fixture, &fields)).2, number, "{fields:?}");
    }
    let empty = fixture.post(&[("grant_type", DEVICE_CODE), ("client_id", AZ_CLI)]).await;
    assert_eq!(refusal(&empty).2, 900_144);
}

#[tokio::test]
async fn of_many_polls_at_once_exactly_one_gets_the_tokens() {
    let fixture = Fixture::with(people());
    const MANY: usize = 16;
    let (device_code, user_code) = codes(&fixture);
    assert_eq!(Browser::default().approve(&fixture, &user_code).await.status, 200);
    let barrier = Barrier::new(MANY);
    let won = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..MANY)
            .map(|_| {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    barrier.wait();
                    runtime.block_on(poll(&fixture, &device_code)).status == 200
                })
            })
            .collect();
        tries.into_iter().map(|t| t.join().unwrap()).filter(|won| *won).count()
    });
    assert_eq!(won, 1);
}

#[tokio::test]
async fn user_codes_are_hard_to_guess_and_few_guesses_are_free() {
    let fixture = Fixture::with(people());
    let mut seen = std::collections::HashSet::new();
    let mut letters = std::collections::HashSet::new();
    let mut known = String::new();
    for _ in 0..64 {
        let (device_code, user_code) = codes(&fixture);
        assert!(user_code.len() == 9 && user_code.bytes().all(|b| b"BCDFGHJKLMNPQRSTVWXZ".contains(&b)), "{user_code}");
        letters.extend(user_code.bytes());
        assert!(URL_SAFE_NO_PAD.decode(&device_code).unwrap().len() == 32 && seen.insert(device_code));
        assert!(seen.insert(user_code.clone()));
        known = user_code;
    }
    assert_eq!(letters.len(), 20);
    let scope = [("client_id", AZ_CLI), ("scope", "https://managedhsm.localhost:8443/.default")];
    assert_eq!(ask(&fixture, &scope).status, 429, "one peer has at most 64 at a time");
    let mut browser = Browser::default();
    for _ in 0..10 {
        let wrong = browser.enter(&fixture, "BBBBBBBBB");
        assert_eq!((wrong.status, wrong.error_code.as_str()), (400, "AADSTS70018"));
    }
    assert_eq!(browser.enter(&fixture, &known).status, 429, "even the right one waits");
    fixture.clock.advance(60);
    ticket(&browser.enter(&fixture, &known));
}
