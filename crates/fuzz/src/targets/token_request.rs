//! Token requests: whatever is in the form and the headers, a token is given for the right secret only.

use super::identity::{AUDIENCE, CLIENT, SECRET, TENANT, with};
use crate::house::parts;

/// `tenant ‖ 0 ‖ Authorization ‖ 0 ‖ Content-Type ‖ 0 ‖ body`
pub(crate) fn run(data: &[u8]) {
    let [tenant, authorization, content_type, body] = parts(data);
    let password = form_urlencoded::parse(body).any(|(n, v)| n == "grant_type" && v == "password");
    if password {
        // Hashing takes a good part of a second, by intention.
        return;
    }
    let [tenant, authorization, content_type] =
        [tenant, authorization, content_type].map(|bytes| std::str::from_utf8(bytes).unwrap_or_default());
    let given = |text| Some(text).filter(|text: &&str| !text.is_empty());
    let answer = with(|issuer| issuer.ask(tenant, given(authorization), given(content_type), body));
    if answer.status == 200 {
        let secret = form_urlencoded::parse(body).any(|(n, v)| n == "client_secret" && v == SECRET);
        assert!(secret || !authorization.is_empty(), "a token for nothing");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let scope = format!("{AUDIENCE}/.default");
    let fields =
        |fields: &[(&str, &str)]| form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let client = [("grant_type", "client_credentials"), ("client_id", CLIENT), ("scope", &scope)];
    let with_secret = fields(&[&client[..], &[("client_secret", SECRET)]].concat());
    let claims = r#"{"access_token":{"xms_cc":{"values":["CP1"]}}}"#;
    let more = fields(&[&client[..], &[("client_secret", SECRET), ("claims", claims), ("client_info", "1")]].concat());
    let form = "application/x-www-form-urlencoded";
    // client:secret in base64.
    let basic = "Basic MjAwMDAwMDAtMDAwMC00MDAwLTgwMDAtMDAwMDAwMDAwMDAyOmZ1enotY2xpZW50LXNlY3JldA==";
    let refresh = fields(&[("grant_type", "refresh_token"), ("refresh_token", "a.b.c"), ("client_id", CLIENT)]);
    let seeds: Vec<Vec<u8>> = [
        (TENANT, "", form, with_secret.as_str()),
        ("adfs", "", form, &more),
        ("common", basic, form, &fields(&client)),
        ("organizations", "", "application/x-www-form-urlencoded; charset=utf-8", &refresh),
        ("adfs", "", "application/json", r#"{"grant_type":"client_credentials"}"#),
    ]
    .iter()
    .map(|(tenant, authorization, kind, body)| [*tenant, *authorization, *kind, *body].join("\0").into_bytes())
    .collect();
    let taken = |seed: &[u8]| {
        let [tenant, basic, kind, body] = parts(seed).map(|p| std::str::from_utf8(p).unwrap_or_default());
        with(|i| i.ask(tenant, Some(basic).filter(|b| !b.is_empty()), Some(kind), body.as_bytes()).status == 200)
    };
    assert!(seeds.iter().take(3).all(|seed| taken(seed)), "the first seeds are good requests");
    seeds
}
