//! The management plane: resources, their life, and who may manage them.

use super::house::{ADMIN, Fault, House, START, caller, ec, name, recorded, request};
use crate::PoolState;
use crate::management::{
    AssignmentRequest, CreateMode, Group, GroupRequest, HsmRequest, ManagedHsm, ManagementGrant, ManagementSettings,
    PurgeStatus, ResourceRequest, Sku, VaultRequest,
};
use std::sync::Arc;
use strongroom_model::clock::DAY;
use strongroom_model::error::{Error, ManagementError, Result};
use strongroom_model::management::{
    BUILT_IN_ROLES, GroupName, Location, ManagementAction as Action, OWNER, ResourceKind, Scope,
};
use strongroom_model::{DataAction, PoolName, RoleScope};
use uuid::Uuid;

const OWNED_BY: Uuid = Uuid::from_u128(0x0e);
const SUBSCRIPTION: Uuid = Uuid::from_u128(0x5b);
const READER: Uuid = uuid::uuid!("acdd72a7-3385-48ef-bd42-f606fba81ae7");

fn settings() -> ManagementSettings {
    ManagementSettings {
        subscription_id: SUBSCRIPTION,
        subscription_name: "test".into(),
        tenant_id: Uuid::nil(),
        location: Location::parse("here").unwrap(),
        owners: vec![OWNED_BY],
        group: GroupName::parse("strongroom").unwrap(),
        initial_state: PoolState::Activated,
    }
}

fn root() -> Scope {
    Scope::subscription(SUBSCRIPTION)
}

fn group() -> GroupName {
    GroupName::parse("Rg1").unwrap()
}

fn pool(text: &str) -> PoolName {
    PoolName::parse(text).unwrap()
}

fn hsm() -> HsmRequest {
    HsmRequest {
        common: ResourceRequest {
            location: Some(Location::parse("here").unwrap()),
            sku: Some(Sku { family: "B".into(), name: "Standard_B1".into() }),
            retention_days: Some(7),
            ..ResourceRequest::default()
        },
        tenant_id: None,
        administrators: Some(vec![ADMIN]),
    }
}

fn recover() -> HsmRequest {
    HsmRequest { common: ResourceRequest { mode: CreateMode::Recover, ..ResourceRequest::default() }, ..hsm() }
        .without_retention()
}

impl HsmRequest {
    fn without_retention(mut self) -> Self {
        self.common.retention_days = None;
        self
    }
}

fn reason(error: Error) -> ManagementError {
    match error {
        Error::Management(reason) => *reason,
        other => panic!("{other:?}"),
    }
}

impl House {
    async fn managed() -> Self {
        let house = Self::new().await;
        house.manage().await;
        house.put_group(&group()).await.unwrap();
        house
    }

    async fn manage(&self) {
        self.engine.load_management(settings()).await.unwrap();
        self.engine.settle_management(&[request().name], &recorded()).await.unwrap();
    }

    /// A new engine on the same store, as after a crash.
    async fn managed_again(self) -> Self {
        let house = self.restart().await;
        house.manage().await;
        house
    }

    fn as_(&self, who: Uuid, action: Action, scope: Scope) -> Result<ManagementGrant> {
        self.engine.authorise_management(&caller(who, &[]), action, scope)
    }

    fn own(&self, action: Action) -> ManagementGrant {
        self.as_(OWNED_BY, action, root()).unwrap()
    }

    async fn put_group(&self, name: &GroupName) -> Result<(Group, bool)> {
        let asked = GroupRequest { location: Some(Location::parse("here").unwrap()), tags: None };
        self.engine.put_resource_group(&self.own(Action::GroupsWrite), recorded(), name.clone(), asked).await
    }

    async fn put_hsm(&self, name: &str, asked: HsmRequest) -> Result<(ManagedHsm, bool)> {
        let g = self.own(Action::ManagedHsmsWrite);
        self.engine.put_managed_hsm(&g, recorded(), group(), pool(name), asked).await
    }

