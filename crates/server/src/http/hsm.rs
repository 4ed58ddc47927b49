//! The gates in front of a managed HSM's operations, in their order.

use super::body::{self, RequestBody};
use super::call::{Answer, Call};
use super::dispatch::{Peer, Reply, add_allow, add_retry_after, log_failure, reply};
use super::firewall::Gate;
use super::headers::AnswerFacts;
use super::path::{Path, parse_query, query_value};
use super::render::{Rendered, render};
use super::route::{Access, Route, Run, ScopeSource, Surface};
use super::router::{Found, Miss};
use super::service::Service;
use super::trail::{Exchange, Outcome, Trail, UNKNOWN_OPERATION, blank_record};
use futures_util::FutureExt;
use http::{HeaderMap, Method, header};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use strongroom_engine::{Grant, Pool, PoolState, Recorded};
use strongroom_model::audit::Stamp;
use strongroom_model::error::{BadName, Error, Forbidden, Internal, NotFound, Result, Unauthenticated, Unavailable};
use strongroom_model::{ApiVersion, KeyName, PoolName, Principal, RoleScope, SecretBytes, limits};

/// The documented substitute for methods that a proxy does not let through.
const METHOD_OVERRIDE: &str = "x-http-method";

impl Service {
    /// Answers a request to a managed HSM.
    #[allow(clippy::too_many_arguments, reason = "one call, from the dispatcher")]
    pub(super) async fn hsm<B: RequestBody>(
        self: &Arc<Self>,
        peer: &Peer,
        exchange: &Exchange,
        mut trail: Trail,
        name: &PoolName,
        path: &Result<Path<'_>>,
        body: &mut B,
        admitted: bool,
    ) -> Reply {
        let result = if admitted {
            self.through_the_gates(peer, exchange, &mut trail, name, path, body).await
        } else {
            Err(Error::Throttled)
        };
        let outcome = match result {
            Ok(answer) => self.record_success(exchange, &trail, answer).await,
            Err(error) => Err(self.record_refusal(exchange, &trail, error).await),
        };
        self.finish(peer, exchange, &trail, outcome)
    }

    async fn through_the_gates<B: RequestBody>(
        self: &Arc<Self>,
        peer: &Peer,
        exchange: &Exchange,
        trail: &mut Trail,
        name: &PoolName,
        path: &Result<Path<'_>>,
        body: &mut B,
    ) -> Result<Answer> {
        let head = &exchange.head;
        if let Ok(path) = path {
            trail.path = path.canonical();
        }
        let open = self.engine.pool(name);
        let network = match &open {
            Some(pool) => pool.network.load_full(),
            None => self.engine.closed_network(name).ok_or(Error::NotFound(NotFound::Pool))?,
        };
        let token = bearer(&head.headers).map_err(Error::Unauthenticated)?;
        let gate = Gate::of(&network, peer)?;
        let caller = self.identity.authenticate(token, &self.hsm_audience).await.map_err(Error::Unauthenticated)?;
        trail.caller = Some(Arc::clone(&caller));
        // Its partition is started by somebody who has a token, and by nobody else.
        let pool = match open {
            Some(pool) => pool,
            None => self.engine.opened_pool(name).await?.ok_or(Error::NotFound(NotFound::Pool))?,
        };
        trail.operation = UNKNOWN_OPERATION;
        gate.admit(&caller)?;
        let path = path.as_ref().map_err(Clone::clone)?;
        let method = method(&head.method, &head.headers)?;
        let found = self.router.find(Surface::Hsm, path, &method);
        check_state(&pool, found.as_ref().ok())?;
        let found = found.map_err(|miss| missed(miss, trail))?;
        let (leaf, route) = (found.leaf, found.leaf.route);
        trail.operation = route.log_name;
        let query = parse_query(head.uri.query())?;
        let version = version(&query, leaf.since, trail)?;
        let scope = scope_of(path)?;
        let grant = self.authorise(&pool, &caller, route, &found, &scope)?;
        let body = match method {
            Method::POST | Method::PUT | Method::PATCH => {
                body::read(body, route.body_limit, self.body_timeout(route)).await?
            }
            _ => SecretBytes::new(Vec::new()),
        };
        let record = if route.changes {
            trail.record(exchange, &Outcome { status: route.success, ..Outcome::default() })
        } else {
            blank_record()
        };
        let call = Call {
            engine: Arc::clone(&self.engine),
            grant,
            recorded: Recorded { record, started: exchange.started },
            version,
            base: Arc::clone(&trail.base),
            scope: scope.unwrap_or(RoleScope::Hsm),
            params: found.params,
            query,
            body,
        };
        run(route, call).await
    }

