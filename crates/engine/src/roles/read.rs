//! Reading role definitions and assignments, from memory.

use super::AssignmentFilter;
use super::set::{RoleSet, built_in};
use strongroom_model::RoleScope;
use strongroom_model::error::{Error, NotFound, Result};
use strongroom_model::role::{RoleAssignment, RoleDefinition};
use uuid::Uuid;

impl RoleSet {
    /// The assignments that a list at `scope` shows.
    pub(crate) fn list_assignments(&self, scope: &RoleScope, filter: AssignmentFilter) -> Vec<RoleAssignment> {
        let shown = |a: &&RoleAssignment| {
            let (above, below) = (a.scope.covers(scope), scope.covers(&a.scope));
            match filter {
                AssignmentFilter::All => above || below,
                AssignmentFilter::AtScope => above,
                AssignmentFilter::Principal(id) => a.principal_id == id && (above || below),
            }
        };
        self.assignments.values().filter(shown).cloned().collect()
    }

    /// The assignment of an id, when it stands at this scope.
    pub(crate) fn assignment_at(&self, scope: &RoleScope, id: Uuid) -> Result<RoleAssignment> {
        let found = self.assignments.get(&id).filter(|a| a.scope == *scope);
        found.cloned().ok_or(Error::NotFound(NotFound::RoleAssignment))
    }

    /// All definitions, the built-in ones first.
    pub(crate) fn list_definitions(&self) -> Vec<RoleDefinition> {
        built_in().chain(self.definitions.values().cloned()).collect()
    }
}