    async fn delete_hsm(&self, name: &str) -> Result<()> {
        let g = self.own(Action::ManagedHsmsDelete);
        self.engine.delete_managed_hsm(&g, recorded(), group(), pool(name)).await
    }

    async fn purge_hsm(&self, name: &str) -> Result<Uuid> {
        let g = self.own(Action::DeletedManagedHsmPurge);
        self.engine.purge_resource(&g, recorded(), ResourceKind::ManagedHsm, pool(name)).await
    }

    async fn assign_at(&self, g: &ManagementGrant, id: Uuid, role: Uuid) -> Result<bool> {
        let asked =
            AssignmentRequest { principal_id: id, principal_type: None, role_definition_id: role, description: None };
        Ok(self.engine.put_management_assignment(g, recorded(), Uuid::new_v4(), asked).await?.1)
    }

    /// Makes a key in an HSM as its administrator, who first gives itself the role.
    async fn key_in(&self, hsm: &str, key: &str) -> Result<()> {
        let pool = self.engine.opened_pool(&pool(hsm)).await?.expect("open");
        let me = caller(ADMIN, &[]);
        let g = self.engine.authorise(&pool, &me, DataAction::RoleAssignmentsWrite, RoleScope::Hsm)?;
        let asked = crate::roles::CreateRoleAssignment {
            principal_id: ADMIN,
            role_definition_id: strongroom_model::role::CRYPTO_USER,
            scope: RoleScope::Hsm,
        };
        self.engine.create_role_assignment(&g, recorded(), Uuid::from_u128(77), asked).await?;
        let g = self.engine.authorise(&pool, &me, DataAction::KeysCreate, RoleScope::Hsm)?;
        self.engine.create_key(&g, recorded(), name(key), ec()).await.map(|_| ())
    }

    async fn has_key(&self, hsm: &str, key: &str) -> bool {
        let Some(pool) = self.engine.opened_pool(&pool(hsm)).await.unwrap() else { return false };
        match self.engine.authorise(&pool, &caller(ADMIN, &[]), DataAction::KeysRead, RoleScope::Hsm) {
            Ok(g) => self.engine.get_key(&g, &name(key), None).await.is_ok(),
            // Nobody gave itself the role there.
            Err(_) => false,
        }
    }

    /// Records below a pool.
    async fn records_of(&self, hsm: &ManagedHsm) -> usize {
        let id = hsm.pool.0.simple().to_string();
        self.dump().await.iter().filter(|e| String::from_utf8_lossy(&e.path).contains(&id)).count()
    }
}

#[tokio::test]
async fn a_managed_hsm_is_made_deleted_recovered_and_purged() {
    let house = House::managed().await;
    let (made, new) = house.put_hsm("Payments", hsm()).await.unwrap();
    assert!(new && made.resource.name.as_str() == "payments" && made.administrators == [ADMIN]);
    house.key_in("payments", "k").await.unwrap();
    assert!(!house.put_hsm("payments", hsm()).await.unwrap().1);
    // After a start its partition comes up when somebody wants it.
    let house = house.managed_again().await;
    assert!(house.engine.pool(&pool("payments")).is_none() && house.engine.has_pool(&pool("payments")));
    assert!(house.has_key("payments", "k").await);
    assert!(house.engine.pool(&pool("payments")).is_some());

    house.delete_hsm("payments").await.unwrap();
    assert!(!house.engine.has_pool(&pool("payments")) && !house.has_key("payments", "k").await);
    assert!(matches!(
        reason(house.delete_hsm("payments").await.unwrap_err()),
        ManagementError::ResourceNotFound { .. }
    ));
    assert_eq!(
        reason(house.put_hsm("payments", hsm()).await.unwrap_err()),
        ManagementError::NameDeleted(ResourceKind::ManagedHsm, "payments".into())
    );
    let house = house.managed_again().await;
    assert!(!house.has_key("payments", "k").await);
    let (back, new) = house.put_hsm("payments", recover()).await.unwrap();
    assert!(!new && back.pool == made.pool && back.resource.deleted.is_none());
    assert!(house.has_key("payments", "k").await);

    house.delete_hsm("payments").await.unwrap();
    let id = house.purge_hsm("payments").await.unwrap();
    let results = house.own(Action::ManagedHsmResultsRead);
    let status = house.engine.purge_status(&results, ResourceKind::ManagedHsm, id).await.unwrap();
    assert_eq!(status, Some(PurgeStatus::UnderWay));
    house.core().collect_purged().await.unwrap();
    let status = house.engine.purge_status(&results, ResourceKind::ManagedHsm, id).await.unwrap();
    assert_eq!((status, house.records_of(&made).await), (Some(PurgeStatus::Done), 1));
    assert!(house.put_hsm("payments", recover()).await.is_err());
    let (again, new) = house.put_hsm("payments", hsm()).await.unwrap();
    assert!(new && again.pool != made.pool && !house.has_key("payments", "k").await);
}

