//! The threads of a partition: two lanes for each runtime of the service, and what may not hold up a lane.

use crate::codec::{Buffer, FrameError, Inbox, decode, encode_answer};
use crate::core::{Core, ThreadChain};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use strongroom_hsm::verbs::Envelope;
use strongroom_hsm::{HsmError, Provider, Request};
use strongroom_model::KeyType;

/// Answers are written at the latest when they come to this many bytes.
const WRITE_AT: usize = 256 * 1024;

/// Longest that a slow lane holds an answer back while it has more requests at hand: the service is woken for several RSA
/// operations at once, and an answer that waited its turn for milliseconds waits a little longer.
const SLOW_HOLD: Duration = Duration::from_millis(2);

/// Which of a runtime's two lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speed {
    /// Microseconds: all that was read is answered with one write.
    Fast,
    /// RSA private operations: answers are written when nothing more is at hand, or after [`SLOW_HOLD`].
    Slow,
}

/// Why a lane ends, and with it the partition.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaneEnd {
    /// The service closed it.
    #[error("the service closed a lane")]
    Closed,
    /// The service sent something else than requests.
    #[error("the service broke the protocol: {0}")]
    Frame(#[from] FrameError),
    /// The socket failed.
    #[error("a lane failed: {0}")]
    Io(#[from] std::io::Error),
    /// A self-test failed.
    #[error("a self-test failed: {0}")]
    Hsm(#[from] HsmError),
}

/// A request that takes a thread longer than a lane may wait.
pub(super) struct LongJob {
    envelope: Envelope,
    chain: ThreadChain,
    lane: Arc<Lane>,
}

/// Where long jobs wait.
pub(super) type Jobs = Receiver<LongJob>;

/// The ways to the threads for long jobs. Self-tests have one of their own: readiness must not wait behind the making of keys.
#[derive(Clone)]
pub(super) struct Queues {
    pub(super) long: SyncSender<LongJob>,
    pub(super) self_tests: SyncSender<LongJob>,
}

impl Queues {
    /// The queue for a request that takes from a tenth of a second to seconds: making and checking RSA keys, testing everything.
    fn of(&self, request: &Request) -> Option<&SyncSender<LongJob>> {
        match request {
            Request::Generate(draft, _) | Request::Import(draft, ..) => {
                (draft.spec.kty() == KeyType::Rsa).then_some(&self.long)
            }
            Request::SelfTest => Some(&self.self_tests),
            Request::Describe
            | Request::CreateRoot
            | Request::OpenRoot(_)
            | Request::Rebind(..)
            | Request::Operate(_)
            | Request::Random { .. }
            | Request::Checkpoint => None,
        }
    }
}

impl LongJob {
    /// Tests the mechanisms and says how it went; a failure is an error here too.
    pub(super) fn answer_self_test<P: Provider>(self, core: &Core<P>) -> Result<(), LaneEnd> {
        let answer = core.handle(&self.chain, self.envelope);
        let failed = answer.result.as_ref().err().copied().filter(|e| *e != HsmError::Protocol);
        let mut answers = Buffer::default();
        encode_answer(&answer, &mut answers);
        self.lane.write(&mut answers)?;
        failed.map_or(Ok(()), |error| Err(LaneEnd::Hsm(error)))
    }
}

/// A lane's socket; answers come from its own thread and from those of long jobs.
pub(super) struct Lane {
    socket: UnixStream,
    writing: Mutex<()>,
}

impl Lane {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket, writing: Mutex::new(()) }
    }

    fn write(&self, answers: &mut Buffer) -> Result<(), LaneEnd> {
        let _whole = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        (&self.socket).write_all(answers.as_slice())?;
        answers.clear();
        Ok(())
    }
}

