//! Reading role definitions and assignments, from memory.

use super::set::{RoleSet, built_in};
use super::{ASSIGNMENTS_PAGE_MAX, AssignmentFilter};
use crate::engine::{Page, PageRequest};
use std::ops::Bound;
use strongroom_model::RoleScope;
use strongroom_model::error::{BadParameter, Error, NotFound, Result};
use strongroom_model::role::{RoleAssignment, RoleDefinition};
use uuid::Uuid;

impl RoleSet {
    /// The part of the list at `scope` that a request asks for; a token is the last id of the part before.
    pub(crate) fn list_assignments(
        &self,
        scope: &RoleScope,
        filter: AssignmentFilter,
        request: &PageRequest,
    ) -> Result<Page<RoleAssignment>> {
        let shown = |a: &&RoleAssignment| {
            let (above, below) = (a.scope.covers(scope), scope.covers(&a.scope));
            match filter {
                AssignmentFilter::All => above || below,
                AssignmentFilter::AtScope => above,
                AssignmentFilter::Principal(id) => a.principal_id == id && (above || below),
            }
        };
        let foreign = Error::BadParameter(BadParameter::SkipToken);
        let after = request.after.as_deref().map(|token| Uuid::try_parse(token).map_err(|_| foreign));
        let from = after.transpose()?.map_or(Bound::Unbounded, Bound::Excluded);
        let size = if request.size == 0 { ASSIGNMENTS_PAGE_MAX } else { request.size.min(ASSIGNMENTS_PAGE_MAX) };
        let rest = self.assignments.range((from, Bound::Unbounded)).map(|(_, assignment)| assignment);
        let mut items: Vec<RoleAssignment> = rest.filter(shown).take(size + 1).cloned().collect();
        let more = items.len() > size;
        items.truncate(size);
        Ok(Page { next: items.last().filter(|_| more).map(|last| last.id.simple().to_string()), items })
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
