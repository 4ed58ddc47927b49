//! What travels on a lane: frames of a length (u32, little-endian) and that many bytes of postcard.
//!
//! Frames may hold secrets, so their buffers are wiped when they are used up, and when they grow.

use crate::codec::FrameError::{Malformed, TooLarge};
use serde::Serialize;
use serde::de::DeserializeOwned;
use strongroom_hsm::verbs::Answer;
use strongroom_hsm::{HsmError, Request};
use zeroize::Zeroize;

/// Longest frame, without its length: twice a request body, with room for the blob beside it.
pub const FRAME_MAX: usize = 128 * 1024;
/// Bytes of the length.
const LENGTH: usize = 4;
/// Room that a read offers at least.
const READ_ROOM: usize = 64 * 1024;

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`FRAME_MAX`].
    #[error("frame longer than {FRAME_MAX} bytes")]
    TooLarge,
    /// Not the encoding of what was expected, or more than that.
    #[error("malformed frame")]
    Malformed,
}

/// Bytes that are wiped on drop, on [`Buffer::clear`] and out of memory that growing leaves behind.
#[derive(Default)]
pub struct Buffer(Vec<u8>);

impl Buffer {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Wipes and forgets all of them; the memory stays for the next ones.
    pub fn clear(&mut self) {
        self.cut(0);
    }

    /// Appends bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn cut(&mut self, len: usize) {
        if let Some(tail) = self.0.get_mut(len..) {
            tail.zeroize();
        }
        self.0.truncate(len);
    }

    fn reserve(&mut self, more: usize) {
        let needed = self.0.len() + more;
        if needed > self.0.capacity() {
            let mut larger = Vec::with_capacity(needed.max(2 * self.0.capacity()).max(READ_ROOM));
            larger.extend_from_slice(&self.0);
            self.0.zeroize();
            self.0 = larger;
        }
    }

    /// Appends one frame holding `value`; nothing is appended when it does not fit.
    fn frame(&mut self, value: &impl Serialize) -> Result<(), HsmError> {
        let start = self.0.len();
        self.extend(&[0; LENGTH]);
        let written = postcard::serialize_with_flavor(value, Sink(self));
        let length = self.0.len() - start - LENGTH;
        let prefix = u32::try_from(length).ok().filter(|_| written.is_ok() && length <= FRAME_MAX);
        match (prefix, self.0.get_mut(start..start + LENGTH)) {
            (Some(prefix), Some(place)) => place.copy_from_slice(&prefix.to_le_bytes()),
            (None, _) | (_, None) => {
                self.cut(start);
                return Err(HsmError::Protocol);
            }
        }
        Ok(())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// How postcard writes into a [`Buffer`].
struct Sink<'a>(&'a mut Buffer);

impl postcard::ser_flavors::Flavor for Sink<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.reserve(1);
        self.0.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// [`strongroom_hsm::verbs::Envelope`] around a request that is only lent.
#[derive(Serialize)]
struct LentEnvelope<'a> {
    id: u64,
    clock_offset: i64,
    request: &'a Request,
}

/// Appends a request's frame to `out`.
pub fn encode_request(id: u64, clock_offset: i64, request: &Request, out: &mut Buffer) -> Result<(), HsmError> {
    out.frame(&LentEnvelope { id, clock_offset, request })
}

/// Appends an answer's frame to `out`; an answer too large for a frame becomes an error with the same number.
pub fn encode_answer(answer: &Answer, out: &mut Buffer) {
    if let Err(error) = out.frame(answer) {
        // A number and an error always fit.
        let _ = out.frame(&Answer { id: answer.id, result: Err(error) });
    }
}

/// Decodes the whole of a frame.
pub fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(frame) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(Malformed),
    }
}

/// Received bytes on their way to be whole frames.
#[derive(Default)]
pub struct Inbox {
    bytes: Buffer,
    /// Received bytes; what lies behind is room.
    filled: usize,
    /// Bytes of frames already taken.
    taken: usize,
}

impl Inbox {
    /// Room for the next read.
    pub fn room(&mut self) -> &mut [u8] {
        self.compact();
        if self.bytes.0.len() < self.filled + READ_ROOM {
            self.bytes.reserve(self.filled + READ_ROOM - self.bytes.0.len());
            self.bytes.0.resize(self.filled + READ_ROOM, 0);
        }
        self.bytes.0.get_mut(self.filled..).unwrap_or_default()
    }

    /// The room now holds `count` bytes more.
    pub fn received(&mut self, count: usize) {
        self.filled = (self.filled + count).min(self.bytes.0.len());
    }