#[tokio::test]
async fn what_is_fixed_stays_and_bad_requests_change_nothing() {
    let house = House::managed().await;
    house.put_hsm("one", hsm()).await.unwrap();
    let change = |f: &dyn Fn(&mut HsmRequest)| {
        let mut asked = hsm();
        f(&mut asked);
        asked
    };
    for (asked, wanted) in [
        (change(&|r| r.common.retention_days = Some(8)), ManagementError::Immutable("softDeleteRetentionInDays")),
        (change(&|r| r.administrators = Some(vec![OWNED_BY])), ManagementError::Immutable("initialAdminObjectIds")),
        (
            change(&|r| r.common.location = Some(Location::parse("there").unwrap())),
            ManagementError::LocationDiffers("here".into()),
        ),
    ] {
        assert_eq!(reason(house.put_hsm("one", asked).await.unwrap_err()), wanted);
    }
    for asked in [
        change(&|r| r.common.soft_delete = Some(false)),
        change(&|r| r.common.retention_days = Some(91)),
        change(&|r| r.common.sku = Some(Sku { family: "A".into(), name: "standard".into() })),
        change(&|r| r.tenant_id = Some(Uuid::from_u128(9))),
        change(&|r| r.administrators = Some(Vec::new())),
        change(&|r| r.administrators = None),
        change(&|r| r.common.location = None),
        change(&|r| r.common.sku = None),
    ] {
        assert!(house.put_hsm("two", asked).await.is_err());
    }
    assert!(!house.engine.has_pool(&pool("two")));
    for taken in ["system", "vaults"] {
        assert!(matches!(reason(house.put_hsm(taken, hsm()).await.unwrap_err()), ManagementError::NameTaken(..)));
    }
    let elsewhere = GroupName::parse("nowhere").unwrap();
    let g = house.own(Action::ManagedHsmsWrite);
    let lost = house.engine.put_managed_hsm(&g, recorded(), elsewhere, pool("three"), hsm()).await;
    assert_eq!(reason(lost.unwrap_err()), ManagementError::GroupNotFound("nowhere".into()));
    // Purge protection goes on, reaches the open pool at once, and stays.
    let on = change(&|r| r.common.purge_protection = Some(true));
    house.put_hsm("one", on).await.unwrap();
    assert!(house.engine.opened_pool(&pool("one")).await.unwrap().unwrap().purge_protection());
    let off = change(&|r| r.common.purge_protection = Some(false));
    assert_eq!(
        reason(house.put_hsm("one", off).await.unwrap_err()),
        ManagementError::Immutable("enablePurgeProtection")
    );
    let house = house.managed_again().await;
    assert!(house.engine.opened_pool(&pool("one")).await.unwrap().unwrap().purge_protection());
    house.delete_hsm("one").await.unwrap();
    assert!(matches!(reason(house.purge_hsm("one").await.unwrap_err()), ManagementError::PurgeProtected(..)));
}

