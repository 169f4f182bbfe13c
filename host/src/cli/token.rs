//! `whereby token`: creates, narrows, shows, lists and revokes capability tokens. And the options of other
//! commands that use one.

use super::ending::Ending;
use super::paint::Role;
use super::{CommandError, Context, Output, document, render};
use crate::error::Error;
use crate::session::Session;
use crate::store::{CreatedToken, Known, NotRevoked, Revocation, Store, What, is_id};
use crate::system::file;
use crate::token::{self, Fault, Key, MAX_TEXT, Token, Verified};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use whereby_authority::conditions::Condition;
use whereby_authority::policy::{Effect, Restrictions, Stated};
use whereby_authority::suggest::did_you_mean;
use whereby_authority::table::FunctionRule;
use whereby_authority::text;
use whereby_authority::timestamp::Timestamp;
use whereby_catalog::{FUNCTIONS, Function};

/// The environment variable with a capability token.
pub(super) const VARIABLE: &str = "WHEREBY_TOKEN";

/// The most that is read of standard input, in bytes: a token, with lines around it.
const MAX_INPUT: usize = MAX_TEXT + 64;

/// Create, narrow, show and revoke capability tokens
///
/// A capability token says what an agent may do: which functions, which rooms, how often, and until when.
/// It never allows more than the rules of its account and agent. Its holder can narrow it further,
/// anywhere, and nobody can widen it. A token is a secret: pass it in a file, a pipe or
/// WHEREBY_TOKEN.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  whereby token create --function list_rooms --uses 20 --for 8h > token\n  whereby token list"
)]
pub(super) struct Opts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Create a token and print it
    #[command(
        after_long_help = "Example:\n  whereby token create --account work --read-only --for 8h > token"
    )]
    Create {
        #[command(flatten)]
        limits: Limits,
    },
    /// Read a token from standard input, and print it with further limits
    ///
    /// Needs no configuration, key or network. All limits of the given token stay.
    #[command(
        after_long_help = "Example:\n  whereby token narrow --function list_rooms --for 1h < token > narrower"
    )]
    Narrow {
        #[command(flatten)]
        limits: Limits,
    },
    /// Read a token from standard input, and show its limits and IDs
    #[command(after_long_help = "Example:\n  whereby token inspect < token")]
    Inspect,
    /// List the tokens that were created here
    List,
    /// Revoke a token, and every token that was narrowed from it
    #[command(after_long_help = "Example:\n  whereby token revoke 9f86d081")]
    Revoke {
        /// The ID, as `inspect` and `list` show it, or at least 6 characters of its beginning
        id: String,
    },
}

/// The limits of one block.
#[derive(Debug, clap::Args)]
struct Limits {
    /// Allow only calls of this agent. In a new token, it says whose token it is
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Allow only these functions, separated by commas
    #[arg(long = "function", value_name = "NAMES", value_delimiter = ',')]
    functions: Vec<String>,
    /// Allow only functions that read
    #[arg(long)]
    read_only: bool,
    /// Allow only rooms whose name matches one of these patterns, separated by commas, such as 'bot-*'
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    rooms: Vec<String>,
    /// Allow only rooms that this agent, or any call from here, created
    #[arg(long, value_name = "agent|host")]
    created_by: Option<String>,
    /// Allow only new rooms with these modes, separated by commas
    #[arg(long, value_name = "MODES", value_delimiter = ',')]
    room_modes: Vec<String>,
    /// Allow only new rooms that end within this time, such as 2h
    #[arg(long, value_name = "TIME")]
    max_duration: Option<String>,
    /// Allow only these in the argument `fields`, separated by commas; `none` allows no fields
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    fields: Vec<String>,
    /// Refuse a write if this agent made so many calls of the function in the last 60 minutes
    #[arg(long, value_name = "NUMBER")]
    max_per_hour: Option<u32>,
    /// Refuse a write if this agent made so many calls of the function in the last 24 hours
    #[arg(long, value_name = "NUMBER")]
    max_per_day: Option<u32>,
    /// Allow this many calls with this token. A call that began counts, even if it sends nothing
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    uses: Option<u32>,
    #[command(flatten)]
    ending: Ending,
}

