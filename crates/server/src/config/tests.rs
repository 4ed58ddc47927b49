#![allow(clippy::unwrap_used)]
use super::*;
use std::os::unix::fs::PermissionsExt;

const WHOLE: &str = r#"
domain = "hsm.example.org"
data = "data"
seal = "/etc/strongroom/seal"
runtimes = 2

[identity]
tenant_id = "11111111-1111-1111-1111-111111111111"
directory = "directory.toml"

[[pool]]
name = "payments"
administrators = ["22222222-2222-2222-2222-222222222222"]
"#;

fn load(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strongroom.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path).map_err(|e| e.to_string().replace(&folder.path().display().to_string(), "FOLDER"))
}

#[test]
fn a_small_file_is_enough_and_everything_else_is_filled_in() {
    let config = load(WHOLE).unwrap();
    assert!(config.data.is_absolute() && config.identity.directory.is_absolute());
    assert_eq!(config.audit.folder.as_deref(), Some(config.data.join("audit").as_path()));
    let service = ServiceConfig::from(config);
    assert_eq!((service.port, service.audit.reserve_bytes), (443, 256 << 20));
    let json = serde_json::to_vec(&service).unwrap();
    let back: ServiceConfig = serde_json::from_slice(&json).unwrap();
    assert_eq!(format!("{back:?}"), format!("{service:?}"));
}

#[test]
fn what_check_prints_is_a_configuration_that_says_the_same() {
    let config = load(WHOLE).unwrap();
    let printed = config.to_toml().unwrap();
    assert_eq!(load(&printed).unwrap().to_toml().unwrap(), printed);
}

#[test]
fn errors_name_file_line_and_setting() {
    let cases = [
        (WHOLE.replace("runtimes = 2", "colour = 3"), "strongroom.toml:5: unknown field `colour`"),
        (WHOLE.replace("runtimes = 2", "runtimes = \"two\""), "strongroom.toml:5: runtimes: invalid type"),
        (
            WHOLE.replace("name = \"payments\"", "name = \"payments\"\nsize = 1"),
            "strongroom.toml:13: unknown field `size`",
        ),
        (WHOLE.replace("domain = \"hsm.example.org\"\n", ""), "missing field `domain`"),
        (WHOLE.replace("hsm.example.org", "-x"), "domain: expected a host name"),
        (WHOLE.replace("/etc/strongroom/seal", "data/seal"), "seal: expected a path outside"),
        (WHOLE.replace("\"payments\"", "\"p\""), "pool \"p\": name: expected 3 to 24"),
        (WHOLE.replace("[\"22222222-2222-2222-2222-222222222222\"]", "[]"), "administrators: expected at least one"),
        (WHOLE.replace("[[pool]]", "[[pool]]\nretention_days = 6"), "retention_days: expected 7 to 90"),
        (WHOLE.replace("runtimes = 2", "runtimes = 0"), "runtimes: expected 1 to 256"),
        (WHOLE.replace("runtimes = 2", "port = 0"), "port: expected 1"),
        (WHOLE.replace("[identity]", "[cache]\nkeys = 63\n[identity]"), "cache.keys: expected 64 to"),
        (WHOLE.replace("[identity]", "[cache]\nstore_mib = 0\n[identity]"), "cache.store_mib: expected 1 to"),
        (WHOLE.replace("runtimes = 2", "listen = []"), "listen: expected"),
        ("a = [".to_owned(), "strongroom.toml:1:"),
    ];
    for (text, expected) in cases {
        let error = load(&text).unwrap_err();
        assert!(error.contains(expected), "{error}\n  lacks {expected}");
    }
}

#[test]
fn other_issuers_are_read_checked_and_say_where_they_connect_to() {
    let issuer = "\n[[identity.issuers]]\nissuer = \"https://sso.example.org:8443/realm\"\nca_file = \"sso.pem\"\n\
                  tenants = [\"33333333-3333-3333-3333-333333333333\"]\n[identity.issuers.audiences]\nmanaged_hsm = [\"api://hsm\"]\n";
    let config = load(&(WHOLE.to_owned() + issuer)).unwrap();
    let printed = config.to_toml().unwrap();
    assert_eq!(load(&printed).unwrap().to_toml().unwrap(), printed);
    assert!(config.identity.issuers[0].ca_file.as_ref().unwrap().is_absolute());
    assert_eq!(ServiceConfig::from(config).outgoing_ports(), [8443]);
    assert!(ServiceConfig::from(load(WHOLE).unwrap()).outgoing_ports().is_empty());
    for (from, to, expected) in [
        ("https://sso", "http://sso", "identity.issuers \"http://sso.example.org:8443/realm\": issuer"),
        ("ca_file", "refresh_seconds = 1\nca_file", "refresh_seconds: expected 10"),
        ("managed_hsm", "hsm", "unknown field `hsm`"),
        ("ca_file", "algorithms = [\"HS256\"]\nca_file", "unknown variant `HS256`"),
    ] {
        let error = load(&(WHOLE.to_owned() + &issuer.replace(from, to))).unwrap_err();
        assert!(error.contains(expected), "{error}\n  lacks {expected}");
    }
    let challenge =
        |url: &str| load(&WHOLE.replace("[identity]", &format!("[identity]\nchallenge_authority = \"{url}\"")));
    challenge("https://login.microsoftonline.com/33333333-3333-3333-3333-333333333333").unwrap();
    for bad in ["https://login.example.org", "http://login.example.org/t", "https://a/t\\\", x=\\\"", "https://a/t,x"] {
        assert!(challenge(bad).unwrap_err().contains("challenge_authority"), "{bad}");
    }
}

