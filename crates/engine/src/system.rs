//! The product's own keys and documents, in pool `system`.

use crate::core::{Core, OpenSystemKey};
use crate::engine::{Recorded, SystemKey};
use crate::jobs::system_record;
use crate::records::shapes::{DocumentRecord, SystemKeyRecord};
use crate::records::{paths, random_id, store_error};
use std::sync::Arc;
use std::time::Instant;
use strongroom_hsm::KeyKind;
use strongroom_hsm::binding::KeyDraft;
use strongroom_hsm::verbs::Input;
use strongroom_model::audit::{AuditRecord, SystemStamp};
use strongroom_model::error::{Error, Internal, NotFound, Result};
use strongroom_model::{Algorithm, KeyName, KeyOp, KeyOps, KeySpec, KeyVersion, VaultId};
use strongroom_store::{Condition, StoreError};
use uuid::Uuid;

/// How records name a key of the product.
fn object_of(name: &str, version: KeyVersion) -> String {
    format!("systemkeys/{name}/{version}")
}

impl Core {
    /// The record of the product's making a key for itself.
    fn recorded_start(&self) -> Recorded {
        let record = AuditRecord { operation: "KeyCreate".into(), ..system_record(self.now(), String::new(), "start") };
        Recorded { record, started: Instant::now() }
    }

    /// See [`crate::Engine::system_key`].
    pub(crate) async fn system_key(self: &Arc<Self>, name: &str, spec: KeySpec) -> Result<SystemKey> {
        let name = KeyName::parse(name)?.folded();
        if let Some(open) = self.open_system_key(&name).await? {
            return Ok(open.key);
        }
        let draft = KeyDraft {
            vault: VaultId::NONE,
            kind: KeyKind::Internal,
            name: name.clone(),
            version: KeyVersion(random_id()),
            spec,
            ops: KeyOps::NONE.with(KeyOp::Sign).with(KeyOp::Verify),
            enabled: true,
            not_before: None,
            expires: None,
        };
        let recorded = self.recorded_start();
        let (made, stamp) = self.system.live.gateway.generate(draft, recorded.caller()).await?;
        let version = made.blob.binding.version;
        let chained = self.chained(&recorded, object_of(&name, version), stamp);
        let path = self.system.live.paths.system(&name);
        let changes = vec![
            self.records.put(path.clone(), &SystemKeyRecord { blob: made.blob, public: made.public })?,
            self.outbox_row(chained.record(&recorded))?.1,
        ];
        match self.records.store.commit(vec![Condition::Absent(path)], changes).await {
            Ok(_) => {
                chained.committed();
                self.outbox_filled.notify_one();
            }
            // On a conflict somebody else made it; after an unknown outcome the next look says which one holds.
            Err(StoreError::Conflict) => drop(chained),
            Err(StoreError::Unknown) => {
                let open = self.open_system_key(&name).await?;
                if open.is_some_and(|open| open.blob.binding.version == version) {
                    chained.committed();
                    self.outbox_filled.notify_one();
                }
            }
            Err(error) => return Err(store_error(error)),
        }
        let open = self.open_system_key(&name).await?;
        open.map(|o| o.key).ok_or(Error::Internal(Internal::CorruptRecord))
    }

    async fn open_system_key(&self, name: &str) -> Result<Option<OpenSystemKey>> {
        if let Some(open) = self.system_keys.load().get(name) {
            return Ok(Some(open.clone()));
        }
        let stored = self.records.get::<SystemKeyRecord>(&self.system.live.paths.system(name)).await?;
        let Some(SystemKeyRecord { blob, public }) = stored.map(|s| s.value) else { return Ok(None) };
        let object = object_of(name, blob.binding.version).into();
        let open = OpenSystemKey { key: SystemKey { name: name.to_owned(), public }, blob: Arc::new(blob), object };
        self.system_keys.rcu(|keys| {
            let mut next = std::collections::HashMap::clone(keys);
            next.insert(name.to_owned(), open.clone());
            next
        });
        Ok(Some(open))
    }

    /// See [`crate::Engine::sign_with_system_key`].
    pub(crate) async fn sign_with_system_key(
        &self,
        name: &str,
        algorithm: Algorithm,
        digest: Vec<u8>,
    ) -> Result<(Vec<u8>, SystemStamp)> {
        let open = self.open_system_key(name).await?;
        let open = open.ok_or_else(|| Error::NotFound(NotFound::Key(name.to_owned())))?;
        let input = Input::Sign { digest };
        // The product itself has no object id.
        let (output, place) = self.system.live.gateway.operate(&open.blob, algorithm, Uuid::nil(), input).await?;
        match output {
            strongroom_hsm::verbs::Output::Signature(signature) => {
                Ok((signature, SystemStamp { place, key: Arc::clone(&open.object) }))
            }
            strongroom_hsm::verbs::Output::Verified(_)
            | strongroom_hsm::verbs::Output::Ciphertext { .. }
            | strongroom_hsm::verbs::Output::Plaintext(_) => Err(Error::Internal(Internal::PartitionProtocol)),
        }
    }

    /// See [`crate::Engine::document`].
    pub(crate) async fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let stored = self.records.get::<DocumentRecord>(&paths::document(name)).await?;
        Ok(stored.map(|s| s.value.0))
    }

    /// See [`crate::Engine::put_document`].
    pub(crate) async fn put_document(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        self.records.replace(&paths::document(name), |_| DocumentRecord(bytes.clone())).await.map(|_| ())
    }
}
