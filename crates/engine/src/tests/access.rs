//! Local RBAC.

use super::house::{ADMIN, House, caller, name, recorded};
use crate::PageRequest;
use crate::roles::set::RoleSet;
use crate::roles::{AssignmentFilter, SetRoleDefinition};
use proptest::prelude::*;
use std::sync::Arc;
use strongroom_model::error::{Conflict, Error, Forbidden, NotFound, Result};
use strongroom_model::role::{
    ADMINISTRATOR, BUILT_IN_ROLES, CRYPTO_USER, Permission, RoleAssignment, RoleDefinition, RoleType,
};
use strongroom_model::{DataAction, RoleScope};
use uuid::Uuid;

const ALICE: Uuid = Uuid::from_u128(0xa11ce);
const TEAM: Uuid = Uuid::from_u128(0x7ea);

fn key(text: &str) -> RoleScope {
    RoleScope::Key(name(text))
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n << 64)
}

impl House {
    async fn unassign(&self, scope: RoleScope, id: Uuid) -> Result<RoleAssignment> {
        let g = self.grant(DataAction::RoleAssignmentsDelete);
        self.engine.delete_role_assignment(&g, recorded(), scope, id).await
    }

    async fn define(&self, id: Uuid, allowed: &[DataAction], not: &[DataAction]) -> Result<RoleDefinition> {
        let permission = Permission { data_actions: allowed.into(), not_data_actions: not.into() };
        let asked = SetRoleDefinition { role_name: None, description: "test".into(), permissions: vec![permission] };
        self.engine.set_role_definition(&self.grant(DataAction::RoleDefinitionsWrite), recorded(), id, asked).await
    }

    async fn undefine(&self, id: Uuid) -> Result<RoleDefinition> {
        self.engine.delete_role_definition(&self.grant(DataAction::RoleDefinitionsDelete), recorded(), id).await
    }

    fn allowed(&self, who: Uuid, action: DataAction, scope: RoleScope) -> bool {
        self.may(who, action, scope).is_ok()
    }
}

#[tokio::test]
async fn roles_hold_below_their_scope_and_only_there() {
    let house = House::new().await;
    use DataAction::{KeysRead, Rng};
    assert!(!house.allowed(ALICE, KeysRead, key("a")));
    house.assign(id(1), ALICE, CRYPTO_USER, key("A")).await.unwrap();
    assert!(house.allowed(ALICE, KeysRead, key("a")));
    for (action, scope) in [(KeysRead, key("b")), (KeysRead, RoleScope::Keys), (Rng, RoleScope::Hsm)] {
        assert!(!house.allowed(ALICE, action, scope));
    }
    house.assign(id(2), TEAM, CRYPTO_USER, RoleScope::Keys).await.unwrap();
    let with_group = caller(ALICE, &[Uuid::nil(), TEAM]);
    let may = |action, scope| house.engine.authorise(&house.pool, &with_group, action, scope).is_ok();
    assert!(may(KeysRead, key("b")) && may(KeysRead, RoleScope::Keys) && !may(Rng, RoleScope::Hsm));
    let denied = house.may(ALICE, KeysRead, key("b")).err();
    assert_eq!(denied, Some(Error::AccessDenied { action: KeysRead, scope: key("b") }));
}

#[tokio::test]
async fn a_revoked_role_is_refused_at_once_and_after_a_restart() {
    let house = House::new().await;
    house.create("k").await.unwrap();
    house.assign(id(1), ALICE, CRYPTO_USER, key("k")).await.unwrap();
    for wrong in [RoleScope::Hsm, RoleScope::Keys, key("other")] {
        assert_eq!(house.unassign(wrong, id(1)).await.err(), Some(Error::NotFound(NotFound::RoleAssignment)));
    }
    let house = house.restart().await;
    assert!(house.allowed(ALICE, DataAction::KeysSign, key("k")));
    house.unassign(key("K"), id(1)).await.unwrap();
    assert!(!house.allowed(ALICE, DataAction::KeysSign, key("k")));
    let house = house.restart().await;
    assert!(!house.allowed(ALICE, DataAction::KeysSign, key("k")));
    assert_eq!(house.unassign(key("k"), id(1)).await.err(), Some(Error::NotFound(NotFound::RoleAssignment)));
}

#[tokio::test]
async fn an_assignment_is_made_once() {
    let house = House::new().await;
    let first = house.assign(id(1), ALICE, CRYPTO_USER, RoleScope::Keys).await.unwrap();
    assert_eq!(house.assign(id(1), ALICE, CRYPTO_USER, RoleScope::Keys).await.unwrap(), first);
    let differs = house.assign(id(1), TEAM, CRYPTO_USER, RoleScope::Keys).await.err();
    assert_eq!(differs, Some(Error::Conflict(Conflict::RoleAssignmentDiffers)));
    let exists = house.assign(id(2), ALICE, CRYPTO_USER, RoleScope::Keys).await.err();
    assert_eq!(exists, Some(Error::Conflict(Conflict::RoleAssignmentExists)));
    let unknown = house.assign(id(3), ALICE, id(99), RoleScope::Keys).await.err();
    assert_eq!(unknown, Some(Error::NotFound(NotFound::RoleDefinition)));
    let g = house.grant(DataAction::RoleAssignmentsRead);
    let got = house.engine.get_role_assignment(&g, RoleScope::Keys, id(1)).await;
    assert_eq!(got.unwrap(), first);
    let elsewhere = house.engine.get_role_assignment(&g, RoleScope::Hsm, id(1)).await;
    assert_eq!(elsewhere.err(), Some(Error::NotFound(NotFound::RoleAssignment)));
}

