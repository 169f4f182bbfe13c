//! `whereby agents`: lists the agents of the configuration, and adds and removes them. Also the option
//! that names the agent of a command's calls.

use super::configure::PermissionOpts;
use super::{CommandError, Context, Output, document, render};
use crate::config::edit::{self, Change};
use crate::config::{Settings, invalid_agent_name, is_account_name};
use crate::error::Error;
use crate::store::Freeze;
use serde_json::{Value, json};
use toml_edit::{Array, Datetime};
use whereby_authority::conditions::parse_span;
use whereby_authority::policy::{AgentRules, Permission};
use whereby_authority::text;
use whereby_authority::timestamp::Timestamp;

/// The variable that names the agent.
const VARIABLE: &str = "WHEREBY_AGENT";

/// The agent of a command's calls.
#[derive(Debug, clap::Args)]
pub(super) struct AgentOpt {
    /// Apply the rules of this agent too, and record it with each call, instead of $WHEREBY_AGENT
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
}

impl AgentOpt {
    /// Returns the name of the agent: that of the option, or else that of the variable.
    pub(super) fn name(&self, context: &Context) -> Option<String> {
        // An empty variable names an agent that does not exist: ignoring it would loosen the rules.
        let variable = || context.environment.variables.get(VARIABLE).cloned();
        self.agent.clone().or_else(variable)
    }
}

/// List, add and remove agents
///
/// An agent has rules of its own, which can only make those of its accounts stricter. Name the
/// agent with --agent or $WHEREBY_AGENT when you start the program; approvals and the audit log show it.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  whereby agents add assistant --account work --write ask --for 30d\n  whereby agents list --json"
)]
pub(super) struct Opts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add an agent to the configuration file
    Add(AddOpts),
    /// List the agents, their accounts, and whether they are frozen
    List,
    /// Remove an agent from the configuration file; its calls are then refused
    Remove {
        /// The agent
        name: String,
    },
}

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  whereby agents add assistant --account work --function delete_room=deny"
)]
struct AddOpts {
    /// The name: lower-case letters, digits, `_` and `-`
    name: String,
    /// Allow this account; repeat it for several (default: all accounts)
    #[arg(id = "account", long = "account", value_name = "NAME")]
    accounts: Vec<String>,
    /// Refuse its calls from this time on, such as 2027-01-31T00:00:00Z
    #[arg(long, value_name = "DATE", value_parser = date)]
    valid_until: Option<Timestamp>,
    /// Refuse its calls after this time, such as 30d or 8h
    #[arg(long = "for", value_name = "TIME", value_parser = span, conflicts_with = "valid_until")]
    duration: Option<i64>,
    #[command(flatten)]
    permissions: PermissionOpts,
}

fn date(text: &str) -> Result<Timestamp, String> {
    let wrong = || "expected a date with a time zone, such as 2027-01-31T00:00:00Z".to_owned();
    Timestamp::parse(text).ok_or_else(wrong)
}

fn span(text: &str) -> Result<i64, String> {
    // A hundred years.
    let allowed = 1..=100 * 366 * 86_400;
    let wrong = || "expected a time, such as 30d, 8h or 1h30m".to_owned();
    parse_span(text).filter(|seconds| allowed.contains(seconds)).ok_or_else(wrong)
}

impl Opts {
    pub(super) fn run(self, context: &Context) -> Result<Output, CommandError> {
        match self.command {
            Command::Add(opts) => opts.run(context),
            Command::List => list(context),
            Command::Remove { name } => remove(context, &name),
        }
    }
}

impl AddOpts {
    fn run(self, context: &Context) -> Result<Output, CommandError> {
        let now = context.environment.clock.timestamp();
        let until = match (self.valid_until, self.duration) {
            (Some(until), _) if until <= now => {
                let message = format!("--valid-until {} is in the past", until.to_rfc3339());
                return Err(Error::Usage { message }.into());
            }
            (until, None) => until,
            (_, Some(seconds)) => Some(now.plus_seconds(seconds)),
        };
        let name = &self.name;
        let changed =
            edit::change(context.global.config.as_deref(), &context.environment, |settings| {
                self.changes(settings, until, now)
            })?;
        let file = text::printable(&changed.file.display().to_string(), 300);
        Ok(Output::text(
            format!(
                "{file}: the agent `{name}` was added\nto start it: whereby mcp --agent {name}\n"
            ),
            json!({"success": true, "file": changed.file, "agent": name}),
        ))
    }

