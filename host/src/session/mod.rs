//! The only way in: every front end calls functions through a [`Session`].
//!
//! This module decides whether a function runs, and `outbound` checks every request. Both `outbound` and
//! `sandbox` are private to this module, so no front end reaches the network or the engine.

pub(crate) mod approval;
mod audit_record;
mod authorization;
mod builder;
pub(crate) mod call;
mod decision;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod maintenance;
pub(crate) mod notify;
mod outbound;
mod record;
mod replay;
pub(crate) mod resources;
#[cfg_attr(
    not(feature = "mcp"),
    expect(dead_code, reason = "calls of MCP clients are made by themselves")
)]
pub(crate) mod resume;
mod sandbox;
mod token;

pub use builder::SessionBuilder;
pub(crate) use outbound::Traffic;
pub use outbound::{Observer, SentRequest};
pub(crate) use sandbox::built_in;
pub(crate) use sandbox::cache::trouble as cache_trouble;
pub use sandbox::guarded::Guarded;
pub(crate) use sandbox::guarding;
pub(crate) use sandbox::inspect;
pub use sandbox::inspect::Inspection;
pub(crate) use sandbox::packaged;

use crate::config::Settings;
use crate::config::limits::Limits;
use crate::config::origin::Setting;
use crate::error::{Error, FunctionError};
use crate::session::approval::Approver;
use crate::session::call::{Call, Outcome, Plan};
use crate::session::outbound::watch::Watch;
use crate::session::outbound::{Closed, Outbox, Route};
#[cfg(feature = "lua")]
use crate::session::resources::Connections;
use crate::session::resources::Resources;
use crate::session::sandbox::convert;
use crate::session::sandbox::engine::{Engine, Fault, Invocation};
use crate::session::sandbox::packaged::Packaged;
use crate::store::{BeginError, Store};
use crate::system::clock::Clock;
use audit_record::AuditRecord;
use authorization::{Authorization, Cleared, blocking};
use builder::check_rules;
use decision::{Decided, Prepared};
use maintenance::Maintenance;
use notify::{Notice, Notifier};
use record::Record;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OnceCell, Semaphore};
use wasmtime::component::Val;
use whereby_authority::grant::{Grant, WriteOutcome};
use whereby_authority::people::{Pseudonyms, View};
use whereby_authority::policy::{Approval, Effect, Participants, Permission, Permit};
use whereby_authority::secrets;
use whereby_authority::table::FunctionRule;
use whereby_catalog::Function;

/// Accounts, rules and a component: everything that a call needs. Cheap to clone.
///
/// Make one and keep it. Each has its own engine, which reserves address space for its concurrent calls
/// (4 GiB each, if the system allows it), but no memory. Its connections belong to the runtime on which it
/// first sends a request, so use it on that runtime only.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    resources: Arc<Resources>,
    approver: Arc<dyn Approver>,
    slots: Arc<Semaphore>,
    /// The store, if one is wanted, or why it cannot be used.
    store: Result<Option<Arc<Store>>, Error>,
    /// The key of people's pseudonyms, once a call needed it.
    people_key: Arc<OnceCell<[u8; 32]>>,
    notifier: Notifier,
    /// Tells the person who runs the program what went wrong outside of calls.
    notice: Arc<Notice>,
    maintenance: Arc<Maintenance>,
}

impl Session {
    /// Returns a builder of a session without accounts, rules or an approver.
    #[must_use]
    pub fn builder() -> SessionBuilder {
        SessionBuilder::new()
    }

    /// Returns the session with other settings, for example after the file changed. The compiled component,
    /// the connections and the store are shared unless the settings change them.
    ///
    /// # Errors
    ///
    /// As for [`SessionBuilder::build`].
    pub fn with_settings(&self, settings: Settings) -> Result<Self, Error> {
        check_rules(&settings)?;
        let own = &*self.0;
        let before = own.resources.settings.limits.concurrent_calls;
        let slots = if settings.limits.concurrent_calls == before {
            Arc::clone(&own.slots)
        } else {
            Arc::new(Semaphore::new(settings.limits.concurrent_calls as usize))
        };
        let resources = own.resources.with_settings(settings)?;
        Ok(Self(Arc::new(Inner { resources, slots, ..own.clone() })))
    }

