//! Listeners: where the process listens, and one current-thread runtime per worker that accepts there.

mod endpoints;

use super::connection::{self, Connections};
use super::dispatch::{Door, Load};
use super::service::Service;
use super::sockets::{self, Bound};
use rustls::ServerConfig;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use strongroom_model::PoolName;
use strongroom_model::network::IpRule;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

/// Limits on what clients may take of a worker.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Most connections of one worker; more wait in the kernel's queue.
    pub connections: usize,
    /// Most requests of one worker under way; more get 429.
    pub in_flight: usize,
    /// Longest time for a TLS handshake.
    pub handshake: Duration,
    /// Longest time from a connection's first moment to its first request.
    pub first_request: Duration,
    /// Longest time without a request under way or begun, slow heads included.
    pub idle: Duration,
    /// Longest time for what is under way to end after the wish to stop.
    pub drain: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            in_flight: 1024,
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(20),
            idle: Duration::from_secs(120),
            drain: Duration::from_secs(10),
        }
    }
}

/// An address to listen on.
#[derive(Clone, Debug)]
pub struct ListenAddress {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// The setting or flag that says so, for messages.
    pub setting: &'static str,
    /// Whether it may be missing on this machine (IPv6 loopback).
    pub optional: bool,
}

impl ListenAddress {
    /// Both loopback addresses on one port; IPv6 where there is one.
    pub fn loopback(port: u16, setting: &'static str) -> Vec<Self> {
        let address = |ip: IpAddr, optional| Self { address: SocketAddr::new(ip, port), setting, optional };
        vec![address(Ipv4Addr::LOCALHOST.into(), false), address(Ipv6Addr::LOCALHOST.into(), true)]
    }
}

/// A private endpoint to listen at.
#[derive(Clone, Debug)]
pub struct ListenEndpoint {
    /// Its name, which is that of its connection.
    pub name: String,
    /// Its resource id.
    pub id: String,
    /// The managed HSM that answers there, and no other.
    pub resource: PoolName,
    /// Where.
    pub place: EndpointPlace,
}

/// Where a private endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointPlace {
    /// An address of this machine.
    Address(SocketAddr),
    /// Every address, for what comes in through one interface.
    Interface {
        /// The interface.
        name: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
    /// A port for the virtual machines of this host.
    Vsock(u32),
}

impl fmt::Display for EndpointPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Interface { name, port } => write!(f, "interface {name}, port {port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Vsock(port) => write!(f, "vsock port {port}"),
        }
    }
}

/// Where to listen.
#[derive(Clone, Debug, Default)]
pub struct ListenSettings {
    /// With TLS: every surface that has a host name.
    pub tls: Vec<ListenAddress>,
    /// Plain HTTP on loopback: managed identity; none when empty.
    pub managed_identity: Vec<ListenAddress>,
    /// With TLS: one managed HSM each.
    pub endpoints: Vec<ListenEndpoint>,
    /// Peers whose TLS connections begin with a PROXY header, which names the real peer; nobody else's may.
    pub proxies: Vec<IpRule>,
    /// Workers, each with a runtime and listeners of its own.
    pub workers: usize,
}

/// Why the process cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else has the port.
    #[error("{address} is taken by another program: stop it, or choose another port with {setting}")]
    Taken {
        /// Where.
        address: SocketAddr,
        /// What to change.
        setting: &'static str,
    },
    /// The kernel refuses.
    #[error("cannot listen on {address} (from {setting}): {error}")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// What to change.
        setting: &'static str,
        /// Why.
        error: io::Error,
    },
    /// Managed identity on an address that other machines reach.
    #[error("{setting}: {address} is not a loopback address, and managed identity answers whoever reaches it")]
    NotLoopback {
        /// Where.
        address: SocketAddr,
        /// What to change.
        setting: &'static str,
    },
    /// Somebody else listens where a private endpoint should.
    #[error(
        "private endpoint {name}: {place} is taken by another program: stop it, or change the setting private_endpoint"
    )]
    EndpointTaken {
        /// Its name.
        name: String,
        /// Where.
        place: EndpointPlace,
    },
    /// The kernel refuses a private endpoint.
    #[error("private endpoint {name}: cannot listen on {place}: {error}")]
    EndpointRefused {
        /// Its name.
        name: String,
        /// Where.
        place: EndpointPlace,
        /// Why.
        error: io::Error,
    },
    /// There is no address.
    #[error("there is no address to listen on: none of those configured exists on this machine")]
    Nowhere,
    /// A worker could not start.
    #[error("a worker cannot start: {0}")]
    Worker(io::Error),
    /// A worker panicked.
    #[error("worker {0} ended by a panic")]
    Panicked(usize),
}

