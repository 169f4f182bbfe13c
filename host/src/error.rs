//! The errors of a call, and their hints.

use serde_json::{Value, json};
use whereby_authority::grant::WriteOutcome;
use whereby_authority::policy::Rule;
use whereby_authority::text;
use whereby_catalog::failure;

/// The maximum length of a component's message, in characters.
const MAX_MESSAGE: usize = 1000;

/// The kinds of errors, and of calls that their caller cancelled.
pub(crate) const KINDS: [&str; 16] = [
    "usage",
    "invalid-argument",
    "configuration",
    "unauthorized",
    "denied",
    "approval-required",
    "access-denied",
    "not-found",
    "rejected",
    "rate-limited",
    "timeout",
    "unavailable",
    "unexpected-response",
    "component-fault",
    "internal",
    "cancelled",
];

/// Why a call failed or could not be made.
///
/// The messages are for the program's user. [`Error::for_agent`] returns the error for an agent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The call names an unknown function, account or flag.
    #[error("{message}")]
    Usage {
        /// What is wrong, and what is expected.
        message: String,
    },
    /// An argument is invalid.
    #[error("{message}")]
    InvalidArgument {
        /// Which argument, and what is expected.
        message: String,
    },
    /// The configuration, or a credential in it, cannot be used.
    #[error("{message}")]
    Configuration {
        /// What is wrong, where, and what is expected.
        message: String,
    },
    /// The policy, or the person who was asked, does not allow the call.
    #[error("{message}{}", because(.rule))]
    Denied {
        /// Which call is denied.
        message: String,
        /// The rule that decided; absent if a person did, and for agents.
        rule: Option<Box<Rule>>,
        /// What the caller may do instead.
        instead: String,
    },
    /// A person has frozen the call, or the call names an agent that does not exist. Its kind is `denied`.
    #[error("{message}{detail}")]
    Blocked {
        /// Which call is blocked.
        message: String,
        /// Who blocked it and why, or what is known instead; empty for agents.
        detail: String,
        /// What a person can do about it; empty for agents.
        fix: String,
        /// What an agent is told to do.
        instead: String,
    },
    /// A person must approve the call, and nobody could be asked.
    #[error("{message}{}", because(.rule))]
    ApprovalRequired {
        /// Which call needs approval.
        message: String,
        /// The rule that requires it; absent for agents.
        rule: Option<Box<Rule>>,
        /// The stored approval; absent if there is no state directory.
        pending: Option<PendingApproval>,
    },
    /// The component returned an error.
    #[error("{}", .0.message)]
    Function(FunctionError),
    /// The call was made after a person had approved it, and failed. Another program may have made it.
    #[error("{}", .0.message)]
    Earlier(Box<EarlierError>),
    /// The call exceeded its time limit.
    #[error("the call took longer than {seconds} s and was stopped")]
    TimedOut {
        /// The limit, in seconds.
        seconds: u64,
    },
    /// The component failed or broke a rule.
    #[error("{message}")]
    ComponentFault {
        /// What the component did.
        message: String,
    },
    /// The call was stopped from outside.
    #[error("interrupted")]
    Interrupted,
    /// The host failed.
    #[error("{message}")]
    Internal {
        /// What happened.
        message: String,
    },
}

/// An error that the component returned: a case of `error` in the WIT.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FunctionError {
    /// The case, such as `not-found`.
    pub kind: &'static str,
    /// What happened.
    pub message: String,
    /// The status of Whereby's error response, if there was one.
    pub http_status: Option<u16>,
    /// The retry delay; absent if Whereby gave none.
    pub retry_after_seconds: Option<u64>,
    /// What to do, if more is known than the kind says.
    pub hint: Option<String>,
    /// Whether the same call may succeed later without any change.
    pub retryable: bool,
    /// The file and the line of the key that the hint names; absent for agents.
    pub(crate) place: Option<String>,
}

impl FunctionError {
    pub(crate) fn new(kind: &'static str, message: String) -> Self {
        Self {
            kind,
            message,
            http_status: None,
            retry_after_seconds: None,
            hint: None,
            retryable: failure::is_retryable(kind),
            place: None,
        }
    }

    /// Reads `error` of the WIT from JSON.
    pub(crate) fn from_json(error: &Value) -> Option<Self> {
        let (case, payload) = error.as_object()?.iter().next()?;
        let case = whereby_catalog::ERROR.cases.iter().find(|known| known.json == case.as_str())?;
        let message = text::printable(payload.as_str().unwrap_or_default(), MAX_MESSAGE);
        let mut error = Self::new(case.json, message);
        match case.json {
            "rate-limited" => {
                let seconds = payload.as_u64()?;
                error.http_status = Some(429);
                // In the WIT, 0 means that Whereby gave no delay.
                error.retry_after_seconds = Some(seconds).filter(|seconds| *seconds > 0);
                error.message = failure::rate_limited(seconds);
            }
            "rejected" => {
                let status = payload.get("status")?.as_u64()?.try_into().ok()?;
                let text = text::printable(payload.get("message")?.as_str()?, MAX_MESSAGE);
                error.http_status = Some(status);
                error.message = failure::rejected(status, &text);
            }
            "unauthorized" => error.http_status = Some(401),
            "access-denied" => error.http_status = Some(403),
            _ => {}
        }
        Some(error)
    }
}

