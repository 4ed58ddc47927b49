//! How a change of the management plane reaches the store: conditional on its one record, with its audit row.

use super::access::Assignment;
use super::groups::Group;
use super::hsms::ManagedHsm;
use super::set::ManagementSet;
use super::vaults::Vault;
use crate::commit::{Committed, Proof};
use crate::core::{Core, finish};
use crate::engine::Recorded;
use crate::records::shapes::ManagementRecord;
use crate::records::{paths, random_id};
use std::sync::Arc;
use strongroom_model::PoolName;
use strongroom_model::error::{ManagementError, Result};
use strongroom_model::management::GroupName;
use strongroom_store::{Change, Condition};
use tokio::sync::MutexGuard;
use uuid::Uuid;

/// One step of a change.
#[derive(Clone, Debug)]
pub(super) enum Step {
    PutGroup(Group),
    RemoveGroup(GroupName),
    PutHsm(Box<ManagedHsm>),
    RemoveHsm(PoolName),
    PutVault(Box<Vault>),
    RemoveVault(PoolName),
    Assign(Assignment),
    Unassign(Uuid),
}

/// The right to change the set: one change of this process at a time, seen from the newest set.
pub(super) struct Turn<'a> {
    pub(super) set: Arc<ManagementSet>,
    _guard: MutexGuard<'a, ()>,
}

/// What goes into the commit beside the steps: other records that must change with them.
#[derive(Default)]
pub(super) struct Beside {
    pub(super) conditions: Vec<Condition>,
    pub(super) changes: Vec<Change>,
}

impl ManagementSet {
    fn after(&self, steps: &[Step]) -> Self {
        let mut next = Self { generation: self.generation.saturating_add(1), ..self.clone() };
        for step in steps.iter().cloned() {
            match step {
                Step::PutGroup(g) => drop(next.groups.insert(g.name.folded(), g)),
                Step::RemoveGroup(name) => drop(next.groups.remove(&name.folded())),
                Step::PutHsm(h) => drop(next.hsms.insert(h.resource.name.clone(), *h)),
                Step::RemoveHsm(name) => drop(next.hsms.remove(&name)),
                Step::PutVault(v) => drop(next.vaults.insert(v.resource.name.clone(), *v)),
                Step::RemoveVault(name) => drop(next.vaults.remove(&name)),
                Step::Assign(a) => drop(next.assignments.insert(a.id, a)),
                Step::Unassign(id) => drop(next.assignments.remove(&id)),
            }
        }
        next
    }
}

impl Core {
    /// Waits for the turn to change the management plane.
    pub(super) async fn management_turn(&self) -> Result<Turn<'_>> {
        self.check_changes_allowed()?;
        let guard = self.management.turn.lock().await;
        Ok(Turn { set: self.management.set.load_full(), _guard: guard })
    }

    /// Commits steps, what goes beside them, and the audit row; the set in memory follows before the turn ends.
    pub(super) async fn commit_management(
        &self,
        turn: &Turn<'_>,
        r: &Recorded,
        object: String,
        steps: &[Step],
        beside: Beside,
    ) -> Result<()> {
        let Beside { mut conditions, mut changes } = beside;
        let record = ManagementRecord { generation: turn.set.generation.saturating_add(1), commit: random_id() };
        let path = paths::MANAGEMENT.to_vec();
        conditions.push(match turn.set.revision {
            Some(revision) => Condition::Unchanged(path.clone(), revision),
            None => Condition::Absent(path.clone()),
        });
        changes.push(self.records.put(path, &record)?);
        for step in steps {
            changes.push(self.row_of(step)?);
        }
        let proof = Proof::Management(paths::MANAGEMENT, record.commit);
        let outcome = self.commit_audited(conditions, changes, finish(r, object), proof).await;
        match &outcome {
            Ok(Committed::At(revision)) => {
                let next = ManagementSet { revision: Some(*revision), ..turn.set.after(steps) };
                self.management.set.store(Arc::new(next));
            }
            Ok(Committed::Settled | Committed::Lost) | Err(_) => self.reload_management().await?,
        }
        match outcome? {
            Committed::At(_) | Committed::Settled => Ok(()),
            Committed::Lost => Err(ManagementError::Concurrent.into()),
        }
    }

    fn row_of(&self, step: &Step) -> Result<Change> {
        match step {
            Step::PutGroup(group) => self.records.put(paths::group(&group.name), group),
            Step::RemoveGroup(name) => Ok(Change::Delete(paths::group(name))),
            Step::PutHsm(hsm) => self.records.put(paths::managed_hsm(&hsm.resource.name), &**hsm),
            Step::RemoveHsm(name) => Ok(Change::Delete(paths::managed_hsm(name))),
            Step::PutVault(vault) => self.records.put(paths::managed_vault(&vault.resource.name), &**vault),
            Step::RemoveVault(name) => Ok(Change::Delete(paths::managed_vault(name))),
            Step::Assign(assignment) => self.records.put(paths::management_assignment(assignment.id), assignment),
            Step::Unassign(id) => Ok(Change::Delete(paths::management_assignment(*id))),
        }
    }
}