#[tokio::test]
async fn limits_of_assignments_and_definitions_hold() {
    let house = House::new().await;
    let exhausted = Some(Error::Forbidden(Forbidden::RolesExhausted));
    for n in 0..10 {
        house.assign(id(n + 1), id(n + 1), CRYPTO_USER, key("k")).await.unwrap();
    }
    assert_eq!(house.assign(id(11), id(11), CRYPTO_USER, key("K")).await.err(), exhausted);
    house.assign(id(12), id(12), CRYPTO_USER, key("l")).await.unwrap();
    // Three are the house's own.
    for n in 0..47 {
        let scope = if n % 2 == 0 { RoleScope::Hsm } else { RoleScope::Keys };
        house.assign(id(n + 100), id(n + 100), CRYPTO_USER, scope).await.unwrap();
    }
    assert_eq!(house.assign(id(200), id(200), CRYPTO_USER, RoleScope::Keys).await.err(), exhausted);
    for n in 0..50 {
        house.define(id(n + 1), &[DataAction::Rng], &[]).await.unwrap();
    }
    assert_eq!(house.define(id(51), &[DataAction::Rng], &[]).await.err(), exhausted);
    house.define(id(50), &[DataAction::KeysRead], &[]).await.unwrap();
}

#[tokio::test]
async fn custom_definitions_give_exactly_what_they_say() {
    let house = House::new().await;
    use DataAction::{KeysRead, KeysSign, Rng};
    let role = house.define(id(1), &[KeysRead, KeysSign], &[KeysSign]).await.unwrap();
    assert_eq!((role.role_name, role.role_type), (id(1).to_string(), RoleType::Custom));
    house.assign(id(2), ALICE, id(1), RoleScope::Hsm).await.unwrap();
    assert!(house.allowed(ALICE, KeysRead, key("a")) && !house.allowed(ALICE, KeysSign, key("a")));
    house.define(id(1), &[Rng], &[]).await.unwrap();
    assert!(house.allowed(ALICE, Rng, RoleScope::Hsm) && !house.allowed(ALICE, KeysRead, key("a")));
    house.undefine(id(1)).await.unwrap();
    assert!(!house.allowed(ALICE, Rng, RoleScope::Hsm));
    let g = house.grant(DataAction::RoleAssignmentsRead);
    let defunct = house.engine.get_role_assignment(&g, RoleScope::Hsm, id(2)).await.unwrap();
    assert_eq!(defunct.role_definition_id, id(1));
    assert_eq!(house.undefine(id(1)).await.err(), Some(Error::NotFound(NotFound::RoleDefinition)));
    for role in BUILT_IN_ROLES {
        let built_in = Some(Error::Forbidden(Forbidden::BuiltInRole));
        assert_eq!(house.define(role.id, &[Rng], &[]).await.err(), built_in);
        assert_eq!(house.undefine(role.id).await.err(), built_in);
    }
    let g = house.grant(DataAction::RoleDefinitionsRead);
    assert_eq!(house.engine.list_role_definitions(&g).await.unwrap().len(), BUILT_IN_ROLES.len());
    assert!(house.engine.get_role_definition(&g, ADMINISTRATOR).await.is_ok());
}

#[tokio::test]
async fn built_in_roles_give_what_their_rows_say() {
    let house = House::new().await;
    for (n, role) in (1_u128..).zip(BUILT_IN_ROLES) {
        house.assign(id(n), id(n), role.id, RoleScope::Hsm).await.unwrap();
        for action in DataAction::ALL {
            let allowed = house.allowed(id(n), *action, RoleScope::Hsm);
            assert_eq!(allowed, role.data_actions.contains(action), "{} {action:?}", role.name);
        }
    }
}

