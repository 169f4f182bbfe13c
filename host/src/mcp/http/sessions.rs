//! Limits the sessions, and ends idle ones.

use crate::mcp::budget::Budget;
use rmcp::transport::streamable_http_server::SessionManager as _;
use rmcp::transport::streamable_http_server::session::SessionId;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

/// The maximum number of sessions.
const MAX_SESSIONS: usize = 256;

/// How long a session may be idle before it ends. A person may be answering a question meanwhile.
const IDLE: Duration = Duration::from_secs(15 * 60);

/// The maximum number of requests of one client that wait for a permit. Further ones are refused.
const MAX_WAITING: usize = 32;

/// How often idle sessions are ended.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// The sessions of a server.
pub(super) struct Sessions {
    pub(super) manager: Arc<LocalSessionManager>,
    /// The use of each session.
    uses: Mutex<HashMap<SessionId, Arc<Mutex<Use>>>>,
    /// The shared use of all requests without a session.
    others: Arc<Mutex<Use>>,
    /// How many requests of one client are served at a time.
    max_served: usize,
    /// Held while a session begins, so that concurrent ones do not exceed the limit.
    beginning: AsyncMutex<()>,
}

struct Use {
    /// The digest of the token that the session was begun with.
    owner: [u8; 32],
    last: Instant,
    /// The IDs of the messages without a response; null for messages that are not requests.
    open: Vec<Value>,
    /// How many of them are requests.
    requests: usize,
    budget: Budget,
}

impl Use {
    fn new(owner: [u8; 32], max_served: usize) -> Arc<Mutex<Self>> {
        let budget = Budget::new(max_served);
        Arc::new(Mutex::new(Self {
            owner,
            last: Instant::now(),
            open: Vec::new(),
            requests: 0,
            budget,
        }))
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under the lock leaves the value consistent.
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a message is refused.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    /// A request with the same ID has no response yet.
    Duplicate,
    /// Too many requests of the client have no response yet.
    TooMany,
}

/// A message of a client. Dropping it means that its response has been sent.
pub(super) struct InUse {
    /// `None` if the session is unknown.
    used: Option<Arc<Mutex<Use>>>,
    id: Value,
    is_request: bool,
}

impl InUse {
    /// Returns the budget of the client.
    pub(super) fn budget(&self) -> Budget {
        match &self.used {
            Some(used) => locked(used).budget.clone(),
            // The SDK refuses requests of an unknown session.
            None => Budget::new(1),
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let Some(used) = &self.used else { return };
        let mut used = locked(used);
        // Without a session, several clients may use the same ID.
        if let Some(at) = used.open.iter().position(|id| *id == self.id) {
            used.open.swap_remove(at);
        }
        used.requests -= usize::from(self.is_request);
        used.last = Instant::now();
    }
}

impl Sessions {
    /// Creates an empty set of sessions. At most `max_served` requests of each are served at a time.
    pub(super) fn new(max_served: usize) -> Self {
        let mut manager = LocalSessionManager::default();
        // This type ends idle sessions; the manager does not know which are in use.
        manager.session_config.keep_alive = None;
        // Cached results of cancelled requests are of no use.
        manager.session_config.completed_cache_ttl = Duration::ZERO;
        Self {
            manager: Arc::new(manager),
            uses: Mutex::default(),
            others: Use::new([0; 32], max_served),
            max_served,
            beginning: AsyncMutex::default(),
        }
    }

    /// Records a message until the returned value is dropped.
    ///
    /// # Errors
    ///
    /// Refuses a message whose ID is in use, and a request of a client with too many open requests.
    pub(super) fn begin_use(
        &self,
        session: Option<&str>,
        id: &Value,
        is_request: bool,
    ) -> Result<InUse, Refused> {
        let used = match session {
            None => Some(Arc::clone(&self.others)),
            Some(session) => locked(&self.uses).get(&SessionId::from(session)).cloned(),
        };
        if let Some(used) = &used {
            let mut used = locked(used);
            if session.is_some() && !id.is_null() && used.open.contains(id) {
                return Err(Refused::Duplicate);
            }
            if is_request && used.requests >= self.max_served + MAX_WAITING {
                return Err(Refused::TooMany);
            }
            used.open.push(id.clone());
            used.requests += usize::from(is_request);
            used.last = Instant::now();
        }
        Ok(InUse { used, id: id.clone(), is_request })
    }

