//! The console of `whereby lua`: runs the lines that a person types.

use super::lua::{printable, show_error};
use super::signal::Signals;
use super::{CommandError, Context, Exit, Output, render, terminal};
use crate::error::Error;
use crate::lua::{Console, Runtime};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Editor, Helper};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const WELCOME: &str = "\
Lua with the functions of Whereby; type `help` for help, Ctrl-D to exit\n";

const HELP: &str = "\
app.integrations.whereby.list_rooms({ limit = 2 })  calls a function; Tab completes names
x = 1 + 2                                           keeps a value; x alone shows it
print(lua_list_docs())                              lists the help pages
help list_rooms                                     shows one
Ctrl-C discards the line, or stops the running code; Ctrl-D exits\n";

/// The maximum number of lines in the history.
const MAX_HISTORY: usize = 1000;

/// The source of lines: a line editor with completion and history, or plain lines.
enum Lines {
    Editor(Box<Editor<LineHelper, FileHistory>>, Option<PathBuf>),
    Plain,
}

/// Runs the console until the person ends it.
pub(super) async fn run(context: &Context, runtime: Runtime) -> Result<Output, CommandError> {
    let streams = context.streams.clone();
    let runtime = runtime.output(move |printed| {
        // If the terminal is closed, the next read fails and ends the console.
        let _ = write!(streams.stdout(), "{}", printable(printed));
    });
    let mut console = runtime.console()?;
    let mut signals = Signals::listen(&context.streams);
    let mut lines = Lines::new(context, &console);
    let say = |text: &str| drop(context.streams.print(text));
    if !context.global.quiet {
        say(WELCOME);
    }
    loop {
        let (typed, back) = tokio::select! {
            typed = lines.next(context) => typed?,
            // The editor reads Ctrl-C itself.
            exit = signals.next() => return Ok(Output::Nothing(exit)),
        };
        lines = back;
        let chunk = match typed {
            Ok(chunk) => chunk,
            // Ctrl-C discards the line.
            Err(ReadlineError::Interrupted) => continue,
            Err(_) => break,
        };
        let words: Vec<&str> = chunk.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            ["help"] => say(HELP),
            ["help", name] => match console.read_doc(name) {
                Ok(page) => say(&printable(&page)),
                Err(problem) => say(&format!("{}\n", printable(&problem))),
            },
            ["exit" | "quit"] => break,
            _ => {
                let mut stopped = None;
                let until = async { stopped = Some(signals.next().await) };
                let (report, shown) = console.run(&chunk, until).await;
                match (report.error, shown) {
                    // A value without a JSON form is shown as Lua shows it.
                    (Some(_), Some(shown)) => say(&format!("{}\n", printable(&shown))),
                    (Some(error), None) => show_error(context, &error, None),
                    (None, _) => match &report.result {
                        Value::Null => {}
                        Value::String(text) => say(&format!("{}\n", printable(text))),
                        result => say(&render::render(result, &context.look())),
                    },
                }
                // Ctrl-C stops the code; any other signal also stops the console.
                if let Some(exit) = stopped.filter(|exit| *exit != Exit::Interrupted) {
                    return Ok(Output::Nothing(exit));
                }
            }
        }
    }
    Ok(Output::Nothing(Exit::Success))
}

impl Lines {
    fn new(context: &Context, console: &Console) -> Self {
        if !context.streams.is_process {
            return Self::Plain;
        }
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .auto_add_history(true)
            .max_history_size(MAX_HISTORY)
            .map(rustyline::config::Builder::build);
        let editor = config.and_then(Editor::<LineHelper, FileHistory>::with_config);
        // A terminal without line editing can still be read.
        let Ok(mut editor) = editor else { return Self::Plain };
        editor.set_helper(Some(LineHelper { names: console.names() }));
        let history = history_file(context);
        if let Some(file) = &history {
            // The file does not exist at first.
            let _ = editor.load_history(file);
        }
        Self::Editor(Box::new(editor), history)
    }

