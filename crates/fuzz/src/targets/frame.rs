//! Frames on a lane, in both directions: however they are cut, what decodes encodes to the same thing again.

use crate::house::first;
use std::sync::Arc;
use strongroom_hsm::error::HsmError;
use strongroom_hsm::verbs::{Answer, BlobId, Envelope, Input, KeyMaterial, Operate, Output};
use strongroom_hsm::{Binding, KeyBlob, RebindChange, Reply, Request};
use strongroom_model::audit::{ChangeStamp, KeyChange, UseStamp};
use strongroom_model::clock::Timestamp;
use strongroom_model::{Algorithm, SecretBytes};
use strongroom_partition::codec::{Buffer, FRAME_MAX, Inbox, decode, encode_answer, encode_request};
use uuid::Uuid;

/// `bytes of one read ‖ frames`
pub(crate) fn run(data: &[u8]) {
    let (piece, stream) = first(data);
    let whole = split(stream, FRAME_MAX);
    let cut = split(stream, usize::from(piece).max(1));
    assert_eq!(whole, cut, "frames depend on how they are read");
    for frame in &whole {
        assert!(frame.len() <= FRAME_MAX);
        if let Ok(envelope) = decode::<Envelope>(frame) {
            same_again(&request(&envelope), |bytes| decode::<Envelope>(bytes).ok().map(|e| request(&e)));
        }
        if let Ok(answer) = decode::<Answer>(frame) {
            same_again(&reply(&answer), |bytes| decode::<Answer>(bytes).ok().map(|a| reply(&a)));
        }
    }
}

/// The frames of a stream that comes in reads of `piece` bytes, up to its first error.
fn split(mut stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let (mut inbox, mut frames) = (Inbox::default(), Vec::new());
    while !stream.is_empty() {
        let room = inbox.room();
        let (now, later) = stream.split_at(piece.min(room.len()).min(stream.len()));
        room[..now.len()].copy_from_slice(now);
        inbox.received(now.len());
        stream = later;
        loop {
            match inbox.next_frame() {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(_) => return frames,
            }
        }
    }
    frames
}

fn request(envelope: &Envelope) -> Vec<u8> {
    let mut out = Buffer::default();
    let fits = encode_request(envelope.id, envelope.clock_offset, &envelope.request, &mut out);
    // A frame whose numbers were written longer than needed encodes shorter, so it fits.
    assert!(fits.is_ok(), "what was a frame fits a frame");
    out.as_slice().get(4..).unwrap_or_default().to_vec()
}

fn reply(answer: &Answer) -> Vec<u8> {
    let mut out = Buffer::default();
    encode_answer(answer, &mut out);
    out.as_slice().get(4..).unwrap_or_default().to_vec()
}

fn same_again(encoded: &[u8], again: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    assert_eq!(again(encoded).as_deref(), Some(encoded), "an encoding that does not stand");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let blob = Arc::new(KeyBlob { binding: binding(), sealed: vec![1; 120] });
    let operate = |input| {
        Request::Operate(Operate {
            key: BlobId([3; 32]),
            blob: Some(Arc::clone(&blob)),
            algorithm: Algorithm::A256Gcm,
            input,
            caller: Uuid::from_u128(4),
        })
    };
    let secret = || SecretBytes::new(vec![9; 32]);
    let requests = [
        Request::Describe,
        Request::Random { count: 16 },
        Request::Rebind(
            Arc::clone(&blob),
            RebindChange { enabled: Some(false), ..RebindChange::default() },
            Uuid::nil(),
        ),
        Request::Import(super::partition::draft("a"), KeyMaterial::Oct { k: secret() }, Uuid::nil()),
        operate(Input::Encrypt { plaintext: secret(), iv: None, aad: Some(vec![1]) }),
        operate(Input::Decrypt { ciphertext: vec![1; 32], iv: Some(vec![2; 12]), aad: None, tag: Some(vec![3; 16]) }),
        operate(Input::Sign { digest: vec![5; 32] }),
        operate(Input::WrapKey { key: secret() }),
    ];
    let stamp = UseStamp { chain: [1; 16], sequence: 2, hash: [3; 32], time: Timestamp(4), generation: 5 };
    let changed = ChangeStamp { place: stamp, change: KeyChange::Rebind([6; 32]) };
    let replies = [
        Ok(Reply::NeedBlob),
        Ok(Reply::Rebound(KeyBlob::clone(&blob), changed)),
        Ok(Reply::Done(Output::Plaintext(secret()), stamp)),
        Ok(Reply::Random(secret())),
        Err(HsmError::Unsealable),
    ];
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for request in &requests {
        let mut out = Buffer::default();
        if encode_request(7, 0, request, &mut out).is_ok() {
            seeds.push([&[5], out.as_slice()].concat());
        }
    }
    for result in replies {
        let mut out = Buffer::default();
        encode_answer(&Answer { id: 8, result }, &mut out);
        seeds.push([&[200], out.as_slice()].concat());
    }
    seeds
}

/// A binding as the golden file has it.
fn binding() -> Binding {
    let golden = hex::decode(include_str!("../../../hsm/tests/golden/binding-full.hex").trim()).unwrap();
    Binding::decode(&golden).unwrap()
}
