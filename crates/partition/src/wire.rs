//! The few fixed messages between keeper and service: one byte that says what, 16 bytes of a pool's UUID, and descriptors.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use strongroom_model::PoolId;
use uuid::Uuid;

/// Runtimes of one service: two lanes for each must fit into one message, which takes 253 descriptors.
pub(crate) const RUNTIMES_MAX: usize = 64;
/// Room for the descriptors of one message.
const ANCILLARY: usize = 16 + 2 * RUNTIMES_MAX * size_of::<i32>() + 16;
/// Bytes of every message.
const MESSAGE: usize = 17;

/// The one thing that the service may ask: start the partition of this pool, ending one that runs.
const START: u8 = 1;
const STARTED: u8 = 2;
const REFUSED: u8 = 3;
const STOP: u8 = 4;

/// What the keeper tells the service.
pub(crate) enum ToService {
    /// The partition runs; its lanes.
    Started(PoolId, Vec<OwnedFd>),
    /// The partition could not be started.
    Refused(PoolId),
    /// Drain and end.
    Stop,
}

fn message(what: u8, pool: PoolId) -> [u8; MESSAGE] {
    let mut bytes = [what; MESSAGE];
    bytes[1..].copy_from_slice(pool.0.as_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Option<(u8, PoolId)> {
    let (what, pool) = bytes.split_first()?;
    Some((*what, PoolId(Uuid::from_slice(pool).ok()?)))
}

/// Asks for the partition of `pool`.
pub(crate) fn start_message(pool: PoolId) -> [u8; MESSAGE] {
    message(START, pool)
}

/// What the service asked for: a pool, `None` at its end; anything else is an error.
pub(crate) fn read_request(socket: &OwnedFd) -> io::Result<Option<PoolId>> {
    let mut bytes = [0; MESSAGE + 1];
    let (count, _) = rustix::net::recv(socket, &mut bytes, RecvFlags::DONTWAIT)?;
    match bytes.get(..count).and_then(parse) {
        Some((START, pool)) => Ok(Some(pool)),
        _ if count == 0 => Ok(None),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Hands the lanes of a new partition to the service.
pub(crate) fn send_started(socket: &OwnedFd, pool: PoolId, lanes: &[OwnedFd]) -> io::Result<()> {
    let fds: Vec<BorrowedFd<'_>> = lanes.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); ANCILLARY];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let bytes = message(STARTED, pool);
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

/// Tells the service that the partition could not be started.
pub(crate) fn send_refused(socket: &OwnedFd, pool: PoolId) -> io::Result<()> {
    send(socket, message(REFUSED, pool))
}

/// Asks the service to drain and end.
pub(crate) fn send_stop(socket: &OwnedFd) -> io::Result<()> {
    send(socket, message(STOP, PoolId(Uuid::nil())))
}

fn send(socket: &OwnedFd, bytes: [u8; MESSAGE]) -> io::Result<()> {
    rustix::net::send(socket, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

/// Waits for the keeper's next message; `None` at its end.
pub(crate) fn receive(socket: &OwnedFd) -> io::Result<Option<ToService>> {
    let mut bytes = [0; MESSAGE + 1];
    let mut space = [MaybeUninit::uninit(); ANCILLARY];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut fds = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            fds.extend(rights);
        }
    }
    match bytes.get(..received.bytes).and_then(parse) {
        Some((STARTED, pool)) => Ok(Some(ToService::Started(pool, fds))),
        Some((REFUSED, pool)) => Ok(Some(ToService::Refused(pool))),
        Some((STOP, _)) => Ok(Some(ToService::Stop)),
        _ if received.bytes == 0 => Ok(None),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
