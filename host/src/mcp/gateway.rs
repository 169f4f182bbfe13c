//! What all clients of a server share: the session under the settings of the moment, and its tools.

use super::{Notice, Reload, tools};
use crate::error::Error;
use crate::session::Session;
use crate::store::Asker;
use rmcp::model::Tool;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use whereby_catalog::Function;

/// How often it is looked whether the settings have changed, while nobody calls.
const LOOK: Duration = Duration::from_secs(1);

/// How many questions may be open at all clients of a server together. They keep the places of their
/// calls, and leave most places to calls that do not wait for a person.
const MAX_QUESTIONS: usize = 32;

/// How many subscriptions there may be, of all clients of a server together.
const MAX_SUBSCRIPTIONS: usize = 64;

/// How a file was when it was looked at; absent where there was none.
type Stamp = Option<(SystemTime, u64, u64)>;

pub(super) struct Gateway {
    files: Vec<PathBuf>,
    reload: Option<Box<Reload>>,
    notice: Arc<Notice>,
    /// Whether scripts are offered.
    scripts: bool,
    current: Mutex<Current>,
    last_notice: Mutex<String>,
    /// What tells this server from others in the store.
    group: String,
    /// How many clients there have been.
    clients: AtomicU64,
    /// How many more questions may be open at all clients together.
    pub(super) questions: Arc<Semaphore>,
    /// How many more subscriptions there may be, of all clients together.
    pub(super) subscriptions: Semaphore,
    /// Counts how often the list of tools has changed.
    changes: watch::Sender<u64>,
}

struct Current {
    /// How often the settings were read.
    version: u64,
    stamps: Vec<Stamp>,
    state: State,
}

/// The session under the settings of the moment.
#[derive(Clone)]
pub(super) struct State {
    /// The last one whose settings were good.
    session: Session,
    /// Why the settings of the moment are not.
    problem: Option<Error>,
    pub(super) tools: Arc<Vec<Tool>>,
}

impl State {
    fn new(session: Session, scripts: bool) -> Self {
        let tools = Arc::new(tools::list(&session, scripts));
        Self { session, problem: None, tools }
    }

    /// The functions that the component has.
    pub(super) fn functions(&self) -> Vec<&'static Function> {
        self.session.functions()
    }

    /// The session under the last settings that could be read, to take down what is refused.
    pub(super) fn last_session(&self) -> &Session {
        &self.session
    }

    /// The session, where its settings can be read.
    pub(super) fn session(&self) -> Result<&Session, &Error> {
        match &self.problem {
            None => Ok(&self.session),
            Some(problem) => Err(problem),
        }
    }
}

/// Looks at the settings from time to time, until it is dropped.
pub(super) struct Watching(Option<AbortHandle>);

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Gateway {
    pub(super) fn new(
        session: Session,
        files: Vec<PathBuf>,
        reload: Option<Box<Reload>>,
        notice: Arc<Notice>,
        scripts: bool,
    ) -> Self {
        let stamps = files.iter().map(|file| stamp(file)).collect();
        let current = Current { version: 0, stamps, state: State::new(session, scripts) };
        Self {
            files,
            reload,
            notice,
            scripts,
            current: Mutex::new(current),
            last_notice: Mutex::default(),
            group: group(),
            clients: AtomicU64::new(0),
            questions: Arc::new(Semaphore::new(MAX_QUESTIONS)),
            subscriptions: Semaphore::new(MAX_SUBSCRIPTIONS),
            changes: watch::Sender::new(0),
        }
    }

    /// How many requests of one client are served at a time.
    pub(super) fn client_requests(&self) -> usize {
        self.current().state.session.settings().limits.client_requests as usize
    }

    /// Whose share of the open approvals the calls of one more client take up.
    pub(super) fn next_asker(&self) -> Asker {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        Asker { group: self.group.clone(), client: Some(number.to_string()) }
    }

    /// The session and the tools under the settings as they are now.
    pub(super) fn state(&self) -> State {
        let mut current = self.current();
        let Some(reload) = &self.reload else { return current.state.clone() };
        let stamps: Vec<Stamp> = self.files.iter().map(|file| stamp(file)).collect();
        if stamps == current.stamps {
            return current.state.clone();
        }
        current.stamps = stamps;
        current.version += 1;
        let session = reload().and_then(|settings| {
            settings.warnings.iter().for_each(|warning| (self.notice)(warning));
            current.state.session.with_settings(settings)
        });
        match session {
            Ok(session) => {
                let state = State::new(session, self.scripts);
                let is_other = state.tools != current.state.tools;
                current.state = state;
                if is_other {
                    self.changes.send_modify(|count| *count += 1);
                }
            }
            Err(error) => {
                (self.notice)(&error.to_string());
                current.state.problem = Some(error);
            }
        }
        current.state.clone()
    }

    /// Which settings are in force, as a number that grows with each change.
    pub(super) fn version(&self) -> u64 {
        self.state();
        self.current().version
    }

    /// Tells whoever runs the server; what was told last is not told again.
    pub(super) fn notice(&self, what: &str) {
        let mut last = self.last_notice.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != what {
            what.clone_into(&mut last);
            (self.notice)(what);
        }
    }

    /// Tells whoever runs the server, later.
    #[cfg(feature = "lua")]
    pub(super) fn noticer(self: &Arc<Self>) -> impl Fn(&str) + Send + Sync + 'static {
        let own = Arc::clone(self);
        move |what| own.notice(what)
    }

    /// Learns of changes to the list of tools from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Looks at the settings from time to time, so that clients are told of other tools.
    pub(super) fn watch(self: &Arc<Self>) -> Watching {
        if self.reload.is_none() {
            return Watching(None);
        }
        let own = Arc::downgrade(self);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                let Some(gateway) = own.upgrade() else { return };
                gateway.state();
            }
        });
        Watching(Some(task.abort_handle()))
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        // A panic under the lock leaves the settings that were in force.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that no other server of this machine has, whatever its clients call themselves.
fn group() -> String {
    let started = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    format!("mcp {} {started}", std::process::id())
}

/// What a file that is written anew, or replaced by another, has a different one of.
fn stamp(file: &Path) -> Stamp {
    let metadata = std::fs::metadata(file).ok()?;
    #[cfg(unix)]
    let number = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let number = 0;
    Some((metadata.modified().ok()?, metadata.len(), number))
}
