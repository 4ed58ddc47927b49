//! The identity service: what it is made of, and how it follows the directory file.

use super::attempts::Attempts;
use super::directory::{Directory, parse_sha256};
use super::endpoints::{Endpoints, Resource, without_slash};
use super::file::FileStamp;
use super::issuers::{External, Followed, IssuerKey, KeysError};
use super::jwt::{LEEWAY, VerifyingKey, rsa_thumbprint};
use super::problem::IdentityError;
use super::settings::{IdentitySettings, IssuerSettings};
use super::sign_in::SignIn;
use super::signer::SystemSigner;
use super::validate::{Principals, State, TokenCache, TrustedIssuer, issuer_of_unknown_key};
use arc_swap::ArcSwap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use strongroom_hsm::PublicKey;
use strongroom_model::error::Unauthenticated;
use strongroom_model::{Algorithm, Clock, Principal, Timestamp};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// How often the directory file is looked at.
const WATCH_PERIOD: Duration = Duration::from_secs(1);
/// Passwords hashed at the same time: each keeps a processor busy for a good part of a second.
const HASHING_MAX: usize = 2;

/// What [`Identity`] is made of.
pub struct IdentityParts {
    /// `[identity]`
    pub settings: IdentitySettings,
    /// The installation's host names.
    pub endpoints: Endpoints,
    /// The machine's clock, never moved: clients compare what tokens and assertions say with theirs.
    pub clock: Arc<dyn Clock>,
    /// The issuer's key: RSA, RS256; `SystemSigner::of_engine(&engine, "issuer", KeySpec::Rsa2048, Algorithm::Rs256)`.
    pub signer: SystemSigner,
}

/// The embedded issuer and the validation of every token; shared by all listeners.
pub struct Identity {
    settings: IdentitySettings,
    clock: Arc<dyn Clock>,
    signer: SystemSigner,
    key: VerifyingKey,
    kid: String,
    issuer: Arc<str>,
    login_url: String,
    authorization_url: String,
    audiences: Vec<String>,
    identity_header: Option<[u8; 32]>,
    followed: Vec<Followed>,
    state: ArcSwap<State>,
    reloading: Mutex<()>,
    cache: TokenCache,
    client_attempts: Attempts<(Uuid, IpAddr)>,
    user_attempts: Attempts<([u8; 32], Option<IpAddr>)>,
    hashing: Arc<Semaphore>,
    sign_in: SignIn,
}

impl Identity {
    /// Reads and checks the directory.
    pub fn start(parts: IdentityParts) -> Result<Arc<Self>, IdentityError> {
        let IdentityParts { settings, endpoints, clock, signer } = parts;
        let PublicKey::Rsa { n, e } = signer.public() else { return Err(IdentityError::IssuerKey) };
        let key = VerifyingKey::rsa(n, e).ok_or(IdentityError::IssuerKey)?;
        let kid = rsa_thumbprint(n, e);
        let login_url = endpoints.login();
        let authorization_url = format!("{login_url}/{}", settings.tenant_id);
        let issuer: Arc<str> = format!("{authorization_url}/v2.0").into();
        let header = settings.identity_header_sha256.as_deref();
        let identity_header = header.map(|h| parse_sha256(h).ok_or(IdentityError::IdentityHeader)).transpose()?;
        let audiences = audiences(&settings, &endpoints)?;
        if let Some((setting, expected)) = super::settings::issuers_problem(&settings.issuers) {
            return Err(IdentityError::Issuers { setting, expected });
        }
        let mut trusted = vec![embedded(&issuer, &kid, &key, settings.tenant_id, &audiences)];
        trusted.extend(settings.issuers.iter().map(|i| external(i, &endpoints)));
        if settings.issuers.iter().any(|i| i.issuer == *issuer) {
            let problem = "is this installation's own issuer".to_owned();
            return Err(IdentityError::Issuer { issuer: issuer.to_string(), problem });
        }
        let followed = settings.issuers.iter().cloned().map(Followed::new).collect::<Result<_, _>>()?;
        let directory = Directory::load(&settings.directory)?;
        Ok(Arc::new(Self {
            state: ArcSwap::from_pointee(State {
                epoch: 0,
                directory: Arc::new(directory),
                issuers: Arc::new(trusted),
            }),
            followed,
            reloading: Mutex::new(()),
            cache: TokenCache::new(),
            client_attempts: Attempts::new(),
            user_attempts: Attempts::new(),
            hashing: Arc::new(Semaphore::new(HASHING_MAX)),
            sign_in: SignIn::new()?,
            settings,
            clock,
            signer,
            key,
            kid,
            issuer,
            login_url,
            authorization_url,
            audiences,
            identity_header,
        }))
    }

