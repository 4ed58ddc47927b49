//! The one dispatcher: every request passes it, in the order of DESIGN 8.
//!
//! What follows the head is driven by its connection, and goes on in a task of its own when the connection lets go of it: a
//! client that goes away cancels neither work nor record. A panic ends in a 500 that touches no other request.

use super::body::{self, RequestBody};
use super::call::Answer;
use super::endpoint::{EndpointDoor, PeerAddress};
use super::headers::PeerHeaders;
use super::host::{Site, authority_of};
use super::path::Path;
use super::render::{Rendered, render};
use super::route::{Run, Surface};
use super::router::Miss;
use super::service::Service;
use super::trail::{Exchange, Outcome, Trail, UNKNOWN_OPERATION};
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use strongroom_model::error::{BadParameter, Error, Internal, NotFound, Result};
use tokio::runtime::Handle;
use zeroize::Zeroizing;

/// Longest host name in an audit record (RFC 1035: 253 characters, and a port).
const AUTHORITY_MAX: usize = 260;

/// What goes back to the connection.
pub(super) type Reply = Response<Full<Bytes>>;

/// What a connection knows about its other end, and the worker it belongs to.
pub(super) struct Peer {
    /// The real peer.
    pub(super) address: PeerAddress,
    /// What answers to it bear, ready made.
    pub(super) headers: PeerHeaders,
    /// Which listener it came through.
    pub(super) door: Door,
    /// The requests of its worker.
    pub(super) load: Arc<Load>,
}

/// The kinds of listener.
#[derive(Clone, Debug)]
pub(super) enum Door {
    /// TLS: every surface that has a host name.
    Tls,
    /// TLS: one managed HSM, at a private endpoint.
    Endpoint(Arc<EndpointDoor>),
    /// Plain HTTP on loopback: managed identity.
    ManagedIdentity,
}

impl Peer {
    pub(super) fn new(address: PeerAddress, door: Door, load: Arc<Load>) -> Self {
        let endpoint = match &door {
            Door::Endpoint(endpoint) => Some(&*endpoint.id),
            Door::Tls | Door::ManagedIdentity => None,
        };
        Self { headers: PeerHeaders::new(&address, endpoint), address, door, load }
    }
}

/// The requests that a worker has under way.
pub(super) struct Load {
    running: AtomicUsize,
    limit: usize,
}

/// One of them.
struct Slot(Arc<Load>);

impl Load {
    pub(super) fn new(limit: usize) -> Self {
        Self { running: AtomicUsize::new(0), limit }
    }