/// Sockets that listen already, one set per worker.
#[derive(Debug)]
pub struct Listeners {
    workers: Vec<Vec<(Bound, Door)>>,
    managed_identity: Vec<(Bound, Door)>,
    addresses: Vec<SocketAddr>,
    managed_identity_addresses: Vec<SocketAddr>,
    endpoint_addresses: Vec<SocketAddr>,
    proxies: Arc<[IpRule]>,
}

impl Listeners {
    /// Binds everything, so that a taken port is known before anything else is done.
    pub fn bind(settings: &ListenSettings) -> Result<Self, ListenError> {
        let count = settings.workers.max(1);
        let mut workers: Vec<Vec<(Bound, Door)>> = (0..count).map(|_| Vec::new()).collect();
        let mut addresses: Vec<SocketAddr> = Vec::new();
        // An endpoint's own address may lie within a public one that stands for all: both are asked for before either is taken.
        for endpoint in &settings.endpoints {
            endpoints::probe(endpoint)?;
        }
        for wanted in &settings.tls {
            let address = same_port(wanted.address, &addresses);
            let Some(address) = probe(wanted, address)? else { continue };
            let mut bound = address;
            for listeners in &mut workers {
                let listener = sockets::tcp(bound, true, None).map_err(|error| refused(wanted, error))?;
                bound = listener.local_addr().map_err(|error| refused(wanted, error))?;
                listeners.push((Bound::Tcp(listener), Door::Tls));
            }
            addresses.push(bound);
        }
        if addresses.is_empty() {
            return Err(ListenError::Nowhere);
        }
        let mut endpoint_addresses = Vec::new();
        for endpoint in &settings.endpoints {
            endpoint_addresses.extend(endpoints::open(endpoint, &mut workers)?);
        }
        let (managed_identity, managed_identity_addresses) = bind_managed_identity(settings)?;
        let proxies = settings.proxies.clone().into();
        Ok(Self { workers, managed_identity, addresses, managed_identity_addresses, endpoint_addresses, proxies })
    }

    /// Where TLS is listened for, with the ports that were chosen.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where private endpoints with an address of their own are listened for, in the order of the settings.
    pub fn endpoint_addresses(&self) -> &[SocketAddr] {
        &self.endpoint_addresses
    }

    /// Where managed identity is listened for.
    pub fn managed_identity_addresses(&self) -> &[SocketAddr] {
        &self.managed_identity_addresses
    }
}

/// Listeners, and the addresses they got.
type BoundDoors = (Vec<(Bound, Door)>, Vec<SocketAddr>);

fn bind_managed_identity(settings: &ListenSettings) -> Result<BoundDoors, ListenError> {
    let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
    for wanted in &settings.managed_identity {
        if !wanted.address.ip().is_loopback() {
            return Err(ListenError::NotLoopback { address: wanted.address, setting: wanted.setting });
        }
        let Some(address) = probe(wanted, same_port(wanted.address, &addresses))? else { continue };
        let listener = sockets::tcp(address, false, None).map_err(|error| refused(wanted, error))?;
        addresses.push(listener.local_addr().map_err(|error| refused(wanted, error))?);
        listeners.push((Bound::Tcp(listener), Door::ManagedIdentity));
    }
    Ok((listeners, addresses))
}

/// With port 0 every address takes the port that the first one got.
fn same_port(mut wanted: SocketAddr, bound: &[SocketAddr]) -> SocketAddr {
    if let (0, Some(first)) = (wanted.port(), bound.first()) {
        wanted.set_port(first.port());
    }
    wanted
}

/// How long a taken port is asked for again: the service of a keeper that was killed takes a moment to end.
const TAKEN_PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two tries.
const TAKEN_PAUSE: Duration = Duration::from_millis(20);

/// Binds once without sharing the port: with it, a second server would silently take half of the connections.
fn probe(wanted: &ListenAddress, address: SocketAddr) -> Result<Option<SocketAddr>, ListenError> {
    match patiently(|| sockets::tcp(address, false, None)) {
        Ok(_) => Ok(Some(address)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(ListenError::Taken { address, setting: wanted.setting })
        }
        Err(_) if wanted.optional => Ok(None),
        Err(error) => Err(refused(wanted, error)),
    }
}

/// Tries for a while when the place is taken.
fn patiently<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let started = Instant::now();
    loop {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && started.elapsed() < TAKEN_PATIENCE => {
                thread::sleep(TAKEN_PAUSE);
            }
            bound => return bound,
        }
    }
}

