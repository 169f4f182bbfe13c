//! The output of commands: results, errors and their JSON documents.

use super::Exit;
#[cfg(feature = "lua")]
use super::command_of;
#[cfg(feature = "lua")]
use super::lua;
use super::paint::{Role, paint, wants_colours};
use super::streams::Streams;
use crate::config::environment::Environment;
use crate::error::Error;
use crate::session::call::Outcome;
use crate::system::clock::milliseconds;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::time::Duration;
use whereby_authority::grant::WriteOutcome;
use whereby_authority::policy::Permission;
use whereby_authority::table::FunctionRule;
use whereby_authority::text;

/// The output of a command that ran.
pub(super) enum Output {
    /// Text for people, its JSON form, and the exit status.
    Report(String, Value, Exit),
    /// A serialized JSON document.
    Document(String),
    /// Nothing: the command has printed its own output, or a signal stopped it.
    Nothing(Exit),
}

impl Output {
    /// Returns the output of a command that succeeded.
    pub(super) fn text(text: impl Into<String>, json: Value) -> Self {
        Self::Report(text.into(), json, Exit::Success)
    }
}

/// The parts of a call's JSON document besides its result.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    pub(super) function: Option<&'static str>,
    pub(super) account: Option<String>,
    pub(super) dry_run: bool,
    pub(super) permission: Option<Permission>,
    pub(super) forced: bool,
    pub(super) write: WriteOutcome,
    pub(super) approval: Option<String>,
    pub(super) requests: usize,
    /// How many pages were read; 0 without `--all` or `--prefix`.
    pub(super) pages: usize,
    pub(super) duration: Duration,
    /// The plan of a denied dry run.
    pub(super) data: Option<Value>,
    /// The same plan as text for people.
    pub(super) shown: Option<String>,
    /// The exit status if a signal stopped the call.
    pub(super) stopped: Option<Exit>,
    /// Whether to omit the error's usual hint.
    pub(super) no_hint: bool,
    /// A hint that replaces the error's usual one.
    pub(super) hint: Option<String>,
}

impl Document {
    pub(super) fn for_function(function: Option<&'static str>) -> Self {
        Self { function, ..Self::default() }
    }

    pub(super) fn of(outcome: &Outcome) -> Self {
        Self {
            account: outcome.account.clone(),
            permission: outcome.verdict.as_ref().map(|verdict| verdict.permission),
            forced: outcome.forced,
            write: outcome.write,
            approval: outcome.approval.clone(),
            requests: outcome.requests.len(),
            duration: outcome.duration,
            ..Self::for_function(outcome.function)
        }
    }

    /// Returns the hint for an error, unless it does not apply here.
    pub(super) fn hint_for(&self, error: &Error) -> Option<String> {
        let hint = self.hint.clone().or_else(|| error.hint(self.write));
        hint.filter(|_| !self.no_hint)
    }

    /// Returns the JSON document that every call prints with `--json`.
    pub(super) fn to_json(&self, result: Result<&Value, &Error>) -> Value {
        let operation = self
            .function
            .and_then(whereby_catalog::function)
            .map(|function| FunctionRule::of(function).effect.as_str());
        let mut document = json!({
            "function": self.function,
            "success": result.is_ok(),
            "data": result.ok().or(self.data.as_ref()),
            "error": result.err().map(|error| error.to_json(self.write)),
            "meta": {
                "account": self.account,
                "operation": operation,
                "dry_run": self.dry_run,
                "permission": self.permission.map(Permission::as_str),
                "forced": self.forced,
                "approval_id": self.approval,
                "requests": self.requests,
            },
            "duration_ms": milliseconds(self.duration),
        });
        if let Err(error) = result {
            document["error"]["hint"] = self.hint_for(error).into();
        }
        if self.pages > 0 {
            document["meta"]["pages"] = self.pages.into();
        }
        document
    }
}

/// The error of a command, with what the document can say about the call.
pub(super) struct CommandError {
    pub(super) error: Error,
    pub(super) document: Box<Document>,
}

