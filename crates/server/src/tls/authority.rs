//! The private CA: its key is in pool `system`, its certificate in the store; it issues the server's certificate.

use super::TlsError;
use super::config::certified;
use crate::identity::SystemSigner;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SignatureAlgorithm, SigningKey,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use strongroom_hsm::PublicKey;
use strongroom_model::Timestamp;
use strongroom_model::audit::SystemStamp;
use strongroom_model::clock::DAY;
use x509_parser::extensions::GeneralName;

/// Days the CA's certificate is valid.
const CA_DAYS: i64 = 3650;
/// Days left of the CA's certificate at which it gets a new one, under the same key.
const CA_RENEW_DAYS: i64 = 365;
/// Days a server certificate is valid.
const LEAF_DAYS: i64 = 90;
/// Days left of it at which it gets a new one.
const LEAF_RENEW_DAYS: i64 = 30;
/// Seconds by which a certificate is valid earlier: clients' clocks differ.
const BACKDATED: i64 = 3600;
/// Random bytes of a serial number.
const SERIAL_LENGTH: usize = 16;

/// Told of each use of the CA's key.
pub(super) type RecordUse = Arc<dyn Fn(SystemStamp) + Send + Sync>;

/// The CA, ready to issue.
pub(super) struct Authority {
    domain: String,
    signer: SystemSigner,
    point: Vec<u8>,
    record_use: RecordUse,
    certificate: CertificateDer<'static>,
}

/// A server certificate with its key, and when to replace it.
pub(super) struct Issued {
    pub(super) certified: CertifiedKey,
    pub(super) renew_at: Timestamp,
}

impl Authority {
    /// Takes the stored certificate when it is this CA's for this domain and good for long enough, or makes a new one, which
    /// the caller stores; the flag says so.
    pub(super) async fn open(
        stored: Option<Vec<u8>>,
        domain: &str,
        signer: SystemSigner,
        record_use: RecordUse,
        now: Timestamp,
    ) -> Result<(Self, bool), TlsError> {
        let point = point_of(signer.public())?;
        let domain = domain.to_ascii_lowercase();
        if !is_domain(&domain) {
            return Err(TlsError::Domain(domain));
        }
        let mut authority = Self { domain, signer, point, record_use, certificate: CertificateDer::from(Vec::new()) };
        if let Some(der) = stored.filter(|der| authority.recognises(der, now)) {
            authority.certificate = CertificateDer::from(der);
            return Ok((authority, false));
        }
        let params = authority.ca_params(now)?;
        let subject = PublicHalf(authority.point.clone());
        authority.certificate = authority.certify(&params, &params, &subject).await?;
        Ok((authority, true))
    }

    /// The CA's certificate.
    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Issues a certificate for a new key to all names of the installation.
    pub(super) async fn issue(&self, hsm_names: &[String], now: Timestamp) -> Result<Issued, TlsError> {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        self.issue_for(server_names(&self.domain, hsm_names), &loopback, now).await
    }

