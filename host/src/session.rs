//! The only way in: every front end calls functions through a [`Session`].
//!
//! This is one of the two places that enforce: here it is decided whether a function may run. What
//! it may then send is the grant's business, which `http.rs` enforces.

use crate::approval::{Answer, Approver, NobodyToAsk, Question};
use crate::arguments::Arguments;
use crate::catalog::{self, Function};
use crate::config::{Account, Environment, Settings};
use crate::credentials::Token;
use crate::engine::{Engine, Fault, MAX_COMPONENT_BYTES};
use crate::error::{Error, FunctionError, WriteOutcome};
use crate::grant::{Grant, permitted_requests};
use crate::http::{Outbox, SentRequest};
use crate::policy::{Approval, Permission, Permit, Rule, Verdict, has_destination, is_destructive};
use crate::{json, secrets, suggest, text};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use wasmtime::component::Val;

/// The component that the program brings along, with every function.
pub static BUILT_IN_COMPONENT: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/integration.wasm"));

/// The component that the program brings along, with the functions that only read.
pub static BUILT_IN_READER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/reader.wasm"));

/// What is to be called, and how.
#[derive(Clone, Debug)]
pub struct Call {
    account: Option<String>,
    function: String,
    arguments: Value,
    force: bool,
}

impl Call {
    /// A call of a function, named as JSON names it, with its arguments as one JSON object.
    #[must_use]
    pub fn new(function: impl Into<String>, arguments: Value) -> Self {
        Self { account: None, function: function.into(), arguments, force: false }
    }

    /// By an account; without this, or by the name `default`, by the default one.
    #[must_use]
    pub fn account(mut self, account: Option<&str>) -> Self {
        self.account = account.map(str::to_owned);
        self
    }

    /// Takes the caller's word for an approval: where a person would be asked, the call is made.
    /// It overrides no denial, and the policy can forbid it. Never give this to an agent.
    #[must_use]
    pub fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }
}

/// What came of a call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The function's result, or why there is none.
    pub result: Result<Value, Error>,
    /// The account, where it was found.
    pub account: Option<String>,
    /// The function as JSON names it, where it is known.
    pub function: Option<&'static str>,
    /// What the policy said, where it was asked.
    pub verdict: Option<Verdict>,
    /// Whether it was made by [`Call::force`].
    pub forced: bool,
    /// Whether something was changed.
    pub write: WriteOutcome,
    /// The requests that were sent.
    pub requests: Vec<SentRequest>,
    /// How long the call took, without the time that a person took to answer.
    pub duration: Duration,
}

/// What a call would do, found out without doing it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The account.
    pub account: String,
    /// The function.
    pub function: &'static Function,
    /// The arguments in their normal form, secrets masked.
    pub arguments: Value,
    /// What the policy says.
    pub verdict: Verdict,
    /// The requests that its grant would permit.
    pub requests: &'static [&'static str],
}

impl Plan {
    /// The plan as a JSON document.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "arguments": self.arguments,
            "decision": self.verdict.permission.as_str(),
            "rule": rule_json(&self.verdict.rule),
            "requests": self.requests,
        })
    }
}

fn rule_json(rule: &Rule) -> Value {
    let place = rule.place.as_ref();
    json!({
        "key": rule.key,
        "permission": rule.permission.as_str(),
        "default": rule.is_default,
        "file": place.map(|(file, _)| file.display().to_string()),
        "line": place.map(|(_, line)| line),
    })
}

/// Makes a [`Session`].
pub struct SessionBuilder {
    settings: Settings,
    environment: Environment,
    approver: Arc<dyn Approver>,
    component: Option<Vec<u8>>,
    cache: Option<PathBuf>,
}

impl SessionBuilder {
    /// The accounts, rules and limits; without this there are none, and nothing can be called.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// What access tokens that are named by an environment variable are read from. Without this,
    /// nothing.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// How a person is asked; without this, nobody is, and what is to be asked for fails.
    #[must_use]
    pub fn approver(mut self, approver: Arc<dyn Approver>) -> Self {
        self.approver = approver;
        self
    }

