//! Changes of a role set, each conditional on one record, so that no two of them together remove the last administrator.

use super::set::{RoleSet, Step, is_built_in};
use super::{CreateRoleAssignment, SetRoleDefinition};
use crate::commit::{ATTEMPTS, Committed, HeadChange, Proof};
use crate::core::{Core, finish};
use crate::engine::Recorded;
use crate::pool::Pool;
use crate::records::paths::PoolPaths;
use crate::records::shapes::{AssignmentRecord, DefinitionRecord, RolesRecord};
use crate::records::{Records, random_id, store_error};
use strongroom_model::error::{BadParameter, Conflict, Error, Forbidden, Internal, NotFound, Result};
use strongroom_model::limits::{
    ROLE_ASSIGNMENTS_AT_HSM_MAX, ROLE_ASSIGNMENTS_AT_KEY_MAX, ROLE_DEFINITIONS_MAX, ROLE_TEXT_MAX,
};
use strongroom_model::role::{RoleAssignment, RoleDefinition, RoleType};
use strongroom_model::{KeyName, RoleScope};
use strongroom_store::{Change, Condition};
use uuid::Uuid;

/// What a change does to the set it saw, and what its caller hears.
struct Plan<T> {
    answer: T,
    step: Option<Step>,
}

/// Reads the role set of a pool.
pub(crate) async fn load_roles(records: &Records, paths: &PoolPaths) -> Result<RoleSet> {
    let snapshot = records.store.snapshot().await.map_err(store_error)?;
    let record = records.get_from::<RolesRecord>(&*snapshot, &paths.roles()).await?;
    let record = record.ok_or(Error::Internal(Internal::CorruptRecord))?;
    let definitions = records.scan_all::<DefinitionRecord>(&*snapshot, &paths.definitions()).await?;
    let assignments = records.scan_all::<AssignmentRecord>(&*snapshot, &paths.assignments()).await?;
    Ok(RoleSet::new(
        record.revision,
        record.value.generation,
        definitions.into_iter().map(|d| (d.value.0.id, d.value.0)).collect(),
        assignments.into_iter().map(|a| (a.value.0.id, a.value.0)).collect(),
    ))
}

impl Core {
    /// The conditions and changes of a commit that takes these steps, and its commit id.
    fn role_commit(&self, pool: &Pool, set: &RoleSet, steps: &[Step]) -> Result<(Condition, Vec<Change>, [u8; 16])> {
        let paths = &pool.live.paths;
        let record = RolesRecord { generation: set.generation.saturating_add(1), commit: random_id() };
        let mut changes = vec![self.records.put(paths.roles(), &record)?];
        for step in steps {
            changes.push(match step {
                Step::Assign(a) => self.records.put(paths.assignment(a.id), &AssignmentRecord(a.clone()))?,
                Step::Unassign(id) => Change::Delete(paths.assignment(*id)),
                Step::Define(d) => self.records.put(paths.definition(d.id), &DefinitionRecord(d.clone()))?,
                Step::Undefine(id) => Change::Delete(paths.definition(*id)),
            });
        }
        Ok((Condition::Unchanged(paths.roles(), set.revision), changes, record.commit))
    }

