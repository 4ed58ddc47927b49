//! `Host` and `:authority`: one name, whatever its spelling, and never one of another installation.

use crate::house::parts;

/// `authority of the target ‖ 0 ‖ Host ‖ 0 ‖ a second Host`, each absent when empty.
pub(crate) fn run(data: &[u8]) {
    let [target, host, second] = parts(data);
    strongroom_server::http::fuzz::host(target, host, second);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "\0demo.managedhsm.localhost:8443\0",
        "\0DEMO.ManagedHSM.localhost\0",
        "demo.managedhsm.localhost:8443\0demo.managedhsm.localhost:8443\0",
        "demo.managedhsm.localhost:8443\0login.localhost:8443\0",
        "\0login.localhost:8443\0login.localhost:8443",
        "\0a.vault.localhost\0",
        "\0[::1]:8443\0",
        "\0demo.managedhsm.localhost.evil.example:8443\0",
        "user@demo.managedhsm.localhost:8443\0\0",
        "\0management.localhost:+8443\0",
        "\0graph.localhost:\0",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
