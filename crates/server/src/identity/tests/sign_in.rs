//! People sign in: by authorization code with PKCE, and by device code; and everything that others may try meanwhile.

mod device;
mod hostile;

use super::*;

const REDIRECT: &str = "http://localhost:8400";
const VERIFIER: &str = "dBjftJeZ4CVP-mBz92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// SHA-256 of it in base64url, made anew where it is used.
fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

fn people() -> DirectoryFile {
    let mut file = directory();
    file.users[0].password = Some(PASSWORD_HASH.clone());
    file
}

fn parameters() -> Vec<(String, String)> {
    let all = [
        ("client_id", AZ_CLI),
        ("response_type", "code"),
        ("redirect_uri", REDIRECT),
        ("scope", "https://managedhsm.localhost:8443/.default offline_access openid profile"),
        ("state", "state-1"),
        ("nonce", "nonce-1"),
        ("code_challenge", &challenge(VERIFIER)),
        ("code_challenge_method", "S256"),
        ("client_info", "1"),
        ("prompt", "select_account"),
    ];
    all.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec()
}

fn with(name: &str, value: &str) -> Vec<(String, String)> {
    let mut all = parameters();
    all.retain(|(n, _)| n != name);
    all.push((name.to_owned(), value.to_owned()));
    all
}

fn without(name: &str) -> Vec<(String, String)> {
    parameters().into_iter().filter(|(n, _)| n != name).collect()
}

/// A browser: it keeps the cookie and fills forms in.
#[derive(Default, Clone)]
struct Browser {
    cookie: Option<String>,
    fetch_site: Option<&'static str>,
}

impl Browser {
    fn request<'a>(&'a self, query: &'a [(String, String)], body: &'a [u8]) -> PageRequest<'a> {
        PageRequest {
            tenant: Some("organizations"),
            query,
            content_type: Some("application/x-www-form-urlencoded"),
            cookies: self.cookie.as_deref(),
            fetch_site: self.fetch_site,
            body,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            correlation_id: Uuid::nil(),
        }
    }

    fn keep(&mut self, answer: &IdentityAnswer) {
        if let Some(cookie) = answer.page.as_ref().and_then(|p| p.cookie.as_deref()) {
            assert!(cookie.starts_with("__Host-") && cookie.ends_with("; Secure; HttpOnly; SameSite=Lax"), "{cookie}");
            self.cookie = Some(format!("other=1; {}", cookie.split(';').next().unwrap()));
        }
    }

    fn authorize(&mut self, fixture: &Fixture, query: &[(String, String)]) -> IdentityAnswer {
        let answer = fixture.identity.authorize(&self.request(query, b""));
        self.keep(&answer);
        answer
    }

    async fn sign_in(&mut self, fixture: &Fixture, fields: &[(&str, &str)]) -> IdentityAnswer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let answer = fixture.identity.sign_in(&self.request(&[], body.as_bytes())).await;
        self.keep(&answer);
        answer
    }

    /// From the page to a code, with the right password.
    async fn code(&mut self, fixture: &Fixture, query: &[(String, String)]) -> String {
        let page = self.authorize(fixture, query);
        let answer = self.sign_in(fixture, &credentials(&ticket(&page))).await;
        parameter(&location(&answer), "code").unwrap()
    }
}

fn credentials(ticket: &str) -> [(&str, &str); 4] {
    [("ticket", ticket), ("username", "ada@example.org"), ("password", PASSWORD), ("action", "go")]
}

fn html(answer: &IdentityAnswer) -> &str {
    let page = answer.page.as_ref().unwrap();
    for rule in ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"] {
        assert!(page.policy.contains(rule), "{}", page.policy);
    }
    assert!(!page.policy.contains("script") && !page.policy.contains("unsafe"), "{}", page.policy);
    std::str::from_utf8(&answer.body).unwrap()
}

/// A hidden field of a page.
fn hidden(answer: &IdentityAnswer, name: &str) -> Option<String> {
    let rest = html(answer).split_once(&format!("name=\"{name}\" value=\""))?.1;
    Some(rest.split_once('"')?.0.to_owned())
}

fn ticket(answer: &IdentityAnswer) -> String {
    assert_eq!(answer.status, 200, "{}", html(answer));
    hidden(answer, "ticket").unwrap()
}

fn location(answer: &IdentityAnswer) -> String {
    assert_eq!(answer.status, 303, "{}", html(answer));
    answer.page.as_ref().unwrap().location.clone().unwrap()
}

fn parameter(address: &str, name: &str) -> Option<String> {
    let query = address.split_once(['?', '#'])?.1;
    form_urlencoded::parse(query.as_bytes()).find(|(n, _)| n == name).map(|(_, v)| v.into_owned())
}

fn redemption(code: &str) -> Vec<(String, String)> {
    let all = [
        ("grant_type", "authorization_code"),
        ("client_id", AZ_CLI),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
        ("scope", "https://managedhsm.localhost:8443/.default offline_access openid profile"),
        ("client_info", "1"),
    ];
    all.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec()
}

async fn redeem(fixture: &Fixture, fields: &[(String, String)]) -> IdentityAnswer {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    fixture.post_to("organizations", &fields, None).await
}