#[tokio::test]
async fn a_deleted_hsm_is_purged_when_both_clocks_say_so() {
    let house = House::managed().await;
    let (made, _) = house.put_hsm("one", hsm()).await.unwrap();
    house.delete_hsm("one").await.unwrap();
    house.clock.advance(90 * DAY);
    house.core().visit_management().await;
    assert!(house.engine.is_deleted(&pool("one")));
    house.clock.advance(-83 * DAY - 1);
    house.serve(7 * 86_400);
    house.core().visit_management().await;
    assert!(house.engine.is_deleted(&pool("one")), "{:?}", START);
    house.clock.advance(2);
    house.core().visit_management().await;
    assert!(!house.engine.is_deleted(&pool("one")) && house.records_of(&made).await == 1);
    house.clock.advance(2 * DAY);
    house.core().visit_management().await;
    assert_eq!(house.records_of(&made).await, 0);
}

#[tokio::test]
async fn of_many_creations_of_one_name_one_succeeds() {
    let house = Arc::new(House::managed().await);
    let other = GroupName::parse("other").unwrap();
    house.put_group(&other).await.unwrap();
    let mut running = tokio::task::JoinSet::new();
    for n in 0..16 {
        let (house, group) = (Arc::clone(&house), if n % 2 == 0 { group() } else { other.clone() });
        running.spawn(async move {
            let g = house.own(Action::ManagedHsmsWrite);
            house.engine.put_managed_hsm(&g, recorded(), group, pool("one"), hsm()).await
        });
    }
    let mut made = Vec::new();
    while let Some(result) = running.join_next().await {
        match result.unwrap() {
            Ok((hsm, new)) => made.push((hsm.pool, new)),
            Err(error) => assert!(matches!(reason(error), ManagementError::NameTaken(..))),
        }
    }
    assert_eq!(made.iter().filter(|(_, new)| *new).count(), 1);
    assert!(made.iter().all(|(pool, _)| *pool == made[0].0));
}

#[tokio::test]
async fn a_crash_after_any_commit_leaves_the_state_before_or_after() {
    for step in 0..4 {
        for holds in [false, true] {
            let house = House::managed().await;
            let run = async |house: &House, upto: usize| -> Result<()> {
                for n in 0..upto {
                    match n {
                        0 => drop(house.put_hsm("one", hsm()).await?),
                        1 => house.delete_hsm("one").await?,
                        2 => drop(house.put_hsm("one", recover()).await?),
                        _ => {
                            house.delete_hsm("one").await?;
                            house.purge_hsm("one").await?;
                        }
                    }
                }
                Ok(())
            };
            run(&house, step).await.unwrap();
            let before = house.engine.has_pool(&pool("one"));
            house.store.die_after(Some(1), holds);
            let _lost = run_one(&house, step).await;
            house.store.die_after(None, false);
            let house = house.managed_again().await;
            let after = match (step, holds) {
                (_, false) => before,
                (0 | 2, true) => true,
                (_, true) => false,
            };
            assert_eq!(house.engine.has_pool(&pool("one")), after, "step {step}, holds {holds}");
            // Whatever it is, it goes on from there.
            if house.engine.has_pool(&pool("one")) {
                house.key_in("one", "k").await.unwrap();
            } else if house.engine.is_deleted(&pool("one")) {
                house.put_hsm("one", recover()).await.unwrap();
            } else {
                house.put_hsm("one", hsm()).await.unwrap();
            }
        }
    }
}

async fn run_one(house: &House, step: usize) -> Result<()> {
    match step {
        0 => house.put_hsm("one", hsm()).await.map(|_| ()),
        2 => house.put_hsm("one", recover()).await.map(|_| ()),
        _ => house.delete_hsm("one").await,
    }
}

#[tokio::test]
async fn unknown_outcomes_are_settled() {
    let house = House::managed().await;
    for (n, faults) in [&[Fault::DoneUnknown][..], &[Fault::LostUnknown], &[Fault::LostUnknown, Fault::DoneUnknown]]
        .into_iter()
        .enumerate()
    {
        house.store.fail_next(faults);
        let name = format!("hsm{n}");
        assert!(house.put_hsm(&name, hsm()).await.unwrap().1);
        house.key_in(&name, "k").await.unwrap();
    }
}

