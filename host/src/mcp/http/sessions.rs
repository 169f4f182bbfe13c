//! How many clients of the protocols with sessions there may be, and which of them makes room.

use rmcp::transport::streamable_http_server::SessionManager as _;
use rmcp::transport::streamable_http_server::session::SessionId;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
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

#[derive(Clone, Copy)]
struct Use {
    last: Instant,
    /// How many requests have no answer yet.
    open: usize,
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
    id: SessionId,
}

impl Drop for InUse {
    fn drop(&mut self) {
        if let Some(used) = self.uses.all().get_mut(&self.id) {
            used.open = used.open.saturating_sub(1);
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

    /// Counts a request of a session until this is dropped.
    pub(super) fn begin_use(&self, id: &str) -> InUse {
        let id = SessionId::from(id);
        if let Some(used) = self.uses.all().get_mut(&id) {
            used.open += 1;
            used.last = Instant::now();
        }
        InUse { uses: Arc::clone(&self.uses), id }
    }

    /// Notes a session that has begun.
    pub(super) fn has_begun(&self, id: &str) {
        let new = Use { last: Instant::now(), open: 0 };
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
                let used = |id: &&SessionId| uses.get(*id).copied();
                ids.iter()
                    .filter(|id| used(id).is_none_or(|used| used.open == 0))
                    .min_by_key(|id| used(id).map(|used| used.last))
            };
            // One that has ended by itself meanwhile has made room, too.
            let _ = self.manager.close_session(idle?).await;
        }
        Some(guard)
    }
}
