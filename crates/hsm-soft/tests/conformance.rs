//! The suite of the boundary, run on this provider.

use strongroom_hsm::suite;
use strongroom_hsm_soft::SoftProvider;

#[test]
fn the_provider_keeps_every_promise_of_the_boundary() {
    suite::run(&SoftProvider);
}
