//! Routes as rows of one static table: what each operation is called, where it lies, and what it needs.

use super::call::Handler;
use super::handlers::graph::GraphHandler;
use super::handlers::identity::IdentityHandler;
use super::handlers::management::ManagementHandler;
use super::handlers::node::NodeHandler;
use super::handlers::{identity, keys, node, roles};
use http::Method;
use std::time::Duration;
use strongroom_engine::PoolState;
use strongroom_model::DataAction;
use strongroom_model::limits::BODY_MAX;
use strongroom_model::management::{ManagementAction, ResourceKind};

/// The services that this process speaks for, told apart by host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// A managed HSM: `{name}.managedhsm.{domain}`.
    Hsm,
    /// The login host: `login.{domain}`.
    Identity,
    /// The management plane: `management.{domain}`.
    Management,
    /// The directory: `graph.{domain}`.
    Graph,
    /// The managed-identity listener: plain HTTP on a loopback port of its own.
    ManagedIdentity,
    /// This node itself, whatever the host name: probes know an address only.
    Node,
}

/// Who may use a route.
#[derive(Clone, Copy, Debug)]
pub enum Access {
    /// Anybody.
    Public {
        /// Why that is right.
        reason: &'static str,
    },
    /// Whom local RBAC allows `action` at `scope`.
    Hsm {
        /// The data action.
        action: DataAction,
        /// Where.
        scope: ScopeSource,
    },
    /// Whom a role of the management plane allows `action` at the place that the path names.
    Management {
        /// The action.
        action: ManagementAction,
        /// Where.
        at: ManagementScope,
    },
    /// Whoever has a valid token: what is answered depends on what the caller may see.
    Member {
        /// Why that is right.
        reason: &'static str,
    },
}

/// Where the scope of a permission of the management plane comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManagementScope {
    /// `subscriptions/{subscription}`
    Subscription,
    /// The resource group in the path.
    Group,
    /// The resource in the path.
    Resource(ResourceKind),
    /// The scope that the path begins with.
    Path,
}

/// Where the scope of a permission comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeSource {
    /// `/`
    Hsm,
    /// `/keys`
    Keys,
    /// `/keys/{name}`, the name from the path.
    Key,
    /// The scope that the path begins with.
    Path,
    /// The scope that the path begins with, which must be `/`: what is done there holds everywhere.
    PathHsm,
}

/// What carries a route out.
#[derive(Clone, Copy)]
pub enum Run {
    /// An operation on a managed HSM.
    Hsm(Handler),
    /// An endpoint of identity.
    Identity(IdentityHandler),
    /// A question to this node.
    Node(NodeHandler),
    /// An operation of the management plane.
    Management(ManagementHandler),
    /// A question to the directory.
    Graph(GraphHandler),
}

/// One operation.
pub struct Route {
    /// Its public name in the API description.
    pub operation: &'static str,
    /// Its name in Azure's log.
    pub log_name: &'static str,
    /// The service it belongs to.
    pub surface: Surface,
    /// The method.
    pub method: Method,
    /// The path: words, `{parameters}`, `{parameters?}` that may be missing; `{scope}` in front is a role scope with
    /// `providers/Microsoft.Authorization` behind it.
    pub pattern: &'static str,
    /// The first API version that has it; `None` where versions mean nothing.
    pub since: Option<&'static str>,
    /// The states of the pool in which it answers.
    pub states: &'static [PoolState],
    /// Who may use it.
    pub access: Access,
    /// Whether it changes anything: then its audit record goes into the commit.
    pub changes: bool,
    /// The status of its success.
    pub success: u16,
    /// Largest body, in bytes.
    pub body_limit: usize,
    /// Longest time for the body to come.
    pub body_timeout: Duration,
    /// What carries it out.
    pub run: Run,
}

/// Longest time for a body to come, on every route of today: 64 KiB in 30 s is 17 kbit/s.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The states in which key and role operations answer.
const ACTIVATED: &[PoolState] = &[PoolState::Activated];

const CHANGES: bool = true;
const READS: bool = false;

