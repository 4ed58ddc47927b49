//! One connection: accept, the PROXY header of a proxy, TLS, HTTP/1.1 or HTTP/2, and its end.

use super::body::RequestBody;
use super::dispatch::{Door, Load, Peer, Reply, serve};
use super::endpoint::PeerAddress;
use super::listen::HttpLimits;
use super::proxy_protocol::read_header;
use super::service::Service;
use super::sockets::{Listening, Stream};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use strongroom_model::network::IpRule;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Largest head of a request: a token of 16 KiB and what else proxies add.
const HEAD_BYTES_MAX: usize = 48 * 1024;
/// The same as HTTP/2 counts it.
const H2_HEADER_LIST_MAX: u32 = 48 * 1024;
/// Requests of one HTTP/2 connection at a time.
const H2_STREAMS_MAX: u32 = 128;
/// Streams that a client may reset before we have seen them (CVE-2023-44487).
const H2_PENDING_RESETS_MAX: usize = 20;
/// Streams that a client may make us reset (CVE-2025-8671).
const H2_LOCAL_RESETS_MAX: usize = 128;
/// Unread bytes of one HTTP/2 stream: the largest body.
const H2_STREAM_WINDOW: u32 = 64 * 1024;
/// Unread bytes of one HTTP/2 connection.
const H2_CONNECTION_WINDOW: u32 = 512 * 1024;
/// Unsent bytes of one HTTP/2 stream.
const H2_SEND_BUFFER: usize = 128 * 1024;
/// Longest time that sent bytes stay without acknowledgement.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// Pause after the kernel refused a connection for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection that was asked to end may take for it.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often the end of what is under way is looked for while draining.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// What the connections of one worker share.
#[derive(Clone)]
pub(super) struct Connections {
    service: Arc<Service>,
    acceptor: TlsAcceptor,
    limits: HttpLimits,
    proxies: Arc<[IpRule]>,
    shutdown: watch::Receiver<bool>,
    load: Arc<Load>,
    places: Arc<Semaphore>,
}

impl Connections {
    pub(super) fn new(
        service: Arc<Service>,
        acceptor: TlsAcceptor,
        limits: HttpLimits,
        proxies: Arc<[IpRule]>,
        shutdown: watch::Receiver<bool>,
        load: Arc<Load>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(limits.connections));
        Self { service, acceptor, limits, proxies, shutdown, load, places }
    }

    /// Waits, within the limit, until no request is under way; then a moment for the connections to end.
    pub(super) async fn drained(&self) {
        let done = async {
            while self.load.running() > 0 {
                sleep(DRAIN_LOOK).await;
            }
        };
        if timeout(self.limits.drain, done).await.is_err() {
            tracing::warn!(requests = self.load.running(), "stopped before every request had ended");
        }
        let ended = async {
            while self.places.available_permits() < self.limits.connections {
                sleep(DRAIN_LOOK).await;
            }
        };
        // What is left has had its answers, or has not asked yet.
        let _in_time = timeout(FAREWELL, ended).await;
    }
}

/// Waits for the wish to stop; the sender gone is one, too.
pub(super) async fn wish_to_stop(mut shutdown: watch::Receiver<bool>) {
    let _told = shutdown.wait_for(|stop| *stop).await;
}