fn refused(wanted: &ListenAddress, error: io::Error) -> ListenError {
    ListenError::Refused { address: wanted.address, setting: wanted.setting, error }
}

/// What is called at the start of each worker's thread, with the worker's number.
pub type OnRuntimeStart = Arc<dyn Fn(usize) + Send + Sync>;

/// Keeps the workers' runtimes after the last request, so that what lives on them (the lanes to the partitions) can be used
/// to the end.
#[derive(Clone)]
pub struct Hold {
    /// Dropped by each worker when its last request has ended.
    pub drained: mpsc::Sender<()>,
    /// Turns true when the runtimes may end.
    pub release: watch::Receiver<bool>,
}

/// What the workers share.
#[derive(Clone)]
struct Shared {
    hold: Option<Hold>,
    service: Arc<Service>,
    acceptor: TlsAcceptor,
    limits: HttpLimits,
    proxies: Arc<[IpRule]>,
    /// The wish from outside.
    shutdown: watch::Receiver<bool>,
    /// The same, or that another worker has ended: with one gone, the process is not what it says it is.
    stop: Arc<watch::Sender<bool>>,
    on_runtime_start: OnRuntimeStart,
}

/// Stops all workers when one ends, by a panic too.
struct StopAll(Arc<watch::Sender<bool>>);

impl Drop for StopAll {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// Runs the workers until `shutdown` turns true and what was under way has ended; blocks the calling thread.
pub fn run(
    service: Arc<Service>,
    listeners: Listeners,
    tls: Arc<ServerConfig>,
    limits: HttpLimits,
    shutdown: watch::Receiver<bool>,
    on_runtime_start: OnRuntimeStart,
) -> Result<(), ListenError> {
    run_held(service, listeners, tls, limits, shutdown, on_runtime_start, None)
}

/// As [`run`]; with a [`Hold`], the workers end when they are released.
pub fn run_held(
    service: Arc<Service>,
    listeners: Listeners,
    tls: Arc<ServerConfig>,
    limits: HttpLimits,
    shutdown: watch::Receiver<bool>,
    on_runtime_start: OnRuntimeStart,
    hold: Option<Hold>,
) -> Result<(), ListenError> {
    let stop = Arc::new(watch::Sender::new(false));
    let (acceptor, proxies) = (TlsAcceptor::from(tls), listeners.proxies);
    let shared = Shared { hold, service, acceptor, limits, proxies, shutdown, stop, on_runtime_start };
    let mut managed_identity = listeners.managed_identity;
    let mut threads = Vec::new();
    for (index, listeners) in listeners.workers.into_iter().enumerate() {
        let listeners = listeners.into_iter().chain(std::mem::take(&mut managed_identity)).collect();
        let (shared, name) = (shared.clone(), format!("worker-{index}"));
        let worker = move || worker(index, shared, listeners);
        threads.push(thread::Builder::new().name(name).spawn(worker).map_err(ListenError::Worker)?);
    }
    // The workers have all that is shared: none of it must outlive them here.
    drop(shared);
    let ends: Vec<_> = threads.into_iter().map(thread::JoinHandle::join).collect();
    for (index, end) in ends.into_iter().enumerate() {
        end.map_err(|_| ListenError::Panicked(index))?.map_err(ListenError::Worker)?;
    }
    Ok(())
}

fn worker(index: usize, mut shared: Shared, listeners: Vec<(Bound, Door)>) -> io::Result<()> {
    let all = StopAll(Arc::clone(&shared.stop));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    (shared.on_runtime_start)(index);
    runtime.block_on(async {
        let load = Arc::new(Load::new(shared.limits.in_flight));
        let connections = Connections::new(
            Arc::clone(&shared.service),
            shared.acceptor.clone(),
            shared.limits,
            Arc::clone(&shared.proxies),
            shared.stop.subscribe(),
            Arc::clone(&load),
        );
        let mut accepting = Vec::new();
        for (bound, door) in listeners {
            accepting.push(tokio::spawn(connection::accept(bound.listen()?, door, connections.clone())));
        }
        tokio::select! {
            () = connection::wish_to_stop(shared.shutdown.clone()) => {}
            () = connection::wish_to_stop(shared.stop.subscribe()) => {}
        }
        drop(all);
        shared.service.begin_to_stop();
        for task in accepting {
            // Ends by itself: it waits for the same wish.
            let _joined = task.await;
        }
        connections.drained().await;
        if let Some(Hold { drained, mut release }) = shared.hold.take() {
            drop(drained);
            // The sender gone is a release, too.
            let _told = release.wait_for(|released| *released).await;
        }
        Ok(())
    })
}
