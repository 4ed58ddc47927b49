//! What roles can lead to: no sequence of role calls brings a right that the roles held did not state, and one more role
//! never takes a right away.

use super::house::{ADMIN, House, caller, name, recorded};
use crate::Grant;
use crate::roles::{CreateRoleAssignment, SetRoleDefinition};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use strongroom_model::role::{BUILT_IN_ROLES, Permission};
use strongroom_model::{DataAction, Principal, RoleScope};
use uuid::Uuid;

const ALICE: Uuid = Uuid::from_u128(0xa11ce);
/// A custom role that everybody tries to give everything.
const CUSTOM: Uuid = Uuid::from_u128(0xc0575);
/// Calls of one sequence.
const DEPTH: u32 = 4;

fn scopes() -> [RoleScope; 3] {
    [RoleScope::Hsm, RoleScope::Keys, RoleScope::Key(name("k"))]
}

/// A right: an action at a scope.
type Right = (DataAction, usize);

fn rights(house: &House, who: &Arc<Principal>) -> BTreeSet<Right> {
    let all = DataAction::ALL.iter().flat_map(|action| (0..3).map(|scope| (*action, scope)));
    all.filter(|(action, scope)| house.engine.authorise(&house.pool, who, *action, scopes()[*scope].clone()).is_ok())
        .collect()
}

/// What a caller tries: to give a role at a scope, to make the custom role mean everything, to take its own roles away.
#[derive(Clone, Copy, Debug)]
enum Call {
    Assign(usize, usize),
    AssignCustom(usize),
    Define,
    Unassign(usize),
}

fn calls() -> Vec<Call> {
    let roles = (0..BUILT_IN_ROLES.len()).flat_map(|role| (0..3).map(move |scope| Call::Assign(role, scope)));
    let custom = (0..3).map(Call::AssignCustom).chain([Call::Define]).chain((0..3).map(Call::Unassign));
    roles.chain(custom).collect()
}

/// The right for a call at a scope, as a request would get it: at that very scope, or refused.
fn grant(house: &House, who: &Arc<Principal>, action: DataAction, scope: &RoleScope) -> Option<Grant> {
    house.engine.authorise(&house.pool, who, action, scope.clone()).ok()
}

/// Calls left, the caller's roles with their scopes, and whether the custom role is there.
type Known = (u32, Vec<(Uuid, String)>, bool);

struct Search<'h> {
    house: &'h House,
    who: Arc<Principal>,
    allowed: BTreeSet<Right>,
    made: u64,
    /// States seen with so many calls left: what follows was tried.
    seen: BTreeSet<Known>,
}

impl Search<'_> {
    /// Makes a call; whether it was taken, with what undoes it.
    async fn make(&mut self, call: Call, id: Uuid) -> Option<Undo> {
        self.made += 1;
        let (engine, who) = (&self.house.engine, &self.who);
        match call {
            Call::Assign(..) | Call::AssignCustom(_) => {
                let (role_definition_id, scope) = match call {
                    Call::Assign(role, scope) => (BUILT_IN_ROLES[role].id, scope),
                    Call::AssignCustom(scope) => (CUSTOM, scope),
                    Call::Define | Call::Unassign(_) => unreachable!(),
                };
                let scope = scopes()[scope].clone();
                let grant = grant(self.house, who, DataAction::RoleAssignmentsWrite, &scope)?;
                let asked = CreateRoleAssignment { principal_id: ALICE, role_definition_id, scope: scope.clone() };
                engine.create_role_assignment(&grant, recorded(), id, asked).await.ok()?;
                Some(Undo::Unassign(scope, id))
            }
            Call::Define => {
                let grant = grant(self.house, who, DataAction::RoleDefinitionsWrite, &RoleScope::Hsm)?;
                let everything = Permission { data_actions: DataAction::ALL.into(), not_data_actions: Vec::new() };
                let (role_name, description) = (None, "everything".into());
                let asked = SetRoleDefinition { role_name, description, permissions: vec![everything] };
                engine.set_role_definition(&grant, recorded(), CUSTOM, asked).await.ok()?;
                Some(Undo::Nothing)
            }
            // What takes rights away only opens nothing: it is tried, and the branch ends with it.
            Call::Unassign(scope) => {
                let scope = scopes()[scope].clone();
                let grant = grant(self.house, who, DataAction::RoleAssignmentsDelete, &scope)?;
                let missing = engine.delete_role_assignment(&grant, recorded(), scope, Uuid::from_u128(99)).await;
                assert!(missing.is_err());
                None
            }
        }
    }

    fn state(&self, left: u32) -> Known {
        let roles = self.house.pool.live.roles.read();
        let mine = roles.assignments.values().filter(|a| a.principal_id == ALICE);
        let mut mine: Vec<_> = mine.map(|a| (a.role_definition_id, a.scope.to_string())).collect();
        mine.sort();
        (left, mine, roles.definitions.contains_key(&CUSTOM))
    }

    async fn walk(&mut self, left: u32) {
        let state = self.state(left);
        if !self.seen.insert(state) {
            return;
        }
        for call in calls() {
            let id = Uuid::from_u128(1 << 100 | u128::from(self.made));
            let Some(undo) = self.make(call, id).await else { continue };
            let now = rights(self.house, &self.who);
            let beyond: Vec<_> = now.difference(&self.allowed).collect();
            assert!(beyond.is_empty(), "{call:?} led to {beyond:?}");
            if left > 1 {
                Box::pin(self.walk(left - 1)).await;
            }
            if let Undo::Unassign(scope, id) = undo {
                let admin = self.house.grant(DataAction::RoleAssignmentsDelete);
                self.house.engine.delete_role_assignment(&admin, recorded(), scope, id).await.unwrap();
            }
        }
    }
}

