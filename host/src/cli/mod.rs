//! The command line: its commands, their output, and how it ends.

mod call;
mod component;
#[cfg(feature = "simulator")]
mod demo;
mod discover;
mod exit;
mod prompt;
mod render;
#[cfg(feature = "simulator")]
mod simulate;
mod streams;

pub use exit::Exit;
pub use streams::Streams;

use crate::approval::{Approver, NobodyToAsk};
use crate::config::{Environment, Settings};
use crate::error::{Error, WriteOutcome};
use crate::policy::Permission;
use crate::resources::read_component;
use crate::session::Session;
use crate::text;
use clap::Parser;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Whereby video meetings for AI agents that are not trusted with the account.
///
/// Seven functions run as a WebAssembly component in a sandbox; this program keeps the credentials
/// and decides what each call may do. `whereby demo` shows all of it without an account.
#[derive(Debug, Parser)]
#[command(
    name = "whereby",
    version,
    after_help = Exit::TABLE,
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct Opts {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
struct Global {
    /// The configuration file, instead of $WHEREBY_CONFIG or the platform's
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The account, instead of the default one
    #[arg(long, global = true, value_name = "NAME")]
    account: Option<String>,
    /// Another component than the built-in one
    #[arg(long, global = true, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Print one JSON document, whatever happens
    #[arg(long, global = true)]
    json: bool,
    /// Say on standard error which requests were sent
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Say nothing on standard error but errors
    #[arg(long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Call(call::Opts),
    List(discover::ListOpts),
    Docs(discover::DocsOpts),
    Schema(discover::SchemaOpts),
    Component(component::Opts),
    #[cfg(feature = "simulator")]
    Demo(demo::Opts),
    #[cfg(feature = "simulator")]
    Simulate(simulate::Opts),
}

/// What every command has at hand.
struct Context {
    environment: Environment,
    streams: Streams,
    config: Option<PathBuf>,
    account: Option<String>,
    component: Option<PathBuf>,
    json: bool,
    verbose: bool,
    #[cfg_attr(
        not(feature = "simulator"),
        expect(dead_code, reason = "only the simulator says anything but errors")
    )]
    quiet: bool,
}

impl Context {
    fn settings(&self) -> Result<Settings, Error> {
        Settings::load(self.config.as_deref(), &self.environment)
    }

    fn session(&self, force: bool) -> Result<Session, Error> {
        let person = self.streams.stdin_is_terminal
            && self.streams.stderr_is_terminal
            && !self.json
            && !force;
        let approver: Arc<dyn Approver> = if person {
            Arc::new(prompt::TerminalPrompt(self.streams.clone()))
        } else {
            Arc::new(NobodyToAsk)
        };
        let mut builder = Session::builder()
            .settings(self.settings()?)
            .environment(self.environment.clone())
            .approver(approver)
            .cache(self.environment.platform_directory("cache"));
        if let Some(path) = &self.component {
            let path = self.environment.directory.join(path);
            builder = builder.component(read_component(&path, None)?);
        }
        builder.build()
    }
}

/// What a command prints where it succeeds.
enum Output {
    /// The result of a call, with its document.
    Call(Box<Document>, Value),
    /// A text for people, and its JSON form.
    Text(String, Value),
    /// It has printed all there is to print.
    #[cfg(feature = "simulator")]
    Nothing,
}

impl Output {
    fn call(document: Document, data: Value) -> Self {
        Self::Call(Box::new(document), data)
    }
}

/// What the JSON document of a call says besides the result.
#[derive(Clone, Debug, Default)]
struct Document {
    function: Option<&'static str>,
    account: Option<String>,
    dry_run: bool,
    permission: Option<Permission>,
    forced: bool,
    write: WriteOutcome,
    requests: usize,
    duration: Duration,
    /// What a failed dry run has to show all the same.
    data: Option<Value>,
}

impl Document {
    fn for_function(function: Option<&'static str>) -> Self {
        Self { function, ..Self::default() }
    }
}

/// Why a command failed, and what was known by then.
struct Failure {
    error: Error,
    document: Box<Document>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, document: Box::default() }
    }
}

/// Runs the program as this process, and says how it ends.
#[must_use]
pub fn run_process() -> u8 {
    let streams = Streams::of_process();
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let environment = match Environment::of_process() {
        Ok(environment) => environment,
        Err(error) => return print(&streams, Style::of(&arguments), Err(error.into())),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let message = format!("the program could not be set up: {error}");
            let error = Error::Internal { message };
            return print(&streams, Style::of(&arguments), Err(error.into()));
        }
    };
    let code = runtime.block_on(run(arguments, environment, streams));
    // Whoever still waits for a line from the terminal is not waited for.
    runtime.shutdown_background();
    code
}

