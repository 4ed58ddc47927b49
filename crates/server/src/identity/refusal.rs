//! Why the issuer refuses, as rows: OAuth's word (RFC 6749 5.2), Azure's number, the status, the text for people.

use super::answer::IdentityAnswer;
use super::attempts::WINDOW;
use serde::Serialize;
use strongroom_model::Timestamp;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The facts about one [`Refusal`].
pub(super) struct RefusalRow {
    pub(super) status: u16,
    pub(super) error: &'static str,
    pub(super) number: u32,
    text: &'static str,
}

macro_rules! refusals {
    ($($variant:ident = $status:literal, $error:literal, $number:literal, $text:literal;)*) => {
        /// A reason; [`Refusal::row`] has the facts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Refusal { $($variant,)* }

        impl Refusal {
            /// The facts. Whether a client exists is not among them: an unknown one and a wrong credential look alike.
            pub(super) const fn row(self) -> RefusalRow {
                match self {
                    $(Self::$variant => RefusalRow { status: $status, error: $error, number: $number, text: $text },)*
                }
            }
        }
    };
}

refusals! {
    UnknownTenant = 400, "invalid_tenant", 90002,
        "Tenant not found: the path must begin with this installation's tenant id, 'organizations', 'common' or 'adfs'.";
    NotAForm = 400, "invalid_request", 900144, "The request body must be a form (application/x-www-form-urlencoded).";
    TwiceGiven = 400, "invalid_request", 90100, "A parameter is given more than once.";
    MissingGrantType = 400, "invalid_request", 900144, "The request body must contain the parameter 'grant_type'.";
    MissingClientId = 400, "invalid_request", 900144, "The request body must contain the parameter 'client_id', a GUID.";
    MissingScope = 400, "invalid_request", 900144, "The request must contain the parameter 'scope' or 'resource'.";
    MissingUser = 400, "invalid_request", 900144, "The request body must contain 'username' and 'password'.";
    MissingRefreshToken = 400, "invalid_request", 900144, "The request body must contain the parameter 'refresh_token'.";
    GrantType = 400, "unsupported_grant_type", 70003,
        "The grant_type must be 'client_credentials', 'password' or 'refresh_token'.";
    NoCredential = 401, "invalid_client", 7000218, "The request must contain 'client_secret' or 'client_assertion'.";
    TwoCredentials = 400, "invalid_request", 90023, "The request must contain one client credential only.";
    WrongSecret = 401, "invalid_client", 7000215,
        "Invalid client id or client secret provided. Send the secret itself, not its hash.";
    SecretExpired = 401, "invalid_client", 7000222, "The provided client secret has expired.";
    WrongAssertion = 401, "invalid_client", 700027,
        "The client assertion is not this client's: its signature, certificate, issuer, subject or audience does not match.";
    AssertionTime = 401, "invalid_client", 700024, "The client assertion or its certificate is not within its valid time range.";
    AssertionType = 401, "invalid_client", 700030,
        "The client_assertion_type must be 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'.";
    ApplicationDisabled = 401, "invalid_client", 7000112, "The application is disabled.";
    PublicClient = 401, "invalid_client", 700016, "The client may not log users in without a credential of its own.";
    UnknownResource = 400, "invalid_resource", 500011,
        "The resource is not one of this installation's: ask for its managed HSM, vault, management or directory URL.";
    BadScope = 400, "invalid_scope", 70011, "The scope must be a resource URL followed by '/.default'.";
    SeveralResources = 400, "invalid_request", 28000, "The scope names more than one resource.";
    WrongPassword = 400, "invalid_grant", 50126, "Invalid username or password.";
    UserDisabled = 400, "invalid_grant", 50057, "The user account is disabled.";
    StaleRefreshToken = 400, "invalid_grant", 70008,
        "The refresh token is not valid, has expired, or the user's password or account was changed.";
    TooManyAttempts = 429, "temporarily_unavailable", 90055, "Too many failing attempts: wait a minute.";
    Busy = 429, "temporarily_unavailable", 90055, "Too many logins at the same time: try again.";
    Unavailable = 503, "temporarily_unavailable", 90033, "The issuer's key cannot be used now: try again.";
    NoMetadataHeader = 400, "invalid_request", 90014, "Required metadata header not specified.";
    Forwarded = 400, "invalid_request", 90014, "The request came through a proxy (X-Forwarded-For).";
    IdentityHeader = 401, "unauthorized_client", 90014, "The X-IDENTITY-HEADER header is missing or wrong.";
    UnknownIdentity = 400, "invalid_request", 90014, "Identity not found: no enabled managed identity matches the request.";
}

impl Refusal {
    /// The answer, in the issuer's JSON.
    pub(super) fn answer(self, now: Timestamp, correlation_id: Uuid) -> IdentityAnswer {
        let row = self.row();
        let trace_id = Uuid::new_v4();
        let moment = jiff::Timestamp::from_second(now.0).unwrap_or_default();
        let timestamp = moment.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let code = format!("AADSTS{}", row.number);
        let body = Body {
            error: row.error,
            error_description: format!(
                "{code}: {} Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {timestamp}",
                row.text
            ),
            error_codes: [row.number],
            timestamp,
            trace_id,
            correlation_id,
        };
        let body = Zeroizing::new(serde_json::to_vec(&body).unwrap_or_default());
        IdentityAnswer {
            status: row.status,
            retry_after: (row.status == 429).then_some(RETRY_AFTER),
            error_code: code,
            ..IdentityAnswer::of(body, "no-store")
        }
    }
}

/// `Retry-After`, in seconds.
const RETRY_AFTER: u32 = WINDOW as u32;

#[derive(Serialize)]
struct Body {
    error: &'static str,
    error_description: String,
    error_codes: [u32; 1],
    timestamp: String,
    trace_id: Uuid,
    correlation_id: Uuid,
}
