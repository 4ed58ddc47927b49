//! Cost that does not grow with the number of keys: counted in operations on the store, not in time.

use super::house::{ADMIN, House, name, recorded, request};
use crate::jobs::IN_VAIN_MAX;
use crate::keys::Deletion;
use crate::records::paths;
use crate::records::shapes::{DeletedHead, Head, IndexRecord, VersionRecord};
use crate::roles::{AssignmentFilter, CreateRoleAssignment};
use crate::{PageRequest, PoolRequest};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use strongroom_model::clock::DAY;
use strongroom_model::role::CRYPTO_USER;
use strongroom_model::{DataAction, KeyVersion, RoleScope};
use strongroom_store::{CHANGES_MAX, Change, Store};
use uuid::Uuid;

/// A small store, and one that is four times as large.
const SIZES: [u32; 2] = [1_000, 4_000];

impl House {
    /// Puts keys straight into the store, as creations have left them: the template's, under other names and ids.
    async fn fill(&self, keys: u32, change: impl Fn(u32, &mut Head)) {
        let paths = &self.pool.live.paths;
        self.create("template").await.unwrap();
        let head = self.core().stored_head(&self.pool, &name("template")).await.unwrap().unwrap().value;
        let version = self.core().stored_version(&self.pool, &head, head.newest.version).await.unwrap();
        let mut changes = Vec::new();
        for number in 0..keys {
            let mut object = [0; 16];
            object[..4].copy_from_slice(&number.to_be_bytes());
            let mut own = Head { name: name(&format!("k{number:06}")), object, ..head.clone() };
            change(number, &mut own);
            let at = paths.version(&object, own.newest.version);
            changes.push(self.core().records.put(at, &version).unwrap());
            changes.push(self.core().records.put(paths.head(&own.name), &own).unwrap());
            if let Some(mark) = own.deleted {
                let due = paths.due(mark.dates.scheduled_purge, &own.name);
                changes.push(self.core().records.put(due, &IndexRecord).unwrap());
                changes.push(self.core().records.put(paths.deleted_head(&own.name), &IndexRecord).unwrap());
            }
        }
        for part in changes.chunks(CHANGES_MAX) {
            self.store.commit(Vec::new(), part.to_vec()).await.unwrap();
        }
    }

    /// Operations on the store, and records that they read, since the last call.
    fn counted(&self) -> (u64, u64) {
        (self.store.operations.swap(0, Ordering::SeqCst), self.store.records_read.swap(0, Ordering::SeqCst))
    }
}

#[tokio::test]
async fn start_get_use_and_page_cost_the_same_whatever_the_number_of_keys() {
    let mut costs = BTreeSet::new();
    for keys in SIZES {
        let house = House::new().await;
        house.fill(keys, |_, _| {}).await;
        house.counted();
        let again = house.second_node_unchecked().await.unwrap();
        let start = house.counted();
        again.get("k000777").await.unwrap();
        let cold = house.counted();
        again.get("k000777").await.unwrap();
        again.sign("k000777").await.unwrap();
        let cached = house.counted();
        again.engine.get_keys(&again.grant(DataAction::KeysRead), PageRequest::default()).await.unwrap();
        let page = house.counted();
        again.core().do_what_is_due().await;
        let round = house.counted();
        assert_eq!(cached, (0, 0), "a use of a cached key reads no store");
        costs.insert((start, cold, page, round));
    }
    assert_eq!(costs.len(), 1, "start, get, page, round of the scheduler: {costs:?}");
    // A page opens what it shows, and the next record to know that there is one.
    assert!(costs.iter().all(|(_, _, page, _)| page.1 <= 26), "{costs:?}");
    strongroom_counts::count("scale: keys in stores of the engine", SIZES.iter().sum::<u32>());
}