    /// Validates a bearer token for one audience (`endpoints.audience(Resource::ManagedHsm)` …). No I/O.
    pub fn validate(&self, token: &str, audience: &str) -> Result<Arc<Principal>, Unauthenticated> {
        self.cache.validate(&self.state.load(), self.now(), token, audience)
    }

    /// The same; a token with a key that its issuer is not known to have makes us ask the issuer first.
    pub async fn authenticate(&self, token: &str, audience: &str) -> Result<Arc<Principal>, Unauthenticated> {
        let refused = match self.validate(token, audience) {
            Err(Unauthenticated::Signature) if !self.followed.is_empty() => Unauthenticated::Signature,
            known => return known,
        };
        let issuer = issuer_of_unknown_key(&self.state.load(), token);
        let followed = issuer.and_then(|issuer| self.followed.iter().find(|f| f.settings.issuer == *issuer));
        let Some(followed) = followed else { return Err(refused) };
        if followed.ask().await { self.validate(token, audience) } else { Err(refused) }
    }

    /// Reads the directory again now. Tokens of principals that are gone or disabled are refused when this returns; a bad file
    /// changes nothing.
    pub fn reload(&self) -> Result<(), IdentityError> {
        let directory = Arc::new(Directory::load(&self.settings.directory)?);
        self.change_state(|old| State {
            epoch: old.epoch + 1,
            directory: Arc::clone(&directory),
            issuers: Arc::clone(&old.issuers),
        });
        Ok(())
    }

    /// Each change builds on the one before it.
    fn change_state(&self, change: impl Fn(&State) -> State) {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        self.state.store(Arc::new(change(&self.state.load_full())));
    }

    /// Fetches an issuer's keys once and takes them over; cached tokens are dropped when the set is another one.
    pub(super) async fn refresh_issuer(&self, followed: &Followed) {
        let fetched = followed.fetch_keys().await;
        let now = self.now();
        match fetched {
            Ok(keys) => {
                let changed = followed.note(Some(now));
                if self.take_keys(&followed.settings, keys, now) || changed {
                    tracing::info!(issuer = followed.settings.issuer, "the issuer's keys were taken over");
                }
            }
            Err(error) => self.keys_failed(followed, &error, now),
        }
        followed.end_round();
    }

    fn keys_failed(&self, followed: &Followed, error: &KeysError, now: Timestamp) {
        let issuer = &followed.settings.issuer;
        if followed.note(None) {
            tracing::error!(%error, issuer, "the issuer's keys cannot be fetched: the last ones stay in force for a time");
        } else {
            tracing::debug!(%error, issuer, "the issuer's keys still cannot be fetched");
        }
        let current = self.state.load().issuers.iter().any(|i| *i.issuer == *issuer && i.keys_are_current(now));
        if !current {
            tracing::warn!(%error, issuer, "the issuer's tokens are refused until its keys can be fetched");
        }
    }

    /// Whether the set is another one.
    fn take_keys(&self, settings: &IssuerSettings, keys: Vec<IssuerKey>, now: Timestamp) -> bool {
        let until = now.plus(settings.keys_max_age_seconds.into());
        let changed = std::cell::Cell::new(false);
        self.change_state(|old| {
            let mut issuers = old.issuers.to_vec();
            for issuer in issuers.iter_mut().filter(|i| *i.issuer == *settings.issuer) {
                changed.set(issuer.keys != keys);
                issuer.keys.clone_from(&keys);
                issuer.keys_until = Some(until);
            }
            let epoch = if changed.get() { old.epoch + 1 } else { old.epoch };
            State { epoch, directory: Arc::clone(&old.directory), issuers: Arc::new(issuers) }
        });
        changed.get()
    }

    async fn follow_issuer(&self, followed: &Followed) {
        loop {
            self.refresh_issuer(followed).await;
            followed.pause().await;
        }
    }

    /// What is wrong with the keys of other issuers; names nobody.
    pub fn troubles(&self) -> Vec<String> {
        self.followed.iter().filter_map(|f| f.trouble(self.now())).collect()
    }

    /// The issuers that are followed.
    #[cfg(test)]
    pub(super) fn followed(&self) -> &[Followed] {
        &self.followed
    }

    /// Follows the directory and the keys of other issuers, until the future is dropped.
    pub async fn watch(self: Arc<Self>) {
        let issuers = futures_util::future::join_all(self.followed.iter().map(|f| self.follow_issuer(f)));
        tokio::join!(self.watch_directory(), issuers);
    }

