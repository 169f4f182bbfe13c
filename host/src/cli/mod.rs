//! The command line: its commands, output and exit status.

mod accounts;
mod agents;
mod approvals;
mod audit;
mod call;
mod component;
mod configure;
#[cfg(feature = "simulator")]
mod demo;
mod discover;
mod doctor;
mod ending;
mod freeze;
mod functions;
#[cfg(feature = "inbox")]
mod inbox;
#[cfg(feature = "lua")]
mod lua;
#[cfg(feature = "mcp")]
mod mcp;
mod output;
mod pages;
mod paint;
mod permissions;
mod prompt;
mod render;
#[cfg(feature = "lua")]
mod repl;
#[cfg(all(feature = "inbox", unix))]
mod screen;
#[cfg(all(feature = "inbox", feature = "mcp"))]
mod serve;
mod setup;
mod shell;
mod signal;
#[cfg(feature = "simulator")]
mod simulate;
mod spinner;
#[cfg(feature = "mcp")]
mod stdio;
mod streams;
mod table;
mod terminal;
mod token;

pub use crate::exit::Exit;
pub use streams::Streams;

use crate::config::Settings;
use crate::config::edit::Changed;
use crate::config::environment::Environment;
use crate::error::Error;
use crate::session::approval::{Approver, NobodyToAsk};
use crate::session::call::Call;
use crate::session::inspect;
use crate::session::notify::Notifier;
use crate::session::resources::read_component;
use crate::session::{self, Session, packaged};
use crate::store::{Decided, Decider, Place, Store, What};
use crate::system::resource_limit::{self, LowAddressSpace};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use output::{CommandError, Document, Output, Style, document, finish, print};
use paint::{Role, paint, wants_colours};
use render::Look;
use serde_json::{Value, json};
use signal::Signals;
use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use whereby_authority::text;
use whereby_catalog::Function;

/// Let AI agents manage Whereby rooms without giving them your API key.
///
/// The functions run in a WebAssembly sandbox. This program keeps the API key and decides what each
/// call may do. `whereby demo` shows how it works and needs no account.
#[derive(Debug, Parser)]
#[command(
    name = "whereby",
    version,
    after_help = "Run `whereby help COMMAND` for a command, and `whereby help exit-codes` for the exit codes.",
    max_term_width = 100
)]
struct Opts {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = GLOBAL)]
struct Global {
    /// Read this configuration instead of $WHEREBY_CONFIG or the default file
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Use this account instead of the default one
    #[arg(long, global = true, value_name = "NAME")]
    account: Option<String>,
    /// Run this component instead of the built-in one
    #[arg(long, global = true, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Print one JSON document, even if the command fails
    #[arg(long, global = true)]
    json: bool,
    /// Show each request and its response on standard error
    #[arg(short, long, global = true)]
    verbose: bool,
    /// On standard error, print only questions, errors and hints
    #[arg(long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Setup(setup::Opts),
    #[command(alias = "integrations:call")]
    Call(call::Opts),
    #[command(alias = "integrations:list")]
    List(discover::ListOpts),
    #[command(alias = "integrations:docs")]
    Docs(discover::DocsOpts),
    #[command(alias = "integrations:schema")]
    Schema(discover::SchemaOpts),
    #[command(alias = "integrations:search")]
    Search(discover::SearchOpts),
    #[command(alias = "integrations:configure")]
    Configure(configure::Opts),
    Accounts(accounts::Opts),
    Agents(agents::Opts),
    Freeze(freeze::FreezeOpts),
    Unfreeze(freeze::UnfreezeOpts),
    Permissions(permissions::Opts),
    Doctor(doctor::Opts),
    #[cfg(feature = "inbox")]
    Inbox(inbox::Opts),
    #[cfg(all(feature = "inbox", feature = "mcp"))]
    Serve(serve::Opts),
    Approvals(approvals::Opts),
    Audit(audit::Opts),
    Token(token::Opts),
    #[cfg(feature = "lua")]
    #[command(alias = "integrations:lua")]
    Lua(lua::Opts),
    Component(component::Opts),
    #[cfg(feature = "mcp")]
    Mcp(mcp::Opts),
    Completions(shell::CompletionsOpts),
    Man(shell::ManOpts),
    #[cfg(feature = "simulator")]
    Demo(demo::Opts),
    #[cfg(feature = "simulator")]
    Simulate(simulate::Opts),
    /// Show the exit codes
    #[command(hide = true, override_help = Exit::TABLE)]
    ExitCodes,
}

