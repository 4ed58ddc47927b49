//! `strongroom dev`

use crate::house::{House, free_port, mode, refused, set_mode};
use std::net::TcpListener;

/// The variables of `--env-file`, in their order.
const VARIABLES: [&str; 18] = [
    "AZURE_AUTHORITY_HOST",
    "AZURE_TENANT_ID",
    "STRONGROOM_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_SUBSCRIPTION_ID",
    "AZURE_CORE_INSTANCE_DISCOVERY",
    "STRONGROOM_OBJECT_ID",
    "STRONGROOM_MANAGEMENT_URL",
    "STRONGROOM_HSM_URL",
    "STRONGROOM_HSM_URL_SECOND_ONE",
    "STRONGROOM_CA",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "IDENTITY_ENDPOINT",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "IDENTITY_HEADER",
];

#[test]
fn a_second_start_finds_ids_secrets_certificate_and_keys() {
    let house = House::new();
    let hsms = ["--hsm", "demo", "--hsm", "second-one,inactive"];
    let mut first = house.start(&hsms);
    let names: Vec<String> = std::fs::read_to_string(house.env_file())
        .unwrap()
        .lines()
        .map(|line| line.split_once('=').unwrap().0.to_owned())
        .collect();
    assert_eq!(names, VARIABLES);
    let env = house.env();
    assert_eq!(env["AZURE_TENANT_ID"], "adfs");
    assert_eq!(env["STRONGROOM_HSM_URL"], format!("https://demo.managedhsm.localhost:{}", house.port));
    let home = house.home();
    for (name, expected) in [
        ("", 0o700),
        ("data", 0o700),
        ("data/store", 0o700),
        ("data/audit", 0o700),
        ("seal", 0o600),
        ("dev.json", 0o600),
        ("identity/directory.toml", 0o600),
        ("ca.pem", 0o644),
    ] {
        assert_eq!(mode(&home.join(name)), expected, "{name}");
    }
    assert_eq!(mode(&house.env_file()), 0o600);
    let ca = std::fs::read(home.join("ca.pem")).unwrap();
    let bearer = format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n", house.token("AZURE"));
    let host = "demo.managedhsm.localhost";
    let (status, key) = house.ask(host, "POST /keys/k/create?api-version=7.6", &bearer, r#"{"kty":"EC-HSM"}"#);
    assert_eq!(status, 200, "{key}");
    let (status, _) = house.ask(
        "second-one.managedhsm.localhost",
        "POST /keys/k/create?api-version=7.6",
        &bearer,
        r#"{"kty":"EC-HSM"}"#,
    );
    assert!((400..500).contains(&status), "an inactive HSM makes no key: {status}");
    assert_eq!(first.stop(), Some(0));

    let mut second = house.start(&hsms);
    assert_eq!(house.env(), env);
    assert_eq!(std::fs::read(home.join("ca.pem")).unwrap(), ca);
    let bearer = format!("authorization: Bearer {}\r\n", house.token("AZURE"));
    let (status, again) = house.ask(host, "GET /keys/k?api-version=7.6", &bearer, "");
    assert_eq!((status, again), (200, key));
    assert_eq!(second.stop(), Some(0));
}

#[test]
fn more_principals_can_log_in_and_have_no_role() {
    let house = House::new();
    let mut running = house.start(&["--principal", "reader"]);
    let bearer = format!("authorization: Bearer {}\r\n", house.token("STRONGROOM_PRINCIPAL_READER"));
    let (status, _) = house.ask("demo.managedhsm.localhost", "GET /keys?api-version=7.6", &bearer, "");
    assert_eq!(status, 403);
    assert!(house.env().contains_key("STRONGROOM_PRINCIPAL_READER_OBJECT_ID"));
    let secret = &house.env()["AZURE_CLIENT_SECRET"];
    let directory = std::fs::read_to_string(house.home().join("identity/directory.toml")).unwrap();
    assert!(!directory.contains(secret.as_str()), "the directory holds hashes only");
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_taken_port_is_said_before_anything_is_made() {
    let house = House::new();
    let _other = TcpListener::bind(("127.0.0.1", house.port)).unwrap();
    let error = refused(&mut house.command(), 78);
    assert!(error.contains(&format!("127.0.0.1:{}", house.port)) && error.contains("--port"), "{error}");
    assert!(!house.home().exists());
}

#[test]
fn a_folder_that_others_reach_is_refused() {
    let house = House::new();
    std::fs::create_dir(house.home()).unwrap();
    set_mode(&house.home(), 0o755);
    let error = refused(&mut house.command(), 78);
    assert!(error.contains("mode 0755") && error.contains("chmod 0700"), "{error}");
}

#[test]
fn what_is_made_is_for_its_owner_whatever_the_umask() {
    let house = House::new();
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(house.command().get_program());
    command.args(house.command().get_args());
    let mut running = house.start_as(command);
    let bearer = format!("authorization: Bearer {}\r\n", house.token("AZURE"));
    assert_eq!(house.ask("demo.managedhsm.localhost", "GET /keys?api-version=7.6", &bearer, "").0, 200);
    let mut folders = vec![house.home()];
    while let Some(folder) = folders.pop() {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("ca.pem") {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
        }
    }
    assert_eq!(mode(&house.env_file()), 0o600);
    assert_eq!(running.stop(), Some(0));
    for folder in ["data/audit", "data/store", "identity"] {
        set_mode(&house.home().join(folder), 0o755);
        let error = refused(&mut house.command(), 78);
        assert!(error.contains("0755") && error.contains("chmod"), "{folder}: {error}");
        set_mode(&house.home().join(folder), 0o700);
    }
}

#[test]
fn a_home_of_an_earlier_version_opens() {
    let house = House::new();
    assert_eq!(house.start(&[]).stop(), Some(0));
    let env = house.env();
    // The directory file lay beside the seal.
    std::fs::rename(house.home().join("identity/directory.toml"), house.home().join("directory.toml")).unwrap();
    std::fs::remove_dir(house.home().join("identity")).unwrap();
    let mut running = house.start(&[]);
    assert_eq!(house.env(), env);
    house.token("AZURE");
    assert!(!house.home().join("directory.toml").exists());
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn another_seal_does_not_open_the_store() {
    let house = House::new();
    assert_eq!(house.start(&[]).stop(), Some(0));
    std::fs::rename(house.home().join("seal"), house.home().join("old")).unwrap();
    let error = refused(&mut house.command(), 78);
    assert!(error.contains("there is no seal file"), "a new one is not made over a store: {error}");
    let other = House::new();
    assert_eq!(other.start(&[]).stop(), Some(0));
    std::fs::copy(other.home().join("seal"), house.home().join("seal")).unwrap();
    let error = refused(&mut house.command(), 78);
    assert!(error.contains("does not open under this seal"), "{error}");
    std::fs::rename(house.home().join("old"), house.home().join("seal")).unwrap();
    assert_eq!(house.start(&[]).stop(), Some(0), "nothing was harmed");
}

#[test]
fn two_processes_do_not_share_a_store() {
    let house = House::new();
    let mut running = house.start(&[]);
    let mut command = crate::house::strongroom();
    command.arg("dev").arg("--data").arg(house.home()).args(["--port", &free_port().to_string()]);
    command.args(["--principal", "late", "--hsm", "late"]);
    let files = ["dev.json", "identity/directory.toml", "ca.pem", "seal"];
    let content = || files.map(|name| std::fs::read(house.home().join(name)).unwrap());
    let before = content();
    let error = refused(&mut command, 78);
    assert!(error.contains("another Strongroom runs on this data folder"), "{error}");
    assert!(content() == before, "the second one changed nothing");
    let (status, _) = house.ask("demo.managedhsm.localhost", "GET /readyz", "", "");
    assert_eq!(status, 200, "the first one does not mind");
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn wrong_flags_are_named() {
    for (flags, expected) in [
        (["--hsm", "x"], "3 to 24"),
        (["--hsm", "demo,asleep"], "NAME,inactive"),
        (["--clock-offset", "1h"], "days (90d)"),
        (["--principal", "a b"], "letters, digits"),
        (["--port", "0"], "--port"),
    ] {
        let output = House::new().command().args(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let error = crate::house::text(&output.stderr);
        assert!(error.contains(flags[0]) && error.contains(expected), "{error}");
    }
}
