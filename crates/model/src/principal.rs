//! Who calls: the one shape that every token, whoever issued it, is brought into.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// What kind of principal a token speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A service principal (application) or managed identity.
    Application,
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// `oid`: what roles are assigned to.
    pub object_id: Uuid,
    /// `tid`.
    pub tenant_id: Uuid,
    /// `appid` or `azp`: the client that asked for the token.
    pub app_id: Option<Arc<str>>,
    /// `upn` or `preferred_username`.
    pub user_name: Option<Arc<str>>,
    /// `groups`: object ids of the groups the principal is in; roles assigned to them count.
    pub groups: Arc<[Uuid]>,
    /// User or application.
    pub kind: PrincipalKind,
    /// `iss`.
    pub issuer: Arc<str>,
}

impl Principal {
    /// The object id and the groups: everything a role can be assigned to that counts for this caller.
    pub fn identities(&self) -> impl Iterator<Item = Uuid> + '_ {
        std::iter::once(self.object_id).chain(self.groups.iter().copied())
    }
}