    /// The next whole frame, or nothing until more bytes come. After an error the stream is of no further use.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let rest = self.bytes.0.get(self.taken..self.filled).unwrap_or_default();
        let Some(prefix) = rest.first_chunk::<LENGTH>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*prefix)).map_err(|_| TooLarge)?;
        if length > FRAME_MAX {
            return Err(TooLarge);
        }
        let frame = rest.get(LENGTH..LENGTH + length);
        if frame.is_some() {
            self.taken += LENGTH + length;
        }
        Ok(frame)
    }

    /// Moves an unfinished frame to the front and wipes what was taken.
    fn compact(&mut self) {
        if self.taken > 0 {
            self.bytes.0.copy_within(self.taken..self.filled, 0);
            let left = self.filled - self.taken;
            if let Some(used) = self.bytes.0.get_mut(left..self.filled) {
                used.zeroize();
            }
            (self.filled, self.taken) = (left, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;
    use strongroom_hsm::verbs::{BlobId, Envelope, Input, Operate};
    use strongroom_model::{Algorithm, SecretBytes};
    use uuid::Uuid;

    fn encrypt(plaintext: Vec<u8>, aad: Option<Vec<u8>>) -> Request {
        Request::Operate(Operate {
            key: BlobId([3; 32]),
            blob: None,
            algorithm: Algorithm::A256Gcm,
            input: Input::Encrypt { plaintext: SecretBytes::new(plaintext), iv: None, aad },
            caller: Uuid::nil(),
        })
    }

    /// Feeds `bytes` in pieces of `piece` and gives the frames, or the error that ended them.
    fn feed(mut bytes: &[u8], piece: usize) -> Result<Vec<Vec<u8>>, FrameError> {
        let (mut inbox, mut frames) = (Inbox::default(), Vec::new());
        while !bytes.is_empty() {
            let room = inbox.room();
            let count = piece.min(room.len()).min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            inbox.received(count);
            bytes = &bytes[count..];
            while let Some(frame) = inbox.next_frame()? {
                frames.push(frame.to_vec());
            }
        }
        Ok(frames)
    }

    proptest! {
        #[test]
        fn requests_come_out_as_they_went_in_however_they_are_cut(
            values in prop::collection::vec((any::<u64>(), any::<i64>(), prop::collection::vec(any::<u8>(), 0..300), any::<bool>()), 1..20),
            piece in 1_usize..5_000,
        ) {
            let mut out = Buffer::default();
            for (id, offset, bytes, aad) in &values {
                let request = encrypt(bytes.clone(), aad.then(|| bytes.clone()));
                encode_request(*id, *offset, &request, &mut out).unwrap();
            }
            let frames = feed(out.as_slice(), piece).unwrap();
            prop_assert_eq!(frames.len(), values.len());
            for (frame, (id, offset, bytes, aad)) in frames.iter().zip(&values) {
                let envelope: Envelope = decode(frame).unwrap();
                prop_assert_eq!((envelope.id, envelope.clock_offset), (*id, *offset));
                let Request::Operate(operate) = envelope.request else { panic!("another verb") };
                let Input::Encrypt { plaintext, iv: None, aad: got } = operate.input else { panic!("another operation") };
                prop_assert!(plaintext.same_as(bytes));
                prop_assert_eq!(got, aad.then(|| bytes.clone()));
            }
        }

        #[test]
        fn hostile_bytes_end_the_stream_and_nothing_else(bytes in prop::collection::vec(any::<u8>(), 0..2_000), piece in 1_usize..500) {
            if let Ok(frames) = feed(&bytes, piece) {
                for frame in frames {
                    let _ = decode::<Envelope>(&frame);
                    let _ = decode::<Answer>(&frame);
                }
            }
        }

        #[test]
        fn changed_frames_decode_to_a_request_or_are_refused(at in 0_usize..120, to in any::<u8>(), cut in 0_usize..120) {
            let mut out = Buffer::default();
            encode_request(7, 0, &encrypt(vec![5; 40], None), &mut out).unwrap();
            let mut frame = out.as_slice()[LENGTH..].to_vec();
            let whole = frame.len();
            prop_assert!(decode::<Envelope>(&[&frame[..], &[0]].concat()).is_err());
            frame.truncate(whole - cut.min(whole));
            prop_assert_eq!(decode::<Envelope>(&frame).is_ok(), cut == 0);
            if let Some(byte) = frame.get_mut(at) {
                *byte = to;
                let _ = decode::<Envelope>(&frame);
            }
        }
    }

    #[test]
    fn lengths_above_the_limit_are_refused_before_their_bytes_come() {
        let over = u32::try_from(FRAME_MAX + 1).unwrap();
        for length in [over, u32::MAX, u32::MAX - 3] {
            assert_eq!(feed(&length.to_le_bytes(), 4), Err(TooLarge));
        }
        let mut largest = u32::try_from(FRAME_MAX).unwrap().to_le_bytes().to_vec();
        largest.extend(vec![0; FRAME_MAX]);
        assert_eq!(feed(&largest, 10_000).unwrap(), [vec![0; FRAME_MAX]]);
    }

    #[test]
    fn what_does_not_fit_a_frame_leaves_the_buffer_as_it_was() {
        let mut out = Buffer::default();
        encode_request(1, 0, &encrypt(vec![1; 10], None), &mut out).unwrap();
        let before = out.as_slice().to_vec();
        assert_eq!(encode_request(2, 0, &encrypt(vec![2; FRAME_MAX], None), &mut out), Err(HsmError::Protocol));
        assert_eq!(out.as_slice(), before);
    }

    #[test]
    fn used_bytes_are_wiped() {
        let mut out = Buffer::default();
        encode_request(1, 0, &encrypt(vec![0xAB; 100], None), &mut out).unwrap();
        let frame = out.as_slice().to_vec();
        out.clear();
        out.0.resize(frame.len(), 1);
        assert!(!out.as_slice().contains(&0xAB));

        let mut inbox = Inbox::default();
        inbox.room()[..frame.len()].copy_from_slice(&frame);
        inbox.received(frame.len());
        assert!(inbox.next_frame().unwrap().is_some());
        assert!(!inbox.room().contains(&0xAB));
    }
}