/// The error of a call that was made earlier, as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EarlierError {
    /// The kind.
    pub kind: &'static str,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Whether the same call may succeed later without any change.
    pub retryable: bool,
    /// The status of Whereby's error response, if there was one.
    pub http_status: Option<u16>,
    /// The retry delay; absent if Whereby gave none.
    pub retry_after_seconds: Option<u64>,
}

impl EarlierError {
    /// Returns a kind that this version knows; `internal` in place of any other.
    pub(crate) fn known_kind(kind: &str) -> &'static str {
        let of_functions = whereby_catalog::ERROR.cases.iter().map(|case| case.json);
        let own = [
            "usage",
            "configuration",
            "denied",
            "approval-required",
            "timeout",
            "component-fault",
            "internal",
        ];
        of_functions.chain(own).find(|known| *known == kind).unwrap_or("internal")
    }
}

/// A call that was stored for a person to approve.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingApproval {
    /// The whole id, for approving the call.
    pub id: String,
    /// When the request expires, in milliseconds since 1970.
    pub expires_at: i64,
    /// How the person and the client get to it.
    pub(crate) way: Box<Way>,
}

/// How a person and a client get to a stored approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The handle for an MCP client's answer. Agents never see it.
    pub(crate) handle: String,
    /// Whether the call is made by itself once it is approved.
    pub(crate) is_resumable: bool,
    /// The address of the approval on the inbox page, if the page is served.
    pub(crate) page: Option<String>,
    /// Whether nothing but a passkey approves it.
    pub(crate) needs_passkey: bool,
}

impl PendingApproval {
    /// Returns the command that approves the call.
    #[must_use]
    pub fn command(&self) -> String {
        format!("whereby approvals approve {}", self.id)
    }

    /// Returns how a person approves the call: on the page, if there is one, or with the command. The
    /// command does not help where nothing but a passkey approves.
    pub(crate) fn how(&self) -> String {
        match (&self.way.page, self.way.needs_passkey) {
            (Some(page), true) => format!("with a passkey at {page}"),
            (None, true) => "with a passkey on the page of: whereby inbox --web".into(),
            (Some(page), false) => format!("at {page}, or with: {}", self.command()),
            (None, false) => format!("with: {}", self.command()),
        }
    }
}

impl From<whereby_authority::Error> for Error {
    fn from(error: whereby_authority::Error) -> Self {
        let message = error.to_string();
        match error {
            whereby_authority::Error::UnknownFunction { .. } => Self::Usage { message },
            whereby_authority::Error::InvalidArgument { .. } => Self::InvalidArgument { message },
            _ => Self::Internal { message },
        }
    }
}

