//! Runs Lua scripts that call the functions, in a sandbox, for agents that write code.
//!
//! A script is not trusted. It runs in its own Luau VM and can reach the outside only by calling the
//! functions. Each call goes through [`Session::run`], with the same checks, permissions and approvals
//! as any other call. [`Limits`] bounds the script's other resources.
//!
//! ```
//! # use whereby::lua::{Limits, Runtime};
//! # use whereby::policy::{Effect, Entry, Permission};
//! # use whereby::{Account, ApiBase, Session, Settings, TokenSource};
//! # #[cfg(feature = "simulator")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let whereby = whereby::simulator::Simulator::start(Default::default()).await?;
//! # let mut settings = Settings::default();
//! # let api = ApiBase::parse(&whereby.url())?;
//! # settings.accounts.insert("work".into(), Account::new(TokenSource::literal(whereby.token()), api));
//! # let session = Session::builder().settings(settings).build()?;
//! let runtime = Runtime::new(session).limits(Limits::default());
//! let script = "return #app.integrations.whereby.list_rooms({ limit = 2 }).data";
//! let report = runtime.run(script, "example.lua").await;
//! assert_eq!(report.result, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod calls;
mod control;
mod decode;
mod docs;
mod driver;
mod encode;
mod errors;
mod memory;
mod message;
mod namespaces;
mod report;
mod sandbox;
mod shared;
mod show;
mod values;
mod vm;
mod worker;

pub use errors::{FailedCall, ScriptError};
pub use report::{CallRecord, Report};
pub use worker::machines;

pub use crate::config::limits::ScriptLimits as Limits;

use crate::error::Error;
use crate::session::Session;
use crate::session::call::Call;
use control::Control;
use driver::{Driven, drive};
use message::{Kind, Script};
use namespaces::Namespaces;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use worker::Worker;

/// The maximum length of a script, in bytes.
///
/// A script can be stopped only at a loop iteration or a call. The limit bounds the time of a script
/// that has neither.
pub const MAX_SOURCE_BYTES: usize = 64 * 1024;

/// Creates a [`Call`] from an account's name, a function's name and arguments.
type ToCall = dyn Fn(&str, &'static str, Value) -> Call + Send + Sync;

/// Receives printed text or notices.
type TextSink = dyn Fn(&str) + Send + Sync;

/// Runs scripts through a session. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    session: Session,
    limits: Limits,
    account: Option<String>,
    agent: Option<String>,
    to_call: Option<Arc<ToCall>>,
    output: Option<Arc<TextSink>>,
    asking: Option<Arc<AtomicBool>>,
    notice: Option<Arc<TextSink>>,
}

impl Runtime {
    /// Creates a runtime with the limits of the session's settings.
    #[must_use]
    pub fn new(session: Session) -> Self {
        Self {
            limits: session.settings().lua.clone(),
            session,
            account: None,
            agent: None,
            to_call: None,
            output: None,
            asking: None,
            notice: None,
        }
    }

    /// Sets the limits. Default: those of the settings.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Restricts scripts to one account, which is then the default account. Default: all enabled
    /// accounts.
    #[must_use]
    pub fn account(mut self, account: Option<&str>) -> Self {
        self.account = account.map(str::to_owned);
        self
    }

    /// Sets the agent that makes the calls of scripts, whose rules in the settings apply as well. Scripts
    /// see only the accounts that it may use. Default: none.
    #[must_use]
    pub fn agent(mut self, agent: Option<&str>) -> Self {
        self.agent = agent.map(str::to_owned);
        self
    }

