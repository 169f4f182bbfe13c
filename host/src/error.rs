//! The errors of calls, with the messages and hints for callers.

use serde_json::{Value, json};
use whereby_authority::grant::WriteOutcome;
use whereby_authority::policy::Rule;
use whereby_authority::text;
use whereby_catalog::failure;

/// The maximum length of a component's message, in characters.
const MAX_MESSAGE: usize = 1000;

/// Why a call failed, or could not be made.
///
/// The messages are for the person who runs the program. For agents, use [`Error::for_agent`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The call cannot be understood: an unknown function, account or flag.
    #[error("{message}")]
    Usage {
        /// What was wrong, and how to fix it.
        message: String,
    },
    /// An argument is invalid.
    #[error("{message}")]
    InvalidArgument {
        /// Which argument, and what would be valid.
        message: String,
    },
    /// The configuration, or a credential it names, cannot be used.
    #[error("{message}")]
    Configuration {
        /// What was wrong, where, and how to fix it.
        message: String,
    },
    /// The policy, or the person who was asked, does not allow the call.
    #[error("{message}{}", because(.rule))]
    Denied {
        /// Which call is denied.
        message: String,
        /// The rule that denied it; `None` if a person did, and for agents.
        rule: Option<Box<Rule>>,
        /// What the caller may do instead.
        instead: String,
    },
    /// A person has to approve the call, and nobody could be asked.
    #[error("{message}{}", because(.rule))]
    ApprovalRequired {
        /// Which call has to be approved.
        message: String,
        /// The rule that requires approval; `None` for agents.
        rule: Option<Box<Rule>>,
        /// The stored request for approval; `None` without a state directory.
        pending: Option<PendingApproval>,
    },
    /// The component returned an error that the WIT defines.
    #[error("{}", .0.message)]
    Function(FunctionError),
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
    /// The user stopped the program while a write may have been under way.
    #[error("interrupted")]
    Interrupted,
    /// The host failed.
    #[error("{message}")]
    Internal {
        /// What happened.
        message: String,
    },
}

/// An error that the component returned: the WIT's `error`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FunctionError {
    /// The case of the WIT's `error`, such as `not-found`.
    pub kind: &'static str,
    /// What happened.
    pub message: String,
    /// The HTTP status if Whereby refused the request.
    pub http_status: Option<u16>,
    /// How long to wait before a retry, in seconds; `None` if Whereby did not say.
    pub retry_after_seconds: Option<u64>,
    /// A hint that is more specific than the kind's; `None` if there is none.
    pub hint: Option<String>,
    /// Whether the same call may succeed later without changes.
    pub retryable: bool,
    /// The file and line of the key in the hint. Hidden from agents.
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

    /// Reads the JSON form of the WIT's `error`.
    pub(crate) fn from_json(error: &Value) -> Option<Self> {
        let (case, payload) = error.as_object()?.iter().next()?;
        let case = whereby_catalog::ERROR.cases.iter().find(|known| known.json == case.as_str())?;
        let message = text::printable(payload.as_str().unwrap_or_default(), MAX_MESSAGE);
        let mut error = Self::new(case.json, message);
        match case.json {
            "rate-limited" => {
                let seconds = payload.as_u64()?;
                error.http_status = Some(429);
                // In the WIT, 0 means that Whereby gave no time.
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

/// A call that was stored for a person to approve.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingApproval {
    /// The full ID, for `whereby approvals approve`.
    pub id: String,
    /// When the request expires, in milliseconds since 1970.
    pub expires_at: i64,
    /// The handle that an MCP client uses to answer the question. Hidden from agents.
    pub(crate) handle: String,
}

impl PendingApproval {
    /// Returns the command that approves the call.
    #[must_use]
    pub fn command(&self) -> String {
        format!("whereby approvals approve {}", self.id)
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
    /// Returns the kind, for scripts: a case of the WIT's `error`, or one of
    /// `usage`, `configuration`, `denied`, `approval-required`, `component-fault`, `internal`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Usage { .. } => "usage",
            Self::InvalidArgument { .. } => "invalid-argument",
            Self::Configuration { .. } => "configuration",
            Self::Denied { .. } => "denied",
            Self::ApprovalRequired { .. } => "approval-required",
            Self::Function(error) => error.kind,
            Self::TimedOut { .. } => "timeout",
            Self::ComponentFault { .. } => "component-fault",
            Self::Interrupted | Self::Internal { .. } => "internal",
        }
    }

    /// Whether the same call may succeed later without changes.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Function(error) => error.retryable,
            error => failure::is_retryable(error.kind()),
        }
    }

    /// Returns what to do about the error. `outcome` is what the call wrote: a write that happened, or may
    /// have, must not be repeated blindly.
    #[must_use]
    pub fn hint(&self, outcome: WriteOutcome) -> Option<String> {
        // No hint suggests to repeat a write that may have happened.
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
            Self::ApprovalRequired { pending: Some(pending), .. } => {
                return Some(approve(&format!("with: {}", pending.command())));
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
                "use another component, or remove --component and [component] to run the built-in one; if the \
                 built-in one fails, report it"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// Returns the error for an agent, without the rule, file and line that would have to change.
    #[must_use]
    pub fn for_agent(mut self) -> Self {
        if let Self::Denied { rule, .. } | Self::ApprovalRequired { rule, .. } = &mut self {
            *rule = None;
        }
        if let Self::Function(error) = &mut self {
            error.place = None;
        }
        self
    }

    /// Returns the error in the JSON form that all front ends use.
    #[must_use]
    pub fn to_json(&self, outcome: WriteOutcome) -> Value {
        let function = match self {
            Self::Function(error) => Some(error),
            _ => None,
        };
        let can_repeat = outcome == WriteOutcome::None;
        let wait = function.and_then(|error| error.retry_after_seconds).filter(|_| can_repeat);
        json!({
            "kind": self.kind(),
            "message": self.to_string(),
            // A write that happened, or may have, must not be repeated blindly.
            "retryable": self.is_retryable() && can_repeat,
            "effect": outcome.as_str(),
            "http_status": function.and_then(|error| error.http_status),
            "retry_after_seconds": wait,
            "hint": self.hint(outcome),
        })
    }
}

/// Returns the hint for a call that needs approval, the same in all front ends.
#[must_use]
pub(crate) fn approve(how: &str) -> String {
    format!("a person approves this one call {how}; then make the very same call again")
}

fn because(rule: &Option<Box<Rule>>) -> String {
    rule.as_ref().map_or_else(String::new, |rule| format!(": {rule}"))
}

/// Returns which line to change to allow the call.
fn change(rule: &Rule) -> String {
    match &rule.place {
        Some((file, line)) => {
            let file = text::printable(&file.display().to_string(), 300);
            format!(
                "to allow it, set {} = \"allow\" in {file}, line {line}, as the file's owner",
                rule.key
            )
        }
        None => format!("to allow it, set {} = \"allow\" in the configuration file", rule.key),
    }
}