const NETWORK: &str = r#"
proxies = ["10.9.0.7/16", "2001:db8::9"]
trusted_services = ["33333333-3333-3333-3333-333333333333"]

[networks]
"/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/Front" = ["10.1.0.0/24"]

[[private_endpoint]]
name = "one"
resource = "payments"
address = "10.0.0.5"
approved = true

[[private_endpoint]]
name = "two"
resource = "payments"
unix = "payments.socket"
"#;

/// Settings that stand alone go first in TOML.
fn with_network(network: &str) -> String {
    let (own, tables) = network.split_at(network.find("\n\n").unwrap_or(0));
    format!("{own}\n{WHOLE}\n{tables}")
}

#[test]
fn the_network_is_read_and_says_all_that_is_listened_on() {
    let config = load(&with_network(NETWORK)).unwrap();
    let printed = config.to_toml().unwrap();
    assert_eq!(load(&printed).unwrap().to_toml().unwrap(), printed);
    let mut service = ServiceConfig::from(config);
    service.port = 8443;
    let json = serde_json::to_vec(&service).unwrap();
    let back: ServiceConfig = serde_json::from_slice(&json).unwrap();
    assert_eq!(format!("{back:?}"), format!("{service:?}"));
    assert_eq!(service.network.proxies[0].to_string(), "10.9.0.0/16");
    assert_eq!(service.listening_ports(), [443, 8443]);
    assert_eq!(service.listens_locally(), (true, false));
    let unix = service.network.endpoints[1].unix.clone().unwrap();
    assert!(unix.is_absolute() && unix.ends_with("payments.socket"));
    let folder = std::fs::canonicalize(unix.parent().unwrap()).unwrap_or_else(|_| unix.parent().unwrap().into());
    assert!(service.work_folders().iter().any(|work| folder.starts_with(&work.folder) && work.write));
    let (one, id) = service.private_endpoints().next().unwrap();
    assert!(id.ends_with("/resourceGroups/strongroom/providers/Microsoft.Network/privateEndpoints/one"), "{id}");
    assert_eq!(one.declared(id).unwrap().connection.status.as_str(), "Approved");
    let (two, id) = service.private_endpoints().nth(1).unwrap();
    assert_eq!(two.declared(id).unwrap().connection.status.as_str(), "Pending");
}

