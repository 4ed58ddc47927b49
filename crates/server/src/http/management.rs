//! The gates in front of the management plane and the directory, in their order.

use super::body::{self, RequestBody};
use super::call::Answer;
use super::dispatch::{Reply, add_allow, add_retry_after, as_get, log_failure, reply};
use super::handlers::graph::GraphCall;
use super::handlers::management::{ManagementAnswer, ManagementCall, ManagementVersion};
use super::hsm::bearer;
use super::path::{Path, parse_query, query_value};
use super::render::{Rendered, render_management};
use super::route::{Access, ManagementScope, Route, Run, Surface};
use super::router::{Found, Miss};
use super::service::Service;
use super::trail::{Exchange, Outcome, Trail, UNKNOWN_OPERATION, blank_record};
use futures_util::FutureExt;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use strongroom_engine::Recorded;
use strongroom_engine::management::ManagementGrant;
use strongroom_model::error::{Error, Internal, ManagementError, NotFound, Result};
use strongroom_model::management::{GroupName, Scope};
use strongroom_model::{Principal, SecretBytes};
use uuid::Uuid;

/// What answers without a token.
type Public = fn(&Service, &[(String, String)]) -> ManagementAnswer;

/// What a request asks for, past every gate.
struct Asked {
    caller: Arc<Principal>,
    grant: Option<ManagementGrant>,
    version: Option<ManagementVersion>,
    scope: Option<Scope>,
    params: Vec<(&'static str, String)>,
    query: Vec<(String, String)>,
    body: SecretBytes,
    recorded: Recorded,
}

impl Service {
    /// Answers a request to the management host or the directory's.
    pub(super) async fn manage<B: RequestBody>(
        self: &Arc<Self>,
        exchange: &Exchange,
        surface: Surface,
        mut trail: Trail,
        path: &Result<Path<'_>>,
        body: &mut B,
        admitted: bool,
    ) -> Reply {
        let result = if admitted {
            self.through_management(exchange, surface, &mut trail, path, body).await
        } else {
            Err(Error::Throttled)
        };
        let outcome = match result {
            Ok(answer) => self.record_management(exchange, &trail, answer).await,
            Err(error) => Err(self.record_management_refusal(exchange, &trail, error).await),
        };
        self.management_reply(exchange, surface, &trail, outcome)
    }

    async fn through_management<B: RequestBody>(
        self: &Arc<Self>,
        exchange: &Exchange,
        surface: Surface,
        trail: &mut Trail,
        path: &Result<Path<'_>>,
        body: &mut B,
    ) -> Result<ManagementAnswer> {
        let head = &exchange.head;
        if let Ok(path) = path {
            trail.path = path.canonical();
            if let Some(public) = self.public_management(surface, path, &head.method, trail) {
                let query = parse_query(head.uri.query())?;
                return Ok(public(self, &query));
            }
        }
        let caller = self.member(&head.headers, surface).await?;
        trail.caller = Some(Arc::clone(&caller));
        trail.operation = UNKNOWN_OPERATION;
        let path = path.as_ref().map_err(Clone::clone)?;
        let found = self.router.find(surface, path, &head.method).map_err(|miss| match miss {
            Miss::Path => Error::NotFound(NotFound::Path),
            Miss::Method(allow) => {
                trail.allow = Some(allow);
                Error::MethodNotAllowed
            }
        })?;
        let route = found.leaf.route;
        trail.operation = route.log_name;
        let query = parse_query(head.uri.query())?;
        let version = match surface {
            Surface::Management => Some(version(&query, path, trail)?),
            Surface::Hsm | Surface::Identity | Surface::Graph | Surface::ManagedIdentity | Surface::Node => None,
        };
        let scope = path.scope.as_ref().map(|parts| Scope::from_parts(parts.iter().map(AsRef::as_ref)));
        let scope = match scope {
            // The root: nothing but the built-in roles is there.
            Some(Err(_)) if path.scope.as_ref().is_some_and(Vec::is_empty) => None,
            other => other.transpose()?,
        };
        let grant = self.authorise_management(route, &caller, &found, scope.as_ref())?;
        let body = match head.method {
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
        let recorded = Recorded { record, started: exchange.started };
        let asked = Asked { caller, grant, version, scope, params: found.params, query, body, recorded };
        self.carry_out(route, asked).await
    }

    /// Runs the handler; a panic in it ends here.
    async fn carry_out(&self, route: &'static Route, asked: Asked) -> Result<ManagementAnswer> {
        let Asked { caller, grant, version, scope, params, query, body, recorded } = asked;
        match route.run {
            Run::Management(handler) => {
                let call = ManagementCall {
                    engine: Arc::clone(&self.engine),
                    endpoints: self.endpoints.clone(),
                    recorded,
                    caller,
                    grant,
                    version: version.ok_or(ManagementError::ApiVersionMissing)?,
                    scope,
                    params,
                    query,
                    body,
                };
                let work = AssertUnwindSafe(async move { handler(call).await });
                work.catch_unwind().await.unwrap_or(Err(Error::Internal(Internal::Panic)))
            }
            Run::Graph(handler) => {
                let call = GraphCall {
                    identity: Arc::clone(&self.identity),
                    endpoints: self.endpoints.clone(),
                    caller,
                    params,
                    query,
                    body,
                };
                let work = AssertUnwindSafe(async move { handler(&call) });
                work.catch_unwind().await.unwrap_or(Err(Error::Internal(Internal::Panic))).map(ManagementAnswer::from)
            }
            Run::Hsm(_) | Run::Identity(_) | Run::Node(_) => Err(Error::NotFound(NotFound::Path)),
        }
    }

    /// The one document that is read before there is a token.
    fn public_management(
        &self,
        surface: Surface,
        path: &Path<'_>,
        method: &Method,
        trail: &mut Trail,
    ) -> Option<Public> {
        let asked = path.scope.is_none()
            && path.parts.len() == 2
            && path.parts.iter().zip(["metadata", "endpoints"]).all(|(part, word)| part.eq_ignore_ascii_case(word));
        if surface != Surface::Management || !asked || as_get(method) != Method::GET {
            return None;
        }
        trail.operation = "CloudMetadataGet";
        Some(|service, query| {
            let version = query_value(query, "api-version").unwrap_or_default();
            super::handlers::management::metadata::endpoints(&service.endpoints, version)
        })
    }

    async fn member(&self, headers: &HeaderMap, surface: Surface) -> Result<Arc<Principal>> {
        let audience = if surface == Surface::Graph { &self.graph_audience } else { &self.management_audience };
        let token = bearer(headers).map_err(Error::Unauthenticated)?;
        self.identity.authenticate(token, audience).await.map_err(Error::Unauthenticated)
    }

    /// The roles of the management plane; a route of another surface has no business here.
    fn authorise_management(
        &self,
        route: &Route,
        caller: &Arc<Principal>,
        found: &Found<'_>,
        scope: Option<&Scope>,
    ) -> Result<Option<ManagementGrant>> {
        let param = |name: &str| found.params.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| v.as_str());
        let ours = self.engine.management_settings().subscription_id;
        let named = match scope {
            Some(scope) => scope.subscription_id(),
            None if param("subscription").is_empty() => Some(ours),
            None => Uuid::parse_str(param("subscription")).ok(),
        };
        if named != Some(ours) {
            let text = scope.map_or_else(|| param("subscription").to_owned(), ToString::to_string);
            return Err(ManagementError::SubscriptionNotFound(text).into());
        }
        let (action, at) = match route.access {
            Access::Management { action, at } => (action, at),
            Access::Member { .. } => return Ok(None),
            Access::Public { .. } | Access::Hsm { .. } => return Err(Error::NotFound(NotFound::Path)),
        };
        let group = || GroupName::parse(param("group"));
        let at = match at {
            ManagementScope::Subscription => Scope::subscription(ours),
            ManagementScope::Group => self.engine.group_scope(&group()?),
            ManagementScope::Resource(kind) => self.engine.resource_scope(&group()?, kind, param("name")),
            ManagementScope::Path => scope.cloned().ok_or(ManagementError::BadScope)?,
        };
        self.engine.authorise_management(caller, action, at).map(Some)
    }

