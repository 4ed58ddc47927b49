//! Resource groups.

use super::change::{Beside, Step};
use super::resource::{Editor, Tags, check_tags};
use crate::core::Core;
use crate::engine::Recorded;
use serde::{Deserialize, Serialize};
use strongroom_model::Timestamp;
use strongroom_model::error::{ManagementError, Result};
use strongroom_model::limits::GROUPS_MAX;
use strongroom_model::management::{GroupName, Location};

/// A resource group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name, as spelled at creation.
    pub name: GroupName,
    /// Where what is known about it lies.
    pub location: Location,
    /// Its tags.
    pub tags: Tags,
    /// When it was made.
    pub created: Timestamp,
}

/// What a request says about a group.
#[derive(Clone, Debug, Default)]
pub struct GroupRequest {
    /// Wanted at creation; cannot change later.
    pub location: Option<Location>,
    /// All of the tags; those that are there stay when nothing is said.
    pub tags: Option<Tags>,
}

impl Core {
    /// Makes a group, or changes the one that is there; whether it is new.
    pub(super) async fn put_group(&self, r: Recorded, name: GroupName, asked: GroupRequest) -> Result<(Group, bool)> {
        check_tags(asked.tags.as_ref().unwrap_or(&Tags::new()))?;
        let turn = self.management_turn().await?;
        let before = turn.set.groups.get(&name.folded());
        let group = match before {
            Some(group) => {
                if asked.location.as_ref().is_some_and(|l| *l != group.location) {
                    return Err(ManagementError::LocationDiffers(group.location.to_string()).into());
                }
                Group { tags: asked.tags.unwrap_or_default(), ..group.clone() }
            }
            None if turn.set.groups.len() >= GROUPS_MAX => {
                return Err(ManagementError::LimitReached("resource groups").into());
            }
            None => Group {
                location: asked.location.ok_or(ManagementError::BadProperty("location", "the name of a place"))?,
                tags: asked.tags.unwrap_or_default(),
                created: self.now(),
                name,
            },
        };
        let new = before.is_none();
        let object = format!("resourceGroups/{}", group.name);
        self.commit_management(&turn, &r, object, &[Step::PutGroup(group.clone())], Beside::default()).await?;
        Ok((group, new))
    }

    /// Changes the tags of a group.
    pub(super) async fn patch_group(&self, r: Recorded, name: GroupName, tags: Option<Tags>) -> Result<Group> {
        check_tags(tags.as_ref().unwrap_or(&Tags::new()))?;
        let turn = self.management_turn().await?;
        let before = turn.set.group(&name)?;
        let group = Group { tags: tags.unwrap_or_else(|| before.tags.clone()), ..before.clone() };
        let object = format!("resourceGroups/{}", group.name);
        self.commit_management(&turn, &r, object, &[Step::PutGroup(group.clone())], Beside::default()).await?;
        Ok(group)
    }

    /// Deletes a group, and before it everything in it: vaults and managed HSMs are soft-deleted, each in a commit of its own.
    pub(super) async fn delete_group(&self, r: Recorded, name: GroupName, by: Editor) -> Result<()> {
        let (hsms, vaults): (Vec<_>, Vec<_>) = {
            let set = self.management.set.load();
            set.group(&name)?;
            let hsms = set.hsms.values().map(|h| &h.resource);
            let vaults = set.vaults.values().map(|v| &v.resource);
            let live = |resource: &&super::Resource| resource.group == name && resource.deleted.is_none();
            (hsms.filter(live).map(|x| x.name.clone()).collect(), vaults.filter(live).map(|x| x.name.clone()).collect())
        };
        for hsm in hsms {
            self.delete_managed_hsm(r.clone(), name.clone(), hsm, by.clone()).await?;
        }
        for vault in vaults {
            self.delete_vault(r.clone(), name.clone(), vault, by.clone()).await?;
        }
        let inside = super::api::group_scope(self.subscription(), &name);
        self.unassign_most_below(&r, &inside).await?;
        let turn = self.management_turn().await?;
        let group = turn.set.group(&name)?.clone();
        let mut resources =
            turn.set.hsms.values().map(|h| &h.resource).chain(turn.set.vaults.values().map(|v| &v.resource));
        if resources.any(|x| x.group == name && x.deleted.is_none()) {
            // Somebody made one meanwhile.
            return Err(ManagementError::Concurrent.into());
        }
        let mut steps = vec![Step::RemoveGroup(group.name.clone())];
        steps.extend(self.unassign_below(&turn.set, &inside));
        let object = format!("resourceGroups/{}", group.name);
        self.commit_management(&turn, &r, object, &steps, Beside::default()).await
    }
}