/// Accepts connections until the wish to stop.
pub(super) async fn accept(listener: Listening, door: Door, connections: Connections) {
    let mut stop = pin!(wish_to_stop(connections.shutdown.clone()));
    loop {
        let next = async {
            let place = Arc::clone(&connections.places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = &mut stop => return,
            next = next => next,
        };
        match (place, accepted) {
            (Ok(place), Ok((stream, address))) => {
                tokio::spawn(greet(stream, address, door.clone(), connections.clone(), place));
            }
            (Err(_), _) => return,
            (Ok(_), Err(error)) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// From the first byte of a connection to its last.
async fn greet(
    stream: Stream,
    address: PeerAddress,
    door: Door,
    connections: Connections,
    place: OwnedSemaphorePermit,
) {
    match stream {
        Stream::Tcp(stream) => {
            let socket = socket2::SockRef::from(&stream);
            // Either refused costs speed or patience only.
            let _fast = socket.set_tcp_nodelay(true);
            let _bounded = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
            welcome(stream, address, door, &connections).await;
        }
        Stream::Local(stream) => welcome(stream, address, door, &connections).await,
    }
    drop(place);
}

async fn welcome<S>(stream: S, address: PeerAddress, door: Door, connections: &Connections)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = |address| Arc::new(Peer::new(address, door.clone(), Arc::clone(&connections.load)));
    match &door {
        Door::ManagedIdentity => speak(stream, false, peer(address), connections).await,
        Door::Tls | Door::Endpoint(_) => {
            let secured = timeout(connections.limits.handshake, secure(stream, address, connections)).await;
            if let Ok(Some((stream, address))) = secured {
                let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                speak(stream, h2, peer(address), connections).await;
            }
        }
    }
}

/// The PROXY header, where the peer is a configured proxy, and the TLS handshake: the stream, and the real peer.
async fn secure<S>(
    mut stream: S,
    address: PeerAddress,
    connections: &Connections,
) -> Option<(TlsStream<S>, PeerAddress)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let proxy = address.ip().filter(|ip| connections.proxies.iter().any(|range| range.contains(*ip)));
    let address = match proxy {
        None => address,
        Some(proxy) => match read_header(&mut stream).await {
            Ok(real) => real.map_or(address, PeerAddress::of),
            Err(error) => {
                tracing::debug!(%proxy, %error, "a connection of a proxy was closed");
                return None;
            }
        },
    };
    Some((connections.acceptor.accept(stream).await.ok()?, address))
}

/// What a connection is doing, for the watch over its idleness.
struct Activity {
    running: AtomicUsize,
    last: Mutex<Instant>,
}

impl Activity {
    fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request in the count of its connection.
struct Active(Arc<Activity>);

impl Active {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.running.fetch_add(1, Ordering::AcqRel);
        activity.touch();
        Self(Arc::clone(activity))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.touch();
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn speak<S>(stream: S, h2: bool, peer: Arc<Peer>, connections: &Connections)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let started = Instant::now();
    let activity = Arc::new(Activity { running: AtomicUsize::new(0), last: Mutex::new(started) });
    let (service, counted) = (Arc::clone(&connections.service), Arc::clone(&activity));
    let handle = service_fn(move |request: Request<Incoming>| {
        answer(Arc::clone(&service), Arc::clone(&peer), Active::begin(&counted), request)
    });
    let io = TokioIo::new(stream);
    if h2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS_MAX)
            .max_header_list_size(H2_HEADER_LIST_MAX)
            .max_pending_accept_reset_streams(H2_PENDING_RESETS_MAX)
            .max_local_error_reset_streams(H2_LOCAL_RESETS_MAX)
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .max_send_buf_size(H2_SEND_BUFFER);
        watch_over(builder.serve_connection(io, handle), |c| c.graceful_shutdown(), &activity, started, connections)
            .await;
    } else {
        let mut builder = http1::Builder::new();
        // Slow heads are the business of the watch, which counts them as idleness. A client that has sent its last request may
        // close its half; to look for that during each request would cost hyper a new buffer each time.
        builder.timer(TokioTimer::new()).header_read_timeout(None).half_close(true).max_buf_size(HEAD_BYTES_MAX);
        watch_over(builder.serve_connection(io, handle), |c| c.graceful_shutdown(), &activity, started, connections)
            .await;
    }
}

async fn answer<B: RequestBody>(
    service: Arc<Service>,
    peer: Arc<Peer>,
    active: Active,
    request: Request<B>,
) -> Result<Reply, Infallible> {
    let reply = serve(service, peer, request).await;
    drop(active);
    Ok(reply)
}

/// Drives a connection; asks it to end when it is idle for too long, or when the process stops.
async fn watch_over<C, E>(
    connection: C,
    ask_to_end: impl Fn(Pin<&mut C>),
    activity: &Activity,
    started: Instant,
    connections: &Connections,
) where
    C: Future<Output = Result<(), E>>,
    E: std::error::Error,
{
    let mut connection = pin!(connection);
    let mut stop = pin!(wish_to_stop(connections.shutdown.clone()));
    let mut look = pin!(sleep_until(started + connections.limits.first_request));
    loop {
        tokio::select! {
            end = connection.as_mut() => return farewell(end),
            () = &mut stop => {
                ask_to_end(connection.as_mut());
                // The worker bounds this.
                return farewell(connection.await);
            }
            () = look.as_mut() => {
                let last = activity.last();
                let patience = if last == started { connections.limits.first_request } else { connections.limits.idle };
                let running = activity.running.load(Ordering::Acquire) > 0;
                let until = if running { Instant::now() } else { last } + patience;
                if until > Instant::now() {
                    look.as_mut().reset(until);
                    continue;
                }
                ask_to_end(connection.as_mut());
                if let Ok(end) = timeout(FAREWELL, connection.as_mut()).await {
                    farewell(end);
                }
                return;
            }
        }
    }
}

/// A broken connection is the other end's business; it is worth a line only to whoever looks closely.
fn farewell<E: std::error::Error>(end: Result<(), E>) {
    if let Err(error) = end {
        tracing::debug!(%error, "a connection ended early");
    }
}
