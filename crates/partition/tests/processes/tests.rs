//! The tests.

use crate::node::{Node, signal, status, wait_for};
use rustix::process::Signal;
use std::time::{Duration, Instant};

type Test = (&'static str, fn());

pub(crate) static ALL: &[Test] = &[
    ("signs_through_the_lanes_of_two_runtimes", || scenario("sign")),
    ("requests_survive_the_kill_of_their_partition", || scenario("kill")),
    ("making_large_keys_does_not_stop_signing", || scenario("generate")),
    ("a_stalled_partition_is_replaced", || scenario("stall")),
    ("more_requests_than_sockets_hold_are_all_answered", || scenario("flood")),
    ("dev_carries_a_clock_offset_and_production_refuses_it", clock),
    ("children_end_with_the_keeper", children_end_with_the_keeper),
    ("a_killed_service_is_started_again", a_killed_service_is_started_again),
    ("sigterm_drains_and_ends_with_0", || stop_with(Signal::TERM)),
    ("sigint_drains_and_ends_with_0", || stop_with(Signal::INT)),
    ("a_second_signal_ends_the_wait", a_second_signal_ends_the_wait),
    ("a_service_that_cannot_start_is_not_started_again", configuration_errors_end_the_keeper),
    ("no_secret_shows_in_proc", no_secret_shows_in_proc),
    ("partitions_and_services_are_confined", partitions_and_services_are_confined),
    ("without_locked_memory_production_does_not_start", memory_lock),
];

fn scenario(name: &str) {
    assert_eq!(Node::start(name).wait().code(), Some(0));
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
    let locked = status(*partition, "VmLck:").unwrap();
    assert_ne!(locked, "0 kB");
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