    /// Brings the set in memory to what a commit left in the store. Where that cannot be read nobody is authorised until it
    /// can: the commit may have taken a role away.
    async fn take_over(&self, pool: &Pool, steps: &[Step], outcome: &Result<Committed>) -> Result<()> {
        match outcome {
            Ok(Committed::At(revision)) => pool.live.roles.take(steps, *revision),
            Ok(Committed::Settled | Committed::Lost) | Err(_) => {
                pool.live.doubt_roles();
                if let Err(error) = self.refresh_roles(pool).await {
                    self.roles_doubted.notify_one();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn change_roles<T>(
        &self,
        pool: &Pool,
        r: &Recorded,
        object: &str,
        plan: impl Fn(&RoleSet) -> Result<Plan<T>>,
    ) -> Result<T> {
        self.check_changes_allowed()?;
        let _turn = pool.live.roles_turn.lock().await;
        for _ in 0..ATTEMPTS {
            let (answer, steps, (condition, changes, commit)) = {
                let set = pool.live.roles.read();
                let Plan { answer, step } = plan(&set)?;
                let steps: Vec<Step> = step.into_iter().collect();
                let commit = self.role_commit(pool, &set, &steps)?;
                (answer, steps, commit)
            };
            let (path, audit) = (pool.live.paths.roles(), finish(r, object.to_owned()));
            let outcome = self.commit_audited(vec![condition], changes, audit, Proof::Roles(&path, commit)).await;
            self.take_over(pool, &steps, &outcome).await?;
            if outcome? != Committed::Lost {
                return Ok(answer);
            }
        }
        Err(Error::Conflict(Conflict::Concurrent))
    }

    /// Reads the role set again when it is not the one in memory.
    pub(crate) async fn refresh_roles(&self, pool: &Pool) -> Result<()> {
        let doubts = pool.live.roles_doubts();
        let record = self.records.get::<RolesRecord>(&pool.live.paths.roles()).await?;
        let known = pool.live.roles.read().revision;
        if record.is_none_or(|record| record.revision != known) {
            pool.live.roles.replace(load_roles(&self.records, &pool.live.paths).await?);
        }
        pool.live.settle_roles(doubts);
        Ok(())
    }

    /// Commits the purge of a key together with the removal of the assignments at its scope; `false` when it was lost.
    ///
    /// Where there are none, the commit only asks that the role set still be the one that was looked at, without its turn:
    /// purges of many keys share the store's syncs instead of waiting for each other.
    pub(crate) async fn commit_with_assignments_removed(
        &self,
        pool: &Pool,
        name: &KeyName,
        change: HeadChange<'_>,
    ) -> Result<bool> {
        let free = {
            let set = pool.live.roles.read();
            set.at_key(name).is_empty().then_some(set.revision)
        };
        if let Some(revision) = free {
            let mut change = change.clone();
            change.conditions.push(Condition::Unchanged(pool.live.paths.roles(), revision));
            if self.commit_key(change).await? != Committed::Lost {
                return Ok(true);
            }
        }
        let _turn = pool.live.roles_turn.lock().await;
        if free.is_some() {
            self.refresh_roles(pool).await?;
        }
        let mut change = change;
        let steps: Vec<Step> = {
            let set = pool.live.roles.read();
            let steps: Vec<Step> = set.at_key(name).into_iter().map(Step::Unassign).collect();
            if steps.is_empty() {
                change.conditions.push(Condition::Unchanged(pool.live.paths.roles(), set.revision));
            } else {
                let (condition, changes, _) = self.role_commit(pool, &set, &steps)?;
                change.conditions.push(condition);
                change.changes.extend(changes);
            }
            steps
        };
        let outcome = self.commit_key(change).await;
        if !steps.is_empty() {
            self.take_over(pool, &steps, &outcome).await?;
        }
        Ok(outcome? != Committed::Lost)
    }

    /// See [`crate::Engine::create_role_assignment`].
    pub(crate) async fn create_role_assignment(
        &self,
        pool: &Pool,
        r: Recorded,
        id: Uuid,
        asked: CreateRoleAssignment,
    ) -> Result<RoleAssignment> {
        let CreateRoleAssignment { principal_id, role_definition_id, scope } = asked;
        let wanted = RoleAssignment { id, principal_id, role_definition_id, scope };
        self.change_roles(pool, &r, &format!("roleAssignments/{id}"), |set| plan_assignment(set, &wanted)).await
    }

    /// See [`crate::Engine::delete_role_assignment`].
    pub(crate) async fn delete_role_assignment(
        &self,
        pool: &Pool,
        r: Recorded,
        scope: RoleScope,
        id: Uuid,
    ) -> Result<RoleAssignment> {
        self.change_roles(pool, &r, &format!("roleAssignments/{id}"), |set| {
            let found = set.assignments.get(&id).filter(|a| a.scope == scope);
            let found = found.ok_or(Error::NotFound(NotFound::RoleAssignment))?;
            if RoleSet::is_administrator(found) && set.administrators() == 1 {
                return Err(Error::Forbidden(Forbidden::LastAdministrator));
            }
            Ok(Plan { answer: found.clone(), step: Some(Step::Unassign(id)) })
        })
        .await
    }

    /// See [`crate::Engine::set_role_definition`].
    pub(crate) async fn set_role_definition(
        &self,
        pool: &Pool,
        r: Recorded,
        id: Uuid,
        asked: SetRoleDefinition,
    ) -> Result<RoleDefinition> {
        let definition = RoleDefinition {
            id,
            role_name: asked.role_name.unwrap_or_else(|| id.to_string()),
            description: asked.description,
            role_type: RoleType::Custom,
            permissions: asked.permissions,
        };
        for (parameter, text) in [("roleName", &definition.role_name), ("description", &definition.description)] {
            if text.chars().count() > ROLE_TEXT_MAX {
                return Err(Error::BadParameter(BadParameter::Length { parameter, min: 0, max: ROLE_TEXT_MAX }));
            }
        }
        self.change_roles(pool, &r, &format!("roleDefinitions/{id}"), |set| {
            if is_built_in(id) {
                return Err(Error::Forbidden(Forbidden::BuiltInRole));
            }
            if !set.definitions.contains_key(&id) && set.definitions.len() >= ROLE_DEFINITIONS_MAX {
                return Err(Error::Forbidden(Forbidden::RolesExhausted));
            }
            Ok(Plan { answer: definition.clone(), step: Some(Step::Define(definition.clone())) })
        })
        .await
    }

    /// See [`crate::Engine::delete_role_definition`].
    pub(crate) async fn delete_role_definition(&self, pool: &Pool, r: Recorded, id: Uuid) -> Result<RoleDefinition> {
        self.change_roles(pool, &r, &format!("roleDefinitions/{id}"), |set| {
            if is_built_in(id) {
                return Err(Error::Forbidden(Forbidden::BuiltInRole));
            }
            let found = set.definitions.get(&id).ok_or(Error::NotFound(NotFound::RoleDefinition))?;
            Ok(Plan { answer: found.clone(), step: Some(Step::Undefine(id)) })
        })
        .await
    }
}

/// An assignment that is there already is answered, and audited, without a change.
fn plan_assignment(set: &RoleSet, wanted: &RoleAssignment) -> Result<Plan<RoleAssignment>> {
    if set.definition(wanted.role_definition_id).is_none() {
        return Err(Error::NotFound(NotFound::RoleDefinition));
    }
    if let Some(same_id) = set.assignments.get(&wanted.id) {
        if same_id != wanted {
            return Err(Error::Conflict(Conflict::RoleAssignmentDiffers));
        }
        return Ok(Plan { answer: same_id.clone(), step: None });
    }
    if set.has_same_right(wanted) {
        return Err(Error::Conflict(Conflict::RoleAssignmentExists));
    }
    let (count, max) = match &wanted.scope {
        RoleScope::Key(name) => (set.at_key(name).len(), ROLE_ASSIGNMENTS_AT_KEY_MAX),
        RoleScope::Hsm | RoleScope::Keys => (set.wide(), ROLE_ASSIGNMENTS_AT_HSM_MAX),
    };
    if count >= max {
        return Err(Error::Forbidden(Forbidden::RolesExhausted));
    }
    Ok(Plan { answer: wanted.clone(), step: Some(Step::Assign(wanted.clone())) })
}
