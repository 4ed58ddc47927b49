//! What nobody should send, and what must hold all the same.

use super::House;
use crate::http::HttpLimits;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn bodies_are_bounded_in_size_and_time() {
    let house = House::with(HttpLimits::default(), Duration::from_millis(50)).await;
    let token = house.token(&house.admin).await;
    let large = " ".repeat(2_000_000);
    let answer = house.hsm("POST", "/test/slow?api-version=7.6", Some(&token), &large).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "RequestEntityTooLarge"));
    let head = |extra: &str| {
        let host = house.host("demo.managedhsm");
        format!(
            "POST /test/slow?api-version=7.6 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{extra}\r\n"
        )
    };
    let chunks = "3e8\r\n".to_owned() + &"x".repeat(1000) + "\r\n";
    let answer = house.send((head("Transfer-Encoding: chunked\r\n") + &chunks.repeat(66)).as_bytes()).await;
    assert_eq!(answer.status, 413);
    let answer = house.send((head("Content-Length: 10\r\n") + "half").as_bytes()).await;
    assert_eq!((answer.status, answer.code().as_str()), (408, "RequestTimeout"));
    let endless = head("Content-Length: 1073741824\r\n");
    assert_eq!(house.send(endless.as_bytes()).await.status, 413);
}

#[tokio::test]
async fn a_waiting_client_hears_continue_only_behind_the_gates() {
    let house = House::new().await;
    let token = house.token(&house.admin).await;
    let host = house.host("demo.managedhsm");
    let head = |authorization: &str| {
        format!(
            "POST /test/slow?api-version=7.6 HTTP/1.1\r\nHost: {host}\r\n{authorization}Expect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
        )
    };
    let refused = house.send(head("").as_bytes()).await;
    assert_eq!(refused.status, 401);
    let mut stream = house.connect().await;
    stream.write_all(head(&format!("Authorization: Bearer {token}\r\n")).as_bytes()).await.unwrap();
    let mut first = [0; 25];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").await.unwrap();
    let mut rest = Vec::new();
    let _closed = stream.read_to_end(&mut rest).await;
    assert!(rest.starts_with(b"HTTP/1.1 429"));
}

#[tokio::test]
async fn smuggling_is_refused() {
    let house = House::new().await;
    let host = house.host("demo.managedhsm");
    for extra in [
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: 4, 5\r\n",
        "Content-Length: +4\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Bad Header: x\r\n",
        "X: a\0b\r\n",
        " folded: x\r\n",
    ] {
        let head = format!("POST /keys/k/create?api-version=7.6 HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n0\r\n\r\n");
        assert_eq!(house.send(head.as_bytes()).await.status, 400, "{extra:?}");
    }
    // Both framings at once: whatever is answered, nothing behind it is taken for a request.
    let both = format!(
        "POST /keys/k/create?api-version=7.6 HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"
    );
    let answer = house.send(both.as_bytes()).await;
    assert_eq!((answer.status, answer.header("connection")), (401, Some("close")), "{answer:?}");
    assert!(!answer.body.contains("HTTP/1.1"), "{answer:?}");
}

#[tokio::test]
async fn heads_are_bounded() {
    let house = House::new().await;
    let many = "x: y\r\n".repeat(100_000);
    let started = Instant::now();
    for extra in [many, format!("x: {}\r\n", "y".repeat(1 << 20)), "a: b\r\n".repeat(101)] {
        let head = format!("GET /keys HTTP/1.1\r\nHost: {}\r\n{extra}\r\n", house.host("demo.managedhsm"));
        assert_eq!(house.send(head.as_bytes()).await.status, 431);
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000));
    assert!([414, 431].contains(&house.send(long.as_bytes()).await.status));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_panic_harms_nobody_else() {
    let house = House::new().await;
    let token = house.token(&house.admin).await;
    let slow = house.hsm("POST", "/test/slow?api-version=7.6", Some(&token), "{}");
    let panic = house.hsm("POST", "/test/panic?api-version=7.6", Some(&token), "{}");
    let (slow, panic) = tokio::join!(slow, panic);
    assert_eq!((slow.status, slow.header("retry-after")), (429, Some("1")));
    assert_eq!((panic.status, panic.code().as_str()), (500, "InternalServerError"));
    assert!(!panic.body.contains("as the test wants"));
    let line = house.audited(panic.header("x-ms-request-id").unwrap()).await.to_string();
    assert!(line.contains("500"), "{line}");
    assert_eq!(house.hsm("GET", "/keys", Some(&token), "").await.status, 400);
}