    /// How many there are.
    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }

    /// Takes a place; whether it is one within the limit.
    fn enter(self: &Arc<Self>) -> (Slot, bool) {
        let before = self.running.fetch_add(1, Ordering::AcqRel);
        (Slot(Arc::clone(self)), before < self.limit)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Answers a request; dropping the future neither stops the work nor loses the record.
pub(super) async fn serve<B: RequestBody>(service: Arc<Service>, peer: Arc<Peer>, request: Request<B>) -> Reply {
    let (slot, admitted) = peer.load.enter();
    let (head, body) = request.into_parts();
    let exchange = Exchange::new(head, &peer);
    let request_id = exchange.ids.request_id;
    let work = async move {
        let reply = answer(service, peer, exchange, body, admitted).await;
        drop(slot);
        reply
    };
    if let Ok(reply) = UnderWay(Some(Box::pin(AssertUnwindSafe(work).catch_unwind()))).await {
        return reply;
    }
    tracing::error!(%request_id, "a request ended by a panic outside every handler");
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    reply
}

/// A request under way; dropped before its end, it goes on in a task of its own.
struct UnderWay<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send + 'static> Future for UnderWay<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Polled again after its end, which nobody does, it would wait for ever.
        let Some(work) = &mut self.0 else { return Poll::Pending };
        let end = std::task::ready!(work.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(end)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for UnderWay<F> {
    fn drop(&mut self) {
        // Without a runtime the process is at its end, and nothing goes on.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            drop(runtime.spawn(work));
        }
    }
}

async fn answer<B: RequestBody>(
    service: Arc<Service>,
    peer: Arc<Peer>,
    exchange: Exchange,
    mut body: B,
    admitted: bool,
) -> Reply {
    let mut reply = match &peer.door {
        Door::Endpoint(endpoint) => service.endpoint(&peer, endpoint, &exchange, &mut body, admitted).await,
        Door::Tls => tls(&service, &peer, &exchange, &mut body, admitted).await,
        Door::ManagedIdentity => service.managed_identity(&exchange, &mut body, admitted).await,
    };
    // A client that waits for "100 Continue" sends nothing more: asking for the body would make it send.
    if !body.is_end_stream() && !exchange.head.headers.contains_key(header::EXPECT) {
        tokio::spawn(body::discard(body));
    }
    // hyper drops a Content-Length beside it without a word: such a connection must end (RFC 9112, 6.3), and every other
    // chunked one with it. The SDKs send lengths.
    if exchange.head.headers.contains_key(header::TRANSFER_ENCODING) {
        reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

async fn tls<B: RequestBody>(
    service: &Arc<Service>,
    peer: &Peer,
    exchange: &Exchange,
    body: &mut B,
    admitted: bool,
) -> Reply {
    let path = Path::parse(exchange.head.uri.path());
    if let Some(reply) = node(service, exchange, &path).await {
        return reply;
    }
    let Ok(authority) = authority_of(&exchange.head) else {
        return service.refuse(exchange, "", &Error::BadParameter(BadParameter::Malformed("Host"))).await;
    };
    match service.sites.find(authority) {
        // The private name is for private endpoints.
        Site::Hsm { name, base, private: false } => {
            let trail = Trail::new(Some(name.clone()), base);
            service.hsm(peer, exchange, trail, &name, &path, body, admitted).await
        }
        Site::Identity => {
            let trail = Trail::new(None, base_of(authority));
            service.login(exchange, Surface::Identity, trail, &path, body, admitted).await
        }
        Site::Hsm { private: true, .. } | Site::NoPool | Site::Unknown => {
            service.refuse(exchange, authority, &Error::NotFound(NotFound::Pool)).await
        }
        Site::Management => {
            let trail = Trail::new(None, base_of(authority));
            service.manage(exchange, Surface::Management, trail, &path, body, admitted).await
        }
        Site::Graph => {
            let trail = Trail::new(None, base_of(authority));
            service.manage(exchange, Surface::Graph, trail, &path, body, admitted).await
        }
    }
}

fn base_of(authority: &str) -> Arc<str> {
    Arc::from(["https://", authority.get(..AUTHORITY_MAX).unwrap_or(authority)].concat())
}

/// The questions to this node itself, on whatever host; they say nothing about tenants and are not recorded.
async fn node(service: &Arc<Service>, exchange: &Exchange, path: &Result<Path<'_>>) -> Option<Reply> {
    let path = path.as_ref().ok().filter(|path| path.parts.len() == 1)?;
    match service.router.find(Surface::Node, path, as_get(&exchange.head.method)) {
        Ok(found) => match found.leaf.route.run {
            Run::Node(handler) => {
                let answer = handler(Arc::clone(service)).await;
                let mut headers = service.headers.other(&exchange.ids, true);
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                Some(reply(answer.status, headers, Zeroizing::new(answer.body)))
            }
            Run::Hsm(_) | Run::Identity(_) | Run::Management(_) | Run::Graph(_) => None,
        },
        Err(Miss::Method(allow)) => {
            let mut headers = service.headers.other(&exchange.ids, false);
            add_allow(&mut headers, Some(&allow));
            Some(reply(405, headers, Zeroizing::default()))
        }
        Err(Miss::Path) => None,
    }
}

/// `HEAD` is `GET` on public routes; hyper leaves the body out.
pub(super) fn as_get(method: &Method) -> &Method {
    if method == Method::HEAD { &Method::GET } else { method }
}

pub(super) fn add_allow(headers: &mut HeaderMap, allow: Option<&str>) {
    if let Some(value) = allow.and_then(|allow| HeaderValue::from_str(allow).ok()) {
        headers.insert(header::ALLOW, value);
    }
}

pub(super) fn add_retry_after(headers: &mut HeaderMap, seconds: Option<u32>) {
    if let Some(seconds) = seconds {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
}

pub(super) fn reply(status: u16, headers: HeaderMap, body: Zeroizing<Vec<u8>>) -> Reply {
    let body = if body.is_empty() { Full::default() } else { Full::new(Answer::into_bytes(body)) };
    let mut reply = Response::new(body);
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *reply.headers_mut() = headers;
    reply
}

impl Service {
    /// Refuses what has no surface of ours.
    async fn refuse(&self, exchange: &Exchange, authority: &str, error: &Error) -> Reply {
        let mut trail = Trail::new(None, base_of(authority));
        trail.operation = UNKNOWN_OPERATION;
        let rendered = self.record_refusal(exchange, &trail, error.clone()).await;
        let headers = self.headers.other(&exchange.ids, true);
        reply(rendered.status, headers, rendered.management_body())
    }

    /// Records a refusal; the error that goes out, which is another one when the record cannot be written.
    pub(super) async fn record_refusal(&self, exchange: &Exchange, trail: &Trail, error: Error) -> Rendered {
        let rendered = render(&error);
        log_failure(exchange, trail, &error);
        let outcome = Outcome { status: rendered.status, error_code: rendered.code, ..Outcome::default() };
        let written = match trail.caller {
            Some(_) => self.audit.append_entry(&trail.entry(exchange, &outcome)).await,
            None => self.audit.append_refusal(trail.record(exchange, &outcome)).await,
        };
        match written {
            Ok(()) => rendered,
            Err(unwritten) => render(&unwritten),
        }
    }
}

/// What is our fault goes into the log of the node, under the id that the client has.
pub(super) fn log_failure(exchange: &Exchange, trail: &Trail, error: &Error) {
    let (request_id, operation) = (exchange.ids.request_id, trail.operation);
    match error {
        Error::Internal(Internal::Panic) => tracing::error!(%request_id, operation, "a handler panicked"),
        Error::Internal(_) => tracing::error!(%request_id, operation, %error, "a request failed"),
        Error::Unavailable(_) => tracing::warn!(%request_id, operation, %error, "a request was not possible"),
        Error::ApiVersion
        | Error::BadName(_)
        | Error::BadParameter(_)
        | Error::Unauthenticated(_)
        | Error::AccessDenied { .. }
        | Error::Forbidden(_)
        | Error::NotFound(_)
        | Error::Conflict(_)
        | Error::MethodNotAllowed
        | Error::BodyTooLarge
        | Error::RequestTimeout
        | Error::Management(_)
        | Error::Throttled => {}
    }
}
