//! The keys API.

mod operations;
mod paging;
pub(super) mod parse;
pub(super) mod render;
mod rotation;

pub use operations::{decrypt, encrypt, sign, unwrap_key, verify, wrap_key};

use super::{base64url, json};
use crate::http::call::{Answer, Call, HandlerFuture};
use paging::Asked;
pub(super) use paging::escape;
use render::Renderer;
use std::sync::Arc;
use strongroom_engine::keys::KeyBundle;
use strongroom_model::error::{BadParameter, Error, Result};
use strongroom_model::{KeyName, KeyVersion, limits};
use strongroom_wire::operations::{GetRandomBytesRequest, RandomBytes};
use zeroize::Zeroizing;

/// `CreateKey`: makes a key, or a new version of one.
pub fn create_key(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let (name, key) = (key_name(&call)?, parse::create(json::parse(call.body.expose())?)?);
        let made = call.engine.create_key(&call.grant, call.recorded.clone(), name, key).await?;
        bundle(&call, &made, true)
    })
}

/// `ImportKey`: takes over a key that comes in the clear.
pub fn import_key(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let (name, (key, material)) = (key_name(&call)?, parse::import(json::parse(call.body.expose())?)?);
        let made = call.engine.import_key(&call.grant, call.recorded.clone(), name, key, material).await?;
        bundle(&call, &made, true)
    })
}

/// `UpdateKey`: changes attributes, operations or tags of a version.
pub fn update_key(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let (name, version) = (key_name(&call)?, key_version(&call)?);
        let change = parse::update(json::parse(call.body.expose())?)?;
        let changed = call.engine.update_key(&call.grant, call.recorded.clone(), name, version, change).await?;
        bundle(&call, &changed, true)
    })
}

/// `GetKey`: the public half of a version.
pub fn get_key(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let (name, version) = (key_name(&call)?, key_version(&call)?);
        let key: Arc<KeyBundle> = call.engine.get_key(&call.grant, &name, version).await?;
        bundle(&call, &key, false)
    })
}

/// `GetKeys`: the keys, by name.
pub fn get_keys(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let asked = Asked::of(&call);
        let page = call.engine.get_keys(&call.grant, asked.request()?).await?;
        let renderer = renderer(&call);
        let body = asked.page("keys", &page, |item| renderer.item(item));
        json::answer(200, &body, String::new(), false)
    })
}

/// `GetKeyVersions`: the versions of a key.
pub fn get_key_versions(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let (name, asked) = (key_name(&call)?, Asked::of(&call));
        let page = call.engine.get_key_versions(&call.grant, &name, asked.request()?).await?;
        let renderer = renderer(&call);
        let body = asked.page(&format!("keys/{name}/versions"), &page, |item| renderer.item(item));
        json::answer(200, &body, object_of(&name, None), false)
    })
}

/// `DeleteKey`: deletes a key with all its versions, so that it can be recovered.
pub fn delete_key(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let deleted = call.engine.delete_key(&call.grant, call.recorded.clone(), key_name(&call)?).await?;
        json::answer(200, &renderer(&call).deleted_bundle(&deleted)?, object_of(&deleted.key.name, None), true)
    })
}

/// `GetDeletedKey`: a deleted key.
pub fn get_deleted_key(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let deleted = call.engine.get_deleted_key(&call.grant, &key_name(&call)?).await?;
        json::answer(200, &renderer(&call).deleted_bundle(&deleted)?, object_of(&deleted.key.name, None), false)
    })
}

/// `GetDeletedKeys`: the deleted keys, by name.
pub fn get_deleted_keys(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let asked = Asked::of(&call);
        let page = call.engine.get_deleted_keys(&call.grant, asked.request()?).await?;
        let renderer = renderer(&call);
        let body = asked.page("deletedkeys", &page, |item| renderer.deleted_item(item));
        json::answer(200, &body, String::new(), false)
    })
}

/// `RecoverDeletedKey`: makes a deleted key live again.
pub fn recover_deleted_key(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let key = call.engine.recover_deleted_key(&call.grant, call.recorded.clone(), key_name(&call)?).await?;
        bundle(&call, &key, true)
    })
}