/// Rows of the managed HSM: operation, name in the log, method, path, first version, action at scope, effect, status, handler.
macro_rules! hsm_routes {
    ($($operation:literal $log:literal $method:ident $pattern:literal $since:literal
        $action:ident at $scope:ident, $changes:ident $success:literal => $handler:path;)*) => {
        &[$(Route {
            operation: $operation,
            log_name: $log,
            surface: Surface::Hsm,
            method: Method::$method,
            pattern: $pattern,
            since: Some($since),
            states: ACTIVATED,
            access: Access::Hsm { action: DataAction::$action, scope: ScopeSource::$scope },
            changes: $changes,
            success: $success,
            body_limit: BODY_MAX,
            body_timeout: BODY_TIMEOUT,
            run: Run::Hsm($handler),
        },)*]
    };
}

/// Rows that anybody may use: operation, name in the log, surface, method, path, handler, and why.
macro_rules! public_routes {
    ($($operation:literal $log:literal $surface:ident $method:ident $pattern:literal
        => $kind:ident($handler:path), because $reason:literal;)*) => {
        &[$(Route {
            operation: $operation,
            log_name: $log,
            surface: Surface::$surface,
            method: Method::$method,
            pattern: $pattern,
            since: None,
            states: &[],
            access: Access::Public { reason: $reason },
            changes: false,
            success: 200,
            body_limit: BODY_MAX,
            body_timeout: BODY_TIMEOUT,
            run: Run::$kind($handler),
        },)*]
    };
}

