//! `whereby permissions`: shows the permissions in force and their rules, and replays the audit log
//! against other rules.

use super::agents::end_line;
use super::approvals::standing_line;
use super::audit::When;
use super::{CommandError, Context, Output, document, functions, render, table};
use crate::error::Error;
use crate::session::call::{Call, rule_json};
use crate::store::{AuditFilter, Freeze, StandingApproval};
use serde_json::{Value, json};
use whereby_authority::policy::{AppliedRule, Outlook, Permission, Rule, Subject, in_line};
use whereby_authority::table::FunctionRule;
use whereby_authority::text;
use whereby_catalog::Function;

/// Show the permissions in force, with their conditions and rules
///
/// Without arguments: every function. With a function: each rule that applies to it. With a function and
/// its arguments as JSON: the decision on that call, without making it.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_long_help = concat!(
    "Examples:\n",
    "  whereby permissions\n",
    "  whereby permissions delete_room\n",
    "  whereby permissions create_room '{\"room_name_prefix\": \"bot-\"}'\n",
    "  whereby permissions replay --since 7d"
))]
pub(super) struct Opts {
    /// The agent that would make the call
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Only this function
    #[arg(value_parser = functions::name(), hide_possible_values = true)]
    function: Option<String>,
    /// The arguments of a call, as a JSON object
    #[arg(value_name = "JSON")]
    arguments: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Decide the calls of the audit log again, and list those that would now be decided differently
    ///
    /// With --config, uses the rules of another file, to try them first. Quotas and creators are taken
    /// from the log, without the writes that the rules would now deny. A call is counted as not decided
    /// if its arguments are masked in the log, if it was made with a token, or if it was frozen.
    #[command(after_long_help = "Example:\n  whereby permissions replay --since 7d")]
    Replay {
        /// Only calls since this time, as in `whereby audit --since`
        #[arg(long, value_name = "WHEN", value_parser = When::parse)]
        since: Option<When>,
    },
}

impl Opts {
    pub(super) fn run(self, context: &Context) -> Result<Output, CommandError> {
        if let Some(Command::Replay { since }) = &self.command {
            return replay(context, since.as_ref());
        }
        let settings = context.settings()?;
        let agent = self.agent.as_deref();
        let (account, _) = settings.choose_as(agent, context.global.account.as_deref(), false)?;
        let account = account.to_owned();
        let function = self.function.as_deref().map(functions::find).transpose()?;
        let mut standing =
            context.store().map_or_else(|_| Ok(Vec::new()), |store| store.standing())?;
        standing.retain(|own| {
            own.account == account
                && own.agent.as_deref() == agent
                && function.is_none_or(|function| function.json == own.function)
        });
        let frozen = context.store().map_or_else(|_| Ok(Vec::new()), |store| store.frozen());
        let frozen = Frozen::of(frozen, &account, agent);
        let below = |context: &Context| {
            let end = end_line(&settings, agent, &context.look());
            end + &frozen.text(context) + &standing_text(context, &standing)
        };
        let outlook = |function: &'static Function| {
            let subject = Subject { agent, ..Subject::of(&account, function) };
            settings.policy.outlook(subject, false)
        };
        let Some(function) = function else {
            let all = context.functions()?;
            let all: Vec<(&Function, Outlook)> =
                all.into_iter().map(|function| (function, outlook(function))).collect();
            let rows = all.iter().map(|(function, outlook)| row(function, outlook));
            let mut table = render::render(&Value::Array(rows.collect()), &context.look());
            table += &below(context);
            let functions = all.iter().map(|(function, outlook)| entry(function, outlook));
            let found = json!({
                "account": account,
                "agent": agent,
                "functions": functions.collect::<Vec<_>>(),
                "frozen": frozen.to_json(),
                "standing": standing_json(&standing),
            });
            return Ok(Output::text(table, document("permissions", found)));
        };
        if let Some(given) = &self.arguments {
            let arguments = super::call::arguments_of(given)?;
            let session = context.session(settings.clone(), false)?;
            let call = Call::new(function.json, arguments).agent(agent).account(Some(&account));
            let plan = session.plan(call)?;
            let decision = plan.verdict.permission.as_str();
            let mut shown = format!("{decision}: {}", plan.verdict.rule);
            if let Some(unmet) = &plan.verdict.rule.unmet {
                shown += &format!("\nbecause {}", unmet.reason);
            }
            let mut found = plan.to_json();
            found["account"] = account.into();
            found["agent"] = json!(agent);
            found["frozen"] = frozen.to_json();
            found["standing"] = standing_json(&standing);
            let mut shown = table::markdown(&(shown + "\n"), &context.look());
            shown += &below(context);
            return Ok(Output::text(shown, document("permissions", found)));
        }
        let outlook = outlook(function);
        let mut found = entry(function, &outlook);
        found["account"] = account.clone().into();
        found["agent"] = json!(agent);
        found["frozen"] = frozen.to_json();
        found["standing"] = standing_json(&standing);
        let shown = details(function, &account, agent, &outlook);
        let mut shown = table::markdown(&context.look().localized(&shown), &context.look());
        shown += &below(context);
        Ok(Output::text(shown, document("permissions", found)))
    }
}

