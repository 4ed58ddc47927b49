//! The directory file: what is refused, and how a change takes effect.

use super::*;
use std::os::unix::fs::PermissionsExt;

fn load_text(text: &str) -> Result<Arc<Identity>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("directory.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    start(path, Arc::new(ManualClock::new(Timestamp(NOW))), Vec::new()).map_err(|e| e.to_string())
}

#[test]
fn a_file_survives_being_written_and_read() {
    let fixture = Fixture::new();
    let again = DirectoryFile::load(&fixture.path()).unwrap();
    assert_eq!(toml::to_string(&again).unwrap(), toml::to_string(&fixture.file).unwrap());
    let mode = std::fs::metadata(fixture.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let beside = std::fs::read_dir(fixture.folder.path()).unwrap().count();
    assert_eq!(beside, 1, "no half-written file is left");
}

#[test]
fn a_file_that_others_can_touch_is_refused() {
    let fixture = Fixture::new();
    for mode in [0o640, 0o604, 0o620, 0o777] {
        std::fs::set_permissions(fixture.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        let error = fixture.identity.reload().unwrap_err().to_string();
        assert!(error.contains("chmod go-rwx"), "{error}");
    }
    std::fs::remove_file(fixture.path()).unwrap();
    assert!(fixture.identity.reload().is_err());
    std::fs::create_dir(fixture.path()).unwrap();
    assert!(fixture.identity.reload().unwrap_err().to_string().contains("not a regular file"));
}

#[test]
fn mistakes_are_named_and_values_are_not_shown() {
    let id = |n: u32| format!("00000000-0000-4000-8000-{n:012}");
    let app = |n: u32, rest: &str| {
        format!(
            "[[application]]\nname = \"a{n}\"\nclient_id = \"{}\"\nobject_id = \"{}\"\n{rest}\n",
            id(n),
            id(n + 100)
        )
    };
    let user = |name: &str, n: u32, rest: &str| {
        format!("[[user]]\nuser_name = \"{name}\"\nobject_id = \"{}\"\n{rest}\n", id(n))
    };
    let group =
        |n: u32, members: &str| format!("[[group]]\nname = \"g\"\nobject_id = \"{}\"\nmembers = [{members}]\n", id(n));
    let managed = |n: u32| {
        format!(
            "[[managed_identity]]\nname = \"m\"\nclient_id = \"{}\"\nobject_id = \"{}\"\ndefault = true\n",
            id(n),
            id(n + 50)
        )
    };
    let federated =
        |rest: &str| app(1, &format!("[[application.federated_credential]]\nissuer=\"i\"\nsubject=\"s\"\n{rest}"));
    for (text, expected) in [
        ("[[application]]\nname = 1".to_owned(), "line 2: expected a string"),
        (app(1, "secret = \"canary\""), "line 5: expected a sequence"),
        (app(1, "sceret = \"canary\""), "unknown field `sceret`"),
        (app(1, "client_secret = 'canary"), "line 5"),
        (app(1, "[[application.secret]]\nsha256 = \"canary\""), "64 hexadecimal digits"),
        (app(1, "") + &app(1, ""), "object_id stands a second time"),
        (app(1, "") + &app(1, "").replace(&id(101), &id(102)), "client_id stands a second time"),
        (app(1, "") + &managed(1), "client_id stands a second time"),
        (managed(1) + &managed(2), "only one can be it"),
        (user("a", 1, "") + &user("A", 2, ""), "names compare without case"),
        (user("", 1, ""), "user_name is empty"),
        (user("a", 1, "password = \"canary\""), "must be a hash"),
        (group(1, &format!("\"{}\"", id(7))), "object_id of no user"),
        (group(1, "") + &group(2, &format!("\"{}\"", id(1))), "is a group"),
        (user("a", 1, "") + &group(1, ""), "object_id stands a second time"),
        (app(1, "[[application.certificate]]"), "either sha256 or pem"),
        (app(1, "[[application.certificate]]\npem = \"canary\""), "X.509"),
        (app(1, "[[application.certificate]]\nsha256 = \"canary\""), "64 hexadecimal digits"),
        (federated(""), "either jwks or jwks_file"),
        (federated("jwks = '{}'"), "JSON object with `keys`"),
        (federated("jwks = '{\"keys\":[{\"kty\":\"oct\",\"k\":\"canary\"}]}'"), "private or symmetric key"),
        (federated("jwks = '{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}'"), "at least one"),
        (federated("jwks_file = \"absent.json\""), "absent.json"),
        ("[[robot]]".to_owned(), "unknown field `robot`"),
    ] {
        let error = load_text(&text).err().unwrap();
        assert!(error.contains(expected), "{error}\n{text}");
        assert!(!error.contains("canary"), "{error}");
    }
    load_text("").unwrap();
}

#[tokio::test]
async fn whoever_is_disabled_or_removed_is_refused_at_once() {
    let mut fixture = Fixture::new();
    let token = fixture.token().await;
    fixture.validate(&token).unwrap();
    fixture.change(|file| file.applications[0].enabled = false);
    assert_eq!(fixture.validate(&token).err(), Some(Unauthenticated::Disabled));
    assert_eq!(refusal(&fixture.post(&secret_grant(SECRET)).await).2, 7_000_112);
    fixture.change(|file| file.applications[0].enabled = true);
    fixture.validate(&token).unwrap();
    fixture.change(|file| {
        file.applications.clear();
        file.groups.clear();
    });
    assert_eq!(fixture.validate(&token).err(), Some(Unauthenticated::Disabled));
    assert_eq!(refusal(&fixture.post(&secret_grant(SECRET)).await).2, 7_000_215);
}

#[tokio::test]
async fn a_bad_change_keeps_the_old_directory() {
    let fixture = Fixture::new();
    let token = fixture.token().await;
    std::fs::write(fixture.path(), "[[application").unwrap();
    fixture.identity.reload().unwrap_err();
    fixture.validate(&token).unwrap();
}

#[test]
fn the_watch_sees_changes_of_the_file_and_of_key_files() {
    let mut file = directory();
    file.applications[0].federated_credentials[0].jwks = None;
    file.applications[0].federated_credentials[0].jwks_file = Some("keys.json".into());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("directory.toml");
    std::fs::write(folder.path().join("keys.json"), federated_jwks("fed-1")).unwrap();
    file.save(&path).unwrap();
    let identity = start(path.clone(), Arc::new(ManualClock::new(Timestamp(NOW))), Vec::new()).unwrap();
    let mut failed = None;
    let mut tick = || identity.follow(&mut failed);
    tick();
    assert_eq!(identity.epoch(), 0, "nothing changed");
    file.applications[0].enabled = false;
    file.save(&path).unwrap();
    tick();
    assert_eq!(identity.epoch(), 1);
    std::fs::write(folder.path().join("keys.json"), federated_jwks("fed-2")).unwrap();
    tick();
    assert_eq!(identity.epoch(), 2);
    std::fs::write(&path, "broken").unwrap();
    tick();
    tick();
    assert_eq!(identity.epoch(), 2);
    file.save(&path).unwrap();
    tick();
    assert_eq!(identity.epoch(), 3);
}

#[test]
fn generated_secrets_are_long_different_and_hashed() {
    let (application, secret) = Application::generate("new").unwrap();
    let (_, other) = Application::generate("new").unwrap();
    let text = std::str::from_utf8(secret.expose()).unwrap();
    assert!(text.starts_with("strongroom_") && text.len() == 54, "{}", text.len());
    assert!(!secret.same_as(other.expose()));
    assert_eq!(application.secrets[0].sha256, hex::encode(digest(&SHA256, secret.expose())));
}

#[test]
fn settings_are_checked() {
    let fixture = Fixture::new();
    let attempt = |change: &dyn Fn(&mut IdentitySettings)| {
        let mut settings: IdentitySettings =
            toml::from_str(&format!("tenant_id = \"{TENANT}\"\ndirectory = {:?}", fixture.path())).unwrap();
        change(&mut settings);
        let endpoints = Endpoints::new("LOCALHOST", 443);
        let clock = Arc::new(ManualClock::new(Timestamp(NOW)));
        Identity::start(IdentityParts { settings, endpoints, clock, signer: signer(&ISSUER_KEY) })
    };
    let plain = attempt(&|_| {}).unwrap();
    assert_eq!(plain.authorization_url(), format!("https://login.localhost/{TENANT}"));
    for audience in ["evil", "https://", "", "https://a b"] {
        assert!(attempt(&|s| s.additional_audiences = vec![audience.to_owned()]).is_err(), "{audience}");
    }
    assert!(attempt(&|s| s.identity_header_sha256 = Some("abc".to_owned())).is_err());
    assert!(toml::from_str::<IdentitySettings>("tenant_id = \"x\"").is_err());
    let unknown = format!("tenant_id = \"{TENANT}\"\ndirectory = \"d\"\ntenat = 1");
    assert!(toml::from_str::<IdentitySettings>(&unknown).unwrap_err().to_string().contains("unknown field `tenat`"));
}

#[tokio::test]
async fn no_validation_under_way_brings_a_disabled_principal_back() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let mut fixture = Fixture::new();
    let token = fixture.token().await;
    let identity = Arc::clone(&fixture.identity);
    let (stop, mut wrong) = (AtomicBool::new(false), 0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let _ = identity.validate(&token, HSM);
                }
            });
        }
        for enabled in [false, true].repeat(20) {
            fixture.change(|file| file.applications[0].enabled = enabled);
            for _ in 0..50 {
                wrong += usize::from(identity.validate(&token, HSM).is_ok() != enabled);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(wrong, 0);
}
