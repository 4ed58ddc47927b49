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
pub(in crate::http::handlers) struct Renderer<'a> {
    pub(super) base: &'a str,
    pub(super) hsm_platform: &'a str,
    pub(super) retention_days: u32,
    pub(super) purge_protection: bool,
    pub(super) version: ApiVersion,
}

impl<'a> Renderer<'a> {
    pub(in crate::http::handlers) fn new(base: &'a str, pool: &'a Pool, version: ApiVersion) -> Self {
        Self {
            base,
            hsm_platform: &pool.hsm_platform,
            retention_days: pool.retention_days,
            purge_protection: pool.purge_protection(),
            version,
        }
    }

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
            hsm_platform: has(SINCE.hsm_platform).then_some(Cow::Borrowed(self.hsm_platform)),
            key_size: symmetric.filter(|_| has(SINCE.key_size)).map(|s| s.row().bits),
            nbf: of.not_before.map(|t| t.0),
            recoverable_days: has(SINCE.recoverable_days).then_some(self.retention_days),
            recovery_level: has(SINCE.recovery_level).then_some(Cow::Borrowed(self.recovery_level())),
            updated: of.updated.0,
        }
    }

    /// What can become of a deleted key in this pool (behaviour notes, section 9).
    pub(in crate::http::handlers) const fn recovery_level(&self) -> &'static str {
        let customized = self.retention_days < limits::RETENTION_DAYS_MAX;
        match (customized, self.purge_protection) {
            (false, false) => "Recoverable+Purgeable",
            (false, true) => "Recoverable",
            (true, false) => "CustomizedRecoverable+Purgeable",
            (true, true) => "CustomizedRecoverable",
        }
    }
}

fn tags(tags: &Tags) -> Option<Cow<'_, Tags>> {
    (!tags.is_empty()).then_some(Cow::Borrowed(tags))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};
    use strongroom_engine::keys::Deletion;
    use strongroom_model::{Curve, KeyOp, KeyOps, Timestamp};

    fn renderer(version: &str) -> Renderer<'static> {
        Renderer {
            base: "https://demo.managedhsm.localhost:8443",
            hsm_platform: "0",
            retention_days: 7,
            purge_protection: false,
            version: ApiVersion::parse(version).unwrap(),
        }
    }

    fn key(spec: KeySpec, public: PublicKey) -> KeyBundle {
        KeyBundle {
            name: KeyName::parse("My-Key").unwrap(),
            version: KeyVersion([0xab; 16]),
            spec,
            ops: KeyOps::NONE.with(KeyOp::Verify).with(KeyOp::Sign),
            public,
            attributes: Attributes {
                enabled: true,
                not_before: Some(Timestamp(5)),
                expires: Some(Timestamp(9)),
                created: Timestamp(1),
                updated: Timestamp(2),
                exportable: false,
            },
            tags: Tags::from([("b".into(), "2".into()), ("a".into(), String::new())]),
        }
    }

    fn ec() -> KeyBundle {
        key(KeySpec::EcP256, PublicKey::Ec { curve: Curve::P256, x: vec![0; 32], y: vec![255; 32] })
    }

    fn text(value: &impl serde::Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn a_bundle_is_written_to_the_byte() {
        let kid = format!("https://demo.managedhsm.localhost:8443/keys/My-Key/{}", "ab".repeat(16));
        let wanted = format!(
            concat!(
                r#"{{"attributes":{{"created":1,"enabled":true,"exp":9,"exportable":false,"hsmPlatform":"0","nbf":5,"#,
                r#""recoverableDays":7,"recoveryLevel":"CustomizedRecoverable+Purgeable","updated":2}},"key":{{"#,
                r#""crv":"P-256","key_ops":["sign","verify"],"kid":"{kid}","kty":"EC-HSM","x":"{x}","y":"{y}"}},"#,
                r#""tags":{{"a":"","b":"2"}}}}"#
            ),
            kid = kid,
            x = "A".repeat(43),
            y = "_".repeat(42) + "8",
        );
        assert_eq!(text(&renderer("7.6").bundle(&ec()).unwrap()), wanted);
    }

    #[test]
    fn members_come_with_their_version() {
        let oct = key(KeySpec::Oct192, PublicKey::Oct);
        let optional = ["recoveryLevel", "recoverableDays", "exportable", "hsmPlatform", "key_size"];
        let cases = [("2015-06-01", 0), ("2016-10-01", 1), ("7.0", 1), ("7.1", 2), ("7.2", 2), ("7.3", 3)];
        for (version, count) in cases.into_iter().chain([("7.4", 3), ("7.5", 4), ("2025-07-01", 4), ("2026-04-01", 5)])
        {
            let renderer = renderer(version);
            let bundle: Value = serde_json::to_value(renderer.bundle(&oct).unwrap()).unwrap();
            let has = |name: &&str| bundle["attributes"].get(name).is_some();
            assert_eq!(optional.iter().filter(|n| has(n)).count(), count, "{version}");
            assert!(optional[..count].iter().all(has), "{version}");
        }
        let newest = renderer("2026-04-01");
        let bundle = serde_json::to_value(newest.bundle(&oct).unwrap()).unwrap();
        assert_eq!(bundle["attributes"]["key_size"], 192);
        assert_eq!(bundle["key"].as_object().unwrap().keys().collect::<Vec<_>>(), ["key_ops", "kid", "kty"]);
        assert!(serde_json::to_value(newest.bundle(&ec()).unwrap()).unwrap()["attributes"].get("key_size").is_none());
        for version in ["2016-10-01", "7.1", "7.3", "7.5", "2026-04-01"] {
            assert!(since(version) > ApiVersion::FIRST, "{version}");
        }
    }

    #[test]
    fn recovery_levels_follow_retention_and_protection() {
        for (retention_days, purge_protection, level) in [
            (90, false, "Recoverable+Purgeable"),
            (90, true, "Recoverable"),
            (89, false, "CustomizedRecoverable+Purgeable"),
            (7, true, "CustomizedRecoverable"),
        ] {
            let renderer = Renderer { retention_days, purge_protection, ..renderer("7.6") };
            assert_eq!(renderer.recovery_level(), level);
        }
    }

    #[test]
    fn deleted_keys_and_lists_name_the_key_without_a_version() {
        let renderer = renderer("7.6");
        let deletion = Deletion { deleted: Timestamp(10), scheduled_purge: Timestamp(20) };
        let deleted = DeletedKeyBundle { key: ec(), deletion };
        let bundle = serde_json::to_value(renderer.deleted_bundle(&deleted).unwrap()).unwrap();
        let id = "https://demo.managedhsm.localhost:8443/deletedkeys/My-Key";
        assert_eq!((&bundle["recoveryId"], &bundle["deletedDate"]), (&json!(id), &json!(10)));
        assert_eq!(bundle["scheduledPurgeDate"], 20);
        let KeyBundle { name, attributes, .. } = ec();
        let item = KeyItem { name, version: None, attributes, tags: Tags::new() };
        let deleted = DeletedKeyItem { key: item.clone(), deletion };
        let line = serde_json::to_value(renderer.deleted_item(&deleted)).unwrap();
        assert_eq!(line["kid"], "https://demo.managedhsm.localhost:8443/keys/My-Key");
        assert!(line.get("tags").is_none());
        let version = KeyItem { version: Some(KeyVersion([1; 16])), ..item };
        let line = serde_json::to_value(renderer.item(&version)).unwrap();
        assert_eq!(line["kid"], format!("https://demo.managedhsm.localhost:8443/keys/My-Key/{}", "01".repeat(16)));
    }
}
