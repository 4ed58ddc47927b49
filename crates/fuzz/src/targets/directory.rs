//! The directory file with its keys: a bad one changes nothing.

use super::identity::{AUDIENCE, CLIENT, SECRET, with};

pub(crate) fn run(data: &[u8]) {
    with(|issuer| {
        if !issuer.reload(data) {
            // Refused as a whole: the application of before is still there.
            assert!(works(issuer), "a bad directory file had an effect");
        }
        assert!(issuer.reload(issuer.directory().as_bytes()));
    });
}

fn works(issuer: &super::identity::Issuer) -> bool {
    let scope = format!("{AUDIENCE}/.default");
    let fields =
        [("grant_type", "client_credentials"), ("client_id", CLIENT), ("client_secret", SECRET), ("scope", &scope)];
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    issuer.ask("adfs", None, Some("application/x-www-form-urlencoded"), body.as_bytes()).status == 200
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let usual = with(|issuer| issuer.directory().to_owned());
    let users = r#"
[[user]]
user_name = "Ada@example.org"
object_id = "40000000-0000-4000-8000-000000000001"

[[group]]
name = "crew"
object_id = "50000000-0000-4000-8000-000000000001"
members = ["40000000-0000-4000-8000-000000000001"]

[[managed_identity]]
name = "host"
client_id = "30000000-0000-4000-8000-000000000002"
object_id = "30000000-0000-4000-8000-000000000001"
default = true
"#;
    vec![usual.clone().into_bytes(), users.as_bytes().to_vec(), (usual + users).into_bytes(), Vec::new()]
}