    /// Records a session that has begun, with a token of this digest.
    pub(super) fn has_begun(&self, id: &str, owner: [u8; 32]) {
        locked(&self.uses).insert(SessionId::from(id), Use::new(owner, self.max_served));
    }

    /// Whether a session was begun with a token of this digest, or is unknown.
    pub(super) fn is_of(&self, id: &str, owner: &[u8; 32]) -> bool {
        let used = locked(&self.uses).get(&SessionId::from(id)).cloned();
        used.is_none_or(|used| locked(&used).owner == *owner)
    }

    /// Returns whether a session exists.
    pub(super) async fn has(&self, id: &str) -> bool {
        self.manager.sessions.read().await.contains_key(&SessionId::from(id))
    }

    /// Ends idle sessions periodically.
    pub(super) async fn end_idle(&self) {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            self.end_idle_at(Instant::now()).await;
        }
    }

    async fn end_idle_at(&self, now: Instant) {
        let idle: Vec<SessionId> = {
            let uses = locked(&self.uses);
            let is_idle = |used: &Mutex<Use>| {
                let used = locked(used);
                used.open.is_empty() && now.saturating_duration_since(used.last) >= IDLE
            };
            uses.iter().filter(|(_, used)| is_idle(used)).map(|(id, _)| id.clone()).collect()
        };
        for id in idle {
            locked(&self.uses).remove(&id);
            // The session may already have ended.
            let _ = self.manager.close_session(&id).await;
        }
    }

    /// Makes room for one more session, which begins while the guard is held. If there are too many,
    /// ends the one that has been idle longest. Returns `None` if all wait for responses.
    pub(super) async fn make_room(&self) -> Option<AsyncMutexGuard<'_, ()>> {
        let guard = self.beginning.lock().await;
        let ids: Vec<SessionId> = self.manager.sessions.read().await.keys().cloned().collect();
        if ids.len() >= MAX_SESSIONS {
            let idle = {
                let mut uses = locked(&self.uses);
                uses.retain(|id, _| ids.contains(id));
                let used = |id: &&SessionId| uses.get(*id).map(|used| locked(used));
                ids.iter()
                    .filter(|id| used(id).is_none_or(|used| used.open.is_empty()))
                    .min_by_key(|id| used(id).map(|used| used.last))
            };
            // The session may already have ended.
            let _ = self.manager.close_session(idle?).await;
        }
        Some(guard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn a_session_ends_after_it_has_been_idle_for_too_long() {
        let sessions = Sessions::new(32);
        let (id, _transport) = sessions.manager.create_session().await.expect("a session");
        sessions.has_begun(&id, [0; 32]);
        // A session with an open stream is not idle.
        let stream = sessions.begin_use(Some(&id), &Value::Null, false).expect("recorded");
        sessions.end_idle_at(Instant::now() + 10 * IDLE).await;
        assert!(sessions.has(&id).await);
        drop(stream);
        sessions.end_idle_at(Instant::now() + IDLE / 2).await;
        assert!(sessions.has(&id).await);
        sessions.end_idle_at(Instant::now() + IDLE).await;
        assert!(!sessions.has(&id).await);
    }

    #[test]
    fn open_requests_of_a_client_are_limited_and_have_different_ids() {
        let sessions = Sessions::new(32);
        sessions.has_begun("a", [0; 32]);
        for session in [Some("a"), None] {
            let mut open: Vec<InUse> = (0..32 + MAX_WAITING)
                .map(|id| sessions.begin_use(session, &json!(id), true).expect("recorded"))
                .collect();
            let refused =
                |id: Value, is_request| sessions.begin_use(session, &id, is_request).err();
            assert_eq!(refused(json!("new"), true), Some(Refused::TooMany));
            // Other messages are still accepted.
            assert_eq!(refused(Value::Null, false), None);
            assert_eq!(refused(json!("ping"), false), None);
            open.pop();
            assert_eq!(refused(json!("new"), true), None);
            let again = refused(json!(0), true);
            assert_eq!(again, session.map(|_| Refused::Duplicate));
        }
    }
}
