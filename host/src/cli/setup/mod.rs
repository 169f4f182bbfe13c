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
use crate::config::edit::{self, Change};
use crate::config::environment::Environment;
use crate::config::origin::ApiBase;
use crate::config::{Settings, file_to_use};
use crate::error::Error;
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
use whereby_authority::policy::{Effect, Permission, Table};
use whereby_authority::text;

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
        let mut talk = Talk { context, done: Vec::new() };
        let ended = Box::pin(self.talk(&mut talk)).await;
        if let (Err(_), Some(done)) = (&ended, talk.so_far()) {
            talk.say(&done);
        }
        ended
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
        let has_key = key::set_up(talk, &own, &name, self.api_url.as_deref()).await?;
        rules(talk, &own)?;
        set_up_clients(talk)?;
        talk.heading("4. A first call");
        if has_key {
            first_call(talk, &name).await?;
        } else {
            talk.say("Not made, because no key is stored.");
        }
        let next = "\nNext:\n\
                    - Restart your MCP client, and ask it: Which Whereby rooms do I have?\n\
                    - Decide on what agents ask for: whereby inbox\n\
                    - See what agents may do: whereby permissions\n";
        Ok(Output::text(next, json!({"success": true})))
    }
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
        "standard input and standard error must be a terminal"
    };
    Err(Error::usage(format!(
        "setup asks questions, and {why}; instead, pipe the key to: whereby configure --token-stdin; set what \
         agents may do with: whereby configure --read allow --write ask; and give MCP clients the command: \
         whereby mcp"
    )))
}

/// The conversation with the person at the terminal.
struct Talk<'a> {
    context: &'a Context,
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
        self.context.streams.set_last_words(self.so_far());
    }

    /// Returns what to say if setup ends before its time.
    fn so_far(&self) -> Option<String> {
        (!self.done.is_empty()).then(|| {
            format!("\nDone so far: {}. To go on, run: whereby setup", self.done.join("; "))
        })
    }

    /// Asks for a yes or no. Nothing typed means no.
    fn confirm(&self, question: &str) -> Result<bool, Error> {
        let question = format!("{} [y/N] ", text::printable(question, 500));
        match confirm(&self.context.streams, &question) {
            Answer::Approved => Ok(true),
            Answer::Nobody => Err(Error::Interrupted),
            _ => Ok(false),
        }
    }

    /// Asks for one of several numbered choices, and returns its index. Nothing typed means `usual`.
    fn choose(&self, question: &str, choices: &[&str], usual: usize) -> Result<usize, Error> {
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
        Err(Error::usage("none of the choices was made; run: whereby setup"))
    }

    /// Shows what changes in a file.
    fn show(&self, file: &Path, before: Option<&str>, after: &str, own: &[Range<usize>]) {
        let streams = &self.context.streams;
        let is_new = if before.is_some() { "" } else { " (a new file)" };
        let mut shown = format!("\n{}{is_new}\n", file::shown(file));
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
    /// agrees. `first` is done after the yes, and nothing is written if it fails.
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
                self.show(&planned.file, old, &planned.after, &own);
                if !self.confirm("Write this file?")? {
                    return Ok(Written::No);
                }
            }
            if let Err(why) = first() {
                return Ok(Written::Failed(why));
            }
            match edit::change_as_seen(&planned, changes.to_vec())? {
                Some(changed) => {
                    context.record_change(&changed);
                    return Ok(Written::Yes);
                }
                None => self.say("The file has changed meanwhile; nothing was written."),
            }
        }
    }

    /// Makes a call, which a signal stops.
    async fn call(&self, session: &Session, call: Call) -> Result<Outcome, CommandError> {
        let context = self.context;
        let status = Status::new(call.function.clone());
        let call = spinner::watched(context, &status, call.asked_by(super::FRONT_END, None));
        let mut signals = Signals::listen(&context.streams);
        let ended = tokio::select! {
            biased;
            outcome = spinner::wait(context, &status, session.run(call)) => Ok(outcome),
            exit = signals.next() => Err(CommandError::stopped(exit, super::Document::default())),
        };
        drop(signals);
        context.streams.set_last_words(self.so_far());
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

/// What agents may do, in words, and the permissions to read, to write and to delete rooms.
const CHOICES: [(&str, Permission, Permission, Option<Permission>); 3] = [
    ("Only look at rooms and meetings", Permission::Allow, Permission::Deny, None),
    ("Look, and ask me before each change", Permission::Allow, Permission::Ask, None),
    (
        "Look and create rooms; ask me before recording, streaming or deleting",
        Permission::Allow,
        Permission::Allow,
        Some(Permission::Ask),
    ),
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
        talk.say(&format!("{kept} To see the rules, run: whereby permissions"));
        return Ok(());
    }
    let words = CHOICES.map(|(words, ..)| words);
    let chosen = talk.choose("May agents change anything?", &words, 1)?;
    let (words, read, write, delete) = CHOICES[chosen];
    let keys = |keys: &[&str]| -> Vec<String> {
        let scope = named.map_or(vec![], |name| vec!["accounts", name]);
        [&scope[..], &["permissions"], keys].concat().into_iter().map(str::to_owned).collect()
    };
    let mut changes = vec![
        Change::Set(keys(&["read"]), read.as_str().into()),
        Change::Set(keys(&["write"]), write.as_str().into()),
    ];
    if let Some(delete) = delete {
        changes.push(Change::Set(keys(&["functions", "delete_room"]), delete.as_str().into()));
    }
    match talk.configure(&changes, || Ok(()))? {
        Written::Yes => talk.did(format!("the rule is now: {}", words.to_lowercase())),
        _ => talk.say("Left as it was."),
    }
    Ok(())
}

