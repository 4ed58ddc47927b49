//! The rows of the management plane (Azure Resource Manager) and of the directory (Graph).

use super::handlers::graph;
use super::handlers::management::{access, groups, hsms, keys, network, vaults};
use super::route::{Access, BODY_TIMEOUT, ManagementScope, Route, Run, Surface};
use http::Method;
use strongroom_model::limits::BODY_MAX;
use strongroom_model::management::{ManagementAction, ResourceKind};

/// A vault with all its access policies: 1,024 of them.
const VAULT_BODY_MAX: usize = 1 << 20;

const CHANGES: bool = true;
const READS: bool = false;

macro_rules! access {
    (member $reason:literal) => {
        Access::Member { reason: $reason }
    };
    ($action:ident at Hsm) => {
        Access::Management {
            action: ManagementAction::$action,
            at: ManagementScope::Resource(ResourceKind::ManagedHsm),
        }
    };
    ($action:ident at Vault) => {
        Access::Management { action: ManagementAction::$action, at: ManagementScope::Resource(ResourceKind::Vault) }
    };
    ($action:ident at $scope:ident) => {
        Access::Management { action: ManagementAction::$action, at: ManagementScope::$scope }
    };
}

/// Rows: operation, name in the log, method, path, access, effect, status, handler.
macro_rules! management_routes {
    ($($operation:literal $log:literal $method:ident $pattern:literal
        [$($access:tt)*] $changes:ident $success:literal => $handler:path;)*) => {
        &[$(Route {
            operation: $operation,
            log_name: $log,
            surface: Surface::Management,
            method: Method::$method,
            pattern: $pattern,
            since: None,
            states: &[],
            access: access!($($access)*),
            changes: $changes,
            success: $success,
            body_limit: VAULT_BODY_MAX,
            body_timeout: BODY_TIMEOUT,
            run: Run::Management($handler),
        },)*]
    };
}