    /// Reads the next complete chunk of lines, on another thread because reading blocks.
    async fn next(self, context: &Context) -> Result<(rustyline::Result<String>, Self), Error> {
        let streams = context.streams.clone();
        let read = tokio::task::spawn_blocking(move || match self {
            Self::Editor(mut editor, history) => {
                // Restores the terminal if a signal ends the program while the editor is active.
                let _saved = terminal::Settings::save();
                let typed = editor.readline("lua> ");
                if let Some(file) = &history {
                    save_history(&mut editor, file);
                }
                (typed, Self::Editor(editor, history))
            }
            Self::Plain => {
                let mut chunk = String::new();
                loop {
                    let prompt = if chunk.is_empty() { "lua> " } else { "...> " };
                    let _ = streams.print(prompt);
                    match streams.read_line() {
                        Ok(line) => chunk.push_str(&line),
                        Err(_) => return (Err(ReadlineError::Eof), Self::Plain),
                    }
                    if !Console::is_incomplete(&chunk) {
                        return (Ok(chunk), Self::Plain);
                    }
                    chunk.push('\n');
                }
            }
        });
        read.await.map_err(|error| Error::internal(format!("the line cannot be read: {error}")))
    }
}

/// Returns the history file, in a private folder.
fn history_file(context: &Context) -> Option<PathBuf> {
    let folder = context.environment.platform_directory("state")?;
    crate::system::file::make_private_folder(&folder).ok()?;
    let file = folder.join("lua-history");
    // Typed arguments may be secret.
    make_private(&file).ok()?;
    Some(file)
}

fn make_private(file: &Path) -> std::io::Result<()> {
    // A link to /dev/null switches the history off, and must not make that private.
    if file.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let mut options = std::fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let made = options.append(true).create(true).open(file)?;
    #[cfg(unix)]
    made.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    #[cfg(not(unix))]
    drop(made);
    Ok(())
}

/// Saves the history. If that fails, only the lines of this session are lost.
fn save_history(editor: &mut Editor<LineHelper, FileHistory>, file: &Path) {
    let _ = editor.save_history(file);
    let _ = make_private(file);
}

/// Completes names, and detects unfinished chunks.
struct LineHelper {
    names: Vec<String>,
}

impl Helper for LineHelper {}
impl Highlighter for LineHelper {}
impl Hinter for LineHelper {
    type Hint = String;
}

impl Validator for LineHelper {
    fn validate(&self, typed: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let is_help = typed.input().trim_start().starts_with("help");
        Ok(if !is_help && Console::is_incomplete(typed.input()) {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}

impl Completer for LineHelper {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(complete(&self.names, &line[..position]))
    }
}

/// Returns where the name at the end of a line begins, and its completions: the next segment of each name
/// with that prefix.
fn complete(names: &[String], line: &str) -> (usize, Vec<String>) {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let begun = line.rsplit(|c| !is_name(c)).next().unwrap_or_default();
    let found: BTreeSet<String> = names
        .iter()
        .filter(|name| name.starts_with(begun) && name.len() > begun.len())
        .map(|name| {
            // After a typed dot, or before one, complete the segment that follows.
            let from = begun.len() + usize::from(name[begun.len()..].starts_with('.'));
            name[..name[from..].find('.').map_or(name.len(), |dot| from + dot)].to_owned()
        })
        .collect();
    (line.len() - begun.len(), found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_completed_segment_by_segment() {
        let names: Vec<String> =
            ["app.integrations.whereby.list_rooms", "app.parallel", "print", "app"]
                .map(str::to_owned)
                .to_vec();
        for (line, start, expected) in [
            ("pr", 0, vec!["print"]),
            ("x = ap", 4, vec!["app"]),
            ("app.", 0, vec!["app.integrations", "app.parallel"]),
            ("app.i", 0, vec!["app.integrations"]),
            ("app.integrations", 0, vec!["app.integrations.whereby"]),
            ("f(app.integrations.whereby.l", 2, vec!["app.integrations.whereby.list_rooms"]),
            ("zzz", 0, vec![]),
        ] {
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(complete(&names, line), (start, expected), "{line}");
        }
    }
}
