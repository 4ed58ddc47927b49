//! The built-in roles of the management plane, as rows. None of them gives a right to a key.

use super::action::ManagementAction;
use uuid::{Uuid, uuid};

/// One built-in role; patterns are those of Azure, `*` standing for any text.
#[derive(Debug)]
pub struct BuiltInRole {
    /// Its GUID at Azure.
    pub id: Uuid,
    /// `roleName`.
    pub name: &'static str,
    /// `description`.
    pub description: &'static str,
    /// `actions`
    pub actions: &'static [&'static str],
    /// `notActions`
    pub not_actions: &'static [&'static str],
}

/// Everything, the giving of roles included: its last assignment at the subscription stays.
pub const OWNER: Uuid = uuid!("8e3af657-a8ff-443c-a75c-2fe8c4bcb635");

/// The built-in roles that matter for vaults and managed HSMs (learn.microsoft.com, Azure built-in roles).
pub static BUILT_IN_ROLES: &[BuiltInRole] = &[
    BuiltInRole {
        id: OWNER,
        name: "Owner",
        description: "Full access to all resources, including the assignment of roles.",
        actions: &["*"],
        not_actions: &[],
    },
    BuiltInRole {
        id: uuid!("b24988ac-6180-42a0-ab88-20f7382dd24c"),
        name: "Contributor",
        description: "Full access to all resources, without the assignment of roles.",
        actions: &["*"],
        not_actions: &["Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write"],
    },
    BuiltInRole {
        id: uuid!("acdd72a7-3385-48ef-bd42-f606fba81ae7"),
        name: "Reader",
        description: "Sees all resources and changes none.",
        actions: &["*/read"],
        not_actions: &[],
    },
    BuiltInRole {
        id: uuid!("18d7d88d-d35e-4fb5-a5c3-7773c20a72d9"),
        name: "User Access Administrator",
        description: "Manages who has access to resources.",
        actions: &["*/read", "Microsoft.Authorization/*"],
        not_actions: &[],
    },
    BuiltInRole {
        id: uuid!("f58310d9-a9f6-439a-9e8d-f62e7b41a168"),
        name: "Role Based Access Control Administrator",
        description: "Manages who has access to resources by assigning roles.",
        actions: &[
            "Microsoft.Authorization/roleAssignments/write",
            "Microsoft.Authorization/roleAssignments/delete",
            "*/read",
        ],
        not_actions: &[],
    },
    BuiltInRole {
        id: uuid!("f25e0fa2-a7c8-4377-a976-54943a77a395"),
        name: "Key Vault Contributor",
        description: "Manages key vaults.",
        actions: &[
            "Microsoft.Authorization/*/read",
            "Microsoft.KeyVault/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ],
        not_actions: &[
            "Microsoft.KeyVault/locations/deletedVaults/purge/action",
            "Microsoft.KeyVault/hsmPools/*",
            "Microsoft.KeyVault/managedHsms/*",
        ],
    },
    BuiltInRole {
        id: uuid!("18500a29-7fe2-46b2-a342-b16a415e101d"),
        name: "Managed HSM contributor",
        description: "Manages managed HSM pools, without access to what is in them.",
        actions: &[
            "Microsoft.KeyVault/managedHSMs/*",
            "Microsoft.KeyVault/deletedManagedHsms/read",
            "Microsoft.KeyVault/locations/deletedManagedHsms/read",
            "Microsoft.KeyVault/locations/deletedManagedHsms/purge/action",
            "Microsoft.KeyVault/locations/managedHsmOperationResults/read",
        ],
        not_actions: &[],
    },
];

/// The built-in role of a GUID.
pub fn built_in_role(id: Uuid) -> Option<&'static BuiltInRole> {
    BUILT_IN_ROLES.iter().find(|role| role.id == id)
}

impl BuiltInRole {
    /// Whether the role allows `action`: a pattern of `actions` fits and none of `notActions` does.
    pub fn allows(&self, action: ManagementAction) -> bool {
        let fits = |patterns: &[&str]| patterns.iter().any(|pattern| matches(pattern, action.as_str()));
        fits(self.actions) && !fits(self.not_actions)
    }
}

/// Whether a text fits a pattern without regard to case; each `*` stands for any text, a slash included.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = rest.get(at.saturating_add(part.len())..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ManagementAction as A;

    #[test]
    fn patterns_fit_as_at_azure() {
        for (pattern, text, wanted) in [
            ("*", "a/b", true),
            ("*/read", "a/b/read", true),
            ("*/read", "a/b/reads", false),
            ("a/*/Write", "A/b/c/write", true),
            ("a/*/write", "a/write", false),
            ("a/*", "a/b", true),
            ("a/*", "ab/c", false),
            ("a/b", "a/b/c", false),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "axc", false),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn roles_allow_what_they_say_and_no_more() {
        let allowed = |name: &str| -> Vec<A> {
            let role = BUILT_IN_ROLES.iter().find(|r| r.name == name).unwrap();
            A::ALL.iter().copied().filter(|a| role.allows(*a)).collect()
        };
        assert_eq!(allowed("Owner").len(), A::ALL.len());
        let contributor = allowed("Contributor");
        assert!(!contributor.contains(&A::RoleAssignmentsWrite) && !contributor.contains(&A::RoleAssignmentsDelete));
        assert!(contributor.contains(&A::ManagedHsmsDelete) && contributor.contains(&A::RoleAssignmentsRead));
        assert!(allowed("Reader").iter().all(|a| a.as_str().ends_with("/read")));
        let vaults = allowed("Key Vault Contributor");
        assert!(vaults.contains(&A::VaultsWrite) && !vaults.contains(&A::DeletedVaultPurge));
        assert!(!vaults.contains(&A::ManagedHsmsWrite) && !vaults.contains(&A::GroupsWrite));
        let hsms = allowed("Managed HSM contributor");
        assert!(hsms.contains(&A::ManagedHsmsWrite) && hsms.contains(&A::DeletedManagedHsmPurge));
        assert!(!hsms.contains(&A::VaultsRead) && !hsms.contains(&A::RoleAssignmentsRead));
    }
}
