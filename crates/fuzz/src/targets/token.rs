//! Bearer tokens: without a signature nothing passes, and with one only what is pinned does.

use super::identity::{AUDIENCE, CLIENT, LOGIN, NOW, OBJECT, TENANT, read, with};
use crate::house::{first, parts};

/// `0 ‖ header ‖ 0 ‖ claims`, which get a good signature; or any other byte and the token as it is sent.
pub(crate) fn run(data: &[u8]) {
    let (mode, rest) = first(data);
    with(|issuer| {
        if mode != 0 {
            let text = String::from_utf8_lossy(rest);
            assert!(issuer.identity.validate(&text, AUDIENCE).is_err(), "a forged token");
            return;
        }
        let [header, claims] = parts(rest);
        let token = issuer.signed(header, claims);
        let Ok(principal) = issuer.identity.validate(&token, AUDIENCE) else { return };
        let claims = read(claims);
        assert_eq!(claims["iss"], format!("{LOGIN}/{TENANT}/v2.0"));
        assert!(claims["tid"].as_str().is_some_and(|t| t.eq_ignore_ascii_case(TENANT)));
        assert!(claims["oid"].as_str().is_some_and(|t| t.eq_ignore_ascii_case(OBJECT)));
        assert!(claims["aud"].as_str().is_some_and(|t| t.trim_end_matches('/') == AUDIENCE));
        assert!(claims["exp"].as_i64().is_some_and(|exp| exp.saturating_add(60) > NOW));
        assert!(claims["nbf"].as_i64().is_none_or(|nbf| nbf <= NOW + 60));
        assert_eq!(principal.object_id.to_string(), OBJECT);
        assert!(principal.groups.is_empty(), "no group has this member");
        assert!(issuer.identity.validate(&token, "https://vault.localhost:8443").is_err(), "another audience");
    });
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let header = r#"{"alg":"RS256","typ":"JWT","kid":"KID"}"#;
    let (iss, exp) = (format!("{LOGIN}/{TENANT}/v2.0"), NOW + 3600);
    let claims = [
        format!(r#"{{"iss":"{iss}","aud":"{AUDIENCE}","tid":"{TENANT}","oid":"{OBJECT}","appid":"{CLIENT}","#),
        format!(r#""idtyp":"app","iat":{NOW},"nbf":{NOW},"exp":{exp},"groups":["{OBJECT}"]}}"#),
    ]
    .concat();
    let seed = |header: &str, claims: &str| [b"\0", header.as_bytes(), b"\0", claims.as_bytes()].concat();
    let good = seed(header, &claims);
    let [good_header, good_claims] = parts(&good[1..]);
    let taken = with(|issuer| issuer.identity.validate(&issuer.signed(good_header, good_claims), AUDIENCE).is_ok());
    assert!(taken, "the first seed is a good token");
    vec![
        good,
        seed(r#"{"alg":"none","typ":"JWT","kid":"KID"}"#, &claims),
        seed(r#"{"alg":"HS256","typ":"at+jwt","kid":"KID","crit":["exp"]}"#, &claims),
        seed(header, &claims.replace("\"exp\":", "\"exp\":1,\"ex\":")),
        b"\x01eyJhbGciOiJub25lIn0.e30.".to_vec(),
        b"\x01eyJhbGciOiJSUzI1NiJ9.eyJhIjoxfQ.AAAA".to_vec(),
    ]
}