    fn changes(
        &self,
        settings: &Settings,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Vec<Change>, Error> {
        let usage = |message: String| Error::Usage { message };
        let name = &self.name;
        if !is_account_name(name) {
            return Err(usage(invalid_agent_name(name)));
        }
        if settings.policy.agents.contains_key(name) {
            return Err(usage(format!(
                "there is an agent `{name}` already; to change it, run for example: whereby configure \
                 --set agents.{name}.permissions.write=ask"
            )));
        }
        let own = |keys: &[&str]| -> Vec<String> {
            [&["agents", name.as_str()], keys].concat().iter().map(|k| (*k).to_owned()).collect()
        };
        let mut changes = vec![Change::Table(own(&[]))];
        if !self.accounts.is_empty() {
            for account in &self.accounts {
                if !settings.accounts.is_empty() {
                    edit::existing(settings, account)?;
                }
            }
            let accounts: Array = self.accounts.iter().map(String::as_str).collect();
            changes.push(Change::Set(own(&["accounts"]), accounts.into()));
        }
        if let Some(until) = until {
            let until = until.to_seconds().to_rfc3339();
            let date: Datetime = until.parse().map_err(|_| usage(format!("{until} is no date")))?;
            changes.push(Change::Set(own(&["valid_until"]), date.into()));
        }
        let keys = |keys: &[&str]| Ok(own(&[&["permissions"], keys].concat()));
        // With a condition alone, what meets it is for the account's rules to decide.
        let word = |_| Permission::Allow;
        changes.extend(self.permissions.changes(now, None, keys, word)?);
        Ok(changes)
    }
}

fn remove(context: &Context, name: &str) -> Result<Output, CommandError> {
    let changed =
        edit::change(context.global.config.as_deref(), &context.environment, |settings| {
            settings.agent(name).map_err(|error| Error::usage(error.to_string()))?;
            Ok(vec![Change::Unset(vec!["agents".into(), name.into()])])
        })?;
    let file = text::printable(&changed.file.display().to_string(), 300);
    Ok(Output::text(
        format!("{file}: the agent `{name}` was removed; its calls are refused from now on\n"),
        json!({"success": true, "file": changed.file, "agent": name}),
    ))
}

fn list(context: &Context) -> Result<Output, CommandError> {
    let settings = context.settings()?;
    let frozen = match context.store() {
        Ok(store) => store.frozen(),
        // Without a state directory, nothing can be frozen.
        Err(_) => Ok(Vec::new()),
    };
    if let Err(error) = &frozen {
        context.warn(&error.to_string());
    }
    let frozen = frozen.as_deref().ok();
    let agents: Vec<(Value, Value)> =
        settings.policy.agents.iter().map(|(name, rules)| describe(name, rules, frozen)).collect();
    let (documents, rows): (Vec<Value>, Vec<Value>) = agents.into_iter().unzip();
    let text = if rows.is_empty() {
        "no agents; to add one, run: whereby agents add NAME\n".into()
    } else {
        render::render(&Value::Array(rows), &context.look())
    };
    Ok(Output::text(text, document("agents", documents.into())))
}

/// Returns an agent as JSON and as a row of the table. `frozen` is absent if it is unknown, which freezes
/// everything.
fn describe(name: &str, rules: &AgentRules, frozen: Option<&[Freeze]>) -> (Value, Value) {
    let accounts = rules.accounts.as_ref().map(|(accounts, _)| accounts);
    let until = rules.valid_until.as_ref().map(|stated| stated.condition.value());
    let is_about =
        |freeze: &&Freeze| freeze.selector.concerns_agent(name, accounts.map(Vec::as_slice));
    let freezes: Option<Vec<&Freeze>> = frozen.map(|all| all.iter().filter(is_about).collect());
    let is_frozen = freezes
        .as_ref()
        .is_none_or(|freezes| freezes.iter().any(|freeze| freeze.selector.account.is_none()));
    let freezes = freezes.unwrap_or_default();
    let shown: Vec<String> = freezes.iter().map(|freeze| freeze.selector.describe()).collect();
    let row = json!({
        "agent": name,
        "accounts": accounts.map_or_else(|| "all".to_owned(), |accounts| accounts.join(", ")),
        "valid until": until,
        "frozen": if shown.is_empty() && is_frozen { "everything".into() } else { shown.join("; ") },
    });
    let json = json!({
        "name": name,
        "accounts": accounts,
        "valid_until": until,
        "frozen": is_frozen,
        "freezes": freezes.iter().map(|freeze| freeze.to_json()).collect::<Vec<_>>(),
    });
    (json, row)
}
