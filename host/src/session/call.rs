//! Calls, their outcomes, and plans.

use crate::error::Error;
use crate::session::approval::{Answer, Approver};
use crate::session::outbound::SentRequest;
use crate::session::outbound::watch::{Observer, TrafficObserver, Watch};
use crate::store::Asker;
use crate::token::Verified;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use whereby_authority::grant::KnownRoom;
use whereby_authority::grant::WriteOutcome;
use whereby_authority::policy::{Rule, Verdict};
use whereby_authority::secrets::{masked, masked_result};
use whereby_catalog::Function;

/// A call of a function.
#[derive(Clone)]
pub struct Call {
    pub(crate) account: Option<String>,
    /// Whether `default` is an account's name, and does not mean the default account.
    pub(crate) is_exact: bool,
    /// The agent that makes the call.
    pub(crate) agent: Option<String>,
    /// The capability token that it is made with.
    pub(crate) token: Option<Arc<Verified>>,
    pub(crate) function: String,
    pub(crate) arguments: Value,
    pub(crate) force: bool,
    pub(crate) asked_by: AskedBy,
    /// The span that the caller traces, as in the header `traceparent` of W3C Trace Context.
    pub(crate) trace: Option<String>,
    pub(crate) approver: Option<Arc<dyn Approver>>,
    pub(crate) answer: Option<GivenAnswer>,
    /// Whether the call may be made by itself once a person has approved it.
    pub(crate) is_resumable: bool,
    /// The approval whose call this is, which a person has given.
    pub(crate) resumes: Option<String>,
    pub(crate) wait: Duration,
    pub(crate) watch: Watch,
}

/// The caller, for approvals and the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AskedBy {
    /// `cli`, `mcp`, `lua`, or the name of an embedding program.
    pub(crate) front_end: String,
    /// The name that an MCP client gives itself.
    pub(crate) client: Option<String>,
    /// Whose share of the open approvals the call counts against.
    pub(crate) asker: Asker,
}

impl AskedBy {
    fn new(front_end: &str, client: Option<String>) -> Self {
        let asker = Asker { group: front_end.to_owned(), client: None };
        Self { front_end: front_end.to_owned(), client, asker }
    }
}

/// An answer that came with the call, to a stored question.
#[derive(Clone, Debug)]
pub(crate) struct GivenAnswer {
    pub(crate) handle: String,
    pub(crate) answer: Answer,
}

impl Call {
    /// Makes a call of a function, by its name in JSON, with its arguments as a JSON object.
    #[must_use]
    pub fn new(function: impl Into<String>, arguments: Value) -> Self {
        Self {
            account: None,
            is_exact: false,
            agent: None,
            token: None,
            function: function.into(),
            arguments,
            force: false,
            asked_by: AskedBy::new("program", None),
            trace: None,
            approver: None,
            answer: None,
            is_resumable: false,
            resumes: None,
            wait: Duration::ZERO,
            watch: Watch::default(),
        }
    }

    /// Replaces the arguments.
    pub(crate) fn arguments(mut self, arguments: Value) -> Self {
        self.arguments = arguments;
        self
    }

    /// Sets the account. Default: the default account, which the name `default` means too.
    #[must_use]
    pub fn account(mut self, account: Option<&str>) -> Self {
        self.account = account.map(str::to_owned);
        self
    }

    /// Sets the account by its exact name.
    pub(crate) fn exact_account(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        self.is_exact = true;
        self
    }

    /// Sets the agent that makes the call, whose rules in the configuration apply as well. Default: none.
    #[must_use]
    pub fn agent(mut self, agent: Option<&str>) -> Self {
        self.agent = agent.map(str::to_owned);
        self
    }

    /// Sets the capability token, each of whose blocks limits the call. Default: none.
    pub(crate) fn token(mut self, token: Option<&Arc<Verified>>) -> Self {
        self.token = token.cloned();
        self
    }

    /// Returns the call as that of its token's agent, unless it is another's.
    pub(crate) fn of_its_agent(mut self) -> Self {
        if self.agent.is_none() {
            let agent = self.token.as_ref().and_then(|token| token.agent());
            self.agent = agent.map(str::to_owned);
        }
        self
    }

    /// Makes the call without approval if a person would be asked. It overrides no denial, and the
    /// policy can forbid it. Never let an agent set this.
    #[must_use]
    pub fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Sets the caller, as approvals and the audit log show it: the front end (default: `program`), and
    /// the name that its client gives itself.
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

    /// Sets the span that the caller traces: the header `traceparent` of W3C Trace Context, for the audit
    /// log. Ignores what is malformed, as that standard says. Default: none.
    #[must_use]
    pub fn traceparent(mut self, traceparent: Option<&str>) -> Self {
        self.trace = traceparent.filter(|text| is_traceparent(text)).map(str::to_owned);
        self
    }

    /// Replaces the session's approver for this call.
    #[must_use]
    pub fn approver(mut self, approver: Arc<dyn Approver>) -> Self {
        self.approver = Some(approver);
        self
    }

