//! How the management plane begins: its settings, its first owners, the managed HSMs of the configuration as resources.

use super::access::Assignment;
use super::change::{Beside, Step};
use super::groups::Group;
use super::hsms::ManagedHsm;
use super::resource::{Editor, Resource, Sku, SystemData, Tags};
use super::set::ManagementSet;
use crate::commit::ATTEMPTS;
use crate::core::Core;
use crate::engine::Recorded;
use crate::pool::PoolState;
use crate::pools;
use crate::records::paths;
use crate::records::shapes::PoolRecord;
use arc_swap::ArcSwap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};
use strongroom_model::PoolName;
use strongroom_model::error::{Error, ManagementError, Result};
use strongroom_model::management::{GroupName, Location, OWNER, Scope};
use strongroom_model::network::NetworkPolicy;
use uuid::Uuid;

/// Names that share a lock for their opening.
const OPENINGS: usize = 64;

/// What the installation is to Azure Resource Manager.
#[derive(Clone, Debug)]
pub struct ManagementSettings {
    /// The one subscription.
    pub subscription_id: Uuid,
    /// Its `displayName`.
    pub subscription_name: String,
    /// The one tenant.
    pub tenant_id: Uuid,
    /// Where this installation lies.
    pub location: Location,
    /// Object ids that own the subscription when nobody does.
    pub owners: Vec<Uuid>,
    /// The group of managed HSMs that the configuration names.
    pub group: GroupName,
    /// The state in which a managed HSM is made.
    pub initial_state: PoolState,
}

/// The management plane in memory.
pub(crate) struct Management {
    pub(crate) set: ArcSwap<ManagementSet>,
    /// Held while the set is changed.
    pub(crate) turn: tokio::sync::Mutex<()>,
    settings: OnceLock<ManagementSettings>,
    openings: Vec<tokio::sync::Mutex<()>>,
}

impl Management {
    pub(crate) fn new() -> Self {
        Self {
            set: ArcSwap::default(),
            turn: tokio::sync::Mutex::new(()),
            settings: OnceLock::new(),
            openings: (0..OPENINGS).map(|_| tokio::sync::Mutex::new(())).collect(),
        }
    }

    /// The settings; those of an installation that was given none let nobody in.
    pub(crate) fn settings(&self) -> &ManagementSettings {
        self.settings.get_or_init(ManagementSettings::none)
    }

    /// The lock under which a pool of this name is opened.
    pub(super) fn opening(&self, name: &PoolName) -> &tokio::sync::Mutex<()> {
        let mut hasher = std::hash::DefaultHasher::new();
        name.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % self.openings.len() as u64).unwrap_or(0);
        &self.openings[at]
    }
}

impl ManagementSettings {
    #[allow(clippy::unwrap_used, reason = "two constants that parse, as the tests show")]
    fn none() -> Self {
        Self {
            subscription_id: Uuid::nil(),
            subscription_name: String::new(),
            tenant_id: Uuid::nil(),
            location: Location::parse("onpremises").unwrap(),
            owners: Vec::new(),
            group: GroupName::parse("strongroom").unwrap(),
            initial_state: PoolState::Provisioned,
        }
    }
}

impl Core {
    pub(crate) fn subscription(&self) -> Uuid {
        self.management.settings().subscription_id
    }

    pub(crate) fn tenant(&self) -> Uuid {
        self.management.settings().tenant_id
    }

    /// Reads the management plane from the store. Nothing is served by it before.
    pub(crate) async fn load_management(&self, settings: ManagementSettings) -> Result<()> {
        // Settings are given once.
        let _given_before = self.management.settings.set(settings);
        self.refresh_management().await
    }

    /// Reads the management plane anew, which another node changed, and brings the open pools to it.
    pub(crate) async fn refresh_management(&self) -> Result<()> {
        let _turn = self.management.turn.lock().await;
        self.reload_management().await
    }

