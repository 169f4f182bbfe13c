//! Errors of scripts, as in their reports.

use super::control::Stop;
use super::report::CallRecord;
use super::{Limits, MAX_SOURCE_BYTES};
use crate::error::Error;
use crate::exit::Exit;
use serde_json::{Value, json};
use whereby_authority::grant::WriteOutcome;
use whereby_authority::text;

/// The longest message, in characters.
const MAX_MESSAGE: usize = 4000;

/// Why a script failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScriptError {
    /// The error kind: that of the failed call (see [`Error::kind`]), or one of `script`, `syntax`,
    /// `time-limit`, `memory-limit`, `step-limit`, `call-limit`, `output-limit`, `interrupted`,
    /// `internal`.
    pub kind: String,
    /// What happened.
    pub message: String,
    /// What to do about it, if known.
    pub hint: Option<String>,
    /// The line of the script, from 1, if known.
    pub line: Option<usize>,
    /// The failed call, if a call failed.
    pub call: Option<FailedCall>,
    exit: Exit,
    /// Whether earlier calls of the script changed something.
    before: WriteOutcome,
}

/// A failed call of a script, and its effect.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedCall {
    /// The function.
    pub function: &'static str,
    /// The account, if it was found.
    pub account: Option<String>,
    /// Why the call failed.
    pub error: Error,
    /// Whether the call changed something.
    pub write: WriteOutcome,
}

impl ScriptError {
    pub(crate) fn new(kind: &str, message: impl AsRef<str>, line: Option<usize>) -> Self {
        Self {
            kind: kind.to_owned(),
            message: text::printable(message.as_ref(), MAX_MESSAGE),
            hint: None,
            line,
            call: None,
            exit: if kind == "interrupted" { Exit::Interrupted } else { Exit::Internal },
            before: WriteOutcome::None,
        }
    }

    /// Returns how many bytes the error needs in the host.
    pub(crate) fn size(&self) -> usize {
        let texts =
            self.kind.len() + self.message.len() + self.hint.as_ref().map_or(0, String::len);
        // The call's error has the same message.
        size_of::<Self>() + 2 * texts
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns the error of a stopped script.
    pub(crate) fn stopped(why: Stop, limits: &Limits, line: Option<usize>) -> Self {
        let (kind, why, key) = match why {
            Stop::Time => {
                let why = format!("took longer than {} s", limits.timeout.as_secs());
                ("time-limit", why, "timeout_seconds")
            }
            Stop::Steps => {
                let why = format!("took more than {} steps", limits.steps);
                ("step-limit", why, "steps_millions")
            }
            Stop::Calls => {
                let plural = if limits.calls == 1 { "" } else { "s" };
                let why = format!("made more than {} call{plural}", limits.calls);
                ("call-limit", why, "calls")
            }
            Stop::Output => {
                let why = format!("printed more than {} bytes", limits.output_bytes);
                ("output-limit", why, "output_kib")
            }
            Stop::Interrupted | Stop::Abandoned => {
                return Self::new("interrupted", "the script was stopped", line);
            }
        };
        Self::new(kind, format!("the script {why} and was stopped"), line)
            .hint(format!("do less at a time, or {}", limits.raise(key)))
    }

    pub(crate) fn out_of_memory(limits: &Limits, line: Option<usize>) -> Self {
        let mib = limits.memory_bytes / (1024 * 1024);
        Self::new("memory-limit", format!("the script needs more than {mib} MiB of memory"), line)
            .hint(format!("keep less at a time, or {}", limits.raise("memory_mib")))
    }

    pub(crate) fn too_long() -> Self {
        Self::new(
            "syntax",
            format!("the script is longer than {MAX_SOURCE_BYTES} bytes, the maximum"),
            None,
        )
        .hint("make similar calls in a loop")
    }

    /// Returns the error that a failed call raises.
    pub(crate) fn of_call(mut failed: FailedCall, line: Option<usize>, example: &str) -> Self {
        failed.error = failed.error.for_agent();
        let kind = failed.error.kind();
        let hint = failed.error.hint(failed.write).or_else(|| {
            matches!(kind, "usage" | "invalid-argument").then(|| format!("for example: {example}"))
        });
        Self {
            kind: kind.to_owned(),
            message: failed.error.to_string(),
            hint,
            line,
            exit: Exit::of_call(&failed.error, failed.write),
            before: WriteOutcome::None,
            call: Some(failed),
        }
    }

    /// Returns the exit code for a program that runs only this script.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns whether the script changed something, with the failed call or before it.
    #[must_use]
    pub fn effect(&self) -> WriteOutcome {
        let own = self.call.as_ref().map_or(WriteOutcome::None, |call| call.write);
        if own == WriteOutcome::None { self.before } else { own }
    }

    /// Returns the error of a script that had made these calls. If one of them changed something, the
    /// error is not retryable, because running the script again would repeat the change.
    pub(crate) fn after(mut self, calls: &[CallRecord]) -> Self {
        let changed = calls.iter().filter(|call| call.write != WriteOutcome::None);
        let mut names: Vec<&str> = changed.clone().map(|call| call.function).collect();
        names.dedup();
        if self.effect() != WriteOutcome::None || names.is_empty() {
            return self;
        }
        let is_done = changed.clone().any(|call| call.write == WriteOutcome::Done);
        self.before = if is_done { WriteOutcome::Done } else { WriteOutcome::Unknown };
        if matches!(self.exit, Exit::RateLimited | Exit::Unavailable) {
            self.exit = Exit::Written;
        }
        self.hint = Some(format!(
            "the script called {} before it failed; check what that changed before you run the script \
             again",
            names.join(", ")
        ));
        self
    }

    /// Returns the error as a JSON object, as in the report and as a script sees it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let call = self.call.as_ref();
        let error = call.map(|call| call.error.to_json(call.write)).unwrap_or_default();
        let effect = self.effect();
        let can_repeat = effect == WriteOutcome::None;
        json!({
            "kind": self.kind,
            "message": self.message,
            "retryable": can_repeat && error["retryable"] == true,
            "effect": effect.as_str(),
            "http_status": error["http_status"],
            "retry_after_seconds": Some(&error["retry_after_seconds"]).filter(|_| can_repeat),
            "hint": self.hint,
            "function": call.map(|call| call.function),
            "account": call.and_then(|call| call.account.as_ref()),
            "line": self.line,
        })
    }
}

impl From<Error> for ScriptError {
    /// Converts an error from before the script ran.
    fn from(error: Error) -> Self {
        let error = error.for_agent();
        Self {
            kind: error.kind().to_owned(),
            message: error.to_string(),
            hint: error.hint(WriteOutcome::None),
            line: None,
            call: None,
            exit: Exit::of(&error),
            before: WriteOutcome::None,
        }
    }
}
