//! How many clients of the protocols with sessions there may be, and which of them makes room.

use crate::mcp::budget::Budget;
use rmcp::transport::streamable_http_server::SessionManager as _;
use rmcp::transport::streamable_http_server::session::SessionId;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

/// How many sessions there may be at a time.
const MAX_SESSIONS: usize = 256;

/// After which silence a session ends. A person may be thinking about a question meanwhile.
const IDLE: Duration = Duration::from_secs(15 * 60);

/// How many requests of one client may wait for a place. More are answered that there are too many.
const MAX_WAITING: usize = 32;

/// How often it is looked which sessions are over.
const LOOK: Duration = Duration::from_secs(60);

/// The sessions of a server.
pub(super) struct Sessions {
    pub(super) manager: Arc<LocalSessionManager>,
    uses: Arc<Uses>,
    /// What requests without a session use together.
    others: Arc<Mutex<Use>>,
    /// How many requests of one client are served at a time.
    places: usize,
    /// Held while a session begins, so that no two take one place.
    beginning: AsyncMutex<()>,
}

/// When each session was used.
#[derive(Default)]
struct Uses(Mutex<HashMap<SessionId, Arc<Mutex<Use>>>>);

struct Use {
    last: Instant,
    /// The ids of the messages that have no answer yet; null of what wants none.
    open: Vec<Value>,
    /// How many of them are requests.
    requests: usize,
    budget: Budget,
}

impl Use {
    fn new(places: usize) -> Arc<Mutex<Self>> {
        let budget = Budget::new(places);
        Arc::new(Mutex::new(Self { last: Instant::now(), open: Vec::new(), requests: 0, budget }))
    }
}

fn locked(used: &Mutex<Use>) -> MutexGuard<'_, Use> {
    // A panic under the lock leaves a use that is whole.
    used.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a message is not taken.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    /// A request with its id has no answer yet.
    Duplicate,
    /// Too many requests of the client have no answer yet.
    TooMany,
}

