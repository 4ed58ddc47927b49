//! The configuration file: what is taken prints as a file that is taken and says the same.

use std::cell::RefCell;
use std::path::Path;
use strongroom_server::config::Config;

thread_local! {
    static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

pub(crate) fn run(data: &[u8]) {
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| tempfile::tempdir().unwrap()).path();
        if let Ok(config) = load(folder, data) {
            let printed = config.to_toml().unwrap();
            let again = load(folder, printed.as_bytes());
            let again = again.unwrap_or_else(|error| panic!("what was printed is refused: {error}\n{printed}"));
            assert_eq!(again.to_toml().unwrap(), printed);
            assert!(config.data.is_absolute() && config.seal.is_absolute() && !config.pools.is_empty());
            assert!(!config.seal.starts_with(&config.data));
        }
    });
}

fn load(folder: &Path, text: &[u8]) -> Result<Config, strongroom_server::config::ConfigError> {
    let path = folder.join("strongroom.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path)
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let least = r#"domain = "hsm.example.org"
data = "data"
seal = "seal"

[identity]
tenant_id = "10000000-0000-4000-8000-000000000001"
directory = "directory.toml"

[[pool]]
name = "demo"
administrators = ["20000000-0000-4000-8000-000000000001"]
"#;
    let most = r#"domain = "HSM.example.org"
port = 8443
listen = ["127.0.0.1", "::1"]
managed_identity_port = 8444
data = "/var/lib/strongroom"
seal = "../seal"
runtimes = 2
allow_unlocked_memory = true
region = "here"

[tls]
certificate_chain = "chain.pem"
private_key = "key.pem"

[identity]
tenant_id = "10000000-0000-4000-8000-000000000001"
directory = "directory.toml"
additional_audiences = ["https://extra.example"]

[audit]
folder = "/var/log/strongroom"
reserve_mib = 16
segment_mib = 64
resource_group = "group"

[log]
format = "json"

[[pool]]
name = "demo"
retention_days = 7
purge_protection = true
administrators = ["20000000-0000-4000-8000-000000000001"]
state = "provisioned"

[[pool]]
name = "other"
administrators = ["20000000-0000-4000-8000-000000000001"]
"#;
    vec![least.into(), most.into()]
}