/// Returns the error for a token that a command cannot read or write.
fn unusable(fault: Fault) -> Error {
    Error::usage(format!("the capability token cannot be used: {fault}"))
}

impl Opts {
    pub(super) fn run(self, context: &Context) -> Result<Output, CommandError> {
        match self.command {
            Command::Create { limits } => Ok(create(context, &limits)?),
            Command::Narrow { limits } => Ok(narrow(context, &limits)?),
            Command::Inspect => Ok(inspect(context)?),
            Command::List => Ok(list(context)?),
            Command::Revoke { id } => Ok(revoke(context, &id)?),
        }
    }
}

impl Limits {
    /// Checks the options, and returns what they restrict calls to.
    fn restrictions(&self, context: &Context) -> Result<Restrictions, Error> {
        let names: Vec<&str> = FUNCTIONS.iter().map(|function| function.json).collect();
        for given in &self.functions {
            if !names.contains(&given.as_str()) {
                return Err(Error::usage(format!(
                    "no function is called `{}`{}",
                    text::printable(given, 80),
                    did_you_mean(given, &names)
                )));
            }
        }
        let accounts: Option<Vec<String>> = context
            .global
            .account
            .as_deref()
            .map(|names| names.split(',').map(|name| name.trim().to_owned()).collect());
        let limits = Restrictions {
            agent: self.agent.clone(),
            accounts,
            functions: Some(self.functions.clone()).filter(|names| !names.is_empty()),
            read_only: self.read_only,
            uses: self.uses,
            conditions: self.conditions(context)?,
        };
        let is_name = |name: &&String| (1..=100).contains(&name.chars().count());
        let mut given = limits.agent.iter().chain(limits.accounts.iter().flatten());
        match given.find(|name| !is_name(name)) {
            Some(name) => {
                Err(Error::usage(format!("`{}` is no account or agent", text::printable(name, 40))))
            }
            None => Ok(limits),
        }
    }

    fn conditions(&self, context: &Context) -> Result<Vec<Stated>, Error> {
        let list = |items: &[String]| (!items.is_empty()).then(|| json!(items));
        let fields = match self.fields.as_slice() {
            [none] if none == "none" => Some(json!([])),
            fields => list(fields),
        };
        let end = self.ending.date(context.environment.clock.timestamp())?;
        let given = [
            ("rooms", list(&self.rooms)),
            ("created_by", self.created_by.as_ref().map(|by| json!(by))),
            ("room_modes", list(&self.room_modes)),
            ("max_duration", self.max_duration.as_ref().map(|time| json!(time))),
            ("fields", fields),
            ("max_per_hour", self.max_per_hour.map(|most| json!(most))),
            ("max_per_day", self.max_per_day.map(|most| json!(most))),
            ("valid_until", end.map(|end| json!(end.to_rfc3339()))),
        ];
        let mut conditions = Vec::new();
        for (name, value) in given {
            let Some(value) = value else { continue };
            let flag = format!("--{}", name.replace('_', "-"));
            let flag = if name == "valid_until" { self.ending.flag() } else { &flag };
            let is_named = |name: &&str| {
                self.functions.is_empty() || self.functions.iter().any(|given| given == name)
            };
            let rules = FUNCTIONS.iter().filter(|function| is_named(&function.json));
            let rules = rules.map(FunctionRule::of);
            let rules: Vec<_> =
                rules.filter(|rule| !self.read_only || rule.effect == Effect::Read).collect();
            let has = |rule: &&&FunctionRule| rule.conditions.contains(&name);
            let having: Vec<_> = rules.iter().filter(has).copied().collect();
            if having.is_empty() {
                let of = FUNCTIONS.iter().map(FunctionRule::of).filter(|rule| has(&rule));
                let of: Vec<&str> = of.map(|rule| rule.name).collect();
                return Err(Error::usage(format!(
                    "{flag} would limit none of the functions of the token; it is for {}",
                    of.join(", ")
                )));
            }
            let parse = |rule: Option<&FunctionRule>| {
                let parsed = Condition::parse(name, &value, rule);
                parsed.map_err(|why| Error::usage(format!("{flag} {why}")))
            };
            // A pattern that no new room can match is meant for other functions, unless they are named.
            if !self.functions.is_empty() {
                having.iter().try_for_each(|rule| parse(Some(rule)).map(drop))?;
            }
            conditions.push(Stated { condition: parse(None)?, line: 0 });
        }
        Ok(conditions)
    }
}

