//! Keys of a managed HSM seen from the management plane.
//!
//! A role of the management plane gives no right to a key: beside the route's action, the caller needs the same data action
//! in the HSM's local RBAC as on the data plane.

use super::super::keys::parse::{date, key_ops, spec_to_create};
use super::super::keys::render::Renderer as KeyRenderer;
use super::hsms::object;
use super::render::Renderer;
use super::{ManagementAnswer, ManagementCall, ManagementFuture};
use std::borrow::Cow;
use std::sync::Arc;
use strongroom_engine::keys::{AttributeChange, Attributes, CreateKey, KeyBundle, KeyItem};
use strongroom_engine::management::ManagedHsm;
use strongroom_engine::{Page, PageRequest, Pool, PoolState};
use strongroom_model::error::{BadParameter, Error, Forbidden, NotFound, Result, Unavailable};
use strongroom_model::management::ResourceKind;
use strongroom_model::{ApiVersion, DataAction, KeyName, KeyOps, KeyType, KeyVersion, RoleScope, limits};
use strongroom_wire::management as wire;

/// The HSM of the path, its pool, and what both are called.
struct Place {
    hsm: ManagedHsm,
    pool: Arc<Pool>,
}

async fn place(call: &ManagementCall) -> Result<Place> {
    let kind = ResourceKind::ManagedHsm;
    let hsm = call.engine.managed_hsm(call.grant()?, &call.group()?, &call.name(kind)?)?;
    let pool = call.engine.opened_pool(&hsm.resource.name).await?.ok_or(Error::NotFound(NotFound::Pool))?;
    match pool.state {
        PoolState::Activated => Ok(Place { hsm, pool }),
        PoolState::Provisioned => Err(Error::Forbidden(Forbidden::NotActivated)),
        PoolState::Sealed => Err(Error::Unavailable(Unavailable::Sealed)),
    }
}

fn key_name(call: &ManagementCall) -> Result<KeyName> {
    KeyName::parse(call.param("key"))
}

impl Place {
    fn id(&self, call: &ManagementCall) -> String {
        Renderer(call).id(ResourceKind::ManagedHsm, &self.hsm.resource)
    }

    fn key_uri(&self, call: &ManagementCall, name: &KeyName) -> String {
        format!("{}keys/{name}", Renderer(call).uri(ResourceKind::ManagedHsm, &self.hsm.resource))
    }

    fn attributes(&self, of: &Attributes) -> wire::ResourceKeyAttributes {
        wire::ResourceKeyAttributes {
            created: of.created.0,
            enabled: of.enabled,
            exp: of.expires.map(|t| t.0),
            exportable: of.exportable,
            nbf: of.not_before.map(|t| t.0),
            recovery_level: KeyRenderer::new("", &self.pool, ApiVersion::FIRST).recovery_level().into(),
            updated: of.updated.0,
        }
    }

    fn key(&self, call: &ManagementCall, key: &KeyBundle, versioned: bool) -> wire::ResourceKey {
        let (row, uri) = (key.spec.row(), self.key_uri(call, &key.name));
        let version = key.version.to_string();
        let below = if versioned { format!("/versions/{version}") } else { String::new() };
        wire::ResourceKey {
            id: format!("{}/keys/{}{below}", self.id(call), key.name),
            name: if versioned { version.clone() } else { key.name.to_string() },
            properties: wire::ResourceKeyProperties {
                attributes: self.attributes(&key.attributes),
                curve_name: row.curve.map(|c| c.as_str().to_owned()),
                key_ops: Some(key.ops.names().map(str::to_owned).collect()),
                key_size: row.curve.is_none().then_some(row.bits),
                key_uri_with_version: Some(format!("{uri}/{version}")),
                key_uri: uri,
                kty: Some(row.kty.hsm_name().to_owned()),
            },
            tags: (!key.tags.is_empty()).then(|| key.tags.clone()),
            kind: kind_of(versioned),
        }
    }

    fn item(&self, call: &ManagementCall, item: &KeyItem) -> wire::ResourceKey {
        let version = item.version.map(|v| v.to_string());
        let uri = self.key_uri(call, &item.name);
        let below = version.as_ref().map(|v| format!("/versions/{v}")).unwrap_or_default();
        wire::ResourceKey {
            id: format!("{}/keys/{}{below}", self.id(call), item.name),
            name: version.clone().unwrap_or_else(|| item.name.to_string()),
            properties: wire::ResourceKeyProperties {
                attributes: self.attributes(&item.attributes),
                curve_name: None,
                key_ops: None,
                key_size: None,
                key_uri_with_version: version.as_ref().map(|v| format!("{uri}/{v}")),
                key_uri: uri,
                kty: None,
            },
            tags: (!item.tags.is_empty()).then(|| item.tags.clone()),
            kind: kind_of(version.is_some()),
        }
    }

