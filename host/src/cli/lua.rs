//! `whereby lua`: runs a script, or an interactive console.

use super::agents::AgentOpt;
use super::paint::Role;
use super::signal::Signals;
use super::spinner::{self, Status};
use super::{CommandError, Context, Exit, Output, render, repl};
use crate::config::Settings;
use crate::error::Error;
use crate::lua::{Limits, MAX_SOURCE_BYTES, Report, Runtime, ScriptError};
use crate::session::call::Call;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use whereby_authority::text;

/// Run a sandboxed Lua script that calls the functions
///
/// Each call needs the same permission as with `whereby call`. A script can print, and return a value.
/// Without a script, on a terminal, an interactive console starts. To see what a script can use, run:
/// whereby lua -e 'print(lua_read_doc("integrations.whereby"))'
#[derive(Debug, clap::Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  whereby lua -e 'return app.integrations.whereby.list_rooms({ limit = 2 })'\n",
    "  whereby lua -e 'print(lua_read_doc(\"integrations.whereby.list_rooms\"))' --json\n",
    "  echo 'print(#app.integrations.whereby.list_rooms({}).data)' | whereby lua -\n",
    "  whereby lua --max-calls 5 -e 'dump(app.integrations.whereby.list_rooms())'"
))]
pub(super) struct Opts {
    /// The script file, or - to read the script from standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Run this code instead of a file
    #[arg(short, long = "execute", alias = "eval", value_name = "CODE", conflicts_with = "file")]
    execute: Option<String>,
    /// Limit how long the script may run
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Limit how much memory it may use
    #[arg(long, value_name = "MIB")]
    memory_mib: Option<u64>,
    /// Limit its steps (loop iterations and function calls), in millions
    #[arg(long, value_name = "MILLIONS")]
    max_steps: Option<u64>,
    /// Limit how many calls it may make
    #[arg(long, value_name = "CALLS")]
    max_calls: Option<u64>,
    /// Limit how much it may print and return
    #[arg(long, value_name = "KIB")]
    max_output_kib: Option<u64>,
    /// Limit how many of its calls run at the same time
    #[arg(long, value_name = "CALLS")]
    parallel: Option<u64>,
    /// Make the calls with the capability token in this file instead of $WHEREBY_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    agent: AgentOpt,
}

impl Opts {
    pub(super) async fn run(self, context: &Context) -> Result<Output, CommandError> {
        let streams = &context.streams;
        let is_console = self.file.is_none() && self.execute.is_none();
        let is_terminal = streams.stdin_is_terminal && streams.stdout_is_terminal;
        // A CI job may have a terminal, but nobody types.
        let is_terminal = is_terminal && !context.environment.is_ci() && !context.global.json;
        if is_console && !is_terminal {
            return Err(Error::usage(
                "no script: pass a file, - for standard input, or code with -e",
            )
            .into());
        }
        if context.global.json {
            let mut stopped = failed_json(&Error::Interrupted);
            stopped["error"]["kind"] = "interrupted".into();
            context.streams.set_last_words(Some(text::printable_json(&stopped.to_string())));
        }
        let script = if is_console { None } else { Some(self.script(context)?) };
        let settings = context.settings()?;
        let limits = self.limits(&settings)?;
        let session = context.session(settings, false)?;
        let token = super::token::open(context, &session, self.token_file.as_ref()).await?;
        let own_agent = || token.as_ref().and_then(|token| token.agent()).map(str::to_owned);
        let agent = self.agent.name(context).or_else(own_agent);
        let (shown, own) = (context.clone(), Status::default());
        let calls = move |account: &str, function: &str, arguments| {
            let call = Call::new(function, arguments);
            let call = call.exact_account(account).asked_by("lua", None).token(token.as_ref());
            spinner::watched(&shown, &own, call)
        };
        let runtime = Runtime::new(session)
            .limits(limits)
            .account(context.global.account.as_deref())
            .agent(agent.as_deref())
            .asking(Arc::clone(&context.asking))
            .notice(context.warner())
            .calls(calls);
        let Some((source, name)) = script else {
            return repl::run(context, runtime).await;
        };
        let mut signals = Signals::listen(streams);
        let mut stopped = None;
        let until = async { stopped = Some(signals.next().await) };
        if context.global.json {
            let report = runtime.run_until(&source, &name, until).await;
            let exit = exit(&report, stopped);
            return Ok(Output::Report(String::new(), report.to_json(), exit));
        }
        let streams = context.streams.clone();
        let runtime = runtime.output(move |printed| {
            // If standard output is closed, the final write reports it.
            let _ = write!(streams.stdout(), "{}", printable(printed));
        });
        let report = runtime.run_until(&source, &name, until).await;
        let shown = match &report.result {
            Value::Null => String::new(),
            Value::String(text) => printable(text) + "\n",
            result => render::render(result, &context.look()),
        };
        if let Some(error) = &report.error {
            show_error(context, error, Some(&name));
        }
        let exit = exit(&report, stopped);
        Ok(Output::Report(shown, report.to_json(), exit))
    }