/// `PurgeDeletedKey`: destroys a deleted key for ever.
pub fn purge_deleted_key(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let name = key_name(&call)?;
        call.engine.purge_deleted_key(&call.grant, call.recorded.clone(), name.clone()).await?;
        let body = Zeroizing::new(Vec::new());
        Ok(Answer { status: 204, body, object: object_of(&name, None), stamp: None, audited: true })
    })
}

/// `RotateKey`: makes a new version like the newest one.
pub fn rotate_key(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let key = call.engine.rotate_key(&call.grant, call.recorded.clone(), key_name(&call)?).await?;
        bundle(&call, &key, true)
    })
}

/// `GetKeyRotationPolicy`: when new versions are made.
pub fn get_key_rotation_policy(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let name = key_name(&call)?;
        let policy = call.engine.get_key_rotation_policy(&call.grant, &name).await?;
        let body = rotation::render(policy_id(&call, &name), &policy);
        json::answer(200, &body, object_of(&name, None), false)
    })
}

/// `UpdateKeyRotationPolicy`: says when new versions are to be made.
pub fn update_key_rotation_policy(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let (name, policy) = (key_name(&call)?, rotation::parse(json::parse(call.body.expose())?)?);
        let (grant, recorded) = (&call.grant, call.recorded.clone());
        let policy = call.engine.update_key_rotation_policy(grant, recorded, name.clone(), policy).await?;
        let body = rotation::render(policy_id(&call, &name), &policy);
        json::answer(200, &body, object_of(&name, None), true)
    })
}

/// `GetRandomBytes`: random bytes from the partition.
pub fn get_random_bytes(call: Call) -> HandlerFuture {
    Box::pin(async move {
        let count = random_count(json::parse(call.body.expose())?)?;
        let bytes = call.engine.get_random_bytes(&call.grant, count).await?;
        let body = RandomBytes { value: base64url::encode(bytes.expose())? };
        json::answer(200, &body, String::new(), false)
    })
}

fn random_count(body: GetRandomBytesRequest) -> Result<u16> {
    let count = body.count.ok_or(Error::BadParameter(BadParameter::Missing("count")))?;
    let fits = u16::try_from(count).ok().filter(|c| (1..=limits::RANDOM_BYTES_MAX).contains(&usize::from(*c)));
    let max = i64::try_from(limits::RANDOM_BYTES_MAX).unwrap_or(i64::MAX);
    fits.ok_or(Error::BadParameter(BadParameter::Range { parameter: "count", min: 1, max }))
}

/// `{name}` of the path.
fn key_name(call: &Call) -> Result<KeyName> {
    KeyName::parse(call.param("name"))
}

/// `{version}` of the path; an empty one means the newest.
fn key_version(call: &Call) -> Result<Option<KeyVersion>> {
    match call.param("version") {
        "" => Ok(None),
        version => KeyVersion::parse(version).map(Some),
    }
}

/// What the audit record names.
fn object_of(name: &KeyName, version: Option<KeyVersion>) -> String {
    match version {
        Some(version) => format!("keys/{name}/{version}"),
        None => format!("keys/{name}"),
    }
}

fn renderer(call: &Call) -> Renderer<'_> {
    Renderer::new(&call.base, call.grant.pool(), call.version)
}

fn bundle(call: &Call, key: &KeyBundle, audited: bool) -> Result<Answer> {
    let object = object_of(&key.name, Some(key.version));
    json::answer(200, &renderer(call).bundle(key)?, object, audited)
}

fn policy_id(call: &Call, name: &KeyName) -> String {
    format!("{}/keys/{name}/rotationpolicy", call.base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_are_counted_from_1_to_128() {
        let count = |count| random_count(GetRandomBytesRequest { count });
        assert_eq!((count(Some(1)), count(Some(128))), (Ok(1), Ok(128)));
        let range = Error::BadParameter(BadParameter::Range { parameter: "count", min: 1, max: 128 });
        for bad in [0, 129, -1, 65_537, i64::MAX, i64::MIN] {
            assert_eq!(count(Some(bad)), Err(range.clone()), "{bad}");
        }
        assert_eq!(count(None), Err(Error::BadParameter(BadParameter::Missing("count"))));
    }
}
