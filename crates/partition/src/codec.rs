//! What travels on a lane: frames of a length (u32, little-endian) and that many bytes of postcard.
//!
//! Frames may hold secrets, so their buffers are wiped when they are used up, and when they grow.

use crate::codec::FrameError::{Malformed, TooLarge};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
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
        self.try_extend(&[byte])
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

/// The number in front of an answer or a request.
pub fn decode_id(frame: &[u8]) -> Result<u64, FrameError> {
    #[derive(Deserialize)]
    struct Id(u64);
    postcard::take_from_bytes::<Id>(frame).map(|(id, _)| id.0).map_err(|_| Malformed)
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