    /// Another component than the settings name.
    #[must_use]
    pub fn component(mut self, bytes: Vec<u8>) -> Self {
        self.component = Some(bytes);
        self
    }

    /// Where compiled code is kept. It must be the user's own and closed to others, or nothing is
    /// kept in it. Without this, every session compiles its component.
    #[must_use]
    pub fn cache(mut self, directory: Option<PathBuf>) -> Self {
        self.cache = directory;
        self
    }

    /// The session. The component is compiled when it is first called.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where the component's file or the certificates cannot be read.
    pub fn build(self) -> Result<Session, Error> {
        let component = match (self.component, &self.settings.component) {
            (Some(bytes), _) => Some(bytes),
            (None, Some(file)) => Some(read_component(&file.path, file.sha256.as_deref())?),
            (None, None) => None,
        };
        let calls = self.settings.limits.concurrent_calls as usize;
        Ok(Session(Arc::new(Inner {
            settings: self.settings,
            environment: self.environment,
            approver: self.approver,
            component,
            cache: self.cache,
            engine: OnceLock::new(),
            client: OnceLock::new(),
            tokens: Mutex::new(HashMap::new()),
            slots: Semaphore::new(calls),
        })))
    }
}

/// Reads the file of a component, whose digest is checked where one is given.
///
/// # Errors
///
/// [`Error::Configuration`], which names the file.
pub fn read_component(path: &std::path::Path, sha256: Option<&str>) -> Result<Vec<u8>, Error> {
    let shown = text::printable(&path.display().to_string(), 300);
    let wrong =
        |what: String| Error::Configuration { message: format!("the component {shown} {what}") };
    let failed = |error: std::io::Error| wrong(format!("cannot be read: {error}"));
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(wrong("is not a file".into()));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_COMPONENT_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_COMPONENT_BYTES {
        return Err(wrong(format!("is larger than {MAX_COMPONENT_BYTES} bytes")));
    }
    if let Some(expected) = sha256 {
        let found = crate::cache::sha256(&bytes);
        if found != expected {
            return Err(wrong(format!(
                "has the SHA-256 {found}, and component.sha256 says {expected}"
            )));
        }
    }
    Ok(bytes)
}

/// Accounts, rules and a component: everything that a call needs. Cheap to clone.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    settings: Settings,
    environment: Environment,
    approver: Arc<dyn Approver>,
    component: Option<Vec<u8>>,
    cache: Option<PathBuf>,
    engine: OnceLock<Result<Engine, Error>>,
    client: OnceLock<Result<reqwest::Client, Error>>,
    tokens: Mutex<HashMap<String, Token>>,
    slots: Semaphore,
}

/// A call that was found, checked and decided on.
struct Decided<'a> {
    name: &'a str,
    account: &'a Account,
    function: &'static Function,
    arguments: Arguments,
    verdict: Verdict,
}

impl Session {
    /// Begins a session without accounts, rules or anybody to ask.
    #[must_use]
    pub fn builder() -> SessionBuilder {
        SessionBuilder {
            settings: Settings::default(),
            environment: Environment::empty(),
            approver: Arc::new(NobodyToAsk),
            component: None,
            cache: None,
        }
    }

    /// The settings that it was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Calls a function by an account, or by the default one.
    pub async fn call(&self, account: Option<&str>, function: &str, arguments: Value) -> Outcome {
        self.run(Call::new(function, arguments).account(account)).await
    }

    /// Finds out what a call would do. Nothing is asked, kept or sent.
    ///
    /// # Errors
    ///
    /// As for a call that is not allowed to begin: usage, arguments, configuration.
    pub fn plan(&self, call: Call) -> Result<Plan, Error> {
        let decided = self.decide(call)?;
        Ok(Plan {
            account: decided.name.to_owned(),
            function: decided.function,
            arguments: secrets::masked(&decided.arguments.to_json()),
            requests: permitted_requests(decided.function),
            verdict: decided.verdict,
        })
    }

