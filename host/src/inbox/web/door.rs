//! Who is in: sessions, which begin with a link that works once.
//!
//! A session's secret is random and stored as a digest only. Digests have equal lengths, and all of them are
//! compared, so that the time says nothing.

use crate::error::Error;
use crate::system::random::random;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use std::sync::{Mutex, MutexGuard, PoisonError};
use subtle::ConstantTimeEq as _;

/// How long a session lasts, in milliseconds.
pub(super) const SESSION_MS: i64 = 12 * 60 * 60 * 1000;

/// How far a time may be in the future, in milliseconds: corrections of a running clock.
const AHEAD_MS: i64 = 2 * 60 * 1000;

/// The maximum number of sessions. One more ends the oldest.
const MAX_SESSIONS: usize = 32;

/// The sessions of one server.
#[derive(Default)]
pub(super) struct Door(Mutex<State>);

#[derive(Default)]
struct State {
    /// The oldest first.
    sessions: Vec<Timed>,
}

/// A digest, and when it was made, in milliseconds since 1970.
struct Timed {
    digest: [u8; 32],
    since: i64,
}

impl Timed {
    /// Whether it is younger than a limit. If the clock was set back, it is not.
    fn holds(&self, now: i64, limit: i64) -> bool {
        self.since <= now.saturating_add(AHEAD_MS) && now < self.since.saturating_add(limit)
    }
}

/// A session that a request belongs to.
#[derive(Clone)]
pub(super) struct Session {
    digest: [u8; 32],
    /// What every change on its pages must contain.
    pub(super) csrf: String,
}

impl Door {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves the lists consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session. Returns its secret.
    pub(super) fn begin(&self, now: i64) -> Result<String, Error> {
        let session = secret()?;
        let mut state = self.state();
        state.expire(now);
        if state.sessions.len() >= MAX_SESSIONS {
            state.sessions.remove(0);
        }
        state.sessions.push(Timed { digest: digest(&session), since: now });
        Ok(session)
    }

    /// Returns the session with a secret.
    pub(super) fn session(&self, secret: &str, now: i64) -> Option<Session> {
        let given = digest(secret);
        let mut state = self.state();
        state.expire(now);
        position(state.sessions.iter().map(|session| &session.digest), &given)?;
        Some(Session { digest: given, csrf: csrf(secret) })
    }

    /// Ends a session.
    pub(super) fn leave(&self, session: &Session) {
        self.state().sessions.retain(|known| known.digest != session.digest);
    }
}

impl State {
    fn expire(&mut self, now: i64) {
        self.sessions.retain(|session| session.holds(now, SESSION_MS));
    }
}

impl Session {
    /// Whether a form came from a page of this session.
    pub(super) fn made(&self, csrf: &str) -> bool {
        digest(csrf).ct_eq(&digest(&self.csrf)).into()
    }
}

/// Returns 256 random bits as text.
pub(super) fn secret() -> Result<String, Error> {
    Ok(URL_SAFE_NO_PAD.encode(random::<32>()?))
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Returns where a digest is. Compares with all of them.
fn position<'a>(known: impl Iterator<Item = &'a [u8; 32]>, given: &[u8; 32]) -> Option<usize> {
    known.enumerate().fold(
        None,
        |found, (index, known)| {
            if bool::from(known.ct_eq(given)) { Some(index) } else { found }
        },
    )
}

/// Returns the token of a session's forms. It follows from the session's secret and does not tell it.
fn csrf(secret: &str) -> String {
    let mut mac = <Hmac<Sha256> as hmac::Mac>::new_from_slice(secret.as_bytes())
        .unwrap_or_else(|_| unreachable!("HMAC takes keys of every length"));
    mac.update(b"forms");
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_after_twelve_hours_or_when_its_person_leaves() {
        let door = Door::default();
        let open = |now| door.begin(now).expect("random numbers");
        let (one, other) = (open(0), open(0));
        assert_ne!(one, other);
        let session = door.session(&one, SESSION_MS - 1).expect("a session");
        assert!(session.made(&session.csrf) && !session.made("") && !session.made(&other));
        let of_other = door.session(&other, 1).expect("a session");
        assert!(!of_other.made(&session.csrf));
        door.leave(&session);
        assert!(door.session(&one, 1).is_none() && door.session(&other, 1).is_some());
        assert!(door.session(&other, SESSION_MS).is_none() && door.session("", 1).is_none());
    }

    #[test]
    fn the_newest_session_takes_the_place_of_the_oldest() {
        let door = Door::default();
        let sessions: Vec<String> =
            (0..33).map(|_| door.begin(0).expect("random numbers")).collect();
        assert!(
            door.session(&sessions[0], 0).is_none() && door.session(&sessions[32], 0).is_some()
        );
    }
}