#[tokio::test]
async fn the_last_owner_stays_whatever_happens_at_once() {
    let house = Arc::new(House::managed().await);
    let other = Uuid::from_u128(0x0f);
    house.assign_at(&house.own(Action::RoleAssignmentsWrite), other, OWNER).await.unwrap();
    let owners = house.engine.management_assignments(&caller(OWNED_BY, &[]), &root());
    assert_eq!(owners.len(), 2);
    let mut running = tokio::task::JoinSet::new();
    for owner in owners {
        let house = Arc::clone(&house);
        let g = house.own(Action::RoleAssignmentsDelete);
        running.spawn(async move { house.engine.remove_management_assignment(&g, recorded(), owner.id).await });
    }
    let results: Vec<_> = running.join_all().await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    let refused = results.into_iter().find_map(Result::err).unwrap();
    assert_eq!(reason(refused), ManagementError::LastOwner);
}

#[tokio::test]
async fn no_role_of_the_management_plane_leads_beyond_what_it_says() {
    let house = House::managed().await;
    house.put_hsm("one", hsm()).await.unwrap();
    let opened = house.engine.opened_pool(&pool("one")).await.unwrap().unwrap();
    let inside = house.engine.group_scope(&group());
    let outside = house.engine.group_scope(&GroupName::parse("outside").unwrap());
    for (n, role) in BUILT_IN_ROLES.iter().enumerate() {
        let who = Uuid::from_u128(0x1000 + n as u128);
        let g = house.as_(OWNED_BY, Action::RoleAssignmentsWrite, inside.clone()).unwrap();
        house.assign_at(&g, who, role.id).await.unwrap();
        let mut steps = 0;
        // Everything that can be reached by giving oneself roles, one after the other, until nothing new comes.
        for _ in 0..BUILT_IN_ROLES.len() {
            let mut news = false;
            for scope in [root(), inside.clone(), outside.clone()] {
                let Ok(g) = house.as_(who, Action::RoleAssignmentsWrite, scope) else { continue };
                for more in BUILT_IN_ROLES {
                    news |= house.assign_at(&g, who, more.id).await.unwrap_or(false);
                    steps += 1;
                }
            }
            if !news {
                break;
            }
        }
        let gives = role.allows(Action::RoleAssignmentsWrite);
        assert_eq!(steps > 0, gives, "{}", role.name);
        for action in Action::ALL {
            let may = |scope: &Scope| house.as_(who, *action, scope.clone()).is_ok();
            assert!(!may(&root()) && !may(&outside), "{} reached {} outside its scope", role.name, action.as_str());
            assert_eq!(may(&inside), gives || role.allows(*action), "{}: {}", role.name, action.as_str());
        }
        for action in DataAction::ALL {
            for scope in [RoleScope::Hsm, RoleScope::Keys, RoleScope::Key(name("k"))] {
                let right = house.engine.authorise(&opened, &caller(who, &[]), *action, scope);
                assert!(right.is_err(), "{} gives {}", role.name, action.as_str());
            }
        }
    }
}

