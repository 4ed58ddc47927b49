//! The role set of a pool in memory: what authorisation looks up.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
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
    fn is_empty(&self) -> bool {
        (self.at_hsm, self.at_keys) == (Actions::default(), Actions::default()) && self.at_key.is_empty()
    }

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

/// Custom definitions and all assignments of a pool at one revision, indexed so that neither a check nor a change of one
/// assignment costs more when there are more of them.
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
    /// What each definition allows, the built-in ones too.
    actions: HashMap<Uuid, Actions>,
    /// Ids of the assignments at `/` and `/keys`.
    wide: BTreeSet<Uuid>,
    /// Ids of the assignments at one key.
    at_key: HashMap<KeyName, BTreeSet<Uuid>>,
    rights: HashMap<Uuid, Rights>,
}

/// One step of a change.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Adds an assignment.
    Assign(RoleAssignment),
    /// Takes one away.
    Unassign(Uuid),
    /// Adds or changes a custom definition.
    Define(RoleDefinition),
    /// Removes one; its assignments stay, and give nothing.
    Undefine(Uuid),
}

impl RoleSet {
    /// Builds the indexes over definitions and assignments.
    pub(crate) fn new(
        revision: Revision,
        generation: u64,
        definitions: BTreeMap<Uuid, RoleDefinition>,
        assignments: BTreeMap<Uuid, RoleAssignment>,
    ) -> Self {
        let actions = built_in().chain(definitions.values().cloned()).map(|d| (d.id, Actions::of(&d))).collect();
        let mut set = Self { revision, generation, definitions, actions, ..Self::default() };
        for assignment in assignments.into_values() {
            set.assign(assignment);
        }
        set
    }

    /// Takes steps that were committed at `revision`.
    pub(crate) fn take(&mut self, steps: &[Step], revision: Revision) {
        self.revision = revision;
        self.generation = self.generation.saturating_add(1);
        for step in steps {
            match step {
                Step::Assign(assignment) => self.assign(assignment.clone()),
                Step::Unassign(id) => self.unassign(*id),
                Step::Define(definition) => {
                    self.actions.insert(definition.id, Actions::of(definition));
                    self.definitions.insert(definition.id, definition.clone());
                    self.weigh_all_of(definition.id);
                }
                Step::Undefine(id) => {
                    self.actions.remove(id);
                    self.definitions.remove(id);
                    self.weigh_all_of(*id);
                }
            }
        }
    }

    fn assign(&mut self, assignment: RoleAssignment) {
        let (principal, scope) = (assignment.principal_id, assignment.scope.clone());
        match &scope {
            RoleScope::Hsm | RoleScope::Keys => self.wide.insert(assignment.id),
            RoleScope::Key(name) => self.at_key.entry(name.clone()).or_default().insert(assignment.id),
        };
        self.assignments.insert(assignment.id, assignment);
        self.weigh(principal, &scope);
    }

    fn unassign(&mut self, id: Uuid) {
        let Some(gone) = self.assignments.remove(&id) else { return };
        self.wide.remove(&id);
        if let RoleScope::Key(name) = &gone.scope
            && let Some(ids) = self.at_key.get_mut(name)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.at_key.remove(name);
            }
        }
        self.weigh(gone.principal_id, &gone.scope);
    }

    /// The assignments of exactly this scope.
    fn at(&self, scope: &RoleScope) -> impl Iterator<Item = &RoleAssignment> {
        let ids = match scope {
            RoleScope::Hsm | RoleScope::Keys => Some(&self.wide),
            RoleScope::Key(name) => self.at_key.get(name),
        };
        let found = ids.into_iter().flatten().filter_map(|id| self.assignments.get(id));
        found.filter(move |a| a.scope == *scope)
    }

    /// Adds up what one principal may do at one scope.
    fn weigh(&mut self, principal: Uuid, scope: &RoleScope) {
        let mut sum = Actions::default();
        for assignment in self.at(scope).filter(|a| a.principal_id == principal) {
            // The assignments of a deleted definition stay, and give nothing.
            sum.add(self.actions.get(&assignment.role_definition_id).copied().unwrap_or_default());
        }
        let of_principal = self.rights.entry(principal).or_default();
        match scope {
            RoleScope::Hsm => of_principal.at_hsm = sum,
            RoleScope::Keys => of_principal.at_keys = sum,
            RoleScope::Key(name) if sum == Actions::default() => drop(of_principal.at_key.remove(name)),
            RoleScope::Key(name) => drop(of_principal.at_key.insert(name.clone(), sum)),
        }
        if of_principal.is_empty() {
            self.rights.remove(&principal);
        }
    }

    /// Adds up anew wherever a definition is assigned.
    fn weigh_all_of(&mut self, definition: Uuid) {
        let assigned = self.assignments.values().filter(|a| a.role_definition_id == definition);
        let places: Vec<(Uuid, RoleScope)> = assigned.map(|a| (a.principal_id, a.scope.clone())).collect();
        for (principal, scope) in places {
            self.weigh(principal, &scope);
        }
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

    /// How many assignments make somebody an administrator.
    pub(crate) fn administrators(&self) -> usize {
        self.at(&RoleScope::Hsm).filter(|a| Self::is_administrator(a)).count()
    }

    /// How many assignments stand at `/` and `/keys` together.
    pub(crate) fn wide(&self) -> usize {
        self.wide.len()
    }

    /// Whether this right was given by an assignment already.
    pub(crate) fn has_same_right(&self, wanted: &RoleAssignment) -> bool {
        let right = |a: &RoleAssignment| (a.principal_id, a.role_definition_id);
        self.at(&wanted.scope).any(|a| right(a) == right(wanted))
    }

    /// Ids of the assignments at one key.
    pub(crate) fn at_key(&self, name: &KeyName) -> Vec<Uuid> {
        self.at_key.get(name).into_iter().flatten().copied().collect()
    }
}

/// The role set that requests look at while it changes.
pub(crate) struct Roles(RwLock<RoleSet>);

impl Roles {
    /// A set to look at.
    pub(crate) fn new(set: RoleSet) -> Self {
        Self(RwLock::new(set))
    }

    /// The set; not to be held while anything is waited for.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, RoleSet> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a set that was read from the store in its place, unless a later one is there already.
    pub(crate) fn replace(&self, set: RoleSet) {
        let mut present = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if present.revision <= set.revision {
            *present = set;
        }
    }

    /// Takes steps that were committed at `revision`, unless a set that has them was read meanwhile.
    pub(crate) fn take(&self, steps: &[Step], revision: Revision) {
        let mut present = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if present.revision < revision {
            present.take(steps, revision);
        }
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