/// The operations on a managed HSM.
pub static HSM_ROUTES: &[Route] = hsm_routes! {
    "CreateKey" "KeyCreate" POST "keys/{name}/create" "2015-06-01" KeysCreate at Key, CHANGES 200 => keys::create_key;
    "ImportKey" "KeyImport" PUT "keys/{name}" "2015-06-01" KeysImport at Key, CHANGES 200 => keys::import_key;
    "UpdateKey" "KeyUpdate" PATCH "keys/{name}/{version?}" "2015-06-01" KeysWrite at Key, CHANGES 200 => keys::update_key;
    "GetKey" "KeyGet" GET "keys/{name}/{version?}" "2015-06-01" KeysRead at Key, READS 200 => keys::get_key;
    "GetKeys" "KeyList" GET "keys" "2015-06-01" KeysRead at Keys, READS 200 => keys::get_keys;
    "GetKeyVersions" "KeyListVersions" GET "keys/{name}/versions" "2015-06-01"
        KeysRead at Key, READS 200 => keys::get_key_versions;
    "DeleteKey" "KeyDelete" DELETE "keys/{name}" "2015-06-01" KeysDelete at Key, CHANGES 200 => keys::delete_key;
    "RotateKey" "KeyRotate" POST "keys/{name}/rotate" "7.3" KeysRotate at Key, CHANGES 200 => keys::rotate_key;
    "GetKeyRotationPolicy" "KeyRotationPolicyGet" GET "keys/{name}/rotationpolicy" "7.3"
        KeysRead at Key, READS 200 => keys::get_key_rotation_policy;
    "UpdateKeyRotationPolicy" "KeyRotationPolicySet" PUT "keys/{name}/rotationpolicy" "7.3"
        KeysWrite at Key, CHANGES 200 => keys::update_key_rotation_policy;
    "Encrypt" "KeyEncrypt" POST "keys/{name}/{version?}/encrypt" "2015-06-01"
        KeysEncrypt at Key, READS 200 => keys::encrypt;
    "Decrypt" "KeyDecrypt" POST "keys/{name}/{version?}/decrypt" "2015-06-01"
        KeysDecrypt at Key, READS 200 => keys::decrypt;
    "Sign" "KeySign" POST "keys/{name}/{version?}/sign" "2015-06-01" KeysSign at Key, READS 200 => keys::sign;
    "Verify" "KeyVerify" POST "keys/{name}/{version?}/verify" "2015-06-01" KeysVerify at Key, READS 200 => keys::verify;
    "WrapKey" "KeyWrap" POST "keys/{name}/{version?}/wrapkey" "2015-06-01" KeysWrap at Key, READS 200 => keys::wrap_key;
    "UnwrapKey" "KeyUnwrap" POST "keys/{name}/{version?}/unwrapkey" "2015-06-01"
        KeysUnwrap at Key, READS 200 => keys::unwrap_key;
    "GetDeletedKeys" "KeyListDeleted" GET "deletedkeys" "2016-10-01"
        DeletedKeysRead at Keys, READS 200 => keys::get_deleted_keys;
    "GetDeletedKey" "KeyGetDeleted" GET "deletedkeys/{name}" "2016-10-01"
        DeletedKeysRead at Key, READS 200 => keys::get_deleted_key;
    "RecoverDeletedKey" "KeyRecover" POST "deletedkeys/{name}/recover" "2016-10-01"
        DeletedKeysRecover at Key, CHANGES 200 => keys::recover_deleted_key;
    "PurgeDeletedKey" "KeyPurge" DELETE "deletedkeys/{name}" "2016-10-01"
        DeletedKeysDelete at Key, CHANGES 204 => keys::purge_deleted_key;
    "GetRandomBytes" "RandomBytesGet" POST "rng" "7.3" Rng at Hsm, READS 200 => keys::get_random_bytes;
    "RoleAssignments_ListForScope" "RoleAssignmentList" GET "{scope}/roleAssignments" "7.2"
        RoleAssignmentsRead at Path, READS 200 => roles::list_role_assignments;
    "RoleAssignments_Get" "RoleAssignmentGet" GET "{scope}/roleAssignments/{id}" "7.2"
        RoleAssignmentsRead at Path, READS 200 => roles::get_role_assignment;
    "RoleAssignments_Create" "RoleAssignmentCreate" PUT "{scope}/roleAssignments/{id}" "7.2"
        RoleAssignmentsWrite at Path, CHANGES 201 => roles::create_role_assignment;
    "RoleAssignments_Delete" "RoleAssignmentDelete" DELETE "{scope}/roleAssignments/{id}" "7.2"
        RoleAssignmentsDelete at Path, CHANGES 200 => roles::delete_role_assignment;
    "RoleDefinitions_List" "RoleDefinitionList" GET "{scope}/roleDefinitions" "7.2"
        RoleDefinitionsRead at Path, READS 200 => roles::list_role_definitions;
    "RoleDefinitions_Get" "RoleDefinitionGet" GET "{scope}/roleDefinitions/{id}" "7.2"
        RoleDefinitionsRead at Path, READS 200 => roles::get_role_definition;
    "RoleDefinitions_CreateOrUpdate" "RoleDefinitionSet" PUT "{scope}/roleDefinitions/{id}" "7.2"
        RoleDefinitionsWrite at PathHsm, CHANGES 201 => roles::set_role_definition;
    "RoleDefinitions_Delete" "RoleDefinitionDelete" DELETE "{scope}/roleDefinitions/{id}" "7.2"
        RoleDefinitionsDelete at PathHsm, CHANGES 200 => roles::delete_role_definition;
};

/// An operation of the API description that is not offered yet.
pub struct NotOffered {
    /// Its public name.
    pub operation: &'static str,
    /// The method.
    pub method: Method,
    /// The path, as in [`Route::pattern`].
    pub pattern: &'static str,
    /// The first API version that has it.
    pub since: &'static str,
}

/// Rows of what is not offered: they answer 404, also where another method is offered on a path of the same shape.
macro_rules! not_offered {
    ($($operation:literal $method:ident $pattern:literal $since:literal;)*) => {
        &[$(NotOffered { operation: $operation, method: Method::$method, pattern: $pattern, since: $since },)*]
    };
}

/// The operations on keys that are not offered yet.
pub static NOT_OFFERED: &[NotOffered] = not_offered! {
    "BackupKey" POST "keys/{name}/backup" "2015-06-01";
    "RestoreKey" POST "keys/restore" "2015-06-01";
    "Release" POST "keys/{name}/{version?}/release" "7.3";
    "GetKeyAttestation" GET "keys/{name}/{version?}/attestation" "7.6";
    "SecureWrapKey" POST "keys/{name}/{version?}/securewrapkey" "2026-04-01";
    "SecureUnwrapKey" POST "keys/{name}/{version?}/secureunwrapkey" "2026-04-01";
};

