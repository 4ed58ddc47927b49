//! Lists, in pages.
//!
//! A skip token is the last path looked at, sealed for its list: it shows nothing, and no other list takes it.

use super::read::key_not_found;
use super::{DeletedKeyItem, KeyItem};
use crate::core::Core;
use crate::engine::{Page, PageRequest};
use crate::pool::Pool;
use crate::records::shapes::{Head, SkipToken, VersionRecord};
use crate::records::{paths, store_error};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use strongroom_model::KeyName;
use strongroom_model::error::{BadParameter, Error, Result};
use strongroom_model::limits::PAGE_MAX;

/// Records that one page looks at, at most: a page may be empty though there is a next one.
const LOOKED_AT_MAX: usize = 100;
/// Longest skip token that is looked at.
const TOKEN_MAX: usize = 1024;
/// What stands before the prefix of a list where a token is bound to it; no path of the store begins so.
const TOKEN_BINDING: &[u8] = b"skip token of ";

/// A list: the range of paths it shows.
struct List {
    prefix: Vec<u8>,
    size: usize,
    from: Vec<u8>,
}

impl Core {
    fn list(&self, prefix: Vec<u8>, request: &PageRequest) -> Result<List> {
        let from = match &request.after {
            None => prefix.clone(),
            Some(token) => {
                let foreign = Error::BadParameter(BadParameter::SkipToken);
                let bytes = (token.len() <= TOKEN_MAX).then(|| BASE64_URL_SAFE_NO_PAD.decode(token).ok()).flatten();
                let bytes = bytes.ok_or(foreign.clone())?;
                let token = self.records.open_quietly::<SkipToken>(&[TOKEN_BINDING, &prefix].concat(), &bytes);
                paths::after(&[prefix.as_slice(), &token.ok_or(foreign)?.0].concat())
            }
        };
        let size = if request.size == 0 { PAGE_MAX } else { request.size.min(PAGE_MAX) };
        Ok(List { prefix, size, from })
    }

    fn token(&self, list: &List, last: &[u8]) -> Result<String> {
        let rest = last.strip_prefix(list.prefix.as_slice()).unwrap_or_default().to_vec();
        let sealed = self.records.seal(&[TOKEN_BINDING, &list.prefix].concat(), &SkipToken(rest))?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The next page of a list, and the last path looked at.
    fn page<T>(&self, list: &List, items: Vec<T>, last: Option<Vec<u8>>, more: bool) -> Result<Page<T>> {
        let next = last.filter(|_| more).map(|last| self.token(list, &last)).transpose()?;
        Ok(Page { items, next })
    }

    /// See [`crate::Engine::get_keys`].
    pub(crate) async fn get_keys(&self, pool: &Pool, request: PageRequest) -> Result<Page<KeyItem>> {
        let list = self.list(pool.live.paths.heads(), &request)?;
        let end = paths::end_of(&list.prefix);
        let snapshot = self.records.store.snapshot().await.map_err(store_error)?;
        let (mut items, mut last, mut more) = (Vec::new(), None, true);
        let (mut from, mut looked_at) = (list.from.clone(), 0);
        // Part by part: where no key is deleted, no record is opened that the page does not show.
        while more && items.len() < list.size && looked_at < LOOKED_AT_MAX {
            let part = snapshot.scan(&from, &end, list.size - items.len()).await.map_err(store_error)?;
            (more, looked_at) = (part.more, looked_at + part.entries.len());
            for entry in part.entries {
                let head = self.records.open::<Head>(&entry.path, &entry.value)?;
                if head.deleted.is_none() {
                    items.push(item(head));
                }
                from = paths::after(&entry.path);
                last = Some(entry.path);
            }
        }
        self.page(&list, items, last, more)
    }

    /// See [`crate::Engine::get_deleted_keys`].
    pub(crate) async fn get_deleted_keys(&self, pool: &Pool, request: PageRequest) -> Result<Page<DeletedKeyItem>> {
        let list = self.list(pool.live.paths.deleted_heads(), &request)?;
        let end = paths::end_of(&list.prefix);
        let snapshot = self.records.store.snapshot().await.map_err(store_error)?;
        let range = snapshot.scan(&list.from, &end, list.size).await.map_err(store_error)?;
        let (mut items, mut last) = (Vec::new(), None);
        for entry in range.entries {
            if let Some(name) = paths::last_part(&entry.path) {
                let head = self.records.get_from::<Head>(&*snapshot, &pool.live.paths.head(&name)).await?;
                if let Some((mark, head)) = head.and_then(|h| Some((h.value.deleted?, h.value))) {
                    items.push(DeletedKeyItem { key: item(head), deletion: mark.dates });
                }
            }
            last = Some(entry.path);
        }
        self.page(&list, items, last, range.more)
    }

    /// See [`crate::Engine::get_key_versions`].
    pub(crate) async fn get_key_versions(
        &self,
        pool: &Pool,
        name: &KeyName,
        request: PageRequest,
    ) -> Result<Page<KeyItem>> {
        let head = self.stored_live_head(pool, name).await?.value;
        let list = self.list(pool.live.paths.versions(&head.object), &request)?;
        let end = paths::end_of(&list.prefix);
        let range = self.records.scan::<VersionRecord>(&list.from, &end, list.size).await?;
        if range.rows.is_empty() && request.after.is_none() {
            // Every key has a version: it was purged after its head was read.
            return Err(key_not_found(name, None));
        }
        let (mut items, mut last) = (Vec::new(), None);
        for (path, stored) in range.rows {
            let record = stored.value;
            items.push(KeyItem {
                name: head.name.clone(),
                version: Some(record.blob.binding.version),
                attributes: record.attributes(),
                tags: record.tags,
            });
            last = Some(path);
        }
        self.page(&list, items, last, range.more)
    }
}

fn item(head: Head) -> KeyItem {
    KeyItem { name: head.name, version: None, attributes: head.newest.attributes, tags: head.newest.tags }
}
