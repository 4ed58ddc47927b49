//! The ids of one request: ours, and the client's.

use http::header::HeaderValue;
use http::{HeaderMap, HeaderName};
use std::cell::RefCell;
use uuid::{Builder, Uuid};

const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
/// Longest client request id that is echoed; a GUID in braces has 38 characters.
const CLIENT_REQUEST_ID_MAX: usize = 128;
/// Random bytes drawn at a time: 64 ids for one call.
const RANDOM_BLOCK: usize = 1024;

/// See the module.
pub(super) struct RequestIds {
    /// `x-ms-request-id` of the answer.
    pub(super) request_id: Uuid,
    /// `x-ms-client-request-id` as it is echoed: nothing when it is long or not printable.
    pub(super) client_request_id: Option<HeaderValue>,
    /// The same, when it is a GUID.
    pub(super) correlation_id: Option<Uuid>,
}

impl RequestIds {
    /// Draws our id and reads the client's.
    pub(super) fn new(headers: &HeaderMap) -> Self {
        let sent = headers.get(CLIENT_REQUEST_ID);
        let text = sent.and_then(|value| value.to_str().ok()).filter(|text| {
            (1..=CLIENT_REQUEST_ID_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
        });
        Self {
            request_id: random_id(),
            client_request_id: text.and(sent.cloned()),
            correlation_id: text.and_then(|text| Uuid::try_parse(text).ok()),
        }
    }
}

struct Block {
    bytes: [u8; RANDOM_BLOCK],
    used: usize,
}

thread_local! {
    static BLOCK: RefCell<Block> = const { RefCell::new(Block { bytes: [0; RANDOM_BLOCK], used: RANDOM_BLOCK }) };
}

/// A version 4 UUID. Ids are no secrets: a block of random bytes is drawn ahead.
fn random_id() -> Uuid {
    let fresh = BLOCK.with_borrow_mut(|block| {
        if block.used + 16 > RANDOM_BLOCK {
            aws_lc_rs::rand::fill(&mut block.bytes).ok()?;
            block.used = 0;
        }
        let bytes: [u8; 16] = block.bytes.get(block.used..block.used + 16)?.try_into().ok()?;
        block.used += 16;
        Some(Builder::from_random_bytes(bytes).into_uuid())
    });
    fresh.unwrap_or_else(Uuid::new_v4)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_do_not_repeat() {
        let ids: HashSet<Uuid> = (0..1000).map(|_| random_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.get_version_num() == 4));
    }

    #[test]
    fn the_clients_id_is_echoed_only_when_it_is_harmless() {
        let echo = |text: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert("x-ms-client-request-id", HeaderValue::from_bytes(text).unwrap());
            let ids = RequestIds::new(&headers);
            (ids.client_request_id.is_some(), ids.correlation_id.is_some())
        };
        assert_eq!(echo(b"2b4f67ae-23d3-11ef-a4c2-00155d0bf3a5"), (true, true));
        assert_eq!(echo(b"my-call-17"), (true, false));
        assert_eq!(echo(b"two words"), (false, false));
        assert_eq!(echo(b"\xff"), (false, false));
        assert_eq!(echo(b""), (false, false));
        assert_eq!(echo(&[b'a'; 129]), (false, false));
    }
}
