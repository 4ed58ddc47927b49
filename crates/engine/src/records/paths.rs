//! Where each record lies.
//!
//! ```text
//! format                                   magic and format number, in the clear
//! key                                      the store key, sealed under the seal's second key
//! mark                                     made by `dev` or by production
//! served                                   served time
//! documents/{name}
//! outbox/{uuid}                            an audit record on its way into the log
//! outbox/{node}/{uuid}                     the same, of one of several nodes
//! pools/{name}                             a pool: identity, settings, wrapped root
//! management                               what every change of the management plane is conditional on
//! managementgroups/{name}                  a resource group
//! managementhsms/{name}                    a managed HSM as a resource, live or deleted
//! managementvaults/{name}                  a vault as a resource, live or deleted
//! managementroles/{guid}                   a role assignment of the management plane
//! purged/{id}                              says that a pool or vault was purged, and whether its records have gone
//! pool/{id}/epoch                          which epoch of the pool holds
//! pool/{id}/history                        last run of its partition, with the signed states of its use chains
//! pool/{id}/history/{node}                 the same, of the partition of one of several nodes
//! pool/{id}/{epoch}/system/{name}          a key of the product
//! pool/{id}/{epoch}/roles                  what every change of the role set is conditional on
//! pool/{id}/{epoch}/definitions/{guid}
//! pool/{id}/{epoch}/assignments/{guid}
//! pool/{id}/{epoch}/heads/{name}           a key: live or deleted, newest version
//! pool/{id}/{epoch}/deleted/{name}         says that this head is a deleted one
//! pool/{id}/{epoch}/due/{time}/{name}      says when the scheduler has to look at this head
//! pool/{id}/{epoch}/versions/{object}/{v}  a version of the key with this object id
//! pool/{id}/{epoch}/uses/{object}/{v}      AES-GCM uses reserved for it
//! pool/{id}/{epoch}/leftovers/{object}     the head is gone, its versions are still to go
//! ```
//!
//! Names are in ASCII lower case; none holds `/`.

use strongroom_model::management::GroupName;
use strongroom_model::{KeyName, KeyVersion, PoolId, PoolName, Timestamp};
use uuid::Uuid;

pub(crate) const FORMAT: &[u8] = b"format";
pub(crate) const KEY: &[u8] = b"key";
pub(crate) const MARK: &[u8] = b"mark";
pub(crate) const SERVED: &[u8] = b"served";
pub(crate) const OUTBOX: &[u8] = b"outbox/";
pub(crate) const MANAGEMENT: &[u8] = b"management";
pub(crate) const GROUPS: &[u8] = b"managementgroups/";
pub(crate) const MANAGED_HSMS: &[u8] = b"managementhsms/";
pub(crate) const MANAGED_VAULTS: &[u8] = b"managementvaults/";
pub(crate) const MANAGEMENT_ASSIGNMENTS: &[u8] = b"managementroles/";
pub(crate) const PURGED: &[u8] = b"purged/";

/// The first path behind every path that begins with `prefix`; no path of ours ends in 0xff.
pub(crate) fn end_of(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[0xff]].concat()
}

/// The first path behind `path`.
pub(crate) fn after(path: &[u8]) -> Vec<u8> {
    [path, &[0]].concat()
}

pub(crate) fn document(name: &str) -> Vec<u8> {
    format!("documents/{name}").into_bytes()
}

/// What the rows of a node begin with, where several share the store.
pub(crate) fn outbox_of(node: Uuid) -> Vec<u8> {
    format!("outbox/{}/", node.simple()).into_bytes()
}

/// A new row: of this node, where several share the store.
pub(crate) fn outbox_row(node: Option<Uuid>) -> Vec<u8> {
    let row = Uuid::new_v4().simple().to_string().into_bytes();
    [node.map_or_else(|| OUTBOX.to_vec(), outbox_of), row].concat()
}

fn named(prefix: &[u8], name: &str) -> Vec<u8> {
    [prefix, name.as_bytes()].concat()
}

/// The name of a group may hold letters of any script: its folded form, in hexadecimal.
pub(crate) fn group(name: &GroupName) -> Vec<u8> {
    named(GROUPS, &hex::encode(name.folded()))
}

pub(crate) fn managed_hsm(name: &PoolName) -> Vec<u8> {
    named(MANAGED_HSMS, name.as_str())
}

pub(crate) fn managed_vault(name: &PoolName) -> Vec<u8> {
    named(MANAGED_VAULTS, name.as_str())
}

pub(crate) fn management_assignment(id: Uuid) -> Vec<u8> {
    named(MANAGEMENT_ASSIGNMENTS, &id.simple().to_string())
}

pub(crate) fn purged(id: Uuid) -> Vec<u8> {
    named(PURGED, &id.simple().to_string())
}