    /// Issues a certificate for a new key to these names; clients refuse one for names outside the CA's constraints.
    pub(super) async fn issue_for(
        &self,
        names: Vec<String>,
        addresses: &[IpAddr],
        now: Timestamp,
    ) -> Result<Issued, TlsError> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| TlsError::Random)?;
        let subject = PublicHalf(key.public_key().as_ref().to_vec());
        let params = self.leaf_params(names, addresses, now)?;
        let leaf = self.certify(&params, &self.ca_params(now)?, &subject).await?;
        let pkcs8 = key.to_pkcs8v1().map_err(|_| TlsError::Random)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec()));
        let certified = certified(vec![leaf], private).map_err(TlsError::Rustls)?;
        Ok(Issued { certified, renew_at: now.plus((LEAF_DAYS - LEAF_RENEW_DAYS) * DAY) })
    }

    /// Builds a certificate twice: first to learn what is to be signed, then with the signature that the partition made.
    async fn certify(
        &self,
        params: &CertificateParams,
        issuer: &CertificateParams,
        subject: &PublicHalf,
    ) -> Result<CertificateDer<'static>, TlsError> {
        let unsigned = {
            let key = CaKey { point: self.point.clone(), to_sign: RefCell::default(), signature: Vec::new() };
            params.signed_by(subject, &Issuer::from_params(issuer, &key))?;
            key.to_sign.into_inner()
        };
        let (signature, stamp) = self.signer.sign(digest(&SHA256, &unsigned).as_ref().to_vec()).await?;
        (self.record_use)(stamp);
        let signature = der_signature(&signature).ok_or(TlsError::Signature)?;
        let check = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point);
        check.verify(&unsigned, &signature).map_err(|_| TlsError::Signature)?;
        let key = CaKey { point: self.point.clone(), to_sign: RefCell::default(), signature };
        let signed = params.signed_by(subject, &Issuer::from_params(issuer, &key))?;
        if key.to_sign.into_inner() == unsigned { Ok(signed.der().clone()) } else { Err(TlsError::Signature) }
    }

    fn ca_params(&self, now: Timestamp) -> Result<CertificateParams, TlsError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = self.name();
        params.serial_number = Some(serial()?);
        params.not_before = moment(now.plus(-BACKDATED)).into();
        params.not_after = moment(now.plus(CA_DAYS * DAY)).into();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![
                GeneralSubtree::DnsName(self.domain.clone()),
                GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)),
                GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(Ipv6Addr::LOCALHOST.octets(), 128)),
            ],
            excluded_subtrees: Vec::new(),
        });
        Ok(params)
    }

    fn leaf_params(
        &self,
        names: Vec<String>,
        addresses: &[IpAddr],
        now: Timestamp,
    ) -> Result<CertificateParams, TlsError> {
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, self.domain.as_str());
        params.distinguished_name = name;
        params.serial_number = Some(serial()?);
        params.not_before = moment(now.plus(-BACKDATED)).into();
        params.not_after = moment(now.plus(LEAF_DAYS * DAY)).into();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        for name in names {
            params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
        }
        params.subject_alt_names.extend(addresses.iter().map(|a| SanType::IpAddress(*a)));
        Ok(params)
    }

    /// A name of its own for each CA, so that several can stand in one file.
    fn common_name(&self) -> String {
        let id = hex::encode(digest(&SHA256, &self.point));
        format!("Strongroom CA {}", id.get(..16).unwrap_or_default())
    }

    fn name(&self) -> DistinguishedName {
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, "Strongroom");
        name.push(DnType::CommonName, self.common_name());
        name
    }

    /// Whether a stored certificate is of this key, this domain, this form, and good for long enough.
    fn recognises(&self, der: &[u8], now: Timestamp) -> bool {
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else { return false };
        let named = certificate.subject().iter_common_name().next().and_then(|cn| cn.as_str().ok());
        let of_domain = certificate.name_constraints().ok().flatten().is_some_and(|constraints| {
            let permitted = constraints.value.permitted_subtrees.as_deref().unwrap_or_default();
            permitted.iter().any(|s| matches!(s.base, GeneralName::DNSName(name) if name == self.domain))
        });
        let validity = certificate.validity();
        let lasting = validity.not_before.timestamp() <= now.0
            && now.plus(CA_RENEW_DAYS * DAY).0 < validity.not_after.timestamp();
        let key = certificate.public_key().subject_public_key.data.as_ref();
        key == self.point && named == Some(&self.common_name()) && of_domain && lasting
    }
}

