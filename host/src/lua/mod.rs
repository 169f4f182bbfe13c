//! Lua for agents that write code: scripts that call the functions, in a sandbox.
//!
//! A script is not trusted. It runs in a Luau state of its own, with no way out of it but the calls,
//! and each of those goes through [`Session::run`], where it is checked, decided on, asked for and
//! granted like any other. What it may use besides is limited, see [`Limits`].
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
mod errors;
mod machine;
mod memory;
mod message;
mod namespaces;
mod report;
mod sandbox;
mod shared;
mod show;
mod values;
mod worker;

pub use errors::{FailedCall, ScriptError};
pub use report::{CallRecord, Report};
pub use worker::machines;

pub use crate::config::limits::ScriptLimits as Limits;

use crate::error::Error;
use crate::session::Session;
use crate::session::call::Call;
use control::Control;
use driver::{Driven, Script, drive};
use message::Kind;
use namespaces::Namespaces;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use worker::Worker;

/// The longest script, in bytes.
///
/// Nothing stops a script between two turns of a loop or two calls, and a long script of plain
/// statements is one such stretch, so its length is bounded.
pub const MAX_SOURCE_BYTES: usize = 64 * 1024;

/// Makes a [`Call`] of an account's name, a function's name and arguments.
type ToCall = dyn Fn(&str, &'static str, Value) -> Call + Send + Sync;

/// Is given what scripts print, or what there is to say of them.
type ToText = dyn Fn(&str) + Send + Sync;

/// Runs scripts through a session. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    session: Session,
    limits: Limits,
    account: Option<String>,
    to_call: Option<Arc<ToCall>>,
    output: Option<Arc<ToText>>,
    asking: Option<Arc<AtomicBool>>,
    notice: Option<Arc<ToText>>,
}

impl Runtime {
    /// A runtime with the limits of the session's settings.
    #[must_use]
    pub fn new(session: Session) -> Self {
        Self {
            limits: session.settings().lua.clone(),
            session,
            account: None,
            to_call: None,
            output: None,
            asking: None,
            notice: None,
        }
    }

    /// Other limits than the settings have.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// One account alone, which is then the default one; without this, all that are switched on.
    #[must_use]
    pub fn account(mut self, account: Option<&str>) -> Self {
        self.account = account.map(str::to_owned);
        self
    }

    /// How a call is made of an account's name, a function's name and arguments; without this, by
    /// [`Call::new`]. It is how a front end says who asks. No call of a script's is forced.
    #[must_use]
    pub fn calls(
        mut self,
        to_call: impl Fn(&str, &'static str, Value) -> Call + Send + Sync + 'static,
    ) -> Self {
        self.to_call = Some(Arc::new(to_call));
        self
    }

    /// What is given each text that a script prints, as it prints it.
    #[must_use]
    pub fn output(mut self, output: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.output = Some(Arc::new(output));
        self
    }

    /// What is true while a person is asked. The time that it takes is not the script's.
    #[must_use]
    pub fn asking(mut self, asking: Arc<AtomicBool>) -> Self {
        self.asking = Some(asking);
        self
    }

    /// What is told, in a sentence, why the audit log does not have a call of a script's.
    #[must_use]
    pub fn notice(mut self, notice: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.notice = Some(Arc::new(notice));
        self
    }

    /// Whether a person is being asked.
    fn is_asking(&self) -> bool {
        self.asking.as_ref().is_some_and(|asking| asking.load(Ordering::Relaxed))
    }

    /// The one place where a script's call becomes a call.
    fn call(&self, account: &str, function: &'static str, arguments: Value) -> Call {
        let call = match &self.to_call {
            Some(to_call) => to_call(account, function, arguments),
            None => Call::new(function, arguments).account(Some(account)),
        };
        // No script takes its own word for an approval.
        call.force(false)
    }

    /// Runs a script; `name` is what it is called in its errors. Dropping the future stops it, and
    /// the calls that it has under way.
    ///
    /// It needs a tokio runtime with time enabled. The script itself, and its calls, run on a thread of
    /// their own.
    pub async fn run(&self, source: &str, name: &str) -> Report {
        self.run_until(source, name, std::future::pending()).await
    }

    /// The same, until something happens: the script is then stopped, and the report says what it had
    /// done.
    pub async fn run_until(
        &self,
        source: &str,
        name: &str,
        until: impl Future<Output = ()>,
    ) -> Report {
        let begin = || {
            let namespaces = Namespaces::of(&self.session, self.account.as_deref())?;
            Ok((namespaces, Worker::hire(&self.session)?))
        };
        let (namespaces, worker) = match begin() {
            Ok(begun) => begun,
            Err(error) => return Report::failed(Error::into(error)),
        };
        let name = whereby_authority::text::printable(name, 60);
        let script = Script { source, name: &name, kind: Kind::Whole, namespaces: &namespaces };
        let control = Arc::new(Control::new());
        let Driven { report, is_alive, .. } = drive(self, &worker, &control, script, until).await;
        if is_alive {
            worker.retire();
        }
        report
    }

    /// A console: scripts that are run one after the other, each with the globals that those before
    /// it have left.
    ///
    /// # Errors
    ///
    /// As for [`Settings::account`](crate::Settings::account), where an account was named, and
    /// [`Error::Internal`] where too many scripts run.
    pub fn console(&self) -> Result<Console, Error> {
        let namespaces = Namespaces::of(&self.session, self.account.as_deref())?;
        let worker = Worker::hire(&self.session)?;
        Ok(Console { runtime: self.clone(), namespaces, control: Arc::new(Control::new()), worker })
    }
}

/// A Lua state that runs one script after the other, each within limits of its own. Memory is
/// limited for all of them together.
pub struct Console {
    runtime: Runtime,
    namespaces: Namespaces,
    control: Arc<Control>,
    worker: Worker,
}

impl Console {
    /// Runs a script, or finds the value of an expression, until something happens that stops it. The
    /// second part is the value as Lua shows it, where it has no form in JSON.
    pub async fn run(
        &mut self,
        source: &str,
        until: impl Future<Output = ()>,
    ) -> (Report, Option<String>) {
        let namespaces = &self.namespaces;
        let script = Script { source, name: "console", kind: Kind::Typed, namespaces };
        let driven = drive(&self.runtime, &self.worker, &self.control, script, until).await;
        if !driven.is_alive
            && let Ok(worker) = Worker::hire(&self.runtime.session)
        {
            // The old one is left to itself.
            (self.worker, self.control) = (worker, Arc::new(Control::new()));
        }
        (driven.report, driven.shown)
    }

    /// Whether a text is a beginning that further lines can make whole.
    #[must_use]
    pub fn is_incomplete(source: &str) -> bool {
        machine::is_incomplete(source)
    }

    /// Returns the names that a script can use, for completion.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = sandbox::globals().map(str::to_owned).collect();
        names.extend(self.namespaces.paths());
        names
    }

    /// What a script reads by `lua_read_doc`.
    ///
    /// # Errors
    ///
    /// A sentence that says which pages there are.
    pub fn read_doc(&self, name: &str) -> Result<String, String> {
        docs::read(name, &self.namespaces)
    }
}
