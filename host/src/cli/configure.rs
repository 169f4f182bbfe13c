//! `whereby configure`: writes the configuration file.

mod help;

use super::functions::Completed;
use super::{CommandError, Context, Output, table};
use crate::config::Settings;
use crate::config::credentials::TokenSource;
use crate::config::edit::{self, Change, check_account_name, existing, parse_key, parse_value};
use crate::config::environment::Environment;
use crate::config::reader;
use crate::error::Error;
use crate::session::resources::{check_certificates, read_component};
use crate::system::file;
use clap::builder::PossibleValue;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use toml_edit::{InlineTable, Value};
use whereby_authority::conditions::Condition;
use whereby_authority::policy::{Effect, Permission, Subject, Table};
use whereby_authority::suggest;
use whereby_authority::table::FunctionRule;
use whereby_authority::tables;
use whereby_authority::text;
use whereby_authority::timestamp::Timestamp;
use whereby_catalog::Function;

/// Change the configuration file
///
/// Makes all of the changes, or none if the result would not be a valid configuration. Comments and the
/// order of keys stay the same.
///
/// Credentials and --enable change the account that --account names, or the default account.
/// Permissions change that account if --account is given, and all accounts otherwise.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help::help())]
pub(super) struct Opts {
    /// The integration, for scripts that pass its name
    #[arg(hide = true)]
    integration: Option<String>,
    /// Set a key, such as api_url=https://api.whereby.dev/v1; the keys are listed below
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Remove a key
    #[arg(long = "unset", value_name = "KEY")]
    unset: Vec<String>,
    /// Read the API key from standard input; on a terminal, prompt without echo
    #[arg(long)]
    token_stdin: bool,
    /// Enable the account
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Disable the account
    #[arg(long)]
    disable: bool,
    #[command(flatten)]
    permissions: PermissionOpts,
    /// Make the account the default
    #[arg(long)]
    default: bool,
    /// Remove the account that --account names, and its permissions
    #[arg(long, conflicts_with_all = ["set", "unset", "token_stdin", "enable", "disable", "default",
        "read", "write", "destination", "functions"])]
    remove: bool,
}

/// The options that set permissions, of everyone, an account or an agent.
#[derive(Debug, clap::Args)]
pub(super) struct PermissionOpts {
    /// Set the permission of functions that read: allow, ask or deny
    #[arg(long, value_name = "PERMISSION", value_parser = a_permission(), hide_possible_values = true)]
    read: Option<Permission>,
    /// Set the permission of functions that write
    #[arg(long, value_name = "PERMISSION", value_parser = a_permission(), hide_possible_values = true)]
    write: Option<Permission>,
    /// Set the permission of calls that send a meeting's content somewhere: recording, streaming,
    /// transcription
    #[arg(long, value_name = "PERMISSION", value_parser = a_permission(), hide_possible_values = true)]
    destination: Option<Permission>,
    /// Set the permission of one function, such as delete_room=deny, or a condition of it, such as
    /// create_room.rooms='bot-*,demo-*' or create_room.otherwise=ask
    #[arg(long = "function", value_name = "NAME=PERMISSION", value_parser = a_rule(), hide_possible_values = true)]
    functions: Vec<(&'static Function, Part)>,
}

impl PermissionOpts {
    /// Returns the changes to a permission table that is there already, or to a new one. `keys` returns the
    /// whole path of a key in it, and `word` the permission of a function for which only a condition is
    /// given.
    pub(super) fn changes(
        &self,
        now: Timestamp,
        table: Option<&Table>,
        keys: impl Fn(&[&str]) -> Result<Vec<String>, Error>,
        word: impl Fn(&'static Function) -> Permission,
    ) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        let effects =
            [("read", self.read), ("write", self.write), ("destination", self.destination)];
        for (effect, permission) in effects {
            if let Some(permission) = permission {
                changes.push(Change::Set(keys(&[effect])?, permission.as_str().into()));
            }
        }
        for (function, part) in &self.functions {
            let name = function.json;
            if let Part::Condition(condition) = part
                && let Some(why) = condition.is_over(now)
            {
                let message = format!("--function {name}.{}: {why}", condition.name());
                return Err(Error::usage(message));
            }
            let (key, value) = part.to_toml()?;
            let keys = keys(&["functions", name])?;
            let entry = table.and_then(|table| table.functions.get(name));
            if let (Part::Permission(word), Some(entry)) = (part, entry)
                && entry.otherwise < *word
            {
                // What does not fit must not be freer than what does.
                changes.push(Change::Unset([&keys[..], &[tables::OTHERWISE.into()]].concat()));
            }
            let word = word(function).as_str();
            changes.push(Change::SetPart(keys, tables::PERMISSION, word, key, value));
        }
        Ok(changes)
    }