    /// Local RBAC; a route without a permission is not one of this surface.
    fn authorise(
        &self,
        pool: &Arc<Pool>,
        caller: &Arc<Principal>,
        route: &Route,
        found: &Found<'_>,
        scope: &Option<RoleScope>,
    ) -> Result<Grant> {
        let Access::Hsm { action, scope: source } = route.access else {
            return Err(Error::NotFound(NotFound::Path));
        };
        let name = || found.params.iter().find(|(n, _)| *n == "name").map_or("", |(_, v)| v);
        let at = match source {
            ScopeSource::Hsm => RoleScope::Hsm,
            ScopeSource::Keys => RoleScope::Keys,
            ScopeSource::Key => RoleScope::Key(KeyName::parse(name())?),
            ScopeSource::Path => scope.clone().ok_or(Error::BadName(BadName::Scope))?,
            ScopeSource::PathHsm if *scope == Some(RoleScope::Hsm) => RoleScope::Hsm,
            ScopeSource::PathHsm => return Err(Error::BadName(BadName::Scope)),
        };
        self.engine.authorise(pool, caller, action, at)
    }

    async fn record_success(
        &self,
        exchange: &Exchange,
        trail: &Trail,
        answer: Answer,
    ) -> std::result::Result<Answer, Rendered> {
        if answer.audited {
            return Ok(answer);
        }
        let stamp = answer.stamp.map(Stamp::Use);
        let (error_code, object) = ("", answer.object.as_str());
        let outcome = Outcome { status: answer.status, error_code, object, stamp: stamp.as_ref() };
        match self.audit.append_entry(&trail.entry(exchange, &outcome)).await {
            Ok(()) => Ok(answer),
            Err(error) => {
                log_failure(exchange, trail, &error);
                Err(render(&error))
            }
        }
    }

    fn finish(
        &self,
        peer: &Peer,
        exchange: &Exchange,
        trail: &Trail,
        outcome: std::result::Result<Answer, Rendered>,
    ) -> Reply {
        let (status, body, failure) = match outcome {
            Ok(answer) => (answer.status, answer.body, None),
            Err(rendered) => (rendered.status, rendered.hsm_body(&exchange.ids), Some(rendered)),
        };
        let mut headers = self.headers.hsm(&AnswerFacts {
            method: &exchange.head.method,
            ids: &exchange.ids,
            latency: exchange.started.elapsed(),
            peer: &peer.headers,
            error: failure.is_some(),
            body: !body.is_empty(),
        });
        if status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, self.challenge.clone());
        }
        if let Some(rendered) = failure {
            add_retry_after(&mut headers, rendered.retry_after);
            add_allow(&mut headers, trail.allow.as_deref().filter(|_| status == 405));
        }
        reply(status, headers, body)
    }
}

/// Runs the handler; a panic in it ends here.
async fn run(route: &'static Route, call: Call) -> Result<Answer> {
    let handler = match route.run {
        Run::Hsm(handler) => handler,
        Run::Identity(_) | Run::Node(_) | Run::Management(_) | Run::Graph(_) => {
            return Err(Error::NotFound(NotFound::Path));
        }
    };
    let work = AssertUnwindSafe(async move { handler(call).await });
    work.catch_unwind().await.unwrap_or(Err(Error::Internal(Internal::Panic)))
}

/// The one bearer token of a request.
pub(super) fn bearer(headers: &HeaderMap) -> std::result::Result<&str, Unauthenticated> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Err(Unauthenticated::Missing) };
    if values.next().is_some() {
        return Err(Unauthenticated::Malformed);
    }
    let text = value.to_str().map_err(|_| Unauthenticated::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(Unauthenticated::Missing)?;
    let token = token.trim_matches(' ');
    match scheme.eq_ignore_ascii_case("Bearer") {
        true if (1..=limits::TOKEN_MAX).contains(&token.len()) => Ok(token),
        true => Err(Unauthenticated::Malformed),
        false => Err(Unauthenticated::Missing),
    }
}

