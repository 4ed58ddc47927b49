//! From the management plane's words to bodies.

use super::ManagementCall;
use crate::identity::Resource as Host;
use jiff::Timestamp as Moment;
use strongroom_engine::PoolState;
use strongroom_engine::management::{
    AccessPolicy, Assignment, Editor, Group, ManagedHsm, Resource, ResourceDeletion, Sku, SystemData, Vault,
};
use strongroom_model::Timestamp;
use strongroom_model::management::{BuiltInRole, ResourceKind};
use strongroom_model::network::{
    Bypass, DefaultAction, EndpointConnection, EndpointStatus, NetworkPolicy, PublicNetworkAccess,
};
use strongroom_wire::management as wire;

/// RFC 3339, in seconds.
pub(super) fn moment(at: Timestamp) -> String {
    Moment::from_second(at.0).map(|m| m.to_string()).unwrap_or_default()
}

fn editor_kind(editor: &Editor) -> String {
    if editor.application { "Application" } else { "User" }.into()
}

fn system_data(data: &SystemData) -> wire::SystemData {
    wire::SystemData {
        created_at: moment(data.created),
        created_by: data.created_by.by.clone(),
        created_by_type: editor_kind(&data.created_by),
        last_modified_at: moment(data.modified),
        last_modified_by: data.modified_by.by.clone(),
        last_modified_by_type: editor_kind(&data.modified_by),
    }
}

fn sku(sku: &Sku) -> wire::Sku {
    wire::Sku { family: Some(sku.family.clone()), name: Some(sku.name.clone()) }
}

fn public_access(policy: &NetworkPolicy) -> String {
    match policy.public_access {
        PublicNetworkAccess::Enabled => "Enabled",
        PublicNetworkAccess::Disabled => "Disabled",
    }
    .into()
}

fn network_acls(policy: &NetworkPolicy) -> wire::NetworkRuleSet {
    let bypass = match policy.bypass {
        Bypass::AzureServices => "AzureServices",
        Bypass::None => "None",
    };
    let action = match policy.default_action {
        DefaultAction::Allow => "Allow",
        DefaultAction::Deny => "Deny",
    };
    let subnets = policy.virtual_network_rules.iter();
    wire::NetworkRuleSet {
        bypass: Some(bypass.into()),
        default_action: Some(action.into()),
        ip_rules: Some(policy.ip_rules.iter().map(|r| wire::IpRule { value: Some(r.to_string()) }).collect()),
        service_tags: None,
        virtual_network_rules: Some(subnets.map(|r| wire::VirtualNetworkRule { id: Some(r.id.to_string()) }).collect()),
    }
}

const fn status_of(status: EndpointStatus) -> &'static str {
    match status {
        EndpointStatus::Pending => "Pending",
        EndpointStatus::Approved => "Approved",
        EndpointStatus::Rejected => "Rejected",
        EndpointStatus::Disconnected => "Disconnected",
    }
}

/// A connection, alone or inside its resource.
pub(super) fn connection(
    resource_id: &str,
    kind: ResourceKind,
    c: &EndpointConnection,
    alone: bool,
) -> wire::Connection {
    let provisioning = match c.status {
        EndpointStatus::Disconnected => "Disconnected",
        EndpointStatus::Pending | EndpointStatus::Approved | EndpointStatus::Rejected => "Succeeded",
    };
    wire::Connection {
        id: format!("{resource_id}/privateEndpointConnections/{}", c.name),
        name: alone.then(|| c.name.clone()),
        properties: wire::ConnectionProperties {
            private_endpoint: wire::PrivateEndpoint { id: c.endpoint_id.clone() },
            private_link_service_connection_state: wire::ConnectionState {
                actions_required: Some("None".into()),
                description: Some(c.description.clone()),
                status: Some(status_of(c.status).into()),
            },
            provisioning_state: provisioning.into(),
        },
        kind: alone.then(|| format!("{}/privateEndpointConnections", kind.as_str())),
    }
}

/// Renders for one call: its engine's ids, its installation's host names.
pub(super) struct Renderer<'c>(pub(super) &'c ManagementCall);