    /// Returns the limits of the configuration, overridden by those of the command line.
    fn limits(&self, settings: &Settings) -> Result<Limits, Error> {
        let mut limits = settings.lua.clone();
        for (flag, key, value) in [
            ("--timeout", "timeout_seconds", self.timeout),
            ("--memory-mib", "memory_mib", self.memory_mib),
            ("--max-steps", "steps_millions", self.max_steps),
            ("--max-calls", "calls", self.max_calls),
            ("--max-output-kib", "output_kib", self.max_output_kib),
            ("--parallel", "parallel", self.parallel),
        ] {
            let (Some(value), Some(limit)) =
                (value, Limits::TABLE.iter().find(|limit| limit.name == key))
            else {
                continue;
            };
            if !(limit.least..=limit.most).contains(&value) {
                return Err(Error::usage(format!(
                    "{flag} must be from {} to {}, not {value}",
                    limit.least, limit.most
                )));
            }
            (limit.set)(&mut limits, value);
            limits.flags.push((key, flag));
        }
        Ok(limits)
    }

    /// Returns the script's source and name.
    fn script(&self, context: &Context) -> Result<(String, String), Error> {
        if let Some(code) = &self.execute {
            return Ok((code.clone(), "script".into()));
        }
        let file = self.file.clone().unwrap_or_default();
        if file.as_os_str() == "-" {
            let source = context.streams.read_to_end(MAX_SOURCE_BYTES).map_err(|error| {
                Error::usage(format!("the script cannot be read from standard input: {error}"))
            })?;
            return Ok((source, "stdin".into()));
        }
        let path = context.environment.directory.join(&file);
        let shown = text::printable(&file.display().to_string(), 300);
        let contents = crate::system::file::read(&path, MAX_SOURCE_BYTES as u64)
            .map_err(|what| Error::usage(format!("{shown}: {what}")))?;
        let source = contents.text().map_err(|what| Error::usage(format!("{shown}: {what}")))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        Ok((source, text::printable(&name, 60)))
    }
}

/// Returns the exit status. `stopped` is the signal's, if one stopped the script.
fn exit(report: &Report, stopped: Option<Exit>) -> Exit {
    match report.error.as_ref().map(ScriptError::exit) {
        Some(Exit::Interrupted) => stopped.unwrap_or(Exit::Interrupted),
        exit => exit.unwrap_or(Exit::Success),
    }
}

/// Makes a script's output printable, and keeps tabs.
pub(super) fn printable(printed: &str) -> String {
    // JSON stays valid JSON.
    let printed = text::printable_json(printed);
    printed.split('\t').map(text::printable_lines).collect::<Vec<_>>().join("\t")
}

/// Prints why a script failed.
pub(super) fn show_error(context: &Context, error: &ScriptError, name: Option<&str>) {
    // The script's output comes first.
    let _ = context.streams.stdout().flush();
    let streams = &context.streams;
    let word = context.stderr_word(Role::Error, "error:");
    let place = match (name, error.line) {
        (Some(name), Some(line)) => format!("{name}:{line}: "),
        _ => String::new(),
    };
    let message = text::printable_lines(&error.message);
    // Standard error may be closed; the exit status also shows the failure.
    let _ = streams.note(&word, &format!("{place}{message}"));
    if let Some(hint) = &error.hint {
        let word = context.stderr_word(Role::Hint, "hint:");
        let _ = streams.note(&word, &text::printable_lines(hint));
    }
}

/// Returns the JSON document of a script that could not start.
pub(super) fn failed_json(error: &Error) -> Value {
    Report::failed(error.clone().into()).to_json()
}