/// How errors are printed, found out before the command line is understood.
#[derive(Clone, Copy)]
struct Style {
    json: bool,
    quiet: bool,
}

impl Style {
    fn of(arguments: &[OsString]) -> Self {
        let has = |flag| arguments.iter().take_while(|a| *a != "--").any(|a| a == flag);
        Self { json: has("--json"), quiet: has("--quiet") }
    }
}

/// Runs the program: its arguments, without its own name, its surroundings and its streams.
pub async fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment,
    streams: Streams,
) -> u8 {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let style = Style::of(&arguments);
    arguments.insert(0, "whereby".into());
    let opts = match Opts::try_parse_from(arguments) {
        Ok(opts) => opts,
        Err(error) if !error.use_stderr() => {
            return finish(write!(streams.stdout(), "{}", error.render()), Exit::Success);
        }
        Err(error) => {
            let message = text::printable_lines(error.render().to_string().trim_end());
            if !style.json {
                return finish(writeln!(streams.stderr(), "{message}"), Exit::Usage);
            }
            let message = message.trim_start_matches("error: ").to_owned();
            return print(&streams, style, Err(Error::Usage { message }.into()));
        }
    };
    let Global { config, account, component, json, quiet, verbose } = opts.global;
    let context = Context {
        environment,
        streams: streams.clone(),
        config,
        account,
        component,
        json,
        verbose,
        quiet,
    };
    let result = match opts.command {
        Command::Call(opts) => opts.run(&context).await,
        Command::List(opts) => opts.run(&context),
        Command::Docs(opts) => opts.run(),
        Command::Schema(opts) => opts.run(),
        Command::Component(opts) => opts.run(&context),
        #[cfg(feature = "simulator")]
        Command::Demo(opts) => opts.run(&context).await,
        #[cfg(feature = "simulator")]
        Command::Simulate(opts) => opts.run(&context).await,
    };
    print(&streams, style, result)
}

/// Prints what came of a command, and says how the program ends.
fn print(streams: &Streams, style: Style, result: Result<Output, Failure>) -> u8 {
    let exit = match &result {
        Ok(_) => Exit::Success,
        Err(failure) => Exit::of(&failure.error),
    };
    let written = match (result, style.json) {
        #[cfg(feature = "simulator")]
        (Ok(Output::Nothing), _) => Ok(()),
        (Ok(Output::Call(document, data)), true) => {
            print_json(streams, &document.to_json(Ok(&data)))
        }
        (Ok(Output::Call(_, data)), false) => {
            write!(streams.stdout(), "{}", render::render(&data))
        }
        (Ok(Output::Text(_, value)), true) => print_json(streams, &value),
        (Ok(Output::Text(text, _)), false) => write!(streams.stdout(), "{text}"),
        (Err(Failure { error, document }), true) => {
            print_json(streams, &document.to_json(Err(&error)))
        }
        (Err(Failure { error, document }), false) => print_error(streams, style, &error, &document),
    };
    finish(written.and_then(|()| streams.stdout().flush()), exit)
}

fn print_json(streams: &Streams, value: &Value) -> std::io::Result<()> {
    writeln!(streams.stdout(), "{}", text::printable_json(&value.to_string()))
}

fn print_error(
    streams: &Streams,
    style: Style,
    error: &Error,
    document: &Document,
) -> std::io::Result<()> {
    if let Some(data) = &document.data {
        write!(streams.stdout(), "{}", render::render(data))?;
    }
    let mut stderr = streams.stderr();
    writeln!(stderr, "error: {}", text::printable_lines(&error.to_string()))?;
    match document.write {
        WriteOutcome::None => {}
        WriteOutcome::Unknown => writeln!(stderr, "it is not known whether anything was changed")?,
        WriteOutcome::Done => writeln!(stderr, "the change itself was made")?,
    }
    if let Some(hint) = error.hint(document.write).filter(|_| !style.quiet) {
        writeln!(stderr, "hint: {}", text::printable_lines(&hint))?;
    }
    stderr.flush()
}

/// The exit status; a reader that went away is told nothing and gets no error.
fn finish(written: std::io::Result<()>, exit: Exit) -> u8 {
    match written {
        Ok(()) => exit.code(),
        // What a shell shows for a program that SIGPIPE ended.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => 141,
        Err(_) => Exit::Internal.code(),
    }
}

/// A JSON document of a command that is no call.
fn document(name: &str, value: Value) -> Value {
    json!({ name: value })
}
