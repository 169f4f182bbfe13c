//! `whereby setup`: leads a person from the API key to the first call.

mod clients;
mod diff;
mod entry;
mod key;

use super::configure::account_to_change;
use super::paint::Role;
use super::prompt::confirm;
use super::signal::Signals;
use super::spinner::{self, Status};
use super::{CommandError, Context, Output, table};
use crate::config::edit::{self, Change, Seen};
use crate::config::environment::Environment;
use crate::config::origin::ApiBase;
use crate::config::{Settings, file_to_use};
use crate::error::Error;
use crate::exit::Exit;
use crate::session::Session;
use crate::session::approval::Answer;
use crate::session::call::{Call, Outcome};
use crate::system::file;
use clients::{Client, Plan};
use entry::Launch;
use serde_json::{Value, json};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use whereby_authority::policy::{Effect, Entry, Permission, Table};
use whereby_authority::text;

/// What is said of a file that is not the one that was shown.
const CHANGED: &str = "The file has changed in the meantime; nothing was written.";

/// How often a question is asked before setup gives up.
const MAX_ATTEMPTS: usize = 3;

/// Set up whereby step by step: the API key, what agents may do, and your MCP clients
///
/// Asks questions on a terminal, and shows each change to a file before making it. Run it again at any
/// time: what is set up already stays.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  whereby setup
  whereby setup --account work

Without a terminal:
  whereby configure --token-stdin < FILE
  whereby configure --read allow --write ask
  whereby doctor")]
pub(super) struct Opts {
    /// Use this API for the account, such as that of `whereby simulate`
    #[arg(long, value_name = "URL")]
    api_url: Option<String>,
}

impl Opts {
    pub(super) async fn run(self, context: &Context) -> Result<Output, CommandError> {
        check_terminal(context)?;
        if let Some(url) = &self.api_url {
            ApiBase::parse(url).map_err(|what| Error::usage(format!("--api-url: {what}")))?;
        }
        let command = again(context, self.api_url.as_deref());
        let mut talk = Talk { context, command, done: Vec::new() };
        talk.note_end(None);
        let ended = Box::pin(self.talk(&mut talk)).await;
        match &ended {
            Err(CommandError { error: Error::Interrupted, document }) => {
                talk.say(&talk.end(None));
                Ok(Output::Nothing(document.stopped.unwrap_or(Exit::Interrupted)))
            }
            Err(_) if !talk.done.is_empty() => {
                talk.say(&talk.end(None));
                ended
            }
            _ => ended,
        }
    }

    async fn talk(self, talk: &mut Talk<'_>) -> Result<Output, CommandError> {
        let context = talk.context;
        let named = context.global.account.as_deref();
        // Not the environment's account: other programs, such as an MCP client, may not have its variables.
        let own = talk.own_settings()?;
        let name = account_to_change(&own, named)?;
        talk.say(
            "This stores your API key, asks what agents may do, and adds whereby to your MCP clients. \
             Every change to a file is shown first.",
        );
        if !key::set_up(talk, &own, &name, self.api_url.as_deref()).await? {
            let next = format!(
                "\nWithout a key, there is no more to set up. To go on, run: {}\n",
                talk.command
            );
            return Ok(Output::text(next, json!({"success": false})));
        }
        rules(talk, &own)?;
        let has_client = set_up_clients(talk)?;
        talk.heading("4. A first call");
        first_call(talk, &name).await?;
        let restart = "- Restart your MCP client, and ask it: Which Whereby rooms do I have?\n";
        let next = format!(
            "\nNext:\n{}- Approve or deny what agents ask for: whereby inbox\n- See what agents may do: whereby \
             permissions\n",
            if has_client { restart } else { "" }
        );
        Ok(Output::text(next, json!({"success": true})))
    }
}

