//! The state that all clients of a server share: the session under the current settings, and its tools.

use super::{Notice, Reload, tools};
use crate::config::sources::{Stamp, stamps};
use crate::error::Error;
use crate::session::{Session, resume};
use crate::store::Asker;
use crate::token::Verified;
use rmcp::model::Tool;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use whereby_catalog::Function;

/// How often the configuration files are checked while no client calls.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The maximum number of open questions at all clients of a server. Each keeps the permit of its call,
/// so most permits are left for calls that do not wait for a person.
const MAX_QUESTIONS: usize = 32;

/// The maximum number of subscriptions of all clients of a server.
const MAX_SUBSCRIPTIONS: usize = 64;

pub(super) struct ServerState {
    files: Vec<PathBuf>,
    reload: Option<Box<Reload>>,
    notice: Arc<Notice>,
    /// The agent that makes all calls.
    pub(super) agent: Option<String>,
    /// Whether scripts are offered.
    scripts: bool,
    /// The token of clients that have none of their own.
    pub(super) token: Option<Arc<Verified>>,
    current: Mutex<Current>,
    last_notice: Mutex<String>,
    /// Identifies this server among others in the store.
    group: String,
    /// How many clients there have been.
    clients: AtomicU64,
    /// How many more questions may be open at all clients.
    pub(super) questions: Arc<Semaphore>,
    /// How many more calls of all clients may wait for a person's decision.
    pub(super) waits: Semaphore,
    /// What approved calls that are being made for clients subscribe to.
    pub(super) making: watch::Sender<()>,
    /// How many more subscriptions all clients may have.
    pub(super) subscriptions: Semaphore,
    /// Counts the changes to the list of tools.
    changes: watch::Sender<u64>,
}

struct Current {
    stamps: Vec<Stamp>,
    snapshot: Snapshot,
}

/// The session and its tools under the settings at one moment.
#[derive(Clone)]
pub(super) struct Snapshot {
    /// How often the settings have changed.
    pub(super) version: u64,
    /// The session under the last settings that could be read.
    session: Session,
    /// Why the current settings cannot be read.
    problem: Option<Error>,
    pub(super) tools: Arc<Vec<Tool>>,
}

impl Snapshot {
    fn new(
        version: u64,
        session: Session,
        agent: Option<&str>,
        token: Option<&Arc<Verified>>,
        scripts: bool,
    ) -> Self {
        let token = token.map_or(&[][..], |token| token.blocks());
        let tools = Arc::new(tools::list(&session, agent, token, scripts));
        Self { version, session, problem: None, tools }
    }

    /// Returns the functions that the component has.
    pub(super) fn functions(&self) -> Vec<&'static Function> {
        self.session.functions()
    }

    /// Returns the session under the last settings that could be read, which records refused calls.
    pub(super) fn last_session(&self) -> &Session {
        &self.session
    }

    /// Returns the session, or why its settings cannot be read.
    pub(super) fn session(&self) -> Result<&Session, Error> {
        self.problem.clone().map_or(Ok(&self.session), Err)
    }
}

impl ServerState {
    pub(super) fn new(
        session: Session,
        files: Vec<PathBuf>,
        reload: Option<Box<Reload>>,
        notice: Arc<Notice>,
        agent: Option<String>,
        scripts: bool,
        token: Option<Arc<Verified>>,
    ) -> Self {
        let stamps = stamps(&files);
        let snapshot = Snapshot::new(0, session, agent.as_deref(), token.as_ref(), scripts);
        let current = Current { stamps, snapshot };
        Self {
            files,
            reload,
            notice,
            agent,
            scripts,
            token,
            current: Mutex::new(current),
            last_notice: Mutex::default(),
            group: group(),
            clients: AtomicU64::new(0),
            questions: Arc::new(Semaphore::new(MAX_QUESTIONS)),
            waits: Semaphore::new(MAX_QUESTIONS),
            making: watch::Sender::new(()),
            subscriptions: Semaphore::new(MAX_SUBSCRIPTIONS),
            changes: watch::Sender::new(0),
        }
    }

