//! The console of `whereby lua`: runs the lines that a person types, one after the other.

use super::lua::{printable, show_error};
use super::signal::Signals;
use super::{Context, Exit, Failure, Output, render, terminal};
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
Lua with the functions of Whereby; `help` tells more, Ctrl-D ends it\n";

const HELP: &str = "\
app.integrations.whereby.list_rooms({ limit = 2 })  calls a function; Tab completes
x = 1 + 2                                           keeps a value; an expression is shown
print(lua_list_docs())                              lists what there is to read
help list_rooms                                     reads it
Ctrl-C drops the line, or stops what runs; Ctrl-D ends\n";

/// How many lines are remembered from one time to the next.
const REMEMBERED: usize = 1000;

/// What the person did.
enum Typed {
    /// A whole chunk of lines.
    Chunk(String),
    /// Ctrl-C: what was typed is dropped.
    Dropped,
    /// Ctrl-D, or the end of input.
    End,
}

/// Where lines come from: a terminal with all its comforts, or plain lines where there are none.
enum Lines {
    Editor(Box<Editor<Comforts, FileHistory>>, Option<PathBuf>),
    Plain,
}

/// Talks with a person until they end it.
pub(super) async fn run(context: &Context, runtime: Runtime) -> Result<Output, Failure> {
    let streams = context.streams.clone();
    let runtime = runtime.output(move |printed| {
        // A terminal that went away ends the console at the next line.
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
            // An editor reads Ctrl-C itself.
            exit = signals.next() => return Ok(Output::Stopped(exit)),
        };
        lines = back;
        let chunk = match typed {
            Typed::Chunk(chunk) => chunk,
            Typed::Dropped => continue,
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
                    // What has no form in JSON is shown as Lua does.
                    (Some(_), Some(shown)) => say(&format!("{}\n", printable(&shown))),
                    (Some(error), None) => show_error(context, &error, None),
                    (None, _) => match &report.result {
                        Value::Null => {}
                        Value::String(text) => say(&format!("{}\n", printable(text))),
                        result => say(&render::render(result, &context.look())),
                    },
                }
                // Ctrl-C stops what runs, and any other signal the console.
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
            .max_history_size(REMEMBERED)
            .map(rustyline::config::Builder::build);
        let editor = config.and_then(Editor::<Comforts, FileHistory>::with_config);
        // A terminal that cannot be edited on can still be read from.
        let Ok(mut editor) = editor else { return Self::Plain };
        editor.set_helper(Some(Comforts { names: console.names() }));
        let history = history_file(context);
        if let Some(file) = &history {
            // There is none the first time.
            let _ = editor.load_history(file);
        }
        Self::Editor(Box::new(editor), history)
    }

    /// The next chunk. Reading blocks, so a thread of its own does it.
    async fn next(self, context: &Context) -> Result<(Typed, Self), Error> {
        let streams = context.streams.clone();
        let read = tokio::task::spawn_blocking(move || match self {
            Self::Editor(mut editor, history) => {
                // The editor changes the terminal's settings, and a signal can end the program
                // meanwhile. Without them, there is nothing to put back.
                let _kept = terminal::Settings::keep();
                let typed = match editor.readline("lua> ") {
                    Ok(chunk) => Typed::Chunk(chunk),
                    Err(ReadlineError::Interrupted) => Typed::Dropped,
                    Err(_) => Typed::End,
                };
                if let Some(file) = &history {
                    remember(&mut editor, file);
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
        read.await
            .map_err(|error| Error::Internal { message: format!("no line was read: {error}") })
    }
}

/// The file that keeps what was typed, in a folder of the user's own.
fn history_file(context: &Context) -> Option<PathBuf> {
    let folder = context.environment.platform_directory("state")?;
    crate::system::file::make_private_folder(&folder).ok()?;
    let file = folder.join("lua-history");
    // It may hold what was typed as an argument, so nobody else is to read it.
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

/// Keeps the history. Where that fails, the lines of this time are lost and nothing else.
fn remember(editor: &mut Editor<Comforts, FileHistory>, file: &Path) {
    let _ = editor.save_history(file);
    let _ = make_private(file);
}

/// Completion, and lines that go on.
struct Comforts {
    names: Vec<String>,
}

impl Helper for Comforts {}
impl Highlighter for Comforts {}
impl Hinter for Comforts {
    type Hint = String;
}

impl Validator for Comforts {
    fn validate(&self, typed: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let is_help = typed.input().trim_start().starts_with("help");
        Ok(match !is_help && Console::is_incomplete(typed.input()) {
            true => ValidationResult::Incomplete,
            false => ValidationResult::Valid(None),
        })
    }
}

impl Completer for Comforts {
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

/// Where the name at the end of a line begins, and what can complete it: the next segment of each name
/// that begins so.
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
            // The dot that was just typed is followed by a segment of its own.
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
