//! What the identity endpoints take and give, without HTTP types.

use std::net::IpAddr;
use std::sync::Arc;
use strongroom_model::Principal;
use strongroom_model::audit::SystemStamp;
use uuid::Uuid;
use zeroize::Zeroizing;

/// `POST /{tenant}/oauth2[/v2.0]/token`.
pub struct TokenRequest<'a> {
    /// The first part of the path, decoded: the tenant's GUID, `organizations`, `common` or `adfs`.
    pub tenant: &'a str,
    /// The header, for a client that sends its secret there.
    pub authorization: Option<&'a str>,
    /// The header; must be a form.
    pub content_type: Option<&'a str>,
    /// The form.
    pub body: &'a [u8],
    /// The real peer: failing attempts are counted per client and peer.
    pub peer: IpAddr,
    /// `client-request-id` when it is a GUID, else the request's id.
    pub correlation_id: Uuid,
}

/// `GET` on the managed-identity listener, in either form.
pub struct ManagedRequest<'a> {
    /// The decoded query.
    pub query: &'a [(String, String)],
    /// `Metadata`
    pub metadata: Option<&'a str>,
    /// `X-IDENTITY-HEADER`
    pub identity_header: Option<&'a str>,
    /// `X-Forwarded-For`
    pub forwarded_for: Option<&'a str>,
    /// `x-ms-client-request-id` when it is a GUID, else the request's id.
    pub correlation_id: Uuid,
}

/// A request to a page, or from one.
pub struct PageRequest<'a> {
    /// The first part of the path, where it is a tenant.
    pub tenant: Option<&'a str>,
    /// The decoded query.
    pub query: &'a [(String, String)],
    /// The header; must be a form where there is a body.
    pub content_type: Option<&'a str>,
    /// `Cookie`
    pub cookies: Option<&'a str>,
    /// `Sec-Fetch-Site`: whether the browser says that another site's page sent it.
    pub fetch_site: Option<&'a str>,
    /// The form.
    pub body: &'a [u8],
    /// The real peer.
    pub peer: IpAddr,
    /// `client-request-id` when it is a GUID, else the request's id.
    pub correlation_id: Uuid,
}

/// What an answer to a browser has besides its HTML.
pub struct Page {
    /// `Content-Security-Policy`
    pub policy: String,
    /// `Location`, with status 303.
    pub location: Option<String>,
    /// `Set-Cookie`
    pub cookie: Option<String>,
}

/// An answer of an identity endpoint: JSON, or a page.
pub struct IdentityAnswer {
    /// 200, 303, 400, 401, 429 or 503.
    pub status: u16,
    /// HTML for a browser; JSON without it.
    pub page: Option<Page>,
    /// The body; holds tokens, wiped when it has been sent.
    pub body: Zeroizing<Vec<u8>>,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// `Cache-Control`: `no-store` for tokens and errors, `max-age=…` for public documents.
    pub cache_control: &'static str,
    /// `WWW-Authenticate`, for a client that sent its secret in the header.
    pub challenge: Option<&'static str>,
    /// Whom a token was issued to, for the audit record.
    pub principal: Option<Arc<Principal>>,
    /// Places of the issuer key's uses in their chain, for the audit: one for each token signed (a user's login makes up to
    /// three). The first belongs into the request's record, each further one into a record of its own.
    pub stamps: Vec<SystemStamp>,
    /// `AADSTS…` on failure, for the audit record; empty on success.
    pub error_code: String,
}

impl IdentityAnswer {
    /// A successful answer.
    pub(super) fn of(body: Zeroizing<Vec<u8>>, cache_control: &'static str) -> Self {
        Self {
            status: 200,
            page: None,
            body,
            retry_after: None,
            cache_control,
            challenge: None,
            principal: None,
            stamps: Vec::new(),
            error_code: String::new(),
        }
    }

    /// A public document.
    pub(super) fn document(document: &serde_json::Value) -> Self {
        Self::of(Zeroizing::new(document.to_string().into_bytes()), "max-age=86400, private")
    }
}
