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

/// The person's input.
enum Typed {
    /// A complete chunk of lines.
    Chunk(String),
    /// Ctrl-C: discard the line.
    Discarded,
    /// Ctrl-D, or the end of input.
    End,
}

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
    let say = |text: &str| {
        let mut stdout = context.streams.stdout();
        let _ = write!(stdout, "{text}").and_then(|()| stdout.flush());
    };
    if !context.quiet {
        say(WELCOME);
    }
    loop {
        let (typed, back) = tokio::select! {
            typed = lines.next(context) => typed?,
            // The editor reads Ctrl-C itself.
            exit = signals.next() => return Ok(Output::Stopped(exit)),
        };
        lines = back;
        let chunk = match typed {
            Typed::Chunk(chunk) => chunk,
            Typed::Discarded => continue,
            Typed::End => break,
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
                    return Ok(Output::Stopped(exit));
                }
            }
        }
    }
    Ok(Output::Nothing)
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

    /// Reads the next chunk, on another thread because reading blocks.
    async fn next(self, context: &Context) -> Result<(Typed, Self), Error> {
        let streams = context.streams.clone();
        let read = tokio::task::spawn_blocking(move || match self {
            Self::Editor(mut editor, history) => {
                // Restores the terminal if a signal ends the program while the editor is active.
                let _saved = terminal::Settings::save();
                let typed = match editor.readline("lua> ") {
                    Ok(chunk) => Typed::Chunk(chunk),
                    Err(ReadlineError::Interrupted) => Typed::Discarded,
                    Err(_) => Typed::End,
                };
                if let Some(file) = &history {
                    save_history(&mut editor, file);
                }
                (typed, Self::Editor(editor, history))
            }
            Self::Plain => {
                let mut chunk = String::new();
                loop {
                    let prompt = if chunk.is_empty() { "lua> " } else { "...> " };
                    let _ = write!(streams.stdout(), "{prompt}");
                    let _ = streams.stdout().flush();
                    match streams.read_line() {
                        Ok(line) => chunk.push_str(&line),
                        Err(_) => return (Typed::End, Self::Plain),
                    }
                    if !Console::is_incomplete(&chunk) {
                        return (Typed::Chunk(chunk), Self::Plain);
                    }
                    chunk.push('\n');
                }
            }
        });
        read.await.map_err(|error| Error::Internal {
            message: format!("the line cannot be read: {error}"),
        })
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

#[cfg(unix)]
fn make_private(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let made = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
    made.set_permissions(std::fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn make_private(file: &Path) -> std::io::Result<()> {
    std::fs::OpenOptions::new().append(true).create(true).open(file).map(drop)
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
    let start = line
        .rfind(|c| !is_name(c))
        .map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8));
    let begun = &line[start..];
    let mut found: Vec<String> = names
        .iter()
        .filter(|name| name.starts_with(begun) && name.len() > begun.len())
        .map(|name| match name[begun.len()..].find('.').map(|dot| begun.len() + dot) {
            // After a typed dot, complete the segment that follows.
            Some(end) if end > begun.len() || begun.is_empty() => name[..end].to_owned(),
            Some(end) => {
                name[..name[end + 1..].find('.').map_or(name.len(), |dot| end + 1 + dot)].to_owned()
            }
            None => name.clone(),
        })
        .collect();
    found.sort();
    found.dedup();
    (start, found)
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
