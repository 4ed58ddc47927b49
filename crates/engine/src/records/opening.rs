//! How the store is opened at the start: format, store key, and the mark of who made it.

use super::shapes::MarkRecord;
use super::{Records, SealingKey, paths};
use crate::engine::StartError;
use std::sync::Arc;
use strongroom_hsm::HsmError;
use strongroom_hsm::sealed::{KEY_LEN, Label};
use strongroom_model::SecretBytes;
use strongroom_store::{Change, Condition, Store, StoreError};
use uuid::Uuid;

/// The format of the store as a whole that this program writes.
pub(crate) const STORE_FORMAT: u32 = 1;
/// What the first record begins with.
const MAGIC: &[u8] = b"strongroom store\n";
/// The generation of the first store key.
const FIRST_GENERATION: u32 = 1;

impl Records {
    /// Opens the store under the seal's second key; a new one gets its store key and its mark.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        seal: SecretBytes,
        development: bool,
        node: Option<Uuid>,
    ) -> Result<Self, StartError> {
        let seal = SealingKey { generation: FIRST_GENERATION, secret: seal };
        while store.get(paths::FORMAT).await?.is_none() {
            match Self::create(&store, &seal, development).await {
                // Another node was first, or nobody knows: the next look says which store key holds.
                Ok(()) | Err(StartError::Store(StoreError::Conflict | StoreError::Unknown)) => {}
                Err(error) => return Err(error),
            }
        }
        check_format(&store).await?;
        let Some(entry) = store.get(paths::KEY).await? else {
            return Err(StartError::Damaged("the store key is missing".into()));
        };
        let opened = seal.open(Label::StoreKey, paths::KEY, &entry.value);
        let secret = opened.map_err(|_| StartError::WrongSeal)?;
        let key = SealingKey { generation: FIRST_GENERATION, secret };
        let records = Self { store, node, key };
        records.check_mark(development).await?;
        Ok(records)
    }

    async fn create(store: &Arc<dyn Store>, seal: &SealingKey, development: bool) -> Result<(), StartError> {
        let secret = random_key()?;
        let sealed_key = seal.seal(Label::StoreKey, paths::KEY, secret.expose())?;
        let records =
            Self { store: Arc::clone(store), node: None, key: SealingKey { generation: FIRST_GENERATION, secret } };
        let mark = records.put(paths::MARK.to_vec(), &MarkRecord { format: STORE_FORMAT, development });
        let conditions = [paths::FORMAT, paths::KEY, paths::MARK].map(|p| Condition::Absent(p.to_vec()));
        let changes = vec![
            Change::Put(paths::FORMAT.to_vec(), [MAGIC, &STORE_FORMAT.to_be_bytes()].concat()),
            Change::Put(paths::KEY.to_vec(), sealed_key),
            mark.map_err(|e| StartError::Damaged(e.to_string()))?,
        ];
        store.commit(conditions.to_vec(), changes).await?;
        Ok(())
    }

    async fn check_mark(&self, development: bool) -> Result<(), StartError> {
        let mark = self.get::<MarkRecord>(paths::MARK).await.map_err(|e| StartError::Damaged(format!("mark: {e}")))?;
        let Some(mark) = mark else { return Err(StartError::Damaged("the mark of the store is missing".into())) };
        if mark.value.format != STORE_FORMAT {
            return Err(StartError::Damaged("the store's format number was changed".into()));
        }
        match (mark.value.development, development) {
            (true, false) => Err(StartError::Development),
            (false, true) => Err(StartError::Production),
            (true, true) | (false, false) => Ok(()),
        }
    }
}

/// Reads the one record that lies in the clear: a newer program's store must be told by name.
async fn check_format(store: &Arc<dyn Store>) -> Result<(), StartError> {
    let entry = store.get(paths::FORMAT).await?;
    let number = entry.as_ref().and_then(|e| e.value.strip_prefix(MAGIC)).and_then(|n| n.try_into().ok());
    let Some(number) = number else { return Err(StartError::Damaged("the first record is not one of ours".into())) };
    match u32::from_be_bytes(number) {
        STORE_FORMAT => Ok(()),
        found if found > STORE_FORMAT => Err(StartError::NewerFormat { found, known: STORE_FORMAT }),
        found => Err(StartError::Damaged(format!("format {found} was never written"))),
    }
}

/// Random bytes of the kernel, independent of every root.
fn random_key() -> Result<SecretBytes, HsmError> {
    SecretBytes::fill_with(KEY_LEN, |bytes| {
        let got = rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty());
        // The kernel gives up to 256 bytes in one piece or fails.
        if got == Ok(KEY_LEN) { Ok(()) } else { Err(HsmError::Provider) }
    })
}
