//! The public documents of the issuer: OpenID Connect discovery, keys, and what MSAL asks about an authority.

use super::answer::IdentityAnswer;
use super::jwt::VerifyingKey;
use super::refusal::Refusal;
use super::service::Identity;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use uuid::Uuid;

/// Names that a path may use in place of the tenant's GUID.
const TENANT_ALIASES: &[&str] = &["organizations", "common", "adfs"];

impl Identity {
    /// Whether a path part names our tenant: its GUID or an alias.
    pub(super) fn is_tenant(&self, name: &str) -> bool {
        let alias = TENANT_ALIASES.iter().any(|a| a.eq_ignore_ascii_case(name));
        alias || super::jwt::parse_guid(name) == Some(self.tenant())
    }

    /// `GET /{tenant}[/v2.0]/.well-known/openid-configuration`. The endpoints keep the tenant as the client wrote it, since
    /// clients read it back from there; the issuer is always the GUID's.
    pub fn openid_configuration(&self, tenant: &str) -> IdentityAnswer {
        if !self.is_tenant(tenant) {
            return self.refuse(Refusal::UnknownTenant);
        }
        let base = format!("{}/{tenant}", self.login_url());
        IdentityAnswer::document(&json!({
            "issuer": self.issuer(),
            "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
            "token_endpoint": format!("{base}/oauth2/v2.0/token"),
            "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
            "end_session_endpoint": format!("{base}/oauth2/v2.0/logout"),
            "jwks_uri": format!("{base}/discovery/v2.0/keys"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "response_modes_supported": ["query", "fragment", "form_post"],
            "response_types_supported": ["code"],
            "grant_types_supported": [
                "authorization_code", "client_credentials", "password", "refresh_token",
                "urn:ietf:params:oauth:grant-type:device_code",
            ],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "claims_supported":
                ["sub", "iss", "aud", "exp", "iat", "nbf", "tid", "oid", "appid", "name", "preferred_username", "ver"],
            "request_parameter_supported": false,
            "request_uri_parameter_supported": false,
            "tenant_region_scope": null,
            "cloud_instance_name": self.login_host(),
        }))
    }

    /// `GET /{tenant}/discovery[/v2.0]/keys`
    pub fn jwks(&self, tenant: &str) -> IdentityAnswer {
        if !self.is_tenant(tenant) {
            return self.refuse(Refusal::UnknownTenant);
        }
        let VerifyingKey::Rsa { n, e } = self.verifying_key() else { return self.refuse(Refusal::Unavailable) };
        IdentityAnswer::document(&json!({ "keys": [{
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.kid(),
            "n": URL_SAFE_NO_PAD.encode(n),
            "e": URL_SAFE_NO_PAD.encode(e),
            "issuer": self.issuer(),
        }] }))
    }

    /// `GET /common/discovery/instance`
    pub fn instance_discovery(&self) -> IdentityAnswer {
        let host = self.login_host();
        let bare = host.split(':').next().unwrap_or(host);
        let aliases: Vec<Value> = if bare == host { vec![host.into()] } else { vec![host.into(), bare.into()] };
        IdentityAnswer::document(&json!({
            "tenant_discovery_endpoint": format!("{}/v2.0/.well-known/openid-configuration", self.authorization_url()),
            "api-version": "1.1",
            "metadata": [{ "preferred_network": host, "preferred_cache": host, "aliases": aliases }],
        }))
    }

    /// `GET /{tenant}/userrealm/{user}`: every user's password is checked here, whether there is such a user or not.
    pub fn user_realm(&self, user: &str) -> IdentityAnswer {
        let domain = user.rsplit_once('@').map_or("", |(_, domain)| domain);
        IdentityAnswer::document(&json!({
            "ver": "1.0",
            "account_type": "Managed",
            "domain_name": domain,
            "cloud_instance_name": self.login_host(),
            "cloud_audience_urn": "urn:federation:MicrosoftOnline",
        }))
    }

    fn refuse(&self, refusal: Refusal) -> IdentityAnswer {
        refusal.answer(self.now(), Uuid::new_v4())
    }
}
