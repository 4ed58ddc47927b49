//! Device codes (RFC 8628): the device keeps a long code, the person types a short one.

use super::SignedIn;
use crate::identity::directory::sha256_of;
use crate::identity::refusal::Refusal;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use strongroom_model::Timestamp;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Seconds a code is good for.
pub(super) const LIFETIME: i64 = 900;
/// Seconds between two polls.
pub(super) const INTERVAL: i64 = 5;
/// Seconds that a device which polls too fast waits longer (RFC 8628 3.5).
const SLOWER: i64 = 5;
/// Seconds for which an expired code is remembered as such.
const REMEMBERED: i64 = 300;
/// Codes at a time, and of one peer: anybody can ask for one.
const DEVICES_MAX: usize = 4096;
const DEVICES_OF_PEER_MAX: usize = 64;
/// Letters of user codes: none that makes a word, or looks like another (RFC 8628 6.1).
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Letters of a user code: 38 bits.
const USER_CODE_LENGTH: usize = 9;
/// Bytes from here on would favour the first letters.
const FAIR_BYTES: u8 = 240;

/// A device that waits.
#[derive(Clone)]
pub(in crate::identity) struct Device {
    pub(in crate::identity) client_id: Uuid,
    pub(in crate::identity) scope: String,
    /// Where the request came from, for the person to compare.
    pub(in crate::identity) peer: IpAddr,
}

/// What a person said.
pub(in crate::identity) enum Verdict {
    Approved(SignedIn),
    Declined,
}

struct Waiting {
    device: Device,
    user_code: String,
    expires: Timestamp,
    interval: i64,
    polled: Option<Timestamp>,
    verdict: Option<Verdict>,
}

impl Waiting {
    fn is_open(&self, now: Timestamp) -> bool {
        self.verdict.is_none() && now < self.expires
    }
}

/// The two codes of a device.
pub(super) struct DeviceCodes {
    pub(super) device_code: Zeroizing<String>,
    pub(super) user_code: String,
}

/// The devices that wait, by SHA-256 of their device code.
#[derive(Default)]
pub(in crate::identity) struct Devices(Mutex<HashMap<[u8; 32], Waiting>>);

impl Devices {
    /// New codes for a device.
    pub(super) fn issue(&self, device: Device, now: Timestamp) -> Result<DeviceCodes, Refusal> {
        let device_code = super::random_text()?;
        let mut table = self.table();
        table.retain(|_, waiting| now < waiting.expires.plus(REMEMBERED));
        let of_peer = table.values().filter(|w| w.device.peer == device.peer).count();
        if table.len() >= DEVICES_MAX || of_peer >= DEVICES_OF_PEER_MAX {
            return Err(Refusal::Busy);
        }
        let user_code = loop {
            let code = user_code()?;
            if !table.values().any(|w| w.user_code == code) {
                break code;
            }
        };
        let waiting = Waiting {
            device,
            user_code: user_code.clone(),
            expires: now.plus(LIFETIME),
            interval: INTERVAL,
            polled: None,
            verdict: None,
        };
        table.insert(sha256_of(device_code.as_bytes()), waiting);
        Ok(DeviceCodes { device_code, user_code })
    }

    /// The waiting device of a user code, however it is typed.
    pub(super) fn find(&self, typed: &str, now: Timestamp) -> Option<([u8; 32], Device)> {
        let code: String = typed.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
        let table = self.table();
        let found = table.iter().find(|(_, w)| w.user_code == code && w.is_open(now));
        found.map(|(id, waiting)| (*id, waiting.device.clone()))
    }

    /// A waiting device.
    pub(super) fn get(&self, id: &[u8; 32], now: Timestamp) -> Option<Device> {
        self.table().get(id).filter(|w| w.is_open(now)).map(|w| w.device.clone())
    }

    /// Notes what a person said; the first word counts.
    pub(super) fn decide(&self, id: &[u8; 32], verdict: Verdict, now: Timestamp) -> Result<(), Refusal> {
        let mut table = self.table();
        let waiting = table.get_mut(id).filter(|w| w.is_open(now)).ok_or(Refusal::StalePage)?;
        waiting.verdict = Some(verdict);
        Ok(())
    }

    /// What became of a device's request; an approval is handed out once.
    pub(in crate::identity) fn poll(
        &self,
        device_code: &str,
        client_id: Uuid,
        now: Timestamp,
    ) -> Result<(Device, SignedIn), Refusal> {
        let id = sha256_of(device_code.as_bytes());
        let mut table = self.table();
        let known = table.get_mut(&id).filter(|w| w.device.client_id == client_id);
        let waiting = known.ok_or(Refusal::BadDeviceCode)?;
        if now >= waiting.expires {
            return Err(Refusal::ExpiredDeviceCode);
        }
        // Clocks of whole seconds: two polls just far enough apart can look a second closer.
        let too_fast = waiting.polled.is_some_and(|at| now.0 < at.0.saturating_add(waiting.interval - 1));
        waiting.polled = Some(now);
        if waiting.verdict.is_none() {
            if too_fast {
                waiting.interval = waiting.interval.saturating_add(SLOWER);
                return Err(Refusal::SlowDown);
            }
            return Err(Refusal::AuthorizationPending);
        }
        let taken = table.remove(&id).ok_or(Refusal::BadDeviceCode)?;
        match taken.verdict {
            Some(Verdict::Approved(who)) => Ok((taken.device, who)),
            Some(Verdict::Declined) | None => Err(Refusal::AuthorizationDeclined),
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<[u8; 32], Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn user_code() -> Result<String, Refusal> {
    let mut code = String::with_capacity(USER_CODE_LENGTH);
    while code.len() < USER_CODE_LENGTH {
        let mut random = [0; 1];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| Refusal::Unavailable)?;
        if random[0] < FAIR_BYTES {
            code.push(char::from(ALPHABET[usize::from(random[0]) % ALPHABET.len()]));
        }
    }
    Ok(code)
}
