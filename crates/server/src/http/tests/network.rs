//! Firewall, private endpoints and proxies, from several addresses of loopback.

use super::House;
use super::house::Answer;
use crate::http::{EndpointPlace, ListenEndpoint, ListenError, ListenSettings, Listeners};
use rustls::pki_types::ServerName;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use strongroom_engine::{Pool, PrivateEndpoint};
use strongroom_model::PoolName;
use strongroom_model::network::{
    Bypass, DefaultAction, EndpointConnection, EndpointStatus, IpRule, NetworkPolicy, NetworkSettings,
    PublicNetworkAccess, SubnetId, VirtualNetworkRule,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

const KEYS: &str = "/keys?api-version=7.6";
const SUBNET: &str = "/subscriptions/6d4b4a1e-0000-4000-8000-000000000002/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/front";

fn from(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

async fn dial(source: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

pub(super) fn demo(house: &House) -> Arc<Pool> {
    house.engine.pool(&PoolName::parse("demo").unwrap()).unwrap()
}

pub(super) fn set(house: &House, policy: NetworkPolicy) {
    house.engine.set_network_policy(&demo(house), policy);
}

pub(super) fn deny(rules: &[&str]) -> NetworkPolicy {
    NetworkPolicy {
        default_action: DefaultAction::Deny,
        ip_rules: rules.iter().map(|rule| IpRule::parse(rule).unwrap()).collect(),
        ..NetworkPolicy::default()
    }
}

pub(super) fn closed() -> NetworkPolicy {
    NetworkPolicy { public_access: PublicNetworkAccess::Disabled, ..NetworkPolicy::default() }
}

pub(super) fn request(host: &str, headers: &str, close: bool) -> String {
    let connection = if close { "close" } else { "keep-alive" };
    format!("GET {KEYS} HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\n{headers}\r\n")
}

pub(super) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

async fn ask(house: &House, stream: TcpStream, headers: &str) -> Answer {
    let stream = house.secure(stream).await.unwrap();
    house.send_on(stream, request(&house.host("demo.managedhsm"), headers, true).as_bytes()).await
}

async fn ask_from(house: &House, source: IpAddr, headers: &str) -> Answer {
    ask(house, dial(source, house.address).await, headers).await
}

fn refusal(answer: &Answer) -> (u16, String, String) {
    let error = &answer.json()["error"];
    let inner = error["innererror"]["code"].as_str().unwrap_or_default();
    (answer.status, inner.to_owned(), error["message"].as_str().unwrap().to_owned())
}

/// A user who may read keys; the administrator may not.
pub(super) async fn reader(house: &House) -> String {
    let token = house.token(&house.admin).await;
    let role = "21dbd100-6940-42c2-9190-5d6cb909625b";
    let body = format!(
        r#"{{"properties":{{"principalId":"{}","roleDefinitionId":"Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/{role}"}}}}"#,
        house.stranger.0
    );
    let target = format!("/providers/Microsoft.Authorization/roleAssignments/{}?api-version=7.6", uuid::Uuid::new_v4());
    assert_eq!(house.hsm("PUT", &target, Some(&token), &body).await.status, 201);
    bearer(&house.token(&house.stranger).await)
}

#[tokio::test]
async fn the_address_decides_and_what_a_client_says_about_itself_does_not() {
    let house = House::new().await;
    let token = reader(&house).await;
    assert_eq!(ask_from(&house, from(3), &token).await.status, 200);
    let near = (SubnetId::parse(SUBNET).unwrap(), vec![IpRule::parse("127.0.0.8/29").unwrap()]);
    let settings = NetworkSettings { networks: [near].into(), ..NetworkSettings::default() };
    house.engine.set_network_surroundings(settings, Vec::new());
    let id = SubnetId::parse(&SUBNET.to_uppercase()).unwrap();
    let mut policy = deny(&["127.0.0.2", "::1"]);
    policy.virtual_network_rules.push(VirtualNetworkRule { id });
    set(&house, policy);
    assert_eq!(ask_from(&house, from(2), &token).await.status, 200);
    assert_eq!(ask_from(&house, from(9), &token).await.status, 200);
    let spoofed = format!(
        "{token}X-Forwarded-For: 127.0.0.2\r\nForwarded: for=127.0.0.2\r\nX-Real-IP: 127.0.0.2\r\nTrue-Client-IP: 127.0.0.2\r\n"
    );
    for headers in [&token, &spoofed] {
        let (status, inner, message) = refusal(&ask_from(&house, from(3), headers).await);
        assert_eq!((status, inner.as_str()), (403, "ForbiddenByFirewall"));
        let text = "Client address (127.0.0.3) is not authorized and caller is not a trusted service. (Activity ID: ";
        assert!(message.starts_with(text), "{message}");
    }
    let line = house.audited("127.0.0.3").await;
    assert_eq!((line["callerIpAddress"].as_str(), line["httpStatusCode"].as_u64()), (Some("127.0.0.3"), Some(403)));
    assert!(line["privateEndpoint"].is_null(), "{line}");
}

#[tokio::test]
async fn the_challenge_comes_before_the_firewall_and_the_firewall_before_the_token() {
    let house = House::new().await;
    for policy in [deny(&[]), closed(), NetworkPolicy { bypass: Bypass::None, ..deny(&[]) }] {
        set(&house, policy.clone());
        let challenged = ask_from(&house, from(3), "").await;
        assert_eq!((challenged.status, challenged.body.as_str()), (401, ""));
        assert!(challenged.header("www-authenticate").is_some());
        let refused = ask_from(&house, from(3), &bearer("not.a.token")).await;
        assert_eq!(refused.status, 403, "{policy:?}");
    }
    // Where a trusted service could pass, the token decides first.
    trust(&house, house.stranger.0);
    set(&house, deny(&[]));
    assert_eq!(ask_from(&house, from(3), &bearer("not.a.token")).await.status, 401);
}

fn trust(house: &House, who: uuid::Uuid) {
    let settings = NetworkSettings { trusted_services: vec![who], ..NetworkSettings::default() };
    house.engine.set_network_surroundings(settings, Vec::new());
}

#[tokio::test]
async fn trusted_services_pass_unless_the_bypass_is_off() {
    let house = House::new().await;
    let token = reader(&house).await;
    let other = bearer(&house.token(&house.admin).await);
    trust(&house, house.stranger.0);
    for policy in [deny(&[]), closed()] {
        set(&house, policy.clone());
        assert_eq!(ask_from(&house, from(3), &token).await.status, 200);
        assert_eq!(ask_from(&house, from(3), &other).await.status, 403);
        set(&house, NetworkPolicy { bypass: Bypass::None, ..policy });
        assert_eq!(ask_from(&house, from(3), &token).await.status, 403);
    }
    set(&house, closed());
    let (_, inner, message) = refusal(&ask_from(&house, from(3), &other).await);
    assert_eq!(inner, "ForbiddenByConnection");
    assert!(message.starts_with("Public network access is disabled and request is not from a trusted service"));
}

/// One request on a connection that stays open; the answers here have bodies of a known length.
async fn again<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: &str) -> u16 {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        bytes.push(stream.read_u8().await.unwrap());
        if bytes.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let answer = Answer::parse(&bytes);
    let length = answer.header("content-length").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    answer.status
}

#[tokio::test]
async fn an_open_connection_loses_access_with_its_next_request() {
    let house = House::new().await;
    let token = reader(&house).await;
    let request = request(&house.host("demo.managedhsm"), &token, false);
    let mut stream = house.secure(dial(from(4), house.address).await).await.unwrap();
    for _ in 0..5 {
        set(&house, deny(&["127.0.0.4"]));
        assert_eq!(again(&mut stream, &request).await, 200);
        set(&house, deny(&["127.0.0.5"]));
        assert_eq!(again(&mut stream, &request).await, 403);
        set(&house, NetworkPolicy::default());
        assert_eq!(again(&mut stream, &request).await, 200);
        set(&house, closed());
        assert_eq!(again(&mut stream, &request).await, 403);
    }
}

#[tokio::test]
async fn changes_at_once_leave_the_last_one_and_nothing_in_between() {
    const CHANGES: u8 = 200;
    let house = Arc::new(House::new().await);
    let token = reader(&house).await;
    let request = request(&house.host("demo.managedhsm"), &token, false);
    // Each policy lets one address pass, and both never: an answer for one says what the other must be.
    let policies = [deny(&["127.0.0.4"]), deny(&["127.0.0.5"])];
    let done = Arc::new(AtomicU8::new(0));
    let writers = [0usize, 1].map(|first| {
        let (house, policies, done) = (Arc::clone(&house), policies.clone(), Arc::clone(&done));
        tokio::task::spawn_blocking(move || {
            for turn in 0..CHANGES {
                set(&house, policies[(first + usize::from(turn)) % 2].clone());
                // Surroundings change at the same time: no rule may be lost over it.
                house.engine.set_network_surroundings(NetworkSettings::default(), Vec::new());
                assert_ne!(demo(&house).network.load().rules(), &NetworkPolicy::default());
            }
            done.fetch_add(1, Ordering::AcqRel);
        })
    });
    let mut streams = Vec::new();
    for source in [4, 5] {
        streams.push(house.secure(dial(from(source), house.address).await).await.unwrap());
    }
    while done.load(Ordering::Acquire) < 2 {
        for stream in &mut streams {
            let status = again(stream, &request).await;
            assert!([200, 403].contains(&status), "{status}");
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    set(&house, policies[0].clone());
    assert_eq!(again(&mut streams[0], &request).await, 200);
    assert_eq!(again(&mut streams[1], &request).await, 403);
}

pub(super) fn endpoint(name: &str, resource: &str, place: EndpointPlace) -> ListenEndpoint {
    let id = format!("/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/privateEndpoints/{name}");
    ListenEndpoint { name: name.into(), id, resource: PoolName::parse(resource).unwrap(), place }
}

fn somewhere() -> EndpointPlace {
    EndpointPlace::Address((from(1), 0).into())
}

fn connection(name: &str, status: EndpointStatus) -> EndpointConnection {
    EndpointConnection { name: name.into(), endpoint_id: String::new(), status, description: String::new() }
}

pub(super) fn declare(house: &House, name: &str, resource: &str, status: EndpointStatus) {
    let pool = PoolName::parse(resource).unwrap();
    let endpoint = PrivateEndpoint { pool, connection: connection(name, status) };
    house.engine.set_network_surroundings(NetworkSettings::default(), vec![endpoint]);
}

#[tokio::test]
async fn a_private_endpoint_answers_for_its_hsm_when_it_is_approved() {
    let network = ListenSettings { endpoints: vec![endpoint("one", "demo", somewhere())], ..ListenSettings::default() };
    let house = House::on_network(network).await;
    let token = reader(&house).await;
    let there = house.endpoints[0];
    set(&house, closed());
    assert_eq!(ask_from(&house, from(3), &token).await.status, 403);
    declare(&house, "one", "demo", EndpointStatus::Pending);
    let pending = ask(&house, dial(from(3), there).await, &token).await;
    let (status, inner, message) = refusal(&pending);
    assert_eq!((status, inner.as_str()), (403, "ForbiddenByConnection"));
    assert!(message.contains("not approved: its state is Pending"), "{message}");
    assert_eq!(ask(&house, dial(from(3), there).await, "").await.status, 401);
    let decide = |status| {
        let mut policy = closed();
        policy.decide(connection("One", status));
        set(&house, policy);
    };
    let mut open = house.secure(dial(from(3), there).await).await.unwrap();
    let private = house.host("demo.privatelink.managedhsm");
    for host in [&house.host("demo.managedhsm"), &private] {
        let request = request(host, &token, false);
        decide(EndpointStatus::Approved);
        assert_eq!(again(&mut open, &request).await, 200);
        for status in [EndpointStatus::Rejected, EndpointStatus::Disconnected, EndpointStatus::Pending] {
            decide(status);
            assert_eq!(again(&mut open, &request).await, 403);
        }
    }
    decide(EndpointStatus::Approved);
    let good = ask(&house, dial(from(3), there).await, &token).await;
    let info = good.header("x-ms-keyvault-network-info").unwrap();
    assert!(info.starts_with("conn_type=PrivateLink;private_endpoint=/subscriptions/s/"), "{info}");
    assert!(info.ends_with("/privateEndpoints/one;addr=127.0.0.3;act_addr_fam=Ipv4;"), "{info}");
    // The private name leads nowhere else.
    let outside = house.secure(dial(from(3), house.address).await).await.unwrap();
    set(&house, NetworkPolicy::default());
    assert_eq!(house.send_on(outside, request(&private, &token, true).as_bytes()).await.status, 404);
}

#[tokio::test]
async fn nothing_but_its_hsm_is_behind_a_private_endpoint() {
    let network = ListenSettings { endpoints: vec![endpoint("one", "demo", somewhere())], ..ListenSettings::default() };
    let house = House::on_network(network).await;
    declare(&house, "one", "demo", EndpointStatus::Approved);
    let port = house.address.port();
    for host in
        ["sleepy.managedhsm", "sleepy.privatelink.managedhsm", "other.managedhsm", "login", "management", "graph"]
    {
        let host = format!("{host}.localhost:{port}");
        let stream = house.secure(dial(from(3), house.endpoints[0]).await).await.unwrap();
        let answer = house.send_on(stream, request(&host, "", true).as_bytes()).await;
        let (status, inner, message) = refusal(&answer);
        assert_eq!((status, inner.as_str()), (403, "ForbiddenByConnection"), "{host}");
        assert!(
            message.starts_with("This TCP connection does not allow access to the host of the request"),
            "{message}"
        );
    }
    for (target, expected) in [("/healthz", 401), ("/readyz", 401)] {
        let stream = house.secure(dial(from(3), house.endpoints[0]).await).await.unwrap();
        let host = house.host("demo.managedhsm");
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(house.send_on(stream, bytes.as_bytes()).await.status, expected, "{target}");
    }
}

fn unix(path: &Path) -> ListenSettings {
    let endpoints = vec![endpoint("local", "demo", EndpointPlace::Unix(path.to_path_buf()))];
    ListenSettings { endpoints, ..ListenSettings::default() }
}

fn in_a_folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.socket");
    (folder, path)
}

#[tokio::test]
async fn a_unix_socket_is_a_private_endpoint() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path) = in_a_folder();
    // Left behind by a run that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let house = House::on_network(unix(&path)).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let token = reader(&house).await;
    set(&house, closed());
    for (status, expected) in [(EndpointStatus::Pending, 403), (EndpointStatus::Approved, 200)] {
        declare(&house, "local", "demo", status);
        // More than one worker accepts there.
        for _ in 0..8 {
            let stream = house.secure(UnixStream::connect(&path).await.unwrap()).await.unwrap();
            let bytes = request(&house.host("demo.privatelink.managedhsm"), &token, true);
            let answer = house.send_on(stream, bytes.as_bytes()).await;
            assert_eq!(answer.status, expected, "{answer:?}");
            if expected == 200 {
                let info = answer.header("x-ms-keyvault-network-info").unwrap();
                assert!(info.ends_with("/privateEndpoints/local;addr=;act_addr_fam=Unix;"), "{info}");
                let line = house.audited(answer.header("x-ms-request-id").unwrap()).await;
                assert!(line["callerIpAddress"].is_null(), "{line}");
                let id = line["privateEndpoint"].as_str().unwrap();
                assert!(id.ends_with("/privateEndpoints/local"), "{line}");
            }
        }
    }
}

#[test]
fn a_taken_unix_socket_or_a_file_is_not_replaced() {
    let (_folder, path) = in_a_folder();
    let tls = crate::http::ListenAddress::loopback(0, "--port");
    let bind = || Listeners::bind(&ListenSettings { tls: tls.clone(), workers: 1, ..unix(&path) });
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(bind(), Err(ListenError::EndpointTaken { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    std::fs::remove_file(&path).unwrap();
    let mine = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let error = bind().unwrap_err();
    assert!(matches!(error, ListenError::EndpointTaken { .. }), "{error}");
    assert!(error.to_string().contains("local") && error.to_string().contains("demo.socket"), "{error}");
    drop(mine);
    drop(bind().unwrap());
    drop(bind().unwrap());
}

#[test]
#[allow(clippy::print_stdout, reason = "a test that was skipped says so")]
fn a_virtual_machine_socket_is_there_where_the_kernel_has_them() {
    let tls = crate::http::ListenAddress::loopback(0, "--port");
    let port = 50_000 + std::process::id() % 10_000;
    let endpoints = vec![endpoint("machines", "demo", EndpointPlace::Vsock(port))];
    let settings = ListenSettings { tls, endpoints, workers: 2, ..ListenSettings::default() };
    let first = Listeners::bind(&settings).unwrap();
    match Listeners::bind(&settings) {
        Err(ListenError::EndpointTaken { .. }) => {}
        Ok(_) => println!("skipped: this kernel has no vsock"),
        Err(error) => panic!("{error}"),
    }
    drop(first);
}

#[tokio::test]
async fn a_proxy_names_the_real_peer_and_nobody_else_may() {
    let proxies = vec![IpRule::parse("127.0.0.16/28").unwrap()];
    let endpoints = vec![endpoint("one", "demo", somewhere())];
    let house = House::on_network(ListenSettings { proxies, endpoints, ..ListenSettings::default() }).await;
    let token = reader(&house).await;
    set(&house, deny(&["192.0.2.7", "2001:db8::/32", "127.0.0.3"]));
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\x00\x00\x01\x00\x01\x01\xbb";
    let far = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\x7f\x00\x00\x01\x00\x01\x01\xbb";
    let cases: [(&[u8], u16, &str); 6] = [
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 1 443\r\n", 200, "Ipv4;addr=192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 1 443\r\n", 200, "Ipv6;addr=2001:db8::7"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 443\r\n", 200, "Ipv4;addr=192.0.2.7"),
        (v2, 200, "Ipv4;addr=192.0.2.7"),
        (far, 403, "192.0.2.8"),
        // The proxy itself, whose address no rule names.
        (b"PROXY UNKNOWN\r\n", 403, "127.0.0.20"),
    ];
    for (header, status, shown) in cases {
        let mut stream = dial(from(20), house.address).await;
        stream.write_all(header).await.unwrap();
        let answer = ask(&house, stream, &token).await;
        assert_eq!(answer.status, status, "{answer:?}");
        let said = answer.header("x-ms-keyvault-network-info").unwrap_or(&answer.body).to_owned();
        assert!(said.contains(shown), "{said}");
    }
    house.audited("\"callerIpAddress\":\"192.0.2.7\"").await;
    house.audited("\"callerIpAddress\":\"192.0.2.8\"").await;
    assert!(house.audit_lines("\"callerIpAddress\":\"127.0.0.20\"").len() == 1);
    // A proxy without its header, and headers of peers that are no proxies: at both kinds of listeners.
    for to in [house.address, house.endpoints[0]] {
        assert!(house.secure(dial(from(20), to).await).await.is_err());
        for header in [&b"PROXY TCP4 192.0.2.7 127.0.0.1 1 443\r\n"[..], v2] {
            let mut stream = dial(from(3), to).await;
            stream.write_all(header).await.unwrap();
            assert!(house.secure(stream).await.is_err());
        }
    }
    assert_eq!(ask_from(&house, from(3), &token).await.status, 200);
}

#[tokio::test]
async fn a_proxy_that_says_nothing_is_closed_in_time() {
    let limits = crate::http::HttpLimits { handshake: Duration::from_millis(200), ..Default::default() };
    let proxies = vec![IpRule::parse("127.0.0.20").unwrap()];
    let network = ListenSettings { proxies, ..ListenSettings::default() };
    let house = House::listening(limits, Duration::from_secs(30), Arc::new(|_| {}), network).await;
    for header in [&b""[..], b"PROXY TCP4 192.0.2.7", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\xff"] {
        let mut stream = dial(from(20), house.address).await;
        stream.write_all(header).await.unwrap();
        let mut rest = Vec::new();
        let _closed = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    }
}

#[tokio::test]
async fn the_certificate_is_good_for_both_names() {
    let network = ListenSettings { endpoints: vec![endpoint("one", "demo", somewhere())], ..ListenSettings::default() };
    let house = House::on_network(network).await;
    for name in ["demo.managedhsm.localhost", "demo.privatelink.managedhsm.localhost"] {
        let stream = dial(from(3), house.endpoints[0]).await;
        let name = ServerName::try_from(name).unwrap();
        TlsConnector::from(Arc::clone(&house.client)).connect(name, stream).await.unwrap();
    }
}