/// The heading of the options that all commands share.
const GLOBAL: &str = "Global options";

/// The name of the command line in approvals and the audit log.
const FRONT_END: &str = "cli";

/// Returns the command line's parser.
fn command() -> clap::Command {
    Opts::command()
}

/// The environment, streams and global options of a command.
#[derive(Clone)]
struct Context {
    environment: Environment,
    streams: Streams,
    global: Global,
    /// Whether the terminal shows a question.
    asking: Arc<AtomicBool>,
    /// Tells people of new approval requests.
    notifier: Notifier,
    compiled_code: FindCode,
    /// The store, once the command needs it. It is closed after the output.
    store: Arc<Mutex<Option<Arc<Store>>>>,
}

/// Finds the packaged compiled code of the built-in component. Only commands that make calls need it.
type FindCode = fn(&Environment) -> Option<PathBuf>;

impl Context {
    /// Returns the look of tables on standard output.
    fn look(&self) -> Look {
        Look::new(&self.environment, &self.streams)
    }

    /// Returns a word for standard error, in the colour of its role.
    fn stderr_word(&self, role: Role, word: &str) -> String {
        let colours = self.streams.stderr_is_terminal && wants_colours(&self.environment);
        paint(colours, role, word)
    }

    /// Returns the functions of the component that calls run. If the configuration cannot be read, those
    /// of the built-in component: documentation needs no configuration.
    fn functions(&self) -> Result<Vec<&'static Function>, Error> {
        let bytes = match &self.global.component {
            Some(path) => Some(read_component(&self.environment.directory.join(path), None)?),
            None => Settings::load(self.global.config.as_deref(), &self.environment)
                .ok()
                .and_then(|settings| settings.component)
                .map(|file| read_component(&file.path, file.sha256.as_deref()))
                .transpose()?,
        };
        bytes.map_or_else(
            || Ok(whereby_catalog::FUNCTIONS.iter().collect()),
            |bytes| inspect::functions(&bytes),
        )
    }

    /// Loads the settings and prints their warnings.
    fn settings(&self) -> Result<Settings, Error> {
        let settings = Settings::load(self.global.config.as_deref(), &self.environment)?;
        if !self.global.quiet {
            settings.warnings.iter().for_each(|warning| self.warn(warning));
        }
        Ok(settings)
    }

    /// Prints a warning on standard error.
    fn warn(&self, what: &str) {
        let word = self.stderr_word(Role::Warning, "warning:");
        // Standard error may be closed.
        let _ = self.streams.note(&word, &text::printable(what, 500));
    }

    /// Returns a function that prints warnings, for code that outlives the command.
    fn warner(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let context = self.clone();
        move |what| {
            if !context.global.quiet {
                context.warn(what);
            }
        }
    }

    /// Whether a person can be asked on the terminal. In a CI job, nobody is at the terminal.
    fn can_ask(&self, force: bool) -> bool {
        let is_terminal = self.streams.stdin_is_terminal && self.streams.stderr_is_terminal;
        is_terminal && !self.environment.is_ci() && !self.global.json && !force
    }

    /// Returns the store of approvals and the audit log, which the whole command shares.
    fn store(&self) -> Result<Arc<Store>, Error> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &*store {
            return Ok(Arc::clone(store));
        }
        let directory = self.environment.own_directory("state").map_err(|reason| {
            let message = format!("approvals and the audit log cannot be stored: {reason}");
            Error::configuration(message)
        })?;
        let made = Store::with_clock(directory, self.environment.clock.clone());
        Ok(Arc::clone(store.insert(made)))
    }

    /// Closes the store: adds rows that wait to the database, and closes that. If it fails, the rows are
    /// added by the next program.
    fn close_store(&self) {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(store);
    }

    /// Warns that a decision is not in the audit log, if it is not.
    fn warn_unrecorded(&self, problem: Option<&Error>) {
        if let Some(problem) = problem {
            self.warn(&format!("this is missing from the audit log: {problem}"));
        }
    }

    /// Records in the audit log that a person changed something with this program.
    fn record(&self, what: What, details: Value) {
        let by = Decider::at(Place::Terminal);
        let decided = Decided { details, ..Decided::new(what, &by) };
        let recorded = self.store().and_then(|store| store.record_decision(&decided));
        self.warn_unrecorded(recorded.err().as_ref());
    }

    /// Records in the audit log that the configuration file was changed. Values may be secrets, so only
    /// their keys are recorded.
    fn record_change(&self, changed: &Changed) {
        if changed.is_different {
            let file = changed.file.to_string_lossy();
            self.record(What::Configure, json!({"file": file, "keys": changed.keys}));
        }
    }

    /// Records in the audit log a call that failed before the policy could decide.
    async fn record_refusal(&self, call: Call, error: &Error) {
        let clock = &self.environment.clock;
        let store = self.store().map(Some);
        let problem = session::record_refusal(store, clock, call, error.clone()).await;
        if let Some(problem) = problem {
            self.warn(&format!("this call is missing from the audit log: {problem}"));
        }
    }

    fn session(&self, settings: Settings, force: bool) -> Result<Session, Error> {
        let approver: Arc<dyn Approver> = if self.can_ask(force) {
            Arc::new(prompt::TerminalPrompt {
                streams: self.streams.clone(),
                asking: Arc::clone(&self.asking),
            })
        } else {
            Arc::new(NobodyToAsk)
        };
        self.session_asking(settings, approver)
    }

    /// Builds a session with this approver.
    fn session_asking(
        &self,
        settings: Settings,
        approver: Arc<dyn Approver>,
    ) -> Result<Session, Error> {
        let mut builder = Session::builder()
            .settings(settings)
            .environment(Environment {
                compiled_code: (self.compiled_code)(&self.environment),
                ..self.environment.clone()
            })
            .approver(approver)
            .notifier(&self.notifier)
            .notice(self.warner())
            .cache(self.environment.platform_directory("cache"));
        builder = match self.store() {
            Ok(store) => builder.store(store),
            Err(error) => builder.no_store(error),
        };
        if let Some(path) = &self.global.component {
            let path = self.environment.directory.join(path);
            builder = builder.component(read_component(&path, None)?);
        }
        builder.build()
    }
}

