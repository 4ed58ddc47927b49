//! Discovery documents (OpenID Connect Discovery 1.0) and key sets (RFC 7517), as strangers send them.

use super::url::SecureUrl;
use crate::identity::jwt::{VerifyingKey, parse_guid};
use serde_json::{Map, Value};
use strongroom_model::Algorithm;
use uuid::Uuid;

/// Keys of one set.
const KEYS_MAX: usize = 64;
/// Longest `kid`.
const KID_MAX: usize = 256;
/// What Microsoft Entra ID writes for the tenant in the `issuer` of a key that serves for all of them.
const ANY_TENANT: &str = "{tenantid}";

/// A key of an issuer.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::identity) struct IssuerKey {
    pub(in crate::identity) kid: String,
    pub(in crate::identity) key: VerifyingKey,
    /// The one algorithm that it signs with, when its set says so.
    pub(in crate::identity) algorithm: Option<Algorithm>,
}

/// Why a document is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::identity) enum DocumentProblem {
    #[error("the discovery document is another issuer's: its `issuer` is not the configured one")]
    OtherIssuer,
    #[error(
        "`jwks_uri` of the discovery document is missing, or not an https URL of the document's own host and port: set keys_url \
         when the keys are elsewhere"
    )]
    KeysElsewhere,
    #[error("the key set has no list `keys` of at most {KEYS_MAX} objects")]
    NotAKeySet,
    #[error("the key set holds a private or symmetric key")]
    SecretKey,
    #[error("a `kid` stands twice in the key set")]
    SameKid,
    #[error("the key set has no key that tokens could be verified with (RSA of 2048 bits, P-256, P-384, with `kid`)")]
    NoKey,
}

/// Where a discovery document says that the keys are.
pub(super) fn keys_url(
    document: &Map<String, Value>,
    issuer: &str,
    from: &SecureUrl,
) -> Result<SecureUrl, DocumentProblem> {
    if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(DocumentProblem::OtherIssuer);
    }
    let url = document.get("jwks_uri").and_then(Value::as_str).and_then(SecureUrl::parse);
    url.filter(|url| url.origin() == from.origin()).ok_or(DocumentProblem::KeysElsewhere)
}

/// The keys that verify tokens; keys of other kinds and other tenants are passed over.
pub(super) fn parse_keys(
    document: &Map<String, Value>,
    issuer: &str,
    tenants: &[Uuid],
) -> Result<Vec<IssuerKey>, DocumentProblem> {
    let list = document.get("keys").and_then(Value::as_array).filter(|keys| keys.len() <= KEYS_MAX);
    let mut out: Vec<IssuerKey> = Vec::new();
    for key in list.ok_or(DocumentProblem::NotAKeySet)? {
        let key = key.as_object().ok_or(DocumentProblem::NotAKeySet)?;
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|secret| key.contains_key(*secret)) {
            return Err(DocumentProblem::SecretKey);
        }
        let Some(usable) = usable(key, issuer, tenants) else { continue };
        if out.iter().any(|other| other.kid == usable.kid) {
            return Err(DocumentProblem::SameKid);
        }
        out.push(usable);
    }
    if out.is_empty() { Err(DocumentProblem::NoKey) } else { Ok(out) }
}

fn usable(key: &Map<String, Value>, issuer: &str, tenants: &[Uuid]) -> Option<IssuerKey> {
    let (kid, verifying) = VerifyingKey::of_jwk(key)?;
    let algorithm = match key.get("alg") {
        None => None,
        Some(name) => Some(Algorithm::parse(name.as_str()?).ok()?),
    };
    if let Some(of) = key.get("issuer")
        && !serves(of.as_str()?, issuer, tenants)
    {
        return None;
    }
    let kid = kid.filter(|kid| !kid.is_empty() && kid.len() <= KID_MAX)?;
    Some(IssuerKey { kid, key: verifying, algorithm })
}

/// Whether a key whose set ties it to an issuer is one of ours: a consumer key once signed for enterprises (Storm-0558).
fn serves(of: &str, issuer: &str, tenants: &[Uuid]) -> bool {
    if of == issuer {
        return true;
    }
    let mut named = of.split('/').filter(|part| *part == ANY_TENANT || parse_guid(part).is_some()).peekable();
    named.peek().is_some() && named.all(|part| parse_guid(part).is_none_or(|tenant| tenants.contains(&tenant)))
}