/// Labels of letters, digits and hyphens (RFC 1123 2.1), the last one not a number, short enough for a name in front.
fn is_domain(domain: &str) -> bool {
    const DOMAIN_MAX: usize = 200;
    const LABEL_MAX: usize = 63;
    let is_label = |label: &str| {
        (1..=LABEL_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let numeric = domain.rsplit('.').next().is_none_or(|last| last.bytes().all(|b| b.is_ascii_digit()));
    domain.len() <= DOMAIN_MAX && domain.split('.').all(is_label) && !numeric
}

/// Every DNS name that clients use (`clients.md` 1): one star covers one label only.
fn server_names(domain: &str, hsm_names: &[String]) -> Vec<String> {
    let mut names = vec![domain.to_owned()];
    let fixed = ["login", "management", "graph", "*.managedhsm", "*.privatelink.managedhsm", "*.vault"];
    names.extend(fixed.iter().map(|n| format!("{n}.{domain}")));
    for link in ["managedhsm", "privatelink.managedhsm"] {
        names.extend(hsm_names.iter().map(|n| format!("{}.{link}.{domain}", n.to_ascii_lowercase())));
    }
    names
}

/// A public P-256 key, as an uncompressed point.
struct PublicHalf(Vec<u8>);

impl PublicKeyData for PublicHalf {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// Stands for the CA's key while a certificate is built: keeps what is to be signed, and gives a signature made elsewhere.
struct CaKey {
    point: Vec<u8>,
    to_sign: RefCell<Vec<u8>>,
    signature: Vec<u8>,
}

impl PublicKeyData for CaKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for CaKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.to_sign.replace(message.to_vec());
        Ok(self.signature.clone())
    }
}

fn point_of(key: &PublicKey) -> Result<Vec<u8>, TlsError> {
    const UNCOMPRESSED: u8 = 4;
    match key {
        PublicKey::Ec { curve: strongroom_model::Curve::P256, x, y } => Ok([&[UNCOMPRESSED], &x[..], &y[..]].concat()),
        PublicKey::Ec { .. } | PublicKey::Rsa { .. } | PublicKey::Oct => Err(TlsError::CaKey),
    }
}

fn serial() -> Result<rcgen::SerialNumber, TlsError> {
    let mut serial = [0; SERIAL_LENGTH];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| TlsError::Random)?;
    Ok(rcgen::SerialNumber::from_slice(&serial))
}

fn moment(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(at.0).unwrap_or_default())
}

/// `r ‖ s` as SEQUENCE { INTEGER r, INTEGER s } (SEC 1, C.5).
fn der_signature(raw: &[u8]) -> Option<Vec<u8>> {
    const COORDINATE: usize = 32;
    const SEQUENCE: u8 = 0x30;
    let (r, s) = raw.split_at_checked(COORDINATE)?;
    if s.len() != COORDINATE {
        return None;
    }
    let body = [der_integer(r)?, der_integer(s)?].concat();
    Some([&[SEQUENCE, u8::try_from(body.len()).ok()?], &body[..]].concat())
}

/// A positive INTEGER of at most 33 bytes: no leading zeros, but one where the first bit would make it negative.
fn der_integer(bytes: &[u8]) -> Option<Vec<u8>> {
    const INTEGER: u8 = 0x02;
    let mut digits: Vec<u8> = bytes.iter().copied().skip_while(|b| *b == 0).collect();
    if digits.first().is_none_or(|b| *b >= 0x80) {
        digits.insert(0, 0);
    }
    Some([&[INTEGER, u8::try_from(digits.len()).ok()?], &digits[..]].concat())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn integers_are_shortest_and_positive() {
        let raw = |r: &[u8], s: &[u8]| {
            let pad = |b: &[u8]| [vec![0; 32 - b.len()], b.to_vec()].concat();
            der_signature(&[pad(r), pad(s)].concat()).unwrap()
        };
        assert_eq!(raw(&[1], &[0x7f]), [0x30, 6, 2, 1, 1, 2, 1, 0x7f]);
        assert_eq!(raw(&[0x80], &[0xff, 1]), [0x30, 9, 2, 2, 0, 0x80, 2, 3, 0, 0xff, 1]);
        assert_eq!(raw(&[0xff; 32], &[0xff; 32]).len(), 2 + 2 * 35);
        assert!(der_signature(&[1; 63]).is_none());
        assert!(der_signature(&[1; 65]).is_none());
    }
}
