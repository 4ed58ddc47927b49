//! Who may manage what: role assignments of the management plane. They are apart from the local RBAC of a managed HSM.

use super::change::{Beside, Step};
use super::resource::Editor;
use super::set::ManagementSet;
use crate::core::Core;
use crate::engine::Recorded;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use strongroom_model::error::{ManagementError, Result};
use strongroom_model::limits::MANAGEMENT_ASSIGNMENTS_MAX;
use strongroom_model::management::{ManagementAction, OWNER, Scope, built_in_role};
use strongroom_model::{Principal, Timestamp};
use uuid::Uuid;

/// Assignments that one commit removes beside what it is for.
const UNASSIGNED_AT_ONCE: usize = 32;

/// A role given to a principal at a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// A GUID chosen by the caller.
    pub id: Uuid,
    /// User, group, service principal or managed identity.
    pub principal_id: Uuid,
    /// Its kind, as the caller said.
    pub principal_type: Option<String>,
    /// The role, by its GUID.
    pub role_definition_id: Uuid,
    /// Where.
    pub scope: Scope,
    /// What the caller said about it.
    pub description: Option<String>,
    /// Who made it.
    pub created_by: Editor,
    /// When.
    pub created: Timestamp,
}

/// What a request says about an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignmentRequest {
    /// See [`Assignment`].
    pub principal_id: Uuid,
    /// See [`Assignment`].
    pub principal_type: Option<String>,
    /// See [`Assignment`].
    pub role_definition_id: Uuid,
    /// See [`Assignment`].
    pub description: Option<String>,
}

/// The right to one action of the management plane at one scope, for one caller; only
/// [`crate::Engine::authorise_management`] makes it.
#[derive(Clone, Debug)]
pub struct ManagementGrant {
    caller: Arc<Principal>,
    action: ManagementAction,
    scope: Scope,
}

impl ManagementGrant {
    /// The caller.
    pub fn caller(&self) -> &Arc<Principal> {
        &self.caller
    }

    /// The scope.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Refuses what this grant was not made for.
    pub(super) fn check(&self, action: ManagementAction, scope: &Scope) -> Result<()> {
        if self.action == action && self.scope.covers(scope) {
            Ok(())
        } else {
            Err(ManagementError::NotAuthorized { action, scope: scope.to_string() }.into())
        }
    }

    pub(super) fn editor(&self) -> Editor {
        Editor::of(&self.caller)
    }
}

impl ManagementSet {
    fn is_owner(&self, assignment: &Assignment) -> bool {
        assignment.role_definition_id == OWNER && assignment.scope.is_subscription()
    }

    /// Whether anybody owns the subscription.
    pub(super) fn has_owner(&self) -> bool {
        self.assignments.values().any(|assignment| self.is_owner(assignment))
    }
}

impl Core {
    /// See [`crate::Engine::authorise_management`].
    pub(crate) fn authorise_management(
        &self,
        caller: &Arc<Principal>,
        action: ManagementAction,
        scope: Scope,
    ) -> Result<ManagementGrant> {
        if self.management.set.load().allows(caller, action, &scope) {
            Ok(ManagementGrant { caller: Arc::clone(caller), action, scope })
        } else {
            Err(ManagementError::NotAuthorized { action, scope: scope.to_string() }.into())
        }
    }

    /// Gives a role; one that is there already is answered, and audited, without a change.
    pub(super) async fn put_assignment(
        &self,
        r: Recorded,
        scope: Scope,
        id: Uuid,
        by: Editor,
        asked: AssignmentRequest,
    ) -> Result<(Assignment, bool)> {
        if built_in_role(asked.role_definition_id).is_none() {
            return Err(ManagementError::RoleDefinitionNotFound.into());
        }
        let turn = self.management_turn().await?;
        let AssignmentRequest { principal_id, principal_type, role_definition_id, description } = asked;
        let same = |a: &Assignment| {
            (a.principal_id, a.role_definition_id, &a.scope) == (principal_id, role_definition_id, &scope)
        };
        let (assignment, steps) = match turn.set.assignments.get(&id) {
            Some(known) if same(known) => (known.clone(), Vec::new()),
            Some(_) => return Err(ManagementError::RoleAssignmentDiffers.into()),
            None if turn.set.assignments.values().any(same) => {
                return Err(ManagementError::RoleAssignmentExists.into());
            }
            None if turn.set.assignments.len() >= MANAGEMENT_ASSIGNMENTS_MAX => {
                return Err(ManagementError::LimitReached("role assignments").into());
            }
            None => {
                let created = self.now();
                let made = Assignment {
                    id,
                    principal_id,
                    principal_type,
                    role_definition_id,
                    scope,
                    description,
                    created_by: by,
                    created,
                };
                (made.clone(), vec![Step::Assign(made)])
            }
        };
        let new = !steps.is_empty();
        self.commit_management(&turn, &r, format!("roleAssignments/{id}"), &steps, Beside::default()).await?;
        Ok((assignment, new))
    }

    /// Takes a role away; `None` when it was not there. The last Owner of the subscription stays.
    pub(super) async fn remove_assignment(&self, r: Recorded, scope: Scope, id: Uuid) -> Result<Option<Assignment>> {
        let turn = self.management_turn().await?;
        let found = turn.set.assignments.get(&id).filter(|a| a.scope == scope).cloned();
        let mut steps = Vec::new();
        if let Some(assignment) = &found {
            let owners = turn.set.assignments.values().filter(|a| turn.set.is_owner(a)).count();
            if turn.set.is_owner(assignment) && owners == 1 {
                return Err(ManagementError::LastOwner.into());
            }
            steps.push(Step::Unassign(id));
        }
        self.commit_management(&turn, &r, format!("roleAssignments/{id}"), &steps, Beside::default()).await?;
        Ok(found)
    }

    /// The steps that remove what is assigned at a scope and below it: no later resource of the name inherits it.
    pub(super) fn unassign_below(&self, set: &ManagementSet, scope: &Scope) -> Vec<Step> {
        let below = set.assignments.values().filter(|a| scope.covers(&a.scope));
        below.map(|a| Step::Unassign(a.id)).take(UNASSIGNED_AT_ONCE).collect()
    }

    /// Removes assignments below a scope until those that are left fit into one commit.
    pub(super) async fn unassign_most_below(&self, r: &Recorded, scope: &Scope) -> Result<()> {
        loop {
            let turn = self.management_turn().await?;
            let steps = self.unassign_below(&turn.set, scope);
            if steps.len() < UNASSIGNED_AT_ONCE {
                return Ok(());
            }
            self.commit_management(&turn, r, format!("roleAssignments below {scope}"), &steps, Beside::default())
                .await?;
        }
    }
}
