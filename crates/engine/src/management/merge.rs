//! What a request says about a resource, and the resource after it.

use super::resource::{CreateMode, Editor, NetworkChange, Resource, Sku, SystemData, Tags, check_tags};
use strongroom_model::error::{ManagementError, Result};
use strongroom_model::limits::{RETENTION_DAYS_MAX, RETENTION_DAYS_MIN};
use strongroom_model::management::{GroupName, Location, ResourceKind};
use strongroom_model::network::NetworkPolicy;
use strongroom_model::{PoolName, Timestamp};

/// The part of a request that both kinds share; what it does not say stays, or has Azure's default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceRequest {
    /// Wanted at creation; cannot change.
    pub location: Option<Location>,
    /// Wanted at creation.
    pub sku: Option<Sku>,
    /// All of the tags.
    pub tags: Option<Tags>,
    /// Fixed at creation: 7 to 90, else 90.
    pub retention_days: Option<u32>,
    /// Cannot be off.
    pub soft_delete: Option<bool>,
    /// Once on, it stays on.
    pub purge_protection: Option<bool>,
    /// The network's part.
    pub network: NetworkChange,
    /// New, or recovered.
    pub mode: CreateMode,
}

impl ResourceRequest {
    /// What is wrong whatever is there already.
    pub(super) fn check(&self, kind: ResourceKind) -> Result<()> {
        check_tags(self.tags.as_ref().unwrap_or(&Tags::new()))?;
        if let Some(sku) = &self.sku {
            sku.check(kind)?;
        }
        if self.soft_delete == Some(false) {
            return Err(
                ManagementError::BadProperty("enableSoftDelete", "true: soft delete cannot be turned off").into()
            );
        }
        match self.retention_days {
            Some(days) if !(RETENTION_DAYS_MIN..=RETENTION_DAYS_MAX).contains(&days) => {
                Err(ManagementError::BadProperty("softDeleteRetentionInDays", "7 to 90").into())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The resource that the request makes.
    pub(super) fn create(
        self,
        kind: ResourceKind,
        group: GroupName,
        name: PoolName,
        by: Editor,
        now: Timestamp,
    ) -> Result<Resource> {
        let missing = |property, expected| ManagementError::BadProperty(property, expected);
        Ok(Resource {
            name,
            group,
            location: self.location.ok_or(missing("location", "the name of a place"))?,
            sku: self.sku.ok_or(missing("sku", "an object with family and name"))?,
            tags: self.tags.unwrap_or_default(),
            retention_days: self.retention_days.unwrap_or(RETENTION_DAYS_MAX),
            purge_protection: self.purge_protection.unwrap_or(false),
            network: self.network.apply(NetworkPolicy::default(), kind)?,
            system_data: SystemData::new(by, now),
            deleted: None,
        })
    }

    /// The resource after the request; recovered when it was deleted.
    pub(super) fn change(self, kind: ResourceKind, before: &Resource, by: Editor, now: Timestamp) -> Result<Resource> {
        if self.location.is_some_and(|l| l != before.location) {
            return Err(ManagementError::LocationDiffers(before.location.to_string()).into());
        }
        if self.retention_days.is_some_and(|days| days != before.retention_days) {
            return Err(ManagementError::Immutable("softDeleteRetentionInDays").into());
        }
        if before.purge_protection && self.purge_protection == Some(false) {
            return Err(ManagementError::Immutable("enablePurgeProtection").into());
        }
        Ok(Resource {
            sku: self.sku.unwrap_or_else(|| before.sku.clone()),
            tags: self.tags.unwrap_or_else(|| before.tags.clone()),
            purge_protection: before.purge_protection || self.purge_protection == Some(true),
            network: self.network.apply(before.network.clone(), kind)?,
            system_data: before.system_data.clone().modified(by, now),
            deleted: None,
            ..before.clone()
        })
    }
}