impl Renderer<'_> {
    /// The path of a resource.
    pub(super) fn id(&self, kind: ResourceKind, resource: &Resource) -> String {
        self.0.engine.resource_scope(&resource.group, kind, resource.name.as_str()).to_string()
    }

    /// `https://{name}.{kind}.{domain}[:port]/`
    pub(super) fn uri(&self, kind: ResourceKind, resource: &Resource) -> String {
        let host = match kind {
            ResourceKind::ManagedHsm => Host::ManagedHsm,
            ResourceKind::Vault => Host::Vault,
        };
        format!("{}/", self.0.endpoints.of_name(host, resource.name.as_str()))
    }

    fn connections(&self, kind: ResourceKind, resource: &Resource, policy: &NetworkPolicy) -> Vec<wire::Connection> {
        let id = self.id(kind, resource);
        let shown = policy.connections.iter().filter(|c| c.status != EndpointStatus::Disconnected);
        shown.map(|c| connection(&id, kind, c, false)).collect()
    }

    pub(super) fn managed_hsm(&self, hsm: &ManagedHsm, state: PoolState) -> wire::ManagedHsm {
        let kind = ResourceKind::ManagedHsm;
        let resource = &hsm.resource;
        let policy = self.0.engine.network_of(kind, resource);
        let (activation, message, status) = match state {
            PoolState::Activated => (
                "Active",
                "Your HSM has been activated and can be used for cryptographic operations.",
                "The Managed HSM is provisioned and ready to use.",
            ),
            PoolState::Provisioned => (
                "NotActivated",
                "Your HSM has been provisioned, but cannot be used for cryptographic operations until it is activated. \
                 To activate the HSM, download the security domain.",
                "The Managed HSM is provisioned and waits for its activation.",
            ),
            PoolState::Sealed => {
                ("Active", "Your HSM waits for its security domain after a start.", "The Managed HSM is sealed.")
            }
        };
        wire::ManagedHsm {
            id: self.id(kind, resource),
            location: resource.location.to_string(),
            name: resource.name.to_string(),
            properties: wire::ManagedHsmProperties {
                create_mode: "default".into(),
                enable_purge_protection: resource.purge_protection,
                enable_soft_delete: true,
                hsm_uri: self.uri(kind, resource),
                initial_admin_object_ids: hsm.administrators.iter().map(ToString::to_string).collect(),
                network_acls: network_acls(&policy),
                private_endpoint_connections: self.connections(kind, resource, &policy),
                provisioning_state: "Succeeded".into(),
                public_network_access: public_access(&policy),
                regions: Vec::new(),
                security_domain_properties: wire::SecurityDomainProperties {
                    activation_status: activation.into(),
                    activation_status_message: message.into(),
                },
                soft_delete_retention_in_days: resource.retention_days,
                status_message: status.into(),
                tenant_id: hsm.tenant_id.to_string(),
            },
            sku: sku(&resource.sku),
            system_data: system_data(&resource.system_data),
            tags: resource.tags.clone(),
            kind: kind.as_str().into(),
        }
    }

    pub(super) fn vault(&self, vault: &Vault) -> wire::Vault {
        let kind = ResourceKind::Vault;
        let resource = &vault.resource;
        let policy = self.0.engine.network_of(kind, resource);
        wire::Vault {
            id: self.id(kind, resource),
            location: resource.location.to_string(),
            name: resource.name.to_string(),
            properties: wire::VaultProperties {
                access_policies: vault.access_policies.iter().map(access_policy).collect(),
                enable_purge_protection: resource.purge_protection.then_some(true),
                enable_rbac_authorization: vault.rbac,
                enable_soft_delete: true,
                enabled_for_deployment: vault.for_deployment,
                enabled_for_disk_encryption: vault.for_disk_encryption,
                enabled_for_template_deployment: vault.for_template_deployment,
                network_acls: network_acls(&policy),
                private_endpoint_connections: self.connections(kind, resource, &policy),
                provisioning_state: "Succeeded".into(),
                public_network_access: public_access(&policy),
                sku: sku(&resource.sku),
                soft_delete_retention_in_days: resource.retention_days,
                tenant_id: vault.tenant_id.to_string(),
                vault_uri: self.uri(kind, resource),
            },
            system_data: system_data(&resource.system_data),
            tags: resource.tags.clone(),
            kind: kind.as_str().into(),
        }
    }

    /// A resource in the list of all kinds.
    pub(super) fn generic(&self, kind: ResourceKind, resource: &Resource) -> wire::GenericResource {
        wire::GenericResource {
            id: self.id(kind, resource),
            location: resource.location.to_string(),
            name: resource.name.to_string(),
            sku: (kind == ResourceKind::ManagedHsm).then(|| sku(&resource.sku)),
            tags: resource.tags.clone(),
            kind: kind.as_str().into(),
        }
    }

    pub(super) fn deleted(
        &self,
        kind: ResourceKind,
        resource: &Resource,
        deletion: &ResourceDeletion,
    ) -> wire::DeletedResource {
        let (among, live) = (kind.deleted().trim_start_matches("Microsoft.KeyVault/"), self.id(kind, resource));
        wire::DeletedResource {
            id: format!(
                "/subscriptions/{}/providers/Microsoft.KeyVault/locations/{}/{among}/{}",
                self.0.subscription(),
                resource.location,
                resource.name
            ),
            name: resource.name.to_string(),
            properties: wire::DeletedProperties {
                deletion_date: moment(deletion.deleted),
                location: resource.location.to_string(),
                mhsm_id: (kind == ResourceKind::ManagedHsm).then(|| live.clone()),
                purge_protection_enabled: (kind == ResourceKind::ManagedHsm || resource.purge_protection)
                    .then_some(resource.purge_protection),
                scheduled_purge_date: moment(deletion.scheduled_purge),
                tags: resource.tags.clone(),
                vault_id: (kind == ResourceKind::Vault).then_some(live),
            },
            kind: kind.deleted().into(),
        }
    }

    pub(super) fn group(&self, group: &Group) -> wire::Group {
        wire::Group {
            id: self.0.engine.group_scope(&group.name).to_string(),
            location: group.location.to_string(),
            name: group.name.to_string(),
            properties: wire::GroupProperties { provisioning_state: "Succeeded".into() },
            tags: group.tags.clone(),
            kind: "Microsoft.Resources/resourceGroups".into(),
        }
    }

    pub(super) fn assignment(&self, a: &Assignment) -> wire::Assignment {
        wire::Assignment {
            id: format!("{}/providers/Microsoft.Authorization/roleAssignments/{}", a.scope, a.id),
            name: a.id.to_string(),
            properties: wire::AssignmentProperties {
                created_by: a.created_by.by.clone(),
                created_on: moment(a.created),
                description: a.description.clone(),
                principal_id: a.principal_id.to_string(),
                principal_type: a.principal_type.clone(),
                role_definition_id: self.definition_id(a.role_definition_id),
                scope: a.scope.to_string(),
                updated_by: a.created_by.by.clone(),
                updated_on: moment(a.created),
            },
            kind: "Microsoft.Authorization/roleAssignments".into(),
        }
    }

    fn definition_id(&self, id: uuid::Uuid) -> String {
        format!("/subscriptions/{}/providers/Microsoft.Authorization/roleDefinitions/{id}", self.0.subscription())
    }

    pub(super) fn definition(&self, role: &BuiltInRole) -> wire::Definition {
        let texts = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect();
        wire::Definition {
            id: self.definition_id(role.id),
            name: role.id.to_string(),
            properties: wire::DefinitionProperties {
                assignable_scopes: vec!["/".into()],
                description: role.description.into(),
                permissions: vec![wire::DefinitionPermission {
                    actions: texts(role.actions),
                    data_actions: Vec::new(),
                    not_actions: texts(role.not_actions),
                    not_data_actions: Vec::new(),
                }],
                role_name: role.name.into(),
                role_type: "BuiltInRole".into(),
            },
            kind: "Microsoft.Authorization/roleDefinitions".into(),
        }
    }
}

pub(super) fn access_policy(policy: &AccessPolicy) -> wire::AccessPolicyEntry {
    let list = |texts: &[String]| (!texts.is_empty()).then(|| texts.to_vec());
    wire::AccessPolicyEntry {
        application_id: policy.application_id.map(|id| id.to_string()),
        object_id: Some(policy.object_id.to_string()),
        permissions: Some(wire::Permissions {
            certificates: list(&policy.certificates),
            keys: list(&policy.keys),
            secrets: list(&policy.secrets),
            storage: list(&policy.storage),
        }),
        tenant_id: Some(policy.tenant_id.to_string()),
    }
}
