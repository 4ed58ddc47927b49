//! Tokens that somebody made up (threats A10, A11, A24): each is refused, for the reason that the row names.

use super::Unauthenticated::{self, Audience, Disabled, Expired, Issuer, Malformed, NotYetValid, Signature, Tenant};
use super::*;
use aws_lc_rs::hmac;
use strongroom_model::limits::TOKEN_MAX;

/// Header and claims as raw JSON members, so that a case can hold what no serialiser writes.
#[derive(Clone)]
struct Draft {
    header: Vec<(&'static str, String)>,
    claims: Vec<(&'static str, String)>,
}

impl Draft {
    fn new() -> Self {
        let text = |s: &str| format!("{s:?}");
        Self {
            header: vec![("typ", text("JWT")), ("alg", text("RS256")), ("kid", text(&kid(&ISSUER_KEY)))],
            claims: vec![
                ("aud", text(HSM)),
                ("iss", text(&format!("{LOGIN}/{TENANT}/v2.0"))),
                ("iat", NOW.to_string()),
                ("nbf", NOW.to_string()),
                ("exp", (NOW + 3600).to_string()),
                ("tid", text(&TENANT.to_string())),
                ("oid", text(&APP.to_string())),
                ("sub", text(&APP.to_string())),
                ("appid", text(&APP_CLIENT.to_string())),
                ("idtyp", text("app")),
                ("groups", format!("[\"{GROUP}\"]")),
            ],
        }
    }

    fn header(mut self, name: &'static str, raw: impl Into<String>) -> Self {
        self.header.retain(|(n, _)| *n != name);
        self.header.push((name, raw.into()));
        self
    }

    fn claim(mut self, name: &'static str, raw: impl Into<String>) -> Self {
        self.claims.retain(|(n, _)| *n != name);
        self.claims.push((name, raw.into()));
        self
    }

    fn twice(mut self, name: &'static str, raw: impl Into<String>) -> Self {
        self.claims.push((name, raw.into()));
        self
    }

    fn without(mut self, name: &'static str) -> Self {
        self.header.retain(|(n, _)| *n != name);
        self.claims.retain(|(n, _)| *n != name);
        self
    }

    fn signed(&self) -> String {
        self.signed_by(&ISSUER_KEY)
    }

    fn signed_by(&self, key: &KeyPair) -> String {
        sign_jwt(&object(&self.header), &object(&self.claims), key, &RSA_PKCS1_SHA256)
    }

    fn input(&self) -> String {
        format!("{}.{}", URL_SAFE_NO_PAD.encode(object(&self.header)), URL_SAFE_NO_PAD.encode(object(&self.claims)))
    }
}

fn object(members: &[(&'static str, String)]) -> String {
    let members: Vec<String> = members.iter().map(|(name, raw)| format!("{name:?}:{raw}")).collect();
    format!("{{{}}}", members.join(","))
}

type Row = (&'static str, String, Unauthenticated);

fn algorithms_and_keys() -> Vec<Row> {
    let base = Draft::new;
    let none = |alg: &str| format!("{}.", base().header("alg", format!("{alg:?}")).input());
    let hmac_with = |secret: &[u8]| {
        let input = base().header("alg", "\"HS256\"").input();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let PublicKey::Rsa { n, .. } = public_key(&ISSUER_KEY) else { panic!("an RSA key") };
    let spki = {
        use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
        AsDer::<PublicKeyX509Der<'_>>::as_der(ISSUER_KEY.public_key()).unwrap().as_ref().to_vec()
    };
    let pem = {
        let text = base64::engine::general_purpose::STANDARD.encode(&spki);
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    };
    let pss = sign_jwt(
        &object(&base().header("alg", "\"PS256\"").header),
        &object(&base().claims),
        &ISSUER_KEY,
        &RSA_PSS_SHA256,
    );
    let own_jwk = jwks(&OTHER_KEY, "x").replace(r#"{"keys":["#, "").replace("]}", "");
    let unsigned = base().input();
    vec![
        ("alg none", none("none"), Malformed),
        ("alg None", none("None"), Malformed),
        ("alg NONE", none("NONE"), Malformed),
        ("alg empty", none(""), Malformed),
        ("alg none with a good signature", base().header("alg", "\"none\"").signed(), Malformed),
        ("no alg", base().without("alg").signed(), Malformed),
        ("alg a number", base().header("alg", "256").signed(), Malformed),
        ("alg a list", base().header("alg", "[\"RS256\"]").signed(), Malformed),
        ("alg in lower case", base().header("alg", "\"rs256\"").signed(), Malformed),
        ("HS256 with the modulus", hmac_with(&n), Signature),
        ("HS256 with the public key", hmac_with(&spki), Signature),
        ("HS256 with the public key in PEM", hmac_with(pem.as_bytes()), Signature),
        ("HS256 without a key", hmac_with(b""), Signature),
        ("RS512 named, RS256 made", base().header("alg", "\"RS512\"").signed(), Signature),
        ("ES256 named", base().header("alg", "\"ES256\"").signed(), Signature),
        ("PS256 by the right key", pss, Signature),
        ("A256GCM named", base().header("alg", "\"A256GCM\"").signed(), Signature),
        ("another key under the right kid", base().signed_by(&OTHER_KEY), Signature),
        ("an unknown kid", base().header("kid", "\"other\"").signed_by(&OTHER_KEY), Signature),
        ("no kid", base().without("kid").signed(), Signature),
        ("kid empty", base().header("kid", "\"\"").signed(), Signature),
        ("kid a path", base().header("kid", "\"../../../../dev/null\"").signed(), Signature),
        ("kid SQL", base().header("kid", "\"x' UNION SELECT 'key' --\"").signed(), Signature),
        ("kid a number", base().header("kid", "0").signed(), Signature),
        ("kid a URL", base().header("kid", "\"https://evil.example/jwks\"").signed_by(&OTHER_KEY), Signature),
        ("embedded jwk", base().header("jwk", own_jwk.as_str()).signed_by(&OTHER_KEY), Malformed),
        ("jku", base().header("jku", "\"https://evil.example/jwks\"").signed_by(&OTHER_KEY), Malformed),
        ("jku with a good signature", base().header("jku", "\"http://127.0.0.1/\"").signed(), Malformed),
        ("x5u", base().header("x5u", "\"https://evil.example/c\"").signed(), Malformed),
        ("x5c", base().header("x5c", "[\"MIIB\"]").signed(), Malformed),
        ("crit", base().header("crit", "[\"exp\"]").signed(), Malformed),
        ("b64 false", base().header("b64", "false").signed(), Malformed),
        ("zip", base().header("zip", "\"DEF\"").signed(), Malformed),
        ("a nested type", base().header("typ", "\"JWE\"").signed(), Malformed),
        ("no signature", format!("{unsigned}."), Signature),
        ("a signature of zeros", format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode([0; 256])), Signature),
        ("a signature cut short", base().signed()[..unsigned.len() + 89].to_owned(), Signature),
    ]
}

fn claims() -> Vec<Row> {
    let base = Draft::new;
    let text = |s: &str| format!("{s:?}");
    let many = vec![format!("\"{GROUP}\""); 1025].join(",");
    vec![
        ("iss another", base().claim("iss", text("https://evil.example/v2.0")).signed(), Issuer),
        ("iss with a slash", base().claim("iss", text(&format!("{LOGIN}/{TENANT}/v2.0/"))).signed(), Issuer),
        ("iss in upper case", base().claim("iss", text(&format!("{LOGIN}/{TENANT}/V2.0"))).signed(), Issuer),
        ("iss of an alias", base().claim("iss", text(&format!("{LOGIN}/adfs"))).signed(), Issuer),
        ("no iss", base().without("iss").signed(), Issuer),
        ("iss a list", base().claim("iss", format!("[\"{LOGIN}/{TENANT}/v2.0\"]")).signed(), Issuer),
        ("aud of vaults", base().claim("aud", text("https://vault.localhost:8443")).signed(), Audience),
        ("aud without the port", base().claim("aud", text("https://managedhsm.localhost")).signed(), Audience),
        ("aud unknown", base().claim("aud", text("https://evil.example")).signed(), Audience),
        ("aud longer", base().claim("aud", text(&format!("{HSM}.evil.example"))).signed(), Audience),
        ("aud with two slashes", base().claim("aud", text(&format!("{HSM}//"))).signed(), Audience),
        ("aud a list", base().claim("aud", format!("[\"{HSM}\"]")).signed(), Audience),
        ("no aud", base().without("aud").signed(), Audience),
        ("aud of a refresh token", base().claim("aud", text("urn:strongroom:refresh")).signed(), Audience),
        ("aud of an ID token", base().claim("aud", text(&APP_CLIENT.to_string())).signed(), Audience),
        ("another tenant", base().claim("tid", text(&OTHER_TENANT.to_string())).signed(), Tenant),
        ("tid an alias", base().claim("tid", text("adfs")).signed(), Tenant),
        ("no tid", base().without("tid").signed(), Tenant),
        ("expired", base().claim("exp", (NOW - 60).to_string()).signed(), Expired),
        ("expired long ago", base().claim("exp", "0").signed(), Expired),
        ("exp negative", base().claim("exp", "-1").signed(), Expired),
        ("no exp", base().without("exp").signed(), Malformed),
        ("exp null", base().claim("exp", "null").signed(), Malformed),
        ("exp a text", base().claim("exp", text(&(NOW + 60).to_string())).signed(), Malformed),
        ("exp with a fraction", base().claim("exp", format!("{}.5", NOW + 60)).signed(), Malformed),
        ("exp with an exponent", base().claim("exp", "9e9").signed(), Malformed),
        ("exp huge", base().claim("exp", "18446744073709551615").signed(), Malformed),
        ("exp beyond numbers", base().claim("exp", "1e999").signed(), Malformed),
        ("nbf ahead", base().claim("nbf", (NOW + 61).to_string()).signed(), NotYetValid),
        ("iat ahead", base().claim("iat", (NOW + 61).to_string()).signed(), NotYetValid),
        ("nbf a text", base().claim("nbf", text("0")).signed(), Malformed),
        ("no oid", base().without("oid").signed(), Malformed),
        ("oid in braces", base().claim("oid", text(&format!("{{{APP}}}"))).signed(), Malformed),
        ("oid without hyphens", base().claim("oid", text(&APP.simple().to_string())).signed(), Malformed),
        ("oid of nobody", base().claim("oid", text(&NOBODY.to_string())).signed(), Disabled),
        ("oid of a group", base().claim("oid", text(&GROUP.to_string())).signed(), Disabled),
        ("oid of a user, as an application", base().claim("oid", text(&USER.to_string())).signed(), Disabled),
        ("oid of another client's", base().claim("oid", text(&IDENTITY.to_string())).signed(), Disabled),
        ("an application as a user", base().claim("idtyp", text("user")).signed(), Disabled),
        ("idtyp unknown", base().claim("idtyp", text("root")).signed(), Malformed),
        ("groups a text", base().claim("groups", text(&GROUP.to_string())).signed(), Malformed),
        ("groups without GUIDs", base().claim("groups", "[\"admins\"]").signed(), Malformed),
        ("too many groups", base().claim("groups", format!("[{many}]")).signed(), Malformed),
        ("exp twice", base().twice("exp", (NOW + 9).to_string()).signed(), Malformed),
        ("oid twice, once escaped", base().twice("\u{6f}id", text(&APP.to_string())).signed(), Malformed),
        ("deep claims", base().claim("x", format!("{}{}", "[".repeat(9), "]".repeat(9))).signed(), Malformed),
        ("very deep claims", base().claim("x", "[".repeat(5_000)).signed(), Malformed),
    ]
}

fn shapes() -> Vec<Row> {
    let good = Draft::new().signed();
    let parts: Vec<&str> = good.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    let sign_raw = |header: &str, claims: &str| sign_jwt(header, claims, &ISSUER_KEY, &RSA_PKCS1_SHA256);
    let head = object(&Draft::new().header);
    let body = object(&Draft::new().claims);
    vec![
        ("nothing", String::new(), Malformed),
        ("one part", header.to_owned(), Malformed),
        ("two parts", format!("{header}.{claims}"), Malformed),
        ("four parts", format!("{good}."), Malformed),
        ("five parts, like JWE", format!("{good}.{claims}.{signature}"), Malformed),
        ("a dot in front", format!(".{good}"), Malformed),
        ("two dots", format!("{header}..{signature}"), Malformed),
        ("only dots", "..".to_owned(), Malformed),
        ("padding", format!("{header}=.{claims}.{signature}"), Malformed),
        ("padding behind", format!("{good}=="), Malformed),
        ("white space in front", format!(" {good}"), Malformed),
        ("a newline behind", format!("{good}\n"), Malformed),
        ("base64 of the other alphabet", format!("{header}.{claims}.{}+", &signature[1..]), Malformed),
        ("claims of another token", format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode("{}")), Issuer),
        ("claims not JSON", sign_raw(&head, "x"), Malformed),
        ("claims a list", sign_raw(&head, &format!("[{body}]")), Malformed),
        ("claims and more", sign_raw(&head, &format!("{body} {body}")), Malformed),
        ("claims empty", sign_raw(&head, "{}"), Issuer),
        ("header a text", sign_raw("\"RS256\"", &body), Malformed),
        ("alg twice", sign_raw(&head.replace("}", ",\"alg\":\"RS256\"}"), &body), Malformed),
        ("bytes that are no text", sign_raw(&head, "{\"iss\":\"\u{0}\"}"), Malformed),
        ("too long", Draft::new().claim("x", format!("\"{}\"", "x".repeat(TOKEN_MAX))).signed(), Malformed),
        ("far too long", "x".repeat(10_000_000), Malformed),
        ("not ASCII", format!("{header}.é.{signature}"), Malformed),
        ("NUL", format!("{header}.\0.{signature}"), Malformed),
    ]
}

#[test]
fn every_hostile_token_is_refused_for_its_reason() {
    let fixture = Fixture::new();
    let rows: Vec<Row> = [algorithms_and_keys(), claims(), shapes()].concat();
    assert!(rows.len() > 100, "{}", rows.len());
    for (name, token, reason) in &rows {
        // Twice: a refused token must not be remembered as a good one.
        for _ in 0..2 {
            assert_eq!(fixture.validate(token).err(), Some(*reason), "{name}");
        }
    }
    strongroom_counts::count("hostile tokens", rows.len());
}

#[test]
fn the_token_they_are_made_from_is_good() {
    let fixture = Fixture::new();
    let principal = fixture.validate(&Draft::new().signed()).unwrap();
    assert_eq!((principal.object_id, principal.tenant_id), (APP, TENANT));
    assert_eq!(&*principal.groups, &[GROUP]);
    for variant in [
        Draft::new().claim("aud", format!("\"{HSM}/\"")),
        Draft::new().claim("exp", (NOW - 59).to_string()),
        Draft::new().claim("nbf", (NOW + 60).to_string()),
        Draft::new().without("groups"),
        Draft::new().without("typ"),
        Draft::new().header("typ", "\"at+jwt\"").header("x5t", "\"anything\""),
        Draft::new().claim("anything", "{\"else\":[1.5,null,true]}"),
    ] {
        fixture.validate(&variant.signed()).unwrap();
    }
}

#[test]
fn every_single_bit_of_a_token_counts() {
    let fixture = Fixture::new();
    let good = Draft::new().signed().into_bytes();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let Ok(bad) = String::from_utf8(bad) else { continue };
        assert!(fixture.validate(&bad).is_err(), "bit 0 of byte {at}");
    }
    strongroom_counts::count("tokens with one flipped bit", good.len());
}

#[test]
fn a_prefix_of_a_token_is_none() {
    let fixture = Fixture::new();
    let good = Draft::new().signed();
    for length in 0..good.len() {
        assert!(fixture.validate(&good[..length]).is_err(), "{length}");
    }
}