/// Returns the command that goes on with this setup.
fn again(context: &Context, api_url: Option<&str>) -> String {
    let word = |word: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
        if word.chars().all(is_plain) { word.to_owned() } else { text::shell_word(Path::new(word)) }
    };
    let global = &context.global;
    let config = global.config.as_ref().map(|path| path.display().to_string());
    let flags = [
        ("--config", config.as_deref()),
        ("--account", global.account.as_deref()),
        ("--api-url", api_url),
    ];
    let flags =
        flags.iter().filter_map(|(name, value)| Some(format!(" {name} {}", word((*value)?))));
    flags.fold("whereby setup".to_owned(), |command, flag| command + &flag)
}

/// Refuses to begin where nobody can answer, and says what to use instead.
fn check_terminal(context: &Context) -> Result<(), Error> {
    if context.can_ask(false) {
        return Ok(());
    }
    let why = if context.global.json {
        "it prints no JSON"
    } else if context.environment.is_ci() {
        "in a CI job nobody answers"
    } else {
        "standard input and standard error must each be one"
    };
    Err(Error::usage(format!(
        "setup needs a terminal ({why}); without one, pipe the key to `whereby configure --token-stdin`, then \
         run `whereby configure --read allow --write ask`, and add a server with the command `whereby mcp` to \
         your MCP client"
    )))
}

/// The conversation with the person at the terminal.
struct Talk<'a> {
    context: &'a Context,
    /// The command that goes on with this setup.
    command: String,
    /// What was changed so far.
    done: Vec<String>,
}