/// Checks names against the configuration.
fn check_names(context: &Context, limits: &Restrictions) -> Result<(), Error> {
    if limits.agent.is_none() && limits.accounts.is_none() {
        return Ok(());
    }
    let settings = context.settings()?;
    for account in limits.accounts.iter().flatten() {
        // It says which accounts there are.
        settings.choose(Some(account), true)?;
    }
    if let Some(agent) = &limits.agent {
        settings.agent(agent).map_err(|error| Error::usage(error.to_string()))?;
    }
    Ok(())
}

fn create(context: &Context, limits: &Limits) -> Result<Output, Error> {
    let limits = limits.restrictions(context)?;
    check_names(context, &limits)?;
    let store = context.store()?;
    let key = Key::of(&store.new_token_key()?).map_err(unusable)?;
    let token = key.create(&limits).map_err(unusable)?;
    let read = Token::parse(&token).map_err(unusable)?;
    // What is not in the database is of no use, so it is there before the token is printed.
    store.add_token(&read.ids()[0], &token::to_json(&limits))?;
    let limited = json!({"token": read.ids()[0], "limits": token::to_json(&limits)});
    context.record(What::Configure, limited);
    warn_of_gaps(context, &limits);
    Ok(printed(context, &read, token))
}

/// Warns about functions that the token allows and that its limits on rooms do not apply to.
fn warn_of_gaps(context: &Context, limits: &Restrictions) {
    for stated in &limits.conditions {
        let name = stated.condition.name();
        if name != "rooms" && name != "created_by" {
            continue;
        }
        let is_allowed = |function: &&Function| {
            let is_read = FunctionRule::of(function).effect == Effect::Read;
            let named = limits.functions.as_ref();
            named.is_none_or(|names| names.iter().any(|name| name == function.json))
                && (is_read || !limits.read_only)
        };
        let known = FUNCTIONS.iter().filter(is_allowed);
        for function in known.filter(|f| !FunctionRule::of(f).conditions.contains(&name)) {
            let option = name.replace('_', "-");
            context.warn(&format!("--{option} does not limit {}", function.json));
        }
    }
}

fn narrow(context: &Context, limits: &Limits) -> Result<Output, Error> {
    let more = limits.restrictions(context)?;
    if more == Restrictions::default() {
        return Err(Error::usage(
            "nothing to narrow: give at least one limit, such as --read-only",
        ));
    }
    let given = given(context)?;
    if more.agent.is_some() && given.blocks().iter().any(|block| block.agent.is_some()) {
        return Err(Error::usage("--agent: the token is an agent's already"));
    }
    let token = given.narrow(&more).map_err(unusable)?;
    let read = Token::parse(&token).map_err(unusable)?;
    Ok(printed(context, &read, token))
}

/// Returns the output with a new token: on standard output alone, and what it is on standard error.
fn printed(context: &Context, read: &Token, token: String) -> Output {
    let id = read.ids().last().map(String::as_str).unwrap_or_default();
    if !context.global.quiet && !context.global.json {
        let now = context.environment.clock.timestamp();
        let words: Vec<String> =
            read.blocks().iter().flat_map(|block| token::words(block, now)).collect();
        let what = match words.as_slice() {
            [] => "it has no limits besides the rules of the account".to_owned(),
            words => words.join("; "),
        };
        let word = context.stderr_word(Role::Hint, "token:");
        // Standard error may be closed.
        let _ = context.streams.note(&word, &text::printable(&format!("{id}: {what}"), 1000));
    }
    let blocks: Vec<Value> = read.blocks().iter().map(token::to_json).collect();
    let json = json!({"id": id, "ids": read.ids(), "token": token, "blocks": blocks});
    Output::text(token + "\n", document("token", json))
}

/// Reads a token from standard input.
fn given(context: &Context) -> Result<Token, Error> {
    let given = context.streams.read_to_end(MAX_INPUT).map_err(|error| {
        Error::usage(format!("the capability token cannot be read from standard input: {error}"))
    })?;
    if given.trim().is_empty() {
        return Err(Error::usage("standard input is empty; pass the token there: < FILE"));
    }
    Token::parse(&given).map_err(unusable)
}

