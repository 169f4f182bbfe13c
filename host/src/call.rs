//! What is to be called, what came of it, and what it would do.

use crate::approval::{Answer, Approver};
use crate::catalog::Function;
use crate::error::{Error, WriteOutcome};
use crate::grant::KnownRoom;
use crate::http::SentRequest;
use crate::policy::{Rule, Verdict};
use crate::secrets::{masked, masked_result};
use crate::store::Asker;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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

/// Is told of each request when it leaves and when it is answered.
pub(crate) type TrafficObserver = Arc<dyn Fn(&Traffic<'_>) + Send + Sync>;

/// The observers of a call's requests.
#[derive(Clone, Default)]
pub(crate) struct Watch {
    pub(crate) observer: Option<Observer>,
    traffic: Option<TrafficObserver>,
}

/// An event of a call's request. The target is the path, relative to the API's base, and the query,
/// decoded and with cursors shortened for people.
#[derive(Debug)]
pub(crate) enum Traffic<'a> {
    /// It leaves.
    Sent { method: &'a str, target: &'a str },
    /// It was answered, or the connection failed.
    Answered { method: &'a str, target: &'a str, status: Option<u16>, duration: Duration },
}

impl Watch {
    /// A request leaves.
    pub(crate) fn sent(&self, method: &str, path_and_query: &str) {
        if let Some(observer) = &self.observer {
            observer(method, path_and_query.split('?').next().unwrap_or_default());
        }
        if let Some(traffic) = &self.traffic {
            traffic(&Traffic::Sent { method, target: &shown_target(path_and_query) });
        }
    }

    /// A request was answered, or failed.
    pub(crate) fn answered(
        &self,
        method: &str,
        path_and_query: &str,
        status: Option<u16>,
        duration: Duration,
    ) {
        if let Some(traffic) = &self.traffic {
            let target = &shown_target(path_and_query);
            traffic(&Traffic::Answered { method, target, status, duration });
        }
    }
}

/// How much of a cursor is shown, in characters.
const CURSOR_SHOWN: usize = 8;

/// Formats a path and query for people.
fn shown_target(path_and_query: &str) -> String {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let mut shown = decode(path);
    for (index, member) in query.split('&').filter(|member| !member.is_empty()).enumerate() {
        let (name, value) = member.split_once('=').unwrap_or((member, ""));
        let mut value = decode(value);
        if let Some((end, _)) = value.char_indices().nth(CURSOR_SHOWN)
            && name == "cursor"
        {
            value.truncate(end);
            value.push('…');
        }
        shown += if index == 0 { "?" } else { "&" };
        shown += &format!("{name}={value}");
    }
    shown
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

/// Is told of each request when it leaves: its method, and its path relative to the API's base.
pub type Observer = Arc<dyn Fn(&str, &str) + Send + Sync>;

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
        let client = client.map(|client| crate::text::printable(client, 100));
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
            function: crate::catalog::function(&call.function).map(|function| function.json),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_shown_decoded_and_without_its_whole_cursor() {
        for (target, shown) in [
            ("/meetings", "/meetings"),
            ("/meetings?limit=3", "/meetings?limit=3"),
            ("/insights/x?roomName=%2Fdaily&limit=2", "/insights/x?roomName=/daily&limit=2"),
            ("/meetings?cursor=abcdefghij&limit=1", "/meetings?cursor=abcdefgh…&limit=1"),
            ("/meetings?cursor=%C3%A9bcdefgh", "/meetings?cursor=ébcdefgh"),
        ] {
            assert_eq!(shown_target(target), shown);
        }
    }
}