/// The operations of the management plane.
pub(super) static MANAGEMENT_ROUTES: &[Route] = management_routes! {
    "Tenants_List" "TenantList" GET
        "tenants"
        [member "a caller may know the tenant that its token names"] READS 200 => groups::list_tenants;
    "Subscriptions_List" "SubscriptionList" GET
        "subscriptions"
        [member "only a subscription in which the caller has a role is shown"]
        READS 200 => groups::list_subscriptions;
    "Subscriptions_Get" "SubscriptionGet" GET
        "subscriptions/{subscription}"
        [SubscriptionsRead at Subscription] READS 200 => groups::get_subscription;
    "Subscriptions_ListLocations" "LocationList" GET
        "subscriptions/{subscription}/locations"
        [SubscriptionsRead at Subscription] READS 200 => groups::list_locations;
    "Providers_List" "ProviderList" GET
        "subscriptions/{subscription}/providers"
        [ProvidersRead at Subscription] READS 200 => groups::list_providers;
    "Providers_Get" "ProviderGet" GET
        "subscriptions/{subscription}/providers/{namespace}"
        [ProvidersRead at Subscription] READS 200 => groups::get_provider;
    "Providers_Register" "ProviderRegister" POST
        "subscriptions/{subscription}/providers/{namespace}/register"
        [ProvidersRead at Subscription] READS 200 => groups::get_provider;
    "Resources_List" "ResourceList" GET
        "subscriptions/{subscription}/resources"
        [member "only resources that the caller may read are shown"] READS 200 => groups::list_resources;
    "Resources_ListByResourceGroup" "ResourceList" GET
        "subscriptions/{subscription}/resourceGroups/{group}/resources"
        [member "only resources that the caller may read are shown"] READS 200 => groups::list_resources;
    "ResourceGroups_List" "ResourceGroupList" GET
        "subscriptions/{subscription}/resourceGroups"
        [member "only groups that the caller may read are shown"] READS 200 => groups::list_groups;
    "ResourceGroups_Get" "ResourceGroupGet" GET
        "subscriptions/{subscription}/resourceGroups/{group}"
        [GroupsRead at Group] READS 200 => groups::get_group;
    "ResourceGroups_CheckExistence" "ResourceGroupCheck" HEAD
        "subscriptions/{subscription}/resourceGroups/{group}"
        [GroupsRead at Group] READS 204 => groups::check_group;
    "ResourceGroups_CreateOrUpdate" "ResourceGroupPut" PUT
        "subscriptions/{subscription}/resourceGroups/{group}"
        [GroupsWrite at Group] CHANGES 200 => groups::put_group;
    "ResourceGroups_Update" "ResourceGroupPatch" PATCH
        "subscriptions/{subscription}/resourceGroups/{group}"
        [GroupsWrite at Group] CHANGES 200 => groups::patch_group;
    "ResourceGroups_Delete" "ResourceGroupDelete" DELETE
        "subscriptions/{subscription}/resourceGroups/{group}"
        [GroupsDelete at Group] CHANGES 200 => groups::delete_group;
    "Operations_List" "OperationList" GET
        "providers/Microsoft.KeyVault/operations"
        [member "a list of what roles may allow; it says nothing about tenants"] READS 200 => groups::list_operations;

    "ManagedHsms_CreateOrUpdate" "ManagedHsmPut" PUT
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs/{name}"
        [ManagedHsmsWrite at Hsm] CHANGES 200 => hsms::create_or_update;
    "ManagedHsms_Update" "ManagedHsmPatch" PATCH
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs/{name}"
        [ManagedHsmsWrite at Hsm] CHANGES 200 => hsms::update;
    "ManagedHsms_Delete" "ManagedHsmDelete" DELETE
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs/{name}"
        [ManagedHsmsDelete at Hsm] CHANGES 200 => hsms::delete;
    "ManagedHsms_Get" "ManagedHsmGet" GET
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs/{name}"
        [ManagedHsmsRead at Hsm] READS 200 => hsms::get;
    "ManagedHsms_ListByResourceGroup" "ManagedHsmList" GET
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs"
        [member "only managed HSMs that the caller may read are shown"] READS 200 => hsms::list;
    "ManagedHsms_ListBySubscription" "ManagedHsmList" GET
        "subscriptions/{subscription}/providers/Microsoft.KeyVault/managedHSMs"
        [member "only managed HSMs that the caller may read are shown"] READS 200 => hsms::list;
    "ManagedHsms_ListDeleted" "ManagedHsmListDeleted" GET
        "subscriptions/{subscription}/providers/Microsoft.KeyVault/deletedManagedHSMs"
        [DeletedManagedHsmsRead at Subscription] READS 200 => hsms::list_deleted;
    "ManagedHsms_GetDeleted" "ManagedHsmGetDeleted" GET
        "subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{location}/deletedManagedHSMs/{name}"
        [DeletedManagedHsmRead at Subscription] READS 200 => hsms::get_deleted;
    "ManagedHsms_PurgeDeleted" "ManagedHsmPurge" POST
        "subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{location}/deletedManagedHSMs/{name}/purge"
        [DeletedManagedHsmPurge at Subscription] CHANGES 202 => hsms::purge;
    "ManagedHsmOperationResults_Get" "ManagedHsmOperationResultGet" GET
        "subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{location}/managedHsmOperationResults/{id}"
        [ManagedHsmResultsRead at Subscription] READS 200 => hsms::operation_result;
    "ManagedHsms_CheckMhsmNameAvailability" "ManagedHsmCheckName" POST
        "subscriptions/{subscription}/providers/Microsoft.KeyVault/checkMhsmNameAvailability"
        [ManagedHsmNamesRead at Subscription] READS 200 => hsms::check_name;
    "MHSMRegions_ListByResource" "ManagedHsmRegionList" GET
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs/{name}/regions"
        [ManagedHsmsRead at Hsm] READS 200 => hsms::regions;
    "MHSMPrivateEndpointConnections_ListByResource" "ManagedHsmConnectionList" GET
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs/{name}/privateEndpointConnections"
        [ManagedHsmConnectionsRead at Hsm] READS 200 => network::list_hsm_connections;
    "MHSMPrivateEndpointConnections_Get" "ManagedHsmConnectionGet" GET
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs/{name}/privateEndpointConnections/{connection}"
        [ManagedHsmConnectionsRead at Hsm] READS 200 => network::get_hsm_connection;
    "MHSMPrivateEndpointConnections_Put" "ManagedHsmConnectionPut" PUT
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs/{name}/privateEndpointConnections/{connection}"
        [ManagedHsmConnectionsWrite at Hsm] CHANGES 200 => network::put_hsm_connection;
    "MHSMPrivateEndpointConnections_Delete" "ManagedHsmConnectionDelete" DELETE
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs/{name}/privateEndpointConnections/{connection}"
        [ManagedHsmConnectionsDelete at Hsm] CHANGES 200 => network::delete_hsm_connection;
    "MHSMPrivateLinkResources_ListByMHSMResource" "ManagedHsmLinkResourceList" GET
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs/{name}/privateLinkResources"
        [ManagedHsmLinksRead at Hsm] READS 200 => network::list_hsm_links;
    "ManagedHsmKeys_CreateIfNotExist" "ManagedHsmKeyCreate" PUT
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs/{name}/keys/{key}"
        [ManagedHsmKeysWrite at Hsm] CHANGES 200 => keys::create_if_not_exist;
    "ManagedHsmKeys_Get" "ManagedHsmKeyGet" GET
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs/{name}/keys/{key}"
        [ManagedHsmKeysRead at Hsm] READS 200 => keys::get;
    "ManagedHsmKeys_List" "ManagedHsmKeyList" GET
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs/{name}/keys"
        [ManagedHsmKeysRead at Hsm] READS 200 => keys::list;
    "ManagedHsmKeys_GetVersion" "ManagedHsmKeyGet" GET
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs/{name}/keys/{key}/versions/{version}"
        [ManagedHsmKeysRead at Hsm] READS 200 => keys::get;
    "ManagedHsmKeys_ListVersions" "ManagedHsmKeyListVersions" GET
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs/{name}/keys/{key}/versions"
        [ManagedHsmKeysRead at Hsm] READS 200 => keys::list_versions;

    "Vaults_CreateOrUpdate" "VaultPut" PUT
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}"
        [VaultsWrite at Vault] CHANGES 200 => vaults::create_or_update;
    "Vaults_Update" "VaultPatch" PATCH
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}"
        [VaultsWrite at Vault] CHANGES 200 => vaults::update;
    "Vaults_Delete" "VaultDelete" DELETE
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}"
        [VaultsDelete at Vault] CHANGES 200 => vaults::delete;
    "Vaults_Get" "VaultGet" GET
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}"
        [VaultsRead at Vault] READS 200 => vaults::get;
    "Vaults_UpdateAccessPolicy" "VaultAccessPolicyUpdate" PUT
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}/accessPolicies/{kind}"
        [AccessPoliciesWrite at Vault] CHANGES 200 => vaults::update_access_policy;
    "Vaults_ListByResourceGroup" "VaultList" GET
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults"
        [member "only vaults that the caller may read are shown"] READS 200 => vaults::list;
    "Vaults_ListBySubscription" "VaultList" GET
        "subscriptions/{subscription}/providers/Microsoft.KeyVault/vaults"
        [member "only vaults that the caller may read are shown"] READS 200 => vaults::list;
    "Vaults_ListDeleted" "VaultListDeleted" GET
        "subscriptions/{subscription}/providers/Microsoft.KeyVault/deletedVaults"
        [DeletedVaultsRead at Subscription] READS 200 => vaults::list_deleted;
    "Vaults_GetDeleted" "VaultGetDeleted" GET
        "subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{location}/deletedVaults/{name}"
        [DeletedVaultRead at Subscription] READS 200 => vaults::get_deleted;
    "Vaults_PurgeDeleted" "VaultPurge" POST
        "subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{location}/deletedVaults/{name}/purge"
        [DeletedVaultPurge at Subscription] CHANGES 202 => vaults::purge;
    "OperationResults_Get" "VaultOperationResultGet" GET
        "subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{location}/operationResults/{id}"
        [VaultResultsRead at Subscription] READS 200 => vaults::operation_result;
    "Vaults_CheckNameAvailability" "VaultCheckName" POST
        "subscriptions/{subscription}/providers/Microsoft.KeyVault/checkNameAvailability"
        [VaultNamesRead at Subscription] READS 200 => vaults::check_name;
    "PrivateEndpointConnections_ListByResource" "VaultConnectionList" GET
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}/privateEndpointConnections"
        [VaultConnectionsRead at Vault] READS 200 => network::list_vault_connections;
    "PrivateEndpointConnections_Get" "VaultConnectionGet" GET
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}/privateEndpointConnections/{connection}"
        [VaultConnectionsRead at Vault] READS 200 => network::get_vault_connection;
    "PrivateEndpointConnections_Put" "VaultConnectionPut" PUT
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}/privateEndpointConnections/{connection}"
        [VaultConnectionsWrite at Vault] CHANGES 200 => network::put_vault_connection;
    "PrivateEndpointConnections_Delete" "VaultConnectionDelete" DELETE
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}/privateEndpointConnections/{connection}"
        [VaultConnectionsDelete at Vault] CHANGES 200 => network::delete_vault_connection;
    "PrivateLinkResources_ListByVault" "VaultLinkResourceList" GET
        "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}/privateLinkResources"
        [VaultLinksRead at Vault] READS 200 => network::list_vault_links;

    "RoleAssignments_ListForScope" "ManagementRoleAssignmentList" GET
        "{scope}/roleAssignments"
        [member "only assignments that the caller may read are shown"] READS 200 => access::list_assignments;
    "RoleAssignments_Get" "ManagementRoleAssignmentGet" GET
        "{scope}/roleAssignments/{id}"
        [RoleAssignmentsRead at Path] READS 200 => access::get_assignment;
    "RoleAssignments_Create" "ManagementRoleAssignmentCreate" PUT
        "{scope}/roleAssignments/{id}"
        [RoleAssignmentsWrite at Path] CHANGES 201 => access::put_assignment;
    "RoleAssignments_Delete" "ManagementRoleAssignmentDelete" DELETE
        "{scope}/roleAssignments/{id}"
        [RoleAssignmentsDelete at Path] CHANGES 200 => access::delete_assignment;
    "RoleDefinitions_List" "ManagementRoleDefinitionList" GET
        "{scope}/roleDefinitions"
        [member "the built-in roles are public; there are no others"] READS 200 => access::list_definitions;
    "RoleDefinitions_Get" "ManagementRoleDefinitionGet" GET
        "{scope}/roleDefinitions/{id}"
        [member "the built-in roles are public; there are no others"] READS 200 => access::get_definition;
};

