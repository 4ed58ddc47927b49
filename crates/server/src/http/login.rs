//! The login host and the managed-identity listener: public routes, whose credentials are in the request itself.

use super::body::{self, RequestBody};
use super::dispatch::{Reply, add_allow, add_retry_after, as_get, reply};
use super::handlers::identity::{IdentityCall, IdentityHandler};
use super::path::{Path, parse_query};
use super::route::{Run, Surface};
use super::router::Miss;
use super::service::Service;
use super::trail::{Exchange, Outcome, Trail, UNKNOWN_OPERATION};
use crate::identity::{IdentityAnswer, Page};
use futures_util::FutureExt;
use http::header::{self, HeaderValue};
use http::uri::Authority;
use http::{HeaderMap, Method};
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use strongroom_model::SecretBytes;
use strongroom_model::audit::Stamp;
use strongroom_model::error::{BadParameter, Error, Internal, NotFound, Result};
use strongroom_model::limits::TOKEN_MAX;

/// Largest form of a token request: an assertion and what stands beside it.
const FORM_MAX: usize = 2 * TOKEN_MAX;

impl Service {
    /// Answers a request to the login host.
    pub(super) async fn login<B: RequestBody>(
        self: &Arc<Self>,
        exchange: &Exchange,
        surface: Surface,
        mut trail: Trail,
        path: &Result<Path<'_>>,
        body: &mut B,
        admitted: bool,
    ) -> Reply {
        trail.operation = UNKNOWN_OPERATION;
        let result = if admitted {
            self.ask_identity(exchange, surface, &mut trail, path, body).await
        } else {
            Err(Error::Throttled)
        };
        let answered = match result {
            Ok(answer) => self.record_answer(exchange, &mut trail, answer).await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(answer) => self.identity_reply(exchange, answer),
            Err(error) => {
                let rendered = self.record_refusal(exchange, &trail, error).await;
                let mut headers = self.headers.other(&exchange.ids, true);
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                add_retry_after(&mut headers, rendered.retry_after);
                add_allow(&mut headers, trail.allow.as_deref().filter(|_| rendered.status == 405));
                reply(rendered.status, headers, rendered.identity_body(&exchange.ids))
            }
        }
    }

    /// Answers a request to the managed-identity listener: only programs of this machine that address it as such.
    pub(super) async fn managed_identity<B: RequestBody>(
        self: &Arc<Self>,
        exchange: &Exchange,
        body: &mut B,
        admitted: bool,
    ) -> Reply {
        let path = match addressed_directly(exchange) {
            Ok(()) => Path::parse(exchange.head.uri.path()),
            Err(error) => Err(error),
        };
        let trail = Trail::new(None, Arc::from("http://localhost"));
        self.login(exchange, Surface::ManagedIdentity, trail, &path, body, admitted).await
    }

    async fn ask_identity<B: RequestBody>(
        self: &Arc<Self>,
        exchange: &Exchange,
        surface: Surface,
        trail: &mut Trail,
        path: &Result<Path<'_>>,
        body: &mut B,
    ) -> Result<IdentityAnswer> {
        let head = &exchange.head;
        let path = path.as_ref().map_err(Clone::clone)?;
        trail.path = path.canonical();
        let found = self.router.find(surface, path, as_get(&head.method)).map_err(|miss| match miss {
            Miss::Path => Error::NotFound(NotFound::Path),
            Miss::Method(allow) => {
                trail.allow = Some(allow);
                Error::MethodNotAllowed
            }
        })?;
        let route = found.leaf.route;
        let Run::Identity(handler) = route.run else { return Err(Error::NotFound(NotFound::Path)) };
        trail.operation = route.log_name;
        // Private endpoints do not come here.
        let peer = exchange.peer.ok_or(Error::NotFound(NotFound::Path))?;
        let query = parse_query(head.uri.query())?;
        let body = if head.method == Method::POST {
            body::read(body, route.body_limit.min(FORM_MAX), self.body_timeout(route)).await?
        } else {
            SecretBytes::new(Vec::new())
        };
        let call = IdentityCall {
            identity: Arc::clone(&self.identity),
            params: found.params,
            query,
            headers: head.headers.clone(),
            body,
            peer,
            correlation_id: exchange.ids.correlation_id.unwrap_or(exchange.ids.request_id),
        };
        run(handler, call).await
    }

    /// One record, and one more for each further use of the issuer's key; the answer goes out only with all of them.
    async fn record_answer(
        &self,
        exchange: &Exchange,
        trail: &mut Trail,
        answer: IdentityAnswer,
    ) -> Result<IdentityAnswer> {
        trail.caller.clone_from(&answer.principal);
        let outcome = |stamp| Outcome { status: answer.status, error_code: &answer.error_code, object: "", stamp };
        let stamps: Vec<_> = answer.stamps.iter().cloned().map(Stamp::System).collect();
        let mut stamps = stamps.iter();
        let first = outcome(stamps.next());
        if answer.principal.is_some() {
            self.audit.append_entry(&trail.entry(exchange, &first)).await?;
        } else {
            self.audit.append_refusal(trail.record(exchange, &first)).await?;
        }
        for stamp in stamps {
            self.audit.append_entry(&trail.entry(exchange, &outcome(Some(stamp)))).await?;
        }
        Ok(answer)
    }

    fn identity_reply(&self, exchange: &Exchange, answer: IdentityAnswer) -> Reply {
        let mut headers = self.headers.other(&exchange.ids, !answer.body.is_empty());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(answer.cache_control));
        if let Some(page) = &answer.page {
            add_page(&mut headers, page);
        }
        add_retry_after(&mut headers, answer.retry_after);
        if let Some(challenge) = answer.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        reply(answer.status, headers, answer.body)
    }
}

/// What keeps a page to itself: no scripts, no frames, nothing from elsewhere, no address told to others.
fn add_page(headers: &mut HeaderMap, page: &Page) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // Not `no-referrer`: with it browsers hide from us, too, which page a form was on.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    let texts = [
        (header::CONTENT_SECURITY_POLICY, Some(&page.policy)),
        (header::LOCATION, page.location.as_ref()),
        (header::SET_COOKIE, page.cookie.as_ref()),
    ];
    for (name, text) in texts {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(name, value);
        }
    }
}

async fn run(handler: IdentityHandler, call: IdentityCall) -> Result<IdentityAnswer> {
    let work = AssertUnwindSafe(async move { handler(call).await });
    work.catch_unwind().await.map_err(|_| Error::Internal(Internal::Panic))
}

/// A request that came through a proxy, or that a web page sent to a name of its own, is not this machine's.
fn addressed_directly(exchange: &Exchange) -> Result<()> {
    let head = &exchange.head;
    let host = super::host::authority_of(head).ok().and_then(|text| text.parse::<Authority>().ok());
    if head.headers.contains_key("x-forwarded-for") {
        return Err(Error::BadParameter(BadParameter::NotAllowed("X-Forwarded-For")));
    }
    if exchange.peer.is_some_and(|peer| peer.is_loopback())
        && host.is_some_and(|authority| is_loopback(authority.host()))
    {
        Ok(())
    } else {
        Err(Error::BadParameter(BadParameter::Unsupported("Host")))
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_loopback_is_this_machine() {
        for good in ["127.0.0.1", "127.1.2.3", "[::1]", "localhost", "LOCALHOST"] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in ["169.254.169.254", "localhost.evil.example", "0.0.0.0", "[::]", "", "127.0.0.1.nip.io"] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }
}