impl Talk<'_> {
    /// Prints a paragraph on standard error.
    fn say(&self, paragraph: &str) {
        let streams = &self.context.streams;
        let paragraph = text::printable_lines(paragraph);
        // If the terminal is closed, the next question fails.
        let _ = writeln!(streams.stderr(), "{}", table::message(&paragraph, streams.width));
    }

    fn heading(&self, words: &str) {
        let words = self.context.stderr_word(Role::Heading, words);
        let _ = writeln!(self.context.streams.stderr(), "\n{words}");
    }

    /// Notes a change, and says it.
    fn did(&mut self, what: String) {
        self.say(&format!("Done: {what}."));
        self.done.push(what);
        self.note_end(None);
    }

    /// Returns what to say if setup ends before its time. `begun` is a file that may just be written.
    fn end(&self, begun: Option<&Path>) -> String {
        let begun = begun.map(|file| format!("began to change {}", file::shown(file)));
        let done: Vec<String> = self.done.iter().cloned().chain(begun).collect();
        let done = match done.is_empty() {
            true => "Nothing was changed".to_owned(),
            false => format!("Done so far: {}", done.join("; ")),
        };
        format!("\n{done}. To go on, run: {}", self.command)
    }

    /// Has this said if a signal ends the program.
    fn note_end(&self, begun: Option<&Path>) {
        let streams = &self.context.streams;
        streams.set_last_words(Some(table::message(&self.end(begun), streams.width)));
    }

    /// Asks for a yes or no. Nothing typed means no.
    fn confirm(&self, question: &str) -> Result<bool, Error> {
        self.note_end(None);
        let question = format!("{} [y/N] ", text::printable(question, 500));
        match confirm(&self.context.streams, &question) {
            Answer::Approved => Ok(true),
            Answer::Nobody => Err(Error::Interrupted),
            _ => Ok(false),
        }
    }

    /// Asks for one of several numbered choices, and returns its index. Nothing typed means `usual`.
    fn choose(&self, question: &str, choices: &[&str], usual: usize) -> Result<usize, Error> {
        self.note_end(None);
        self.say(question);
        for (number, choice) in (1..).zip(choices) {
            let line = format!("{number}. {choice}");
            let width = self.context.streams.width;
            let _ = writeln!(self.context.streams.stderr(), "  {}", table::message(&line, width));
        }
        let question = format!("1 to {} [{}] ", choices.len(), usual + 1);
        for _ in 0..MAX_ATTEMPTS {
            let line = self.context.streams.ask(&question).map_err(|_| Error::Interrupted)?;
            match line.trim() {
                "" => return Ok(usual),
                number => match number.parse::<usize>() {
                    Ok(number) if (1..=choices.len()).contains(&number) => return Ok(number - 1),
                    _ => self.say(&format!("Type a number from 1 to {}.", choices.len())),
                },
            }
        }
        Err(Error::usage("no choice was made; run: whereby setup"))
    }

    /// Shows what changes in a file; `part` says which part of it, if not empty.
    fn show(
        &self,
        file: &Path,
        part: &str,
        before: Option<&str>,
        after: &str,
        own: &[Range<usize>],
    ) {
        let streams = &self.context.streams;
        let is_new = if before.is_some() { "" } else { " (a new file)" };
        let mut shown = format!("\n{}{part}{is_new}\n", file::shown(file));
        for line in diff::lines(before.unwrap_or_default(), after, own) {
            let line = match line.as_bytes().first() {
                Some(b'+') => self.context.stderr_word(Role::Success, &line),
                Some(b'-') => self.context.stderr_word(Role::Error, &line),
                _ => line,
            };
            shown += &format!("  {line}\n");
        }
        let _ = writeln!(streams.stderr(), "{shown}");
    }

    /// Returns the settings in the configuration file alone.
    fn own_settings(&self) -> Result<Settings, Error> {
        let mut own = Settings::default();
        edit::preview(
            self.context.global.config.as_deref(),
            &self.context.environment,
            |settings| {
                own = settings.clone();
                Ok(Vec::new())
            },
        )?;
        Ok(own)
    }

    /// Shows changes to the configuration file, without the lines with a key, and makes them if the person
    /// agrees. `first` is done just before the file is written, and nothing is written if it fails.
    fn configure(
        &self,
        changes: &[Change],
        first: impl Fn() -> Result<(), String>,
    ) -> Result<Written, Error> {
        let context = self.context;
        loop {
            let plan = |_: &Settings| Ok(changes.to_vec());
            let config = context.global.config.as_deref();
            let planned = edit::preview(config, &context.environment, plan)?;
            if planned.before != planned.after {
                let mut own = diff::added(&planned.before, &planned.after);
                own.retain(|range| !has_key(&planned.after[range.clone()]));
                let is_there = planned.file.symlink_metadata().is_ok();
                let old = is_there.then_some(planned.before.as_str());
                self.show(&planned.file, "", old, &planned.after, &own);
                if !self.confirm("Write this file?")? {
                    return Ok(Written::No);
                }
            }
            self.note_end(Some(&planned.file));
            match edit::change_as_seen(&planned, changes.to_vec(), &first)? {
                Seen::Made(changed) => {
                    context.record_change(&changed);
                    return Ok(Written::Yes);
                }
                Seen::Failed(why) => return Ok(Written::Failed(why)),
                Seen::Changed => self.say(CHANGED),
            }
        }
    }

    /// Makes a call, which a signal stops. Meanwhile, the terminal shows what it is for.
    async fn call(
        &self,
        session: &Session,
        call: Call,
        what: &str,
    ) -> Result<Outcome, CommandError> {
        let context = self.context;
        let status = Status::new(what);
        let call = spinner::watched(context, &status, call.asked_by(super::FRONT_END, None));
        let mut signals = Signals::listen(&context.streams);
        let ended = tokio::select! {
            biased;
            outcome = spinner::wait(context, &status, session.run(call)) => Ok(outcome),
            exit = signals.next() => Err(CommandError::stopped(exit, super::Document::default())),
        };
        drop(signals);
        self.note_end(None);
        ended
    }
}

/// Whether the configuration file has the changes that were shown.
enum Written {
    Yes,
    No,
    /// Why what comes first failed.
    Failed(String),
}

/// Whether a line of the configuration file may have a key.
fn has_key(line: &str) -> bool {
    const KEY: &str = "access_token";
    line.match_indices(KEY).any(|(at, _)| {
        let value = line[at + KEY.len()..].trim_start().strip_prefix('=');
        !value.is_some_and(|value| value.trim_start().starts_with("{ command"))
    })
}

/// A choice of what agents may do: in words, and as rules.
struct Choice {
    words: &'static str,
    effects: &'static [(Effect, Permission)],
    functions: &'static [(&'static str, Permission)],
}