/// The stack size of the program's thread, in bytes: as large as a main thread's.
const STACK: usize = 8 * 1024 * 1024;

/// Runs the program as this process. Returns the exit status.
#[must_use]
pub fn run_process() -> u8 {
    if let Some(limit) = LowAddressSpace::find() {
        // Avoids allocating, because there may be no memory. Standard error may be closed.
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("error: {limit}\n"));
        return Exit::Internal.code();
    }
    // A main thread's stack grows as it is used. If address space is limited, growing it can kill the
    // program. Another thread gets its whole stack at once, or spawning it fails.
    let own = std::thread::Builder::new().name("whereby".into()).stack_size(STACK);
    match own.spawn(run_on_this_thread) {
        // The panic hook has printed any panic.
        Ok(program) => program.join().unwrap_or(Exit::Internal.code()),
        Err(_) => run_on_this_thread(),
    }
}

fn run_on_this_thread() -> u8 {
    let streams = Streams::of_process();
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let environment = Environment::of_process();
    let own = (arguments.clone(), environment.clone(), streams.clone());
    let print_panic = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // A resource that the system refused is reported below as an error, without a place in the code.
        if resource_limit::panic_of_system(panic.payload()).is_none() {
            // On a full screen nobody would see it.
            terminal::restore();
            print_panic(panic);
        }
    }));
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let (arguments, environment, mut streams) = own;
        #[cfg(unix)]
        {
            // If the system has no thread left, signals keep their default effect, and the first call
            // reports the shortage.
            streams.signals = signal::Watch::start().ok();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let code = |_: &Environment| packaged::beside_program();
        let code = runtime.block_on(run_with(arguments, environment, streams, code));
        // A thread may still be reading from the terminal.
        runtime.shutdown_background();
        terminal::restore();
        Ok(code)
    }));
    let error = match ran {
        Ok(Ok(code)) => return code,
        Ok(Err(error)) => {
            let error: std::io::Error = error;
            let told = resource_limit::told(&error);
            Error::internal(format!("the program could not be set up: {told}"))
        }
        // A library can panic if the system runs out of something, such as file descriptors.
        Err(panic) => resource_limit::panicked("the program failed", &*panic),
    };
    let style = Style::of(&arguments, environment);
    print(&streams, &style, Err(error.into()))
}