    /// Makes a call. The steps are always the same: find the function and the account, check the
    /// arguments, decide, and run in a fresh instance under a grant of this call's own.
    pub async fn run(&self, call: Call) -> Outcome {
        let started = Instant::now();
        let force = call.force;
        let mut outcome = Outcome {
            result: Err(Error::Internal { message: "the call did not begin".into() }),
            account: None,
            function: catalog::function(&call.function).map(|function| function.json),
            verdict: None,
            forced: false,
            write: WriteOutcome::None,
            requests: Vec::new(),
            duration: Duration::ZERO,
        };
        let mut waited = Duration::ZERO;
        match self.decide(call) {
            Err(error) => outcome.result = Err(error),
            Ok(decided) => {
                outcome.account = Some(decided.name.to_owned());
                outcome.verdict = Some(decided.verdict.clone());
                let asked = Instant::now();
                let permit = self.permit(&decided, force).await;
                waited = asked.elapsed();
                match permit {
                    Err(error) => outcome.result = Err(error),
                    Ok((permit, forced)) => {
                        outcome.forced = forced;
                        outcome.result = self.execute(decided, permit, &mut outcome).await;
                    }
                }
            }
        }
        outcome.duration = started.elapsed().saturating_sub(waited);
        outcome
    }

    fn decide(&self, call: Call) -> Result<Decided<'_>, Error> {
        let function = catalog::function(&call.function).ok_or_else(|| unknown(&call.function))?;
        let settings = &self.0.settings;
        let (name, account) = settings.account(call.account.as_deref())?;
        let arguments = Arguments::check(function, call.arguments)?;
        let verdict = settings.policy.decide(name, function, has_destination(&arguments));
        Ok(Decided { name, account, function, arguments, verdict })
    }

    /// Leave to make the call, and whether it was forced.
    async fn permit(&self, decided: &Decided<'_>, force: bool) -> Result<(Permit, bool), Error> {
        let Decided { name, function, verdict, .. } = decided;
        let denied = |what: &str, rule: &Rule| Error::Denied {
            message: format!("{} by the account `{name}` {what}: {rule}", function.json),
            hint: change_hint(rule),
        };
        if let Some(permit) = verdict.permit(None) {
            return Ok((permit, false));
        }
        if verdict.permission == Permission::Deny {
            return Err(denied("is denied", &verdict.rule));
        }
        let approved = |forced| {
            let permit = verdict.permit(Some(Approval(())));
            permit.map(|permit| (permit, forced)).ok_or_else(|| denied("is denied", &verdict.rule))
        };
        if force {
            if let Some(rule) = &verdict.force_denied_by {
                return Err(denied("may not be forced", rule));
            }
            return approved(true);
        }
        let question = Question {
            account: (*name).to_owned(),
            function,
            arguments: secrets::masked(&decided.arguments.to_json()),
            is_destructive: is_destructive(function),
            rule: verdict.rule.clone(),
        };
        match self.0.approver.ask(&question).await {
            Answer::Approved => approved(false),
            Answer::Declined => Err(Error::Denied {
                message: format!("{} by the account `{name}` was declined", function.json),
                hint: "the person who was asked said no; do not ask again for the same".into(),
            }),
            Answer::Nobody => Err(Error::ApprovalRequired {
                message: format!(
                    "{} by the account `{name}` needs a person's approval: {}",
                    function.json, verdict.rule
                ),
                hint: format!(
                    "make the call on a terminal, where it is asked for; or {}",
                    change_hint(&verdict.rule)
                ),
            }),
        }
    }

    async fn execute(
        &self,
        decided: Decided<'_>,
        permit: Permit,
        outcome: &mut Outcome,
    ) -> Result<Value, Error> {
        let Decided { name, account, function, arguments, .. } = decided;
        let limits = &self.0.settings.limits;
        let grant = Grant::issue(permit, function, &arguments, limits.requests)?;
        let token = self.token(name, account).await?;
        let values: Option<Vec<Val>> = function
            .params
            .iter()
            .map(|param| json::to_val(&param.ty, arguments.get(param.json)))
            .collect();
        let values = values.ok_or_else(|| Error::Internal {
            message: format!("the arguments of {} have no form as component values", function.json),
        })?;
        let claims = token.claims().filter(|_| function.json == "get_current_user");
        let client = self.client()?;
        let engine = self.engine()?;
        if !engine.exports(function) {
            return Err(Error::ComponentFault {
                message: format!("the component does not export {}", function.name),
            });
        }
        let outbox = Arc::new(Outbox::new(
            client,
            account.api.clone(),
            name.to_owned(),
            token,
            limits.clone(),
            grant,
        ));
        let api = account.api.to_string();
        let run = async {
            // The slots are never closed, and a call waits for one within its own time.
            let _slot = self.0.slots.acquire().await;
            tokio::select! {
                biased;
                fault = outbox.fault() => Err(Fault { message: fault }),
                result = engine.call(function, &values, claims.as_deref(), &api, limits, Arc::clone(&outbox)) => result,
            }
        };
        let result = tokio::time::timeout(limits.timeout, run).await;
        let (requests, write, fault) = outbox.close();
        outcome.requests = requests;
        outcome.write = write;
        // A rule that was broken is told, whatever the component made of it.
        if let Some(message) = fault {
            return Err(Error::ComponentFault { message });
        }
        let error = match result {
            Err(_) => return Err(Error::TimedOut { seconds: limits.timeout.as_secs() }),
            Ok(Err(Fault { message })) => return Err(Error::ComponentFault { message }),
            Ok(Ok(Ok(value))) => return Ok(value),
            Ok(Ok(Err(error))) => error,
        };
        let error = FunctionError::from_json(&error).ok_or_else(|| Error::ComponentFault {
            message: format!("{} returned an error that the WIT does not have", function.name),
        })?;
        if error.kind == "unauthorized" {
            // It may have been replaced where it comes from.
            self.tokens().remove(name);
        }
        Err(Error::Function(error))
    }

    async fn token(&self, name: &str, account: &Account) -> Result<Token, Error> {
        if let Some(token) = self.tokens().get(name) {
            return Ok(token.clone());
        }
        let token = if account.token.is_literal() {
            account.token.fetch(name, &self.0.environment)?
        } else {
            // A file or a command may take its time.
            let (source, name) = (account.token.clone(), name.to_owned());
            let environment = self.0.environment.clone();
            let fetch = tokio::task::spawn_blocking(move || source.fetch(&name, &environment));
            fetch.await.map_err(|_| Error::Internal {
                message: "reading the access token failed".into(),
            })??
        };
        self.tokens().insert(name.to_owned(), token.clone());
        Ok(token)
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, HashMap<String, Token>> {
        self.0.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn engine(&self) -> Result<&Engine, Error> {
        let inner = &self.0;
        let make = || {
            let bytes = inner.component.as_deref().unwrap_or(BUILT_IN_COMPONENT);
            Engine::new(bytes, &inner.settings.limits, inner.cache.as_deref())
        };
        inner.engine.get_or_init(make).as_ref().map_err(Clone::clone)
    }

    fn client(&self) -> Result<reqwest::Client, Error> {
        let settings = &self.0.settings;
        let make = || {
            let own_roots = match &settings.ca_file {
                None => None,
                Some(path) => Some(std::fs::read(path).map_err(|error| Error::Configuration {
                    message: format!(
                        "ca_file {} cannot be read: {error}",
                        text::printable(&path.display().to_string(), 300)
                    ),
                })?),
            };
            crate::http::client(
                own_roots.as_deref(),
                settings.https_proxy.as_deref(),
                settings.no_proxy.as_deref(),
            )
        };
        self.0.client.get_or_init(make).clone()
    }
}

fn unknown(function: &str) -> Error {
    let names: Vec<&str> = catalog::FUNCTIONS.iter().map(|function| function.json).collect();
    Error::Usage {
        message: format!(
            "no function is called `{}`{}; there is {}",
            text::printable(function, 80),
            suggest::did_you_mean(function, &names),
            names.join(", ")
        ),
    }
}

/// Which line to change for a rule to allow.
fn change_hint(rule: &Rule) -> String {
    let line = format!("{} = \"allow\"", rule.key);
    match &rule.place {
        Some((file, number)) => {
            let file = text::printable(&file.display().to_string(), 300);
            format!("whoever owns {file} can change line {number} to {line}")
        }
        None => format!("allow it in the configuration file: {line}"),
    }
}
