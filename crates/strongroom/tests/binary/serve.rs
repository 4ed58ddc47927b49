//! `strongroom serve`

use crate::house::{House, Running, free_port, refused, set_mode, strongroom, succeeded, try_ask};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const ADMINISTRATOR: &str = "22222222-2222-2222-2222-222222222222";

/// A production in a folder.
struct Site {
    folder: tempfile::TempDir,
    port: u16,
    /// Of the one service principal.
    secret: String,
}

impl Site {
    fn new() -> Self {
        let mut site = Self { folder: tempfile::tempdir().unwrap(), port: free_port(), secret: String::new() };
        for folder in ["data", "identity", "public"] {
            std::fs::create_dir(site.path(folder)).unwrap();
            set_mode(&site.path(folder), 0o700);
        }
        let mut add = strongroom();
        add.args(["principal", "--directory"]).arg(site.path("identity/directory.toml")).args(["add", "app"]);
        site.secret = succeeded(&mut add).split_whitespace().last().unwrap().to_owned();
        site.write(&site.settings());
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self) -> String {
        format!(
            "domain = \"localhost\"\nport = {}\nlisten = [\"127.0.0.1\"]\ndata = \"data\"\nseal = \"sealed/seal\"\nruntimes = 1\n\
             allow_unlocked_memory = true\n\n[tls]\nca_file = \"public/ca.pem\"\n\n[audit]\nreserve_mib = 1\n\n[identity]\n\
             tenant_id = \"11111111-1111-1111-1111-111111111111\"\ndirectory = \"identity/directory.toml\"\n\n[[pool]]\n\
             name = \"payments\"\nadministrators = [\"{ADMINISTRATOR}\"]\n",
            self.port
        )
    }

    fn write(&self, settings: &str) {
        std::fs::write(self.path("strongroom.toml"), settings).unwrap();
    }

    fn make_seal(&self) {
        succeeded(strongroom().args(["seal", "create"]).arg(self.path("sealed/seal")));
    }

    fn command(&self) -> Command {
        let mut command = strongroom();
        command.arg("serve").arg("--config").arg(self.path("strongroom.toml"));
        command
    }

    fn start(&self) -> Running {
        let log = self.path("log");
        let file = std::fs::File::create(&log).unwrap();
        let child = self.command().stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        let mut running = Running { child, log };
        running.wait_until(" ready ");
        running
    }
}

#[test]
fn production_starts_serves_stops_and_starts_again() {
    let site = Site::new();
    site.make_seal();
    for _ in 0..2 {
        let mut running = site.start();
        let ca = site.path("public/ca.pem");
        let end = Instant::now() + Duration::from_secs(20);
        let ready = loop {
            match try_ask(site.port, &ca, "payments.managedhsm.localhost", "GET /readyz", "", "") {
                Ok(answer) => break answer,
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
        };
        assert_eq!(ready, (200, r#"{"status":"ready"}"#.to_owned()));
        assert_eq!(running.stop(), Some(0));
        let log = std::fs::read_to_string(site.path("log")).unwrap();
        assert!(!log.contains(&site.secret), "{log}");
    }
}

#[test]
fn check_prints_every_setting_with_its_value() {
    let site = Site::new();
    let printed = succeeded(site.command().arg("--check"));
    let printed = printed.replace(&site.folder.path().display().to_string(), "/etc/strongroom");
    let printed = printed.replace(&site.port.to_string(), "8443");
    assert_eq!(printed, include_str!("check.toml"));
    assert_eq!(std::fs::read_dir(site.path("data")).unwrap().count(), 0, "nothing was made");
}

#[test]
fn every_setting_is_in_the_documentation() {
    let documentation = include_str!("../../../../docs/configuration.md");
    let site = Site::new();
    let more = "managed_identity_port = 1\nallow_unlocked";
    let tls = "certificate_chain = \"tls/a\"\nprivate_key = \"tls/b\"\nca_file";
    let header = format!("identity_header_sha256 = {:?}\ndirectory", "0".repeat(64));
    let settings = site
        .settings()
        .replace("allow_unlocked", more)
        .replace("ca_file", tls)
        .replace("directory =", &(header + " ="));
    site.write(&settings);
    let mut section = String::new();
    for line in succeeded(site.command().arg("--check")).lines().filter(|line| !line.is_empty()) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned() + ".";
        } else {
            let setting = format!("`{section}{}`", line.split(" =").next().unwrap());
            assert!(documentation.contains(&setting), "docs/configuration.md lacks {setting}");
        }
    }
}

#[test]
fn what_is_wrong_is_named_with_what_to_do() {
    let site = Site::new();
    let error = refused(&mut site.command(), 78);
    assert!(error.contains("strongroom seal create"), "{error}");
    let good = site.settings();
    for (settings, expected) in [
        (good.replace("runtimes = 1", "colour = 1"), "unknown field `colour`"),
        (good.replace("\"sealed/seal\"", "\"data/seal\""), "seal: expected a path outside"),
        (good.replace("\"data\"", "\"nowhere\""), "no such folder"),
        (good.replace("[identity]", "[log]\nlevel = \"=loud=\"\n[identity]"), "log.level"),
    ] {
        site.write(&settings);
        let error = refused(&mut site.command(), 78);
        assert!(error.contains(expected), "{error}\n  lacks {expected}");
    }
    site.write(&good);
    site.make_seal();
    let error = refused(strongroom().args(["seal", "create"]).arg(site.path("sealed/seal")), 78);
    assert!(error.contains("exists already: it is never overwritten"), "{error}");
    set_mode(&site.path("data"), 0o770);
    assert!(refused(&mut site.command(), 78).contains("chmod 0700"));
    set_mode(&site.path("data"), 0o700);
    for folder in ["identity", "public"] {
        site.write(
            &good
                .replace("sealed/seal", &format!("{folder}/seal"))
                .replace("seal = \"data/seal", "seal = \"data/../data/seal"),
        );
        for command in [&mut site.command(), site.command().arg("--check")] {
            let error = refused(command, 78);
            assert!(error.contains("move the seal to a folder of its own"), "{folder}: {error}");
        }
    }
    site.write(&good.replace("public/ca.pem", "missing/ca.pem"));
    assert!(refused(&mut site.command(), 78).contains("tls.ca_file"));
    site.write(&good);
    set_mode(&site.path("sealed/seal"), 0o640);
    assert!(refused(&mut site.command(), 78).contains("0600"));
}

#[test]
fn a_store_of_dev_is_refused() {
    let house = House::new();
    assert_eq!(house.start(&[]).stop(), Some(0));
    let site = Site::new();
    let at = |path: &Path| format!("{:?}", path.display().to_string());
    let settings = site.settings().replace("\"data\"", &at(&house.home().join("data")));
    site.write(&settings.replace("\"sealed/seal\"", &at(&house.home().join("seal"))));
    let error = refused(&mut site.command(), 78);
    assert!(error.contains("made by `strongroom dev`"), "{error}");
}

#[test]
fn a_store_of_production_is_not_touched_by_dev() {
    let site = Site::new();
    site.make_seal();
    assert_eq!(site.start().stop(), Some(0));
    let house = House::new();
    std::fs::create_dir(house.home()).unwrap();
    set_mode(&house.home(), 0o700);
    std::fs::rename(site.path("data"), house.home().join("data")).unwrap();
    std::fs::rename(site.path("sealed/seal"), house.home().join("seal")).unwrap();
    let error = refused(&mut house.command(), 78);
    assert!(error.contains("made by `strongroom serve`"), "{error}");
}
