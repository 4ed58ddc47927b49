//! A signing key of the product, wherever it is: in pool `system`, or in a test's memory.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use strongroom_engine::Engine;
use strongroom_hsm::PublicKey;
use strongroom_model::audit::SystemStamp;
use strongroom_model::{Algorithm, Error, KeySpec};

/// A signature on its way, with its place in the use chain.
pub type Signing = Pin<Box<dyn Future<Output = Result<(Vec<u8>, SystemStamp), Error>> + Send>>;

/// Signs digests with one key and one algorithm, and knows the key's public half.
#[derive(Clone)]
pub struct SystemSigner {
    public: PublicKey,
    sign: Arc<dyn Fn(Vec<u8>) -> Signing + Send + Sync>,
}

impl SystemSigner {
    /// A signer that asks `sign` for the signature of a digest.
    pub fn new(public: PublicKey, sign: impl Fn(Vec<u8>) -> Signing + Send + Sync + 'static) -> Self {
        Self { public, sign: Arc::new(sign) }
    }

    /// The key `name` of pool `system`, made when there is none.
    pub async fn of_engine(
        engine: &Arc<Engine>,
        name: &'static str,
        spec: KeySpec,
        algorithm: Algorithm,
    ) -> Result<Self, Error> {
        let key = engine.system_key(name, spec).await?;
        let engine = Arc::clone(engine);
        Ok(Self::new(key.public, move |digest| {
            let engine = Arc::clone(&engine);
            Box::pin(async move { engine.sign_with_system_key(name, algorithm, digest).await })
        }))
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a digest.
    pub fn sign(&self, digest: Vec<u8>) -> Signing {
        (self.sign)(digest)
    }
}
