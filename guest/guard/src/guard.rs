//! What the functions may send and read during a call. Pure: it gets the time, and sends nothing.

use crate::prelude::*;
use crate::settings::Settings;
use alloc::borrow::Cow;
use serde_json::Value;
use whereby_authority::answer::{self, Complaint};
use whereby_authority::arguments::{Arguments, MAX_ARGUMENTS_BYTES};
use whereby_authority::conditions::Facts;
use whereby_authority::grant::{Admitted, Grant, Settlement, WriteOutcome};
use whereby_authority::people::{MESSAGE_LEFT_OUT, View};
use whereby_authority::policy::{Effect, Participants, Permission, Subject, has_destination};
use whereby_authority::table::FunctionRule;
use whereby_authority::timestamp::Timestamp;
use whereby_authority::{Asked, Error, text};

/// The maximum size of a request's body, in bytes. Arguments are never larger.
pub(crate) const MAX_BODY: usize = 2 * MAX_ARGUMENTS_BYTES;

/// The maximum number of requests of a call.
const MAX_REQUESTS: usize = 64;

/// The maximum size of all request bodies of a call, in bytes, whether they are sent or not.
const MAX_BODIES: usize = 16 * MAX_BODY;

/// The maximum size of one response, in bytes.
const MAX_ANSWER: usize = 2 * 1024 * 1024;

/// The maximum size of all responses of a call, in bytes.
const MAX_ANSWERS: usize = 16 * 1024 * 1024;

/// The maximum length of what is passed on of the functions' message, in characters.
const MAX_MESSAGE: usize = 1000;

/// The maximum size of the body of an error that is parsed as a whole, in bytes.
const MAX_ERROR: usize = 64 * 1024;

/// The headers that the functions may set. None is passed on.
const HEADERS: [&str; 5] = ["accept", "content-type", "content-length", "host", "user-agent"];

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The rules forbid it or cannot be read, or the functions broke them.
    Denied(String),
    /// An argument is invalid.
    Invalid(String),
    /// The functions return this error.
    Unavailable(String),
    /// The functions return this error.
    Timeout(String),
    /// The functions claim what did not happen, or return this error.
    Unexpected(String),
}

/// How a call ended, according to the functions.
pub(crate) enum Ending {
    Success,
    /// An error that leaves open whether something was changed: how it is passed on, and its message.
    Open(fn(String) -> Refusal, String),
    /// Another error, which says that nothing was changed.
    Failure,
}

/// A request as the functions make it.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) method: Cow<'static, str>,
    /// `http`, `https` or another scheme.
    pub(crate) scheme: Cow<'static, str>,
    pub(crate) authority: String,
    pub(crate) path_and_query: String,
    /// The names of the headers, in lower case.
    pub(crate) headers: Vec<String>,
}

/// A response of Whereby.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    pub(crate) status: u16,
    /// The headers that matter, with their names in lower case.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The body; absent if it is encoded in a way that cannot be read.
    pub(crate) body: Option<Vec<u8>>,
}

/// A response as the functions read it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// A rule forbids it.
    Denied,
    /// The response cannot be read.
    Unreadable,
}

/// The number of a call. What belongs to another call is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallNumber(u64);

/// What the guard remembers of earlier calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Past {
    /// The number of the last call.
    number: CallNumber,
    /// Whether the functions may have read what the rules do not allow. They could return it in a later call.
    is_spoiled: bool,
}

impl Past {
    /// There was no call.
    pub(crate) const NONE: Self = Self { number: CallNumber(0), is_spoiled: false };
}

/// The settings, and the call that is under way.
pub(crate) struct Guard {
    settings: Result<Settings, String>,
    past: Past,
    call: Option<Call>,
}

struct Call {
    rule: &'static FunctionRule,
    grant: Grant,
    /// When the grant was opened.
    opened: Timestamp,
    /// The number of requests that were begun.
    begun: usize,
    /// The number of bytes of bodies that were written.
    written: usize,
    /// The number of bytes of responses that were read.
    read: usize,
    /// The first rule that was broken.
    fault: Option<String>,
}

impl Guard {
    /// Reads the environment.
    pub(crate) fn new(variables: Vec<(String, String)>, past: Past) -> Self {
        Self { settings: Settings::read(variables), past, call: None }
    }