impl Uses {
    fn all(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Mutex<Use>>>> {
        // A panic under the lock leaves a map that is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message of a client, until its answer has been sent.
pub(super) struct InUse {
    /// Absent of a session that is not known.
    used: Option<Arc<Mutex<Use>>>,
    id: Value,
    is_request: bool,
}

impl InUse {
    /// The places of the client.
    pub(super) fn budget(&self) -> Budget {
        match &self.used {
            Some(used) => locked(used).budget.clone(),
            // Nothing is served of a session that is not known.
            None => Budget::new(1),
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let Some(used) = &self.used else { return };
        let mut used = locked(used);
        // Without a session, ids are those of many clients.
        if let Some(at) = used.open.iter().position(|id| *id == self.id) {
            used.open.swap_remove(at);
        }
        used.requests -= usize::from(self.is_request);
        used.last = Instant::now();
    }
}

impl Sessions {
    /// No sessions yet. So many requests of each are served at a time.
    pub(super) fn new(places: usize) -> Self {
        let mut manager = LocalSessionManager::default();
        // Sessions end here, where it is known what they are used for.
        manager.session_config.keep_alive = None;
        // What is kept of requests that were taken back is of no use to anybody.
        manager.session_config.completed_cache_ttl = Duration::ZERO;
        Self {
            manager: Arc::new(manager),
            uses: Arc::default(),
            others: Use::new(places),
            places,
            beginning: AsyncMutex::default(),
        }
    }

    /// Notes a message until this is dropped. Whatever has the same id and no answer yet stands in the
    /// way of a request, and so do too many others of the same client.
    pub(super) fn begin_use(
        &self,
        session: Option<&str>,
        id: &Value,
        is_request: bool,
    ) -> Result<InUse, Refused> {
        let used = match session {
            None => Some(Arc::clone(&self.others)),
            Some(session) => self.uses.all().get(&SessionId::from(session)).cloned(),
        };
        if let Some(used) = &used {
            let mut used = locked(used);
            if session.is_some() && !id.is_null() && used.open.contains(id) {
                return Err(Refused::Duplicate);
            }
            if is_request && used.requests >= self.places + MAX_WAITING {
                return Err(Refused::TooMany);
            }
            used.open.push(id.clone());
            used.requests += usize::from(is_request);
            used.last = Instant::now();
        }
        Ok(InUse { used, id: id.clone(), is_request })
    }

    /// Notes a session that has begun.
    pub(super) fn has_begun(&self, id: &str) {
        self.uses.all().insert(SessionId::from(id), Use::new(self.places));
    }

    /// Whether there is a session.
    pub(super) async fn has(&self, id: &str) -> bool {
        self.manager.sessions.read().await.contains_key(&SessionId::from(id))
    }

    /// Ends the sessions that nobody uses, from time to time.
    pub(super) async fn end_idle(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.end_idle_at(Instant::now()).await;
        }
    }

    async fn end_idle_at(&self, now: Instant) {
        let idle: Vec<SessionId> = {
            let uses = self.uses.all();
            let is_idle = |used: &Mutex<Use>| {
                let used = locked(used);
                used.open.is_empty() && now.saturating_duration_since(used.last) >= IDLE
            };
            uses.iter().filter(|(_, used)| is_idle(used)).map(|(id, _)| id.clone()).collect()
        };
        for id in idle {
            self.uses.all().remove(&id);
            // One that has ended by itself has ended, too.
            let _ = self.manager.close_session(&id).await;
        }
    }

    /// Makes room for one more session, which begins while the guard is held. Where there are too many,
    /// the one that was idle longest ends; nothing where all of them wait for an answer.
    pub(super) async fn make_room(&self) -> Option<AsyncMutexGuard<'_, ()>> {
        let guard = self.beginning.lock().await;
        let ids: Vec<SessionId> = self.manager.sessions.read().await.keys().cloned().collect();
        if ids.len() >= MAX_SESSIONS {
            let idle = {
                let mut uses = self.uses.all();
                uses.retain(|id, _| ids.contains(id));
                let used = |id: &&SessionId| uses.get(*id).map(|used| locked(used));
                ids.iter()
                    .filter(|id| used(id).is_none_or(|used| used.open.is_empty()))
                    .min_by_key(|id| used(id).map(|used| used.last))
            };
            // One that has ended by itself meanwhile has made room, too.
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
    async fn a_session_ends_when_nobody_has_used_it_for_long() {
        let sessions = Sessions::new(32);
        let (id, _transport) = sessions.manager.create_session().await.expect("a session");
        sessions.has_begun(&id);
        // An open stream is a use, however quiet it is.
        let stream = sessions.begin_use(Some(&id), &Value::Null, false).expect("noted");
        sessions.end_idle_at(Instant::now() + 10 * IDLE).await;
        assert!(sessions.has(&id).await);
        drop(stream);
        sessions.end_idle_at(Instant::now() + IDLE / 2).await;
        assert!(sessions.has(&id).await);
        sessions.end_idle_at(Instant::now() + IDLE).await;
        assert!(!sessions.has(&id).await);
    }

    #[test]
    fn a_client_has_so_many_requests_at_a_time_and_one_of_an_id() {
        let sessions = Sessions::new(32);
        sessions.has_begun("a");
        for session in [Some("a"), None] {
            let mut open: Vec<InUse> = (0..32 + MAX_WAITING)
                .map(|id| sessions.begin_use(session, &json!(id), true).expect("noted"))
                .collect();
            let refused =
                |id: Value, is_request| sessions.begin_use(session, &id, is_request).err();
            assert_eq!(refused(json!("new"), true), Some(Refused::TooMany));
            // What is no request can still be told.
            assert_eq!(refused(Value::Null, false), None);
            assert_eq!(refused(json!("ping"), false), None);
            open.pop();
            assert_eq!(refused(json!("new"), true), None);
            let again = refused(json!(0), true);
            assert_eq!(again, session.map(|_| Refused::Duplicate));
        }
    }
}