/// What is known about a token here.
struct Standing {
    /// `verified`, `another-installation`, `forged` or `unknown`.
    signature: &'static str,
    in_words: String,
    /// Why it cannot be used, if it cannot.
    spent: Option<String>,
}

fn standing(context: &Context, given: &Token) -> Standing {
    let unknown = |why: String| Standing {
        signature: "unknown",
        in_words: format!("not verified: {why}"),
        spent: None,
    };
    let opened = || -> Result<(Arc<Store>, Option<[u8; 32]>), Error> {
        let store = context.store()?;
        let key = store.token_key()?;
        Ok((store, key))
    };
    let (store, key) = match opened() {
        Ok((store, Some(key))) => (store, key),
        Ok((_, None)) => return unknown("no token was created on this installation".into()),
        Err(error) => return unknown(error.to_string()),
    };
    match Key::of(&key).and_then(|key| given.clone().verify(Some(&key))) {
        Ok(verified) => {
            let spent = match store.look_at_token(&verified.to_use()) {
                Ok(spent) => spent.map(|spent| spent.to_string()),
                Err(error) => Some(error.to_string()),
            };
            let in_words = "verified: a token of this installation".into();
            Standing { signature: "verified", in_words, spent }
        }
        Err(Fault::OtherInstallation) => Standing {
            signature: "another-installation",
            in_words: "not verified: it is of another installation".into(),
            spent: None,
        },
        Err(fault) => {
            let in_words = format!("wrong: {fault}");
            Standing { signature: "forged", in_words, spent: Some(fault.to_string()) }
        }
    }
}

fn inspect(context: &Context) -> Result<Output, Error> {
    let given = given(context)?;
    let Standing { signature, in_words, spent } = standing(context, &given);
    let now = context.environment.clock.timestamp();
    let end = token::valid_until(given.blocks());
    let id = given.ids().last().map(String::as_str).unwrap_or_default();
    let expired = end.is_some_and(|end| end.to_unix_ms() <= now.to_unix_ms());
    let state = match (&spent, expired) {
        (Some(why), _) => format!("cannot be used: {why}"),
        (None, true) => "cannot be used: it expired".to_owned(),
        (None, false) if signature == "verified" => "can be used".to_owned(),
        (None, false) => "not known here".to_owned(),
    };
    let mut shown = format!("token      {id}\nsignature  {in_words}\nstate      {state}\n");
    let mut blocks = Vec::new();
    for (number, (block, id)) in given.blocks().iter().zip(given.ids()).enumerate() {
        let what = if number == 0 { "created with" } else { "narrowed to" };
        shown += &format!("\n{what} ({id})\n");
        let words = token::words(block, now);
        for line in &words {
            shown += &format!("  {}\n", text::printable(line, 500));
        }
        if words.is_empty() {
            shown += "  no limits besides the rules of the account\n";
        }
        let mut object = Map::new();
        object.insert("id".into(), id.as_str().into());
        object.insert("limits".into(), token::to_json(block));
        blocks.push(Value::Object(object));
    }
    let json = json!({
        "id": id,
        "signature": signature,
        "state": state,
        "usable": signature == "verified" && spent.is_none() && !expired,
        "valid_until": end.map(Timestamp::to_rfc3339),
        "blocks": blocks,
    });
    Ok(Output::text(shown, document("token", json)))
}

fn list(context: &Context) -> Result<Output, Error> {
    let now = context.environment.clock.unix_ms();
    let created = context.store()?.tokens()?;
    let documents: Vec<Value> = created.iter().map(|token| listed(token, now)).collect();
    let shown = if documents.is_empty() {
        "no tokens; to create one: whereby token create\n".to_owned()
    } else {
        let row = |(token, document): (&CreatedToken, &Value)| {
            json!({
                "id": token.id,
                "created": document["created_at"],
                "limits": token.limits_in_words(),
                "uses left": token.uses_left(),
                "state": token.state(now),
            })
        };
        render::render(&created.iter().zip(&documents).map(row).collect(), &context.look())
    };
    Ok(Output::text(shown, document("tokens", documents.into())))
}

