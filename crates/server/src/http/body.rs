//! Bodies: read up to a limit and within a time into memory that is wiped, or thrown away.

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::body::Body;
use std::pin::pin;
use std::time::Duration;
use strongroom_model::SecretBytes;
use strongroom_model::error::{BadBody, BadParameter, Error, Result};
use zeroize::Zeroizing;

/// Most of a refused body that is still read, so that a client that sends before it reads gets its answer.
const DISCARDED_MAX: usize = 4 << 20;
/// Longest time for that.
const DISCARD_TIME: Duration = Duration::from_secs(5);
/// Longest wait for a part of it.
const DISCARD_PATIENCE: Duration = Duration::from_millis(500);

/// What a request body must be for us.
pub(super) trait RequestBody: Body<Data = Bytes, Error: Send> + Send + Unpin + 'static {}
impl<B: Body<Data = Bytes, Error: Send> + Send + Unpin + 'static> RequestBody for B {}

/// Reads the whole body: 413 over the limit, at once when the head already says so; 408 when it does not come in time.
pub(super) async fn read(body: &mut impl RequestBody, limit: usize, time: Duration) -> Result<SecretBytes> {
    if body.is_end_stream() {
        return Ok(SecretBytes::new(Vec::new()));
    }
    let announced = body.size_hint();
    if announced.lower() > limit as u64 {
        return Err(Error::BodyTooLarge);
    }
    let expected = announced.exact().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let mut reading = pin!(collect(body, limit, expected));
    // Mostly all of it came with the head, and no timer is needed.
    if let Some(read) = reading.as_mut().now_or_never() {
        return read;
    }
    tokio::time::timeout(time, reading).await.map_err(|_| Error::RequestTimeout)?
}

async fn collect(body: &mut impl RequestBody, limit: usize, expected: usize) -> Result<SecretBytes> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Error::BadParameter(BadParameter::Body(BadBody::Truncated)))?;
        let Ok(data) = frame.into_data() else { continue };
        let wanted = bytes.len() + data.len();
        if wanted > limit {
            return Err(Error::BodyTooLarge);
        }
        if wanted > bytes.capacity() {
            // Grown by hand: the memory that is left behind is wiped.
            let mut larger = Zeroizing::new(Vec::with_capacity(wanted.max(2 * bytes.capacity()).min(limit)));
            larger.extend_from_slice(&bytes);
            bytes = larger;
        }
        bytes.extend_from_slice(&data);
    }
    Ok(SecretBytes::new(std::mem::take(&mut *bytes)))
}

/// Reads on and throws away, within bounds; the connection is closed after that if there is more.
pub(super) async fn discard(mut body: impl RequestBody) {
    if body.size_hint().lower() > DISCARDED_MAX as u64 {
        return;
    }
    let mut seen = 0;
    let reading = async {
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(DISCARD_PATIENCE, body.frame()).await {
            seen += frame.data_ref().map_or(0, Bytes::len);
            if seen > DISCARDED_MAX {
                break;
            }
        }
    };
    // Late or not, there is nothing more to do for it.
    let _in_time = tokio::time::timeout(DISCARD_TIME, reading).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    const TIME: Duration = Duration::from_secs(30);

    fn chunks(count: usize, size: usize) -> impl RequestBody {
        let frames = (0..count).map(move |_| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b'x'; size]))));
        StreamBody::new(futures_util::stream::iter(frames))
    }

    #[tokio::test]
    async fn bodies_are_read_up_to_their_limit() {
        assert_eq!(read(&mut Full::new(Bytes::from_static(b"abc")), 3, TIME).await.unwrap().expose(), b"abc");
        assert_eq!(read(&mut chunks(10, 7), 70, TIME).await.unwrap().expose(), &[b'x'; 70]);
        assert!(read(&mut Full::new(Bytes::new()), 0, TIME).await.unwrap().is_empty());
        assert!(matches!(read(&mut chunks(10, 7), 69, TIME).await, Err(Error::BodyTooLarge)));
        let mut large = Full::new(Bytes::from(vec![0; 71]));
        assert!(matches!(read(&mut large, 70, TIME).await, Err(Error::BodyTooLarge)));
        assert!(!large.is_end_stream(), "refused without reading");
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let mut never = StreamBody::new(futures_util::stream::pending::<std::io::Result<Frame<Bytes>>>());
        assert!(matches!(read(&mut never, 10, Duration::from_millis(1)).await, Err(Error::RequestTimeout)));
    }

    #[tokio::test]
    async fn a_broken_body_is_the_clients_fault() {
        let broken = [Ok(Frame::data(Bytes::from_static(b"{"))), Err(std::io::Error::other("gone"))];
        let answer = read(&mut StreamBody::new(futures_util::stream::iter(broken)), 10, TIME).await;
        assert!(matches!(answer, Err(Error::BadParameter(BadParameter::Body(BadBody::Truncated)))));
    }
}
