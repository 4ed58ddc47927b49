//! The tests.

use crate::node::{self, Node, signal, status, wait_for};
use rustix::process::Signal;
use std::time::{Duration, Instant};

type Test = (&'static str, fn());

pub(crate) static ALL: &[Test] = &[
    ("signs_through_the_lanes_of_two_runtimes", || scenario("sign")),
    ("requests_survive_the_kill_of_their_partition", || scenario("kill")),
    ("making_large_keys_does_not_stop_signing", || scenario("generate")),
    ("a_stalled_partition_is_replaced", || scenario("stall")),
    ("more_requests_than_sockets_hold_are_all_answered", || scenario("flood")),
    ("a_partition_opens_connects_executes_and_signals_nothing", || scenario("probe")),
    ("a_service_reaches_what_it_is_given_and_nothing_else", || scenario("service-probe")),
    ("a_service_connects_to_the_ports_it_is_given_only", || scenario("service-probe-outward")),
    ("without_landlock_the_seal_is_not_hidden_and_that_is_an_error", no_landlock),
    ("a_keeper_executes_itself_and_enters_no_other_process", a_keeper_is_confined),
    ("a_keeper_starts_well_whatever_its_parent_left_behind", odd_parents),
    ("children_get_nothing_of_the_environment_but_how_to_log", environment),
    ("dev_carries_a_clock_offset_and_production_refuses_it", clock),
    ("children_end_with_the_keeper", children_end_with_the_keeper),
    ("a_killed_service_is_started_again", a_killed_service_is_started_again),
    ("sigterm_drains_and_ends_with_0", || stop_with(Signal::TERM)),
    ("sigint_drains_and_ends_with_0", || stop_with(Signal::INT)),
    ("a_second_signal_ends_the_wait", a_second_signal_ends_the_wait),
    ("a_service_that_ends_again_and_again_ends_the_keeper", a_crash_loop_ends),
    ("a_service_that_cannot_start_is_not_started_again", configuration_errors_end_the_keeper),
    ("no_secret_shows_in_proc", no_secret_shows_in_proc),
    ("partitions_and_services_are_confined", partitions_and_services_are_confined),
    ("without_locked_memory_production_does_not_start", memory_lock),
];

fn scenario(name: &str) {
    assert_eq!(Node::start(name).wait().code(), Some(0));
}

fn no_landlock() {
    let kind = "keeper-without-landlock";
    for (scenario, code) in [("hidden-seal", 78), ("visible-seal", 0), ("sign", 0)] {
        let folder = tempfile::tempdir().unwrap();
        let mut node = Node::start_as(kind, scenario, &["--create-seal", "--dev"], folder);
        assert_eq!(node.wait().code(), Some(code), "{scenario}");
    }
}

fn a_keeper_is_confined() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start_as("probing-keeper", "sign", &["--create-seal", "--dev"], folder);
    assert_eq!(node.wait().code(), Some(0));
}

fn clock() {
    scenario("clock");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("production"), "").unwrap();
    let switches = ["--create-seal", "--allow-unlocked-memory"];
    assert_eq!(Node::start_as("keeper", "clock", &switches, folder).wait().code(), Some(0));
}

fn children_end_with_the_keeper() {
    let mut node = Node::start("idle");
    node.note("ready");
    let children = [node.children("service"), node.children("partition")].concat();
    assert_eq!(children.len(), 2);
    signal(node.pid(), Signal::KILL);
    let since = Instant::now();
    assert_eq!(node.wait().code(), None);
    wait_for("the children's end", || children.iter().all(|c| status(*c, "State:").is_none()).then_some(()));
    assert!(since.elapsed() < Duration::from_secs(1));
}

fn a_killed_service_is_started_again() {
    let mut node = Node::start("idle");
    node.note("ready");
    let ([first], [partition]) = (&node.children("service")[..], &node.children("partition")[..]) else { panic!() };
    std::fs::remove_file(node.folder.path().join("ready")).unwrap();
    signal(*first, Signal::KILL);
    node.note("ready");
    let ([second], [other]) = (&node.children("service")[..], &node.children("partition")[..]) else { panic!() };
    assert!(first != second && partition != other);
    assert!(status(*partition, "State:").is_none(), "the old partition is gone");
    signal(node.pid(), Signal::TERM);
    assert_eq!(node.wait().code(), Some(0));
}

fn stop_with(number: Signal) {
    let mut node = Node::start("idle");
    node.note("ready");
    let children = [node.children("service"), node.children("partition")].concat();
    signal(node.pid(), number);
    assert_eq!(node.wait().code(), Some(0));
    node.note("stopped");
    assert!(children.iter().all(|c| status(*c, "State:").is_none()));
}

fn a_second_signal_ends_the_wait() {
    let mut node = Node::start("deaf");
    let service = wait_for("the service", || node.children("service").first().copied());
    signal(node.pid(), Signal::TERM);
    wait_for("the first signal's delivery", || (status(node.pid(), "ShdPnd:")? == "0000000000000000").then_some(()));
    signal(node.pid(), Signal::INT);
    assert_eq!(node.wait().code(), Some(1));
    assert!(status(service, "State:").is_none());
}

fn a_crash_loop_ends() {
    let mut node = Node::start("crash");
    assert_eq!(node.wait().code(), Some(i32::from(node::CRASHED)));
    let starts = std::fs::read_to_string(node.folder.path().join("starts")).unwrap();
    assert_eq!(starts.len(), 8, "it was tried again before");
}

fn configuration_errors_end_the_keeper() {
    assert_eq!(Node::start("refuse").wait().code(), Some(78));
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        Node::start_as("keeper", "idle", &["--dev"], folder).wait().code(),
        Some(78),
        "no seal, and none wanted"
    );
}