impl Error {
    /// Returns the error of a wrong command line or call.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into() }
    }

    /// Returns the error of a configuration or a credential that cannot be used.
    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self::Configuration { message: message.into() }
    }

    /// Returns the error of a component that failed or broke a rule.
    pub(crate) fn component_fault(message: impl Into<String>) -> Self {
        Self::ComponentFault { message: message.into() }
    }

    /// Returns the error of the host itself.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::Internal { message: message.into() }
    }

    /// Returns the kind, for scripts: a case of `error` in the WIT, or `usage`, `configuration`, `denied`,
    /// `approval-required`, `component-fault` or `internal`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Usage { .. } => "usage",
            Self::InvalidArgument { .. } => "invalid-argument",
            Self::Configuration { .. } => "configuration",
            Self::Denied { .. } | Self::Blocked { .. } => "denied",
            Self::ApprovalRequired { .. } => "approval-required",
            Self::Function(error) => error.kind,
            Self::Earlier(error) => error.kind,
            Self::TimedOut { .. } => "timeout",
            Self::ComponentFault { .. } => "component-fault",
            Self::Interrupted | Self::Internal { .. } => "internal",
        }
    }

    /// Whether the same call may succeed later without any change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Function(error) => error.retryable,
            Self::Earlier(error) => error.retryable,
            error => failure::is_retryable(error.kind()),
        }
    }

    /// Returns what to do, given the outcome of the call's write.
    #[must_use]
    pub fn hint(&self, outcome: WriteOutcome) -> Option<String> {
        // It was made for what the call did.
        if let Self::Earlier(error) = self {
            return error.hint.clone();
        }
        // Never a hint to repeat a write that may have happened.
        match outcome {
            _ if outcome != WriteOutcome::None
                && let Self::Function(FunctionError { hint: Some(hint), .. }) = self =>
            {
                return Some(hint.clone());
            }
            WriteOutcome::None => {}
            WriteOutcome::Unknown => return Some(failure::UNKNOWN_OUTCOME_HINT.into()),
            WriteOutcome::Done => return Some(failure::DONE_HINT.into()),
        }
        let hint = match self {
            Self::Denied { rule: Some(rule), .. } => return Some(change(rule)),
            Self::Denied { rule: None, instead, .. } => {
                return Some(instead.clone()).filter(|instead| !instead.is_empty());
            }
            Self::Blocked { fix, instead, .. } => {
                let hint = if fix.is_empty() { instead } else { fix };
                return Some(hint.clone()).filter(|hint| !hint.is_empty());
            }
            Self::ApprovalRequired { pending: Some(pending), .. } if pending.way.is_resumable => {
                return Some(format!(
                    "a person approves this one call {}; the server then makes the call; to get its result, \
                     call whereby_resume with this approval_id, or make the very same call again",
                    pending.how()
                ));
            }
            Self::ApprovalRequired { pending: Some(pending), .. } => {
                return Some(approve(&pending.how()));
            }
            Self::ApprovalRequired { rule, pending: None, .. } => {
                let asked = "run this call on a terminal to approve it there";
                return Some(match rule {
                    Some(rule) => format!("{asked}; {}", change(rule)),
                    None => asked.to_owned(),
                });
            }
            Self::Function(error) => {
                let hint = error.hint.as_deref().or_else(|| failure::hint(error.kind))?;
                let hint = match error.retry_after_seconds {
                    Some(seconds) => {
                        hint.replacen("try again later", &format!("try again in {seconds} s"), 1)
                    }
                    None => hint.to_owned(),
                };
                return Some(match &error.place {
                    Some(place) => format!("{hint}; {place}"),
                    None => hint,
                });
            }
            Self::TimedOut { .. } => {
                "try again later, or raise limits.timeout_seconds in the configuration"
            }
            Self::ComponentFault { .. } => {
                "use another component, or the built-in one (without --component and [component]); if the \
                 built-in one failed, report it"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// Returns the error for an agent, without the rule and the place where it can be changed.
    #[must_use]
    pub fn for_agent(mut self) -> Self {
        if let Self::Denied { rule, .. } | Self::ApprovalRequired { rule, .. } = &mut self {
            *rule = None;
        }
        if let Self::Function(error) = &mut self {
            error.place = None;
        }
        if let Self::Blocked { detail, fix, .. } = &mut self {
            (*detail, *fix) = (String::new(), String::new());
        }
        self
    }

    /// Returns the error as JSON, the same for every front end.
    #[must_use]
    pub fn to_json(&self, outcome: WriteOutcome) -> Value {
        let (http_status, wait) = match self {
            Self::Function(error) => (error.http_status, error.retry_after_seconds),
            Self::Earlier(error) => (error.http_status, error.retry_after_seconds),
            _ => (None, None),
        };
        let can_repeat = outcome == WriteOutcome::None;
        let wait = wait.filter(|_| can_repeat);
        json!({
            "kind": self.kind(),
            "message": self.to_string(),
            // A write that happened or may have happened must be checked first.
            "retryable": self.is_retryable() && can_repeat,
            "effect": outcome.as_str(),
            "http_status": http_status,
            "retry_after_seconds": wait,
            "hint": self.hint(outcome),
        })
    }
}

/// Returns the hint for a call that needs approval.
#[must_use]
pub(crate) fn approve(how: &str) -> String {
    format!("a person approves this one call {how}; then make the very same call again")
}

fn because(rule: &Option<Box<Rule>>) -> String {
    rule.as_ref().map_or_else(String::new, |rule| {
        // After the reason why its condition does not hold.
        let link = if rule.unmet.is_some() { "; " } else { ": " };
        format!("{link}{rule}")
    })
}

/// Returns the hint to change a rule.
fn change(rule: &Rule) -> String {
    if rule.key.starts_with("token.") {
        return "the call's capability token sets this limit, and a token can only be narrowed; use another \
                one"
            .into();
    }
    // The rule is there so that a person decides on the page, and the call has its address without --force.
    if rule.key == "approvals.require" {
        return "make the call without --force; a person then approves it with a passkey on the inbox page"
            .into();
    }
    match &rule.place {
        Some((file, line)) => {
            let file = text::printable(&file.display().to_string(), 300);
            let change = match &rule.unmet {
                Some(_) => format!("change {}", rule.key),
                None => format!("set {} = \"allow\"", rule.key),
            };
            format!("to allow it, {change} in {file}, line {line}, as the file's owner")
        }
        None => format!("to allow it, set {} = \"allow\" in the configuration file", rule.key),
    }
}
