//! The one place that turns an error into status, headers and Azure's JSON.

mod management;

pub(super) use management::render_management;

use super::ids::RequestIds;
use serde::Serialize;
use strongroom_model::KeySpec;
use strongroom_model::error::{
    BadBody, BadName, BadParameter, Conflict, Error, Forbidden, Internal, NotFound, Unavailable,
};
use strongroom_model::network::{Bypass, NetworkRefusal};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Seconds after which a throttled caller may come again.
const RETRY_THROTTLED: u32 = 1;
/// Seconds after which a caller may come again when a part of the node is away; partitions heal in less.
const RETRY_UNAVAILABLE: u32 = 2;

/// An error as it goes out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    /// HTTP status.
    pub(super) status: u16,
    /// `error.code`.
    pub(super) code: &'static str,
    /// `error.innererror.code`.
    pub(super) inner: Option<&'static str>,
    /// `error.message`, without the activity id.
    pub(super) message: String,
    /// `Retry-After`.
    pub(super) retry_after: Option<u32>,
}

/// Members in alphabetical order, as the service sends them.
#[derive(Serialize)]
struct Body<'a> {
    error: Detail<'a>,
}

#[derive(Serialize)]
struct Detail<'a> {
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    innererror: Option<Inner<'a>>,
    message: &'a str,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: &'a str,
}

/// OAuth 2.0's error shape (RFC 6749, 5.2), for the login host.
#[derive(Serialize)]
struct OAuthBody<'a> {
    correlation_id: Uuid,
    error: &'a str,
    error_description: &'a str,
}

impl Rendered {
    /// The body on a managed HSM: nothing with a 401, else JSON whose message ends in the activity id.
    pub(super) fn hsm_body(&self, ids: &RequestIds) -> Zeroizing<Vec<u8>> {
        if self.status == 401 {
            return Zeroizing::default();
        }
        let message = format!("{} (Activity ID: {})", self.message, ids.request_id);
        let innererror = self.inner.map(|code| Inner { code });
        json(&Body { error: Detail { code: self.code, innererror, message: &message } })
    }

    /// The body on the management plane and the directory.
    pub(super) fn management_body(&self) -> Zeroizing<Vec<u8>> {
        json(&Body { error: Detail { code: self.code, innererror: None, message: &self.message } })
    }

    /// The body on the login host.
    pub(super) fn identity_body(&self, ids: &RequestIds) -> Zeroizing<Vec<u8>> {
        let error = if self.status < 500 { "invalid_request" } else { "temporarily_unavailable" };
        json(&OAuthBody {
            correlation_id: ids.correlation_id.unwrap_or(ids.request_id),
            error,
            error_description: &self.message,
        })
    }
}

fn json(body: &impl Serialize) -> Zeroizing<Vec<u8>> {
    // Plain text in plain structs: it always encodes.
    Zeroizing::new(serde_json::to_vec(body).unwrap_or_default())
}