enum Undo {
    Unassign(RoleScope, Uuid),
    Nothing,
}

/// What a role at a scope can lead to: what it states, and where it may assign roles, everything at and below that scope.
fn closure(role: usize, scope: usize) -> BTreeSet<Right> {
    let actions = BUILT_IN_ROLES[role].data_actions;
    let assigns = actions.contains(&DataAction::RoleAssignmentsWrite);
    let all = DataAction::ALL.iter().flat_map(|action| (0..3).map(|at| (*action, at)));
    let covered = |at: usize| scopes()[scope].covers(&scopes()[at]);
    all.filter(|(action, at)| covered(*at) && (assigns || actions.contains(action))).collect()
}

#[tokio::test]
async fn no_sequence_of_role_calls_leads_beyond_what_a_role_states() {
    let house = House::new().await;
    let mut covered = 0_u64;
    for (role, row) in BUILT_IN_ROLES.iter().enumerate() {
        for scope in 0..3 {
            let id = Uuid::from_u128(7);
            house.assign(id, ALICE, row.id, scopes()[scope].clone()).await.unwrap();
            let allowed = closure(role, scope);
            let assigns = row.data_actions.contains(&DataAction::RoleAssignmentsWrite);
            let mut search = Search { house: &house, who: caller(ALICE, &[]), allowed, made: 0, seen: BTreeSet::new() };
            let stated = rights(&house, &search.who);
            assert!(stated.is_subset(&search.allowed));
            // Who may assign anything can have everything below its scope; the tree of what it can have is wide.
            let full = std::env::var("STRONGROOM_ROUNDS").is_ok_and(|rounds| rounds != "1");
            let depth = if !assigns {
                DEPTH
            } else if full {
                DEPTH - 1
            } else {
                DEPTH - 2
            };
            search.walk(depth).await;
            covered += (1..=depth).map(|d| (calls().len() as u64).pow(d)).sum::<u64>();
            let admin = house.grant(DataAction::RoleAssignmentsDelete);
            house.engine.delete_role_assignment(&admin, recorded(), scopes()[scope].clone(), id).await.unwrap();
        }
    }
    strongroom_counts::count("roles: sequences of calls that led nowhere", covered);
}

#[tokio::test]
async fn the_administrator_of_the_house_is_not_bound_so() {
    // The control: with every role at `/`, the search would find rights beyond what one role states.
    let house = House::new().await;
    let all = rights(&house, &caller(ADMIN, &[]));
    assert!(all.difference(&closure(4, 1)).count() > 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn one_more_role_never_takes_a_right_away(added in prop::collection::vec((0..BUILT_IN_ROLES.len(), 0..3_usize), 1..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = House::new().await;
            let who = caller(ALICE, &[]);
            let mut before = rights(&house, &who);
            for (number, (role, scope)) in added.into_iter().enumerate() {
                let id = Uuid::from_u128(1 << 100 | number as u128);
                // A role that is there already is refused, and changes nothing either.
                let _given = house.assign(id, ALICE, BUILT_IN_ROLES[role].id, scopes()[scope].clone()).await;
                let now = rights(&house, &who);
                assert!(before.is_subset(&now));
                before = now;
            }
        });
    }
}