    /// Returns what the next call needs, or `None` if a call is under way.
    pub(crate) fn past(&self) -> Option<Past> {
        self.call.is_none().then_some(self.past)
    }

    /// Returns the settings, if they are valid.
    pub(crate) fn settings(&self) -> Option<&Settings> {
        self.settings.as_ref().ok()
    }

    /// Returns the environment of the functions: never the key.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let Ok(settings) = &self.settings else { return Vec::new() };
        let mut variables = vec![("WHEREBY_API_URL".to_owned(), settings.api.url())];
        let reads_claims = self.call.as_ref().is_some_and(|call| call.rule.reads_key_claims);
        if let Some(claims) = Some(settings).filter(|_| reads_claims).and_then(Settings::claims) {
            variables.push(("WHEREBY_KEY_CLAIMS".to_owned(), claims));
        }
        variables
    }

    /// Decides on a call, and opens its grant.
    pub(crate) fn open(
        &mut self,
        function: &str,
        arguments: &str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let settings = self.settings.as_ref().map_err(|wrong| Refusal::Denied(wrong.clone()))?;
        if self.call.is_some() {
            let message = "another call is under way, or one did not end; make a new instance";
            return Err(Refusal::Denied(message.into()));
        }
        if self.past.is_spoiled {
            let message = "in an earlier call, the component may have read what it may not show; \
                           make a new instance";
            return Err(Refusal::Denied(message.into()));
        }
        let function = whereby_authority::find(function).map_err(invalid)?;
        // JSON can be six times as long as what it says.
        let given: Value = Some(arguments)
            .filter(|arguments| arguments.len() <= 8 * MAX_ARGUMENTS_BYTES)
            .and_then(|arguments| serde_json::from_str(arguments).ok())
            .ok_or_else(|| Refusal::Invalid("the arguments are too large or not JSON".into()))?;
        let arguments = Arguments::check(function, given).map_err(invalid)?;
        let rule = FunctionRule::of(function);
        let scope = rule.scope(&arguments, now).map_err(invalid)?;
        let facts = Facts::at(now, None);
        let verdict = settings.policy.decide(
            Subject::of("default", function),
            has_destination(&arguments),
            &scope,
            &facts,
        );
        // `ask` in the rules is an error, and has no permit either.
        let Some(permit) = verdict.permit(None).filter(|_| verdict.permission == Permission::Allow)
        else {
            let rule = &verdict.rule;
            let reason = match &rule.unmet {
                Some(unmet) => format!("{rule}: {}", unmet.reason),
                // The default, which is in no line.
                None if matches!(rule.place, Some((_, 0))) => {
                    let what = if rule.key.ends_with(Effect::Destination.as_str()) {
                        "recording, streaming and transcription"
                    } else {
                        "functions that write"
                    };
                    format!("no rule allows {what}")
                }
                None => rule.to_string(),
            };
            return Err(Refusal::Denied(format!("{} is denied: {reason}", function.json)));
        };
        let people = match settings.policy.own.all.participants {
            Participants::Names => View::Names,
            Participants::Pseudonyms | Participants::Hidden => View::Hidden,
        };
        let grant = Grant::issue(permit, rule, scope, facts, people, MAX_REQUESTS, now);
        self.past.number.0 += 1;
        self.call =
            Some(Call { rule, grant, opened: now, begun: 0, written: 0, read: 0, fault: None });
        Ok(())
    }

    /// Ends the call. Afterwards, nothing is sent.
    pub(crate) fn close(&mut self, ending: Ending) -> Result<(), Refusal> {
        let Some(call) = self.call.take() else {
            return Err(Refusal::Denied("no call is under way".into()));
        };
        let withheld = call.grant.withheld();
        self.past.is_spoiled |= withheld.is_some();
        let (name, outcome) = (call.rule.name, call.grant.outcome());
        // After a change, nobody must take the refusal for one of the call, and make it again.
        let refused = |reason| match outcome {
            WriteOutcome::None => Refusal::Denied(reason),
            WriteOutcome::Unknown => {
                Refusal::Unexpected(format!("{name} may have made its change, and then {reason}"))
            }
            WriteOutcome::Done => {
                Refusal::Unexpected(format!("{name} made its change, and then {reason}"))
            }
        };
        if let Some(reason) = call.fault.or(withheld) {
            return Err(refused(reason));
        }
        match (outcome, ending) {
            (WriteOutcome::Done, Ending::Success) => Ok(()),
            (WriteOutcome::None, Ending::Success) if call.rule.effect == Effect::Write => {
                Err(Refusal::Unexpected(format!(
                    "{name} reported a change that Whereby did not confirm"
                )))
            }
            (WriteOutcome::None, _) => Ok(()),
            (WriteOutcome::Unknown, Ending::Success) => {
                Err(refused("the component reported a success that Whereby did not confirm".into()))
            }
            // The component's message may be untrue.
            (WriteOutcome::Unknown, Ending::Open(refusal, message)) => Err(refusal(format!(
                "{name} may have made its change; the component says: {}",
                text::printable(&message, MAX_MESSAGE)
            ))),
            (_, Ending::Open(..) | Ending::Failure) => {
                Err(refused("the component returned an error".into()))
            }
        }
    }

    /// Returns the time to check requests against, or `None` if the permission ends, so that the current time counts.
    /// Reading the clock is a call of the runtime.
    pub(crate) fn time(&self) -> Option<Timestamp> {
        self.call.as_ref().filter(|call| !call.grant.ends()).map(|call| call.opened)
    }

    /// Counts a request of the call. Its body may still be missing.
    pub(crate) fn begin(&mut self) -> Result<CallNumber, Stopped> {
        let call = self.call.as_mut().ok_or(Stopped::Denied)?;
        call.begun += 1;
        // After a broken rule, nothing is sent.
        if call.fault.is_some() {
            return Err(Stopped::Denied);
        }
        if call.begun > MAX_REQUESTS {
            let message = format!("the component tried to send more than {MAX_REQUESTS} requests");
            return Err(call.stop(message));
        }
        Ok(self.past.number)
    }

    /// Counts bytes of a body that is `size` bytes long so far. Returns whether they may be kept.
    pub(crate) fn may_write(&mut self, size: usize, more: usize) -> bool {
        let Some(call) = self.call.as_mut() else { return false };
        call.written = call.written.saturating_add(more);
        let (what, max) = if size.saturating_add(more) > MAX_BODY {
            ("a body", MAX_BODY)
        } else if call.written > MAX_BODIES {
            ("bodies", MAX_BODIES)
        } else {
            return true;
        };
        call.stop(format!("the component tried to send {what} of more than {max} bytes"));
        false
    }

    /// Refuses a request whose body is not whole.
    pub(crate) fn cut_off(&mut self, number: CallNumber) {
        if let Ok(call) = self.call(number) {
            call.stop("the component tried to send a body that is not whole".into());
        }
    }

    /// Records that the functions broke a rule.
    pub(crate) fn refuse(&mut self, message: &str) {
        if let Some(call) = self.call.as_mut() {
            call.stop(message.to_owned());
        }
    }

    fn call(&mut self, number: CallNumber) -> Result<&mut Call, Stopped> {
        self.call.as_mut().filter(|_| number == self.past.number).ok_or(Stopped::Denied)
    }

    /// Checks a request against the call's grant.
    pub(crate) fn admit(
        &mut self,
        number: CallNumber,
        outgoing: &Outgoing,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Admitted, Stopped> {
        let settings = self.settings.as_ref().map_err(|_| Stopped::Denied)?;
        let api = &settings.api;
        let call =
            self.call.as_mut().filter(|_| number == self.past.number).ok_or(Stopped::Denied)?;
        // It may have begun before the rule was broken.
        if call.fault.is_some() {
            return Err(Stopped::Denied);
        }
        let scheme = if api.is_https { "https" } else { "http" };
        let path = outgoing.path_and_query.strip_prefix(api.path.as_str());
        let path = path.filter(|path| path.starts_with('/'));
        let (Some(path), true) =
            (path, outgoing.scheme == scheme && outgoing.authority == api.authority)
        else {
            let target = format!(
                "{}://{}{}",
                outgoing.scheme,
                outgoing.authority,
                outgoing.path_and_query.split('?').next().unwrap_or_default()
            );
            let message = format!(
                "the component tried to reach {}; it may reach only {}",
                text::printable(&target, 200),
                api.url()
            );
            return Err(call.stop(message));
        };
        if let Some(name) = outgoing.headers.iter().find(|name| !HEADERS.contains(&name.as_str())) {
            let message = format!(
                "the component tried to send the header {}, which it may not set",
                text::printable(name, 80)
            );
            return Err(call.stop(message));
        }
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let asked = Asked { method: &outgoing.method, path, query, body };
        match call.grant.admit(asked, now) {
            Ok(admitted) => Ok(admitted),
            Err(refusal) => Err(call.stop(refusal.message)),
        }
    }

    /// Counts bytes of a response that is `size` bytes long so far.
    pub(crate) fn may_read(
        &mut self,
        number: CallNumber,
        size: usize,
        more: usize,
    ) -> Result<(), Stopped> {
        let call = self.call(number)?;
        call.read = call.read.saturating_add(more);
        if call.read > MAX_ANSWERS {
            let message =
                format!("the component received more than {MAX_ANSWERS} bytes of responses");
            return Err(call.stop(message));
        }
        if size.saturating_add(more) > MAX_ANSWER { Err(Stopped::Unreadable) } else { Ok(()) }
    }

    /// Records that there was no usable response.
    pub(crate) fn failed(&mut self, number: CallNumber, admitted: &Admitted, was_sent: bool) {
        if let Ok(call) = self.call(number) {
            let settlement = if was_sent { Settlement::Lost } else { Settlement::NotSent };
            call.grant.settle(admitted, settlement);
        }
    }

    /// Returns what the functions may see of a response.
    pub(crate) fn answered(
        &mut self,
        number: CallNumber,
        admitted: &Admitted,
        incoming: Incoming,
    ) -> Result<Answer, Stopped> {
        let settings = self.settings.as_ref().map_err(|_| Stopped::Denied)?;
        let call =
            self.call.as_mut().filter(|_| number == self.past.number).ok_or(Stopped::Denied)?;
        let Incoming { status, headers, body } = incoming;
        let header = |name: &str| {
            let found = headers.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.trim())
        };
        let shown = |name: &'static str, value: u64| (name.to_owned(), value.to_string());
        let (body, headers) = if (200..300).contains(&status) {
            let number =
                |name: &'static str| Some(shown(name, header(name)?.parse::<u32>().ok()?.into()));
            let limits = ["x-ratelimit-limit", "x-ratelimit-remaining"];
            let rebuilt = body
                .and_then(|body| answer::rebuild(&body, admitted.shape, settings.redactor()).ok());
            (rebuilt, limits.into_iter().filter_map(number).collect())
        } else {
            let read = Complaint::read(body.as_deref().unwrap_or_default(), settings.redactor());
            let mut complaint = read;
            // A 404 that Whereby did not send does not mean that the room is gone.
            let is_doubtful = admitted.method == "DELETE"
                && complaint.text.is_empty()
                && status == 404
                && body.as_ref().is_none_or(|body| !is_json(body));
            if admitted.hides_people && !complaint.text.is_empty() {
                complaint.text = MESSAGE_LEFT_OUT.into();
            }
            // A date is not read: the functions then wait as long as without the header.
            let seconds = header("retry-after").and_then(answer::whole_seconds);
            let wait = seconds.map(|seconds| shown("retry-after", seconds));
            ((!is_doubtful).then(|| complaint.to_body()), wait.into_iter().collect())
        };
        let Some(body) = body else {
            call.grant.settle(admitted, Settlement::Unreadable);
            return Err(Stopped::Unreadable);
        };
        call.grant.settle(admitted, Settlement::Status(status, &body));
        let body = call.grant.filtered(admitted, body);
        Ok(Answer { status, headers, body })
    }
}

impl Call {
    /// Records a broken rule. Only the first is reported.
    fn stop(&mut self, message: String) -> Stopped {
        self.fault.get_or_insert(message);
        Stopped::Denied
    }
}

fn invalid(error: Error) -> Refusal {
    Refusal::Invalid(error.to_string())
}

/// Whether a body is empty or JSON, and not the page of a proxy. What is longer than any error of Whereby is not
/// parsed, because its value could take all memory.
fn is_json(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    body.is_empty()
        || body.len() <= MAX_ERROR
            && core::str::from_utf8(body)
                .is_ok_and(|body| serde_json::from_str::<Value>(body).is_ok())
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