#[test]
fn a_network_that_cannot_be_is_refused_by_its_setting() {
    let again = NETWORK.split_once("[[private_endpoint]]").unwrap().1.split_once("[[private").unwrap().0;
    let twice = |from: &str, to: &str| format!("{NETWORK}\n[[private_endpoint]]{}", again.replace(from, to));
    let cases = [
        (NETWORK.replace("10.9.0.7/16", "10.9.0.7/33"), "the prefix length must be"),
        (NETWORK.replace("10.9.0.7/16", "::ffff:10.9.0.7"), "must be written as IPv4"),
        (NETWORK.replace("10.1.0.0/24", "front"), "expected an IPv4 or IPv6 address"),
        (NETWORK.replace("[\"10.1.0.0/24\"]", "[]"), "expected at least one range"),
        (NETWORK.replace("Microsoft.Network", "Network"), "expected the resource id of a subnet"),
        (NETWORK.replace("address = \"10.0.0.5\"", ""), "private_endpoint \"one\": address, interface, unix, vsock"),
        (NETWORK.replace("approved = true", "vsock = 5"), "expected exactly one of them"),
        (NETWORK.replace("10.0.0.5", "0.0.0.0"), "expected one address of this machine"),
        (NETWORK.replace("10.0.0.5", "::ffff:10.0.0.5"), "expected one address of this machine"),
        (NETWORK.replace("approved = true", "port = 0"), "port: expected 1 to 65535"),
        (NETWORK.replace("unix =", "port = 5\nunix ="), "port: expected 1 to 65535, beside"),
        (NETWORK.replace("address = \"10.0.0.5\"", "interface = \"a/b\""), "expected the name of an interface"),
        (NETWORK.replace("address = \"10.0.0.5\"", "vsock = 0"), "expected a port from 1"),
        (NETWORK.replace("payments.socket", &"p".repeat(200)), "at most 107 bytes"),
        (NETWORK.replace("name = \"two\"", "name = \"a b\""), "name: expected 1 to 64 letters"),
        (NETWORK.replace("resource = \"payments\"", "resource = \"p\""), "resource: expected the name"),
        (
            twice("10.0.0.5", "10.0.0.6").replacen("name = \"two\"", "name = \"ONE\"", 1),
            "no other [[private_endpoint]] has",
        ),
        (twice("\"one\"", "\"three\""), "expected a place that no other"),
        (NETWORK.replace("proxies", "listen = [\"10.0.0.5\"]\nproxies"), "it is public"),
        (
            NETWORK.replace("[networks]", &format!("[networks]\n{}", subnet_line().replace("Front", "fRONT"))),
            "is there twice: case does not count",
        ),
    ];
    for (network, expected) in cases {
        let error = load(&with_network(&network)).unwrap_err();
        assert!(error.contains(expected), "{error}\n  lacks {expected}");
    }
}

fn subnet_line() -> &'static str {
    NETWORK.lines().find(|line| line.contains("subnets")).unwrap()
}

#[test]
fn folders_that_others_reach_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    assert!(matches!(check_data_folder(&path), Err(FolderError::Missing(_))));
    make_private_folder(&path).unwrap();
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o750)).unwrap();
    assert!(matches!(check_data_folder(&path), Err(FolderError::TooOpen { mode: 0o750, .. })));
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(make_private_folder(&file), Err(FolderError::NotAFolder(_))));
}

/// A configuration whose parts lie in folders of their own, all of which are there.
fn spread(folder: &Path) -> ServiceConfig {
    for name in ["data/store", "log", "identity", "tls", "public", "sealed"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    let text = format!("{WHOLE}\n[audit]\nfolder = \"log\"\n[tls]\nca_file = \"public/ca.pem\"\n");
    let text = text.replace("/etc/strongroom/seal", "sealed/seal").replace("directory.toml", "identity/directory.toml");
    std::fs::write(folder.join("strongroom.toml"), text).unwrap();
    ServiceConfig::from(Config::load(&folder.join("strongroom.toml")).unwrap())
}

#[test]
fn a_seal_where_the_service_works_is_refused_through_links_too() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().canonicalize().unwrap();
    let mut config = spread(&folder);
    config.check_seal_place().unwrap();
    config.check_work_folders().unwrap();
    std::os::unix::fs::symlink(folder.join("data/store"), folder.join("link")).unwrap();
    for (seal, setting) in [
        ("data/seal", "data"),
        ("link/seal", "data"),
        ("sealed/../data/deep/seal", "data"),
        ("log/seal", "audit.folder"),
        ("identity/seal", "identity.directory"),
        ("public/seal", "tls.ca_file"),
    ] {
        config.seal = folder.join(seal);
        let error = config.check_seal_place().unwrap_err().to_string();
        assert!(error.contains(&format!("(setting {setting})")), "{seal}: {error}");
    }
    // The file itself leads into a folder that the service has.
    std::fs::write(folder.join("identity/moved"), "").unwrap();
    std::os::unix::fs::symlink(folder.join("identity/moved"), folder.join("sealed/seal")).unwrap();
    config.seal = folder.join("sealed/seal");
    assert!(config.check_seal_place().is_err());
    // A certificate whose name is a link: what it leads to must be reached too, and then must not be the seal's folder.
    config.seal = folder.join("sealed/other");
    std::fs::write(folder.join("sealed/chain.pem"), "").unwrap();
    std::os::unix::fs::symlink(folder.join("sealed/chain.pem"), folder.join("tls/chain.pem")).unwrap();
    config.check_seal_place().unwrap();
    config.tls.certificate_chain = Some(folder.join("tls/chain.pem"));
    assert!(config.check_seal_place().unwrap_err().to_string().contains("tls.certificate_chain"));
}

