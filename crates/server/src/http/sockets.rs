//! The kinds of sockets that connections come from: TCP, Unix, and those of virtual machines.

use super::endpoint::PeerAddress;
use rustix::fs::Mode;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// Connections that the kernel keeps for a listener that is busy.
const BACKLOG: i32 = 1024;
/// Whoever may write to it may connect: the service's user and group.
const UNIX_MODE: Mode = Mode::from_raw_mode(0o660);
/// Takes nothing of it away, and nothing from files that another thread makes for itself in the same moment.
const UNIX_MASK: Mode = Mode::from_raw_mode(0o007);
/// Any context id: every virtual machine of the host (VMADDR_CID_ANY).
const ANY_VM: u32 = u32::MAX;

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
    Vsock(Socket),
}

/// The same, in a runtime.
pub(super) enum Listening {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
    /// tokio has no sockets for virtual machines, and its own way to any descriptor is `unsafe`. But what it does on a Unix stream
    /// (wait, read, write, shut down) the kernel does on any stream: it waits on a second descriptor of the listener.
    Vsock(Socket, UnixStream),
}

/// A connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    /// A Unix socket, or one of a virtual machine: see [`Listening::Vsock`].
    Local(UnixStream),
}

impl Bound {
    /// Hands the socket to the runtime of the calling thread.
    pub(super) fn listen(self) -> io::Result<Listening> {
        Ok(match self {
            Self::Tcp(listener) => Listening::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Self::Unix(listener) => Listening::Unix(tokio::net::UnixListener::from_std(listener)?),
            Self::Vsock(listener) => {
                let second = as_unix(listener.try_clone()?)?;
                Listening::Vsock(listener, second)
            }
        })
    }

    /// The same socket once more, for another worker.
    pub(super) fn again(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener) => Self::Unix(listener.try_clone()?),
            Self::Vsock(listener) => Self::Vsock(listener.try_clone()?),
        })
    }
}

impl Listening {
    pub(super) async fn accept(&self) -> io::Result<(Stream, PeerAddress)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                (Stream::Tcp(stream), PeerAddress::of(address.ip()))
            }
            Self::Unix(listener) => (Stream::Local(listener.accept().await?.0), PeerAddress::Unix),
            Self::Vsock(listener, second) => {
                let (socket, address) = second.async_io(Interest::READABLE, || listener.accept()).await?;
                socket.set_nonblocking(true)?;
                let cid = address.as_vsock_address().map_or(ANY_VM, |(cid, _)| cid);
                (Stream::Local(as_unix(socket)?), PeerAddress::Vsock(cid))
            }
        })
    }
}

fn as_unix(socket: Socket) -> io::Result<UnixStream> {
    UnixStream::from_std(OwnedFd::from(socket).into())
}

/// Listens on a TCP address; `shared` lets every worker have a socket of its own there, `device` takes what comes in there only.
pub(super) fn tcp(address: SocketAddr, shared: bool, device: Option<&str>) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    if let Some(device) = device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Listens on a path; a socket that nobody listens on any more, left behind by an earlier run, is replaced.
pub(super) fn unix(path: &Path) -> io::Result<Bound> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Ok(_) | Err(_) => {}
        }
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The socket's own mode, less the mask, becomes that of its name: whoever is confined changes no mode by name.
    rustix::fs::fchmod(&socket, UNIX_MODE)?;
    let address = SockAddr::unix(path)?;
    let mask = rustix::process::umask(UNIX_MASK);
    let bound = socket.bind(&address);
    rustix::process::umask(mask);
    bound?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(Bound::Unix(OwnedFd::from(socket).into()))
}

/// Listens on a port for virtual machines; none where the kernel knows no such sockets.
pub(super) fn vsock(port: u32) -> io::Result<Option<Bound>> {
    let socket = match Socket::new(Domain::VSOCK, Type::STREAM, None) {
        Ok(socket) => socket,
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) => return Ok(None),
        Err(error) => return Err(error),
    };
    socket.bind(&SockAddr::vsock(ANY_VM, port))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(Some(Bound::Vsock(socket)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// What listens as for virtual machines, on another kind of socket: not every kernel connects to itself by vsock.
    #[tokio::test]
    async fn bytes_go_both_ways_and_end() {
        let listener = tcp((std::net::Ipv4Addr::LOCALHOST, 0).into(), false, None).unwrap();
        let address = listener.local_addr().unwrap();
        let Listening::Vsock(socket, second) = Bound::Vsock(listener.into()).listen().unwrap() else { panic!() };
        let listening = Listening::Vsock(socket, second);
        let connecting = tokio::spawn(TcpStream::connect(address));
        let (stream, peer) = listening.accept().await.unwrap();
        assert_eq!(peer, PeerAddress::Vsock(ANY_VM));
        let (Stream::Local(mut one), mut other) = (stream, connecting.await.unwrap().unwrap()) else { panic!() };
        let sent: Vec<u8> = (0..1_000_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let expected = sent.clone();
        let sending = tokio::spawn(async move {
            one.write_all(&sent).await.unwrap();
            one.shutdown().await.unwrap();
            let mut back = Vec::new();
            one.read_to_end(&mut back).await.unwrap();
            back
        });
        let mut received = Vec::new();
        other.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, expected);
        other.write_all(b"thanks").await.unwrap();
        drop(other);
        assert_eq!(sending.await.unwrap(), b"thanks");
    }
}
