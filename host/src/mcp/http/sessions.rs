//! How many clients of the protocols with sessions there may be, and which of them makes room.

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

/// The sessions of a server.
pub(super) struct Sessions {
    pub(super) manager: Arc<LocalSessionManager>,
    uses: Arc<Uses>,
    /// Held while a session begins, so that no two take one place.
    beginning: AsyncMutex<()>,
}

/// When each session was used.
#[derive(Default)]
struct Uses(Mutex<HashMap<SessionId, Use>>);

#[derive(Clone)]
struct Use {
    last: Instant,
    /// The ids of the messages that have no answer yet; null of what wants none.
    open: Vec<Value>,
}

impl Uses {
    fn all(&self) -> MutexGuard<'_, HashMap<SessionId, Use>> {
        // A panic under the lock leaves a map that is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request of a session, until its answer has been sent.
pub(super) struct InUse {
    uses: Arc<Uses>,
    session: SessionId,
    id: Value,
}

impl Drop for InUse {
    fn drop(&mut self) {
        if let Some(used) = self.uses.all().get_mut(&self.session) {
            if let Some(at) = used.open.iter().position(|id| *id == self.id) {
                used.open.swap_remove(at);
            }
            used.last = Instant::now();
        }
    }
}

impl Sessions {
    pub(super) fn new() -> Self {
        let mut manager = LocalSessionManager::default();
        manager.session_config.keep_alive = Some(IDLE);
        Self { manager: Arc::new(manager), uses: Arc::default(), beginning: AsyncMutex::default() }
    }

    /// Notes a message of a session until this is dropped; `None` where a request with its id has no
    /// answer yet.
    pub(super) fn begin_use(&self, session: &str, id: &Value) -> Option<InUse> {
        let session = SessionId::from(session);
        if let Some(used) = self.uses.all().get_mut(&session) {
            if !id.is_null() && used.open.contains(id) {
                return None;
            }
            used.open.push(id.clone());
            used.last = Instant::now();
        }
        Some(InUse { uses: Arc::clone(&self.uses), session, id: id.clone() })
    }

    /// Notes a session that has begun.
    pub(super) fn has_begun(&self, id: &str) {
        let new = Use { last: Instant::now(), open: Vec::new() };
        self.uses.all().insert(SessionId::from(id), new);
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
                let used = |id: &&SessionId| uses.get(*id).cloned();
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
