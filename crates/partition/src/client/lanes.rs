//! The lanes to one living partition: requests of one turn leave in one write, replies of one read are delivered together.

use super::pool::PoolGateway;
use crate::codec::{Buffer, Inbox, decode, encode_request};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use strongroom_hsm::verbs::Answer;
use strongroom_hsm::{HsmError, Reply, Request};
use strongroom_model::algorithm::Mechanism;
use strongroom_model::{KeyType, Operation};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

/// Requests on one lane that have no reply yet; further ones wait in their tasks.
pub const PENDING_MAX: usize = 4_096;

/// RSA keys that one pool makes or checks at a time, those waiting in the partition included; further ones wait in their tasks,
/// where a caller who gives up takes the request along.
pub(super) const LONG_PENDING_MAX: usize = 64;

/// The reply on its way.
pub(super) type Slot = oneshot::Receiver<Result<Reply, HsmError>>;

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// On the lane for what takes long, so that nothing short waits behind it.
    slow: bool,
    /// Whether a missing reply means that the partition stalls; making RSA keys has no bound in time.
    watched: bool,
    /// Whether it counts against [`LONG_PENDING_MAX`].
    pub(super) long: bool,
}

impl Route {
    const FAST: Self = Self { slow: false, watched: true, long: false };
    const SLOW: Self = Self { slow: true, watched: true, long: false };

    pub(super) fn of(request: &Request) -> Self {
        match request {
            Request::Describe | Request::Random { .. } | Request::Checkpoint => Self::FAST,
            Request::CreateRoot | Request::OpenRoot(_) => Self::SLOW,
            Request::SelfTest => Self { watched: false, ..Self::SLOW },
            Request::Generate(draft, _) | Request::Import(draft, ..) => match draft.spec.kty() {
                KeyType::Rsa => Self { watched: false, long: true, ..Self::SLOW },
                KeyType::Ec | KeyType::Oct => Self::FAST,
            },
            Request::Rebind(blob, ..) => match blob.binding.spec.kty() {
                KeyType::Rsa => Self::SLOW,
                KeyType::Ec | KeyType::Oct => Self::FAST,
            },
            Request::Operate(operate) => {
                let rsa_private = is_rsa_private(operate.algorithm.row().mechanism, operate.input.operation());
                if rsa_private { Self::SLOW } else { Self::FAST }
            }
        }
    }
}

fn is_rsa_private(mechanism: Mechanism, operation: Operation) -> bool {
    let rsa = match mechanism {
        Mechanism::RsaPkcs1Encryption
        | Mechanism::RsaOaepSha1
        | Mechanism::RsaOaepSha256
        | Mechanism::RsaPkcs1Signature(_)
        | Mechanism::RsaPss(_) => true,
        Mechanism::Ecdsa(..)
        | Mechanism::AesKeyWrap
        | Mechanism::AesKeyWrapPad
        | Mechanism::AesGcm
        | Mechanism::AesCbc
        | Mechanism::AesCbcPad
        | Mechanism::Hmac(_) => false,
    };
    match operation {
        Operation::Sign | Operation::Decrypt | Operation::UnwrapKey => rsa,
        Operation::Verify | Operation::Encrypt | Operation::WrapKey => false,
    }
}

/// All lanes to one partition.
pub(super) struct Lanes {
    /// Fast and slow, for each runtime.
    pairs: Vec<[Arc<Lane>; 2]>,
    owner: Weak<PoolGateway>,
    stall_after: Duration,
}

struct Lane {
    socket: UnixStream,
    state: Mutex<LaneState>,
    /// Tells the flusher that the buffer is no longer empty, or the lane no longer open.
    filled: Notify,
    /// Tells one who waits that there is room for one more request.
    room: Notify,
}

struct LaneState {
    out: Buffer,
    pending: HashMap<u64, Pending>,
    /// Pending requests that the watchdog counts.
    watched: usize,
    /// The last reply, or the moment since which there is one to wait for.
    progress: Instant,
    started: bool,
    open: bool,
}

struct Pending {
    reply: oneshot::Sender<Result<Reply, HsmError>>,
    watched: bool,
    /// Given back with the reply, whether somebody waits for it or not.
    _turn: Option<OwnedSemaphorePermit>,
}