#[tokio::test]
async fn a_person_signs_in_and_the_program_gets_tokens() {
    let fixture = Fixture::with(people());
    let mut browser = Browser::default();
    let page = browser.authorize(&fixture, &with("login_hint", "ada@example.org"));
    assert!(html(&page).contains("Azure CLI (04b07795-8ddb-461a-bbee-02f9e1bf7b46)"));
    assert!(html(&page).contains("value=\"ada@example.org\""));
    assert!(page.page.as_ref().unwrap().policy.contains("form-action 'self' http://localhost:8400;"));
    let answer = browser.sign_in(&fixture, &credentials(&ticket(&page))).await;
    assert_eq!(answer.principal.as_ref().map(|p| p.object_id), Some(USER), "who signed in is recorded");
    let location = location(&answer);
    assert!(location.starts_with("http://localhost:8400/?code="), "{location}");
    assert_eq!(parameter(&location, "state").as_deref(), Some("state-1"));
    assert_eq!(parameter(&location, "iss").as_deref(), Some(fixture.identity.issuer()));

    let answer = redeem(&fixture, &redemption(&parameter(&location, "code").unwrap())).await;
    let principal = fixture.validate(&access_token(&answer)).unwrap();
    assert_eq!((principal.object_id, principal.user_name.as_deref()), (USER, Some("Ada@example.org")));
    assert_eq!(principal.app_id.as_deref(), Some(AZ_CLI));
    let body = json(&answer);
    let id = claims_of(body["id_token"].as_str().unwrap());
    assert_eq!((&id["aud"], &id["nonce"], &id["tid"]), (&AZ_CLI.into(), &"nonce-1".into(), &TENANT.to_string().into()));
    assert_eq!(id["preferred_username"], "Ada@example.org");
    assert!(body["client_info"].is_string());
    // For another service at the tenant's own address, as the az CLI does next.
    let refresh = body["refresh_token"].as_str().unwrap();
    let scope = "https://management.localhost:8443//.default offline_access openid profile";
    let fields = [("grant_type", "refresh_token"), ("client_id", AZ_CLI), ("refresh_token", refresh), ("scope", scope)];
    let again = fixture.post_to(&TENANT.to_string(), &fields, None).await;
    fixture.identity.validate(&access_token(&again), "https://management.localhost:8443").unwrap();
}

#[tokio::test]
async fn an_answer_goes_back_in_the_way_that_was_asked_for() {
    let fixture = Fixture::with(people());
    let mut browser = Browser::default();
    let page = browser.authorize(&fixture, &with("response_mode", "form_post"));
    let answer = browser.sign_in(&fixture, &credentials(&ticket(&page))).await;
    assert_eq!(answer.status, 200);
    assert!(html(&answer).contains("<form method=\"post\" action=\"http://localhost:8400\">"));
    assert!(answer.page.as_ref().unwrap().location.is_none());
    assert_eq!(hidden(&answer, "state").as_deref(), Some("state-1"));
    access_token(&redeem(&fixture, &redemption(&hidden(&answer, "code").unwrap())).await);

    let page = browser.authorize(&fixture, &with("response_mode", "fragment"));
    let answer = browser.sign_in(&fixture, &credentials(&ticket(&page))).await;
    assert!(location(&answer).starts_with("http://localhost:8400/#code="));
    // Without a scope, the one that was signed in for; with the path that was registered.
    let mut query = with("redirect_uri", "http://127.0.0.1:99/back");
    query.retain(|(n, _)| n != "state");
    let page = browser.authorize(&fixture, &query);
    let answer = browser.sign_in(&fixture, &credentials(&ticket(&page))).await;
    let location = location(&answer);
    assert!(location.starts_with("http://127.0.0.1:99/back?code=") && parameter(&location, "state").is_none());
    let mut fields = redemption(&parameter(&location, "code").unwrap());
    fields.retain(|(n, _)| n != "scope" && n != "redirect_uri");
    fields.push(("redirect_uri".to_owned(), "http://127.0.0.1:99/back".to_owned()));
    let answer = redeem(&fixture, &fields).await;
    fixture.validate(&access_token(&answer)).unwrap();
    assert!(json(&answer)["refresh_token"].is_string());
}

#[tokio::test]
async fn a_wrong_password_shows_the_page_again_and_cancelling_goes_back() {
    let mut fixture = Fixture::with(people());
    let mut browser = Browser::default();
    let page = browser.authorize(&fixture, &parameters());
    let text = ticket(&page);
    let mut wrong = credentials(&text);
    wrong[2].1 = "wrong";
    let again = browser.sign_in(&fixture, &wrong).await;
    assert_eq!((again.status, again.error_code.as_str()), (400, "AADSTS50126"));
    assert!(again.principal.is_none() && html(&again).contains("Invalid username or password."));
    assert!(!html(&again).contains("value=\"wrong\"") && html(&again).contains("value=\"ada@example.org\""));
    let text = hidden(&again, "ticket").unwrap();
    fixture.change(|file| file.users[0].enabled = false);
    let disabled = browser.sign_in(&fixture, &credentials(&text)).await;
    assert_eq!(disabled.error_code, "AADSTS50057");
    fixture.change(|file| file.users[0].enabled = true);
    for _ in 0..10 {
        let key = (super::super::directory::sha256_of(b"ada@example.org"), Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        fixture.identity.user_attempts().failed(key, Timestamp(NOW));
    }
    let slowed = browser.sign_in(&fixture, &credentials(&text)).await;
    assert_eq!(slowed.status, 429, "the limit is the one of the password grant");
    let cancelled = browser.sign_in(&fixture, &[("ticket", &text), ("action", "cancel")]).await;
    let location = location(&cancelled);
    assert_eq!(parameter(&location, "error").as_deref(), Some("access_denied"));
    assert_eq!(parameter(&location, "state").as_deref(), Some("state-1"));
}
