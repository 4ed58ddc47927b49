//! A partition with one key of each kind, for the tests of time and of alikeness.

use std::sync::Arc;
use strongroom_hsm::verbs::{Envelope, Input, Operate, Output};
use strongroom_hsm::{HsmError, KeyBlob, KeyDraft, KeyKind, PublicKey, Reply, Request};
use strongroom_hsm_soft::SoftProvider;
use strongroom_model::clock::SystemClock;
use strongroom_model::key::{KeyOp, KeyOps, KeySpec};
use strongroom_model::{Algorithm, KeyType, KeyVersion, PoolId, SecretBytes, VaultId};
use strongroom_partition::core::{Core, ThreadChain};
use uuid::Uuid;

const POOL: PoolId = PoolId(Uuid::from_bytes([7; 16]));
const IV: [u8; 16] = [3; 16];
const DIGEST: [u8; 32] = [5; 32];

/// See the module.
pub struct Keys {
    core: Core<SoftProvider>,
    chain: ThreadChain,
    rsa: Arc<KeyBlob>,
    oct: Arc<KeyBlob>,
    /// The modulus of the RSA key, whose exponent is 65537.
    pub modulus: Vec<u8>,
}

fn draft(name: &str, spec: KeySpec) -> KeyDraft {
    let ops = KeyOps::default_for(spec.kty());
    KeyDraft {
        vault: VaultId::NONE,
        kind: KeyKind::Customer,
        name: name.into(),
        version: KeyVersion([1; 16]),
        spec,
        ops: if spec.kty() == KeyType::Oct { ops.with(KeyOp::Sign).with(KeyOp::Verify) } else { ops },
        enabled: true,
        not_before: None,
        expires: None,
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::new()
    }
}

impl Keys {
    /// Makes the partition and its keys.
    pub fn new() -> Self {
        let kek = SecretBytes::new(vec![1; 32]);
        let core = Core::new(Arc::new(SoftProvider), POOL, kek, Box::new(SystemClock { offset: 0 }), false);
        let chain = core.thread_chain().unwrap();
        let ask = |request| core.handle(&chain, Envelope { id: 1, clock_offset: 0, request }).result.unwrap();
        ask(Request::CreateRoot);
        let key = |draft| {
            let Reply::KeyMade(made, _) = ask(Request::Generate(draft, Uuid::nil())) else { panic!("a key") };
            made
        };
        let (rsa, oct) = (key(draft("rsa", KeySpec::Rsa2048)), key(draft("oct", KeySpec::Oct256)));
        let PublicKey::Rsa { n, .. } = rsa.public else { panic!("an RSA key") };
        Self { core, chain, rsa: Arc::new(rsa.blob), oct: Arc::new(oct.blob), modulus: n }
    }

    fn operate(&self, blob: &Arc<KeyBlob>, algorithm: Algorithm, input: Input) -> Result<Output, HsmError> {
        let (key, blob) = (blob.id().unwrap(), Some(Arc::clone(blob)));
        let request = Request::Operate(Operate { key, blob, algorithm, input, caller: Uuid::nil() });
        let reply = self.core.handle(&self.chain, Envelope { id: 1, clock_offset: 0, request }).result?;
        let Reply::Done(output, _) = reply else { panic!("a result") };
        Ok(output)
    }

    fn open(&self, blob: &Arc<KeyBlob>, algorithm: Algorithm, input: Input) -> Result<SecretBytes, HsmError> {
        let Output::Plaintext(plaintext) = self.operate(blob, algorithm, input)? else { panic!("a plaintext") };
        Ok(plaintext)
    }

    /// RSA decryption.
    pub fn decrypt(&self, algorithm: Algorithm, blob: &[u8]) -> Result<SecretBytes, HsmError> {
        let input = Input::Decrypt { ciphertext: blob.to_vec(), iv: None, aad: None, tag: None };
        self.open(&self.rsa, algorithm, input)
    }

    /// RSA decryption by the other operation that does it.
    pub fn unwrap(&self, algorithm: Algorithm, blob: &[u8]) -> Result<SecretBytes, HsmError> {
        self.open(&self.rsa, algorithm, Input::UnwrapKey { wrapped: blob.to_vec() })
    }

    fn encrypted(&self, blob: &Arc<KeyBlob>, algorithm: Algorithm, input: Input) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let output = self.operate(blob, algorithm, input).unwrap();
        let Output::Ciphertext { value, iv, tag } = output else { panic!("a ciphertext") };
        (value, iv.unwrap_or_default(), tag.unwrap_or_default())
    }

    /// A good RSA ciphertext.
    pub fn encrypt(&self, algorithm: Algorithm) -> Vec<u8> {
        let input = Input::Encrypt { plaintext: SecretBytes::new(vec![4; 32]), iv: None, aad: None };
        self.encrypted(&self.rsa, algorithm, input).0
    }

    /// AES-CBC of whole blocks, without padding.
    pub fn encrypt_blocks(&self, plaintext: &[u8]) -> Vec<u8> {
        let input = Input::Encrypt { plaintext: SecretBytes::copy_of(plaintext), iv: Some(IV.to_vec()), aad: None };
        self.encrypted(&self.oct, Algorithm::A256Cbc, input).0
    }

    /// AES-CBC with padding.
    pub fn decrypt_cbc(&self, blob: &[u8]) -> Result<SecretBytes, HsmError> {
        let input = Input::Decrypt { ciphertext: blob.to_vec(), iv: Some(IV.to_vec()), aad: None, tag: None };
        self.open(&self.oct, Algorithm::A256CbcPad, input)
    }

    /// A good AES-GCM ciphertext with its IV and tag.
    pub fn encrypt_gcm(&self) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let input = Input::Encrypt { plaintext: SecretBytes::new(vec![4; 64]), iv: None, aad: None };
        self.encrypted(&self.oct, Algorithm::A256Gcm, input)
    }

    /// AES-GCM decryption.
    pub fn decrypt_gcm(&self, value: &[u8], iv: &[u8], tag: &[u8]) -> Result<SecretBytes, HsmError> {
        let (ciphertext, iv, tag) = (value.to_vec(), Some(iv.to_vec()), Some(tag.to_vec()));
        self.open(&self.oct, Algorithm::A256Gcm, Input::Decrypt { ciphertext, iv, aad: None, tag })
    }

    /// An HMAC over a fixed digest.
    pub fn mac(&self) -> Vec<u8> {
        let input = Input::Sign { digest: DIGEST.to_vec() };
        let Output::Signature(mac) = self.operate(&self.oct, Algorithm::Hs256, input).unwrap() else { panic!() };
        mac
    }

    /// Whether it is that HMAC.
    pub fn verify(&self, mac: &[u8]) -> bool {
        let input = Input::Verify { digest: DIGEST.to_vec(), signature: mac.to_vec() };
        matches!(self.operate(&self.oct, Algorithm::Hs256, input), Ok(Output::Verified(true)))
    }
}