/// Turns an error into what goes out.
pub(super) fn render(error: &Error) -> Rendered {
    let plain = |status, code, message: &str| Rendered {
        status,
        code,
        inner: None,
        message: message.into(),
        retry_after: None,
    };
    match error {
        Error::ApiVersion => plain(
            400,
            "BadParameter",
            "The api-version query parameter is missing, unknown, or older than this operation. Send for example api-version=7.6.",
        ),
        Error::BadName(name) => plain(400, "BadParameter", bad_name(*name)),
        Error::BadParameter(parameter) => plain(400, "BadParameter", &bad_parameter(parameter)),
        Error::Unauthenticated(_) => {
            plain(401, "Unauthorized", "The request has no bearer token, or one that is not valid here and now.")
        }
        Error::AccessDenied { action, scope } => {
            plain(403, "AccessDenied", &format!("Not authorized to access {} on {scope}", action.as_str()))
        }
        Error::Forbidden(reason) => forbidden(*reason),
        Error::NotFound(what) => not_found(what),
        Error::Conflict(what) => conflict(what),
        Error::MethodNotAllowed => plain(
            405,
            "MethodNotAllowed",
            "This path does not take this method; the Allow header names those it takes.",
        ),
        Error::BodyTooLarge => {
            plain(413, "RequestEntityTooLarge", "The request body is larger than this operation allows.")
        }
        Error::RequestTimeout => plain(408, "RequestTimeout", "The request body did not arrive in time."),
        Error::Throttled => Rendered {
            retry_after: Some(RETRY_THROTTLED),
            ..plain(429, "Throttled", "Too many requests are under way: come again after the time in Retry-After.")
        },
        Error::Unavailable(part) => {
            Rendered { retry_after: Some(RETRY_UNAVAILABLE), ..plain(503, "ServiceUnavailable", unavailable(*part)) }
        }
        Error::Management(reason) => management::management(reason, None),
        Error::Internal(
            Internal::CorruptRecord
            | Internal::PartitionProtocol
            | Internal::SelfCheck
            | Internal::Panic
            | Internal::Encoding,
        ) => plain(
            500,
            "InternalServerError",
            "An internal error occurred; the log of this node has the details under the activity id.",
        ),
    }
}

fn bad_name(name: BadName) -> &'static str {
    match name {
        BadName::Key => "The key name is not valid: it must match ^[0-9a-zA-Z-]{1,127}$.",
        BadName::KeyVersion => "The key version is not valid: it must be 32 hexadecimal digits.",
        BadName::Pool => {
            "The managed HSM name is not valid: 3 to 24 letters, digits and single hyphens, a letter first and no hyphen last."
        }
        BadName::Scope => {
            "The role scope is not valid here: scopes are /, /keys and /keys/{key-name}, role definitions live at / only."
        }
        BadName::Guid => "The name of a role definition or role assignment must be a GUID.",
        BadName::Path => {
            "The request path is not valid: a part holds what no name may hold, or its percent-encoding is wrong."
        }
    }
}

fn bad_parameter(parameter: &BadParameter) -> String {
    match parameter {
        BadParameter::Body(BadBody::Empty) => "The request body is empty; this operation needs a JSON object.".into(),
        BadParameter::Body(BadBody::Syntax) => "The request body is not valid JSON, or nested too deeply.".into(),
        BadParameter::Body(BadBody::Shape) => {
            "The request body does not have the shape that this operation takes: a member has the wrong type.".into()
        }
        BadParameter::Body(BadBody::Truncated) => "The request body ended too early.".into(),
        BadParameter::Missing(name) => format!("Parameter {name} is required."),
        BadParameter::Unknown(name) => format!("Parameter {name} has a value that is not known."),
        BadParameter::Unsupported(name) => format!("Parameter {name} has a value that is not supported here."),
        BadParameter::Malformed(name) => format!("Parameter {name} is malformed, or its length is wrong."),
        BadParameter::NotAllowed(name) => format!("Parameter {name} is not allowed here."),
        BadParameter::Length { parameter: "count", min, max } => range_of("GetRandomBytesRequest: count", min, max),
        BadParameter::Range { parameter: "count", min, max } => range_of("GetRandomBytesRequest: count", min, max),
        BadParameter::Length { parameter, min, max } if min == max => {
            format!("The length of parameter {parameter} must be {min}.")
        }
        BadParameter::Length { parameter, min, max } => {
            format!("The length of parameter {parameter} must be between {min} and {max}.")
        }
        BadParameter::Range { parameter, min, max: i64::MAX } => {
            format!("Parameter {parameter} must be at least {min}.")
        }
        BadParameter::Range { parameter, min, max } => {
            format!("Parameter {parameter} must be between {min} and {max}.")
        }
        BadParameter::AlgorithmMismatch { algorithm, operation, spec } => format!(
            "Algorithm {} cannot {} with a key of type {}.",
            algorithm.row().name,
            operation.row().name,
            key_type(*spec)
        ),
        BadParameter::ImportMixed => "key_ops: import cannot stand beside another key operation.".into(),
        BadParameter::KeyMaterial => {
            "The imported key is not valid: parts are missing or contradict each other, it is too weak, or its point is not on its curve.".into()
        }
        BadParameter::CryptographicFailure => "The value could not be decrypted or unwrapped with this key and these parameters.".into(),
        BadParameter::ValidityOrder => "attributes: nbf must be before exp.".into(),
        BadParameter::SkipToken => "The $skiptoken was not made by this list.".into(),
        BadParameter::Filter => "The $filter is not supported: use atScope() or principalId eq '{guid}'.".into(),
        BadParameter::IpRule(why) => format!("Invalid value found at networkAcls.ipRules: {why}."),
        BadParameter::UnknownNetwork => {
            "networkAcls.virtualNetworkRules: the configuration of this installation has no ranges for this subnet; add it to [networks].".into()
        }
    }
}

