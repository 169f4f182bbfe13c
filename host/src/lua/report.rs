//! The report of a script.

use super::errors::ScriptError;
use crate::system::clock::milliseconds;
use serde_json::{Value, json};
use std::time::Duration;
use whereby_authority::grant::WriteOutcome;

/// The report of a script.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The printed text.
    pub output: String,
    /// The return value: null if there is none, an array if there are several.
    pub result: Value,
    /// The error, if the script failed.
    pub error: Option<ScriptError>,
    /// The calls that the script made, in the order of submission.
    pub calls: Vec<CallRecord>,
    /// The duration of the script.
    pub duration: Duration,
}

/// A call that a script made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallRecord {
    /// The function.
    pub function: &'static str,
    /// The account, if it was found.
    pub account: Option<String>,
    /// The error kind, if the call failed; `interrupted` if the script ended first.
    pub error: Option<&'static str>,
    /// Whether the call changed something.
    pub write: WriteOutcome,
    /// The number of requests sent.
    pub requests: usize,
    /// The duration of the call, without the time that a person took to answer.
    pub duration: Duration,
    /// The line of the script that made the call, if known.
    pub line: Option<usize>,
}

impl Report {
    /// Returns the report of a script that could not begin.
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

    /// Returns whether the script succeeded.
    #[must_use]
    pub fn success(&self) -> bool {
        self.error.is_none()
    }

    /// Returns the JSON object that `whereby lua --json` prints.
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
