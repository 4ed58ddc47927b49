//! Rotation: the policy of a key, rotation on demand, and when the scheduler has to act.

use super::create::{Onto, draft};
use super::read::key_not_found;
use super::{KeyBundle, RotateTrigger, RotationPolicy, Tags};
use crate::commit::{ATTEMPTS, Committed, HeadChange};
use crate::core::{Core, finish};
use crate::engine::Recorded;
use crate::jobs::SystemGrant;
use crate::pool::Pool;
use crate::records::shapes::{Head, PolicyRecord};
use std::sync::Arc;
use strongroom_hsm::{KeyDraft, KeyMade};
use strongroom_model::audit::ChangeStamp;
use strongroom_model::clock::DAY;
use strongroom_model::error::{BadParameter, Conflict, Error, Forbidden, Result};
use strongroom_model::limits::{ROTATION_DAYS_MIN, VERSIONS_PER_KEY_MAX};
use strongroom_model::{KeyName, Timestamp};
use uuid::Uuid;

/// When the newest version of a key is to be replaced; `None` when never, and while the key can have no new version.
pub(crate) fn rotation_due(head: &Head) -> Option<Timestamp> {
    let (newest, policy) = (&head.newest.attributes, head.policy.as_ref()?);
    if head.deleted.is_some() || !newest.enabled || head.versions >= VERSIONS_PER_KEY_MAX {
        return None;
    }
    match policy.rotate.as_ref()? {
        RotateTrigger::AfterCreate(after) => Some(newest.created.plus(after.days.saturating_mul(DAY))),
        RotateTrigger::BeforeExpiry(before) => Some(newest.expires?.plus(-before.days.saturating_mul(DAY))),
    }
}

/// The rules of a managed HSM (behaviour notes, section 11).
fn check_policy(policy: &RotationPolicy) -> Result<()> {
    let range = |parameter, min, max| Error::BadParameter(BadParameter::Range { parameter, min, max });
    let expiry = policy.expiry.as_ref().map(|e| e.days);
    if expiry.is_some_and(|days| days < ROTATION_DAYS_MIN) {
        return Err(range("expiryTime (in days)", ROTATION_DAYS_MIN, i64::MAX));
    }
    match &policy.rotate {
        Some(RotateTrigger::AfterCreate(after)) if after.days < ROTATION_DAYS_MIN => {
            Err(range("timeAfterCreate (in days)", ROTATION_DAYS_MIN, i64::MAX))
        }
        Some(RotateTrigger::BeforeExpiry(before)) => match expiry {
            None => Err(Error::BadParameter(BadParameter::Missing("expiryTime"))),
            Some(expiry) if before.days > expiry - ROTATION_DAYS_MIN => {
                Err(range("timeBeforeExpiry (in days)", 0, expiry - ROTATION_DAYS_MIN))
            }
            Some(_) => Ok(()),
        },
        Some(RotateTrigger::AfterCreate(_)) | None => Ok(()),
    }
}

/// A policy as callers see it.
fn answered(policy: Option<&PolicyRecord>) -> RotationPolicy {
    RotationPolicy {
        rotate: policy.and_then(|p| p.rotate.clone()),
        expiry: policy.and_then(|p| p.expiry.clone()),
        created: policy.map(|p| p.created),
        updated: policy.map(|p| p.updated),
    }
}

impl Core {
    /// See [`crate::Engine::get_key_rotation_policy`].
    pub(crate) async fn get_key_rotation_policy(&self, pool: &Pool, name: &KeyName) -> Result<RotationPolicy> {
        Ok(answered(self.live_head(pool, name).await?.policy.as_ref()))
    }

    /// See [`crate::Engine::update_key_rotation_policy`].
    pub(crate) async fn update_key_rotation_policy(
        &self,
        pool: &Pool,
        r: Recorded,
        name: KeyName,
        policy: RotationPolicy,
    ) -> Result<RotationPolicy> {
        self.check_changes_allowed()?;
        check_policy(&policy)?;
        for _ in 0..ATTEMPTS {
            let _turn = pool.live.turn(&name).await;
            let before = self.stored_live_head(pool, &name).await?;
            let now = self.now();
            let set = PolicyRecord {
                rotate: policy.rotate.clone(),
                expiry: policy.expiry.clone(),
                created: before.value.policy.as_ref().map_or(now, |p| p.created),
                updated: now,
            };
            let after = Head { policy: Some(set), ..before.value.next() };
            let change = HeadChange {
                pool,
                name: &name,
                before: Some(&before),
                after: Some(&after),
                version: None,
                conditions: Vec::new(),
                changes: Vec::new(),
                audit: finish(&r, format!("keys/{}", after.name)),
            };
            if self.commit_key(change).await? != Committed::Lost {
                return Ok(answered(after.policy.as_ref()));
            }
        }
        Err(Error::Conflict(Conflict::Concurrent))
    }

    /// See [`crate::Engine::rotate_key`].
    pub(crate) async fn rotate_key(self: &Arc<Self>, pool: &Pool, r: Recorded, name: KeyName) -> Result<KeyBundle> {
        self.check_changes_allowed()?;
        for _ in 0..ATTEMPTS {
            let head = self.stored_live_head(pool, &name).await?.value;
            let onto = Onto::Newest(head.newest.version);
            let made = self.next_version(pool, &head, r.caller()).await;
            let (made, tags) = match made {
                // Purged between the two reads: the next look at the head says so.
                Err(Error::NotFound(_)) => continue,
                made => made?,
            };
            if let Some(bundle) = self.add_version(pool, &r, &name, made, tags, onto).await? {
                return Ok(bundle);
            }
        }
        Err(Error::Conflict(Conflict::Concurrent))
    }

    /// Rotates a key whose time has come; `false` when it has not, or when another node did it.
    pub(crate) async fn rotate_if_due(self: &Arc<Self>, g: &SystemGrant) -> Result<bool> {
        let (pool, name, r) = (g.pool(), g.name(), g.recorded(self.now()));
        let Some(head) = self.stored_head(pool, name).await?.map(|s| s.value) else { return Ok(false) };
        if rotation_due(&head).is_none_or(|due| due > self.now()) {
            return Ok(false);
        }
        let (made, tags) = self.next_version(pool, &head, r.caller()).await?;
        Ok(self.add_version(pool, &r, name, made, tags, Onto::Head(head.commit)).await?.is_some())
    }

    /// Makes the version that follows the newest one: same type, size, operations and tags, `exp` from the policy.
    async fn next_version(&self, pool: &Pool, head: &Head, caller: Uuid) -> Result<((KeyMade, ChangeStamp), Tags)> {
        if head.deleted.is_some() {
            return Err(key_not_found(&head.name, None));
        }
        if !head.newest.attributes.enabled {
            return Err(Error::Forbidden(Forbidden::RotateDisabled));
        }
        if head.versions >= VERSIONS_PER_KEY_MAX {
            return Err(Error::Forbidden(Forbidden::VersionsExhausted));
        }
        let newest = self.stored_version(pool, head, head.newest.version).await?;
        let expiry = head.policy.as_ref().and_then(|p| p.expiry.as_ref());
        let expires = expiry.map(|e| self.now().plus(e.days.saturating_mul(DAY)));
        let binding = &newest.blob.binding;
        let draft = KeyDraft { expires, ..draft(&head.name, binding.spec, binding.ops) };
        Ok((pool.live.gateway.generate(draft, caller).await?, newest.tags))
    }
}
