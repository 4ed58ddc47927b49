//! From domain words to the bodies that the keys API answers.

use super::super::base64url;
use std::borrow::Cow;
use std::sync::LazyLock;
use strongroom_engine::Pool;
use strongroom_engine::keys::{Attributes, DeletedKeyBundle, DeletedKeyItem, KeyBundle, KeyItem, Tags};
use strongroom_hsm::PublicKey;
use strongroom_model::error::Result;
use strongroom_model::{ApiVersion, KeyName, KeySpec, KeyType, KeyVersion, limits};
use strongroom_wire::keys as wire;

/// Members of `attributes` that came after the first version, with the version that brought them.
struct Since {
    recovery_level: ApiVersion,
    recoverable_days: ApiVersion,
    exportable: ApiVersion,
    hsm_platform: ApiVersion,
    key_size: ApiVersion,
}

static SINCE: LazyLock<Since> = LazyLock::new(|| Since {
    recovery_level: since("2016-10-01"),
    recoverable_days: since("7.1"),
    exportable: since("7.3"),
    hsm_platform: since("7.5"),
    key_size: since("2026-04-01"),
});

/// The version of a row of ours; all of them are in the table (a test proves it).
pub(super) fn since(version: &str) -> ApiVersion {
    ApiVersion::known(version).unwrap_or(ApiVersion::FIRST)
}

/// How an answer is written: for which pool, where ids begin, by which version.
pub(super) struct Renderer<'a> {
    pub(super) base: &'a str,
    pub(super) pool: &'a Pool,
    pub(super) version: ApiVersion,
}

impl Renderer<'_> {
    /// `kid` of a version, or of the key.
    pub(super) fn kid(&self, name: &KeyName, version: Option<KeyVersion>) -> String {
        match version {
            Some(version) => format!("{}/keys/{name}/{version}", self.base),
            None => format!("{}/keys/{name}", self.base),
        }
    }

    fn recovery_id(&self, name: &KeyName) -> String {
        format!("{}/deletedkeys/{name}", self.base)
    }

    pub(super) fn bundle<'k>(&'k self, key: &'k KeyBundle) -> Result<wire::KeyBundle<'k>> {
        Ok(wire::KeyBundle {
            attributes: self.attributes(&key.attributes, Some(key.spec)),
            key: self.json_web_key(key)?,
            tags: tags(&key.tags),
        })
    }

    pub(super) fn deleted_bundle<'k>(&'k self, deleted: &'k DeletedKeyBundle) -> Result<wire::DeletedKeyBundle<'k>> {
        let key = self.bundle(&deleted.key)?;
        Ok(wire::DeletedKeyBundle {
            attributes: key.attributes,
            deleted_date: deleted.deletion.deleted.0,
            key: key.key,
            recovery_id: self.recovery_id(&deleted.key.name),
            scheduled_purge_date: deleted.deletion.scheduled_purge.0,
            tags: key.tags,
        })
    }

    pub(super) fn item<'k>(&'k self, item: &'k KeyItem) -> wire::KeyItem<'k> {
        wire::KeyItem {
            attributes: self.attributes(&item.attributes, None),
            kid: self.kid(&item.name, item.version),
            tags: tags(&item.tags),
        }
    }

    pub(super) fn deleted_item<'k>(&'k self, deleted: &'k DeletedKeyItem) -> wire::DeletedKeyItem<'k> {
        let item = self.item(&deleted.key);
        wire::DeletedKeyItem {
            attributes: item.attributes,
            deleted_date: deleted.deletion.deleted.0,
            kid: item.kid,
            recovery_id: self.recovery_id(&deleted.key.name),
            scheduled_purge_date: deleted.deletion.scheduled_purge.0,
            tags: item.tags,
        }
    }

    fn json_web_key<'k>(&self, key: &'k KeyBundle) -> Result<wire::JsonWebKey<'k>> {
        let mut jwk = wire::JsonWebKey {
            crv: None,
            e: None,
            key_ops: key.ops.names().map(Cow::Borrowed).collect(),
            kid: self.kid(&key.name, Some(key.version)),
            kty: Cow::Borrowed(key.spec.kty().hsm_name()),
            n: None,
            x: None,
            y: None,
        };
        match &key.public {
            PublicKey::Rsa { n, e } => {
                jwk.n = Some(base64url::encode(n)?);
                jwk.e = Some(base64url::encode(e)?);
            }
            PublicKey::Ec { curve, x, y } => {
                jwk.crv = Some(Cow::Borrowed(curve.as_str()));
                jwk.x = Some(base64url::encode(x)?);
                jwk.y = Some(base64url::encode(y)?);
            }
            PublicKey::Oct => {}
        }
        Ok(jwk)
    }

    /// The attributes that this version has; lists do not know the size of a symmetric key.
    fn attributes(&self, of: &Attributes, spec: Option<KeySpec>) -> wire::KeyAttributes<'_> {
        let has = |since: ApiVersion| self.version >= since;
        let symmetric = spec.filter(|s| s.kty() == KeyType::Oct);
        wire::KeyAttributes {
            created: of.created.0,
            enabled: of.enabled,
            exp: of.expires.map(|t| t.0),
            exportable: has(SINCE.exportable).then_some(of.exportable),
            hsm_platform: has(SINCE.hsm_platform).then_some(Cow::Borrowed(&*self.pool.hsm_platform)),
            key_size: symmetric.filter(|_| has(SINCE.key_size)).map(|s| s.row().bits),
            nbf: of.not_before.map(|t| t.0),
            recoverable_days: has(SINCE.recoverable_days).then_some(self.pool.retention_days),
            recovery_level: has(SINCE.recovery_level).then_some(Cow::Borrowed(recovery_level(self.pool))),
            updated: of.updated.0,
        }
    }
}

/// What can become of a deleted key in this pool (behaviour notes, section 9).
const fn recovery_level(pool: &Pool) -> &'static str {
    let customized = pool.retention_days < limits::RETENTION_DAYS_MAX;
    match (customized, pool.purge_protection) {
        (false, false) => "Recoverable+Purgeable",
        (false, true) => "Recoverable",
        (true, false) => "CustomizedRecoverable+Purgeable",
        (true, true) => "CustomizedRecoverable",
    }
}

fn tags(tags: &Tags) -> Option<Cow<'_, Tags>> {
    (!tags.is_empty()).then_some(Cow::Borrowed(tags))
}