/// Returns the choice that a table has, in words.
fn chosen(table: &Table) -> Option<&'static str> {
    let is_plain = |entry: &whereby_authority::policy::Entry, word: Permission| {
        entry.permission == word && entry.conditions.is_empty()
    };
    let is =
        |effect: Effect, word| table.effects.get(&effect).is_some_and(|own| is_plain(own, word));
    let found = CHOICES.iter().find(|(_, read, write, delete)| {
        let is_delete = match (table.functions.get("delete_room"), delete) {
            (Some(own), Some(word)) => table.functions.len() == 1 && is_plain(own, *word),
            (None, None) => table.functions.is_empty(),
            _ => false,
        };
        table.effects.len() == 2
            && is(Effect::Read, *read)
            && is(Effect::Write, *write)
            && is_delete
    });
    found.map(|(words, ..)| *words)
}

/// Offers to add this program to each MCP client that is there.
fn set_up_clients(talk: &mut Talk<'_>) -> Result<(), Error> {
    talk.heading("3. MCP clients");
    let environment = &talk.context.environment;
    let found = clients::found(environment);
    if found.is_empty() {
        talk.say(
            "None was found. Claude Code, Claude Desktop, Cursor, VS Code and Codex can be set up here; other \
             clients start the command `whereby mcp`.",
        );
        return Ok(());
    }
    let config = unusual_config(talk.context)?;
    let launch = match clients::launch(environment, config.as_deref()) {
        Ok(launch) => launch,
        Err(why) => {
            talk.say(&format!("None can be set up: {why}."));
            return Ok(());
        }
    };
    for client in &found {
        match set_up_client(talk, client, &launch) {
            Ok(Some(true)) => talk.did(format!("{} has whereby", client.name)),
            Ok(Some(false)) => talk.say(&format!("{}: left as it was.", client.name)),
            Ok(None) => talk.say(&format!("{}: has whereby already.", client.name)),
            Err(Ended::Refused(why)) => talk.say(&format!(
                "{}: left as it was, because {} {why}. To set it up by hand, let it start: {} {}",
                client.name,
                file::shown(&client.file),
                launch.command,
                launch.arguments.join(" "),
            )),
            Err(Ended::Stopped(error)) => return Err(error),
        }
    }
    Ok(())
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
        talk.show(&change.file, change.before.as_deref(), &change.after.text, &change.after.own);
        let question = format!("Add whereby to {}?", client.name);
        if !talk.confirm(&question).map_err(Ended::Stopped)? {
            return Ok(Some(false));
        }
        if client.make(&change, launch).map_err(Ended::Refused)? {
            return Ok(Some(true));
        }
        talk.say("The file has changed meanwhile; nothing was written.");
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
    let outcome = talk.call(&session, call).await?;
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