    /// Looks each second whether the directory (or a JWKS file) changed and reloads it.
    async fn watch_directory(&self) {
        let mut ticks = tokio::time::interval(WATCH_PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failed = None;
        loop {
            ticks.tick().await;
            self.follow(&mut failed);
        }
    }

    /// Reloads when a file changed; one that failed is not tried again until it changes once more.
    pub(super) fn follow(&self, failed: &mut Option<Vec<Option<FileStamp>>>) {
        let Some(seen) = self.state.load().directory.stale_files() else { return };
        if failed.as_ref() == Some(&seen) {
            return;
        }
        match self.reload() {
            Ok(()) => {
                *failed = None;
                tracing::info!(directory = %self.settings.directory.display(), "the directory was read again");
            }
            Err(error) => {
                *failed = Some(seen);
                tracing::error!(%error, "the changed directory is not taken over: the old one stays in force");
            }
        }
    }

    /// `https://login.…/{tenant GUID}`, for `authorization=` of the challenge.
    pub fn authorization_url(&self) -> &str {
        &self.authorization_url
    }

    /// The same for the challenge of a 401, which may send clients to another authority.
    pub fn challenge_authority(&self) -> &str {
        self.settings.challenge_authority.as_deref().unwrap_or(&self.authorization_url)
    }

    /// `iss` of every token.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `tid` of every token.
    pub fn tenant(&self) -> Uuid {
        self.settings.tenant_id
    }

    #[cfg(test)]
    pub(super) fn cached_tokens(&self) -> usize {
        self.cache.len()
    }

    #[cfg(test)]
    pub(super) fn epoch(&self) -> u64 {
        self.state.load().epoch
    }

    pub(super) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn signer(&self) -> &SystemSigner {
        &self.signer
    }

    pub(super) fn verifying_key(&self) -> &VerifyingKey {
        &self.key
    }

    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    pub(super) fn login_url(&self) -> &str {
        &self.login_url
    }

    pub(super) fn login_host(&self) -> &str {
        self.login_url.trim_start_matches("https://")
    }

    pub(super) fn audiences(&self) -> &[String] {
        &self.audiences
    }

    pub(super) fn identity_header(&self) -> Option<&[u8; 32]> {
        self.identity_header.as_ref()
    }

    pub(super) fn is_public_client(&self, client_id: Uuid) -> bool {
        self.settings.public_clients.contains(&client_id)
    }

    pub(super) fn client_attempts(&self) -> &Attempts<(Uuid, IpAddr)> {
        &self.client_attempts
    }

    pub(super) fn user_attempts(&self) -> &Attempts<([u8; 32], Option<IpAddr>)> {
        &self.user_attempts
    }

    pub(super) fn sign_ins(&self) -> &SignIn {
        &self.sign_in
    }

    pub(super) fn hashing(&self) -> Arc<Semaphore> {
        Arc::clone(&self.hashing)
    }
}

/// Our own issuer.
fn embedded(issuer: &Arc<str>, kid: &str, key: &VerifyingKey, tenant: Uuid, audiences: &[String]) -> TrustedIssuer {
    TrustedIssuer {
        issuer: Arc::clone(issuer),
        keys: vec![IssuerKey { kid: kid.to_owned(), key: key.clone(), algorithm: None }],
        keys_until: None,
        tenants: vec![tenant],
        audiences: audiences.iter().map(|a| (a.clone(), a.clone())).collect(),
        algorithms: vec![Algorithm::Rs256],
        leeway: LEEWAY,
        principals: Principals::Directory,
    }
}

/// A configured issuer, without keys as yet.
fn external(settings: &IssuerSettings, endpoints: &Endpoints) -> TrustedIssuer {
    TrustedIssuer {
        issuer: settings.issuer.as_str().into(),
        keys: Vec::new(),
        keys_until: Some(Timestamp(0)),
        tenants: settings.tenants.clone(),
        audiences: settings.audiences.resolve(endpoints),
        algorithms: settings.algorithms.iter().map(|a| (*a).into()).collect(),
        leeway: settings.clock_skew_seconds.into(),
        principals: Principals::External(External { claims: settings.claims.clone(), object_ids: settings.object_ids }),
    }
}

/// What tokens may be asked for: our own services, and those of the settings.
fn audiences(settings: &IdentitySettings, endpoints: &Endpoints) -> Result<Vec<String>, IdentityError> {
    let mut audiences: Vec<String> = Resource::ALL.iter().map(|r| endpoints.audience(*r)).collect();
    for audience in &settings.additional_audiences {
        let absolute = audience.split_once("://").is_some_and(|(scheme, rest)| {
            !scheme.is_empty() && !without_slash(rest).is_empty() && !rest.contains(|c: char| c.is_whitespace())
        });
        if !absolute {
            return Err(IdentityError::Audience(audience.clone()));
        }
        audiences.push(without_slash(audience).to_owned());
    }
    Ok(audiences)
}