/// What this node answers without a token.
pub static PUBLIC_ROUTES: &[Route] = public_routes! {
    "OpenIdConfiguration" "OpenIdConfigurationGet" Identity GET "{tenant}/v2.0/.well-known/openid-configuration"
        => Identity(identity::openid_configuration), because "clients read it before they have a token; it holds URLs only";
    "OpenIdConfiguration" "OpenIdConfigurationGet" Identity GET "{tenant}/.well-known/openid-configuration"
        => Identity(identity::openid_configuration), because "clients read it before they have a token; it holds URLs only";
    "Token" "TokenIssue" Identity POST "{tenant}/oauth2/v2.0/token"
        => Identity(identity::token), because "the client authenticates in the request itself";
    "Token" "TokenIssue" Identity POST "{tenant}/oauth2/token"
        => Identity(identity::token), because "the client authenticates in the request itself";
    "Jwks" "SigningKeysGet" Identity GET "{tenant}/discovery/v2.0/keys"
        => Identity(identity::jwks), because "verifiers need the public keys; there is nothing else in it";
    "Jwks" "SigningKeysGet" Identity GET "{tenant}/discovery/keys"
        => Identity(identity::jwks), because "verifiers need the public keys; there is nothing else in it";
    "InstanceDiscovery" "InstanceDiscoveryGet" Identity GET "common/discovery/instance"
        => Identity(identity::instance_discovery), because "clients ask it before they have a token; it holds URLs only";
    "UserRealm" "UserRealmGet" Identity GET "{tenant}/userrealm/{user}"
        => Identity(identity::user_realm), because "clients ask it before a login; every name gets the same answer";
    "Authorize" "AuthorizationPageGet" Identity GET "{tenant}/oauth2/v2.0/authorize"
        => Identity(identity::authorize), because "whoever signs in has no token yet; it shows a page and keeps nothing";
    "SignIn" "PersonSignIn" Identity POST "sign-in"
        => Identity(identity::sign_in), because "the person authenticates in the request itself";
    "DeviceCode" "DeviceCodeIssue" Identity POST "{tenant}/oauth2/v2.0/devicecode"
        => Identity(identity::device_code), because "the code is worth nothing until a person signs in for it";
    "DevicePage" "DevicePageGet" Identity GET "device"
        => Identity(identity::device_page), because "whoever signs in has no token yet; it shows a page and keeps nothing";
    "EnterUserCode" "DeviceUserCodeEnter" Identity POST "device"
        => Identity(identity::enter_user_code), because "the code leads to a sign-in; wrong ones are limited";
    "Logout" "LogoutPageGet" Identity GET "{tenant}/oauth2/v2.0/logout"
        => Identity(identity::logout), because "there is no session to end; it shows a page";
    "InstanceMetadataToken" "ManagedIdentityTokenIssue" ManagedIdentity GET "metadata/identity/oauth2/token"
        => Identity(identity::instance_metadata_token), because "being on this machine is the credential: loopback only";
    "AppServiceToken" "ManagedIdentityTokenIssue" ManagedIdentity GET "msi/token"
        => Identity(identity::app_service_token), because "the secret in X-IDENTITY-HEADER is the credential";
    "Health" "NodeHealth" Node GET "healthz"
        => Node(node::health), because "probes have no token; it tells states, no names";
    "Readiness" "NodeReadiness" Node GET "readyz"
        => Node(node::readiness), because "probes have no token; it tells states, no names";
};

/// Every route of the process.
pub fn all() -> impl Iterator<Item = &'static Route> {
    HSM_ROUTES
        .iter()
        .chain(PUBLIC_ROUTES)
        .chain(super::management_routes::MANAGEMENT_ROUTES)
        .chain(super::management_routes::GRAPH_ROUTES)
}
