//! Failures to decrypt are alike, whatever is wrong; and the controls of the tests of time work.
#![allow(clippy::unwrap_used, clippy::panic)]

use strongroom_fuzz::keys::Keys;
use strongroom_fuzz::malformed::{Malformed, cbc_kinds, oaep_kinds, pkcs1_kinds};
use strongroom_hsm::HsmError;
use strongroom_model::Algorithm;

fn alike(kinds: &[Malformed], open: impl Fn(&[u8]) -> Result<(), HsmError>) -> usize {
    for (name, blobs) in kinds {
        for blob in blobs {
            assert_eq!(open(blob).err(), Some(HsmError::Undecryptable), "{name}");
        }
    }
    kinds.iter().map(|(_, blobs)| blobs.len()).sum()
}

#[test]
fn whatever_is_wrong_with_a_padding_the_answer_is_the_same() {
    let keys = Keys::new();
    let (pkcs1, oaep) = (pkcs1_kinds(&keys), oaep_kinds(&keys));
    assert_eq!(pkcs1.len(), 20);
    let mut tried = 0;
    for (algorithm, kinds) in [(Algorithm::Rsa1_5, &pkcs1), (Algorithm::RsaOaep256, &oaep)] {
        tried += alike(kinds, |blob| keys.decrypt(algorithm, blob).map(drop));
        tried += alike(kinds, |blob| keys.unwrap(algorithm, blob).map(drop));
        assert!(keys.decrypt(algorithm, &keys.encrypt(algorithm)).is_ok());
    }
    tried += alike(&cbc_kinds(&keys), |blob| keys.decrypt_cbc(blob).map(drop));
    let (value, iv, tag) = keys.encrypt_gcm();
    assert!(keys.decrypt_gcm(&value, &iv, &tag).is_ok());
    for at in 0..tag.len() {
        let mut wrong = tag.clone();
        wrong[at] ^= 1;
        assert_eq!(keys.decrypt_gcm(&value, &iv, &wrong).err(), Some(HsmError::Undecryptable));
    }
    strongroom_counts::count("malformed ciphertexts answered alike", tried + tag.len());
}