/// What did not go out.
pub(super) enum Unsent {
    /// The lane has as many requests as it may have.
    Full,
    /// The partition is gone.
    Closed,
    /// The request cannot be encoded.
    Refused(HsmError),
}

/// A request in the form in which it waits or goes.
pub(super) enum Outgoing<'a> {
    /// Encoded straight into the lane's buffer.
    Request(&'a Request, i64),
    /// Encoded before, while there was no way to the partition.
    Frame(&'a Buffer),
}

impl Lanes {
    /// Takes over the sockets: fast and slow for each runtime, in order.
    pub(super) fn new(
        sockets: Vec<OwnedFd>,
        owner: Weak<PoolGateway>,
        stall_after: Duration,
    ) -> std::io::Result<Arc<Self>> {
        let lanes: std::io::Result<Vec<Arc<Lane>>> = sockets.into_iter().map(Lane::new).collect();
        let pairs = lanes?.as_chunks::<2>().0.to_vec();
        if pairs.is_empty() {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(Arc::new(Self { pairs, owner, stall_after }))
    }

    fn lane(&self, runtime: usize, route: Route) -> &Arc<Lane> {
        // `new` refuses an empty list, and the index is below its length.
        &self.pairs[runtime % self.pairs.len()][usize::from(route.slow)]
    }

    /// Puts a request into its lane's buffer, on the runtime that the calling thread drives.
    pub(super) fn send(
        self: &Arc<Self>,
        runtime: usize,
        id: u64,
        route: Route,
        outgoing: Outgoing<'_>,
        turn: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<Slot, Unsent> {
        // The tasks of a lane, and whoever waits for a reply, need one.
        let Ok(handle) = Handle::try_current() else { return Err(Unsent::Refused(HsmError::Lost)) };
        let lane = self.lane(runtime, route);
        let mut state = lane.state();
        if !state.open {
            return Err(Unsent::Closed);
        }
        if state.pending.len() >= PENDING_MAX {
            return Err(Unsent::Full);
        }
        let first = state.out.is_empty();
        match outgoing {
            Outgoing::Request(request, offset) => {
                encode_request(id, offset, request, &mut state.out).map_err(Unsent::Refused)?;
            }
            Outgoing::Frame(frame) => state.out.extend(frame.as_slice()),
        }
        if route.watched {
            if state.watched == 0 {
                state.progress = Instant::now();
            }
            state.watched += 1;
        }
        let (reply, slot) = oneshot::channel();
        state.pending.insert(id, Pending { reply, watched: route.watched, _turn: turn.take() });
        if !state.started {
            state.started = true;
            drop(state);
            self.start(lane, &handle);
        }
        if first {
            lane.filled.notify_one();
        }
        Ok(slot)
    }

    /// Waits until the lane of this route takes one more request, or is closed.
    pub(super) async fn room(&self, runtime: usize, route: Route) {
        let lane = self.lane(runtime, route);
        let room = lane.room.notified();
        let full = {
            let state = lane.state();
            state.open && state.pending.len() >= PENDING_MAX
        };
        if full {
            room.await;
        }
    }

    /// Starts the lane's tasks on the calling runtime, whose reactor watches the socket from then on.
    fn start(self: &Arc<Self>, lane: &Arc<Lane>, runtime: &Handle) {
        let stream = lane.socket.try_clone().and_then(tokio::net::UnixStream::from_std);
        let Ok(stream) = stream.map(Arc::new) else { return self.fail() };
        runtime.spawn(flush(Arc::clone(lane), Arc::clone(&stream)));
        let reader = Reader { lane: Arc::clone(lane), lanes: Arc::clone(self), gone: false };
        runtime.spawn(async move {
            let mut reader = reader;
            match receive(&reader.lane, &stream, reader.lanes.stall_after).await {
                Lost::Closed => tracing::debug!("a partition closed its lanes"),
                Lost::Stalled => tracing::error!("a partition does not answer any more: it is replaced"),
                Lost::Protocol => tracing::error!("a partition broke the protocol: it is replaced"),
            }
            reader.gone = true;
        });
    }

    /// Closes every lane: the partition ends, and what is pending is lost.
    pub(super) fn close(&self) {
        for lane in self.pairs.iter().flatten() {
            lane.close();
        }
    }

    /// Gives up the partition: everything pending is lost, and the owner looks for a new one.
    pub(super) fn fail(self: &Arc<Self>) {
        self.close();
        if let Some(owner) = self.owner.upgrade() {
            owner.lost(self);
        }
    }
}

/// A lane's reader, which settles what becomes of the lane however it ends.
struct Reader {
    lane: Arc<Lane>,
    lanes: Arc<Lanes>,
    /// Whether the partition is gone, and not only the runtime that this reader ran on.
    gone: bool,
}

impl Drop for Reader {
    fn drop(&mut self) {
        {
            let mut state = self.lane.state();
            if !self.gone && state.pending.is_empty() {
                // Nothing is half sent or half received: whoever comes next starts the lane on a runtime that lives.
                state.started = false;
                return;
            }
        }
        self.lanes.fail();
    }
}

impl Lane {
    fn new(socket: OwnedFd) -> std::io::Result<Arc<Self>> {
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        let state = LaneState {
            out: Buffer::default(),
            pending: HashMap::new(),
            watched: 0,
            progress: Instant::now(),
            started: false,
            open: true,
        };
        Ok(Arc::new(Self { socket, state: Mutex::new(state), filled: Notify::new(), room: Notify::new() }))
    }

    fn state(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut state = self.state();
        state.open = false;
        state.watched = 0;
        state.out.clear();
        let pending = std::mem::take(&mut state.pending);
        drop(state);
        // Refused only when it is closed already.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.filled.notify_one();
        self.room.notify_waiters();
        for (_, slot) in pending {
            // A caller who was cancelled does not wait any more.
            let _ = slot.reply.send(Err(HsmError::Lost));
        }
    }

    /// Delivers the answers of one read.
    fn deliver(&self, answers: &mut Vec<Answer>) -> Result<(), Lost> {
        let mut state = self.state();
        if answers.is_empty() || !state.open {
            return Ok(());
        }
        state.progress = Instant::now();
        let full = state.pending.len() >= PENDING_MAX;
        for answer in answers.drain(..) {
            let Some(slot) = state.pending.remove(&answer.id) else { return Err(Lost::Protocol) };
            state.watched -= usize::from(slot.watched);
            let _ = slot.reply.send(answer.result);
        }
        drop(state);
        if full {
            self.room.notify_waiters();
        }
        Ok(())
    }
}

/// Writes what a whole turn of the runtime has put into the buffer.
async fn flush(lane: Arc<Lane>, stream: Arc<tokio::net::UnixStream>) {
    let mut batch = Buffer::default();
    loop {
        lane.filled.notified().await;
        // Behind all tasks that are ready: their requests go with the same write.
        tokio::task::yield_now().await;
        {
            let mut state = lane.state();
            if !state.open {
                return;
            }
            std::mem::swap(&mut state.out, &mut batch);
        }
        let mut rest = batch.as_slice();
        while !rest.is_empty() {
            match stream.try_write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if stream.writable().await.is_err() {
                        return;
                    }
                }
                // The reader sees the end of the socket and tells everybody.
                Err(_) => return,
            }
        }
        batch.clear();
    }
}

/// Why a partition is given up.
enum Lost {
    Closed,
    Stalled,
    Protocol,
}

/// Reads replies until the partition is to be given up.
async fn receive(lane: &Lane, stream: &tokio::net::UnixStream, stall_after: Duration) -> Lost {
    let mut inbox = Inbox::default();
    let mut answers = Vec::new();
    let mut watchdog = tokio::time::interval(stall_after / 4);
    watchdog.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            ready = stream.readable() => if ready.is_err() { return Lost::Closed },
            _ = watchdog.tick() => {
                let state = lane.state();
                if state.watched > 0 && state.progress.elapsed() > stall_after {
                    return Lost::Stalled;
                }
                continue;
            }
        }
        match stream.try_read(inbox.room()) {
            Ok(0) => return Lost::Closed,
            Ok(count) => inbox.received(count),
            Err(e) if e.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => return Lost::Closed,
        }
        loop {
            match inbox.next_frame().map(|f| f.map(decode::<Answer>)) {
                Ok(Some(Ok(answer))) => answers.push(answer),
                Ok(None) => break,
                Ok(Some(Err(_))) | Err(_) => return Lost::Protocol,
            }
        }
        if let Err(lost) = lane.deliver(&mut answers) {
            return lost;
        }
    }
}