    async fn record_management(
        &self,
        exchange: &Exchange,
        trail: &Trail,
        answer: ManagementAnswer,
    ) -> std::result::Result<ManagementAnswer, Rendered> {
        if answer.answer.audited {
            return Ok(answer);
        }
        let Answer { status, object, .. } = &answer.answer;
        let outcome = Outcome { status: *status, error_code: "", object, stamp: None };
        let written = match trail.caller {
            Some(_) => self.audit.append_entry(&trail.entry(exchange, &outcome)).await,
            None => self.audit.append_refusal(trail.record(exchange, &outcome)).await,
        };
        match written {
            Ok(()) => Ok(answer),
            Err(error) => {
                log_failure(exchange, trail, &error);
                Err(render_management(&error, None))
            }
        }
    }

    async fn record_management_refusal(&self, exchange: &Exchange, trail: &Trail, error: Error) -> Rendered {
        let sent = self.record_refusal(exchange, trail, error.clone()).await;
        // When the refusal could not be recorded, that is what goes out.
        if sent.status == 503 { sent } else { render_management(&error, trail.caller.as_deref()) }
    }

    fn management_reply(
        &self,
        exchange: &Exchange,
        surface: Surface,
        trail: &Trail,
        outcome: std::result::Result<ManagementAnswer, Rendered>,
    ) -> Reply {
        let (status, body, failure, extra) = match outcome {
            Ok(ManagementAnswer { answer: Answer { status, body, .. }, location, retry_after }) => {
                (status, body, None, (location, retry_after))
            }
            Err(rendered) => (rendered.status, rendered.management_body(), Some(rendered), (None, None)),
        };
        let mut headers = self.headers.other(&exchange.ids, !body.is_empty());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if status == 401 {
            let challenge = if surface == Surface::Graph { &self.graph_challenge } else { &self.management_challenge };
            headers.insert(header::WWW_AUTHENTICATE, challenge.clone());
        }
        if let Some(value) = extra.0.and_then(|location| HeaderValue::from_str(&location).ok()) {
            headers.insert(header::LOCATION, value);
        }
        add_retry_after(&mut headers, extra.1);
        if let Some(rendered) = failure {
            add_retry_after(&mut headers, rendered.retry_after);
            add_allow(&mut headers, trail.allow.as_deref().filter(|_| status == 405));
        }
        reply(status, headers, body)
    }
}

fn version(query: &[(String, String)], path: &Path<'_>, trail: &mut Trail) -> Result<ManagementVersion> {
    let text = query_value(query, "api-version").ok_or(ManagementError::ApiVersionMissing)?;
    let provider =
        path.scope.is_none() && path.parts.iter().any(|part| part.eq_ignore_ascii_case("Microsoft.KeyVault"));
    let version = ManagementVersion::parse(text, provider)?;
    trail.version = Some(text.to_owned());
    Ok(version)
}