impl CommandError {
    pub(super) fn of(error: Error, document: Document) -> Self {
        Self { error, document: Box::new(document) }
    }

    /// Returns the failure of a call that a signal stopped.
    pub(super) fn stopped(exit: Exit, document: Document) -> Self {
        Self::of(Error::Interrupted, Document { stopped: Some(exit), ..document })
    }
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        Self::of(error, Document::default())
    }
}

/// How results and errors are printed. Determined before the command line is parsed.
pub(super) struct Style {
    pub(super) json: bool,
    /// Whether the command is `lua`, whose JSON document differs.
    #[cfg(feature = "lua")]
    is_script: bool,
    /// The environment, which sets the colours.
    environment: Environment,
}

impl Style {
    pub(super) fn of(arguments: &[OsString], environment: Environment) -> Self {
        let has = |flag| arguments.iter().take_while(|a| *a != "--").any(|a| a == flag);
        Self {
            json: has("--json"),
            #[cfg(feature = "lua")]
            is_script: matches!(command_of(arguments), Some("lua" | "integrations:lua")),
            environment,
        }
    }
}

/// Prints the result of a command. Returns the exit status.
pub(super) fn print(streams: &Streams, style: &Style, result: Result<Output, CommandError>) -> u8 {
    streams.set_last_words(None);
    let exit = match &result {
        Ok(Output::Report(_, _, exit) | Output::Nothing(exit)) => *exit,
        Ok(Output::Document(_)) => Exit::Success,
        Err(CommandError { error, document }) => {
            document.stopped.unwrap_or_else(|| Exit::of_call(error, document.write))
        }
    };
    let written = match (result, style.json) {
        (Ok(Output::Nothing(_)), _) => Ok(()),
        (Ok(Output::Document(json)), _) => writeln!(streams.stdout(), "{json}"),
        (Ok(Output::Report(_, value, _)), true) => print_json(streams, &value),
        (Ok(Output::Report(text, ..)), false) => write!(streams.stdout(), "{text}"),
        #[cfg(feature = "lua")]
        (Err(CommandError { error, .. }), true) if style.is_script => {
            print_json(streams, &lua::failed_json(&error))
        }
        (Err(CommandError { error, document }), true) => {
            print_json(streams, &document.to_json(Err(&error)))
        }
        (Err(CommandError { error, document }), false) => {
            print_error(streams, style, &error, &document)
        }
    };
    finish(streams, written.and_then(|()| streams.stdout().flush()), exit)
}

fn print_json(streams: &Streams, value: &Value) -> std::io::Result<()> {
    writeln!(streams.stdout(), "{}", text::printable_json(&value.to_string()))
}

fn print_error(
    streams: &Streams,
    style: &Style,
    error: &Error,
    document: &Document,
) -> std::io::Result<()> {
    if let Some(shown) = &document.shown {
        write!(streams.stdout(), "{shown}")?;
    }
    let colours = streams.stderr_is_terminal && wants_colours(&style.environment);
    let word = |role, word| paint(colours, role, word);
    let message = text::printable_lines(&error.to_string());
    streams.note(&word(Role::Error, "error:"), &message)?;
    if let Some(hint) = document.hint_for(error) {
        streams.note(&word(Role::Hint, "hint:"), &text::printable_lines(&hint))?;
    }
    streams.stderr().flush()
}

/// Returns the exit status, after the output was written or not. A failed command keeps its status, and
/// a closed pipe is not reported.
pub(super) fn finish(streams: &Streams, written: std::io::Result<()>, exit: Exit) -> u8 {
    match written {
        Ok(()) => exit.code(),
        Err(_) if exit != Exit::Success => exit.code(),
        // A shell shows this status for a program that SIGPIPE ended.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => 141,
        Err(error) => {
            // Standard error may be closed, too.
            let _ = writeln!(
                streams.stderr(),
                "error: the output cannot be written: {error}; the command itself succeeded"
            );
            Exit::Internal.code()
        }
    }
}

/// Returns a JSON document with one member.
pub(super) fn document(name: &str, value: Value) -> Value {
    json!({ name: value })
}
