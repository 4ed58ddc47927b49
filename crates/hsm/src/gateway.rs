//! The service's end of the boundary: one call, and typed wrappers around it.

use crate::binding::{KeyDraft, RebindChange};
use crate::error::HsmError;
use crate::sealed;
use crate::verbs::BlobId;
use crate::verbs::{
    Capabilities, History, Input, KeyBlob, KeyMade, KeyMaterial, Opening, Operate, Output, Reply, Request, RootParts,
    WrappedRoot,
};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use strongroom_model::audit::{ChangeStamp, UseStamp};
use strongroom_model::{Algorithm, PoolId, SecretBytes};
use uuid::Uuid;

/// The answer that is on its way.
pub type Pending<'a, T = Reply> = Pin<Box<dyn Future<Output = Result<T, HsmError>> + Send + 'a>>;

/// A way to one pool's partition: over its sockets in the product, in the same process in tests.
pub trait Gateway: Send + Sync {
    /// Sends a request and waits for its reply. The request is encoded before this returns, and dropping the future does
    /// not undo it. [`HsmError::Lost`] when the partition died before it answered.
    fn call(&self, request: &Request) -> Pending<'_>;

    /// Tells what the next run of the partition is to name as the run before. `false` when the run that this history is of
    /// has ended meanwhile: then it is to be forgotten, since the next run may have named another one already.
    fn remember(&self, history: &History) -> bool;
}

/// Where the ways to the partitions come from: the keeper in the product, threads of the same process in tests.
pub trait Partitions: Send + Sync {
    /// The way to a pool's partition, started when it does not run yet. Its root is still to be created or opened.
    fn gateway(&self, pool: PoolId) -> Pending<'_, Arc<dyn Gateway>>;

    /// Ends a pool's partition: the pool was deleted or purged. Ways to it answer [`HsmError::Lost`] from then on; a pool that
    /// comes back is asked for anew.
    fn close(&self, pool: PoolId);
}

macro_rules! expect {
    ($call:expr, $pattern:pat => $value:expr) => {
        match $call.await? {
            $pattern => Ok($value),
            _ => Err(HsmError::Protocol),
        }
    };
}

#[allow(clippy::wildcard_enum_match_arm, reason = "every other reply to a verb is one and the same protocol error")]
impl dyn Gateway {
    /// See [`Request::Describe`].
    pub async fn describe(&self) -> Result<Capabilities, HsmError> {
        expect!(self.call(&Request::Describe), Reply::Described(c) => c)
    }

    /// See [`Request::CreateRoot`].
    pub async fn create_root(&self) -> Result<(WrappedRoot, KeyMade, Opening), HsmError> {
        expect!(self.call(&Request::CreateRoot), Reply::RootCreated { wrapped, audit_key, opening } => (wrapped, audit_key, opening))
    }

    /// See [`Request::OpenRoot`].
    pub async fn open_root(&self, parts: RootParts) -> Result<Opening, HsmError> {
        expect!(self.call(&Request::OpenRoot(parts)), Reply::RootOpened(opening) => opening)
    }

    /// See [`Request::Generate`].
    pub async fn generate(&self, draft: KeyDraft, caller: Uuid) -> Result<(KeyMade, ChangeStamp), HsmError> {
        expect!(self.call(&Request::Generate(draft, caller)), Reply::KeyMade(made, stamp) => (made, stamp))
    }

    /// See [`Request::Import`].
    pub async fn import(
        &self,
        draft: KeyDraft,
        material: KeyMaterial,
        caller: Uuid,
    ) -> Result<(KeyMade, ChangeStamp), HsmError> {
        expect!(self.call(&Request::Import(draft, material, caller)), Reply::KeyMade(made, stamp) => (made, stamp))
    }

    /// See [`Request::Rebind`].
    pub async fn rebind(
        &self,
        blob: Arc<KeyBlob>,
        change: RebindChange,
        caller: Uuid,
    ) -> Result<(KeyBlob, ChangeStamp), HsmError> {
        expect!(self.call(&Request::Rebind(blob, change, caller)), Reply::Rebound(blob, stamp) => (blob, stamp))
    }

    /// Uses a key: by its id alone, and with the blob when the partition has not opened it yet. A use that a dying
    /// partition did not answer is asked for once more: nothing of the first attempt has left.
    pub async fn operate(
        &self,
        blob: &Arc<KeyBlob>,
        algorithm: Algorithm,
        caller: Uuid,
        input: Input,
    ) -> Result<(Output, UseStamp), HsmError> {
        let mut request = Operate { key: blob.id()?, blob: None, algorithm, input, caller };
        let mut losses = 0;
        loop {
            let sent = Request::Operate(request);
            let answer = self.call(&sent).await;
            let Request::Operate(back) = sent else { return Err(HsmError::Protocol) };
            request = back;
            match answer {
                Ok(Reply::Done(output, stamp)) => return Ok((output, stamp)),
                Ok(Reply::NeedBlob) if request.blob.is_none() => request.blob = Some(Arc::clone(blob)),
                Ok(_) => return Err(HsmError::Protocol),
                Err(HsmError::Lost) if losses == 0 => losses += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// See [`Request::Random`].
    pub async fn random(&self, count: u16) -> Result<SecretBytes, HsmError> {
        expect!(self.call(&Request::Random { count }), Reply::Random(bytes) => bytes)
    }

    /// See [`Request::Checkpoint`].
    pub async fn checkpoint(&self) -> Result<History, HsmError> {
        expect!(self.call(&Request::Checkpoint), Reply::Signed(history) => history)
    }

    /// See [`Request::SelfTest`].
    pub async fn self_test(&self) -> Result<(), HsmError> {
        expect!(self.call(&Request::SelfTest), Reply::Healthy => ())
    }
}

impl KeyBlob {
    /// The commitment inside the sealed format, which names this sealing; an error when the blob is too short to hold one.
    pub fn id(&self) -> Result<BlobId, HsmError> {
        let bytes = self.sealed.get(sealed::COMMITMENT).and_then(|b| b.try_into().ok());
        bytes.map(BlobId).ok_or(HsmError::Unsealable)
    }
}