const CHOICES: [Choice; 3] = [
    Choice {
        words: "Only look at rooms and meetings",
        effects: &[(Effect::Read, Permission::Allow), (Effect::Write, Permission::Deny)],
        functions: &[],
    },
    Choice {
        words: "Look, and ask me before each change",
        effects: &[(Effect::Read, Permission::Allow), (Effect::Write, Permission::Ask)],
        functions: &[],
    },
    Choice {
        words: "Look and create rooms; ask me before recording, streaming or deleting",
        effects: &[
            (Effect::Read, Permission::Allow),
            (Effect::Write, Permission::Ask),
            (Effect::Destination, Permission::Ask),
        ],
        functions: &[("create_room", Permission::Allow)],
    },
];

/// Asks what agents may do, unless the configuration says so.
fn rules(talk: &mut Talk<'_>, own: &Settings) -> Result<(), Error> {
    talk.heading("2. What agents may do");
    let named = talk.context.global.account.as_deref();
    let empty = Table::default();
    let table = match named {
        Some(name) => own.policy.own.accounts.get(name).unwrap_or(&empty),
        None => &own.policy.own.all,
    };
    if !table.effects.is_empty() || !table.functions.is_empty() {
        let kept = match chosen(table) {
            Some(words) => format!("Already set: {}.", words.to_lowercase()),
            None => "Already set: rules of your own.".into(),
        };
        talk.say(&format!(
            "{kept} To see the rules, run: whereby permissions\nTo change one, run, for example: whereby \
             configure{} --write ask",
            named.map(|name| format!(" --account {name}")).unwrap_or_default()
        ));
        return Ok(());
    }
    let words = CHOICES.each_ref().map(|choice| choice.words);
    let Choice { words, effects, functions } =
        &CHOICES[talk.choose("May agents change anything?", &words, 1)?];
    let set = |keys: &[&str], word: Permission| {
        let scope = named.map_or(vec![], |name| vec!["accounts", name]);
        let keys = [&scope[..], &["permissions"], keys].concat();
        Change::Set(keys.into_iter().map(str::to_owned).collect(), word.as_str().into())
    };
    let effects = effects.iter().map(|(effect, word)| set(&[effect.as_str()], *word));
    let functions = functions.iter().map(|(name, word)| set(&["functions", name], *word));
    let changes: Vec<Change> = effects.chain(functions).collect();
    match talk.configure(&changes, || Ok(()))? {
        Written::Yes => talk.did(format!("set the rules: {}", words.to_lowercase())),
        _ => talk.say("Left as it was."),
    }
    Ok(())
}

/// Returns the choice that a table has, in words.
fn chosen(table: &Table) -> Option<&'static str> {
    let is = |own: Option<&Entry>, word: Permission| {
        own.is_some_and(|own| own.permission == word && own.conditions.is_empty())
    };
    let found = CHOICES.iter().find(|choice| {
        table.effects.len() == choice.effects.len()
            && table.functions.len() == choice.functions.len()
            && choice.effects.iter().all(|(effect, word)| is(table.effects.get(effect), *word))
            && choice.functions.iter().all(|(name, word)| is(table.functions.get(*name), *word))
    });
    found.map(|choice| choice.words)
}

/// Offers to add this program to each MCP client that is there. Returns whether one has it now.
fn set_up_clients(talk: &mut Talk<'_>) -> Result<bool, Error> {
    talk.heading("3. MCP clients");
    let environment = &talk.context.environment;
    let found = clients::found(environment);
    if found.is_empty() {
        talk.say(
            "None was found. Claude Code, Claude Desktop, Cursor, VS Code and Codex can be set up here; other \
             clients start the command `whereby mcp`.",
        );
        return Ok(false);
    }
    let config = unusual_config(talk.context)?;
    let launch = match clients::launch(environment, config.as_deref()) {
        Ok(launch) => launch,
        Err(why) => {
            talk.say(&format!("None can be set up, because {why}."));
            return Ok(false);
        }
    };
    let mut has_client = false;
    for client in &found {
        match set_up_client(talk, client, &launch) {
            Ok(Some(true)) => {
                has_client = true;
                talk.did(format!("added whereby to {}", client.name));
            }
            Ok(Some(false)) => talk.say(&format!("{}: left as it was.", client.name)),
            Ok(None) => {
                has_client = true;
                talk.say(&format!("{}: has whereby already.", client.name));
            }
            Err(Ended::Refused(why)) => talk.say(&format!(
                "{}: left as it was, because {} {why}. To set it up by hand, add a server with the command: {} {}",
                client.name,
                file::shown(&client.file),
                launch.command,
                launch.arguments.join(" "),
            )),
            Err(Ended::Stopped(error)) => return Err(error),
        }
    }
    Ok(has_client)
}

