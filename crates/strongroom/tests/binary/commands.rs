//! The commands beside `dev` and `serve`.

use crate::house::{House, mode, quiet, refused, strongroom, succeeded, text};
use std::process::Stdio;

#[test]
fn verify_says_whether_the_log_is_whole() {
    let house = House::new();
    assert_eq!(house.start(&[]).stop(), Some(0));
    let folder = house.home().join("data/audit");
    let printed = succeeded(strongroom().args(["audit", "verify"]).arg(&folder));
    assert!(printed.contains("the log is whole") && printed.contains("1 signed heads"), "{printed}");
    let head = printed.lines().find_map(|l| l.strip_prefix("last line ")).unwrap();
    succeeded(strongroom().args(["audit", "verify", "--head", head]).arg(&folder));
    let file = folder.join("insights-logs-auditevent.jsonl");
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, whole.replacen("RoleAssignmentCreate", "RoleAssignmentDelete", 1)).unwrap();
    let output = strongroom().args(["audit", "verify", "--json"]).arg(&folder).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["finding"]["kind"], "changed");
    let lines: Vec<&str> = whole.lines().collect();
    std::fs::write(&file, lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    let output = strongroom().args(["audit", "verify", "--head", head]).arg(&folder).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("ends before a line"), "{}", text(&output.stdout));
    refused(strongroom().args(["audit", "verify"]).arg(house.folder.path()), 78);
    refused(strongroom().args(["audit", "verify", "/nowhere"]), 78);
}

#[test]
fn principals_are_added_listed_and_kept_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("directory.toml");
    let principal = || {
        let mut command = strongroom();
        command.args(["principal", "--directory"]).arg(&file);
        command
    };
    let added = succeeded(principal().args(["add", "app"]));
    let of = |name: &str| added.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().to_owned();
    let (client, secret) = (of("client id"), of("client secret"));
    assert_eq!(mode(&file), 0o600);
    assert!(!std::fs::read_to_string(&file).unwrap().contains(&secret));
    assert!(refused(principal().args(["add", "APP"]), 78).contains("already"));
    succeeded(principal().args(["disable", &client]));
    let list = succeeded(principal().arg("list"));
    assert!(list.contains(&client) && list.contains("(disabled)"), "{list}");
    succeeded(principal().args(["enable", &client]));
    assert!(!succeeded(principal().arg("list")).contains("(disabled)"));
    assert_ne!(succeeded(principal().args(["secret", &client])).trim(), secret);
    let nobody = "00000000-0000-0000-0000-000000000009";
    assert!(refused(principal().args(["disable", nobody]), 78).contains(nobody));
}

#[test]
fn help_says_what_the_program_is() {
    let help = succeeded(strongroom().arg("--help"));
    assert!(help.starts_with("A Managed HSM that you own"), "{help}");
}

#[test]
fn a_closed_pipe_panics_nobody() {
    for arguments in [&["--help"][..], &["--version"], &["seal", "create", "/dev/null/x"]] {
        let mut child = strongroom().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        drop(child.stderr.take());
        let status = child.wait().unwrap();
        assert_ne!(status.code(), Some(101), "{arguments:?}");
    }
    assert_eq!(quiet(&mut strongroom()).status().unwrap().code(), Some(2));
}