#[test]
fn the_service_works_in_the_folders_of_its_files_and_no_others() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().canonicalize().unwrap();
    let mut config = spread(&folder);
    let folders = |config: &ServiceConfig| -> Vec<(String, bool)> {
        let name = |work: &WorkFolder| work.folder.strip_prefix(&folder).unwrap().display().to_string();
        config.work_folders().iter().map(|work| (name(work), work.write)).collect()
    };
    let own = |names: &[(&str, bool)]| names.iter().map(|(n, w)| ((*n).to_owned(), *w)).collect::<Vec<_>>();
    assert_eq!(folders(&config), own(&[("data", true), ("log", true), ("identity", false), ("public", true)]));
    config.tls.certificate_chain = Some(folder.join("tls/chain.pem"));
    config.tls.private_key = Some(folder.join("tls/key.pem"));
    let with_files = own(&[("data", true), ("log", true), ("identity", false), ("tls", false), ("tls", false)]);
    assert_eq!(folders(&config), with_files, "with certificates from files ca_file is not written");
    config.tls.private_key = Some(folder.join("nowhere/key.pem"));
    assert!(config.check_work_folders().unwrap_err().to_string().starts_with("tls.private_key"));
    assert_eq!((config.listening_ports(), config.outgoing_ports()), (vec![443], Vec::new()));
}

#[test]
fn domains_are_host_names() {
    for good in ["localhost", "hsm.example.org", "a-b.c1"] {
        assert!(is_domain(good), "{good}");
    }
    for bad in ["", ".", "a..b", "-a", "a-", "a b", "a/b", "é.org", "a_b"] {
        assert!(!is_domain(bad), "{bad}");
    }
}

/// The smallest file on etcd.
fn on_etcd() -> String {
    let store = "[store]\nkind = \"etcd\"\nendpoints = [\"https://10.0.0.1:2379\", \"https://etcd-2.example.org:2380\"]\n\
                 ca = \"etcd/ca.pem\"\ncertificate = \"/etc/strongroom/etcd.pem\"\nkey = \"etcd/key.pem\"\n\n[[pool]]";
    WHOLE.replace("[[pool]]", store)
}

#[test]
fn a_store_on_etcd_is_named_whole() {
    let config = load(&on_etcd()).unwrap();
    let etcd = config.store.etcd().unwrap();
    assert_eq!((etcd.prefix, etcd.without_proof), ("strongroom/", WithoutProofSetting::Refuse));
    assert!(etcd.ca.is_absolute() && etcd.key.is_absolute());
    let printed = config.to_toml().unwrap();
    assert_eq!(load(&printed).unwrap().to_toml().unwrap(), printed);
    let service = ServiceConfig::from(config);
    assert_eq!(service.outgoing_ports(), [2379, 2380]);
    assert!(ServiceConfig::from(load(WHOLE).unwrap()).outgoing_ports().is_empty());
}

#[test]
fn errors_of_the_store_name_the_setting() {
    let whole = on_etcd();
    let without = |setting: &str| -> String {
        whole
            .lines()
            .filter(|line| !line.starts_with(&format!("{setting} =")))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    for setting in ["endpoints", "ca", "certificate", "key"] {
        let error = load(&without(setting)).unwrap_err();
        assert!(error.contains(&format!("store.{setting}: is missing")), "{error}");
    }
    for wrong in [
        "http://10.0.0.1:2379",
        "10.0.0.1:2379",
        "https://10.0.0.1",
        "https://10.0.0.1:0",
        "https://u@h:1",
        "https://10.0.0.1:2379/",
        "https://10.0.0.1:2379/path",
        "https://:2379",
        "",
    ] {
        let error = load(&whole.replace("https://10.0.0.1:2379", wrong)).unwrap_err();
        assert!(
            error.contains("store.endpoints: ") && error.contains("expected https://HOST:PORT"),
            "{wrong}: {error}"
        );
    }
    let cases = [
        (whole.replace("kind = \"etcd\"", "kind = \"etcd\"\nprefix = \"x\""), "store.prefix: expected"),
        (whole.replace("kind = \"etcd\"", "kind = \"consul\""), "kind: unknown variant"),
        (whole.replace("kind = \"etcd\"", "kind = \"etcd\"\nuser = \"x\""), "unknown field `user`"),
        (whole.replace("kind = \"etcd\"", "kind = \"redb\""), "store.endpoints: belongs to kind"),
        (
            WHOLE.replace("[[pool]]", "[store]\nwithout_proof = \"refuse\"\n[[pool]]"),
            "store.without_proof: belongs to kind",
        ),
        (
            whole.replace("kind = \"etcd\"", "kind = \"etcd\"\nwithout_proof = \"pray\""),
            "without_proof: unknown variant",
        ),
    ];
    for (text, expected) in cases {
        let error = load(&text).unwrap_err();
        assert!(error.contains(expected), "{error}\n  lacks {expected}");
    }
}
