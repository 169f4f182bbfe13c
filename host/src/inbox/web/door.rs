//! Who gets in: links that work once, and sessions.
//!
//! A link's code and a session's secret are random and stored as digests only. Digests have equal lengths,
//! and all of them are compared, so that the time says nothing.

use crate::error::Error;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use std::sync::{Mutex, MutexGuard, PoisonError};
use subtle::ConstantTimeEq as _;

/// How long a link works, in milliseconds.
pub(super) const LINK_MS: i64 = 10 * 60 * 1000;

/// How long a session lasts, in milliseconds.
pub(super) const SESSION_MS: i64 = 12 * 60 * 60 * 1000;

/// How far a time may be in the future, in milliseconds: corrections of a running clock.
const AHEAD_MS: i64 = 2 * 60 * 1000;

/// The maximum number of links that can still be used. One more ends the oldest.
const MAX_LINKS: usize = 8;

/// The maximum number of links that are remembered as used or expired, to say so.
const MAX_SPENT: usize = 64;

/// The maximum number of sessions. One more ends the oldest.
const MAX_SESSIONS: usize = 32;

/// The links and the sessions of one server.
#[derive(Default)]
pub(super) struct Door(Mutex<State>);

#[derive(Default)]
struct State {
    /// The oldest first.
    links: Vec<Timed>,
    /// The digests of links that cannot be used any more.
    spent: Vec<[u8; 32]>,
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

/// Why a link lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It was used, or it expired.
    Spent,
    /// It was never made here.
    Wrong,
}

impl Door {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves the lists consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the code of a new link.
    pub(super) fn new_link(&self, now: i64) -> Result<String, Error> {
        let code = secret()?;
        let mut state = self.state();
        state.expire(now);
        if state.links.len() >= MAX_LINKS {
            let oldest = state.links.remove(0);
            state.spend(oldest.digest);
        }
        state.links.push(Timed { digest: digest(&code), since: now });
        Ok(code)
    }

    /// Uses up a link. Returns the secret of a new session.
    pub(super) fn enter(&self, code: &str, now: i64) -> Result<Result<String, Refused>, Error> {
        let given = digest(code);
        let session = secret()?;
        let mut state = self.state();
        state.expire(now);
        let Some(at) = position(state.links.iter().map(|link| &link.digest), &given) else {
            let is_spent = position(state.spent.iter(), &given).is_some();
            return Ok(Err(if is_spent { Refused::Spent } else { Refused::Wrong }));
        };
        let link = state.links.remove(at);
        state.spend(link.digest);
        if state.sessions.len() >= MAX_SESSIONS {
            state.sessions.remove(0);
        }
        state.sessions.push(Timed { digest: digest(&session), since: now });
        Ok(Ok(session))
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
        let expired: Vec<Timed> =
            self.links.extract_if(.., |link| !link.holds(now, LINK_MS)).collect();
        expired.into_iter().for_each(|link| self.spend(link.digest));
        self.sessions.retain(|session| session.holds(now, SESSION_MS));
    }

    fn spend(&mut self, digest: [u8; 32]) {
        if self.spent.len() >= MAX_SPENT {
            self.spent.remove(0);
        }
        self.spent.push(digest);
    }
}

impl Session {
    /// Whether a form came from a page of this session.
    pub(super) fn made(&self, csrf: &str) -> bool {
        digest(csrf).ct_eq(&digest(&self.csrf)).into()
    }
}

/// Returns 256 random bits as text.
fn secret() -> Result<String, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::internal(format!("the system has no random numbers: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
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
    fn a_link_works_once_and_for_ten_minutes() {
        let door = Door::default();
        let enter = |code: &str, now| door.enter(code, now).expect("random numbers");
        let link = door.new_link(0).expect("a link");
        assert!(enter(&link, LINK_MS - 1).is_ok());
        assert_eq!(enter(&link, LINK_MS - 1), Err(Refused::Spent));
        let late = door.new_link(0).expect("a link");
        assert_eq!(enter(&late, LINK_MS), Err(Refused::Spent));
        assert_eq!(enter("", 0), Err(Refused::Wrong));
        assert_eq!(enter(&format!("{late}="), 0), Err(Refused::Wrong));
        // Setting the clock back does not renew a link.
        let early = door.new_link(LINK_MS).expect("a link");
        assert_eq!(enter(&early, 0), Err(Refused::Spent));
    }

    #[test]
    fn a_session_ends_after_twelve_hours_or_when_its_person_leaves() {
        let door = Door::default();
        let open = |now| {
            let link = door.new_link(now).expect("a link");
            door.enter(&link, now).expect("random numbers").expect("a session")
        };
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
    fn the_newest_links_and_sessions_take_the_place_of_the_oldest() {
        let door = Door::default();
        let links: Vec<String> = (0..9).map(|_| door.new_link(0).expect("a link")).collect();
        assert_eq!(door.enter(&links[0], 0).expect("random numbers"), Err(Refused::Spent));
        let sessions: Vec<String> = (0..33)
            .map(|_| {
                let link = door.new_link(0).expect("a link");
                door.enter(&link, 0).expect("random numbers").expect("a session")
            })
            .collect();
        assert!(
            door.session(&sessions[0], 0).is_none() && door.session(&sessions[32], 0).is_some()
        );
    }
}