/// Every record of a pool but the one that names it.
pub(crate) fn all_of_pool(id: PoolId) -> Vec<u8> {
    format!("pool/{}/", id.0.simple()).into_bytes()
}

pub(crate) fn pool(name: &PoolName) -> Vec<u8> {
    format!("pools/{name}").into_bytes()
}

pub(crate) fn epoch(id: PoolId) -> Vec<u8> {
    format!("pool/{}/epoch", id.0.simple()).into_bytes()
}

/// Of the partition of this node, where several share the store.
pub(crate) fn history(id: PoolId, node: Option<Uuid>) -> Vec<u8> {
    let of_node = node.map_or_else(String::new, |node| format!("/{}", node.simple()));
    format!("pool/{}/history{of_node}", id.0.simple()).into_bytes()
}

/// Paths of one epoch of one pool.
#[derive(Debug)]
pub(crate) struct PoolPaths {
    prefix: String,
}

impl PoolPaths {
    pub(crate) fn new(id: PoolId, epoch: u32) -> Self {
        Self { prefix: format!("pool/{}/{epoch:08x}/", id.0.simple()) }
    }

    /// The rest of a path of this epoch, below its prefix.
    pub(crate) fn below<'a>(&self, path: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(path.strip_prefix(self.prefix.as_bytes())?).ok()
    }

    fn path(&self, rest: std::fmt::Arguments<'_>) -> Vec<u8> {
        format!("{}{rest}", self.prefix).into_bytes()
    }

    pub(crate) fn system(&self, name: &str) -> Vec<u8> {
        self.path(format_args!("system/{name}"))
    }

    pub(crate) fn roles(&self) -> Vec<u8> {
        self.path(format_args!("roles"))
    }

    pub(crate) fn definitions(&self) -> Vec<u8> {
        self.path(format_args!("definitions/"))
    }

    pub(crate) fn definition(&self, id: Uuid) -> Vec<u8> {
        self.path(format_args!("definitions/{}", id.simple()))
    }

    pub(crate) fn assignments(&self) -> Vec<u8> {
        self.path(format_args!("assignments/"))
    }

    pub(crate) fn assignment(&self, id: Uuid) -> Vec<u8> {
        self.path(format_args!("assignments/{}", id.simple()))
    }

    pub(crate) fn heads(&self) -> Vec<u8> {
        self.path(format_args!("heads/"))
    }

    pub(crate) fn head(&self, name: &KeyName) -> Vec<u8> {
        self.path(format_args!("heads/{}", name.folded()))
    }

    pub(crate) fn deleted_heads(&self) -> Vec<u8> {
        self.path(format_args!("deleted/"))
    }

    pub(crate) fn deleted_head(&self, name: &KeyName) -> Vec<u8> {
        self.path(format_args!("deleted/{}", name.folded()))
    }

    pub(crate) fn all_due(&self) -> Vec<u8> {
        self.path(format_args!("due/"))
    }

    /// What is due at `time` or earlier lies before this path.
    pub(crate) fn due_until(&self, time: Timestamp) -> Vec<u8> {
        self.path(format_args!("due/{:016x}/\u{7f}", sortable(time)))
    }

    pub(crate) fn due(&self, time: Timestamp, name: &KeyName) -> Vec<u8> {
        self.path(format_args!("due/{:016x}/{}", sortable(time), name.folded()))
    }

    pub(crate) fn versions(&self, object: &[u8; 16]) -> Vec<u8> {
        self.path(format_args!("versions/{}/", hex::encode(object)))
    }

    pub(crate) fn version(&self, object: &[u8; 16], version: KeyVersion) -> Vec<u8> {
        self.path(format_args!("versions/{}/{version}", hex::encode(object)))
    }

    pub(crate) fn all_uses(&self, object: &[u8; 16]) -> Vec<u8> {
        self.path(format_args!("uses/{}/", hex::encode(object)))
    }

    pub(crate) fn uses(&self, object: &[u8; 16], version: KeyVersion) -> Vec<u8> {
        self.path(format_args!("uses/{}/{version}", hex::encode(object)))
    }

    pub(crate) fn all_leftovers(&self) -> Vec<u8> {
        self.path(format_args!("leftovers/"))
    }

    pub(crate) fn leftovers(&self, object: &[u8; 16]) -> Vec<u8> {
        self.path(format_args!("leftovers/{}", hex::encode(object)))
    }
}

/// Times before 1970 count as 1970: due at once.
fn sortable(time: Timestamp) -> u64 {
    u64::try_from(time.0).unwrap_or(0)
}

/// The name at the end of a path of an index.
pub(crate) fn last_part(path: &[u8]) -> Option<KeyName> {
    let text = std::str::from_utf8(path).ok()?;
    KeyName::parse(text.rsplit('/').next()?).ok()
}
