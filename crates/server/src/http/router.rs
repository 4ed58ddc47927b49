//! From a parsed path to its route: a tree of words and parameters, folded once from the table.

use super::path::Path;
use super::route::{NOT_OFFERED, Route, Surface};
use http::Method;
use strongroom_model::ApiVersion;

/// A row as the router holds it.
pub(super) struct Leaf {
    /// The row.
    pub(super) route: &'static Route,
    /// The version that `since` names.
    pub(super) since: ApiVersion,
    /// Where in the path the row's parameters are.
    parameters: Vec<(usize, &'static str)>,
}

/// One place in the paths of a surface.
#[derive(Default)]
struct Place {
    words: Vec<(&'static str, Place)>,
    parameter: Option<Box<Place>>,
    leaves: Vec<Leaf>,
}

/// Why a path has no route.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Miss {
    /// It is no operation's path.
    Path,
    /// It is one for other methods: these.
    Method(String),
}

/// See the module.
pub(super) struct Router {
    surfaces: Vec<(Surface, Place)>,
    /// What lies behind a role scope, by surface.
    scoped: Vec<(Surface, Place)>,
}

/// A route with the parameters of a path.
pub(super) struct Found<'r> {
    /// The row.
    pub(super) leaf: &'r Leaf,
    /// Decoded parts by name.
    pub(super) params: Vec<(&'static str, String)>,
}

const SCOPED: &str = "{scope}/";

impl Router {
    /// Folds the table.
    pub(super) fn new(rows: impl IntoIterator<Item = &'static Route>) -> Self {
        let mut router = Self { surfaces: Vec::new(), scoped: Vec::new() };
        for row in rows {
            let (place, pattern) = match row.pattern.strip_prefix(SCOPED) {
                Some(rest) => (place_of(&mut router.scoped, row.surface), rest),
                None => (place_of(&mut router.surfaces, row.surface), row.pattern),
            };
            for pattern in forms(pattern) {
                place.add(&pattern, row);
            }
        }
        router
    }