    /// Returns the session with other connections, for calls on another runtime.
    #[cfg(feature = "lua")]
    pub(crate) fn over(&self, connections: &Connections) -> Self {
        let resources = self.0.resources.over(connections);
        Self(Arc::new(Inner { resources, ..(*self.0).clone() }))
    }

    /// Returns the connections.
    #[cfg(feature = "lua")]
    pub(crate) fn connections(&self) -> Connections {
        self.0.resources.connections().clone()
    }

    /// Returns the settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.resources.settings
    }

    /// Returns the functions that the component exports.
    #[cfg(any(feature = "lua", feature = "mcp"))]
    pub(crate) fn functions(&self) -> Vec<&'static Function> {
        self.0.resources.functions()
    }

    /// Compiles the component, and returns its SHA-256 in lower-case hexadecimal and its size in bytes.
    ///
    /// # Errors
    ///
    /// [`Error::ComponentFault`] if the component cannot be compiled or linked.
    pub async fn component(&self) -> Result<(String, usize), Error> {
        let resources = &self.0.resources;
        resources.engine().await?;
        Ok((resources.component_digest().to_owned(), resources.component().len()))
    }

    /// Returns whether the component's code came with a package of the program. Compiles the component.
    pub(crate) async fn packaged(&self) -> Result<Packaged, Error> {
        Ok(self.0.resources.engine().await?.packaged().clone())
    }

    /// Whether calls that need approval are stored for a person.
    #[cfg(feature = "mcp")]
    pub(crate) fn stores_approvals(&self) -> bool {
        matches!(self.0.store, Ok(Some(_)))
    }

    /// Calls a function with an account, or with the default account.
    pub async fn call(&self, account: Option<&str>, function: &str, arguments: Value) -> Outcome {
        self.run(Call::new(function, arguments).account(account)).await
    }

    /// Returns what a call would do. Nobody is asked, and nothing is stored or sent.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`], [`Error::InvalidArgument`] or [`Error::Configuration`], as for the call.
    pub fn plan(&self, call: Call) -> Result<Plan, Error> {
        let force = call.force;
        let call = call.of_its_agent();
        let decided = self.decide_now(&call)?;
        let denial = decided.denial(force);
        Ok(Plan {
            account: decided.call.name.to_owned(),
            api: decided.call.account.api.to_string(),
            function: decided.call.function,
            arguments: decided.shown().clone(),
            forced: force && denial.is_none() && decided.verdict.permission == Permission::Ask,
            denial,
            requests: decided.call.rule.requests,
            verdict: decided.verdict,
        })
    }

    /// Makes a call: finds the function and the account, checks the arguments, decides, and runs a fresh
    /// instance under a grant for this call. The audit log records the call before its first request
    /// leaves, and its outcome.
    pub async fn run(&self, call: Call) -> Outcome {
        self.run_until(call, std::future::pending()).await
    }

    /// Like [`Self::run`], but stops the call when `until` completes. The call then fails with
    /// [`Error::Interrupted`], and the outcome says what it did.
    pub(crate) async fn run_until(&self, call: Call, until: impl Future<Output = ()>) -> Outcome {
        let started = Instant::now();
        let call = call.of_its_agent();
        let resumes = call.resumes.is_some();
        let mut row = AuditRecord::new(&self.0.store, self.0.resources.clock(), &call);
        let unbegun = Error::Internal { message: "the call did not begin".into() };
        let mut outcome = Outcome::refused(&call, unbegun);
        let mut waited = Duration::ZERO;
        let result = tokio::select! {
            biased;
            result = self.steps(&call, &mut row, &mut outcome, &mut waited) => Some(result),
            () = until => None,
        };
        let result = result.unwrap_or_else(|| {
            if let Some(closed) = row.close() {
                (outcome.requests, outcome.write) = (closed.requests, closed.write);
                outcome.room = closed.room;
            }
            Err(Error::Interrupted)
        });
        let function = outcome.function.and_then(whereby_catalog::function);
        let is_deletion = function.is_some_and(|f| FunctionRule::of(f).is_destructive);
        let (write, room) = (outcome.write, &outcome.room);
        let is_earlier = outcome.is_earlier;
        outcome.result = result.map_err(|error| match is_earlier {
            true => error,
            false => record::after_write(error, write, is_deletion, room),
        });
        if let Err(Error::ApprovalRequired { pending: Some(pending), .. }) = &outcome.result {
            outcome.approval = Some(pending.id.clone());
        }
        if let Err(error) = &outcome.result
            && resumes
            && !resume::ends_approval(error)
        {
            row.discard_unbegun();
        }
        outcome.duration = started.elapsed().saturating_sub(waited);
        outcome.unrecorded = row.end(&outcome).await;
        self.maintain_log();
        outcome
    }

    /// Records a call that a front end refused, and returns its outcome.
    pub(crate) async fn refuse(&self, call: Call, error: Error) -> Outcome {
        let call = call.of_its_agent();
        let mut row = AuditRecord::new(&self.0.store, self.0.resources.clock(), &call);
        row.refused(&call);
        let mut outcome = Outcome::refused(&call, error);
        outcome.unrecorded = row.end(&outcome).await;
        self.maintain_log();
        outcome
    }

    async fn steps(
        &self,
        call: &Call,
        row: &mut AuditRecord,
        outcome: &mut Outcome,
        waited: &mut Duration,
    ) -> Result<Value, Error> {
        let limits = &self.0.resources.settings.limits;
        let mut attempts = 0..MAX_DECISIONS;
        let (decided, authorization, ready) = loop {
            let mut decided = match self.decide(call).await {
                Ok(decided) => decided,
                Err(error) => {
                    row.refused(call);
                    return Err(error);
                }
            };
            outcome.account = Some(decided.call.name.to_owned());
            outcome.verdict = Some(decided.verdict.clone());
            row.decided(&decided);
            let asked = Instant::now();
            let cleared = self.clear(&decided, call).await;
            *waited += asked.elapsed();
            let authorization = match cleared? {
                Cleared::Authorized(authorization) => authorization,
                Cleared::Earlier(earlier) => return earlier.told_by(outcome),
            };
            // A person may have taken long, or have decided earlier.
            if !matches!(authorization, Authorization::Rule | Authorization::Force) {
                self.decide_again(&mut decided).await?;
            }
            if let Authorization::Standing { relies_on, .. } = &authorization {
                decided.verdict.relies_on.extend(relies_on.iter().cloned());
            }
            outcome.forced = matches!(authorization, Authorization::Force);
            let ready = self.ready(&decided).await?;
            match row.begin(&decided, &authorization, call, limits.timeout).await {
                Ok(()) => {
                    outcome.approval = row.approval().map(str::to_owned);
                    break (decided, authorization, ready);
                }
                Err(BeginError::Store(error)) => return Err(error),
                // The standing approval was used up or revoked meanwhile. Another one may be in force.
                Err(BeginError::NotApproved)
                    if matches!(authorization, Authorization::Standing { .. })
                        && attempts.next().is_some() => {}
                // Another call used the approval first, or the answer was to another question.
                Err(BeginError::NotApproved) => {
                    // Of an approval that a program was faster with, it is the other call that is made.
                    if call.resumes.is_none()
                        && let Some(earlier) = self.made_meanwhile(&decided, &authorization).await?
                    {
                        return earlier.told_by(outcome);
                    }
                    return Err(self.not_approved(&decided, call, &authorization).await);
                }
                Err(BeginError::Spent(spent)) => return Err(token::refused(&spent)),
                // Others were faster. What the rules say now is decided anew.
                Err(BeginError::OverQuota) if attempts.next().is_some() => {}
                Err(BeginError::OverQuota) => {
                    return Err(decided.denied("is denied", &decided.verdict.rule));
                }
            }
        };
        let approval = match authorization {
            Authorization::Rule => None,
            _ => Some(Approval::given()),
        };
        let permit = decided.verdict.permit(approval);
        let permit = permit.ok_or_else(|| decided.denied("is denied", &decided.verdict.rule))?;
        self.execute(decided, permit, ready, call.watch.clone(), outcome, row).await
    }

    /// Returns the engine, the deadline, and how the call sees people. If this fails, nothing ran, so the
    /// approval is kept.
    async fn ready(&self, decided: &Decided<'_>) -> Result<Ready, Error> {
        let function = decided.call.function;
        let resources = &self.0.resources;
        let limits = &resources.settings.limits;
        let deadline = tokio::time::Instant::now() + limits.timeout;
        let engine = tokio::time::timeout_at(deadline, resources.engine()).await;
        let engine = engine.map_err(|_| out_of_time(limits))??;
        if !engine.has(function) {
            return Err(Error::ComponentFault {
                message: format!("the component does not export {}", function.name),
            });
        }
        let people = self.people(decided).await?;
        Ok(Ready { engine, deadline, people })
    }

    /// Returns how the call sees the people in meetings.
    async fn people(&self, decided: &Decided<'_>) -> Result<View, Error> {
        match decided.participants() {
            Participants::Names => return Ok(View::Names),
            Participants::Pseudonyms if decided.call.scope.lists_people() => {}
            _ => return Ok(View::Hidden),
        }
        let without = |why: &str| Error::Configuration {
            message: format!(
                "{} by the account `{}` shows people under pseudonyms, whose key is in the state \
                 directory, and {why}; participants = \"hidden\" needs no key",
                decided.call.function.json, decided.call.name
            ),
        };
        let store = match &self.0.store {
            Ok(Some(store)) => store,
            Ok(None) => return Err(without("there is none")),
            Err(error) => return Err(without(&error.to_string())),
        };
        let fetch = || blocking(store, Store::people_key);
        let key = self.0.people_key.get_or_try_init(fetch).await;
        let key = key.map_err(|error| without(&error.to_string()))?;
        Ok(View::Pseudonyms(Box::new(Pseudonyms::new(key, decided.call.name))))
    }

    async fn execute(
        &self,
        decided: Box<Decided<'_>>,
        permit: Permit,
        ready: Ready,
        watch: Watch,
        outcome: &mut Outcome,
        row: &mut AuditRecord,
    ) -> Result<Value, Error> {
        let Decided { call, facts, gate, .. } = *decided;
        let Prepared { name, account, function, rule, arguments, scope, .. } = call;
        let Ready { engine, deadline, people } = ready;
        let limits = &self.0.resources.settings.limits;
        // After the wait for a person, because a default end counts from now.
        let resources = &self.0.resources;
        let begun = resources.clock().timestamp();
        let grant = Grant::issue(permit, rule, scope, facts, people, limits.requests, begun);
        let out_of_time = || out_of_time(limits);
        let token = tokio::time::timeout_at(deadline, resources.token(name, account)).await;
        let token = token.map_err(|_| out_of_time())??;
        let values: Option<Vec<Val>> = function
            .params
            .iter()
            .map(|param| convert::to_val(&param.ty, arguments.get(param.json)))
            .collect();
        let values = values.ok_or_else(|| Error::Internal {
            message: format!(
                "the arguments of {} cannot be converted to component values",
                function.json
            ),
        })?;
        let claims = rule.reads_key_claims.then(|| token.claims()).flatten();
        let route = Route {
            transport: resources.transport(&account.api)?,
            api: account.api.clone(),
            account: name.to_owned(),
            token: token.clone(),
            limits: limits.clone(),
            clock: resources.clock().clone(),
            gate,
            watch,
        };
        let outbox = Arc::new(Outbox::new(route, grant));
        row.watch(&outbox, token.fingerprint());
        let api = account.api.to_string();
        let begun_at = Instant::now();
        let run = async {
            // The semaphore is never closed. The wait counts against the call's time limit.
            let _slot = self.0.slots.acquire().await;
            let call = Invocation {
                function,
                arguments: &values,
                claims: claims.as_deref(),
                api: &api,
                limits,
                clock: resources.clock(),
                outbox: Arc::clone(&outbox),
            };
            let result = tokio::select! {
                biased;
                message = outbox.fault() => Err(Fault { message, is_host: false }),
                result = engine.call(call) => result,
            };
            result.map_err(|Fault { message, is_host }| {
                if is_host {
                    Error::Internal { message }
                } else {
                    Error::ComponentFault { message }
                }
            })
        };
        let result = tokio::time::timeout_at(deadline, run).await;
        let Closed { requests, write, room, fault, denial, withheld, said, has_listed } =
            outbox.close();
        outcome.requests = requests;
        outcome.write = write;
        outcome.room = room;
        // A broken rule is reported, whatever the component returned.
        if let Some(message) = fault {
            return Err(Error::ComponentFault { message });
        }
        if let Some(denial) = denial {
            return Err(denial);
        }
        let error = match result {
            Err(_) => return Err(out_of_time()),
            Ok(result) => match result? {
                Ok(value) => {
                    check_claim(rule, function, write)?;
                    return match withheld {
                        Some(message) => Err(Error::ComponentFault { message }),
                        None => Ok(value),
                    };
                }
                Err(error) => error,
            },
        };
        let mut claim = FunctionError::from_json(&error).ok_or_else(|| Error::ComponentFault {
            message: format!("{} returned an error that is not in the WIT", function.name),
        })?;
        // The component may have read what the caller may not know.
        if let Some(message) = withheld {
            claim.message = message;
        }
        // Whereby may quote the request.
        let secrets = secrets::secrets_of(function, &arguments.to_json());
        claim.message = secrets::without(&secrets, &claim.message);
        let elapsed = begun_at.elapsed();
        let said = &secrets::without(&secrets, &said);
        let record = Record {
            requests: &outcome.requests,
            write,
            said,
            elapsed,
            is_own: resources.is_built_in(),
            has_listed,
        };
        let mut error = match record.judge(claim) {
            Error::Function(error) => error,
            error => return Err(error),
        };
        let last = outcome.requests.last().and_then(|request| request.status);
        if error.kind == "not-found" && last == Some(404) && !account.api.is_whereby() {
            error.hint = Some(format!(
                "if every call fails like this, check {}: its path is usually /v1",
                account.api.set_with()
            ));
        }
        // By the recorded status: a component's claim could have the token fetched over and over.
        if outcome.requests.iter().any(|request| request.status == Some(401)) {
            resources.forget_token(name);
            if error.kind == "unauthorized"
                && let Some(date) = token.expired(self.0.resources.clock().timestamp())
            {
                error.message = format!(
                    "the access token of the account `{name}` expired on {}: {}",
                    date.to_rfc3339(),
                    error.message
                );
                error.hint = Some(EXPIRED_HINT.into());
            }
        }
        if let Some(Setting { name, place: Some(place) }) = account.api.setting()
            && error.hint.as_ref().is_some_and(|hint| hint.contains(name))
        {
            error.place = Some(format!("{name} is in {place}"));
        }
        Err(Error::Function(error))
    }
}

