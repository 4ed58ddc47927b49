#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

/// The result, and the bytes that were left for whoever reads next.
fn read(mut bytes: &[u8]) -> (Result<Option<IpAddr>, ProxyError>, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let result = runtime.block_on(read_header(&mut bytes));
    (result, bytes.len())
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, rest].concat()
}

fn v4(source: [u8; 4]) -> Vec<u8> {
    [&source[..], &[127, 0, 0, 1], &[0x30, 0x39, 0x01, 0xbb]].concat()
}

#[test]
fn both_versions_name_the_peer_and_leave_the_rest() {
    let v6: Ipv6Addr = "2001:db8::7".parse().unwrap();
    let of_v6 = [&v6.octets()[..], &[0; 16], &[0, 1, 0, 2]].concat();
    let cases: [(Vec<u8>, Option<&str>); 10] = [
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n".to_vec(), Some("192.0.2.7")),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 0 65535\r\n".to_vec(), Some("2001:db8::7")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN ffff::1 whatever it says\r\n".to_vec(), None),
        (v2(0x21, 0x11, &v4([192, 0, 2, 7])), Some("192.0.2.7")),
        (v2(0x21, 0x11, &[v4([192, 0, 2, 7]), vec![4; 2000]].concat()), Some("192.0.2.7")),
        (v2(0x21, 0x21, &of_v6), Some("2001:db8::7")),
        (v2(0x20, 0x11, &v4([192, 0, 2, 7])), None),
        (v2(0x20, 0x00, &[]), None),
        (v2(0x21, 0x00, &[1, 2, 3]), None),
    ];
    for (header, peer) in cases {
        let (result, left) = read(&[&header[..], b"\x16\x03\x01 and so on"].concat());
        assert_eq!(result.unwrap(), peer.map(|peer| peer.parse().unwrap()), "{header:?}");
        assert_eq!(left, 13);
    }
}

#[test]
fn malformed_headers_are_refused() {
    let longest = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; TEXT_MAX - 16], b"\r\n".to_vec()].concat();
    assert_eq!(longest.len(), TEXT_MAX);
    assert!(read(&longest).0.is_ok());
    let longer = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; TEXT_MAX - 15], b"\r\n".to_vec()].concat();
    for bytes in [
        &longer[..],
        b"",
        b"PROXY",
        b"PROXY TCP4 192.0.2.7",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00",
        b"proxy TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXY  TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXY TCP4  192.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2 \r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2 3\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 65536\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 +1 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 -2\r\n",
        b"PROXY TCP4 192.0.2.007 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 2001:db8::7 192.0.2.1 1 2\r\n",
        b"PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\nGET /\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 \xff2\r\n",
        &v2(0x11, 0x11, &v4([1; 4])),
        &v2(0x31, 0x11, &v4([1; 4])),
        &v2(0x22, 0x11, &v4([1; 4])),
        &v2(0x21, 0x12, &v4([1; 4])),
        &v2(0x21, 0x31, &[0; 216]),
        &v2(0x21, 0x41, &[0; 216]),
        &v2(0x21, 0x11, &[1; 11]),
        &v2(0x21, 0x21, &[1; 35]),
        &v2(0x21, 0x11, &[1; BINARY_MAX + 1]),
    ] {
        assert!(read(bytes).0.is_err(), "{:?}", String::from_utf8_lossy(bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn no_bytes_are_too_strange(
        start in prop_oneof![Just(SIGNATURE.to_vec()), Just(b"PROXY TCP4 1".to_vec()), Just(vec![])],
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = [start, rest].concat();
        let (result, left) = read(&bytes);
        // Whatever is taken for a header is one of the two.
        prop_assert!(result.is_err() || bytes.starts_with(&SIGNATURE) || bytes.starts_with(TEXT));
        prop_assert!(left <= bytes.len());
    }

    #[test]
    fn a_changed_header_never_names_another_peer_by_half(at in 0usize..28, to in any::<u8>()) {
        let mut bytes = v2(0x21, 0x11, &v4([192, 0, 2, 7]));
        let before = bytes[at];
        bytes[at] = to;
        match read(&bytes).0 {
            Ok(Some(peer)) => {
                let same = to == before || !(16..20).contains(&at);
                prop_assert_eq!(peer == IpAddr::from([192, 0, 2, 7]), same);
            }
            Ok(None) => prop_assert!(at == 12 || at == 13),
            Err(_) => prop_assert!(at < 16),
        }
    }

    #[test]
    fn a_cut_header_is_refused(length in 0usize..28) {
        let bytes = v2(0x21, 0x11, &v4([192, 0, 2, 7]));
        prop_assert!(matches!(read(&bytes[..length]).0, Err(ProxyError::Read(_))));
    }
}
