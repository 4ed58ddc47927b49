//! A small HTTPS client for public documents of configured hosts: no redirects, bounded in size, time and depth.

use super::url::SecureUrl;
use crate::identity::json::parse_object;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use serde_json::{Map, Value};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// Longest time for one document, from the look-up of the name to the last byte.
const FETCH_TIME: Duration = Duration::from_secs(10);
/// Largest document.
const DOCUMENT_MAX: usize = 256 * 1024;
/// Largest head of an answer.
const HEAD_MAX: usize = 32 * 1024;
/// What documents may be.
const MEDIA_TYPES: &[&str] = &["application/json", "application/jwk-set+json"];
const AGENT: &str = concat!("strongroom/", env!("CARGO_PKG_VERSION"));

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(in crate::identity) enum FetchError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("HTTP: {0}")]
    Request(#[from] http::Error),
    #[error("answered {0} instead of 200; redirects are not followed")]
    Status(StatusCode),
    #[error("answered with another content type than application/json")]
    ContentType,
    #[error("the document is cut off, or larger than 256 KiB")]
    Body,
    #[error("the document is not one JSON object, is deeper than 8 levels, or repeats a member")]
    Json,
    #[error("no answer within 10 seconds")]
    Time,
}

/// Ends the connection with the exchange, whatever way that goes.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Fetches a JSON object.
pub(super) async fn fetch(url: &SecureUrl, tls: &Arc<ClientConfig>) -> Result<Map<String, Value>, FetchError> {
    tokio::time::timeout(FETCH_TIME, exchange(url, tls)).await.unwrap_or(Err(FetchError::Time))
}

async fn exchange(url: &SecureUrl, tls: &Arc<ClientConfig>) -> Result<Map<String, Value>, FetchError> {
    let tcp = TcpStream::connect((url.bare_host(), url.port())).await.map_err(FetchError::Connect)?;
    let name = url.server_name().ok_or_else(|| FetchError::Tls(io::ErrorKind::InvalidInput.into()))?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await.map_err(FetchError::Tls)?;
    let client = hyper::client::conn::http1::Builder::new().max_buf_size(HEAD_MAX).clone();
    let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await?;
    let _connection = Connection(tokio::spawn(async move {
        // Its end shows in the answer.
        let _ended = connection.await;
    }));
    let request = Request::get(url.path_and_query())
        .header(HOST, url.authority())
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, AGENT)
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    check_head(&response)?;
    let body = Limited::new(response.into_body(), DOCUMENT_MAX).collect().await.map_err(|_| FetchError::Body)?;
    parse_object(&body.to_bytes()).ok_or(FetchError::Json)
}

fn check_head(response: &Response<Incoming>) -> Result<(), FetchError> {
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let text = |name| response.headers().get(name).map(|v| v.to_str().unwrap_or_default());
    let media = text(CONTENT_TYPE).and_then(|t| t.split(';').next()).unwrap_or_default().trim();
    let plain = text(CONTENT_ENCODING).is_none_or(|e| e.eq_ignore_ascii_case("identity"));
    if plain && MEDIA_TYPES.iter().any(|known| media.eq_ignore_ascii_case(known)) {
        Ok(())
    } else {
        Err(FetchError::ContentType)
    }
}