    /// The same, by whoever has the turn.
    pub(super) async fn reload_management(&self) -> Result<()> {
        let (before, now) = (self.management.set.load_full(), Arc::new(ManagementSet::load(&self.records).await?));
        self.management.set.store(Arc::clone(&now));
        let live = |set: &ManagementSet, name: &PoolName| {
            set.hsms.get(name).filter(|hsm| hsm.resource.deleted.is_none()).cloned()
        };
        for (name, pool) in self.pools.load_full().iter() {
            match (live(&before, name), live(&now, name)) {
                (_, Some(hsm)) if hsm.pool == pool.id => self.bring(pool, &hsm),
                // It was one, and is none any more.
                (Some(hsm), _) if hsm.pool == pool.id => self.close_pool(name, pool.id),
                (Some(_) | None, Some(_) | None) => {}
            }
        }
        Ok(())
    }

    /// Gives the subscription its owners when it has none, and makes resources of managed HSMs that have none yet.
    pub(crate) async fn settle_management(&self, configured: &[PoolName], r: &Recorded) -> Result<()> {
        for _ in 0..ATTEMPTS {
            match self.settle_once(configured, r).await {
                // Another node settles the same at the same time.
                Err(Error::Management(reason)) if *reason == ManagementError::Concurrent => {}
                other => return other,
            }
        }
        Err(ManagementError::Concurrent.into())
    }

    async fn settle_once(&self, configured: &[PoolName], r: &Recorded) -> Result<()> {
        let settings = self.management.settings();
        let owners: Vec<Step> = match self.management.set.load().has_owner() {
            true => Vec::new(),
            false => settings.owners.iter().map(|owner| self.first_owner(settings, *owner)).collect(),
        };
        if !owners.is_empty() {
            let turn = self.management_turn().await?;
            self.commit_management(&turn, r, "roleAssignments".into(), &owners, Beside::default()).await?;
        }
        for name in configured {
            self.adopt(settings, name, r).await?;
        }
        Ok(())
    }

    fn first_owner(&self, settings: &ManagementSettings, principal_id: Uuid) -> Step {
        Step::Assign(Assignment {
            id: Uuid::new_v4(),
            principal_id,
            principal_type: None,
            role_definition_id: OWNER,
            scope: Scope::subscription(settings.subscription_id),
            description: None,
            created_by: Editor::configuration(),
            created: self.now(),
        })
    }

    /// Makes the resource of a pool of the configuration.
    async fn adopt(&self, settings: &ManagementSettings, name: &PoolName, r: &Recorded) -> Result<()> {
        if self.management.set.load().hsms.contains_key(name) || pools::is_built_in(name) {
            return Ok(());
        }
        let Some(record) = self.records.get::<PoolRecord>(&paths::pool(name)).await?.map(|s| s.value) else {
            return Ok(());
        };
        let turn = self.management_turn().await?;
        let now = self.now();
        let mut steps = Vec::new();
        if !turn.set.groups.contains_key(&settings.group.folded()) {
            let (name, location) = (settings.group.clone(), settings.location.clone());
            steps.push(Step::PutGroup(Group { name, location, tags: Tags::new(), created: now }));
        }
        let resource = Resource {
            name: name.clone(),
            group: settings.group.clone(),
            location: settings.location.clone(),
            sku: Sku { family: "B".into(), name: "Standard_B1".into() },
            tags: Tags::new(),
            retention_days: record.retention_days,
            purge_protection: record.purge_protection,
            network: NetworkPolicy::default(),
            system_data: SystemData::new(Editor::configuration(), record.created),
            deleted: None,
        };
        let hsm = ManagedHsm { resource, tenant_id: settings.tenant_id, administrators: Vec::new(), pool: record.id };
        steps.push(Step::PutHsm(Box::new(hsm)));
        self.commit_management(&turn, r, format!("managedHSMs/{name}"), &steps, Beside::default()).await
    }
}
