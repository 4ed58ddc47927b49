//! What a role of the management plane may allow, one row each (`providers.json`, operations list).

macro_rules! management_actions {
    ($($variant:ident = $text:literal,)*) => {
        /// One thing that a role may allow on the management plane.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ManagementAction { $(#[doc = concat!("`", $text, "`")] $variant,)* }

        impl ManagementAction {
            /// Every action, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The action as it travels.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

management_actions! {
    SubscriptionsRead = "Microsoft.Resources/subscriptions/read",
    ProvidersRead = "Microsoft.Resources/subscriptions/providers/read",
    GroupsRead = "Microsoft.Resources/subscriptions/resourceGroups/read",
    GroupsWrite = "Microsoft.Resources/subscriptions/resourceGroups/write",
    GroupsDelete = "Microsoft.Resources/subscriptions/resourceGroups/delete",
    RoleAssignmentsRead = "Microsoft.Authorization/roleAssignments/read",
    RoleAssignmentsWrite = "Microsoft.Authorization/roleAssignments/write",
    RoleAssignmentsDelete = "Microsoft.Authorization/roleAssignments/delete",
    RoleDefinitionsRead = "Microsoft.Authorization/roleDefinitions/read",
    ManagedHsmsRead = "Microsoft.KeyVault/managedHSMs/read",
    ManagedHsmsWrite = "Microsoft.KeyVault/managedHSMs/write",
    ManagedHsmsDelete = "Microsoft.KeyVault/managedHSMs/delete",
    ManagedHsmKeysRead = "Microsoft.KeyVault/managedHSMs/keys/read",
    ManagedHsmKeysWrite = "Microsoft.KeyVault/managedHSMs/keys/write",
    ManagedHsmConnectionsRead = "Microsoft.KeyVault/managedHSMs/privateEndpointConnections/read",
    ManagedHsmConnectionsWrite = "Microsoft.KeyVault/managedHSMs/privateEndpointConnections/write",
    ManagedHsmConnectionsDelete = "Microsoft.KeyVault/managedHSMs/privateEndpointConnections/delete",
    ManagedHsmLinksRead = "Microsoft.KeyVault/managedHSMs/privateLinkResources/read",
    DeletedManagedHsmsRead = "Microsoft.KeyVault/deletedManagedHsms/read",
    DeletedManagedHsmRead = "Microsoft.KeyVault/locations/deletedManagedHsms/read",
    DeletedManagedHsmPurge = "Microsoft.KeyVault/locations/deletedManagedHsms/purge/action",
    ManagedHsmResultsRead = "Microsoft.KeyVault/locations/managedHsmOperationResults/read",
    ManagedHsmNamesRead = "Microsoft.KeyVault/checkMhsmNameAvailability/read",
    VaultsRead = "Microsoft.KeyVault/vaults/read",
    VaultsWrite = "Microsoft.KeyVault/vaults/write",
    VaultsDelete = "Microsoft.KeyVault/vaults/delete",
    AccessPoliciesWrite = "Microsoft.KeyVault/vaults/accessPolicies/write",
    VaultConnectionsRead = "Microsoft.KeyVault/vaults/privateEndpointConnections/read",
    VaultConnectionsWrite = "Microsoft.KeyVault/vaults/privateEndpointConnections/write",
    VaultConnectionsDelete = "Microsoft.KeyVault/vaults/privateEndpointConnections/delete",
    VaultLinksRead = "Microsoft.KeyVault/vaults/privateLinkResources/read",
    DeletedVaultsRead = "Microsoft.KeyVault/deletedVaults/read",
    DeletedVaultRead = "Microsoft.KeyVault/locations/deletedVaults/read",
    DeletedVaultPurge = "Microsoft.KeyVault/locations/deletedVaults/purge/action",
    VaultResultsRead = "Microsoft.KeyVault/locations/operationResults/read",
    VaultNamesRead = "Microsoft.KeyVault/checkNameAvailability/read",
}
