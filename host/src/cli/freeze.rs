//! `whereby freeze` and `unfreeze`: stop the requests of an agent, of an account, or all of them.

use super::approvals::wanted_account;
use super::{CommandError, Context, Output, table};
use crate::config::{Settings, is_account_name};
use crate::error::Error;
use crate::store::{Decider, Freeze, Place, Selector};
use serde_json::{Value, json};
use whereby_authority::text;

/// Stop all requests at once, of one agent, of one account, or of everything
///
/// From now on, frozen calls send no requests, in any program of this user. A call that is under way
/// sends nothing more, and fails. It stays frozen until `whereby unfreeze`. With --agent and --account,
/// only calls of that agent with that account are frozen.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  whereby freeze --reason 'deleted the wrong room'")]
pub(super) struct FreezeOpts {
    /// Freeze only calls of this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Freeze only calls with this account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// The reason to show to people; agents don't see it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Lift a freeze
///
/// Name the agent and the account as with `whereby freeze`. Without options, lifts the freeze of
/// everything, or the only freeze.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  whereby unfreeze --all")]
pub(super) struct UnfreezeOpts {
    /// Lift the freeze of this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Lift the freeze of this account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Lift every freeze
    #[arg(long, conflicts_with = "agent")]
    all: bool,
}

impl FreezeOpts {
    pub(super) fn run(self, context: &Context) -> Result<Output, CommandError> {
        let selector = known(context, self.agent)?;
        let reason = self.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
        let what = selector.describe();
        let by = Decider::at(Place::Terminal);
        let changed = context.store()?.freeze(selector, reason, &by)?;
        context.warn_unrecorded(changed.unrecorded.as_ref());
        let (is_new, frozen) = (changed.changed, changed.freezes);
        let said = match (is_new, reason) {
            (true, _) => format!("froze {what}; calls that are under way send nothing more\n"),
            (false, Some(_)) => format!("{what}: frozen before, now with this time and reason\n"),
            (false, None) => format!("{what}: frozen before; nothing was changed\n"),
        };
        Ok(Output::text(
            said + &listed(context, &frozen),
            json!({"success": true, "changed": is_new, "frozen": documents(&frozen)}),
        ))
    }
}

impl UnfreezeOpts {
    pub(super) fn run(self, context: &Context) -> Result<Output, CommandError> {
        let store = context.store()?;
        let selector = Selector { agent: self.agent, account: wanted_account(context) };
        let is_bare = selector == Selector::default();
        if self.all && !is_bare {
            let message = "--all lifts every freeze; leave out --account".to_owned();
            return Err(Error::Usage { message }.into());
        }
        let selector = match is_bare && !self.all {
            true => the_one(&store.frozen()?)?,
            false => selector,
        };
        let by = Decider::at(Place::Terminal);
        let changed = store.unfreeze(Some(&selector).filter(|_| !self.all), &by)?;
        context.warn_unrecorded(changed.unrecorded.as_ref());
        let (lifted, left) = (changed.changed, changed.freezes);
        let said = match (lifted.as_slice(), left.as_slice()) {
            ([], []) => "nothing was frozen\n".to_owned(),
            ([], _) => {
                format!("{} was not frozen\n{}", selector.describe(), listed(context, &left))
            }
            (lifted, _) => {
                let line = |freeze: &Freeze| {
                    format!("lifted the freeze of {}\n", freeze.selector.describe())
                };
                lifted.iter().map(line).collect::<String>() + &listed(context, &left)
            }
        };
        Ok(Output::text(
            said,
            json!({
                "success": true,
                "changed": !lifted.is_empty(),
                "lifted": documents(&lifted),
                "frozen": documents(&left),
            }),
        ))
    }
}

/// Returns the freeze that `whereby unfreeze` alone means: that of everything, or else the only one.
fn the_one(frozen: &[Freeze]) -> Result<Selector, Error> {
    match frozen {
        [only] => Ok(only.selector.clone()),
        several
            if several.iter().all(|freeze| freeze.selector != Selector::default())
                && !several.is_empty() =>
        {
            let commands =
                several.iter().map(|freeze| format!("\n  {}", freeze.selector.command()));
            Err(Error::Usage {
                message: format!(
                    "there are several freezes; lift all of them with --all, or one with{}",
                    commands.collect::<String>()
                ),
            })
        }
        _ => Ok(Selector::default()),
    }
}

/// Returns what to freeze, with names that exist: a misspelled one would stop nothing.
fn known(context: &Context, agent: Option<String>) -> Result<Selector, Error> {
    let account = wanted_account(context);
    for name in [&agent, &account].into_iter().flatten() {
        if !is_account_name(name) {
            let name = text::printable(name, 60);
            let message = format!("`{name}` cannot be the name of an agent or an account");
            return Err(Error::Usage { message });
        }
    }
    let settings = match Settings::load(context.global.config.as_deref(), &context.environment) {
        Ok(settings) => settings,
        Err(error) => {
            if agent.is_some() || account.is_some() {
                context.warn(&format!("it is not checked whether the name exists: {error}"));
            }
            return Ok(Selector { agent, account });
        }
    };
    if let Some(name) = account.as_deref().filter(|_| !settings.accounts.is_empty()) {
        settings.account_name(Some(name))?;
    }
    if let Some(name) = agent.as_deref().filter(|_| settings.file.is_some()) {
        settings.agent(name).map_err(|error| Error::Usage { message: error.to_string() })?;
    }
    Ok(Selector { agent, account })
}

/// Returns what is frozen now, a line for each freeze.
fn listed(context: &Context, frozen: &[Freeze]) -> String {
    if frozen.is_empty() {
        return "nothing is frozen now\n".into();
    }
    let look = context.look();
    let line = |freeze: &Freeze| look.localized(&format!("  {}\n", freeze.describe()));
    let lines: String = frozen.iter().map(line).collect();
    table::markdown(&format!("frozen now:\n{lines}"), &look) + &look.zone_line()
}

fn documents(frozen: &[Freeze]) -> Vec<Value> {
    frozen.iter().map(Freeze::to_json).collect()
}
