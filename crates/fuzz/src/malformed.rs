//! Ciphertexts whose padding is wrong in one way each.

use crate::keys::Keys;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};

/// Bytes of the modulus.
const LENGTH: usize = 256;
/// Bytes of SHA-256.
const HASH: usize = 32;
/// Ciphertexts of one kind.
const OF_EACH: usize = 64;

/// One way to be wrong, with ciphertexts that are.
pub type Malformed = (String, Vec<Vec<u8>>);

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).unwrap();
    bytes
}

/// Bytes none of which is zero.
fn filled() -> [u8; LENGTH] {
    random::<LENGTH>().map(|byte| byte.max(1))
}

/// Textbook RSA with the public key: any block of bytes as a ciphertext.
fn encrypt(keys: &Keys, block: &[u8; LENGTH]) -> Vec<u8> {
    let bits = u32::try_from(8 * LENGTH).unwrap();
    let modulus = Odd::new(BoxedUint::from_be_slice(&keys.modulus, bits).unwrap()).unwrap();
    let block = BoxedUint::from_be_slice(block, bits).unwrap();
    let form = BoxedMontyForm::new(block, &BoxedMontyParams::new_vartime(modulus));
    form.pow(&BoxedUint::from(65_537_u64)).retrieve().to_be_bytes().to_vec()
}

fn kind(keys: &Keys, name: &str, block: impl Fn() -> [u8; LENGTH]) -> Malformed {
    (name.to_owned(), (0..OF_EACH).map(|_| encrypt(keys, &block())).collect())
}

/// Blocks of chance, below the modulus.
fn noise(keys: &Keys) -> Malformed {
    kind(keys, "noise", || {
        let mut block = random();
        // Never a good padding, nor above the modulus, whose first bit is set.
        block[0] = (block[0] & 0x7f).max(1);
        block
    })
}

/// A block with `0 ‖ 2 ‖ padding ‖ 0 ‖ message` (RFC 8017, 7.2.1) changed.
fn pkcs1(change: impl Fn(&mut [u8; LENGTH])) -> impl Fn() -> [u8; LENGTH] {
    move || {
        let mut block = filled();
        (block[0], block[1], block[LENGTH - 33]) = (0, 2, 0);
        change(&mut block);
        block
    }
}

/// Twenty ways in which RSA1_5 can be wrong; the first is noise.
pub fn pkcs1_kinds(keys: &Keys) -> Vec<Malformed> {
    let mut kinds = vec![noise(keys)];
    for first in [1, 2, 0x7f] {
        kinds.push(kind(keys, &format!("first byte {first}"), pkcs1(|block| block[0] = first)));
    }
    for second in [0, 1, 3, 0x82, 0xff] {
        kinds.push(kind(keys, &format!("second byte {second}"), pkcs1(|block| block[1] = second)));
    }
    for at in 2..10 {
        kinds.push(kind(keys, &format!("{} bytes of padding", at - 2), pkcs1(|block| block[at] = 0)));
    }
    kinds.push(kind(keys, "no end of the padding", pkcs1(|block| block[LENGTH - 33] = 1)));
    kinds.push(kind(keys, "both bytes wrong", pkcs1(|block| (block[0], block[1]) = (2, 0))));
    kinds.push(kind(keys, "the number 1", || {
        let mut block = [0; LENGTH];
        block[LENGTH - 1] = 1;
        block
    }));
    kinds
}

/// MGF1 with SHA-256 (RFC 8017, B.2.1), added to `target`.
fn mask(seed: &[u8], target: &mut [u8]) {
    for (counter, part) in target.chunks_mut(HASH).enumerate() {
        let counter = u32::try_from(counter).unwrap().to_be_bytes();
        let stream = digest(&SHA256, &[seed, &counter].concat());
        part.iter_mut().zip(stream.as_ref()).for_each(|(byte, mask)| *byte ^= mask);
    }
}

/// A block of RSAES-OAEP (RFC 8017, 7.1.1) for a message of 32 bytes, with `0 ‖ seed ‖ DB` changed before or after masking.
fn oaep(before: impl Fn(&mut [u8]), after: impl Fn(&mut [u8; LENGTH])) -> impl Fn() -> [u8; LENGTH] {
    move || {
        let mut block = [0; LENGTH];
        block[1..=HASH].copy_from_slice(&random::<HASH>());
        let (seed, data) = block[1..].split_at_mut(HASH);
        data[..HASH].copy_from_slice(digest(&SHA256, b"").as_ref());
        let end = data.len();
        data[end - 33] = 1;
        data[end - 32..].fill(4);
        before(data);
        mask(seed, data);
        mask(data, seed);
        after(&mut block);
        block
    }
}

/// Ways in which RSA-OAEP-256 can be wrong (Manger's attack tells the first byte from the others); the first is noise.
pub fn oaep_kinds(keys: &Keys) -> Vec<Malformed> {
    let nothing = |_: &mut [u8]| {};
    let same = |_: &mut [u8; LENGTH]| {};
    let good = encrypt(keys, &oaep(nothing, same)());
    assert!(keys.decrypt(strongroom_model::Algorithm::RsaOaep256, &good).is_ok(), "the unchanged block is in order");
    vec![
        noise(keys),
        kind(keys, "first byte 1", oaep(nothing, |block| block[0] = 1)),
        kind(keys, "another label", oaep(|data| data[0] ^= 1, same)),
        kind(keys, "another label at its end", oaep(|data| data[HASH - 1] ^= 1, same)),
        kind(keys, "no end of the padding", oaep(|data| data[HASH..].fill(0), same)),
        kind(keys, "a byte in the padding", oaep(|data| data[HASH] = 2, same)),
        kind(keys, "first byte and label", oaep(|data| data[0] ^= 1, |block| block[0] = 1)),
        kind(keys, "first byte 0, the rest noise", || {
            let mut block = random();
            block[0] = 0;
            block
        }),
    ]
}

/// Ways in which the padding of CBC can be wrong (RFC 5652, 6.3), each in the last of four blocks.
pub fn cbc_kinds(keys: &Keys) -> Vec<Malformed> {
    let kind = |name: &str, tail: &[u8]| {
        let mut plaintext = [9; 64];
        let at = plaintext.len() - tail.len();
        plaintext[at..].copy_from_slice(tail);
        (name.to_owned(), vec![keys.encrypt_blocks(&plaintext)])
    };
    vec![
        kind("a last byte of 0", &[0]),
        kind("a last byte of 17", &[17]),
        kind("a last byte of 255", &[255]),
        kind("two bytes of padding, the first one wrong", &[1, 2]),
        kind("16 bytes of padding, the first one wrong", &[[15].as_slice(), &[16; 15]].concat()),
        kind("16 bytes of padding, the middle one wrong", &[[16; 7].as_slice(), &[0], &[16; 8]].concat()),
    ]
}