    /// Sets how to create a call from an account's name, a function's name and arguments, so that a
    /// front end can set its client. Default: [`Call::new`]. Scripts never force a call.
    #[must_use]
    pub fn calls(
        mut self,
        to_call: impl Fn(&str, &'static str, Value) -> Call + Send + Sync + 'static,
    ) -> Self {
        self.to_call = Some(Arc::new(to_call));
        self
    }

    /// Sets a function that receives printed text as a script prints it.
    #[must_use]
    pub fn output(mut self, output: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.output = Some(Arc::new(output));
        self
    }

    /// Sets a flag that is true while a person is asked. That time does not count for the script.
    #[must_use]
    pub fn asking(mut self, asking: Arc<AtomicBool>) -> Self {
        self.asking = Some(asking);
        self
    }

    /// Sets a function that receives, in a sentence, why the audit log is missing part of a call.
    #[must_use]
    pub fn notice(mut self, notice: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.notice = Some(Arc::new(notice));
        self
    }

    /// Returns whether a person is being asked.
    fn is_asking(&self) -> bool {
        self.asking.as_ref().is_some_and(|asking| asking.load(Ordering::Relaxed))
    }

    /// Creates a call. All calls of scripts are created here.
    fn call(&self, account: &str, function: &'static str, arguments: Value) -> Call {
        let call = match &self.to_call {
            Some(to_call) => to_call(account, function, arguments),
            None => Call::new(function, arguments).account(Some(account)),
        };
        let call = if self.agent.is_some() { call.agent(self.agent.as_deref()) } else { call };
        // A script cannot approve its own calls.
        call.force(false)
    }

    /// Runs a script. Its errors call it `name`. Dropping the future stops the script and its calls.
    ///
    /// This needs a tokio runtime with time enabled. The script and its calls run on a separate thread.
    pub async fn run(&self, source: &str, name: &str) -> Report {
        self.run_until(source, name, std::future::pending()).await
    }

    /// Like [`Runtime::run`], but stops the script when `until` completes. The report says what the
    /// script had done.
    pub async fn run_until(
        &self,
        source: &str,
        name: &str,
        until: impl Future<Output = ()>,
    ) -> Report {
        let begin = || {
            let namespaces =
                Namespaces::of(&self.session, self.account.as_deref(), self.agent.as_deref())?;
            Ok((namespaces, Worker::checkout(&self.session)?))
        };
        let (namespaces, worker) = match begin() {
            Ok(begun) => begun,
            Err(error) => return Report::failed(Error::into(error)),
        };
        let name = whereby_authority::text::printable(name, 60);
        let script = Script { source: source.into(), name, kind: Kind::Whole, namespaces };
        let control = Arc::new(Control::new());
        let Driven { report, is_alive, .. } = drive(self, &worker, &control, script, until).await;
        if is_alive {
            worker.checkin();
        }
        report
    }

    /// Returns a console, which runs scripts one after another in the same VM.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Settings::account`](crate::Settings::account) if an account was named,
    /// and an error if a thread for scripts cannot be started.
    pub fn console(&self) -> Result<Console, Error> {
        let namespaces =
            Namespaces::of(&self.session, self.account.as_deref(), self.agent.as_deref())?;
        let worker = Worker::checkout(&self.session)?;
        Ok(Console { runtime: self.clone(), namespaces, control: Arc::new(Control::new()), worker })
    }
}

/// A Lua VM that runs scripts one after another. Each script has its own limits, but all of them share
/// the memory limit. Globals persist.
pub struct Console {
    runtime: Runtime,
    namespaces: Namespaces,
    control: Arc<Control>,
    worker: Worker,
}

impl Console {
    /// Runs a script or evaluates an expression. Stops it when `until` completes. The second value is
    /// the result as Lua shows it, if JSON cannot represent it.
    pub async fn run(
        &mut self,
        source: &str,
        until: impl Future<Output = ()>,
    ) -> (Report, Option<String>) {
        let script = Script {
            source: source.into(),
            name: "console".into(),
            kind: Kind::Typed,
            namespaces: self.namespaces.clone(),
        };
        let driven = drive(&self.runtime, &self.worker, &self.control, script, until).await;
        if !driven.is_alive
            && let Ok(worker) = Worker::checkout(&self.runtime.session)
        {
            // The old thread ends on its own.
            (self.worker, self.control) = (worker, Arc::new(Control::new()));
        }
        (driven.report, driven.shown)
    }

    /// Returns whether further lines could complete a script.
    #[must_use]
    pub fn is_incomplete(source: &str) -> bool {
        vm::is_incomplete(source)
    }

    /// Returns the names that a script can use, for completion.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = sandbox::globals().map(str::to_owned).collect();
        names.extend(self.namespaces.paths());
        names
    }

    /// Returns a documentation page, as `lua_read_doc` does.
    ///
    /// # Errors
    ///
    /// Returns a sentence that names the existing pages.
    pub fn read_doc(&self, name: &str) -> Result<String, String> {
        docs::read(name, &self.namespaces)
    }
}