/// What people write who know another command, by the command, with what to write instead.
const TIPS: [(&str, &str, &str); 12] = [
    ("agents", "--until", "an agent expires with --valid-until DATE, or --for TIME"),
    ("token", "--until", "a token expires with --valid-until DATE, or --for TIME"),
    ("agents", "--agent", "name the agent without an option: whereby agents add NAME"),
    ("configure", "--agent", "set a rule of an agent with --set agents.NAME.permissions.write=ask"),
    ("docs", "--agent", "an agent's rules are in: whereby permissions --agent NAME"),
    ("search", "--agent", "an agent's rules are in: whereby permissions --agent NAME"),
    ("schema", "--agent", "an agent's rules are in: whereby permissions --agent NAME"),
    ("freeze", "--for", "a freeze lasts until: whereby unfreeze"),
    ("freeze", "--until", "a freeze lasts until: whereby unfreeze"),
    ("approvals", "--until", "an approval of several calls expires with --for TIME"),
    ("approvals", "revoke", "to revoke an approval, run: whereby approvals deny ID"),
    ("agents", "show", "an agent's rules are in: whereby permissions --agent NAME"),
];

/// Says in plain words why the value of an option is wrong, where the standard library says it.
fn reword(error: &clap::Error, message: &str) -> String {
    let Some(why) = std::error::Error::source(error).map(ToString::to_string) else {
        return message.to_owned();
    };
    let range = why.split_once(" is not in ").and_then(|(_, range)| range.split_once(".."));
    let words = match (why.as_str(), range) {
        ("invalid digit found in string" | "cannot parse integer from empty string", _) => {
            "expected an integer".to_owned()
        }
        ("number too large to fit in target type", _) => "the number is too large".into(),
        ("number too small to fit in target type", _) => "the number is too small".into(),
        ("invalid socket address syntax", _) => {
            "expected an IP address and a port, such as 127.0.0.1:8090".into()
        }
        (_, Some((least, ""))) => format!("expected an integer from {least}"),
        (_, Some((least, most))) => {
            format!("expected an integer from {least} to {}", most.trim_start_matches('='))
        }
        _ => return message.to_owned(),
    };
    match message.rsplit_once(&format!(": {why}")) {
        Some((before, after)) => format!("{before}: {words}{after}"),
        None => message.to_owned(),
    }
}

/// Improves the message if a function was written as a command, or an argument as an option.
fn improve_tip(error: &mut clap::Error, arguments: &[OsString]) {
    let command = match command_of(arguments).unwrap_or_default() {
        "help" => arguments.last().and_then(|word| word.to_str()).unwrap_or_default(),
        command => command,
    };
    let given = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand].into_iter();
    let given = given.filter_map(|kind| error.get(kind)).find_map(|value| match value {
        ContextValue::String(text) => text.split(['=', ' ']).next().map(str::to_owned),
        _ => None,
    });
    let given = given.unwrap_or_default();
    let known = TIPS.iter().find(|(of, wrong, _)| (*of, *wrong) == (command, &*given));
    let tip = match (error.kind(), known) {
        (ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand, Some((_, _, tip))) => {
            // Clap suggests what is spelled alike.
            error.remove(ContextKind::SuggestedArg);
            (*tip).into()
        }
        (ErrorKind::InvalidSubcommand, None) => {
            let name = command.replace('-', "_");
            let Some(function) = whereby_catalog::function(&name) else { return };
            format!("it is a function; run: whereby call {}", function.json)
        }
        (ErrorKind::UnknownArgument, None)
            if matches!(command, "call" | "integrations:call") =>
        {
            "pass the function's arguments as a JSON object, such as '{\"limit\": 2}', or one by one, \
             such as '--arg limit=2'"
                .into()
        }
        _ => return,
    };
    error.remove(ContextKind::SuggestedSubcommand);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
}

/// Returns the command of a command line: the first word that is neither a flag nor a flag's value.
fn command_of(arguments: &[OsString]) -> Option<&str> {
    let mut arguments = arguments.iter().map(|argument| argument.to_str().unwrap_or_default());
    while let Some(argument) = arguments.next() {
        match argument {
            "--config" | "--account" | "--component" => drop(arguments.next()),
            flag if flag.starts_with('-') => {}
            command => return Some(command),
        }
    }
    None
}

/// Runs the program with these arguments, environment and streams. Returns the exit status.
///
/// The arguments do not include the program's name.
pub async fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment,
    streams: Streams,
) -> u8 {
    run_with(arguments, environment, streams, |environment| environment.compiled_code.clone()).await
}