    /// Returns the permission that was given for a function; with `has_destination`, for calls that send a
    /// meeting's content somewhere.
    pub(super) fn given(&self, function: &Function, has_destination: bool) -> Option<Permission> {
        if has_destination {
            return self.destination;
        }
        let own = self.functions.iter().rev().find_map(|(of, part)| match part {
            Part::Permission(word) if of.json == function.json => Some(*word),
            _ => None,
        });
        own.or(match FunctionRule::of(function).effect {
            Effect::Read => self.read,
            _ => self.write,
        })
    }
}

const PERMISSIONS: [&str; 3] = ["allow", "ask", "deny"];

/// Parses a permission, and offers completions.
fn a_permission() -> Completed<Permission> {
    Completed { parse: permission, values: || PERMISSIONS.map(PossibleValue::new).to_vec() }
}

/// What is set for a function.
#[derive(Clone, Debug)]
enum Part {
    Permission(Permission),
    Otherwise(Permission),
    Condition(Condition),
}

impl Part {
    /// Returns the key in the function's table, and the value.
    fn to_toml(&self) -> Result<(&'static str, Value), Error> {
        Ok(match self {
            Self::Permission(word) => (tables::PERMISSION, word.as_str().into()),
            Self::Otherwise(word) => (tables::OTHERWISE, word.as_str().into()),
            Self::Condition(condition) => {
                let text = condition.value().to_string();
                // A date is one in TOML, too, and needs no quotes there.
                let text = match condition {
                    Condition::ValidUntil(date) => date.to_rfc3339(),
                    _ => text,
                };
                let value = text.parse().map_err(|_| Error::Internal {
                    message: format!("the condition {condition} cannot be written"),
                })?;
                (condition.name(), value)
            }
        })
    }
}

/// Parses a function with its permission, and offers completions.
fn a_rule() -> Completed<(&'static Function, Part)> {
    let values = || {
        let rules = whereby_catalog::FUNCTIONS.iter().flat_map(|function| {
            PERMISSIONS.map(|permission| format!("{}={permission}", function.json))
        });
        rules.map(PossibleValue::new).collect()
    };
    Completed { parse: function, values }
}

fn permission(text: &str) -> Result<Permission, String> {
    Permission::parse(text).ok_or_else(|| "expected allow, ask or deny".to_owned())
}

fn function(text: &str) -> Result<(&'static Function, Part), String> {
    let (name, text) =
        text.split_once('=').ok_or("expected NAME=PERMISSION, such as delete_room=deny")?;
    let (name, key) = match name.split_once('.') {
        Some((name, key)) => (name, Some(key)),
        None => (name, None),
    };
    let known = whereby_catalog::function(&name.replace('-', "_")).ok_or_else(|| {
        let names: Vec<&str> =
            whereby_catalog::FUNCTIONS.iter().map(|function| function.json).collect();
        format!(
            "no function is called `{}`{}",
            text::printable(name, 80),
            suggest::did_you_mean(name, &names)
        )
    })?;
    Ok((known, part(FunctionRule::of(known), key, text)?))
}

fn part(rule: &FunctionRule, key: Option<&str>, text: &str) -> Result<Part, String> {
    let key = match key {
        None | Some(tables::PERMISSION) => return permission(text).map(Part::Permission),
        Some(tables::OTHERWISE) => return permission(text).map(Part::Otherwise),
        Some(key) => key,
    };
    if !rule.conditions.contains(&key) {
        return Err(format!(
            "{} has no condition `{}`{}; it has {}",
            rule.name,
            text::printable(key, 60),
            suggest::did_you_mean(key, rule.conditions),
            rule.conditions.join(", ")
        ));
    }
    Condition::from_text(key, text, Some(rule))
        .map(Part::Condition)
        .map_err(|what| format!("`{}.{key}` {what}", rule.name))
}

/// Returns what would keep people from deciding on calls, each with how to fix it.
pub(super) fn approval_warnings(context: &Context, settings: &Settings) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Some(program) = settings.notify.first()
        && let Err(why) = file::check_program(Path::new(program))
    {
        let program = text::printable(program, 300);
        found.push((
            format!("approvals.notify tells nobody: {program} {why}"),
            format!("run: chmod +x {program}; or name another program in approvals.notify"),
        ));
    }
    let has_passkey = || context.store().and_then(|store| store.has_passkey());
    if settings.policy.passkey_required_by().is_some() && has_passkey().is_ok_and(|has| !has) {
        found.push((
            "nothing but a passkey approves calls, and there is no passkey".into(),
            "to add one, run: whereby inbox --web; and in another terminal: whereby inbox --add-passkey"
                .into(),
        ));
    }
    found
}

