//! From the login host's and the managed-identity listener's requests to identity's functions, and nothing else.

use crate::identity::{Identity, IdentityAnswer, ManagedRequest, PageRequest, TokenRequest};
use http::{HeaderMap, header};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use strongroom_model::SecretBytes;
use uuid::Uuid;

/// A request to an endpoint of identity, its body read.
pub struct IdentityCall {
    /// The embedded issuer.
    pub identity: Arc<Identity>,
    /// The parts of the path that the route names, decoded.
    pub params: Vec<(&'static str, String)>,
    /// The query, names and values decoded.
    pub query: Vec<(String, String)>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body: empty when there is none. Wiped when the call is dropped.
    pub body: SecretBytes,
    /// The real peer.
    pub peer: IpAddr,
    /// The client's request id when it is a GUID, else ours.
    pub correlation_id: Uuid,
}

/// What a handler of identity returns.
pub type IdentityFuture = Pin<Box<dyn Future<Output = IdentityAnswer> + Send>>;

/// A handler of identity.
pub type IdentityHandler = fn(IdentityCall) -> IdentityFuture;

impl IdentityCall {
    fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| v)
    }

    /// The text of a header; one that is not visible ASCII counts as an empty one, so that it is not taken for missing.
    fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap_or(""))
    }

    fn page<'a>(&'a self, cookies: Option<&'a str>) -> PageRequest<'a> {
        PageRequest {
            tenant: self.params.iter().find(|(n, _)| *n == "tenant").map(|(_, v)| v.as_str()),
            query: &self.query,
            content_type: self.header(header::CONTENT_TYPE),
            cookies,
            fetch_site: self.header("sec-fetch-site"),
            body: self.body.expose(),
            peer: self.peer,
            correlation_id: self.correlation_id,
        }
    }

    fn managed(&self) -> ManagedRequest<'_> {
        ManagedRequest {
            query: &self.query,
            metadata: self.header("metadata"),
            identity_header: self.header("x-identity-header"),
            forwarded_for: self.header("x-forwarded-for"),
            correlation_id: self.correlation_id,
        }
    }
}

/// All cookies: HTTP/2 may bring each in a header of its own (RFC 9113 8.2.3).
fn cookies(headers: &HeaderMap) -> Option<String> {
    let values: Vec<&str> = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join("; "))
}

/// `GET /{tenant}[/v2.0]/.well-known/openid-configuration`
pub fn openid_configuration(call: IdentityCall) -> IdentityFuture {
    Box::pin(async move { call.identity.openid_configuration(call.param("tenant")) })
}

/// `GET /{tenant}/discovery[/v2.0]/keys`
pub fn jwks(call: IdentityCall) -> IdentityFuture {
    Box::pin(async move { call.identity.jwks(call.param("tenant")) })
}

/// `GET /common/discovery/instance`
pub fn instance_discovery(call: IdentityCall) -> IdentityFuture {
    Box::pin(async move { call.identity.instance_discovery() })
}

/// `GET /{tenant}/userrealm/{user}`
pub fn user_realm(call: IdentityCall) -> IdentityFuture {
    Box::pin(async move { call.identity.user_realm(call.param("user")) })
}

/// `POST /{tenant}/oauth2[/v2.0]/token`
pub fn token(call: IdentityCall) -> IdentityFuture {
    Box::pin(async move {
        let request = TokenRequest {
            tenant: call.param("tenant"),
            authorization: call.header(header::AUTHORIZATION),
            content_type: call.header(header::CONTENT_TYPE),
            body: call.body.expose(),
            peer: call.peer,
            correlation_id: call.correlation_id,
        };
        call.identity.token(request).await
    })
}

/// `GET /metadata/identity/oauth2/token[/]`
pub fn instance_metadata_token(call: IdentityCall) -> IdentityFuture {
    Box::pin(async move { call.identity.instance_metadata_token(call.managed()).await })
}

/// `GET /msi/token`
pub fn app_service_token(call: IdentityCall) -> IdentityFuture {
    Box::pin(async move { call.identity.app_service_token(call.managed()).await })
}

/// `GET /{tenant}/oauth2/v2.0/authorize`
pub fn authorize(call: IdentityCall) -> IdentityFuture {
    Box::pin(async move { call.identity.authorize(&call.page(cookies(&call.headers).as_deref())) })
}

/// `POST /sign-in`
pub fn sign_in(call: IdentityCall) -> IdentityFuture {
    Box::pin(async move { call.identity.sign_in(&call.page(cookies(&call.headers).as_deref())).await })
}

/// `POST /{tenant}/oauth2/v2.0/devicecode`
pub fn device_code(call: IdentityCall) -> IdentityFuture {
    Box::pin(async move { call.identity.device_code(&call.page(cookies(&call.headers).as_deref())) })
}

/// `GET /device`
pub fn device_page(call: IdentityCall) -> IdentityFuture {
    Box::pin(async move { call.identity.device_page(&call.page(cookies(&call.headers).as_deref())) })
}

/// `POST /device`
pub fn enter_user_code(call: IdentityCall) -> IdentityFuture {
    Box::pin(async move { call.identity.enter_user_code(&call.page(cookies(&call.headers).as_deref())) })
}

/// `GET /{tenant}/oauth2/v2.0/logout`
pub fn logout(call: IdentityCall) -> IdentityFuture {
    Box::pin(async move { call.identity.logout() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn cookies_of_several_headers_are_one_list() {
        let mut headers = HeaderMap::new();
        assert_eq!(cookies(&headers), None);
        for cookie in ["a=1; b=2", "c=3"] {
            headers.append(header::COOKIE, HeaderValue::from_static(cookie));
        }
        assert_eq!(cookies(&headers).as_deref(), Some("a=1; b=2; c=3"));
    }
}
