//! What came of a script.

use super::errors::ScriptError;
use crate::system::clock::milliseconds;
use serde_json::{Value, json};
use std::time::Duration;
use whereby_authority::grant::WriteOutcome;

/// What came of a script.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// What it printed.
    pub output: String,
    /// What it returned: null where nothing, a list where several values.
    pub result: Value,
    /// Why it failed, where it did.
    pub error: Option<ScriptError>,
    /// The calls that it made, in the order in which they began.
    pub calls: Vec<CallRecord>,
    /// How long it took.
    pub duration: Duration,
}

/// A call that a script made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallRecord {
    /// The function.
    pub function: &'static str,
    /// The account, where it was found.
    pub account: Option<String>,
    /// The kind of its error, where it failed; `interrupted` where the script ended before it.
    pub error: Option<&'static str>,
    /// Whether something was changed, where it failed.
    pub write: WriteOutcome,
    /// How many requests were sent.
    pub requests: usize,
    /// How long it took, without the time that a person took to answer.
    pub duration: Duration,
    /// The line of the script that made it, where it is known.
    pub line: Option<usize>,
}

impl Report {
    /// A report of a script that could not begin.
    #[must_use]
    pub(crate) fn failed(error: ScriptError) -> Self {
        Self {
            output: String::new(),
            result: Value::Null,
            error: Some(error),
            calls: Vec::new(),
            duration: Duration::ZERO,
        }
    }

    /// Whether it ran to its end.
    #[must_use]
    pub fn success(&self) -> bool {
        self.error.is_none()
    }

    /// The document that `whereby lua --json` prints.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let calls = self.calls.iter().map(CallRecord::to_json);
        json!({
            "success": self.success(),
            "output": self.output,
            "result": self.result,
            "error": self.error.as_ref().map(ScriptError::to_json),
            "calls": calls.collect::<Vec<_>>(),
            "duration_ms": milliseconds(self.duration),
        })
    }
}

impl CallRecord {
    fn to_json(&self) -> Value {
        json!({
            "function": self.function,
            "account": self.account,
            "success": self.error.is_none(),
            "error": self.error,
            "effect": self.error.map(|_| self.write.as_str()),
            "requests": self.requests,
            "line": self.line,
            "duration_ms": milliseconds(self.duration),
        })
    }
}