/// Checks that the file or program of an account's token exists. A variable may be set elsewhere, so it is
/// not checked.
fn check_token_of(settings: &Settings, name: &str, environment: &Environment) -> Result<(), Error> {
    match settings.accounts.get(name).map(|account| &account.token) {
        Some(token @ (TokenSource::File(_) | TokenSource::Command(_))) => {
            token.check(name, environment)
        }
        _ => Ok(()),
    }
}

impl Opts {
    pub(super) fn run(self, context: &Context) -> Result<Output, CommandError> {
        if self.integration.as_ref().is_some_and(|name| name != "whereby") {
            // The message does not repeat it, because it may be a token that belongs after `=`.
            return Err(
                Error::usage("unexpected argument; to set a key, write --set key=value").into()
            );
        }
        let token = if self.token_stdin { Some(read_token(context)?) } else { None };
        let named = context.global.account.as_deref();
        let mut account = None;
        let mut warnings = Vec::new();
        let now = context.environment.clock.timestamp();
        let changed =
            edit::change(context.global.config.as_deref(), &context.environment, |settings| {
                let changes = self.changes(settings, named, token.as_deref(), now)?;
                account = self.account(settings, named)?;
                warnings.extend(self.lost_default(settings, named));
                Ok(changes)
            })?;
        context.record_change(&changed);
        let given = self.set.iter().find_map(|pair| pair.strip_prefix("access_token="));
        if let Some(token) = token.as_deref().or(given)
            && !check_token(token, account.as_deref())?
        {
            warnings.push(
                "this does not look like a Whereby API key, which has three parts separated by dots; check \
                 that you copied all of it"
                    .to_owned(),
            );
        }
        if given.is_some() {
            warnings.push(
                "an access token in an argument is visible in the process list and the shell's history; \
                 use --token-stdin instead"
                    .to_owned(),
            );
        }
        if let Ok(settings) = Settings::load(context.global.config.as_deref(), &context.environment)
        {
            warnings.extend(self.unusable(&settings, account.as_deref(), &context.environment));
            if self.set.iter().any(|pair| pair.starts_with("approvals.")) {
                let of_approvals = approval_warnings(context, &settings).into_iter();
                warnings.extend(of_approvals.map(|(what, fix)| format!("{what}; {fix}")));
            }
        }
        let rules = self.rules_now(context, named);
        if !context.global.quiet {
            for warning in &warnings {
                context.warn(warning);
            }
        }
        let file = text::printable(&changed.file.display().to_string(), 300);
        let what = if changed.is_different { "written" } else { "unchanged" };
        let next = match (&token, named) {
            (None, _) => String::new(),
            (Some(_), None) => "next, check the key: whereby doctor\n".to_owned(),
            (Some(_), Some(name)) => {
                format!("next, check the key: whereby doctor --account {name}\n")
            }
        };
        Ok(Output::text(
            format!("{file}: {what}\n{rules}{next}"),
            json!({
                "success": true,
                "file": changed.file,
                "account": account,
                "changed": changed.is_different,
                "warnings": warnings,
            }),
        ))
    }

