//! Several hosts: network namespaces joined by virtual cables. The outer test starts the inner one in a namespace of its own.

use super::House;
use super::house::Answer;
use super::network::{bearer, closed, declare, demo, deny, endpoint, reader, request, set};
use crate::http::{EndpointPlace, ListenAddress, ListenSettings};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use strongroom_model::network::EndpointStatus;
use tokio::net::TcpStream;

const PORT: u16 = 8443;
/// Set where a skipped test is a failed one.
const REQUIRED: &str = "STRONGROOM_NAMESPACES_REQUIRED";
/// Set for the test that is started in a namespace.
const INSIDE: &str = "STRONGROOM_INSIDE_A_NAMESPACE";

fn run(command: &str) -> Result<(), String> {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().map_err(|e| format!("{command}: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "a test that was skipped says so")]
fn hosts_reach_what_their_addresses_and_interfaces_allow() {
    let possible = run("ip -V")
        .and_then(|()| run("unshare --user --map-root-user --net ip link add near type veth peer name far"));
    if let Err(reason) = possible {
        assert!(
            std::env::var_os(REQUIRED).is_none(),
            "{REQUIRED} is set, and there are no network namespaces: {reason}"
        );
        println!("SKIPPED: no network namespaces here: {reason}");
        return;
    }
    let inner = "http::tests::namespaces::inside_a_namespace";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(std::env::current_exe().unwrap())
        .args([inner, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    strongroom_counts::count("requests between network namespaces", 17);
}

/// Another host at the end of a cable.
struct Host {
    _process: Process,
    namespace: File,
}

/// Ends with the test, a failed one too.
struct Process(Child);

impl Host {
    /// `near` is the cable's end here, `far` the one there.
    fn new(near: (&str, &[&str]), far: (&str, &[&str]), route: &str) -> Self {
        let process = Process(
            Command::new("unshare")
                .args(["--net", "sleep", "600"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let pid = process.0.id();
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let path = format!("/proc/{pid}/ns/net");
        while std::fs::read_link(&path).is_ok_and(|namespace| namespace == own) {
            std::thread::yield_now();
        }
        let (here, there) = (near.0, far.0);
        run(&format!("ip link add {here} type veth peer name {there} netns {pid}")).unwrap();
        for address in near.1 {
            run(&format!("ip address add {address} dev {here} {}", no_dad(address))).unwrap();
        }
        run(&format!("ip link set {here} up")).unwrap();
        let inside = format!("nsenter --net=/proc/{pid}/ns/net ip");
        for address in far.1 {
            run(&format!("{inside} address add {address} dev {there} {}", no_dad(address))).unwrap();
        }
        run(&format!("{inside} link set {there} up")).unwrap();
        run(&format!("{inside} route add default via {route}")).unwrap();
        Self { namespace: File::open(path).unwrap(), _process: process }
    }

    /// Connects from an address of that host.
    async fn dial(&self, source: IpAddr, to: SocketAddr) -> TcpStream {
        let namespace = self.namespace.try_clone().unwrap();
        // A thread of its own: it stays in the other namespace, and so does its socket.
        let connected = std::thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let domain = socket2::Domain::for_address(to);
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
            socket.connect(&to.into()).unwrap();
            socket.set_nonblocking(true).unwrap();
            std::net::TcpStream::from(socket)
        });
        TcpStream::from_std(connected.join().unwrap()).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

fn no_dad(address: &str) -> &'static str {
    if address.contains(':') { "nodad" } else { "" }
}

fn listening() -> ListenSettings {
    let public = |ip: IpAddr| ListenAddress { address: (ip, PORT).into(), setting: "--port", optional: false };
    let interface = EndpointPlace::Interface { name: "vault1".into(), port: PORT };
    let address = EndpointPlace::Address("10.77.0.9:8443".parse().unwrap());
    ListenSettings {
        tls: vec![public(Ipv4Addr::UNSPECIFIED.into()), public(Ipv6Addr::UNSPECIFIED.into())],
        endpoints: vec![endpoint("cable", "demo", interface), endpoint("address", "demo", address)],
        ..ListenSettings::default()
    }
}

async fn ask(house: &House, stream: TcpStream, token: &str) -> Answer {
    let stream = house.secure(stream).await.unwrap();
    house.send_on(stream, request(&house.host("demo.managedhsm"), token, true).as_bytes()).await
}

#[tokio::test]
async fn inside_a_namespace() {
    // The test above starts it in a network namespace; elsewhere there is nothing to test.
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    if std::fs::read_dir("/sys/class/net").is_ok() && run("ip link set lo up").is_err() {
        panic!("not in a network namespace of its own");
    }
    let one = Host::new(
        ("vault0", &["10.77.0.1/24", "10.77.0.9/24", "fd77::1/64"]),
        ("client0", &["10.77.0.2/24", "10.77.0.3/24", "fd77::2/64", "fd77::3/64"]),
        "10.77.0.1",
    );
    let two = Host::new(("vault1", &["10.88.0.1/24"]), ("client1", &["10.88.0.2/24"]), "10.88.0.1");
    let house = House::on_network(listening()).await;
    let token = reader(&house).await;
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let at = |text: &str| SocketAddr::new(ip(text), PORT);
    // By address, IPv4 and IPv6.
    set(&house, deny(&["10.77.0.2", "fd77::2/127"]));
    for (source, to, expected) in [
        ("10.77.0.2", "10.77.0.1", 200),
        ("10.77.0.3", "10.77.0.1", 403),
        ("fd77::2", "fd77::1", 200),
        ("fd77::3", "fd77::1", 200),
    ] {
        let answer = ask(&house, one.dial(ip(source), at(to)).await, &token).await;
        assert_eq!(answer.status, expected, "{source} {answer:?}");
        if expected == 200 {
            let info = answer.header("x-ms-keyvault-network-info").unwrap();
            assert!(info.contains(&format!("addr={source};")), "{info}");
        }
    }
    // Public access off: the cable of the private endpoint, and the address of the other one, when they are approved.
    set(&house, closed());
    let places = [(&one, "10.77.0.2", "10.77.0.1"), (&two, "10.88.0.2", "10.88.0.1"), (&one, "10.77.0.2", "10.77.0.9")];
    for (endpoint, statuses) in [("cable", [403, 200, 403]), ("address", [403, 403, 200])] {
        declare(&house, endpoint, "demo", EndpointStatus::Approved);
        for ((host, source, to), expected) in places.into_iter().zip(statuses) {
            let answer = ask(&house, host.dial(ip(source), at(to)).await, &token).await;
            assert_eq!(answer.status, expected, "{endpoint}: {source} to {to}: {answer:?}");
        }
    }
    declare(&house, "cable", "demo", EndpointStatus::Approved);
    // An address of that cable, but by another one: not the endpoint.
    let around = ask(&house, one.dial(ip("10.77.0.2"), at("10.88.0.1")).await, &token).await;
    assert_eq!(around.status, 403, "{around:?}");
    let through = ask(&house, two.dial(ip("10.88.0.2"), at("10.88.0.1")).await, &token).await;
    let info = through.header("x-ms-keyvault-network-info").unwrap();
    assert!(info.contains("/privateEndpoints/cable;addr=10.88.0.2;"), "{info}");
    assert_eq!(demo(&house).network.load().policy().connections.len(), 1);
    let stranger = ask(&house, two.dial(ip("10.88.0.2"), at("10.88.0.1")).await, &bearer("no.such.token")).await;
    assert_eq!(stranger.status, 401);
}