#[tokio::test]
async fn lists_show_what_the_caller_may_read() {
    let house = House::managed().await;
    house.put_hsm("one", hsm()).await.unwrap();
    let vault = VaultRequest {
        common: ResourceRequest { sku: Some(Sku { family: "A".into(), name: "premium".into() }), ..hsm().common },
        tenant_id: Some(Uuid::nil()),
        rbac: Some(true),
        ..VaultRequest::default()
    };
    house.engine.put_vault(&house.own(Action::VaultsWrite), recorded(), group(), pool("one"), vault).await.unwrap();
    let who = Uuid::from_u128(0x77);
    let seen = |house: &House| {
        let me = caller(who, &[]);
        let (hsms, vaults) = (house.engine.managed_hsms(&me, None), house.engine.vaults(&me, None));
        (hsms.len(), vaults.len(), house.engine.resource_groups(&me).len(), house.engine.sees_subscription(&me))
    };
    assert_eq!(seen(&house), (0, 0, 0, false));
    let at = house.engine.resource_scope(&group(), ResourceKind::Vault, "ONE");
    let g = house.as_(OWNED_BY, Action::RoleAssignmentsWrite, at).unwrap();
    house.assign_at(&g, who, READER).await.unwrap();
    assert_eq!(seen(&house), (0, 1, 0, true));
    // A vault that is purged takes its assignments with it: a later one of the name is another one.
    let (r, name) = (recorded(), pool("one"));
    house.engine.delete_vault(&house.own(Action::VaultsDelete), r, group(), name.clone()).await.unwrap();
    let g = house.own(Action::DeletedVaultPurge);
    house.engine.purge_resource(&g, recorded(), ResourceKind::Vault, name).await.unwrap();
    assert_eq!(seen(&house), (0, 0, 0, false));
}

#[tokio::test]
async fn a_group_goes_with_everything_in_it() {
    let house = House::managed().await;
    house.put_hsm("one", hsm()).await.unwrap();
    let g = house.own(Action::GroupsDelete);
    house.engine.delete_resource_group(&g, recorded(), group()).await.unwrap();
    assert!(house.engine.is_deleted(&pool("one")));
    assert!(matches!(reason(house.put_hsm("one", recover()).await.unwrap_err()), ManagementError::GroupNotFound(_)));
    house.put_group(&group()).await.unwrap();
    house.put_hsm("one", recover()).await.unwrap();
    // The pool of the configuration has become a resource, and a deleted one is not brought back by a start.
    let theirs = GroupName::parse("strongroom").unwrap();
    let g = house.own(Action::GroupsDelete);
    house.engine.delete_resource_group(&g, recorded(), theirs).await.unwrap();
    assert!(house.engine.is_deleted(&request().name) && !house.engine.has_pool(&request().name));
}

#[tokio::test]
async fn another_node_follows() {
    let house = House::managed().await;
    let (made, _) = house.put_hsm("one", hsm()).await.unwrap();
    let other = house.second_node().await;
    other.manage().await;
    assert!(other.engine.opened_pool(&pool("one")).await.unwrap().is_some());
    house.delete_hsm("one").await.unwrap();
    // A change on the old state is refused by the store, and the newer state is seen then.
    assert!(other.put_hsm("two", hsm()).await.is_err());
    assert!(!other.engine.has_pool(&pool("one")));
    house.put_hsm("one", recover()).await.unwrap();
    other.core().refresh_management().await.unwrap();
    assert_eq!(other.engine.opened_pool(&pool("one")).await.unwrap().unwrap().id, made.pool);
}

#[tokio::test]
async fn a_closed_firewall_is_closed_after_a_start() {
    use crate::management::NetworkChange;
    use strongroom_model::network::{Admission, DefaultAction, Origin};
    let house = House::managed().await;
    house.put_hsm("one", hsm()).await.unwrap();
    let address = "192.0.2.1".parse().unwrap();
    for (group, name) in [(group(), pool("one")), (settings().group, request().name)] {
        let network = NetworkChange { default_action: Some(DefaultAction::Deny), ..NetworkChange::default() };
        let closed =
            HsmRequest { common: ResourceRequest { network, ..ResourceRequest::default() }, ..HsmRequest::default() };
        let g = house.own(Action::ManagedHsmsWrite);
        house.engine.update_managed_hsm(&g, recorded(), group, name, closed).await.unwrap();
    }
    let house = house.managed_again().await;
    for name in [pool("one"), request().name] {
        if let Some(closed) = house.engine.closed_network(&name) {
            assert_ne!(closed.admit(Origin::Public(address)), Admission::Passes, "{name}");
        }
        let opened = house.engine.opened_pool(&name).await.unwrap().unwrap();
        assert_ne!(opened.network.load().admit(Origin::Public(address)), Admission::Passes, "{name}");
    }
}
