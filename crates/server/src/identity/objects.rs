//! The directory as its members read it: who has which object id. There is no secret in it.

use super::service::Identity;
use super::settings::DirectoryFile;
use uuid::Uuid;

/// What kind of object an entry of the directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A person.
    User,
    /// A group.
    Group,
    /// An application or managed identity.
    ServicePrincipal,
}

/// An entry of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryObject {
    /// Its object id.
    pub id: Uuid,
    /// What it is.
    pub kind: ObjectKind,
    /// Its name for people.
    pub display_name: String,
    /// The client id of an application or managed identity.
    pub app_id: Option<Uuid>,
    /// Whether it is a managed identity.
    pub managed: bool,
    /// The sign-in name of a person.
    pub user_principal_name: Option<String>,
    /// Whether its tokens count.
    pub enabled: bool,
}

impl DirectoryObject {
    /// Every entry of a directory file.
    pub(super) fn all_of(file: &DirectoryFile) -> Vec<Self> {
        let entry = |id, kind, name: &str, enabled| Self {
            id,
            kind,
            display_name: name.to_owned(),
            app_id: None,
            managed: false,
            user_principal_name: None,
            enabled,
        };
        let groups = file.groups.iter().map(|g| entry(g.object_id, ObjectKind::Group, &g.name, g.enabled));
        let applications = file.applications.iter().map(|a| Self {
            app_id: Some(a.client_id),
            ..entry(a.object_id, ObjectKind::ServicePrincipal, &a.name, a.enabled)
        });
        let identities = file.managed_identities.iter().map(|i| Self {
            app_id: Some(i.client_id),
            managed: true,
            ..entry(i.object_id, ObjectKind::ServicePrincipal, &i.name, i.enabled)
        });
        let users = file.users.iter().map(|u| Self {
            user_principal_name: Some(u.user_name.clone()),
            ..entry(u.object_id, ObjectKind::User, u.name.as_deref().unwrap_or(&u.user_name), u.enabled)
        });
        groups.chain(applications).chain(identities).chain(users).collect()
    }
}

impl Identity {
    /// Every entry of the directory.
    pub fn directory_objects(&self) -> Vec<DirectoryObject> {
        self.state().directory.objects().to_vec()
    }

    /// The entry of an object id.
    pub fn directory_object(&self, id: Uuid) -> Option<DirectoryObject> {
        self.state().directory.objects().iter().find(|o| o.id == id).cloned()
    }
}