#[tokio::test]
async fn lists_look_up_and_down() {
    let house = House::new().await;
    house.assign(id(1), ALICE, CRYPTO_USER, key("a")).await.unwrap();
    house.assign(id(2), ALICE, CRYPTO_USER, key("b")).await.unwrap();
    house.assign(id(3), ALICE, CRYPTO_USER, RoleScope::Keys).await.unwrap();
    let g = house.grant(DataAction::RoleAssignmentsRead);
    let list = async |scope, filter| {
        let all = house.engine.list_role_assignments(&g, scope, filter, PageRequest::default()).await.unwrap().items;
        all.into_iter().filter(|a| a.principal_id == ALICE).count()
    };
    assert_eq!(list(key("a"), AssignmentFilter::All).await, 2);
    assert_eq!(list(RoleScope::Hsm, AssignmentFilter::All).await, 3);
    assert_eq!(list(RoleScope::Keys, AssignmentFilter::AtScope).await, 1);
    assert_eq!(list(key("b"), AssignmentFilter::Principal(ALICE)).await, 2);
    let of_admin = house
        .engine
        .list_role_assignments(&g, RoleScope::Hsm, AssignmentFilter::Principal(ADMIN), PageRequest::default())
        .await
        .map(|page| page.items);
    assert!(of_admin.unwrap().iter().all(|a| a.principal_id == ADMIN));
}

#[tokio::test]
async fn a_purge_takes_the_roles_at_the_key_with_it() {
    let house = House::new().await;
    house.create("k").await.unwrap();
    for n in 1..=10 {
        house.assign(id(n), id(n), CRYPTO_USER, key("K")).await.unwrap();
    }
    house.assign(id(11), ALICE, CRYPTO_USER, key("other")).await.unwrap();
    house.delete("k").await.unwrap();
    assert!(house.allowed(id(1), DataAction::KeysRead, key("k")));
    house.purge("k").await.unwrap();
    house.create("k").await.unwrap();
    let house = house.restart().await;
    assert!((1..=10).all(|n| !house.allowed(id(n), DataAction::KeysRead, key("k"))));
    assert!(house.allowed(ALICE, DataAction::KeysRead, key("other")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_administrator_stays_whatever_happens_at_once() {
    for round in 0..20 {
        let house = Arc::new(House::new().await);
        house.assign(id(1), ALICE, ADMINISTRATOR, RoleScope::Hsm).await.unwrap();
        house.assign(id(2), TEAM, ADMINISTRATOR, RoleScope::Keys).await.unwrap();
        let other = if round % 2 == 0 { Arc::clone(&house) } else { Arc::new(house.second_node().await) };
        let set = house.pool.live.roles.read().clone();
        let admins: Vec<Uuid> =
            set.assignments.values().filter(|a| RoleSet::is_administrator(a)).map(|a| a.id).collect();
        assert_eq!(admins.len(), 2);
        let (g, h) = (house.grant(DataAction::RoleAssignmentsDelete), other.grant(DataAction::RoleAssignmentsDelete));
        let (one, two) = (Arc::clone(&house), Arc::clone(&other));
        let (first, second) = (admins[0], admins[1]);
        let (a, b) = tokio::join!(
            tokio::spawn(async move { one.engine.delete_role_assignment(&g, recorded(), RoleScope::Hsm, first).await }),
            tokio::spawn(
                async move { two.engine.delete_role_assignment(&h, recorded(), RoleScope::Hsm, second).await }
            ),
        );
        let last = Some(Error::Forbidden(Forbidden::LastAdministrator));
        let outcomes = [a.unwrap().err(), b.unwrap().err()];
        assert!(outcomes.contains(&None) && outcomes.contains(&last), "{outcomes:?}");
        let set = crate::roles::change::load_roles(&house.core().records, &house.pool.live.paths).await.unwrap();
        assert_eq!(set.assignments.values().filter(|a| RoleSet::is_administrator(a)).count(), 1);
    }
}

fn assignments() -> impl Strategy<Value = Vec<RoleAssignment>> {
    let scope = prop_oneof![Just(RoleScope::Hsm), Just(RoleScope::Keys), Just(key("a")), Just(key("b"))];
    let one =
        (any::<u64>(), 0..3_u128, 0..BUILT_IN_ROLES.len(), scope).prop_map(|(n, who, role, scope)| RoleAssignment {
            id: Uuid::from_u128(u128::from(n)),
            principal_id: id(who),
            role_definition_id: BUILT_IN_ROLES[role].id,
            scope,
        });
    prop::collection::vec(one, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn one_more_assignment_never_takes_a_right_away(assignments in assignments()) {
        let set = |all: &[RoleAssignment]| {
            let all = all.iter().map(|a| (a.id, a.clone())).collect();
            RoleSet::new(strongroom_store::Revision(1), 1, Default::default(), all)
        };
        let (before, after) = (set(&assignments[1..]), set(&assignments));
        for who in 0..3 {
            for action in DataAction::ALL {
                for scope in [RoleScope::Hsm, RoleScope::Keys, key("a"), key("b"), key("c")] {
                    let had = before.allows([id(who)], *action, &scope);
                    let has = after.allows([id(who)], *action, &scope);
                    prop_assert!(!had || has);
                    // And the index says what the rules say.
                    let by_rule = assignments.iter().any(|a| {
                        let role = BUILT_IN_ROLES.iter().find(|r| r.id == a.role_definition_id).unwrap();
                        a.principal_id == id(who) && a.scope.covers(&scope) && role.data_actions.contains(action)
                    });
                    prop_assert_eq!(has, by_rule);
                }
            }
        }
    }
}