/// `EC-HSM P-256`, `RSA-HSM 2048` …
fn key_type(spec: KeySpec) -> String {
    let row = spec.row();
    match row.curve {
        Some(curve) => format!("{} {}", row.kty.hsm_name(), curve.as_str()),
        None => format!("{} {}", row.kty.hsm_name(), row.bits),
    }
}

fn range_of(what: &str, min: impl std::fmt::Display, max: impl std::fmt::Display) -> String {
    format!("{what} cannot be greater than {max} or less than {min}")
}

fn forbidden(reason: Forbidden) -> Rendered {
    let with = |code, inner, message: String| Rendered { status: 403, code, inner, message, retry_after: None };
    let plain = |message: &str| with("Forbidden", None, message.into());
    match reason {
        Forbidden::KeyDisabled(operation) => {
            let text = format!("Operation {} is not allowed on a disabled key.", operation.row().name);
            with("Forbidden", Some("KeyDisabled"), text)
        }
        Forbidden::KeyNotYetValid(operation) => {
            let text =
                format!("Operation {} is not allowed on a key that is not yet valid (nbf).", operation.row().name);
            with("Forbidden", Some("KeyNotYetValid"), text)
        }
        Forbidden::KeyExpired(operation) => {
            let text = format!("Operation {} is not allowed on an expired key (exp).", operation.row().name);
            with("Forbidden", Some("KeyExpired"), text)
        }
        Forbidden::OperationNotPermitted(operation) => {
            let text = format!("Operation {} is not among the key_ops of this key.", operation.row().name);
            with("Forbidden", None, text)
        }
        Forbidden::RotateDisabled => {
            with("Forbidden", Some("KeyDisabled"), "Operation rotate is not allowed on a disabled key.".into())
        }
        Forbidden::PurgeProtected => {
            plain("Purge protection is on: the key can be purged only after its scheduledPurgeDate.")
        }
        Forbidden::NotActivated => plain(
            "The managed HSM is not activated: download its security domain first; until then it answers nothing else.",
        ),
        Forbidden::BuiltInRole => plain("A built-in role can be neither changed nor deleted."),
        Forbidden::LastAdministrator => {
            plain("This would remove the last Managed HSM Administrator at /: assign the role to somebody else first.")
        }
        Forbidden::UsesExhausted => {
            plain("This key version has done all the AES-GCM encryptions that are safe with it: rotate the key.")
        }
        Forbidden::VersionsExhausted => plain("The key has all the versions that a key may have."),
        Forbidden::RolesExhausted => plain("The number of role definitions or role assignments here is at its limit."),
        Forbidden::Network(refusal) => with("Forbidden", Some(network_code(refusal)), network_text(refusal)),
    }
}