/// Why a client was not set up.
enum Ended {
    /// What is wrong with its file.
    Refused(String),
    Stopped(Error),
}

/// Returns whether the person agreed; `None` if there was nothing to change.
fn set_up_client(talk: &Talk<'_>, client: &Client, launch: &Launch) -> Result<Option<bool>, Ended> {
    loop {
        let Plan::Change(change) = client.plan(launch).map_err(Ended::Refused)? else {
            return Ok(None);
        };
        let part = format!(": {}", client.part());
        talk.show(
            &change.file,
            &part,
            change.before.as_deref(),
            &change.after.text,
            &change.after.own,
        );
        let question = match change.after.had_entry {
            true => format!("Change the entry `{}` of {}?", entry::NAME, client.name),
            false => format!("Add whereby to {}?", client.name),
        };
        if !talk.confirm(&question).map_err(Ended::Stopped)? {
            return Ok(Some(false));
        }
        talk.note_end(Some(&change.file));
        if client.make(&change, launch).map_err(Ended::Refused)? {
            return Ok(Some(true));
        }
        talk.say(CHANGED);
    }
}

/// Returns the configuration file if a client would not find it: clients may not have this terminal's
/// variables.
fn unusual_config(context: &Context) -> Result<Option<PathBuf>, Error> {
    let own = file_to_use(context.global.config.as_deref(), &context.environment)?;
    let mut plain = Environment::empty();
    let home = context.environment.variable("HOME").map(str::to_owned);
    plain.variables.extend(home.map(|home| ("HOME".to_owned(), home)));
    let usual = plain.platform_directory("config").map(|folder| folder.join("config.toml"));
    Ok((usual.as_ref() != Some(&own)).then_some(own))
}

/// Makes one call as an agent would, by the rules and with a row in the audit log.
async fn first_call(talk: &Talk<'_>, account: &str) -> Result<(), CommandError> {
    let context = talk.context;
    let session = context.session(context.settings()?, false)?;
    let call = Call::new("list_rooms", json!({"limit": 1})).exact_account(account);
    let outcome = talk.call(&session, call, "list_rooms").await?;
    let document = super::Document::of(&outcome);
    let rooms = outcome.result.map_err(|error| CommandError::of(error, document))?;
    let room =
        rooms["data"].as_array().and_then(|rooms| rooms.first()).map(|room| &room["roomName"]);
    talk.say(&match room {
        Some(Value::String(room)) => {
            format!("It works: list_rooms found the room {}.", text::printable(room, 100))
        }
        _ => "It works: list_rooms found no rooms yet.".to_owned(),
    });
    Ok(())
}

/// Returns the error of a read from the terminal.
fn unread(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::Interrupted => Error::Interrupted,
        _ => Error::usage(format!("the terminal cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_a_key_is_recognized() {
        for (line, expected) in [
            ("access_token = \"k\"\n", true),
            ("access_token='k'", true),
            ("\"access_token\" = \"k\"", true),
            ("work = { access_token = \"k\", api_url = \"u\" }", true),
            ("accounts.work.access_token = \"k\"", true),
            ("access_token = { command = [\"/usr/bin/pass\"] }", false),
            ("a = { access_token = { command = [] } }, b = { access_token = \"k\" }", true),
            ("api_url = \"https://api.whereby.dev/v1\"", false),
            ("[accounts.work]", false),
        ] {
            assert_eq!(has_key(line), expected, "{line}");
        }
    }
}
