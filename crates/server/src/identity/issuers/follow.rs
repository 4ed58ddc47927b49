//! Follows the keys of the configured issuers: by schedule, and sooner when a token names a key that is not known.

use super::fetch::{FetchError, fetch};
use super::keys::{DocumentProblem, IssuerKey, keys_url, parse_keys};
use super::settings::{IssuerSettings, KeySource};
use crate::identity::file::read_public;
use crate::identity::problem::IdentityError;
use futures_util::FutureExt;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use strongroom_model::Timestamp;
use tokio::sync::{Notify, Semaphore, watch};

/// Least time between two fetches that unknown keys ask for: strangers can make up as many as they like.
const ASKED_GAP: Duration = Duration::from_secs(10);
/// Longest time that a request with an unknown key waits for the fetch it asked for.
const ASKED_WAIT: Duration = Duration::from_secs(3);
/// Requests that wait for one issuer at a time: strangers can send as many as they like, and each takes a place.
const WAITING_MAX: usize = 32;
/// Longest time to the next try after a failure.
const RETRY: Duration = Duration::from_secs(30);

/// An issuer and how its keys fare.
pub(in crate::identity) struct Followed {
    pub(in crate::identity) settings: IssuerSettings,
    source: KeySource,
    tls: Arc<ClientConfig>,
    health: Mutex<Health>,
    asked: Notify,
    rounds: watch::Sender<u64>,
    waiting: Semaphore,
}

struct Health {
    /// See [`ASKED_GAP`].
    gap: Duration,
    tried: Option<Instant>,
    /// Whether a fetch is under way.
    running: bool,
    /// When keys were fetched last, on the clock that tokens are compared with.
    good: Option<Timestamp>,
    failing: bool,
}

/// Why keys were not fetched.
#[derive(Debug, thiserror::Error)]
pub(in crate::identity) enum KeysError {
    #[error("{url}: {error}")]
    Fetch { url: String, error: FetchError },
    #[error("{url}: {problem}")]
    Document { url: String, problem: DocumentProblem },
}

impl Followed {
    /// Prepares the connection; nothing is fetched yet.
    pub(in crate::identity) fn new(settings: IssuerSettings) -> Result<Self, IdentityError> {
        let refused =
            |problem: &str| IdentityError::Issuer { issuer: settings.issuer.clone(), problem: problem.to_owned() };
        let source = settings.key_source().ok_or_else(|| refused("its address is not an https URL"))?;
        let roots = match &settings.ca_file {
            Some(path) => {
                let (text, _) = read_public(path)?;
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
                    let added = certificate.ok().and_then(|c| roots.add(c).ok());
                    added.ok_or_else(|| refused("its ca_file holds something else than certificates (PEM)"))?;
                }
                roots
            }
            None => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots
            }
        };
        if roots.is_empty() {
            return Err(refused(
                "no authority for its TLS certificate: set ca_file, or install the system's (ca-certificates)",
            ));
        }
        let tls = crate::tls::client_config(roots).map_err(|error| refused(&error.to_string()))?;
        let (rounds, _) = watch::channel(0);
        let waiting = Semaphore::new(WAITING_MAX);
        let health = Health { gap: ASKED_GAP, tried: None, running: false, good: None, failing: false };
        Ok(Self { settings, source, tls, health: Mutex::new(health), asked: Notify::new(), rounds, waiting })
    }

    /// Fetches the keys once.
    pub(in crate::identity) async fn fetch_keys(&self) -> Result<Vec<IssuerKey>, KeysError> {
        {
            let mut health = self.health();
            (health.tried, health.running) = (Some(Instant::now()), true);
        }
        // Whoever asked before gets this round: without this, one more would follow at once.
        let _asked = self.asked.notified().now_or_never();
        let at = |url: &super::url::SecureUrl| [&*url.origin(), url.path_and_query()].concat();
        let found = match &self.source {
            KeySource::Keys(url) => url.clone(),
            KeySource::Discovery(url) => {
                let document = fetch(url, &self.tls).await;
                let document = document.map_err(|error| KeysError::Fetch { url: at(url), error })?;
                keys_url(&document, &self.settings.issuer, url)
                    .map_err(|problem| KeysError::Document { url: at(url), problem })?
            }
        };
        let document = fetch(&found, &self.tls).await;
        let document = document.map_err(|error| KeysError::Fetch { url: at(&found), error })?;
        parse_keys(&document, &self.settings.issuer, &self.settings.tenants)
            .map_err(|problem| KeysError::Document { url: at(&found), problem })
    }

    /// Notes how a fetch ended; whether that is something new.
    pub(in crate::identity) fn note(&self, good: Option<Timestamp>) -> bool {
        let mut health = self.health();
        let changed = health.failing == good.is_some();
        health.failing = good.is_none();
        health.good = good.or(health.good);
        changed
    }

    /// Lets those who wait look again.
    pub(in crate::identity) fn end_round(&self) {
        self.health().running = false;
        self.rounds.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Waits until the keys should be fetched again.
    pub(in crate::identity) async fn pause(&self) {
        let regular = Duration::from_secs(self.settings.refresh_seconds.into());
        let pause = if self.health().failing { regular.min(RETRY) } else { regular };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.asked.notified() => {}
        }
    }

    /// Has the keys fetched for a token with an unknown one, unless they just were or many wait already; returns when it is
    /// done, or takes too long.
    pub(in crate::identity) async fn ask(&self) -> bool {
        let Ok(_place) = self.waiting.try_acquire() else { return false };
        let mut rounds = self.rounds.subscribe();
        let (running, just_tried) = {
            let health = self.health();
            (health.running, health.tried.is_some_and(|at| at.elapsed() < health.gap))
        };
        match (running, just_tried) {
            (true, _) => {}
            (false, true) => return false,
            (false, false) => self.asked.notify_one(),
        }
        tokio::time::timeout(ASKED_WAIT, rounds.changed()).await.is_ok_and(|round| round.is_ok())
    }

    /// Lets unknown keys ask again at once.
    #[cfg(test)]
    pub(in crate::identity) fn close_gap(&self) {
        self.health().gap = Duration::ZERO;
    }

    /// What is wrong, for the health report; names nobody.
    pub(in crate::identity) fn trouble(&self, now: Timestamp) -> Option<String> {
        let health = self.health();
        let age = |good: Timestamp| now.0.saturating_sub(good.0);
        match health.good {
            None => Some("identity: the keys of an issuer were never fetched; its tokens are refused".to_owned()),
            Some(good) if age(good) >= self.settings.keys_max_age_seconds.into() => {
                Some(format!("identity: the keys of an issuer are {} seconds old; its tokens are refused", age(good)))
            }
            Some(good) if health.failing => {
                Some(format!("identity: the keys of an issuer were last fetched {} seconds ago", age(good)))
            }
            Some(_) => None,
        }
    }

    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