fn no_secret_shows_in_proc() {
    let mut node = Node::start("idle");
    let store_seal = node.note("ready");
    let seal = std::fs::read(node.folder.path().join("node.seal")).unwrap();
    let keys: Vec<&[u8]> = seal[seal.len() - 64..].chunks(32).collect();
    let hex = |key: &[u8]| key.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(hex(keys[1]), store_seal, "the service got the second key");
    let family = [vec![node.pid()], node.children("service"), node.children("partition")].concat();
    assert_eq!(family.len(), 3);
    for pid in family {
        for file in ["cmdline", "environ"] {
            // Reading the environment of a process that is not dumpable takes root.
            let Ok(shown) = std::fs::read(format!("/proc/{pid}/{file}")) else { continue };
            for key in &keys {
                let forms = [key.to_vec(), hex(key).into_bytes(), hex(key).to_uppercase().into_bytes()];
                assert!(!forms.iter().any(|f| shown.windows(f.len()).any(|w| w == f)), "{file} of {pid}");
            }
        }
    }
    signal(node.pid(), Signal::TERM);
    assert_eq!(node.wait().code(), Some(0));
}

fn partitions_and_services_are_confined() {
    let node = Node::start("idle");
    node.note("ready");
    let ([service], [partition]) = (&node.children("service")[..], &node.children("partition")[..]) else { panic!() };
    for pid in [*service, *partition] {
        assert_eq!(status(pid, "NoNewPrivs:").unwrap(), "1");
        assert_eq!(status(pid, "SigBlk:").unwrap(), "0000000000000000", "the keeper's mask is not inherited");
        assert_eq!(status(pid, "CapInh:").unwrap(), "0000000000000000");
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"));
        // Bit 10: CAP_NET_BIND_SERVICE, the service's alone; bit 14: CAP_IPC_LOCK, where the limit is finite.
        let capabilities = u64::from_str_radix(&status(pid, "CapPrm:").unwrap(), 16).unwrap();
        let allowed = if pid == *service { 1 << 10 } else { 1 << 14 };
        assert_eq!(capabilities & !allowed, 0);
    }
    assert_eq!(status(*partition, "Seccomp:").unwrap(), "2");
    let network = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net"));
    if let (Ok(ours), Ok(theirs)) = (network("self"), network(&partition.to_string())) {
        assert_ne!(ours, theirs);
    }
    if node::can_lock_memory() {
        assert_ne!(status(*partition, "VmLck:").unwrap(), "0 kB");
    }
    // Standard streams, the keeper's socket, two lanes for each of two runtimes: nothing else is open.
    if let Ok(open) = std::fs::read_dir(format!("/proc/{partition}/fd")) {
        assert_eq!(open.count(), 3 + 1 + 4);
    }
}

fn memory_lock() {
    let start = |switches: &[&str]| {
        Node::start_as("unlockable-keeper", "sign", switches, tempfile::tempdir().unwrap()).wait().code()
    };
    assert_eq!(start(&["--create-seal"]), Some(78));
    assert_eq!(start(&["--create-seal", "--allow-unlocked-memory"]), Some(0));
    assert_eq!(start(&["--create-seal", "--dev"]), Some(0));
}

/// Ignored signals, open files, no standard streams: what some parents leave to their children.
fn odd_parents() {
    const LEAKED: &str = "/etc/hostname";
    for preparation in ["trap '' CHLD TERM HUP", "exec 8</etc/hostname 9</etc/hostname", "exec <&- >&-", "umask 0"] {
        let mut node = Node::start_after(preparation, "idle");
        node.note("ready");
        let family = [vec![node.pid()], node.children("service"), node.children("partition")].concat();
        assert_eq!(family.len(), 3);
        for pid in family {
            for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
                let target = std::fs::read_link(entry.path()).unwrap_or_default();
                assert_ne!(target.display().to_string(), LEAKED, "{pid} has a file of its parent's parent");
            }
        }
        signal(node.pid(), Signal::TERM);
        assert_eq!(node.wait().code(), Some(0), "{preparation}: SIGTERM drains, and the keeper learns how it went");
        assert_eq!(Node::start_after(preparation, "refuse").wait().code(), Some(78), "{preparation}");
    }
    let mut node = Node::start("idle");
    node.note("ready");
    signal(node.pid(), Signal::HUP);
    assert_eq!(node.wait().code(), Some(0), "a terminal that closes is a wish to stop");
    let mut node = Node::start_after("trap '' HUP", "idle");
    node.note("ready");
    std::fs::remove_file(node.folder.path().join("ready")).unwrap();
    signal(node.pid(), Signal::HUP);
    signal(node.children("service")[0], Signal::KILL);
    node.note("ready");
    signal(node.pid(), Signal::TERM);
    assert_eq!(node.wait().code(), Some(0), "nohup holds");
}

fn environment() {
    let node = Node::start("idle");
    node.note("ready");
    for pid in [node.children("service"), node.children("partition")].concat() {
        // Reading the environment of a process that is not dumpable takes root.
        let Ok(shown) = std::fs::read(format!("/proc/{pid}/environ")) else { continue };
        for variable in shown.split(|b| *b == 0).filter(|v| !v.is_empty()) {
            let variable = String::from_utf8_lossy(variable).into_owned();
            let known = ["STRONGROOM_LOG_", "TERM=", "COLORTERM=", "NO_COLOR=", "CLICOLOR"];
            assert!(known.iter().any(|k| variable.starts_with(k)), "{variable}");
        }
    }
}