/// The one reason why members may read the directory.
const MEMBERS_READ: &str = "members of a tenant read its directory, as at Azure; there is no secret in it";

macro_rules! graph_routes {
    ($($operation:literal $method:ident $pattern:literal => $handler:path;)*) => {
        &[$(Route {
            operation: $operation,
            log_name: "DirectoryRead",
            surface: Surface::Graph,
            method: Method::$method,
            pattern: $pattern,
            since: None,
            states: &[],
            access: Access::Member { reason: MEMBERS_READ },
            changes: READS,
            success: 200,
            body_limit: BODY_MAX,
            body_timeout: BODY_TIMEOUT,
            run: Run::Graph($handler),
        },)*]
    };
}

/// What of the directory clients ask for.
pub(super) static GRAPH_ROUTES: &[Route] = graph_routes! {
    "Me_Get" GET "v1.0/me" => graph::me;
    "ServicePrincipals_List" GET "v1.0/servicePrincipals" => graph::list_service_principals;
    "ServicePrincipals_Get" GET "v1.0/servicePrincipals/{id}" => graph::get_service_principal;
    "Users_List" GET "v1.0/users" => graph::list_users;
    "Users_Get" GET "v1.0/users/{id}" => graph::get_user;
    "Groups_List" GET "v1.0/groups" => graph::list_groups;
    "Groups_Get" GET "v1.0/groups/{id}" => graph::get_group;
    "DirectoryObjects_Get" GET "v1.0/directoryObjects/{id}" => graph::get_object;
    "DirectoryObjects_GetByIds" POST "v1.0/directoryObjects/getByIds" => graph::get_by_ids;
};
