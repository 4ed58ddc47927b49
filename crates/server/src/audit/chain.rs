//! The chain of lines: each carries its number, the hash of the line before it, and its own hash.
//!
//! A line is `{…,"chain":{"sequence":N,"previous":"…","hash":"…"}}`. Its hash is SHA-256 over the previous hash (32 bytes)
//! and the bytes of the line without `,"hash":"…"` and without the line feed, exactly as written: no parser has a say.

use crate::audit::text::{hexadecimal, number};
use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// A SHA-256.
pub(super) type Hash = [u8; 32];

/// What stands before a signed head: it can be taken for nothing else that the audit key signs.
const HEAD_LABEL: &[u8] = b"strongroom audit log head 1\0";
const HASH_MEMBER: &[u8] = b",\"hash\":\"";
const HASH_HEX: usize = 64;
/// `,"hash":"` + 64 digits + `"}}`
const TAIL: usize = HASH_MEMBER.len() + HASH_HEX + 3;
const CHAIN_MEMBER: &[u8] = b",\"chain\":{\"sequence\":";
const PREVIOUS_MEMBER: &[u8] = b",\"previous\":\"";

/// The number and hash of a line, which stand for all lines up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The line's number, from 1; 0 before the first line.
    pub sequence: u64,
    /// The line's hash; zero before the first line.
    pub hash: [u8; 32],
}

impl Head {
    /// SHA-256 of label, number and hash: what is signed.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&[HEAD_LABEL, &self.sequence.to_be_bytes(), &self.hash])
    }
}

/// SHA-256 over the parts in turn.
pub(super) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = Hash::default();
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Adds a line with this body (a JSON object without its closing brace) after `head`, and gives the new head.
pub(super) fn push_line(buffer: &mut Vec<u8>, body: &[u8], head: Head) -> Head {
    let start = buffer.len();
    let sequence = head.sequence + 1;
    buffer.extend_from_slice(body);
    buffer.extend_from_slice(CHAIN_MEMBER);
    number(buffer, sequence);
    buffer.extend_from_slice(PREVIOUS_MEMBER);
    hexadecimal(buffer, &head.hash);
    buffer.push(b'"');
    let hash = sha256(&[&head.hash, buffer.get(start..).unwrap_or_default(), b"}}"]);
    buffer.extend_from_slice(HASH_MEMBER);
    hexadecimal(buffer, &hash);
    buffer.extend_from_slice(b"\"}}\n");
    Head { sequence, hash }
}

/// What a line says about its place, and the hash that its bytes give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) sequence: u64,
    pub(super) previous: Hash,
    pub(super) hash: Hash,
    pub(super) computed: Hash,
}

/// Reads the chain member of a line (without its line feed); `None` when the line does not end as ours do.
pub(super) fn read_link(line: &[u8]) -> Option<Link> {
    let signed = line.get(..line.len().checked_sub(TAIL)?)?;
    let tail = line.get(signed.len()..)?;
    let hash = read_hash(tail.strip_prefix(HASH_MEMBER)?.strip_suffix(b"\"}}")?)?;
    let previous_at = signed.len().checked_sub(PREVIOUS_MEMBER.len() + HASH_HEX + 1)?;
    let previous_member = signed.get(previous_at..)?;
    let previous = read_hash(previous_member.strip_prefix(PREVIOUS_MEMBER)?.strip_suffix(b"\"")?)?;
    let before = signed.get(..previous_at)?;
    let digits = before.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (front, number) = before.split_at(before.len() - digits);
    if !front.ends_with(CHAIN_MEMBER) || number.first() == Some(&b'0') {
        return None;
    }
    let sequence = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some(Link { sequence, previous, hash, computed: sha256(&[&previous, signed, b"}}"]) })
}

fn read_hash(hex_digits: &[u8]) -> Option<Hash> {
    let mut hash = Hash::default();
    let lower = hex_digits.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    (lower && hex::decode_to_slice(hex_digits, &mut hash).is_ok()).then_some(hash)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_reads_back_as_it_was_written() {
        let mut buffer = Vec::new();
        let first = push_line(&mut buffer, br#"{"a":1"#, Head::default());
        let end = buffer.len();
        let second = push_line(&mut buffer, br#"{"b":"x\"}}""#, first);
        let link = read_link(&buffer[..end - 1]).unwrap();
        assert_eq!((link.sequence, link.previous, link.hash, link.computed), (1, [0; 32], first.hash, first.hash));
        let link = read_link(&buffer[end..buffer.len() - 1]).unwrap();
        assert_eq!((link.sequence, link.previous, link.computed), (2, first.hash, second.hash));
        for line in buffer.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            serde_json::from_slice::<serde_json::Value>(line).unwrap();
        }
    }

    #[test]
    fn what_is_not_a_line_of_ours_has_no_link() {
        let mut buffer = Vec::new();
        push_line(&mut buffer, br#"{"a":1"#, Head::default());
        let line = &buffer[..buffer.len() - 1];
        for cut in 1..line.len() {
            assert_eq!(read_link(&line[..cut]), None, "{cut}");
        }
        assert_eq!(read_link(b"{}"), None);
        assert_eq!(read_link(&[0; 4096]), None);
    }
}
