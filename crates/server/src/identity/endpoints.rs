//! The host names of one installation, and the audiences that its tokens are for.

/// A service that tokens are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The data plane of managed HSMs.
    ManagedHsm,
    /// The data plane of vaults.
    Vault,
    /// The management plane (ARM).
    Management,
    /// The directory (Graph).
    Graph,
}

impl Resource {
    /// Every service.
    pub const ALL: &[Self] = &[Self::ManagedHsm, Self::Vault, Self::Management, Self::Graph];

    const fn label(self) -> &'static str {
        match self {
            Self::ManagedHsm => "managedhsm",
            Self::Vault => "vault",
            Self::Management => "management",
            Self::Graph => "graph",
        }
    }
}

/// `https://LABEL.DOMAIN[:PORT]` for each label; the port is left out when it is 443.
#[derive(Clone, Debug)]
pub struct Endpoints {
    authority: String,
}

impl Endpoints {
    /// The names below `domain`, on `port`.
    pub fn new(domain: &str, port: u16) -> Self {
        let domain = domain.to_ascii_lowercase();
        let authority = if port == 443 { domain } else { format!("{domain}:{port}") };
        Self { authority }
    }

    /// The login host, as AZURE_AUTHORITY_HOST takes it.
    pub fn login(&self) -> String {
        format!("https://login.{}", self.authority)
    }

    /// `DOMAIN[:PORT]`
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// `DOMAIN`
    pub fn domain(&self) -> &str {
        self.authority.split(':').next().unwrap_or_default()
    }

    /// `https://{name}.LABEL.DOMAIN[:PORT]`
    pub fn of_name(&self, resource: Resource, name: &str) -> String {
        format!("https://{name}.{}.{}", resource.label(), self.authority)
    }

    /// The audience of a service's tokens, and the `resource` of its challenge; no slash at the end.
    pub fn audience(&self, resource: Resource) -> String {
        format!("https://{}.{}", resource.label(), self.authority)
    }
}

/// Audiences compare without one final slash: clients ask for `https://graph.…//.default` (`clients.md` 3).
pub(super) fn without_slash(audience: &str) -> &str {
    audience.strip_suffix('/').unwrap_or(audience)
}
