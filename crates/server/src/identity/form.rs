//! The form of a token request; what may be secret in it is wiped.

use super::answer::{PageRequest, TokenRequest};
use super::jwt::parse_guid;
use super::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use uuid::Uuid;
use zeroize::Zeroizing;

type Field = Option<Zeroizing<String>>;

/// The parameters we know; all others are ignored.
#[derive(Default)]
pub(super) struct Form {
    pub(super) grant_type: Field,
    client_id: Field,
    client_secret: Field,
    client_assertion: Field,
    client_assertion_type: Field,
    pub(super) scope: Field,
    pub(super) resource: Field,
    pub(super) username: Field,
    pub(super) password: Field,
    pub(super) refresh_token: Field,
    pub(super) code: Field,
    pub(super) redirect_uri: Field,
    pub(super) code_verifier: Field,
    pub(super) device_code: Field,
    claims: Field,
    client_info: Field,
}

/// How a client proves itself.
pub(super) enum Credential {
    /// `client_secret`, or Basic authentication.
    Secret(Zeroizing<String>),
    /// `client_assertion`, without white space around it: files end with a newline.
    Assertion(Zeroizing<String>),
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl Form {
    /// Parses the body; empty parameters count as not given (RFC 6749 3.1).
    pub(super) fn parse(request: &TokenRequest<'_>) -> Result<Self, Refusal> {
        if !is_form(request.content_type) {
            return Err(Refusal::NotAForm);
        }
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(request.body) {
            let value = Zeroizing::new(value.into_owned());
            let Some(field) = form.field(&name) else { continue };
            if field.is_some() {
                return Err(Refusal::TwiceGiven);
            }
            if !value.is_empty() {
                *field = Some(value);
            }
        }
        if let Some(basic) = request.authorization.and_then(basic_credentials) {
            if form.client_secret.is_some() || form.client_assertion.is_some() {
                return Err(Refusal::TwoCredentials);
            }
            form.client_id = Some(basic.0);
            form.client_secret = Some(basic.1);
        }
        Ok(form)
    }

    /// One that asks for a scope and nothing else.
    pub(super) fn of_scope(scope: &str) -> Self {
        Self { scope: Some(Zeroizing::new(scope.to_owned())), ..Self::default() }
    }

    fn field(&mut self, name: &str) -> Option<&mut Field> {
        Some(match name {
            "grant_type" => &mut self.grant_type,
            "client_id" => &mut self.client_id,
            "client_secret" => &mut self.client_secret,
            "client_assertion" => &mut self.client_assertion,
            "client_assertion_type" => &mut self.client_assertion_type,
            "scope" => &mut self.scope,
            "resource" => &mut self.resource,
            "username" => &mut self.username,
            "password" => &mut self.password,
            "refresh_token" => &mut self.refresh_token,
            "code" => &mut self.code,
            "redirect_uri" => &mut self.redirect_uri,
            "code_verifier" => &mut self.code_verifier,
            "device_code" => &mut self.device_code,
            "claims" => &mut self.claims,
            "client_info" => &mut self.client_info,
            _ => return None,
        })
    }

    /// `client_id`: a GUID in its usual form.
    pub(super) fn client_id(&self) -> Result<Uuid, Refusal> {
        self.client_id.as_deref().and_then(|id| parse_guid(id)).ok_or(Refusal::MissingClientId)
    }

    /// Takes the one credential out of the form.
    pub(super) fn take_credential(&mut self) -> Result<Option<Credential>, Refusal> {
        match (self.client_secret.take(), self.client_assertion.take()) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(Refusal::TwoCredentials),
            (Some(secret), None) => Ok(Some(Credential::Secret(secret))),
            (None, Some(assertion)) => {
                if self.client_assertion_type.as_ref().is_none_or(|t| t.as_str() != JWT_BEARER) {
                    return Err(Refusal::AssertionType);
                }
                Ok(Some(Credential::Assertion(Zeroizing::new(assertion.trim().to_owned()))))
            }
        }
    }

    /// Whether the client says it understands continuous access evaluation.
    pub(super) fn is_continuous(&self) -> bool {
        let claims = self.claims.as_ref().and_then(|c| super::json::parse_object(c.as_bytes()));
        let values = claims.as_ref().and_then(|c| c.get("access_token")?.get("xms_cc")?.get("values")?.as_array());
        values.is_some_and(|v| v.iter().any(|x| x.as_str().is_some_and(|x| x.eq_ignore_ascii_case("CP1"))))
    }

    /// Whether the client asked for `client_info`.
    pub(super) fn wants_client_info(&self) -> bool {
        self.client_info.as_ref().is_some_and(|v| v.as_str() == "1")
    }
}

fn is_form(content_type: Option<&str>) -> bool {
    let media_type = content_type.and_then(|t| t.split(';').next()).unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Parameters by name, each given once; wiped when they are dropped.
pub(super) struct Fields(Vec<(Zeroizing<String>, Zeroizing<String>)>);

impl Fields {
    /// Of a query.
    pub(super) fn of_query(query: &[(String, String)]) -> Result<Self, Refusal> {
        let fields = query.iter().map(|(n, v)| (Zeroizing::new(n.clone()), Zeroizing::new(v.clone()))).collect();
        Self(fields).checked()
    }

    /// Of a program's form.
    pub(super) fn of_form(request: &PageRequest<'_>) -> Result<Self, Refusal> {
        if !is_form(request.content_type) {
            return Err(Refusal::NotAForm);
        }
        let fields = form_urlencoded::parse(request.body)
            .map(|(n, v)| (Zeroizing::new(n.into_owned()), Zeroizing::new(v.into_owned())));
        Self(fields.collect()).checked()
    }

    /// Of a form on a page of ours: a browser that knows tells whether another site sent it.
    pub(super) fn of_page(request: &PageRequest<'_>) -> Result<Self, Refusal> {
        if request.fetch_site.is_some_and(|site| site != "same-origin") {
            return Err(Refusal::StalePage);
        }
        Self::of_form(request)
    }

    /// RFC 6749 3.1: a parameter stands once; an empty one counts as not given.
    fn checked(self) -> Result<Self, Refusal> {
        let twice = self.0.iter().enumerate().any(|(i, (name, _))| self.0.iter().take(i).any(|(n, _)| n == name));
        if twice { Err(Refusal::TwiceGiven) } else { Ok(self) }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, v)| n.as_str() == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// The password, in memory of its own.
    pub(super) fn password(&self) -> Zeroizing<String> {
        Zeroizing::new(self.get("password").unwrap_or_default().to_owned())
    }
}

/// Client id and secret of `Authorization: Basic` (RFC 6749 2.3.1: each form-encoded).
fn basic_credentials(header: &str) -> Option<(Zeroizing<String>, Zeroizing<String>)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    let decode = |text: &str| {
        let spaced = Zeroizing::new(text.replace('+', " "));
        percent_decode_str(&spaced).decode_utf8().ok().map(|t| Zeroizing::new(t.into_owned()))
    };
    Some((decode(id)?, decode(secret)?))
}