/// What stops the calls of an account and an agent, whatever the rules say.
struct Frozen(Result<Vec<Freeze>, Error>);

impl Frozen {
    fn of(frozen: Result<Vec<Freeze>, Error>, account: &str, agent: Option<&str>) -> Self {
        Self(frozen.map(|mut all| {
            all.retain(|freeze| freeze.selector.covers(account, agent));
            all
        }))
    }

    fn to_json(&self) -> Value {
        match &self.0 {
            Ok(freezes) => freezes.iter().map(Freeze::to_json).collect(),
            // It is unknown what is frozen, so everything is.
            Err(_) => json!([{"agent": null, "account": null}]),
        }
    }

    fn text(&self, context: &Context) -> String {
        let look = context.look();
        match &self.0 {
            Ok(freezes) => {
                let line = |freeze: &Freeze| {
                    let what = look.localized(&format!("frozen: {}", freeze.describe()));
                    let what = table::paragraph(&what, &look);
                    format!("\n{what}to lift it: {}\n", freeze.selector.command())
                };
                freezes.iter().map(line).collect::<String>() + &look.zone_line()
            }
            Err(error) => format!("\n{}", table::paragraph(&error.to_string(), &look)),
        }
    }
}

fn standing_json(standing: &[StandingApproval]) -> Value {
    standing.iter().map(StandingApproval::to_json).collect()
}

/// Returns what people have approved of the calls that need it.
fn standing_text(context: &Context, standing: &[StandingApproval]) -> String {
    let look = context.look();
    let shown = standing.iter().map(|own| {
        let what = format!("standing approval: {}", standing_line(own, &look));
        let what = table::paragraph(&what, &look);
        format!("\n{what}to revoke it: whereby approvals deny {}\n", own.id)
    });
    shown.collect()
}

fn row(function: &Function, outlook: &Outlook) -> Value {
    json!({
        "function": function.json,
        "permission": outlook.permission.as_str(),
        "conditions": outlook.terms(),
        "rule": deciding(outlook).to_string(),
    })
}

/// Returns the rule that decides if all conditions hold: of equally strict ones, one with conditions, which
/// says more.
fn deciding(outlook: &Outlook) -> &Rule {
    let strictest = || outlook.rules.iter().filter(|own| own.rule.permission == outlook.permission);
    let says_more = |own: &&AppliedRule| {
        outlook.permission != Permission::Deny
            && own.conditions.iter().any(|unmet| !unmet.key.ends_with(".valid_until"))
    };
    // There is always one.
    let found = strictest().find(says_more).or_else(|| strictest().next());
    &found.unwrap_or(&outlook.rules[0]).rule
}