    /// Finds the route of a path and method.
    pub(super) fn find(&self, surface: Surface, path: &Path<'_>, method: &Method) -> Result<Found<'_>, Miss> {
        let places = if path.scope.is_some() { &self.scoped } else { &self.surfaces };
        let Some((_, root)) = places.iter().find(|(s, _)| *s == surface) else { return Err(Miss::Path) };
        let mut methods = Vec::new();
        let Some(leaf) = root.find(&path.parts, 0, method, &mut methods) else {
            let unknown = methods.is_empty() || surface == Surface::Hsm && is_not_offered(&path.parts, method);
            return Err(if unknown { Miss::Path } else { Miss::Method(allow(&methods)) });
        };
        let part = |at: usize| path.parts.get(at).map(|p| p.clone().into_owned()).unwrap_or_default();
        Ok(Found { leaf, params: leaf.parameters.iter().map(|(at, name)| (*name, part(*at))).collect() })
    }
}

fn place_of(places: &mut Vec<(Surface, Place)>, surface: Surface) -> &mut Place {
    let at = places.iter().position(|(s, _)| *s == surface).unwrap_or_else(|| {
        places.push((surface, Place::default()));
        places.len() - 1
    });
    &mut places[at].1
}

impl Place {
    fn add(&mut self, pattern: &[&'static str], row: &'static Route) {
        let mut place = self;
        let mut parameters = Vec::new();
        for (at, part) in pattern.iter().enumerate() {
            place = match parameter_name(part) {
                Some(name) => {
                    parameters.push((at, name));
                    place.parameter.get_or_insert_default()
                }
                None => {
                    let known = place.words.iter().position(|(word, _)| word == part).unwrap_or_else(|| {
                        place.words.push((part, Self::default()));
                        place.words.len() - 1
                    });
                    &mut place.words[known].1
                }
            };
        }
        let since = row.since.and_then(ApiVersion::known).unwrap_or(ApiVersion::FIRST);
        place.leaves.push(Leaf { route: row, since, parameters });
    }

    /// Words go before parameters; a branch that lacks the method gives way to the other.
    fn find(
        &self,
        parts: &[impl AsRef<str>],
        depth: usize,
        method: &Method,
        methods: &mut Vec<&'static Method>,
    ) -> Option<&Leaf> {
        let Some(part) = parts.get(depth) else {
            let leaf = self.leaves.iter().find(|leaf| leaf.route.method == *method);
            if leaf.is_none() {
                methods.extend(self.leaves.iter().map(|leaf| &leaf.route.method));
            }
            return leaf;
        };
        let word = self.words.iter().find(|(word, _)| word.eq_ignore_ascii_case(part.as_ref()));
        word.and_then(|(_, place)| place.find(parts, depth + 1, method, methods))
            .or_else(|| self.parameter.as_ref().and_then(|place| place.find(parts, depth + 1, method, methods)))
    }
}

/// Whether path and method are those of an operation that is not offered yet.
fn is_not_offered(parts: &[impl AsRef<str>], method: &Method) -> bool {
    let fits = |form: &Vec<&'static str>| {
        let same = |(word, part): (&&'static str, _)| parameter_name(word).is_some() || word.eq_ignore_ascii_case(part);
        form.len() == parts.len() && form.iter().zip(parts.iter().map(AsRef::as_ref)).all(same)
    };
    NOT_OFFERED.iter().any(|row| row.method == *method && forms(row.pattern).iter().any(fits))
}

/// The pattern's parts, with and without the one that may be missing.
fn forms(pattern: &'static str) -> Vec<Vec<&'static str>> {
    let parts: Vec<_> = pattern.split('/').collect();
    let optional = parts.iter().position(|part| part.ends_with("?}"));
    let without = optional.map(|at| [&parts[..at], &parts[at + 1..]].concat());
    std::iter::once(parts).chain(without).collect()
}

fn parameter_name(part: &'static str) -> Option<&'static str> {
    part.strip_prefix('{').and_then(|p| p.strip_suffix('}')).map(|p| p.trim_end_matches('?'))
}

/// The `Allow` header, each method once.
fn allow(methods: &[&'static Method]) -> String {
    let mut names: Vec<&str> = methods.iter().map(|m| m.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::http::route;

    type Operation = (&'static str, Vec<(&'static str, String)>);

    fn find(surface: Surface, method: &Method, raw: &str) -> Result<Operation, Miss> {
        let router = Router::new(route::all());
        let found = router.find(surface, &Path::parse(raw).unwrap(), method)?;
        Ok((found.leaf.route.operation, found.params))
    }

    fn hsm(method: Method, raw: &str) -> String {
        match find(Surface::Hsm, &method, raw) {
            Ok((operation, params)) => {
                let params: Vec<_> = params.into_iter().map(|(n, v)| format!(" {n}={v}")).collect();
                operation.to_owned() + &params.concat()
            }
            Err(Miss::Path) => "404".to_owned(),
            Err(Miss::Method(allow)) => format!("405 {allow}"),
        }
    }

    #[test]
    fn paths_find_their_operation() {
        for (method, path, wanted) in [
            (Method::GET, "/keys", "GetKeys"),
            (Method::GET, "/KEYS/", "GetKeys"),
            (Method::GET, "/keys/n", "GetKey name=n"),
            (Method::GET, "/keys/n/", "GetKey name=n"),
            (Method::GET, "/keys/n/v1", "GetKey name=n version=v1"),
            (Method::GET, "/keys/n/versions", "GetKeyVersions name=n"),
            (Method::GET, "/keys/versions/versions", "GetKeyVersions name=versions"),
            (Method::GET, "/keys/providers", "GetKey name=providers"),
            (Method::GET, "/keys/create/rotate", "GetKey name=create version=rotate"),
            (Method::POST, "/keys/n//sign", "Sign name=n"),
            (Method::POST, "/keys/n/v/Sign", "Sign name=n version=v"),
            (Method::POST, "/keys/n/v/wrapKey", "WrapKey name=n version=v"),
            (Method::POST, "/keys/sign/sign/sign", "Sign name=sign version=sign"),
            (Method::POST, "/keys/n/create", "CreateKey name=n"),
            (Method::PUT, "/keys/n", "ImportKey name=n"),
            (Method::PATCH, "/keys/n//", "UpdateKey name=n"),
            (Method::PATCH, "/keys/n/v", "UpdateKey name=n version=v"),
            (Method::DELETE, "/keys/n", "DeleteKey name=n"),
            (Method::PUT, "/keys/n/rotationpolicy", "UpdateKeyRotationPolicy name=n"),
            (Method::GET, "/deletedkeys/n", "GetDeletedKey name=n"),
            (Method::POST, "/deletedkeys/n/recover", "RecoverDeletedKey name=n"),
            (Method::DELETE, "/deletedkeys/n", "PurgeDeletedKey name=n"),
            (Method::POST, "/rng", "GetRandomBytes"),
            (Method::GET, "///providers/Microsoft.Authorization/roleAssignments", "RoleAssignments_ListForScope"),
            (Method::GET, "/keys/providers/Microsoft.Authorization/roleDefinitions/", "RoleDefinitions_List"),
            (Method::PUT, "/keys/n/providers/microsoft.authorization/RoleAssignments/g", "RoleAssignments_Create id=g"),
            (Method::DELETE, "/providers/Microsoft.Authorization/roleDefinitions/g", "RoleDefinitions_Delete id=g"),
            (Method::PUT, "/keys", "405 GET"),
            (Method::HEAD, "/keys/n", "405 DELETE, GET, PATCH, PUT"),
            (Method::GET, "/keys/n/v/sign", "405 POST"),
            (Method::DELETE, "/keys/n/v", "405 GET, PATCH"),
            (Method::POST, "/providers/Microsoft.Authorization/roleAssignments/g", "405 DELETE, GET, PUT"),
            (Method::GET, "/", "404"),
            (Method::GET, "/key", "404"),
            (Method::GET, "/keys/n/v/w", "404"),
            (Method::POST, "/keys/n/v/release", "404"),
            (Method::POST, "/keys/n/release", "404"),
            (Method::POST, "/keys/n//RELEASE", "404"),
            (Method::POST, "/keys/n/backup", "404"),
            (Method::POST, "/keys/restore", "404"),
            (Method::GET, "/keys/n/attestation", "GetKey name=n version=attestation"),
            (Method::POST, "/keys/n/other", "405 GET, PATCH"),
            (Method::POST, "/backup", "404"),
            (Method::GET, "/secrets/n", "404"),
            (Method::GET, "/healthz", "404"),
            (Method::GET, "/keys/n/providers/Microsoft.Authorization", "404"),
            (Method::GET, "/providers/Microsoft.Authorization/keys/n", "404"),
        ] {
            assert_eq!(hsm(method.clone(), path), wanted, "{method} {path}");
        }
    }

    #[test]
    fn each_surface_has_its_own_paths() {
        let name = |surface, path| find(surface, &Method::GET, path).map(|(operation, _)| operation);
        assert_eq!(name(Surface::Identity, "/t/v2.0/.well-known/openid-configuration"), Ok("OpenIdConfiguration"));
        assert_eq!(name(Surface::Identity, "/adfs/.well-known/openid-configuration"), Ok("OpenIdConfiguration"));
        assert_eq!(name(Surface::Identity, "/common/discovery/instance"), Ok("InstanceDiscovery"));
        assert_eq!(name(Surface::Identity, "/common/discovery/keys"), Ok("Jwks"));
        assert_eq!(name(Surface::Identity, "/common/oauth2/token"), Err(Miss::Method("POST".into())));
        assert_eq!(name(Surface::Identity, "/keys"), Err(Miss::Path));
        assert_eq!(name(Surface::Identity, "/providers/Microsoft.Authorization/roleAssignments"), Err(Miss::Path));
        assert_eq!(name(Surface::ManagedIdentity, "/metadata/identity/oauth2/token/"), Ok("InstanceMetadataToken"));
        assert_eq!(name(Surface::Management, "/SUBSCRIPTIONS"), Ok("Subscriptions_List"));
        for (path, wanted) in [
            ("/managedhsms/h", Ok("ManagedHsms_Get")),
            ("/vaults/h/keys/k", Err(Miss::Path)),
            ("/vaults/v/providers/Microsoft.Authorization/roleAssignments", Ok("RoleAssignments_ListForScope")),
        ] {
            let path = format!("/subscriptions/s/resourcegroups/g/PROVIDERS/microsoft.keyvault{path}");
            let found = find(Surface::Management, &Method::GET, &path).map(|(operation, _)| operation);
            assert_eq!(found, wanted, "{path}");
        }
        assert_eq!(name(Surface::Hsm, "/subscriptions"), Err(Miss::Path));
        assert_eq!(name(Surface::Graph, "/v1.0/me"), Ok("Me_Get"));
        assert_eq!(name(Surface::Graph, "/providers/Microsoft.Authorization/roleAssignments"), Err(Miss::Path));
        assert_eq!(name(Surface::Node, "/readyz"), Ok("Readiness"));
    }

    #[test]
    fn rows_are_sound() {
        for row in route::all() {
            assert!(row.since.is_none_or(|v| ApiVersion::known(v).is_some()), "{}", row.operation);
            assert_eq!(row.since.is_some(), row.surface == Surface::Hsm, "{}", row.operation);
            let fits = match (row.surface, row.run) {
                (Surface::Hsm, route::Run::Hsm(_)) => matches!(row.access, route::Access::Hsm { .. }),
                (Surface::Management, route::Run::Management(_)) | (Surface::Graph, route::Run::Graph(_)) => {
                    match row.access {
                        route::Access::Management { .. } => true,
                        route::Access::Member { reason } => !reason.is_empty() && !row.changes,
                        route::Access::Public { .. } | route::Access::Hsm { .. } => false,
                    }
                }
                (Surface::Identity | Surface::ManagedIdentity, route::Run::Identity(_))
                | (Surface::Node, route::Run::Node(_)) => {
                    matches!(row.access, route::Access::Public { reason } if !reason.is_empty())
                }
                _ => false,
            };
            assert!(fits, "{}", row.operation);
        }
        let mut seen: Vec<_> = route::all().map(|r| (r.surface, r.method.clone(), r.pattern)).collect();
        let rows = seen.len();
        seen.sort_by_key(|(s, m, p)| (format!("{s:?}"), m.to_string(), *p));
        seen.dedup();
        assert_eq!(seen.len(), rows);
    }
}
