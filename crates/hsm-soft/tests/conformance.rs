//! The suite of the boundary, run on this provider.

use strongroom_hsm::Provider;
use strongroom_hsm::suite;
use strongroom_hsm_soft::SoftProvider;
use strongroom_model::key::{KEY_SPECS, OPERATIONS};

#[test]
fn the_provider_keeps_every_promise_of_the_boundary() {
    suite::run(&SoftProvider);
    let cells = SoftProvider.describe().algorithms.len() * KEY_SPECS.len() * OPERATIONS.len();
    strongroom_counts::count("matrix: cells of key, algorithm and operation, in the provider", cells);
}