#[tokio::test]
async fn pages_of_many_keys_are_complete() {
    let house = House::new().await;
    house.fill(SIZES[1], |number, head| head.deleted = (number % 3 == 0).then(|| mark(&house, 90))).await;
    let g = house.grant(DataAction::KeysRead);
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = house.engine.get_keys(&g, PageRequest { size: 25, after }).await.unwrap();
        names.extend(page.items.into_iter().map(|i| i.name.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let live = (0..SIZES[1]).filter(|n| n % 3 != 0).map(|n| format!("k{n:06}"));
    assert_eq!(names, live.chain(["template".to_owned()]).collect::<Vec<_>>());
}

fn mark(house: &House, days: i64) -> DeletedHead {
    let deleted = house.core().now();
    DeletedHead { dates: Deletion { deleted, scheduled_purge: deleted.plus(days * DAY) }, served: 0 }
}

#[tokio::test]
async fn many_keys_that_must_wait_are_looked_at_in_turns() {
    let house = House::new().await;
    let waiting = u32::try_from(3 * IN_VAIN_MAX).unwrap();
    house.fill(waiting, |_, head| head.deleted = Some(mark(&house, 7))).await;
    // By the wall clock they are due; the retention has not been served.
    house.clock.advance(8 * DAY);
    house.counted();
    house.core().do_what_is_due().await;
    let (_, first) = house.counted();
    assert!(first < 4 * u64::try_from(IN_VAIN_MAX).unwrap(), "{first} records in one round");
    // Once it is served, all of them go, the ones that the first round did not reach too.
    house.serve(8 * u64::try_from(DAY).unwrap());
    house.core().do_what_is_due().await;
    house.core().do_what_is_due().await;
    let left = house.store.scan(&house.pool.live.paths.all_due(), &[0xff], 1).await.unwrap();
    let due = left.entries.iter().filter(|e| e.path.starts_with(&house.pool.live.paths.all_due())).count();
    assert_eq!(due, 0);
    assert!(house.get_deleted("k000000").await.is_err() && house.get_deleted("k006000").await.is_err());
    strongroom_counts::count("scale: deleted keys purged by the scheduler", waiting);
}

#[tokio::test]
async fn a_purge_removes_any_number_of_versions_in_bounded_commits() {
    // More than the API allows: an older limit, or another program's store.
    const VERSIONS: u32 = 20_000;
    let house = House::new().await;
    house.create("many").await.unwrap();
    let head = house.core().stored_head(&house.pool, &name("many")).await.unwrap().unwrap().value;
    let version: VersionRecord = house.core().stored_version(&house.pool, &head, head.newest.version).await.unwrap();
    let paths = &house.pool.live.paths;
    let numbers: Vec<u32> = (0..VERSIONS).collect();
    for part in numbers.chunks(CHANGES_MAX) {
        let put = |number: &u32| {
            let mut id = [0xaa; 16];
            id[..4].copy_from_slice(&number.to_be_bytes());
            house.core().records.put(paths.version(&head.object, KeyVersion(id)), &version).unwrap()
        };
        house.store.commit(Vec::new(), part.iter().map(put).collect()).await.unwrap();
    }
    house.counted();
    house.get("many").await.unwrap();
    let g = house.grant(DataAction::KeysRead);
    let page = house.engine.get_key_versions(&g, &name("many"), PageRequest::default()).await.unwrap();
    assert!(page.items.len() == 25 && page.next.is_some());
    assert!(house.counted().1 < 100, "get and a page do not read all versions");
    house.delete("many").await.unwrap();
    house.purge("many").await.unwrap();
    let prefix = paths.versions(&head.object);
    assert!(house.store.scan(&prefix, &paths::end_of(&prefix), 1).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn leftovers_of_many_purges_are_collected_in_one_round() {
    let house = House::new().await;
    house.fill(500, |_, _| {}).await;
    let paths = &house.pool.live.paths;
    for number in 0..500_u32 {
        let mut object = [0; 16];
        object[..4].copy_from_slice(&number.to_be_bytes());
        let gone = Change::Delete(paths.head(&name(&format!("k{number:06}"))));
        let note = house.core().records.put(paths.leftovers(&object), &IndexRecord).unwrap();
        house.store.commit(Vec::new(), vec![gone, note]).await.unwrap();
    }
    house.core().do_what_is_due().await;
    for prefix in [paths.all_leftovers(), paths.versions(&[0; 16])] {
        assert!(house.store.scan(&prefix, &paths::end_of(&prefix), 1).await.unwrap().entries.is_empty());
    }
}

#[tokio::test]
async fn role_assignments_at_many_keys_are_checked_changed_and_listed_in_pages() {
    const ASSIGNMENTS: u32 = 20_000;
    let house = House::new().await;
    let paths = &house.pool.live.paths;
    let assignment = |number: u32| strongroom_model::role::RoleAssignment {
        id: Uuid::from_u128(1_000 + u128::from(number)),
        principal_id: Uuid::from_u128(u128::from(number % 7)),
        role_definition_id: CRYPTO_USER,
        scope: RoleScope::Key(name(&format!("k{}", number / 7))),
    };
    let numbers: Vec<u32> = (0..ASSIGNMENTS).collect();
    for part in numbers.chunks(CHANGES_MAX) {
        let put = |number: &u32| {
            let of = assignment(*number);
            house.core().records.put(paths.assignment(of.id), &crate::records::shapes::AssignmentRecord(of)).unwrap()
        };
        house.store.commit(Vec::new(), part.iter().map(put).collect()).await.unwrap();
    }
    let house = house.second_node_unchecked().await.unwrap();
    let who = Uuid::from_u128(3);
    let may = |key: u32| house.may(who, DataAction::KeysRead, RoleScope::Key(name(&format!("k{key}")))).is_ok();
    assert!(may(5) && may(2_000) && !may(ASSIGNMENTS));
    // One more and one less: the store sees as little of it as with one assignment.
    house.counted();
    let scope = RoleScope::Key(name("k5"));
    let one_more = Uuid::from_u128(1_001);
    house.assign(Uuid::from_u128(99), one_more, CRYPTO_USER, scope.clone()).await.unwrap();
    let g = house.grant(DataAction::RoleAssignmentsDelete);
    let gone = assignment(5 * 7 + 3);
    house.engine.delete_role_assignment(&g, recorded(), scope, gone.id).await.unwrap();
    assert!(house.counted().0 < 10);
    assert!(!may(5) && may(2_000));
    // The list, page by page.
    let g = house.grant(DataAction::RoleAssignmentsRead);
    let (mut seen, mut after) = (BTreeSet::new(), None);
    loop {
        let request = PageRequest { size: 0, after };
        let filter = AssignmentFilter::All;
        let page = house.engine.list_role_assignments(&g, RoleScope::Hsm, filter, request).await.unwrap();
        assert!(page.items.len() <= crate::roles::ASSIGNMENTS_PAGE_MAX);
        assert!(page.items.iter().all(|a| seen.insert(a.id)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    // The administrator's three, one more, one less.
    assert_eq!(seen.len(), usize::try_from(ASSIGNMENTS).unwrap() + 3);
    let page = PageRequest { size: 0, after: Some("x".into()) };
    assert!(house.engine.list_role_assignments(&g, RoleScope::Hsm, AssignmentFilter::All, page).await.is_err());
    strongroom_counts::count("scale: role assignments", ASSIGNMENTS);
}

#[tokio::test]
async fn a_right_follows_its_definition() {
    let house = House::with(PoolRequest { administrators: vec![ADMIN], ..request() }).await;
    let (role, who) = (Uuid::from_u128(77), Uuid::from_u128(78));
    let define = |action: DataAction| {
        let permissions =
            vec![strongroom_model::role::Permission { data_actions: vec![action], not_data_actions: Vec::new() }];
        crate::roles::SetRoleDefinition { role_name: None, description: String::new(), permissions }
    };
    let g = house.grant(DataAction::RoleDefinitionsWrite);
    house.engine.set_role_definition(&g, recorded(), role, define(DataAction::KeysRead)).await.unwrap();
    let asked = CreateRoleAssignment { principal_id: who, role_definition_id: role, scope: RoleScope::Keys };
    let g_write = house.grant(DataAction::RoleAssignmentsWrite);
    house.engine.create_role_assignment(&g_write, recorded(), Uuid::from_u128(79), asked).await.unwrap();
    let may = |action| house.may(who, action, RoleScope::Key(name("k"))).is_ok();
    assert!(may(DataAction::KeysRead) && !may(DataAction::KeysSign));
    house.engine.set_role_definition(&g, recorded(), role, define(DataAction::KeysSign)).await.unwrap();
    assert!(!may(DataAction::KeysRead) && may(DataAction::KeysSign));
    let g = house.grant(DataAction::RoleDefinitionsDelete);
    house.engine.delete_role_definition(&g, recorded(), role).await.unwrap();
    assert!(!may(DataAction::KeysRead) && !may(DataAction::KeysSign));
}