/// Returns a created token as JSON.
fn listed(token: &CreatedToken, now: i64) -> Value {
    let date = |ms: i64| Timestamp::of_unix_ms(ms).map(Timestamp::to_rfc3339_ms);
    json!({
        "id": token.id,
        "created_at": date(token.created_at),
        "limits": token.limits,
        "uses_left": token.uses_left(),
        "state": token.state(now),
        "revoked_at": token.revoked_at.and_then(date),
    })
}

fn revoke(context: &Context, id: &str) -> Result<Output, Error> {
    if !is_id(id) {
        return Err(Error::usage(format!(
            "`{}` is not the ID of a token, or its beginning (6 to 32 characters, 0 to 9 and a to f); run: \
             whereby token list",
            text::printable(id, 60)
        )));
    }
    let Revocation { id, is_first, known } = match context.store()?.revoke_token(id)? {
        Ok(revoked) => revoked,
        Err(NotRevoked::Unknown) => {
            return Err(Error::usage(format!(
                "no known token has an id that begins with {id}; give all 32 characters, or run: \
                 whereby token list"
            )));
        }
        Err(NotRevoked::Ambiguous(count)) => {
            return Err(Error::usage(format!("{count} ids begin with {id}; give more characters")));
        }
    };
    let text = if is_first {
        context.record(What::Revoke, json!({"token": id}));
        format!("revoked: {id}, and every token that was narrowed from it\n")
    } else {
        format!("revoked already: {id}\n")
    };
    if known == Known::No && is_first {
        context.warn(&format!(
            "no token with the id {id} was created or used here; if it was narrowed elsewhere, it is \
             revoked now, and otherwise check the id: whereby token list"
        ));
    }
    let known = match known {
        Known::Created => "created",
        Known::Used => "used",
        Known::No => "unknown",
    };
    Ok(Output::text(text, document("revoked", json!({"id": id, "known": known}))))
}

/// Returns the ids of the tokens that were created for an agent and can still be used.
pub(super) fn ids_of_agent(context: &Context, agent: &str) -> Vec<String> {
    // Without a state directory, there are no tokens.
    let Ok(store) = context.store() else { return Vec::new() };
    let now = context.environment.clock.unix_ms();
    let mut created = store.tokens().unwrap_or_else(|error| {
        context.warn(&format!("the tokens of the agent `{agent}` cannot be listed: {error}"));
        Vec::new()
    });
    created.retain(|token| {
        token.limits["agent"].as_str() == Some(agent) && listed(token, now)["state"] == "valid"
    });
    created.into_iter().map(|token| token.id).collect()
}

/// Returns the commands that revoke tokens.
pub(super) fn commands_to_revoke(ids: &[String]) -> Vec<String> {
    ids.iter().map(|id| format!("whereby token revoke {}", id.get(..8).unwrap_or(id))).collect()
}

/// Returns the text of the token in this file, or else in the variable.
pub(super) fn wanted(context: &Context, file: Option<&Path>) -> Result<Option<String>, Error> {
    let Some(path) = file else {
        let token = context.environment.variables.get(VARIABLE).cloned();
        // Such as after a command failed that should have printed it. Without it, more would be allowed.
        if token.as_ref().is_some_and(|token| token.trim().is_empty()) {
            return Err(Error::Configuration {
                message: format!("{VARIABLE} is empty; set it to a capability token, or unset it"),
            });
        }
        return Ok(token);
    };
    let path = context.environment.directory.join(path);
    let wrong = |what: String| Error::Configuration {
        message: format!(
            "the token file {} {what}",
            text::printable(&path.display().to_string(), 300)
        ),
    };
    let contents = file::read(&path, MAX_INPUT as u64).map_err(wrong)?;
    contents.check_secret(&path).map_err(wrong)?;
    Ok(Some(contents.text().map_err(wrong)?))
}

/// Opens the token in this file, or else in the variable.
pub(super) async fn open(
    context: &Context,
    session: &Session,
    file: Option<&PathBuf>,
) -> Result<Option<Arc<Verified>>, Error> {
    match wanted(context, file.map(PathBuf::as_path))? {
        Some(text) => session.open_token(&text).await.map(Some),
        None => Ok(None),
    }
}
