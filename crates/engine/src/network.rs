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
    fn compile(&self, pool: &Pool, policy: NetworkPolicy) -> CompiledPolicy {
        let of_pool = self.endpoints.iter().filter(|endpoint| endpoint.pool == pool.name);
        let endpoints: Vec<_> = of_pool.map(|endpoint| endpoint.connection.clone()).collect();
        CompiledPolicy::new(policy, &self.settings, &endpoints)
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
            pool.network.store(Arc::new(surroundings.compile(pool, rules)));
        }
    }

    /// See [`crate::Engine::network_settings`].
    pub(crate) fn network_settings(&self) -> NetworkSettings {
        self.surroundings().settings.clone()
    }

    /// See [`crate::Engine::set_network_policy`].
    pub(crate) fn set_network_policy(&self, pool: &Pool, policy: NetworkPolicy) {
        let surroundings = self.surroundings();
        pool.network.store(Arc::new(surroundings.compile(pool, policy)));
    }

    /// Compiles a pool that was just opened.
    pub(crate) fn surround(&self, pool: &Pool) {
        let surroundings = self.surroundings();
        let rules = pool.network.load().rules().clone();
        pool.network.store(Arc::new(surroundings.compile(pool, rules)));
    }
}