/// Returns the permission of a function as JSON, with each rule that applies.
fn entry(function: &Function, outlook: &Outlook) -> Value {
    let rules = outlook.rules.iter().map(|AppliedRule { rule, conditions, .. }| {
        let mut shown = rule_json(rule);
        let each = conditions.iter().map(|unmet| {
            let name = unmet.key.rsplit('.').next().unwrap_or_default();
            let mut shown = rule_json(unmet);
            shown["condition"] = name.into();
            shown["value"] = unmet.unmet.as_ref().map(|unmet| unmet.value.clone()).into();
            shown
        });
        shown["conditions"] = each.collect();
        shown
    });
    json!({
        "name": function.json,
        "effect": FunctionRule::of(function).effect.as_str(),
        "permission": outlook.permission.as_str(),
        "conditions": outlook.conditions.iter().map(|c| json!({c.name(): c.value()})).collect::<Vec<_>>(),
        "rules": rules.collect::<Vec<_>>(),
    })
}

/// Returns what holds for calls of a function, in one line.
pub(super) fn in_words(
    function: &Function,
    account: &str,
    agent: Option<&str>,
    outlook: &Outlook,
) -> String {
    let permission = outlook.permission.as_str();
    let agent = agent.map(|agent| format!(" and the agent `{agent}`")).unwrap_or_default();
    let mut shown = format!("{} by the account `{account}`{agent}: {permission}", function.json);
    for (index, (otherwise, conditions)) in outlook.otherwise().iter().enumerate() {
        let lead = if index == 0 { ", if" } else { "; and only if" };
        shown += &format!("{lead} {}; otherwise {}", in_line(conditions), otherwise.as_str());
    }
    shown
}

fn details(function: &Function, account: &str, agent: Option<&str>, outlook: &Outlook) -> String {
    let mut shown = in_words(function, account, agent, outlook);
    shown += "\n\nRules (the strictest result holds):\n";
    for AppliedRule { rule, conditions, .. } in &outlook.rules {
        shown += &format!("- {rule}\n");
        for unmet in conditions {
            shown += &format!("  - {unmet}: otherwise {}\n", unmet.permission.as_str());
        }
    }
    shown
}

fn replay(context: &Context, since: Option<&When>) -> Result<Output, CommandError> {
    let settings = context.settings()?;
    let store = context.store()?;
    let now = context.environment.clock.now();
    let since = since.map(|when| when.unix_ms(now, &context.look().zone())).transpose()?;
    store.gather()?;
    // Earlier calls count towards quotas.
    let account = context.global.account.as_deref();
    let account = account.map(|name| settings.account_name(Some(name))).transpose()?;
    let filter = AuditFilter {
        account: account.map(str::to_owned),
        decisions: Some(false),
        ..AuditFilter::default()
    };
    let rows = store.audit_as_it_is(&filter)?;
    let session = context.session(settings, false)?;
    let replayed = session.replay(&rows, since.unwrap_or(i64::MIN));
    let shown = replayed.changed.iter().map(|change| {
        json!({
            "time": change.time,
            "id": change.id,
            "function": change.function,
            "account": change.account,
            "agent": change.agent,
            "arguments": change.arguments,
            "was": change.was,
            "now": change.verdict.permission.as_str(),
            "rule": rule_json(&change.verdict.rule),
            "reason": change.verdict.rule.unmet.as_ref().map(|unmet| &unmet.reason),
        })
    });
    let changed: Vec<Value> = shown.collect();
    let rows = changed.iter().zip(&replayed.changed).map(|(shown, change)| {
        json!({
            "time": shown["time"],
            "call": format!("{} {}", change.function, text::printable(&change.arguments.to_string(), 60)),
            "was": shown["was"],
            "now": shown["now"],
            "rule": change.verdict.rule.to_string(),
        })
    });
    let mut text = match changed.as_slice() {
        [] => String::new(),
        _ => render::render(&Value::Array(rows.collect()), &context.look()),
    };
    text +=
        &format!("{} of {} calls would be decided differently\n", changed.len(), replayed.decided);
    if replayed.undecided > 0 {
        text += &format!(
            "{} more cannot be decided: the log has no rule for them, their arguments are masked, or they \
             were made with a token or while calls were frozen\n",
            replayed.undecided
        );
    }
    let found = json!({
        "decided": replayed.decided,
        "undecided": replayed.undecided,
        "changed": changed,
    });
    Ok(Output::text(text, document("replay", found)))
}
