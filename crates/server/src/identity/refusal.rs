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
    pub(super) text: &'static str,
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
        "The grant_type must be 'client_credentials', 'authorization_code', 'password', 'refresh_token' or \
         'urn:ietf:params:oauth:grant-type:device_code'.";
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
    MissingCode = 400, "invalid_request", 900144,
        "The request body must contain 'code', 'redirect_uri' and 'code_verifier'.";
    MissingDeviceCode = 400, "invalid_request", 900144, "The request body must contain the parameter 'device_code'.";
    BadCode = 400, "invalid_grant", 70000,
        "The authorization code is not valid, has expired, was used before, or was issued to another client, redirect_uri or scope.";
    WrongVerifier = 400, "invalid_grant", 50148, "The code_verifier does not match the code_challenge of the authorization request.";
    AccountChanged = 400, "invalid_grant", 50173, "The user's account or password was changed since the sign-in: sign in again.";
    AuthorizationPending = 400, "authorization_pending", 70016, "The person has not finished signing in yet: ask again.";
    SlowDown = 400, "slow_down", 70016, "The device asks too often: wait five seconds longer between two requests.";
    AuthorizationDeclined = 400, "authorization_declined", 70017, "The person declined to sign in.";
    BadDeviceCode = 400, "bad_verification_code", 70018,
        "The device_code is not known, was used before, or was issued to another client.";
    ExpiredDeviceCode = 400, "expired_token", 70020, "The device_code has expired: ask for a new one.";
    WrongUserCode = 400, "bad_verification_code", 70018, "There is no such code, or it has expired. Check what the device shows.";
    RedirectUri = 400, "invalid_request", 50011,
        "The redirect_uri must be http://localhost, http://127.0.0.1 or http://[::1], with any port and path and nothing else.";
    ResponseType = 400, "unsupported_response_type", 700054, "The response_type must be 'code'.";
    ResponseMode = 400, "invalid_request", 90023, "The response_mode must be 'query', 'fragment' or 'form_post'.";
    RequestObject = 400, "request_not_supported", 90023, "Request objects ('request', 'request_uri') are not supported.";
    MissingChallenge = 400, "invalid_request", 9002325,
        "Proof Key for Code Exchange is required: send a code_challenge with code_challenge_method=S256.";
    LoginRequired = 400, "login_required", 50058, "Nobody is signed in here: the sign-in needs a page (prompt=none was asked for).";
    SignInCancelled = 400, "access_denied", 65004, "The person cancelled the sign-in.";
    StalePage = 400, "invalid_request", 165000,
        "The page is too old, comes from another browser or site, or was used before: start the sign-in again in the program.";
    TooLong = 400, "invalid_request", 90015, "A parameter is too long: scope, state and nonce may have 2048 bytes.";
    TooManyAttempts = 429, "temporarily_unavailable", 90055, "Too many failing attempts: wait a minute.";
    Busy = 429, "temporarily_unavailable", 90055, "Too many logins at the same time: try again.";
    Unavailable = 503, "temporarily_unavailable", 90033, "The issuer's key cannot be used now: try again.";
    NoMetadataHeader = 400, "invalid_request", 90014, "Required metadata header not specified.";
    Forwarded = 400, "invalid_request", 90014, "The request came through a proxy (X-Forwarded-For).";
    IdentityHeader = 401, "unauthorized_client", 90014, "The X-IDENTITY-HEADER header is missing or wrong.";
    UnknownIdentity = 400, "invalid_request", 90014, "Identity not found: no enabled managed identity matches the request.";
}

impl Refusal {
    /// `AADSTS…`
    pub(super) fn code(self) -> String {
        format!("AADSTS{}", self.row().number)
    }

    /// Code and text, where there is no JSON to put the rest into.
    pub(super) fn description(self) -> String {
        format!("{}: {}", self.code(), self.row().text)
    }

    /// Seconds to wait.
    pub(super) fn retry_after(self) -> Option<u32> {
        (self.row().status == 429).then_some(RETRY_AFTER)
    }

    /// The answer, in the issuer's JSON.
    pub(super) fn answer(self, now: Timestamp, correlation_id: Uuid) -> IdentityAnswer {
        let row = self.row();
        let trace_id = Uuid::new_v4();
        let moment = jiff::Timestamp::from_second(now.0).unwrap_or_default();
        let timestamp = moment.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let code = self.code();
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
            retry_after: self.retry_after(),
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