    fn page(&self, call: &ManagementCall, path: &str, page: &Page<KeyItem>) -> Result<ManagementAnswer> {
        let next_link = page.next.as_deref().map(|token| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("api-version", call.version.as_str()).append_pair("$skiptoken", token);
            let base = call.endpoints.audience(crate::identity::Resource::Management);
            format!("{base}{}/{path}?{}", self.id(call), query.finish())
        });
        let value = page.items.iter().map(|item| self.item(call, item)).collect();
        call.answer(200, &wire::List { next_link, value }, object(&self.hsm.resource.name), false)
    }
}

fn kind_of(versioned: bool) -> String {
    if versioned { "Microsoft.KeyVault/managedHSMs/keys/versions" } else { "Microsoft.KeyVault/managedHSMs/keys" }
        .into()
}

fn page_request(call: &ManagementCall) -> PageRequest {
    let after = call.query("$skiptoken").filter(|token| !token.is_empty()).map(str::to_owned);
    PageRequest { size: limits::PAGE_MAX, after }
}

/// What the body says that the key shall be.
fn asked(call: &ManagementCall) -> Result<CreateKey> {
    let body: wire::ResourceKeyParameters = call.body()?;
    let missing = |name| Error::BadParameter(BadParameter::Missing(name));
    let unsupported = |name| Err(Error::BadParameter(BadParameter::Unsupported(name)));
    let properties = body.properties.ok_or(missing("properties"))?;
    if properties.release_policy.is_some() {
        return unsupported("release_policy");
    }
    if properties.rotation_policy.is_some() {
        return unsupported("rotationPolicy");
    }
    let kty = KeyType::parse(&properties.kty.ok_or(missing("kty"))?)?;
    let bits = properties.key_size.map(i32::try_from).transpose();
    let bits = bits.map_err(|_| Error::BadParameter(BadParameter::Unsupported("keySize")))?;
    let names: Option<Vec<Cow<'_, str>>> = properties.key_ops.map(|ops| ops.into_iter().map(Cow::Owned).collect());
    let given = properties.attributes;
    if given.as_ref().is_some_and(|a| a.exportable == Some(true)) {
        return unsupported("exportable");
    }
    let time = |name, at: Option<i64>| at.map(|t| date(name, t)).transpose();
    Ok(CreateKey {
        spec: spec_to_create(kty, properties.curve_name.as_deref(), bits)?,
        ops: key_ops(kty, names.as_deref())?.unwrap_or(KeyOps::default_for(kty)),
        attributes: AttributeChange {
            enabled: given.as_ref().and_then(|a| a.enabled),
            not_before: time("nbf", given.as_ref().and_then(|a| a.nbf))?,
            expires: time("exp", given.as_ref().and_then(|a| a.exp))?,
        },
        tags: body.tags.unwrap_or_default(),
    })
}

/// `ManagedHsmKeys_CreateIfNotExist`: a key that is there stays as it is.
pub fn create_if_not_exist(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let (name, asked, place) = (key_name(&call)?, asked(&call)?, place(&call).await?);
        let may = |action| call.engine.authorise(&place.pool, &call.caller, action, RoleScope::Key(name.clone()));
        let (read, create) = (may(DataAction::KeysRead)?, may(DataAction::KeysCreate)?);
        let object = format!("{}/keys/{name}", object(&place.hsm.resource.name));
        match call.engine.get_key(&read, &name, None).await {
            Ok(known) => call.answer(200, &place.key(&call, &known, false), object, false),
            Err(Error::NotFound(_)) => {
                let made = call.engine.create_key(&create, call.recorded.clone(), name.clone(), asked).await?;
                call.answer(200, &place.key(&call, &made, false), object, true)
            }
            Err(error) => Err(error),
        }
    })
}

/// `ManagedHsmKeys_Get`, `ManagedHsmKeys_GetVersion`
pub fn get(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let (name, place) = (key_name(&call)?, place(&call).await?);
        let version = call.param("version");
        let wanted = if version.is_empty() { None } else { Some(KeyVersion::parse(version)?) };
        let scope = RoleScope::Key(name.clone());
        let read = call.engine.authorise(&place.pool, &call.caller, DataAction::KeysRead, scope)?;
        let key = call.engine.get_key(&read, &name, wanted).await?;
        let object = format!("{}/keys/{name}", object(&place.hsm.resource.name));
        call.answer(200, &place.key(&call, &key, wanted.is_some()), object, false)
    })
}

/// `ManagedHsmKeys_List`
pub fn list(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let place = place(&call).await?;
        let read = call.engine.authorise(&place.pool, &call.caller, DataAction::KeysRead, RoleScope::Keys)?;
        let page = call.engine.get_keys(&read, page_request(&call)).await?;
        place.page(&call, "keys", &page)
    })
}

/// `ManagedHsmKeys_ListVersions`
pub fn list_versions(call: ManagementCall) -> ManagementFuture {
    Box::pin(async move {
        let (name, place) = (key_name(&call)?, place(&call).await?);
        let scope = RoleScope::Key(name.clone());
        let read = call.engine.authorise(&place.pool, &call.caller, DataAction::KeysRead, scope)?;
        let page = call.engine.get_key_versions(&read, &name, page_request(&call)).await?;
        place.page(&call, &format!("keys/{name}/versions"), &page)
    })
}