    /// Returns how many requests of one client are served at a time.
    pub(super) fn client_requests(&self) -> usize {
        self.current().snapshot.session.settings().limits.client_requests as usize
    }

    /// Returns an identity for a new client, which has a share of the open approvals.
    pub(super) fn next_asker(&self) -> Asker {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        Asker { group: self.group.clone(), client: Some(number.to_string()) }
    }

    /// Returns the session and its tools. Reloads the settings if a file has changed.
    pub(super) fn refresh(&self) -> Snapshot {
        let mut current = self.current();
        let Some(reload) = &self.reload else { return current.snapshot.clone() };
        let stamps = stamps(&self.files);
        if stamps == current.stamps {
            return current.snapshot.clone();
        }
        current.stamps = stamps;
        let snapshot = &mut current.snapshot;
        snapshot.version += 1;
        let session = reload().and_then(|settings| {
            settings.warnings.iter().for_each(|warning| (self.notice)(warning));
            snapshot.session.with_settings(settings)
        });
        match session {
            Ok(session) => {
                let agent = self.agent.as_deref();
                let new = Snapshot::new(
                    snapshot.version,
                    session,
                    agent,
                    self.token.as_ref(),
                    self.scripts,
                );
                let tools = std::mem::replace(snapshot, new).tools;
                if snapshot.tools != tools {
                    self.changes.send_modify(|count| *count += 1);
                }
            }
            Err(error) => {
                (self.notice)(&error.to_string());
                snapshot.problem = Some(error);
            }
        }
        snapshot.clone()
    }

    /// Returns the session of the last refresh, without checking the files.
    pub(super) fn last_session(&self) -> Session {
        self.current().snapshot.session.clone()
    }

    /// Returns a tool from the last refresh, without checking the files.
    pub(super) fn known_tool(&self, name: &str) -> Option<Tool> {
        self.current().snapshot.tools.iter().find(|tool| tool.name == name).cloned()
    }

    /// Tells the person who runs the server, unless it was the last thing told.
    pub(super) fn notice(&self, what: &str) {
        let mut last = self.last_notice.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != what {
            what.clone_into(&mut last);
            (self.notice)(what);
        }
    }

    /// Returns [`ServerState::notice`] as a function that owns the state.
    #[cfg(feature = "lua")]
    pub(super) fn noticer(self: &Arc<Self>) -> impl Fn(&str) + Send + Sync + 'static {
        let own = Arc::clone(self);
        move |what| own.notice(what)
    }

    /// Returns a receiver for future changes to the list of tools.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Makes approved calls, and checks the configuration files periodically, so that idle clients learn
    /// of changed tools, until the returned value is finished or dropped.
    pub(super) fn watch(self: &Arc<Self>) -> Watching {
        let (mut watching, stop) = (JoinSet::new(), CancellationToken::new());
        let (own, told) = (Arc::clone(self), Arc::clone(self));
        watching.spawn(resume::make_approved_calls(
            stop.clone(),
            move || own.refresh().session().ok().cloned(),
            move |what| told.notice(what),
        ));
        if self.reload.is_some() {
            let (own, stop) = (Arc::clone(self), stop.clone());
            watching.spawn(async move {
                let pause = || tokio::time::sleep(CHECK_INTERVAL);
                while stop.run_until_cancelled(pause()).await.is_some() {
                    own.refresh();
                }
            });
        }
        Watching { state: Arc::clone(self), tasks: watching, stop }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        // A panic under the lock leaves the previous settings in force.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a server does besides serving its clients. Dropping it stops everything at once.
pub(super) struct Watching {
    state: Arc<ServerState>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Watching {
    /// Stops, and waits for the approved calls that are being made.
    pub(super) async fn finish(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.state.making.closed().await;
    }
}

/// Returns a name that no other server on this machine has, whatever its clients call themselves.
fn group() -> String {
    let started = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    format!("mcp {} {started}", std::process::id())
}
