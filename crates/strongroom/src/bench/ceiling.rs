//! The bare ceiling: the same TLS and HTTP stack, the bare primitive, a constant answer, and nothing else.

use super::client::{Extent, Pace, Target, load, open};
use super::server::{Server, processor_seconds};
use super::{BenchError, VALUE_32};
use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use aws_lc_rs::{aead, rsa};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// A ceiling server as a process of its own.
pub(super) struct Ceiling {
    process: Child,
    target: Target,
    ca: PathBuf,
}

impl Ceiling {
    /// Starts the ceiling of an operation; `None` for those that have no bare primitive.
    pub(super) fn start(name: &str, operation: &str) -> Result<Option<Self>, BenchError> {
        let primitive = match (name, operation) {
            (n, "/sign") if n.starts_with("RSA") => "rsa",
            (_, "/sign") => "ec",
            (_, "/encrypt") => "gcm",
            (_, "/wrapkey") => "wrap",
            (_, "") => "none",
            _ => return Ok(None),
        };
        let ca = std::env::temp_dir().join(format!("strongroom-ceiling-{}-{primitive}.pem", std::process::id()));
        let mut process = Command::new(std::env::current_exe()?)
            .arg("bench-ceiling")
            .arg(primitive)
            .arg(&ca)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or(BenchError::Setup("the ceiling"))?).read_line(&mut line)?;
        let port = line.trim().parse().map_err(|_| BenchError::Setup("the ceiling"))?;
        let target = Target::new(port, "demo.managedhsm.localhost", &ca)?;
        Ok(Some(Self { process, target, ca }))
    }

    /// Processor microseconds of one request.
    pub(super) async fn measure(
        &self,
        connections: u32,
        seconds: f64,
        server: &Server,
        body: &'static str,
    ) -> Result<f64, BenchError> {
        // The head has the product's length: a token is most of it.
        let headers = format!("Authorization: Bearer {}\r\n", server.token().await?);
        let method = if body.is_empty() { "GET" } else { "POST" };
        let request = self.target.request(method, "/keys/bench0/0123456789abcdef0123456789abcdef/sign", &headers, body);
        let connections = open(&self.target, connections).await?;
        let before = processor_seconds(self.process.id());
        let run = load(connections, Extent::seconds(seconds), Pace::Closed, move |_, _| request.clone()).await?;
        Ok((processor_seconds(self.process.id()) - before) * 1e6 / run.requests as f64)
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        // Both may be gone already; nothing depends on them.
        let _stopped = self.process.kill().and_then(|()| self.process.wait());
        let _removed = std::fs::remove_file(&self.ca);
    }
}

enum Primitive {
    None,
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Gcm(aead::RandomizedNonceKey),
    Wrap,
}

const SETUP: BenchError = BenchError::Setup("the ceiling's key");

impl Primitive {
    fn named(name: &str) -> Result<Self, BenchError> {
        Ok(match name {
            "ec" => Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| SETUP)?),
            "rsa" => Self::Rsa(RsaKeyPair::generate(rsa::KeySize::Rsa2048).map_err(|_| SETUP)?),
            "gcm" => Self::Gcm(aead::RandomizedNonceKey::new(&aead::AES_256_GCM, &[7; 32]).map_err(|_| SETUP)?),
            "wrap" => Self::Wrap,
            _ => Self::None,
        })
    }

    /// Does the work and drops the result; the answer is constant.
    fn work(&self) -> Result<(), BenchError> {
        let value = [7_u8; 32];
        match self {
            Self::None => {}
            Self::Ec(key) => {
                let digest = Digest::import_less_safe(&value, &SHA256).map_err(|_| SETUP)?;
                std::hint::black_box(key.sign_digest(&digest).map_err(|_| SETUP)?);
            }
            Self::Rsa(key) => {
                let digest = Digest::import_less_safe(&value, &SHA256).map_err(|_| SETUP)?;
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign_digest(&RSA_PKCS1_SHA256, &digest, &mut signature).map_err(|_| SETUP)?;
                std::hint::black_box(signature);
            }
            Self::Gcm(key) => {
                let mut data = value.to_vec();
                key.seal_in_place_append_tag(aead::Aad::empty(), &mut data).map_err(|_| SETUP)?;
                std::hint::black_box(data);
            }
            Self::Wrap => {
                let mut out = [0; 40];
                let key = AesKek::new(&AES_256, &[7; 32]).map_err(|_| SETUP)?;
                std::hint::black_box(key.wrap(&value, &mut out).map_err(|_| SETUP)?);
            }
        }
        Ok(())
    }
}

/// The process behind `strongroom bench-ceiling PRIMITIVE FILE`: writes its certificate to FILE, its port to stdout, serves.
pub(crate) fn run(primitive: &str, certificate: &std::path::Path) -> Result<(), BenchError> {
    let primitive = Arc::new(Primitive::named(primitive)?);
    let key = rcgen::KeyPair::generate().map_err(|_| SETUP)?;
    let params = rcgen::CertificateParams::new(vec!["demo.managedhsm.localhost".into()]).map_err(|_| SETUP)?;
    let signed = params.self_signed(&key).map_err(|_| SETUP)?;
    std::fs::write(certificate, signed.pem())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| SETUP)?
        .with_no_client_auth()
        .with_single_cert(
            vec![signed.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .map_err(|_| SETUP)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(acceptor, primitive))
}

async fn serve(acceptor: TlsAcceptor, primitive: Arc<Primitive>) -> Result<(), BenchError> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    anstream::println!("{}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (acceptor, primitive) = (acceptor.clone(), Arc::clone(&primitive));
        tokio::task::spawn_local(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request: Request<Incoming>| {
                let primitive = Arc::clone(&primitive);
                async move {
                    // What a client sends is read as JSON, as the product must.
                    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
                    let parsed: Option<serde_json::Value> = body.ok().and_then(|b| serde_json::from_slice(&b).ok());
                    std::hint::black_box(parsed);
                    let status = if primitive.work().is_ok() { 200 } else { 500 };
                    let text = format!(
                        "{{\"kid\":\"https://demo.managedhsm.localhost:8443/keys/k/0\",\"value\":\"{VALUE_32}\"}}"
                    );
                    let mut answer = Response::new(Full::new(Bytes::from(text)));
                    *answer.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
                    Ok::<_, Infallible>(answer)
                }
            });
            // A connection that breaks ends its task; the load generator reports it.
            let _served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
