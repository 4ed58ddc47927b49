#![allow(clippy::unwrap_used)]
use super::*;
use http::HeaderMap;
use std::fmt::Write;
use strongroom_model::error::{BadIpRule, Unauthenticated};
use strongroom_model::key::OPERATIONS;
use strongroom_model::network::EndpointStatus;
use strongroom_model::{Algorithm, DataAction, KeyName, Operation, RoleScope};

const GOLDEN: &str = include_str!("../golden/errors.txt");

fn bad_parameters() -> Vec<BadParameter> {
    use BadParameter as B;
    vec![
        B::Body(BadBody::Empty),
        B::Body(BadBody::Syntax),
        B::Body(BadBody::Shape),
        B::Body(BadBody::Truncated),
        B::Missing("kty"),
        B::Unknown("kty"),
        B::Unsupported("public_exponent"),
        B::Malformed("value"),
        B::NotAllowed("iv"),
        B::Length { parameter: "tags", min: 0, max: 15 },
        B::Length { parameter: "count", min: 1, max: 128 },
        B::Length { parameter: "value", min: 32, max: 32 },
        B::Range { parameter: "expiryTime (in days)", min: 28, max: i64::MAX },
        B::Range { parameter: "maxresults", min: 1, max: 25 },
        B::Range { parameter: "count", min: 1, max: 128 },
        B::AlgorithmMismatch { algorithm: Algorithm::Es256, operation: Operation::Sign, spec: KeySpec::Rsa2048 },
        B::AlgorithmMismatch { algorithm: Algorithm::A256Gcm, operation: Operation::Sign, spec: KeySpec::EcP256 },
        B::ImportMixed,
        B::KeyMaterial,
        B::CryptographicFailure,
        B::ValidityOrder,
        B::SkipToken,
        B::Filter,
        B::IpRule(BadIpRule::Address),
        B::IpRule(BadIpRule::Prefix),
        B::IpRule(BadIpRule::Mapped),
        B::UnknownNetwork,
    ]
}

fn forbidden_reasons() -> Vec<Forbidden> {
    use Forbidden as F;
    let of_operations = [F::KeyDisabled, F::KeyNotYetValid, F::KeyExpired, F::OperationNotPermitted];
    let mut all: Vec<_> =
        of_operations.iter().flat_map(|reason| OPERATIONS.iter().map(|row| reason(row.operation))).collect();
    all.extend([
        F::RotateDisabled,
        F::PurgeProtected,
        F::NotActivated,
        F::BuiltInRole,
        F::LastAdministrator,
        F::UsesExhausted,
        F::VersionsExhausted,
        F::RolesExhausted,
    ]);
    let client = [192, 0, 2, 7].into();
    for bypass in [Bypass::AzureServices, Bypass::None] {
        all.extend([NetworkRefusal::Address { client, bypass }, NetworkRefusal::Public { bypass }].map(F::Network));
    }
    let states = [EndpointStatus::Pending, EndpointStatus::Rejected, EndpointStatus::Disconnected];
    all.extend(states.map(|status| F::Network(NetworkRefusal::Connection(status))));
    all.push(F::Network(NetworkRefusal::OtherResource));
    all
}

fn every_error() -> Vec<Error> {
    let key = || RoleScope::Key(KeyName::parse("Signing-1").unwrap());
    let names = [BadName::Key, BadName::KeyVersion, BadName::Pool, BadName::Scope, BadName::Guid, BadName::Path];
    let mut all = vec![Error::ApiVersion];
    all.extend(names.map(Error::BadName));
    all.extend(bad_parameters().into_iter().map(Error::BadParameter));
    all.extend([Unauthenticated::Missing, Unauthenticated::Expired].map(Error::Unauthenticated));
    all.extend([
        Error::AccessDenied { action: DataAction::KeysSign, scope: key() },
        Error::AccessDenied { action: DataAction::RoleAssignmentsRead, scope: RoleScope::Hsm },
        Error::AccessDenied { action: DataAction::KeysRead, scope: RoleScope::Keys },
    ]);
    all.extend(forbidden_reasons().into_iter().map(Error::Forbidden));
    all.extend(
        [
            NotFound::Key("Signing-1".into()),
            NotFound::DeletedKey("Signing-1".into()),
            NotFound::RoleAssignment,
            NotFound::RoleDefinition,
            NotFound::Path,
            NotFound::Pool,
        ]
        .map(Error::NotFound),
    );
    all.extend(
        [
            Conflict::KeyDeleted("Signing-1".into()),
            Conflict::Concurrent,
            Conflict::RoleAssignmentExists,
            Conflict::RoleAssignmentDiffers,
        ]
        .map(Error::Conflict),
    );
    all.extend([Error::MethodNotAllowed, Error::BodyTooLarge, Error::RequestTimeout, Error::Throttled]);
    use Unavailable as U;
    all.extend([U::Store, U::Unproved, U::Partition, U::Audit, U::Stopping, U::Sealed].map(Error::Unavailable));
    use Internal as I;
    all.extend([I::CorruptRecord, I::PartitionProtocol, I::SelfCheck, I::Panic, I::Encoding].map(Error::Internal));
    all
}

#[test]
fn every_error_has_its_golden_text() {
    let mut text = String::from("error | status | code | innererror | Retry-After | message\n");
    for error in every_error() {
        let r = render(&error);
        let (inner, retry) = (r.inner.unwrap_or("-"), r.retry_after.map_or("-".into(), |s| s.to_string()));
        writeln!(text, "{error:?} | {} | {} | {inner} | {retry} | {}", r.status, r.code, r.message).unwrap();
    }
    if std::env::var_os("STRONGROOM_GOLDEN").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/golden/errors.txt"), &text).unwrap();
    } else {
        assert_eq!(
            text, GOLDEN,
            "run the test with STRONGROOM_GOLDEN=1 to write the file anew, and look at the difference"
        );
    }
}

#[test]
fn bodies_have_azures_shape() {
    let ids = RequestIds::new(&HeaderMap::new());
    let text = |error: &Error| String::from_utf8(render(error).hsm_body(&ids).to_vec()).unwrap();
    let id = ids.request_id;
    assert_eq!(
        text(&Error::Conflict(Conflict::KeyDeleted("k".into()))),
        format!(
            r#"{{"error":{{"code":"Conflict","innererror":{{"code":"ObjectIsDeletedButRecoverable"}},"message":"Key k is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the key can only be recovered or purged. (Activity ID: {id})"}}}}"#
        )
    );
    assert_eq!(
        text(&Error::AccessDenied { action: DataAction::RoleAssignmentsRead, scope: RoleScope::Hsm }),
        format!(
            r#"{{"error":{{"code":"AccessDenied","message":"Not authorized to access Microsoft.KeyVault/managedHsm/roleAssignments/read/action on / (Activity ID: {id})"}}}}"#
        )
    );
    assert_eq!(text(&Error::Unauthenticated(Unauthenticated::Missing)), "");
    let login = render(&Error::NotFound(NotFound::Path)).identity_body(&ids);
    let login: serde_json::Value = serde_json::from_slice(&login).unwrap();
    assert_eq!(login["error"], "invalid_request");
}