async fn run_with(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment,
    streams: Streams,
    compiled_code: FindCode,
) -> u8 {
    let given: Vec<OsString> = arguments.into_iter().collect();
    let style = Style::of(&given, environment.clone());
    let arguments = std::iter::once("whereby".into()).chain(given.iter().cloned());
    let parsed = command().try_get_matches_from(arguments);
    let opts = match parsed.and_then(|matches| Opts::from_arg_matches(&matches)) {
        Ok(opts) => opts,
        Err(error) if !error.use_stderr() => {
            let written = streams.print(&error.render().to_string());
            return finish(&streams, written, Exit::Success);
        }
        Err(mut error) => {
            improve_tip(&mut error, &given);
            let message = reword(&error, error.render().to_string().trim_end());
            let message = text::printable_lines(&message);
            if !style.json {
                return finish(&streams, writeln!(streams.stderr(), "{message}"), Exit::Usage);
            }
            let message = message.trim_start_matches("error: ").to_owned();
            return print(&streams, &style, Err(Error::usage(message).into()));
        }
    };
    let context = Context {
        environment,
        streams: streams.clone(),
        global: opts.global,
        asking: Arc::default(),
        notifier: Notifier::default(),
        compiled_code,
        store: Arc::default(),
    };
    let notifier = context.notifier.clone();
    // The futures of commands are large; boxed, they do not all take space on the stack.
    let result = match opts.command {
        Command::Setup(opts) => Box::pin(opts.run(&context)).await,
        Command::Call(opts) => Box::pin(opts.run(&context)).await,
        Command::List(opts) => opts.run(&context),
        Command::Docs(opts) => opts.run(&context),
        Command::Schema(opts) => opts.run(&context),
        Command::Search(opts) => opts.run(&context),
        Command::Configure(opts) => opts.run(&context),
        Command::Accounts(opts) => opts.run(&context),
        Command::Agents(opts) => opts.run(&context),
        Command::Freeze(opts) => opts.run(&context),
        Command::Unfreeze(opts) => opts.run(&context),
        Command::Permissions(opts) => opts.run(&context),
        Command::Doctor(opts) => unless_stopped(&context, Box::pin(opts.run(&context))).await,
        #[cfg(feature = "inbox")]
        Command::Inbox(opts) => Box::pin(opts.run(&context)).await,
        #[cfg(all(feature = "inbox", feature = "mcp"))]
        Command::Serve(opts) => Box::pin(opts.run(&context)).await,
        Command::Approvals(opts) => opts.run(&context),
        Command::Audit(opts) => Box::pin(opts.run(&context)).await,
        Command::Token(opts) => opts.run(&context),
        #[cfg(feature = "lua")]
        Command::Lua(opts) => Box::pin(opts.run(&context)).await,
        Command::Component(opts) => opts.run(&context),
        #[cfg(feature = "mcp")]
        Command::Mcp(opts) => Box::pin(opts.run(&context)).await,
        Command::Completions(opts) => opts.run(),
        Command::Man(opts) => opts.run(&context),
        #[cfg(feature = "simulator")]
        Command::Demo(opts) => unless_stopped(&context, Box::pin(opts.run(&context))).await,
        #[cfg(feature = "simulator")]
        Command::Simulate(opts) => Box::pin(opts.run(&context)).await,
        Command::ExitCodes => {
            let table = Exit::TABLE;
            Ok(Output::text(format!("{table}\n"), document("exit_codes", table.into())))
        }
    };
    let code = print(&streams, &style, result);
    // From here on, a signal no longer changes the exit status.
    streams.set_exit_code(code);
    // After the output, which nothing holds up. A person who stopped the program does not wait
    // for the notifications.
    if ![Exit::Interrupted, Exit::Terminated, Exit::HungUp].map(Exit::code).contains(&code) {
        let mut signals = Signals::listen(&streams);
        tokio::select! {
            biased;
            () = notifier.finished() => {}
            _ = signals.next() => {}
        }
    }
    notifier.close().await;
    // This waits for the disk, and perhaps for another program.
    context.close_store();
    code
}

/// Runs a read-only command until it ends or a signal stops it.
async fn unless_stopped(
    context: &Context,
    command: impl Future<Output = Result<Output, CommandError>>,
) -> Result<Output, CommandError> {
    let mut signals = Signals::listen(&context.streams);
    tokio::select! {
        biased;
        result = command => result,
        exit = signals.next() => if context.global.json {
            Err(CommandError::stopped(exit, Document::default()))
        } else {
            Ok(Output::Nothing(exit))
        },
    }
}