    /// Returns what now holds for each function whose conditions were set: more than what was given.
    fn rules_now(&self, context: &Context, named: Option<&str>) -> String {
        let Ok(settings) = Settings::load(context.global.config.as_deref(), &context.environment)
        else {
            return String::new();
        };
        let Ok(account) = settings.account_name(named) else { return String::new() };
        let mut functions: Vec<&'static Function> = Vec::new();
        for (function, part) in &self.permissions.functions {
            let is_known = functions.iter().any(|known| known.json == function.json);
            if !matches!(part, Part::Permission(_)) && !is_known {
                functions.push(function);
            }
        }
        let line = |function: &&'static Function| {
            let outlook = settings.policy.outlook(Subject::of(account, function), false);
            let line =
                format!("now {}", super::permissions::in_words(function, account, None, &outlook));
            table::paragraph(&line, &context.look())
        };
        functions.iter().map(line).collect()
    }

    /// Returns the account of `--account`, or the one that the changes apply to. It may not exist yet.
    fn account(&self, settings: &Settings, named: Option<&str>) -> Result<Option<String>, Error> {
        if named.is_none() && !self.is_about_an_account() {
            return Ok(None);
        }
        account_to_change(settings, named).map(Some)
    }

    /// Returns a warning if the account to remove is the default one.
    fn lost_default(&self, settings: &Settings, named: Option<&str>) -> Option<String> {
        let default = settings.default_account.as_deref().filter(|_| self.remove)?;
        if named != Some(default) {
            return None;
        }
        let mut left = settings.clone();
        left.accounts.remove(default);
        left.default_account = None;
        let next = match left.account_name(None) {
            Ok(name) => format!("; the default is now `{name}`"),
            Err(_) if left.accounts.is_empty() => String::new(),
            Err(_) => "; to set another, run: whereby configure --account NAME --default".into(),
        };
        Some(format!("`{default}` was the default account; default_account was removed, too{next}"))
    }

    /// Returns warnings about new values that would make calls fail, such as a file that does not exist.
    /// These are not errors, because the file may exist by the time of the call.
    fn unusable(
        &self,
        settings: &Settings,
        account: Option<&str>,
        environment: &Environment,
    ) -> BTreeSet<String> {
        let mut warnings = BTreeSet::new();
        for (key, value) in self.set.iter().filter_map(|pair| pair.split_once('=')) {
            let keys: Vec<&str> = key.split('.').collect();
            let tried = match (keys.as_slice(), &settings.component, &settings.ca_file) {
                (["component", ..], Some(file), _) => {
                    read_component(&file.path, file.sha256.as_deref()).map(drop)
                }
                (["ca_file"], _, Some(file)) => check_certificates(file),
                (["accounts", name, "access_token", ..], ..) => {
                    check_token_of(settings, name, environment)
                }
                (["access_token", ..], ..) => {
                    check_token_of(settings, account.unwrap_or_default(), environment)
                }
                _ => Ok(()),
            };
            let Err(error) = tried else { continue };
            let is_path = matches!(keys.last(), Some(&("path" | "ca_file" | "file")));
            warnings.insert(if is_path && Path::new(value).is_relative() {
                format!("{error}; a relative path starts at the configuration file's folder")
            } else {
                error.to_string()
            });
        }
        warnings
    }

    fn is_about_an_account(&self) -> bool {
        self.token_stdin
            || self.enable
            || self.disable
            || self.default
            || self.remove
            || self.set.iter().chain(&self.unset).any(|key| is_account_key(key))
    }

    fn changes(
        &self,
        settings: &Settings,
        named: Option<&str>,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<Vec<Change>, Error> {
        let account = self.account(settings, named)?;
        let of_account = |keys: &[&str]| -> Result<Vec<String>, Error> {
            let name =
                account.clone().ok_or_else(|| Error::usage("name an account with --account"))?;
            let keys = keys.iter().map(|key| (*key).to_owned());
            Ok(["accounts".to_owned(), name].into_iter().chain(keys).collect())
        };
        let full = |text: &str| -> Result<Vec<String>, Error> {
            let keys = parse_key(text)?;
            if named.is_some() && keys == ["privacy", reader::PARTICIPANTS] {
                return of_account(&[reader::PARTICIPANTS]);
            }
            let is_rule = named.is_some() && keys[0] == "permissions";
            if is_rule || is_account_key(text) {
                return of_account(&keys.iter().map(String::as_str).collect::<Vec<_>>());
            }
            Ok(keys)
        };
        let mut changes = Vec::new();
        if self.remove {
            let name = named
                .ok_or_else(|| Error::usage("--remove needs --account, the account to remove"))?;
            existing(settings, name)?;
            changes.push(Change::Unset(of_account(&[])?));
            if settings.default_account.as_deref() == Some(name) {
                changes.push(Change::Unset(vec!["default_account".into()]));
            }
            return Ok(changes);
        }
        let may_make_account = token.is_some() || !self.set.is_empty();
        for key in &self.unset {
            let keys = full(key)?;
            reader::check_key(&keys)?;
            let is_named = named.is_some() || key.starts_with("accounts.");
            if let [table, name, ..] = &keys[..]
                && table == "accounts"
                && is_named
                && !may_make_account
            {
                existing(settings, name)?;
            }
            changes.push(Change::Unset(keys));
        }
        for pair in &self.set {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                // The message does not repeat it, because it may contain a token.
                Error::usage("a --set has no value; write --set key=value")
            })?;
            // A token is a string, even if it looks like another TOML value.
            let value = match key {
                "access_token" => {
                    check_token(value, account.as_deref())?;
                    Value::from(value)
                }
                _ => parse_value(value),
            };
            match key.strip_prefix("access_token.") {
                // A token has one source, so the new one replaces the old one.
                Some(source) => {
                    let source = parse_key(source)?.join(".");
                    let keys = of_account(&["access_token"])?;
                    changes.push(Change::Unset(keys.clone()));
                    let from = InlineTable::from_iter([(source, value)]);
                    changes.push(Change::Set(keys, Value::InlineTable(from)));
                }
                None => changes.push(Change::Set(full(key)?, value)),
            }
        }
        if let Some(token) = token {
            check_token(token, account.as_deref())?;
            changes.push(Change::Unset(of_account(&["access_token"])?));
            changes.push(Change::Set(of_account(&["access_token"])?, Value::from(token)));
        }
        if self.enable || self.disable {
            changes.push(Change::Set(of_account(&["enabled"])?, Value::from(self.enable)));
        }
        if self.default {
            let name = account.clone().ok_or_else(|| Error::usage("--default needs --account"))?;
            changes.push(Change::Set(vec!["default_account".into()], Value::from(name)));
        }
        let permissions = |keys: &[&str]| -> Result<Vec<String>, Error> {
            let keys = [&["permissions"], keys].concat();
            match named {
                Some(_) => of_account(&keys),
                None => Ok(keys.iter().map(|key| (*key).to_owned()).collect()),
            }
        };
        let own = &settings.policy.own;
        let table = named.map_or(Some(&own.all), |name| own.accounts.get(name));
        // With a condition alone, the word that was in force stays in force.
        let word = |function| {
            let subject = Subject::of(named.unwrap_or_default(), function);
            let rules = settings.policy.outlook(subject, false).rules;
            rules.first().map_or(Permission::Deny, |applied| applied.rule.permission)
        };
        changes.extend(self.permissions.changes(now, table, permissions, word)?);
        check_names(settings, &changes)?;
        if changes.is_empty() {
            return Err(Error::usage("nothing to change; see `whereby configure --help`"));
        }
        Ok(changes)
    }
}

