//! The role set of a pool in memory: what authorisation looks up.

use std::collections::{BTreeMap, HashMap};
use strongroom_model::role::{ADMINISTRATOR, BUILT_IN_ROLES, RoleAssignment, RoleDefinition};
use strongroom_model::{DataAction, KeyName, RoleScope};
use strongroom_store::Revision;
use uuid::Uuid;

/// A set of actions, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Actions(u64);

const _: () = assert!(DataAction::ALL.len() <= 64, "a set of actions has 64 bits");

impl Actions {
    fn of(definition: &RoleDefinition) -> Self {
        let allowed = DataAction::ALL.iter().filter(|a| definition.allows(**a));
        Self(allowed.fold(0, |bits, a| bits | 1 << *a as u64))
    }

    const fn contains(self, action: DataAction) -> bool {
        self.0 & (1 << action as u64) != 0
    }

    fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What one principal may do, by scope.
#[derive(Clone, Debug, Default)]
struct Rights {
    at_hsm: Actions,
    at_keys: Actions,
    at_key: HashMap<KeyName, Actions>,
}

impl Rights {
    fn allow(&self, action: DataAction, scope: &RoleScope) -> bool {
        self.at_hsm.contains(action)
            || match scope {
                RoleScope::Hsm => false,
                RoleScope::Keys => self.at_keys.contains(action),
                RoleScope::Key(name) => {
                    self.at_keys.contains(action) || self.at_key.get(name).is_some_and(|a| a.contains(action))
                }
            }
    }
}

/// Custom definitions and all assignments of a pool at one revision, with an index by principal.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoleSet {
    /// Of the record that every change is conditional on.
    pub(crate) revision: Revision,
    /// Its generation.
    pub(crate) generation: u64,
    /// Custom definitions.
    pub(crate) definitions: BTreeMap<Uuid, RoleDefinition>,
    /// All assignments.
    pub(crate) assignments: BTreeMap<Uuid, RoleAssignment>,
    rights: HashMap<Uuid, Rights>,
}

impl RoleSet {
    /// Builds the index over definitions and assignments.
    pub(crate) fn new(
        revision: Revision,
        generation: u64,
        definitions: BTreeMap<Uuid, RoleDefinition>,
        assignments: BTreeMap<Uuid, RoleAssignment>,
    ) -> Self {
        let mut rights: HashMap<Uuid, Rights> = HashMap::new();
        let actions: HashMap<Uuid, Actions> =
            built_in().chain(definitions.values().cloned()).map(|d| (d.id, Actions::of(&d))).collect();
        for assignment in assignments.values() {
            // The assignments of a deleted definition stay, and give nothing.
            let Some(allowed) = actions.get(&assignment.role_definition_id) else { continue };
            let of_principal = rights.entry(assignment.principal_id).or_default();
            match &assignment.scope {
                RoleScope::Hsm => of_principal.at_hsm.add(*allowed),
                RoleScope::Keys => of_principal.at_keys.add(*allowed),
                RoleScope::Key(name) => of_principal.at_key.entry(name.clone()).or_default().add(*allowed),
            }
        }
        Self { revision, generation, definitions, assignments, rights }
    }

    /// Whether any of the identities may do `action` at `scope`.
    pub(crate) fn allows(
        &self,
        identities: impl IntoIterator<Item = Uuid>,
        action: DataAction,
        scope: &RoleScope,
    ) -> bool {
        identities.into_iter().any(|id| self.rights.get(&id).is_some_and(|r| r.allow(action, scope)))
    }

    /// The definition of an id, built in or custom.
    pub(crate) fn definition(&self, id: Uuid) -> Option<RoleDefinition> {
        self.definitions.get(&id).cloned().or_else(|| built_in().find(|d| d.id == id))
    }

    /// Whether this assignment makes its principal an administrator.
    pub(crate) fn is_administrator(assignment: &RoleAssignment) -> bool {
        assignment.role_definition_id == ADMINISTRATOR && assignment.scope == RoleScope::Hsm
    }

    /// Ids of the assignments at one key.
    pub(crate) fn at_key(&self, name: &KeyName) -> Vec<Uuid> {
        let here = |a: &&RoleAssignment| matches!(&a.scope, RoleScope::Key(n) if n == name);
        self.assignments.values().filter(here).map(|a| a.id).collect()
    }
}

/// The built-in definitions.
pub(crate) fn built_in() -> impl Iterator<Item = RoleDefinition> {
    BUILT_IN_ROLES.iter().map(strongroom_model::role::BuiltInRole::definition)
}

/// Whether `id` is a built-in definition's.
pub(crate) fn is_built_in(id: Uuid) -> bool {
    BUILT_IN_ROLES.iter().any(|r| r.id == id)
}
