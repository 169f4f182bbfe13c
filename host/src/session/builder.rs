//! Builds a [`Session`].

use super::{Inner, Session};
use crate::config::Settings;
use crate::config::environment::Environment;
use crate::error::Error;
use crate::session::approval::{Approver, NobodyToAsk};
use crate::session::notify::{Notice, Notifier};
use crate::session::resources::{Resources, check_size, read_component};
use crate::store::Store;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;
use whereby_authority::suggest;
use whereby_authority::text;

/// Builds a [`Session`].
pub struct SessionBuilder {
    settings: Settings,
    environment: Environment,
    approver: Arc<dyn Approver>,
    component: Option<Vec<u8>>,
    cache: Option<PathBuf>,
    store: Result<Option<Arc<Store>>, Error>,
    notifier: Notifier,
    notice: Arc<Notice>,
}

impl SessionBuilder {
    pub(super) fn new() -> Self {
        Self {
            settings: Settings::default(),
            environment: Environment::empty(),
            approver: Arc::new(NobodyToAsk),
            component: None,
            cache: None,
            store: Ok(None),
            notifier: Notifier::default(),
            notice: Arc::new(|_| {}),
        }
    }

    /// Sets the accounts, rules and limits. Default: no accounts, so nothing can be called.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the environment that [`TokenSource::Variable`](crate::TokenSource::Variable) and the clock
    /// come from. Default: [`Environment::empty`].
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Sets how a person is asked. Default: nobody is asked, so calls that need approval fail.
    #[must_use]
    pub fn approver(mut self, approver: Arc<dyn Approver>) -> Self {
        self.approver = approver;
        self
    }

    /// Sets the component. Default: the one in the settings.
    #[must_use]
    pub fn component(mut self, bytes: Vec<u8>) -> Self {
        self.component = Some(bytes);
        self
    }

    /// Sets the directory for compiled code. It is not used unless it belongs to the user and is closed to
    /// others. Default: none, so every session compiles its component.
    #[must_use]
    pub fn cache(mut self, directory: Option<PathBuf>) -> Self {
        self.cache = directory;
        self
    }

    /// Sets the store for approvals and the audit log. A write that cannot be recorded is then refused.
    /// Default: none, so no call is recorded, and calls that need approval fail if nobody can be asked.
    #[must_use]
    pub fn store(mut self, store: Arc<Store>) -> Self {
        self.store = Ok(Some(store));
        self
    }

    /// Records why there is no store although there should be one. Writes are refused; reads go on and
    /// report it.
    pub(crate) fn no_store(mut self, why: Error) -> Self {
        self.store = Err(why);
        self
    }

    /// Sets a function that receives, in a sentence, why the command of `approvals.notify` failed. Default:
    /// nobody is told.
    #[must_use]
    pub fn notice(mut self, notice: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.notice = Arc::new(notice);
        self
    }

    /// Sets what runs the command of `approvals.notify`, for a program that waits for it.
    pub(crate) fn notifier(mut self, notifier: &Notifier) -> Self {
        self.notifier = notifier.clone();
        self
    }

    /// Builds the session. The component is compiled at the first call.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if the component's file cannot be read or is too large, or if a rule names
    /// an unknown function.
    pub fn build(self) -> Result<Session, Error> {
        check_rules(&self.settings)?;
        let component = match (self.component, &self.settings.component) {
            (Some(bytes), _) => Some(check_size(bytes)?),
            (None, Some(file)) => Some(read_component(&file.path, file.sha256.as_deref())?),
            (None, None) => None,
        };
        let calls = self.settings.limits.concurrent_calls as usize;
        let resources = Resources::new(self.settings, self.environment, component, self.cache);
        let slots = Arc::new(Semaphore::new(calls));
        let (approver, store) = (self.approver, self.store);
        let people_key = Arc::default();
        let (notifier, notice) = (self.notifier, self.notice);
        Ok(Session(Arc::new(Inner {
            resources,
            approver,
            slots,
            store,
            people_key,
            notifier,
            notice,
            maintenance: Arc::default(),
        })))
    }
}

/// Refuses rules for unknown functions, which would have no effect.
pub(super) fn check_rules(settings: &Settings) -> Result<(), Error> {
    let Some(name) = settings.policy.unknown_function() else { return Ok(()) };
    let names: Vec<&str> = whereby_catalog::FUNCTIONS.iter().map(|f| f.json).collect();
    Err(Error::Configuration {
        message: format!(
            "a rule names the unknown function `{}`{}",
            text::printable(name, 80),
            suggest::did_you_mean(name, &names)
        ),
    })
}