#[tokio::test]
async fn a_client_that_leaves_is_recorded_all_the_same() {
    let house = House::new().await;
    let token = house.token(&house.admin).await;
    let id = "0f0e0d0c-0b0a-4908-8706-050403020100";
    let mut stream = house.connect().await;
    let head = format!(
        "POST /test/slow?api-version=7.6 HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nx-ms-client-request-id: {id}\r\nContent-Length: 2\r\n\r\n{{}}",
        house.host("demo.managedhsm")
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(stream);
    let line = house.audited(id).await.to_string();
    assert!(line.contains("429"), "{line}");
}

#[tokio::test]
async fn a_stream_that_is_reset_is_carried_to_its_end() {
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let mut house = House::new().await;
    let token = house.token(&house.admin).await;
    let mut config = (*house.client).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    house.client = std::sync::Arc::new(config);
    let io = TokioIo::new(house.connect().await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let driving = tokio::spawn(connection);
    let ids = ["0f0e0d0c-0b0a-4908-8706-050403020101", "0f0e0d0c-0b0a-4908-8706-050403020102"];
    for id in ids {
        let uri = format!("https://{}/test/slow?api-version=7.6", house.host("demo.managedhsm"));
        let request = http::Request::post(&uri)
            .header("authorization", format!("Bearer {token}"))
            .header("x-ms-client-request-id", id)
            .body(Full::new(Bytes::from_static(b"{}")));
        let answer = sender.send_request(request.unwrap());
        assert!(tokio::time::timeout(Duration::from_millis(40), answer).await.is_err(), "it is still under way");
    }
    // One was reset above; the other one loses its whole connection.
    driving.abort();
    for id in ids {
        let line = house.audited(id).await.to_string();
        assert!(line.contains("429"), "{line}");
    }
}

#[tokio::test]
async fn idle_connections_and_slow_heads_are_closed() {
    let limits = HttpLimits {
        first_request: Duration::from_millis(60),
        idle: Duration::from_millis(60),
        handshake: Duration::from_millis(60),
        ..HttpLimits::default()
    };
    let house = House::with(limits, Duration::from_secs(30)).await;
    let mut silent = tokio::net::TcpStream::connect(house.address).await.unwrap();
    let mut slow = house.connect().await;
    slow.write_all(b"GET /healthz HT").await.unwrap();
    let mut idle = house.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let ended = async {
        let mut bytes = Vec::new();
        let _closed = silent.read_to_end(&mut bytes).await;
        let _closed = slow.read_to_end(&mut bytes).await;
        assert!(bytes.is_empty(), "no answer to half a head");
        let _closed = idle.read_to_end(&mut bytes).await;
        assert!(bytes.starts_with(b"HTTP/1.1 200"));
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
}

#[tokio::test]
async fn a_stop_waits_for_what_is_under_way() {
    let mut house = House::new().await;
    let token = house.token(&house.admin).await;
    let idle = house.connect().await;
    let under_way = house.hsm("POST", "/test/slow?api-version=7.6", Some(&token), "{}");
    let stop = async {
        tokio::time::sleep(Duration::from_millis(40)).await;
        house.ask_to_stop();
    };
    let (answer, ()) = tokio::join!(under_way, stop);
    assert_eq!(answer.status, 429);
    let started = Instant::now();
    house.stop();
    assert!(started.elapsed() < Duration::from_secs(5));
    drop(idle);
}

#[tokio::test]
async fn when_a_worker_dies_the_process_ends() {
    let panics = |index| assert_ne!(index, 1, "as the test wants");
    let mut house = House::build(HttpLimits::default(), Duration::from_secs(30), std::sync::Arc::new(panics)).await;
    assert!(matches!(house.ended(), Err(crate::http::ListenError::Panicked(1))));
}

#[tokio::test]
async fn too_many_requests_are_throttled() {
    let house = House::with(HttpLimits { in_flight: 0, ..HttpLimits::default() }, Duration::from_secs(30)).await;
    let answer = house.hsm("GET", "/keys?api-version=7.6", None, "").await;
    assert_eq!((answer.status, answer.code().as_str(), answer.header("retry-after")), (429, "Throttled", Some("1")));
    assert_eq!(house.request("GET", "x", "/healthz", "", "").await.status, 200);
}

#[tokio::test]
async fn http_2_is_spoken_and_resets_are_bounded() {
    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let mut house = House::new().await;
    let mut config = (*house.client).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    house.client = std::sync::Arc::new(config);
    let io = TokioIo::new(house.connect().await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), io).await.unwrap();
    let driving = tokio::spawn(connection);
    let uri = format!("https://{}/keys?api-version=7.6", house.host("demo.managedhsm"));
    let request = || http::Request::get(&uri).body(Empty::new()).unwrap();
    let answer = sender.send_request(request()).await.unwrap();
    assert_eq!(answer.status(), 401);
    assert!(answer.headers().contains_key("www-authenticate"));
    assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
    for _ in 0..2_000 {
        if sender.ready().await.is_err() {
            break;
        }
        drop(sender.send_request(request()));
        tokio::task::yield_now().await;
    }
    // Whatever became of that connection, others are served.
    house.client = {
        let mut config = (*house.client).clone();
        config.alpn_protocols = Vec::new();
        std::sync::Arc::new(config)
    };
    assert_eq!(house.request("GET", "x", "/readyz", "", "").await.status, 200);
    driving.abort();
}
