//! Uses of keys: encrypt, decrypt, sign, verify, wrap, unwrap.

use super::KeyBundle;
use super::cache::{Version, VersionId};
use crate::core::Core;
use crate::pool::Pool;
use std::sync::Arc;
use strongroom_hsm::verbs::{Input, Operate, Output};
use strongroom_hsm::{HsmError, Reply, Request};
use strongroom_model::algorithm::Mechanism;
use strongroom_model::audit::UseStamp;
use strongroom_model::error::Result;
use strongroom_model::{Algorithm, KeyName, KeyVersion};
use uuid::Uuid;

/// Times that a use is sent: plain, with its blob, after a loss, and after somebody changed the key meanwhile.
const SENDINGS: usize = 6;

impl Core {
    /// See [`crate::Engine::operate`].
    pub(crate) async fn operate(
        &self,
        pool: &Pool,
        caller: Uuid,
        name: &KeyName,
        version: Option<KeyVersion>,
        algorithm: Algorithm,
        input: Input,
    ) -> Result<(Arc<KeyBundle>, Output, UseStamp)> {
        let (id, found) = self.live_version(pool, name, version).await?;
        algorithm.check(input.operation(), found.bundle.spec)?;
        let counted = matches!(input, Input::Encrypt { .. }) && algorithm.row().mechanism == Mechanism::AesGcm;
        if !counted {
            return self.use_version(pool, caller, name, (id, found), algorithm, input).await;
        }
        let uses = self.take_use(pool, id).await?;
        let outcome = self.use_version(pool, caller, name, (id, found), algorithm, input).await;
        if outcome.is_err() {
            // Nothing left the partition: whatever IV it drew was shown to nobody.
            uses.give_back();
        }
        outcome
    }

    /// Sends a use by the key's id alone, and with the blob when the partition has not opened it yet. A use that a dying
    /// partition did not answer is sent once more; one that met a change of its key is sent with the changed key.
    async fn use_version(
        &self,
        pool: &Pool,
        caller: Uuid,
        name: &KeyName,
        (id, mut version): (VersionId, Arc<Version>),
        algorithm: Algorithm,
        input: Input,
    ) -> Result<(Arc<KeyBundle>, Output, UseStamp)> {
        let mut operate = Operate { key: version.blob.id()?, blob: None, algorithm, input, caller };
        let (mut lost, mut error) = (false, HsmError::Protocol);
        for _ in 0..SENDINGS {
            let request = Request::Operate(operate);
            let answer = pool.live.gateway.call(&request).await;
            let Request::Operate(back) = request else { return Err(HsmError::Protocol.into()) };
            operate = back;
            match answer {
                Ok(Reply::Done(output, stamp)) => return Ok((Arc::clone(&version.bundle), output, stamp)),
                Ok(Reply::NeedBlob) if operate.blob.is_none() => operate.blob = Some(Arc::clone(&version.blob)),
                Err(HsmError::Lost) if !lost => lost = true,
                Err(HsmError::StaleGeneration) => {
                    error = HsmError::StaleGeneration;
                    drop(pool.live.cache.change(name, Some(id)));
                    version = self.live_version(pool, name, Some(id.1)).await?.1;
                    (operate.key, operate.blob) = (version.blob.id()?, None);
                }
                Ok(_) => return Err(HsmError::Protocol.into()),
                Err(error) => return Err(error.into()),
            }
        }
        Err(error.into())
    }
}
