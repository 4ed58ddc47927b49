//! Bodies in and out.

use crate::http::call::Answer;
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use std::io;
use strongroom_model::error::{BadBody, BadParameter, Error, Internal, Result};
use zeroize::{Zeroize, Zeroizing};

/// What a body needs as a rule; larger ones grow.
const USUAL_BODY: usize = 1024;

/// Reads a body. What serde says about it is dropped: it may quote the body.
pub(super) fn parse<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T> {
    let wrong = |reason| Err(Error::BadParameter(BadParameter::Body(reason)));
    if body.is_empty() {
        return wrong(BadBody::Empty);
    }
    strongroom_wire::parse(body).or_else(|e| match e.classify() {
        Category::Data => wrong(BadBody::Shape),
        Category::Syntax | Category::Eof | Category::Io => wrong(BadBody::Syntax),
    })
}

/// A body and its status, for a change or a read of `object` as `audited` says.
pub(super) fn answer<T: Serialize>(status: u16, body: &T, object: String, audited: bool) -> Result<Answer> {
    let mut out = Wiped(Zeroizing::new(Vec::with_capacity(USUAL_BODY)));
    serde_json::to_writer(&mut out, body).map_err(|_| Error::Internal(Internal::Encoding))?;
    Ok(Answer { status, body: out.0, object, stamp: None, audited })
}

/// A growing buffer that leaves nothing behind where it lay before.
struct Wiped(Zeroizing<Vec<u8>>);

impl io::Write for Wiped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let needed = self.0.len().saturating_add(bytes.len());
        if needed > self.0.capacity() {
            let mut larger = Vec::with_capacity(needed.saturating_mul(2));
            larger.extend_from_slice(&self.0);
            self.0.zeroize();
            *self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use strongroom_wire::operations::{GetRandomBytesRequest, KeyVerifyResult};

    fn refused(body: &[u8], reason: BadBody) -> bool {
        parse::<GetRandomBytesRequest>(body).err() == Some(Error::BadParameter(BadParameter::Body(reason)))
    }

    #[test]
    fn a_bad_body_has_its_reason() {
        assert!(refused(b"", BadBody::Empty));
        for syntax in [&b" "[..], b"{", b"{\"count\":1}x", b"{\"count\":\xff}", b"{'count':1}", b"{\"count\":1,}"] {
            assert!(refused(syntax, BadBody::Syntax), "{syntax:?}");
        }
        for shape in ["null", "[4]", "4", r#"{"count":"4"}"#, r#"{"count":4.0}"#, r#"{"count":4,"count":4}"#] {
            assert!(refused(shape.as_bytes(), BadBody::Shape), "{shape}");
        }
    }

    #[test]
    fn long_bodies_grow_the_buffer() {
        let tags: Vec<String> = (0..200).map(|i| "x".repeat(i)).collect();
        let made = answer(200, &tags, String::new(), false).unwrap();
        assert_eq!(serde_json::from_slice::<Vec<String>>(&made.body).unwrap(), tags);
        let verified = answer(200, &KeyVerifyResult { value: true }, String::new(), false).unwrap();
        assert_eq!(*verified.body, b"{\"value\":true}");
    }
}
