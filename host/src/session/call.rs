//! What is to be called, what came of it, and what it would do.

use crate::error::Error;
use crate::session::approval::{Answer, Approver};
use crate::session::outbound::SentRequest;
use crate::session::outbound::watch::{Observer, TrafficObserver, Watch};
use crate::store::Asker;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use whereby_authority::grant::KnownRoom;
use whereby_authority::grant::WriteOutcome;
use whereby_authority::policy::{Rule, Verdict};
use whereby_authority::secrets::{masked, masked_result};
use whereby_catalog::Function;

/// What is to be called, and how.
#[derive(Clone)]
pub struct Call {
    pub(crate) account: Option<String>,
    /// Whether `default` is the very name of an account, and not the default one.
    pub(crate) is_exact: bool,
    pub(crate) function: String,
    pub(crate) arguments: Value,
    pub(crate) force: bool,
    pub(crate) asked_by: AskedBy,
    pub(crate) approver: Option<Arc<dyn Approver>>,
    pub(crate) answer: Option<GivenAnswer>,
    pub(crate) wait: Duration,
    pub(crate) watch: Watch,
}

/// Who makes a call, for approvals and the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AskedBy {
    /// `cli`, `mcp`, `lua`, or what an embedding program calls itself.
    pub(crate) front_end: String,
    /// What an MCP client calls itself.
    pub(crate) client: Option<String>,
    /// Whose share of the open approvals the call takes up.
    pub(crate) asker: Asker,
}

impl AskedBy {
    fn new(front_end: &str, client: Option<String>) -> Self {
        let asker = Asker { group: front_end.to_owned(), client: None };
        Self { front_end: front_end.to_owned(), client, asker }
    }
}

/// An answer that came with the call, to a question that was stored earlier.
#[derive(Clone, Debug)]
pub(crate) struct GivenAnswer {
    pub(crate) handle: String,
    pub(crate) answer: Answer,
}

impl Call {
    /// A call of a function, named as JSON names it, with its arguments as one JSON object.
    #[must_use]
    pub fn new(function: impl Into<String>, arguments: Value) -> Self {
        Self {
            account: None,
            is_exact: false,
            function: function.into(),
            arguments,
            force: false,
            asked_by: AskedBy::new("program", None),
            approver: None,
            answer: None,
            wait: Duration::ZERO,
            watch: Watch::default(),
        }
    }

    /// The same with other arguments.
    pub(crate) fn arguments(mut self, arguments: Value) -> Self {
        self.arguments = arguments;
        self
    }

    /// By an account; without this, or by the name `default`, by the default one.
    #[must_use]
    pub fn account(mut self, account: Option<&str>) -> Self {
        self.account = account.map(str::to_owned);
        self
    }

    /// By the account of this very name.
    pub(crate) fn exact_account(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        self.is_exact = true;
        self
    }

    /// Takes the caller's word for an approval: where a person would be asked, the call is made.
    /// It overrides no denial, and the policy can forbid it. Never give this to an agent.
    #[must_use]
    pub fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Who makes the call, as approvals and the audit log show it: the front end (`program` without
    /// this), and what the client that it serves calls itself.
    #[must_use]
    pub fn asked_by(mut self, front_end: &str, client: Option<&str>) -> Self {
        let client = client.map(|client| whereby_authority::text::printable(client, 100));
        self.asked_by = AskedBy::new(front_end, client);
        self
    }

    /// Counts the call's approval against the share of one client instead of its front end's.
    #[cfg(feature = "mcp")]
    pub(crate) fn asker(mut self, asker: Asker) -> Self {
        self.asked_by.asker = asker;
        self
    }

    /// Another way of asking a person than the session's.
    #[must_use]
    pub fn approver(mut self, approver: Arc<dyn Approver>) -> Self {
        self.approver = Some(approver);
        self
    }

    #[cfg(feature = "mcp")]
    /// The answer of an MCP client to the stored question of this handle, which must be of this very
    /// call. `permissions.elicitation` can forbid it.
    #[must_use]
    pub(crate) fn answered(mut self, handle: &str, answer: Answer) -> Self {
        self.answer = Some(GivenAnswer { handle: handle.to_owned(), answer });
        self
    }

    /// How long to wait for the approval where it is stored to be approved; by default not at all.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Is told of each request when it leaves: its method, and its path relative to the API's base.
    #[must_use]
    pub fn observer(mut self, observer: Observer) -> Self {
        self.watch.observer = Some(observer);
        self
    }

    /// Is told of each request when it leaves and when it is answered.
    pub(crate) fn traffic(mut self, traffic: TrafficObserver) -> Self {
        self.watch.traffic = Some(traffic);
        self
    }
}

impl fmt::Debug for Call {
    /// Secrets inside the arguments are masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("account", &self.account)
            .field("function", &self.function)
            .field("arguments", &masked(&self.arguments))
            .field("force", &self.force)
            .finish_non_exhaustive()
    }
}

/// What came of a call.
#[derive(Clone)]
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
    /// The id of the stored approval that it used, or that it needs.
    pub approval: Option<String>,
    /// Why the audit log does not have it, where it does not.
    pub unrecorded: Option<String>,
    /// Whether something was changed.
    pub write: WriteOutcome,
    /// The room that was created, or whose deletion was tried, as Whereby named it.
    pub(crate) room: KnownRoom,
    /// The requests that were sent.
    pub requests: Vec<SentRequest>,
    /// How long the call took, without the time that a person took to answer.
    pub duration: Duration,
}

impl fmt::Debug for Outcome {
    /// Secrets inside the result are masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let function = self.function.and_then(crate::catalog::function);
        let shown =
            |result| function.map_or_else(|| masked(result), |of| masked_result(of, result));
        f.debug_struct("Outcome")
            .field("result", &self.result.as_ref().map(shown))
            .field("account", &self.account)
            .field("function", &self.function)
            .field("verdict", &self.verdict)
            .field("forced", &self.forced)
            .field("approval", &self.approval)
            .field("unrecorded", &self.unrecorded)
            .field("write", &self.write)
            .field("room", &self.room)
            .field("requests", &self.requests)
            .field("duration", &self.duration)
            .finish()
    }
}

impl Outcome {
    /// The outcome of a call that did nothing.
    pub(crate) fn refused(call: &Call, error: Error) -> Self {
        Self {
            result: Err(error),
            account: None,
            function: whereby_catalog::function(&call.function).map(|function| function.json),
            verdict: None,
            forced: false,
            approval: None,
            unrecorded: None,
            write: WriteOutcome::None,
            room: KnownRoom::default(),
            requests: Vec::new(),
            duration: Duration::ZERO,
        }
    }
}

/// What a call would do, found out without doing it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The account.
    pub account: String,
    /// The base of the API that it would be sent to.
    pub api: String,
    /// The function.
    pub function: &'static Function,
    /// The arguments in their normal form, secrets masked.
    pub arguments: Value,
    /// What the policy says.
    pub verdict: Verdict,
    /// Whether it would be made by [`Call::force`].
    pub forced: bool,
    /// Why it would be denied, where it would be.
    pub denial: Option<Error>,
    /// The requests that its grant would permit.
    pub requests: &'static [&'static str],
}

impl Plan {
    /// The plan as a JSON document.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "api_url": self.api,
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
