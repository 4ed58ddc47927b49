//! Every limit with its number and its source.

/// Longest name of a key (API: about-keys-secrets-certificates).
pub const KEY_NAME_MAX: usize = 127;
/// Shortest and longest name of a vault or managed HSM.
pub const POOL_NAME_MIN: usize = 3;
/// See [`POOL_NAME_MIN`].
pub const POOL_NAME_MAX: usize = 24;
/// Tags of one object.
pub const TAGS_MAX: usize = 15;
/// Characters of a tag's name, and of its value.
pub const TAG_TEXT_MAX: usize = 256;
/// Largest and default page of a list (`maxresults`).
pub const PAGE_MAX: usize = 25;
/// Random bytes of one `rng` call.
pub const RANDOM_BYTES_MAX: usize = 128;
/// Versions of one key (managed-hsm/service-limits).
pub const VERSIONS_PER_KEY_MAX: u32 = 100;
/// Custom role definitions of one managed HSM.
pub const ROLE_DEFINITIONS_MAX: usize = 50;
/// Role assignments at the scopes `/` and `/keys` together.
pub const ROLE_ASSIGNMENTS_AT_HSM_MAX: usize = 50;
/// Role assignments at one key.
pub const ROLE_ASSIGNMENTS_AT_KEY_MAX: usize = 10;
/// Longest description of a role definition, in characters.
pub const ROLE_TEXT_MAX: usize = 1024;
/// Shortest soft-delete retention, in days.
pub const RETENTION_DAYS_MIN: u32 = 7;
/// Longest and default soft-delete retention, in days.
pub const RETENTION_DAYS_MAX: u32 = 90;
/// Largest body of a request, unless its route says less: 64 KiB holds an RSA-4096 JWK many times over.
pub const BODY_MAX: usize = 64 * 1024;
/// Longest value (`value`, `aad`) of a cryptographic operation, in bytes after decoding.
pub const OPERAND_MAX: usize = 32 * 1024;
/// Longest bearer token accepted, in bytes.
pub const TOKEN_MAX: usize = 16 * 1024;
/// Longest release policy, in bytes.
pub const RELEASE_POLICY_MAX: usize = 16 * 1024;
/// Encryptions with one AES-GCM key version (random 96-bit IVs: NIST SP 800-38D, 8.3).
pub const GCM_USES_MAX: u64 = 1 << 32;
/// Shortest `expiryTime` of a rotation policy, and shortest `timeAfterCreate`, in days (managed-hsm/key-rotation).
pub const ROTATION_DAYS_MIN: i64 = 28;
/// IP rules of one managed HSM (managed-hsm/configure-network-security).
pub const HSM_IP_RULES_MAX: usize = 10;
/// IP rules of one vault (general/network-security).
pub const VAULT_IP_RULES_MAX: usize = 1000;
/// Virtual-network rules of one vault (general/network-security); managed HSMs take as many.
pub const VIRTUAL_NETWORK_RULES_MAX: usize = 200;
/// Private endpoint connections of one vault (general/service-limits); managed HSMs take as many.
pub const PRIVATE_ENDPOINTS_MAX: usize = 64;
/// Longest description of a private endpoint connection's state, in characters. Ours.
pub const CONNECTION_TEXT_MAX: usize = 1024;
/// Longest IP rule: an IPv6 address that ends in IPv4 notation (45 characters), and a prefix length (RFC 4291, 2.2).
pub const IP_RULE_MAX: usize = 49;
/// Longest resource id of a subnet: its names have up to 36, 90, 64 and 80 characters. Rounded up.
pub const SUBNET_ID_MAX: usize = 512;
/// Vaults and managed HSMs of one installation together, deleted ones included.
pub const RESOURCES_MAX: usize = 1_000;
/// Resource groups of one subscription (Azure Resource Manager).
pub const GROUPS_MAX: usize = 980;
/// Role assignments of the management plane (Azure: 4,000 a subscription).
pub const MANAGEMENT_ASSIGNMENTS_MAX: usize = 4_000;
/// Tags of a resource or group (Azure Resource Manager).
pub const RESOURCE_TAGS_MAX: usize = 50;
/// Characters of the name of such a tag.
pub const RESOURCE_TAG_NAME_MAX: usize = 512;
/// Characters of its value.
pub const RESOURCE_TAG_VALUE_MAX: usize = 256;
/// Access policies of one vault (key-vault/general/assign-access-policy).
pub const ACCESS_POLICIES_MAX: usize = 1_024;
/// Initial administrators of a managed HSM: each is a role assignment at its scope.
pub const INITIAL_ADMINISTRATORS_MAX: usize = 10;