fn network_code(refusal: NetworkRefusal) -> &'static str {
    match refusal {
        NetworkRefusal::Address { .. } => "ForbiddenByFirewall",
        NetworkRefusal::Public { .. } | NetworkRefusal::Connection(_) | NetworkRefusal::OtherResource => {
            "ForbiddenByConnection"
        }
    }
}

/// What Azure says; a managed HSM says it in one line and puts the address into brackets.
fn network_text(refusal: NetworkRefusal) -> String {
    match refusal {
        NetworkRefusal::Address { client, bypass: Bypass::AzureServices } => {
            format!("Client address ({client}) is not authorized and caller is not a trusted service.")
        }
        NetworkRefusal::Address { client, bypass: Bypass::None } => {
            format!("Client address ({client}) is not authorized and caller was ignored because bypass is set to None.")
        }
        NetworkRefusal::Public { bypass: Bypass::AzureServices } => {
            "Public network access is disabled and request is not from a trusted service nor via an approved private link.".into()
        }
        NetworkRefusal::Public { bypass: Bypass::None } => {
            "Connection is not an approved private link and caller was ignored because bypass is not set to \
             'AzureServices' and PublicNetworkAccess is set to 'Disabled'.".into()
        }
        NetworkRefusal::Connection(status) => {
            format!("The private endpoint connection is not approved: its state is {}.", status.as_str())
        }
        NetworkRefusal::OtherResource => {
            "This TCP connection does not allow access to the host of the request: the private endpoint belongs to another resource.".into()
        }
    }
}

fn not_found(what: &NotFound) -> Rendered {
    let with = |code, message: String| Rendered { status: 404, code, inner: None, message, retry_after: None };
    match what {
        NotFound::Key(name) => with(
            "KeyNotFound",
            format!(
                "A key with (name/id) {name} was not found in this managed HSM. If you recently deleted this key you may be \
                 able to recover it using the correct recovery command. For help resolving this issue, please see \
                 https://go.microsoft.com/fwlink/?linkid=2125182"
            ),
        ),
        NotFound::DeletedKey(name) => with("KeyNotFound", format!("Deleted Key not found: {name}")),
        NotFound::RoleAssignment => with("RoleAssignmentNotFound", "Requested role assignment not found".into()),
        NotFound::RoleDefinition => with("RoleDefinitionNotFound", "Requested role definition not found".into()),
        NotFound::Path => with("NotFound", "The requested resource does not exist.".into()),
        NotFound::Pool => with("NotFound", "There is no vault or managed HSM of this name here.".into()),
    }
}

fn conflict(what: &Conflict) -> Rendered {
    let with = |inner, message: String| Rendered { status: 409, code: "Conflict", inner, message, retry_after: None };
    match what {
        Conflict::KeyDeleted(name) => with(
            Some("ObjectIsDeletedButRecoverable"),
            format!(
                "Key {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, \
                 the key can only be recovered or purged."
            ),
        ),
        Conflict::Concurrent => {
            with(None, "The object was changed at the same time by another request: try again.".into())
        }
        Conflict::RoleAssignmentExists => {
            Rendered { code: "RoleAssignmentExists", ..with(None, "The role assignment already exists.".into()) }
        }
        Conflict::RoleAssignmentDiffers => Rendered {
            code: "RoleAssignmentExists",
            ..with(None, "A role assignment of this name exists already with another principal, role or scope.".into())
        },
    }
}

fn unavailable(part: Unavailable) -> &'static str {
    match part {
        Unavailable::Store => "The store cannot be used at the moment.",
        Unavailable::Unproved => {
            "This node has lost touch with the store that it shares with others. Ask another node, or try again."
        }
        Unavailable::Partition => "The HSM partition of this pool is not there at the moment.",
        Unavailable::Audit => "The audit log cannot be written: nothing is done without a record of it.",
        Unavailable::Stopping => "This node is stopping.",
        Unavailable::Sealed => "The managed HSM is sealed: it waits for its security domain.",
    }
}

#[cfg(test)]
mod tests;
