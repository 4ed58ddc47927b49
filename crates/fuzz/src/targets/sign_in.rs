//! Pages of the sign-in: whatever is sent, nobody is signed in by it, no page holds a script, and no answer leaves this machine.

use super::identity::{AUDIENCE, PUBLIC_CLIENT, TENANT, with};
use crate::house::parts;
use std::net::{IpAddr, Ipv4Addr};
use strongroom_server::identity::{IdentityAnswer, PageRequest};
use uuid::Uuid;

/// Where answers may go.
const LOOPBACK: [&str; 3] = ["http://localhost", "http://127.0.0.1", "http://[::1]"];

/// `tenant ‖ 0 ‖ Cookie ‖ 0 ‖ query ‖ 0 ‖ body`
pub(crate) fn run(data: &[u8]) {
    let [tenant, cookies, query, body] = parts(data);
    let [tenant, cookies] = [tenant, cookies].map(|bytes| std::str::from_utf8(bytes).unwrap_or_default());
    let query: Vec<(String, String)> = form_urlencoded::parse(query).into_owned().collect();
    let request = PageRequest {
        tenant: Some(tenant),
        query: &query,
        content_type: Some("application/x-www-form-urlencoded"),
        cookies: Some(cookies),
        fetch_site: None,
        body,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        correlation_id: Uuid::nil(),
    };
    with(|issuer| {
        let identity = &issuer.identity;
        let signed_in = issuer.runtime.block_on(identity.sign_in(&request));
        let pages = [identity.authorize(&request), identity.device_page(&request), identity.enter_user_code(&request)];
        assert_eq!((signed_in.status, signed_in.error_code.is_empty()), (400, false), "a forged page");
        pages.iter().chain([&signed_in]).for_each(check);
        let asked = identity.device_code(&request);
        assert!(asked.principal.is_none() && [200, 400, 401, 429].contains(&asked.status), "{}", asked.status);
    });
}

fn check(answer: &IdentityAnswer) {
    assert!(answer.principal.is_none() && [200, 303, 400, 401, 429].contains(&answer.status), "{}", answer.status);
    let page = answer.page.as_ref().unwrap();
    assert_eq!(page.location.is_some(), answer.status == 303);
    if let Some(location) = &page.location {
        let rest = LOOPBACK.iter().find_map(|host| location.strip_prefix(host)).unwrap();
        assert!(rest.starts_with([':', '/', '?', '#']) && !rest.contains('@') && location.is_ascii(), "{location}");
    }
    let source = page.policy.split_once("form-action 'self'").unwrap().1.split_once(';').unwrap().0.trim();
    let known = source.is_empty() || source == "http:" || LOOPBACK.iter().any(|host| source.starts_with(host));
    assert!(known && !source.contains([' ', ',', '\'']), "{source}");
    let html = std::str::from_utf8(&answer.body).unwrap().to_ascii_lowercase();
    for bad in ["<script", "<iframe", "<img", "javascript:", "<svg"] {
        let shown = html.matches(bad).count();
        // As a text it may be there: then its first letter was made harmless, or it is a value between quotes.
        assert!(shown == 0 || bad == "javascript:", "{bad}");
    }
    assert_eq!(html.matches("<form").count(), html.matches("</form>").count());
    assert_eq!(html.matches('<').count(), html.matches('>').count());
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let scope = format!("{AUDIENCE}/.default offline_access openid");
    let fields =
        |fields: &[(&str, &str)]| form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let usual = |mode: &str, uri: &str| {
        fields(&[
            ("client_id", PUBLIC_CLIENT),
            ("response_type", "code"),
            ("redirect_uri", uri),
            ("response_mode", mode),
            ("scope", &scope),
            ("state", "\"><script>alert(1)</script>"),
            ("login_hint", "'><img src=x>"),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256"),
        ])
    };
    let cookie = format!("__Host-strongroom-sign-in={}", "A".repeat(43));
    let device = fields(&[("client_id", PUBLIC_CLIENT), ("scope", &scope)]);
    let page = fields(&[("ticket", "e30.AAAA"), ("username", "ada"), ("password", "x"), ("action", "go")]);
    let seeds: Vec<Vec<u8>> = [
        (TENANT, "", usual("query", "http://localhost:8400"), device.clone()),
        ("common", &*cookie, usual("form_post", "http://127.0.0.1:1/back"), page),
        ("adfs", "a=b", usual("fragment", "http://[::1]:1/"), fields(&[("ticket", ""), ("user_code", "BCDF-GHJKL")])),
        ("organizations", "", usual("query", "https://evil.example/"), String::new()),
        ("organizations", "", usual("other", "http://localhost"), String::new()),
    ]
    .iter()
    .map(|(tenant, cookie, query, body)| [*tenant, *cookie, query, body].join("\0").into_bytes())
    .collect();
    seeds.iter().for_each(|seed| run(seed));
    seeds
}