    #[cfg(feature = "mcp")]
    /// Sets an MCP client's answer to the stored question with this handle, which must be about the same
    /// call. `permissions.elicitation` can forbid it.
    #[must_use]
    pub(crate) fn answered(mut self, handle: &str, answer: Answer) -> Self {
        self.answer = Some(GivenAnswer { handle: handle.to_owned(), answer });
        self
    }

    /// Makes the call that an approval is for, which a person has given.
    pub(crate) fn resumes(mut self, id: &str) -> Self {
        self.resumes = Some(id.to_owned());
        self
    }

    /// Has the call made by itself once a person has approved it, if it is stored for approval.
    #[cfg(feature = "mcp")]
    pub(crate) fn resumable(mut self) -> Self {
        self.is_resumable = true;
        self
    }

    /// Sets how long to wait for the approval if the call is stored for approval. Default: zero.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sets an observer of each request that leaves.
    #[must_use]
    pub fn observer(mut self, observer: Observer) -> Self {
        self.watch.observer = Some(observer);
        self
    }

    /// Sets an observer of each request that leaves, and of its response.
    pub(crate) fn traffic(mut self, traffic: TrafficObserver) -> Self {
        self.watch.traffic = Some(traffic);
        self
    }
}

impl fmt::Debug for Call {
    /// Masks secrets in the arguments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("account", &self.account)
            .field("function", &self.function)
            .field("arguments", &masked(&self.arguments))
            .field("force", &self.force)
            .finish_non_exhaustive()
    }
}

/// The outcome of a call.
#[derive(Clone)]
#[non_exhaustive]
pub struct Outcome {
    /// The function's result, or why there is none.
    pub result: Result<Value, Error>,
    /// The account, if it was found.
    pub account: Option<String>,
    /// The function's name in JSON, if the function is known.
    pub function: Option<&'static str>,
    /// The policy's decision, if there was one.
    pub verdict: Option<Verdict>,
    /// Whether [`Call::force`] replaced an approval.
    pub forced: bool,
    /// The id of the stored approval that the call used or needs.
    pub approval: Option<String>,
    /// Why the call is not in the audit log, if it is not.
    pub unrecorded: Option<String>,
    /// Whether the call changed something.
    pub write: WriteOutcome,
    /// The room that the call created or tried to delete, as Whereby named it.
    pub(crate) room: KnownRoom,
    /// The requests that were sent.
    pub requests: Vec<SentRequest>,
    /// How long the call took, without the wait for a person.
    pub duration: Duration,
    /// Whether the result is that of a call that was made by itself after its approval.
    pub(crate) is_earlier: bool,
}

impl fmt::Debug for Outcome {
    /// Masks secrets in the result.
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
    /// Returns the outcome of a call that was refused.
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
            is_earlier: false,
        }
    }
}

/// Whether a text is a `traceparent` of version 00: `00-TRACE-SPAN-FLAGS`, in lower-case hexadecimal, where
/// neither the trace nor the span is zero.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags] = parts.as_slice() else { return false };
    let is_hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    *version == "00"
        && is_hex(trace, 32)
        && is_hex(span, 16)
        && is_hex(flags, 2)
        && !is_zero(trace)
        && !is_zero(span)
}

/// What a call would do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The account.
    pub account: String,
    /// The base URL of the API.
    pub api: String,
    /// The function.
    pub function: &'static Function,
    /// The normalized arguments, with secrets masked.
    pub arguments: Value,
    /// The policy's decision.
    pub verdict: Verdict,
    /// Whether [`Call::force`] would replace an approval.
    pub forced: bool,
    /// Why the call would be denied, if it would be.
    pub denial: Option<Error>,
    /// The requests that the grant would allow.
    pub requests: &'static [&'static str],
}

impl Plan {
    /// Returns the plan as JSON.
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

pub(crate) fn rule_json(rule: &Rule) -> Value {
    let place = rule.place.as_ref();
    json!({
        "key": rule.key,
        "permission": rule.permission.as_str(),
        "default": rule.is_default,
        "file": place.map(|(file, _)| file.display().to_string()),
        "line": place.map(|(_, line)| line),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_traceparent_is_ignored() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        for (text, is_good) in [
            (format!("00-{trace}-b7ad6b7169203331-01"), true),
            (format!("00-{trace}-b7ad6b7169203331-00"), true),
            (format!("ff-{trace}-b7ad6b7169203331-01"), false),
            (format!("00-{trace}-b7ad6b7169203331-01-x"), false),
            (format!("00-{trace}-0000000000000000-01"), false),
            (format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)), false),
            (format!("00-{}-b7ad6b7169203331-01", trace.to_uppercase()), false),
            (format!("00-{trace}-b7ad6b716920333-01"), false),
            ("\u{1b}[2J".into(), false),
            (String::new(), false),
        ] {
            let call = Call::new("list_rooms", json!({})).traceparent(Some(&text));
            assert_eq!(call.trace.is_some(), is_good, "{text}");
        }
    }
}
