//! `whereby agents`: lists the agents of the configuration, and adds and removes them. Also the option
//! that names the agent of a command's calls.

use super::configure::PermissionOpts;
use super::ending::Ending;
use super::render::Look;
use super::token::{commands_to_revoke, ids_of_agent};
use super::{CommandError, Context, Output, document, render, table};
use crate::config::edit::{self, Change};
use crate::config::{Settings, invalid_agent_name, is_account_name};
use crate::error::Error;
use crate::store::{Decider, Freeze, Place, Voided};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use toml_edit::{Array, Datetime};
use whereby_authority::conditions::Condition;
use whereby_authority::policy::{AgentRules, Effect, Permission, Rule, Subject};
use whereby_authority::text;
use whereby_authority::timestamp::Timestamp;
use whereby_catalog::FUNCTIONS;

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
    #[command(flatten)]
    ending: Ending,
    #[command(flatten)]
    permissions: PermissionOpts,
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
        let until = self.ending.date(now)?;
        let name = &self.name;
        let changed =
            edit::change(context.global.config.as_deref(), &context.environment, |settings| {
                self.changes(settings, until, now)
            })?;
        context.record_change(&changed);
        match Settings::load(context.global.config.as_deref(), &context.environment) {
            Ok(settings) => self.stricter(&settings).iter().for_each(|what| context.warn(what)),
            Err(error) => context.warn(&format!("all calls will be refused: {error}")),
        }
        // The file may have been edited by hand.
        if let Some(ended) = end_approvals(context, name) {
            context.warn(&format!("{ended} of an earlier agent with this name ended"));
        }
        let tokens = ids_of_agent(context, name);
        if !tokens.is_empty() {
            let commands = commands_to_revoke(&tokens).join("; ");
            context.warn(&format!(
                "tokens of an earlier agent with this name work again; to revoke them, run: {commands}"
            ));
        }
        let file = text::printable(&changed.file.display().to_string(), 300);
        Ok(Output::text(
            format!(
                "{file}: the agent `{name}` was added\nto start it: whereby mcp --agent {name}\n"
            ),
            json!({"success": true, "file": changed.file, "agent": name, "tokens": tokens}),
        ))
    }

    /// Says where the rules of the accounts are stricter than what was given for the agent.
    fn stricter(&self, settings: &Settings) -> Vec<String> {
        let mut found: BTreeMap<(&str, String, String), Vec<&str>> = BTreeMap::new();
        let is_named = |name: &&String| self.accounts.is_empty() || self.accounts.contains(*name);
        for account in settings.accounts.keys().filter(is_named) {
            let calls = FUNCTIONS.iter().flat_map(|function| [(function, false), (function, true)]);
            for (function, has_destination) in calls {
                let Some(given) = self.permissions.given(function, has_destination) else {
                    continue;
                };
                let subject = Subject::of(account, function);
                let rules = settings.policy.outlook(subject, has_destination).rules;
                let is_about = |rule: &&Rule| {
                    !has_destination || rule.key.ends_with(Effect::Destination.as_str())
                };
                let rules = rules.iter().map(|applied| &applied.rule).filter(is_about);
                let Some(strictest) = rules.max_by_key(|rule| rule.permission) else { continue };
                if strictest.permission > given {
                    let fix = self.loosening(settings, account, strictest, given);
                    let names = found.entry((account, strictest.to_string(), fix)).or_default();
                    let name =
                        if has_destination { "recording and streaming" } else { function.json };
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
        }
        let message = |((account, rule, fix), names): (_, Vec<&str>)| {
            format!(
                "the account `{account}` is stricter than what you gave the agent `{}`: {rule} applies to \
                 {}{fix}",
                self.name,
                names.join(", ")
            )
        };
        found.into_iter().map(message).collect()
    }

    /// Returns the command that makes a rule as free as what was given, after a semicolon; empty if the rule
    /// is not in the user's own file.
    fn loosening(
        &self,
        settings: &Settings,
        account: &str,
        rule: &Rule,
        given: Permission,
    ) -> String {
        let given = given.as_str();
        let is_own =
            rule.place.as_ref().is_some_and(|(file, _)| settings.file.as_ref() == Some(file));
        match (is_own, rule.is_default) {
            // A default is changed for this account alone.
            (_, true) => {
                format!(
                    "; to change that, run: whereby configure --account {account} --set {}={given}",
                    rule.key
                )
            }
            (true, false) => {
                format!("; to change that, run: whereby configure --set {}={given}", rule.key)
            }
            (false, false) => String::new(),
        }
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
    context.record_change(&changed);
    let file = text::printable(&changed.file.display().to_string(), 300);
    let mut said =
        format!("{file}: the agent `{name}` was removed; its calls are refused from now on\n");
    if let Some(ended) = end_approvals(context, name) {
        said += &format!("{ended} of it ended\n");
    }
    let tokens = ids_of_agent(context, name);
    if !tokens.is_empty() {
        said += &format!(
            "its tokens work again if an agent with this name is added; to revoke them, run:\n  {}\n",
            commands_to_revoke(&tokens).join("\n  ")
        );
    }
    let json = json!({"success": true, "file": changed.file, "agent": name, "tokens": tokens});
    Ok(Output::text(said, json))
}

/// Ends the approvals of an agent, so that another one with its name does not have them. Says how many ended.
fn end_approvals(context: &Context, name: &str) -> Option<String> {
    // Without a state directory, there are no approvals.
    let store = context.store().ok()?;
    let ended = store.void_agent(name, &Decider::at(Place::Terminal)).unwrap_or_else(|error| {
        context.warn(&format!("the approvals of the agent `{name}` are still valid: {error}"));
        Voided::default()
    });
    ended.describe()
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

/// Returns a line that says until when an agent may call anything; empty without an end.
pub(super) fn end_line(settings: &Settings, agent: Option<&str>, look: &Look) -> String {
    let rules = agent.and_then(|name| settings.policy.agents.get(name));
    let Some(Condition::ValidUntil(end)) =
        rules.and_then(|rules| rules.valid_until.as_ref()).map(|stated| &stated.condition)
    else {
        return String::new();
    };
    let agent = agent.unwrap_or_default();
    let line =
        format!("the agent `{agent}` expires at {}; its calls are then denied", end.to_rfc3339());
    format!("\n{}{}", table::paragraph(&look.localized(&line), look), look.zone_line())
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
    let with_accounts = freezes.iter().filter_map(|freeze| freeze.selector.account.as_deref());
    let with_accounts: Vec<String> =
        with_accounts.map(|account| text::printable(account, 60)).collect();
    let row = json!({
        "agent": name,
        "accounts": accounts.map_or_else(|| "all".to_owned(), |accounts| accounts.join(", ")),
        "valid until": until,
        "frozen": match with_accounts.as_slice() {
            _ if is_frozen => "yes".to_owned(),
            [] => String::new(),
            accounts => format!("with {}", accounts.join(", ")),
        },
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