/// Answers requests until the lane ends: reads all there is, works, writes.
pub(super) fn serve<P: Provider>(
    core: &Core<P>,
    chain: &ThreadChain,
    lane: &Arc<Lane>,
    speed: Speed,
    queues: &Queues,
) -> LaneEnd {
    let run = || -> Result<(), LaneEnd> {
        let (mut inbox, mut answers) = (Inbox::default(), Buffer::default());
        loop {
            let count = (&lane.socket).read(inbox.room())?;
            if count == 0 {
                return Err(LaneEnd::Closed);
            }
            inbox.received(count);
            let mut held = Instant::now();
            while let Some(frame) = inbox.next_frame()? {
                let envelope: Envelope = decode(frame)?;
                if let Some(queue) = queues.of(&envelope.request) {
                    let job = LongJob { envelope, chain: chain.clone(), lane: Arc::clone(lane) };
                    queue.send(job).map_err(|_| LaneEnd::Closed)?;
                    continue;
                }
                encode_answer(&core.handle(chain, envelope), &mut answers);
                let due = speed == Speed::Slow && held.elapsed() >= SLOW_HOLD;
                if due || answers.as_slice().len() >= WRITE_AT {
                    lane.write(&mut answers)?;
                    held = Instant::now();
                }
            }
            if !answers.is_empty() {
                lane.write(&mut answers)?;
            }
        }
    };
    run().err().unwrap_or(LaneEnd::Closed)
}

/// Does long jobs, one after the other, beside other threads that take from the same queue.
pub(super) fn work_long<P: Provider>(core: &Core<P>, jobs: &Mutex<Jobs>) -> LaneEnd {
    let mut answers = Buffer::default();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(LongJob { envelope, chain, lane }) = job else { return LaneEnd::Closed };
        encode_answer(&core.handle(&chain, envelope), &mut answers);
        if let Err(end) = lane.write(&mut answers) {
            return end;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::codec::{FRAME_MAX, encode_request};
    use std::sync::mpsc::sync_channel;
    use strongroom_hsm::Reply;
    use strongroom_hsm::verbs::Answer;
    use strongroom_hsm_soft::SoftProvider;
    use strongroom_model::clock::SystemClock;
    use strongroom_model::{PoolId, SecretBytes};
    use uuid::Uuid;

    /// What a lane does with `bytes` and then the service's end of the socket closed; and what it wrote.
    fn lane(bytes: &[u8], speed: Speed) -> (LaneEnd, Vec<u8>) {
        let kek = SecretBytes::new(vec![1; 32]);
        let core =
            Core::new(Arc::new(SoftProvider), PoolId(Uuid::nil()), kek, Box::new(SystemClock { offset: 0 }), false);
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(bytes).unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let (long, _jobs) = sync_channel(1);
        let queues = Queues { long: long.clone(), self_tests: long };
        let chain = core.thread_chain().unwrap();
        let end = serve(&core, &chain, &Arc::new(Lane::new(theirs)), speed, &queues);
        let mut written = Vec::new();
        ours.read_to_end(&mut written).unwrap();
        (end, written)
    }

    #[test]
    fn a_service_that_breaks_the_protocol_gets_no_answer_and_ends_the_lane() {
        let over = u32::try_from(FRAME_MAX + 1).unwrap().to_le_bytes();
        let (end, written) = lane(&over, Speed::Fast);
        assert!(matches!(end, LaneEnd::Frame(FrameError::TooLarge)) && written.is_empty());
        let (end, written) = lane(&[3, 0, 0, 0, 0xFF, 0xFF, 0xFF], Speed::Slow);
        assert!(matches!(end, LaneEnd::Frame(FrameError::Malformed)) && written.is_empty());
        assert!(matches!(lane(&[], Speed::Fast).0, LaneEnd::Closed));
    }

    #[test]
    fn all_requests_of_one_read_are_answered_in_order() {
        let mut bytes = Buffer::default();
        for id in 0..10 {
            encode_request(id, 0, &Request::Random { count: 8 }, &mut bytes).unwrap();
        }
        for speed in [Speed::Fast, Speed::Slow] {
            let (end, written) = lane(bytes.as_slice(), speed);
            assert!(matches!(end, LaneEnd::Closed));
            let mut inbox = Inbox::default();
            inbox.room()[..written.len()].copy_from_slice(&written);
            inbox.received(written.len());
            for id in 0..10 {
                let answer: Answer = decode(inbox.next_frame().unwrap().unwrap()).unwrap();
                assert_eq!(answer.id, id);
                assert!(matches!(answer.result, Ok(Reply::Random(bytes)) if bytes.len() == 8));
            }
            assert!(inbox.next_frame().unwrap().is_none());
        }
    }
}