/// Refuses changes to an agent that does not exist, or to an account that neither exists nor gets a key: the
/// name is probably misspelled.
fn check_names(settings: &Settings, changes: &[Change]) -> Result<(), Error> {
    for keys in changes.iter().map(Change::keys) {
        match keys {
            [table, name, ..]
                if table == "agents" && !settings.policy.agents.contains_key(name) =>
            {
                let names: Vec<&str> = settings.policy.agents.keys().map(String::as_str).collect();
                return Err(Error::usage(format!(
                    "no agent is called `{}`{}; to add an agent, run: whereby agents add NAME",
                    text::printable(name, 60),
                    suggest::did_you_mean(name, &names)
                )));
            }
            [table, name, _, ..] if table == "accounts" => {
                let gets_key = changes.iter().map(Change::keys).any(|own| {
                    own.starts_with(&keys[..2])
                        && own.get(2).is_some_and(|key| key == "access_token")
                });
                if !gets_key && let Err(error) = existing(settings, name) {
                    return Err(Error::usage(format!(
                        "{error}; to add an account, give its key, too: whereby configure --account NAME \
                         --token-stdin"
                    )));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a key belongs to an account.
fn is_account_key(key: &str) -> bool {
    let key = key.split(['.', '=']).next().unwrap_or(key);
    let own = reader::ACCOUNT.iter().filter(|own| own.name != "permissions");
    own.into_iter().any(|own| own.name == key)
}

/// Returns the named account, or the default one. It may not exist yet.
pub(super) fn account_to_change(settings: &Settings, named: Option<&str>) -> Result<String, Error> {
    let named = named.filter(|name| *name != "default" || settings.accounts.contains_key(*name));
    let name = match named {
        Some(name) => name.to_owned(),
        None if settings.accounts.is_empty() => "default".to_owned(),
        None => settings.account_name(None)?.to_owned(),
    };
    check_account_name(&name)?;
    Ok(name)
}

/// Refuses a token that no call could use. Returns whether it looks like a Whereby API key.
pub(super) fn check_token(token: &str, account: Option<&str>) -> Result<bool, Error> {
    let account = account.unwrap_or("default");
    let token = TokenSource::literal(token).fetch(account, &Environment::empty())?;
    Ok(token.claims().is_some())
}

/// The maximum size of a token, in bytes.
pub(super) const MAX_TOKEN: usize = 16 * 1024;

fn read_token(context: &Context) -> Result<String, Error> {
    let streams = &context.streams;
    if streams.stdin_is_terminal && context.environment.is_ci() {
        return Err(Error::usage(
            "--token-stdin cannot ask for the key on a terminal in a CI job; pipe the key to standard input",
        ));
    }
    let read = if streams.stdin_is_terminal {
        streams.read_secret("API key (not shown while you type): ", MAX_TOKEN)
    } else {
        streams.read_to_end(MAX_TOKEN)
    };
    let text = read.map_err(|error| match error.kind() {
        std::io::ErrorKind::Interrupted => Error::Interrupted,
        _ => Error::usage(format!("the access token cannot be read from standard input: {error}")),
    })?;
    let token = text.trim();
    if token.is_empty() {
        return Err(Error::usage("standard input contains no access token"));
    }
    Ok(token.to_owned())
}
