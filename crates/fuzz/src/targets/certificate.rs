//! X.509 certificates (RFC 5280) that the directory names: read, or refused with the file as a whole.

use super::identity::with;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A DER certificate; or, when it begins with `-`, a PEM file.
pub(crate) fn run(data: &[u8]) {
    let pem = match data.first() {
        Some(b'-') => String::from_utf8_lossy(data).into_owned(),
        Some(_) | None => {
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(data))
        }
    };
    with(|issuer| {
        let _taken_or_not = issuer.reload(issuer.directory_with(&pem).as_bytes());
        assert!(issuer.reload(issuer.directory().as_bytes()));
    });
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let der = [
        &include_bytes!("../../seeds/certificate/rsa.der")[..],
        include_bytes!("../../seeds/certificate/p256.der"),
        include_bytes!("../../seeds/certificate/p384.der"),
    ];
    let mut seeds: Vec<Vec<u8>> = der.iter().map(|der| der.to_vec()).collect();
    let taken = |der: &[u8]| {
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der));
        with(|issuer| issuer.reload(issuer.directory_with(&pem).as_bytes()))
    };
    assert!(der.iter().all(|der| taken(der)), "the seeds are good certificates");
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der[1]));
    seeds.push(pem.into_bytes());
    seeds
}
