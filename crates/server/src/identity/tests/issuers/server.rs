//! A TLS server on loopback that answers each path with the bytes it was given, right or wrong.

use super::super::*;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::collections::HashMap;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// An answer that never comes.
pub(super) const SILENCE: &[u8] = b"silence";

#[derive(Default)]
struct Pages {
    answers: HashMap<String, Vec<u8>>,
    hits: HashMap<String, usize>,
}

pub(super) struct Server {
    port: u16,
    pub(super) ca_file: PathBuf,
    _folder: tempfile::TempDir,
    pages: Arc<Mutex<Pages>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// With a discovery document and the key `key-1`.
    pub(super) async fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, made.cert.pem()).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = tls.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pages = Arc::new(Mutex::new(Pages::default()));
        let task = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), Arc::clone(&pages)));
        let server = Self { port, ca_file, _folder: folder, pages, task };
        server.discovery("/v2.0/.well-known/openid-configuration", &server.url("/v2.0"), "/keys");
        server.answer("/keys", &jwks(&OTHER_KEY, "key-1"));
        server
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    pub(super) fn discovery(&self, path: &str, issuer: &str, keys: &str) {
        self.answer(path, &serde_json::json!({ "issuer": issuer, "jwks_uri": self.url(keys) }).to_string());
    }

    pub(super) fn answer(&self, path: &str, json: &str) {
        self.answer_raw(path, response("Content-Type: application/json; charset=utf-8", json.as_bytes()));
    }

    pub(super) fn answer_raw(&self, path: &str, bytes: Vec<u8>) {
        self.pages.lock().unwrap().answers.insert(path.to_owned(), bytes);
    }

    pub(super) fn hits(&self, path: &str) -> usize {
        self.pages.lock().unwrap().hits.get(path).copied().unwrap_or_default()
    }
}

/// A 200 with its length.
pub(super) fn response(header: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{header}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, pages: Arc<Mutex<Pages>>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, pages) = (tls.clone(), Arc::clone(&pages));
        tokio::spawn(async move {
            let Ok(mut stream) = tls.accept(tcp).await else { return };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let answer = {
                let mut pages = pages.lock().unwrap();
                *pages.hits.entry(path.clone()).or_default() += 1;
                pages.answers.get(&path).cloned()
            };
            let missing = || b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
            if answer.as_ref().is_some_and(|bytes| bytes == SILENCE) {
                std::future::pending::<()>().await;
            }
            // The client may have closed already: it had seen enough.
            let _sent = stream.write_all(&answer.unwrap_or_else(missing)).await;
            let _closed = stream.shutdown().await;
        });
    }
}
