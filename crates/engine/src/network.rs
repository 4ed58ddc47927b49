//! Network rules in force: what the configuration says of the surroundings, compiled with the rules of each pool.

use crate::core::Core;
use crate::pool::Pool;
use std::sync::{Arc, MutexGuard, PoisonError};
use strongroom_model::PoolName;
use strongroom_model::network::{CompiledPolicy, EndpointConnection, NetworkPolicy, NetworkSettings};

/// A private endpoint of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateEndpoint {
    /// The pool that answers there, and no other.
    pub pool: PoolName,
    /// Its connection, as long as nobody has decided about it.
    pub connection: EndpointConnection,
}

/// What surrounds the rules of every pool.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    settings: NetworkSettings,
    endpoints: Vec<PrivateEndpoint>,
}

impl Surroundings {
    fn compile(&self, pool: &PoolName, policy: NetworkPolicy) -> CompiledPolicy {
        CompiledPolicy::new(policy, &self.settings, &self.of_pool(pool))
    }

    fn of_pool(&self, pool: &PoolName) -> Vec<EndpointConnection> {
        let of_pool = self.endpoints.iter().filter(|endpoint| endpoint.pool == *pool);
        of_pool.map(|endpoint| endpoint.connection.clone()).collect()
    }
}

impl Core {
    /// Compiling happens under this lock, so that of two changes at once neither is lost.
    fn surroundings(&self) -> MutexGuard<'_, Surroundings> {
        self.surroundings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`crate::Engine::set_network_surroundings`].
    pub(crate) fn set_network_surroundings(&self, settings: NetworkSettings, endpoints: Vec<PrivateEndpoint>) {
        let mut surroundings = self.surroundings();
        *surroundings = Surroundings { settings, endpoints };
        for pool in self.pools.load().values() {
            let rules = pool.network.load().rules().clone();
            pool.network.store(Arc::new(surroundings.compile(&pool.name, rules)));
        }
    }

    /// See [`crate::Engine::network_settings`].
    pub(crate) fn network_settings(&self) -> NetworkSettings {
        self.surroundings().settings.clone()
    }

    /// The rules of a managed HSM with the endpoints of the configuration that nobody has decided about yet.
    pub(crate) fn with_configured_endpoints(&self, pool: &PoolName, policy: NetworkPolicy) -> NetworkPolicy {
        let endpoints = self.surroundings().of_pool(pool);
        policy.with_endpoints(&endpoints)
    }

    /// The rules of a live managed HSM whose pool is not open yet, compiled; `None` when there is none of that name.
    pub(crate) fn closed_network(&self, name: &PoolName) -> Option<Arc<CompiledPolicy>> {
        let hsm = self.live_hsm(name)?;
        Some(Arc::new(self.surroundings().compile(name, hsm.resource.network)))
    }

    /// See [`crate::Engine::set_network_policy`].
    pub(crate) fn set_network_policy(&self, pool: &Pool, policy: NetworkPolicy) {
        let surroundings = self.surroundings();
        pool.network.store(Arc::new(surroundings.compile(&pool.name, policy)));
    }

    /// Compiles a pool that was just opened.
    pub(crate) fn surround(&self, pool: &Pool) {
        let surroundings = self.surroundings();
        let rules = pool.network.load().rules().clone();
        pool.network.store(Arc::new(surroundings.compile(&pool.name, rules)));
    }
}