/// Records a refused call without a session. Returns why the call is not in the audit log, if it is not.
pub(crate) async fn record_refusal(
    store: Result<Option<Arc<Store>>, Error>,
    clock: &Clock,
    call: Call,
    error: Error,
) -> Option<String> {
    let mut row = AuditRecord::new(&store, clock, &call);
    row.refused(&call);
    row.end(&Outcome::refused(&call, error)).await
}

/// How often a call is decided anew because others reached a quota first.
const MAX_DECISIONS: usize = 3;

/// A component that can be called, the call's deadline, and how it sees people.
struct Ready {
    engine: Arc<Engine>,
    deadline: tokio::time::Instant,
    people: View,
}

fn out_of_time(limits: &Limits) -> Error {
    Error::TimedOut { seconds: limits.timeout.as_secs() }
}

/// The hint for an expired key.
const EXPIRED_HINT: &str = "make a new key in Whereby's dashboard under Configure, API, and put it where \
                            the account's access_token is read from";

/// Refuses a component's claim of a write that Whereby did not confirm.
fn check_claim(rule: &FunctionRule, function: &Function, write: WriteOutcome) -> Result<(), Error> {
    if rule.effect != Effect::Write || write == WriteOutcome::Done {
        return Ok(());
    }
    let truth = match write {
        WriteOutcome::None => "and has sent no POST or DELETE that did",
        _ => "and it is not known whether its POST or DELETE did",
    };
    Err(Error::ComponentFault {
        message: format!("the component says that {} succeeded, {truth}", function.json),
    })
}