/// The method, or the one that a POST names in `X-HTTP-METHOD`.
fn method(sent: &Method, headers: &HeaderMap) -> Result<Method> {
    match headers.get(METHOD_OVERRIDE) {
        Some(wanted) if sent == Method::POST => {
            Method::from_bytes(&wanted.as_bytes().to_ascii_uppercase()).map_err(|_| Error::MethodNotAllowed)
        }
        Some(_) | None => Ok(sent.clone()),
    }
}

/// A pool that is not in use answers nothing but the routes that say so.
fn check_state(pool: &Pool, found: Option<&Found<'_>>) -> Result<()> {
    if pool.state == PoolState::Activated || found.is_some_and(|f| f.leaf.route.states.contains(&pool.state)) {
        return Ok(());
    }
    Err(match pool.state {
        PoolState::Sealed => Error::Unavailable(Unavailable::Sealed),
        PoolState::Provisioned | PoolState::Activated => Error::Forbidden(Forbidden::NotActivated),
    })
}

fn missed(miss: Miss, trail: &mut Trail) -> Error {
    match miss {
        Miss::Path => Error::NotFound(NotFound::Path),
        Miss::Method(allow) => {
            trail.allow = Some(allow);
            Error::MethodNotAllowed
        }
    }
}

fn version(query: &[(String, String)], since: ApiVersion, trail: &mut Trail) -> Result<ApiVersion> {
    let text = query_value(query, "api-version").ok_or(Error::ApiVersion)?;
    let version = ApiVersion::parse(text)?;
    trail.version = Some(text.to_owned());
    if version < since { Err(Error::ApiVersion) } else { Ok(version) }
}

fn scope_of(path: &Path<'_>) -> Result<Option<RoleScope>> {
    path.scope.as_ref().map(|parts| RoleScope::from_parts(parts.iter().map(AsRef::as_ref))).transpose()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::HeaderValue;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_request_has_one_bearer_token() {
        assert_eq!(bearer(&headers(&["Bearer abc"])), Ok("abc"));
        assert_eq!(bearer(&headers(&["bEARER  abc "])), Ok("abc"));
        assert_eq!(bearer(&headers(&[])), Err(Unauthenticated::Missing));
        assert_eq!(bearer(&headers(&["Basic abc"])), Err(Unauthenticated::Missing));
        assert_eq!(bearer(&headers(&["Bearer"])), Err(Unauthenticated::Missing));
        assert_eq!(bearer(&headers(&["Bearer "])), Err(Unauthenticated::Malformed));
        assert_eq!(bearer(&headers(&["Bearer a", "Bearer a"])), Err(Unauthenticated::Malformed));
        let long = format!("Bearer {}", "a".repeat(limits::TOKEN_MAX + 1));
        assert_eq!(bearer(&headers(&[&long])), Err(Unauthenticated::Malformed));
    }

    #[test]
    fn a_post_may_stand_for_another_method() {
        let mut sent = HeaderMap::new();
        assert_eq!(method(&Method::POST, &sent).unwrap(), Method::POST);
        sent.insert(METHOD_OVERRIDE, HeaderValue::from_static("patch"));
        assert_eq!(method(&Method::POST, &sent).unwrap(), Method::PATCH);
        assert_eq!(method(&Method::GET, &sent).unwrap(), Method::GET);
        sent.insert(METHOD_OVERRIDE, HeaderValue::from_static("a b"));
        assert_eq!(method(&Method::POST, &sent), Err(Error::MethodNotAllowed));
    }

    #[test]
    fn operations_begin_with_their_version() {
        let query = |v: &str| vec![("api-version".to_owned(), v.to_owned())];
        let mut trail = Trail::new(None, Arc::from("https://x"));
        let since = ApiVersion::known("7.3").unwrap();
        assert!(version(&query("7.4"), since, &mut trail).is_ok());
        assert_eq!(trail.version.as_deref(), Some("7.4"));
        assert_eq!(version(&query("7.2"), since, &mut trail), Err(Error::ApiVersion));
        assert_eq!(version(&query("seven"), since, &mut trail), Err(Error::ApiVersion));
        assert_eq!(version(&[], since, &mut trail), Err(Error::ApiVersion));
    }
}
