//! `whereby approvals`: lists stored calls; a person approves or denies them.

use super::render::{self, Look};
use super::{CommandError, Context, Output, document, prompt, table};
use crate::config::Settings;
use crate::error::Error;
use crate::session::approval::Answer;
use crate::store::{ApprovalState, Store, StoredApproval};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use whereby_authority::sentence::Sentence;
use whereby_authority::text;

/// How many columns of the terminal are for things other than arguments.
const OTHER_COLUMNS: u16 = 20;

/// List, show, approve and deny calls that need approval
///
/// If a call needs approval and nobody can be asked, the call is stored. An approval allows one call
/// with the same arguments, in any spelling. It works once and expires after 15 minutes. After you
/// approve, the program makes the call again. Undecided requests expire after an hour.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  whereby approvals list\n  whereby approvals list --all --json"
)]
pub(super) struct Opts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List calls that wait for approval, and unused approvals
    List {
        /// Also list used, denied and expired approvals
        #[arg(long)]
        all: bool,
    },
    /// Show one approval with its full arguments
    Show {
        /// The full approval ID
        id: String,
    },
    /// Approve the call once, for 15 minutes, even if it was denied before
    #[command(
        after_long_help = "Example:\n  whereby approvals approve 9f86d081884c7d659a2feaa0c55ad015"
    )]
    Approve {
        /// The full approval ID
        id: String,
    },
    /// Deny the call, or revoke an unused approval
    #[command(
        override_usage = "whereby approvals deny [OPTIONS] <ID>\n       whereby approvals deny [OPTIONS] --all [--client <NAME>] [--yes]",
        group = clap::ArgGroup::new("calls").args(["id", "all"]).required(true),
        after_long_help = "Examples:\n  whereby approvals deny 9f86d081884c7d659a2feaa0c55ad015\n  whereby approvals deny --all --client my-agent"
    )]
    Deny {
        /// The full approval ID
        id: Option<String>,
        /// Deny everything that `whereby approvals list` shows, after confirmation
        #[arg(long)]
        all: bool,
        /// With --all: deny only calls of this MCP client, given with or without its version
        #[arg(long, value_name = "NAME", requires = "all", conflicts_with = "id")]
        client: Option<String>,
        /// With --all: do not ask for confirmation
        #[arg(long, requires = "all", conflicts_with = "id")]
        yes: bool,
    },
}

impl Opts {
    pub(super) fn run(self, context: &Context) -> Result<Output, CommandError> {
        let store = context.store()?;
        match self.command {
            Command::List { all } => {
                let account = wanted_account(context);
                let mut found = store.approvals(all)?;
                found.retain(|found| account.as_ref().is_none_or(|name| *name == found.account));
                let documents: Vec<Value> = found.iter().map(StoredApproval::to_json).collect();
                let table = if !found.is_empty() {
                    let look = context.look();
                    let rows = found.iter().map(|found| row(found, &look)).collect();
                    render::render(&Value::Array(rows), &look)
                } else if all {
                    "no approvals\n".into()
                } else {
                    nothing_waits(account.as_deref(), None)
                };
                Ok(Output::text(table, document("approvals", documents.into())))
            }
            Command::Show { id } => {
                let found = store.approval(&id)?.ok_or_else(|| {
                    Error::usage(format!(
                        "there is no approval {id}; run: whereby approvals list --all"
                    ))
                })?;
                check_account(context, &found)?;
                Ok(output(&found, show(context, &found)))
            }
            Command::Approve { id } => {
                check_account_of(context, &store, &id)?;
                let approved = store.approve(&id)?;
                let mut text = approved_text(context, &approved);
                if approved.id != id {
                    text +=
                        &format!("this approval is new; the denied one, {id}, stays in the list\n");
                }
                Ok(output(&approved, text))
            }
            Command::Deny { id: None, client, yes, .. } => {
                deny_all(context, &store, client.as_deref(), yes)
            }
            Command::Deny { id: Some(id), .. } => {
                check_account_of(context, &store, &id)?;
                let denied = store.deny(&id)?;
                let text = format!(
                    "denied: {} by the account `{}`; the same call is not stored again for an hour\n\
                     to approve it after all: whereby approvals approve {}\n",
                    shown(&denied.function),
                    shown(&denied.account),
                    denied.id
                );
                Ok(output(&denied, text))
            }
        }
    }
}

/// Denies all open approvals, or only those of the given account and client.
fn deny_all(
    context: &Context,
    store: &Store,
    client: Option<&str>,
    yes: bool,
) -> Result<Output, CommandError> {
    let account = wanted_account(context);
    let is_meant = |found: &StoredApproval| {
        account.as_ref().is_none_or(|name| *name == found.account)
            && client.is_none_or(|name| is_client(found.client.as_deref(), name))
    };
    let mut found = store.approvals(false)?;
    found.retain(is_meant);
    if !found.is_empty() && !yes && !confirm(context, &found)? {
        return Ok(Output::text("nothing was denied\n", document("approvals", json!([]))));
    }
    // A call that was stored in the meantime was not shown.
    let ids: BTreeSet<&str> = found.iter().map(|found| found.id.as_str()).collect();
    let denied = store.deny_all(|open| ids.contains(open.id.as_str()))?;
    let text = match denied.len() {
        0 => nothing_waits(account.as_deref(), client),
        1 => "denied 1 call; the same call is not stored again for an hour\n".into(),
        count => format!("denied {count} calls; the same calls are not stored again for an hour\n"),
    };
    let documents: Vec<Value> = denied.iter().map(StoredApproval::to_json).collect();
    Ok(Output::text(text, document("approvals", documents.into())))
}

/// Returns the message for an empty list of this account and client.
fn nothing_waits(account: Option<&str>, client: Option<&str>) -> String {
    if account.is_none() && client.is_none() {
        return "nothing waits for approval\n".into();
    }
    let client = client.map(|name| format!(" from the MCP client {}", shown(name)));
    let account = account.map(|name| format!(" by the account `{}`", shown(name)));
    format!("no call{}{} is waiting\n", client.unwrap_or_default(), account.unwrap_or_default())
}

/// Shows the calls on the terminal, and asks whether to deny them.
fn confirm(context: &Context, found: &[StoredApproval]) -> Result<bool, Error> {
    let count = found.len();
    if !context.can_ask(false) {
        return Err(Error::usage(format!(
            "denying {count} call{} needs confirmation, and there is no terminal; add --yes",
            if count == 1 { "" } else { "s" }
        )));
    }
    let most = context.streams.width.map_or(200, |width| usize::from(width.max(OTHER_COLUMNS)) - 1);
    for call in found {
        let who = asked_by(&call.front_end, call.client.as_deref(), call.agent.as_deref());
        let (account, arguments) = (&call.account, text::spaced_json(&call.arguments));
        let line = format!("{} {arguments}, account {account}, asked by {who}", call.function);
        // If standard error is closed, the question below fails.
        let _ = writeln!(context.streams.stderr(), "{}", text::printable(&line, most));
    }
    let calls: String =
        if count == 1 { "the one call".into() } else { format!("all {count} calls") };
    let question = format!("Deny {calls} (pending or approved but not used)? [y/N] ");
    match prompt::confirm(&context.streams, &question) {
        Answer::Approved => Ok(true),
        Answer::Declined => Ok(false),
        Answer::Nobody => {
            Err(Error::usage("the terminal cannot be read; add --yes to skip the confirmation"))
        }
    }
}

/// Whether a client has this name. Clients add their version to their name.
fn is_client(client: Option<&str>, name: &str) -> bool {
    client.is_some_and(|client| {
        client == name || client.rsplit_once(' ').is_some_and(|(own, _)| own == name)
    })
}

/// Returns the account of `--account`. It may have rows although it is no longer configured.
pub(super) fn wanted_account(context: &Context) -> Option<String> {
    let name = context.global.account.as_deref()?;
    if name == "default"
        && let Ok(settings) = Settings::load(context.global.config.as_deref(), &context.environment)
        && let Ok(default) = settings.account_name(Some(name))
    {
        return Some(default.to_owned());
    }
    Some(name.to_owned())
}

fn check_account_of(context: &Context, store: &Store, id: &str) -> Result<(), Error> {
    match store.approval(id)? {
        Some(found) => check_account(context, &found),
        // The operation itself reports an unknown ID.
        None => Ok(()),
    }
}

/// Checks that the approval belongs to the account of `--account`.
fn check_account(context: &Context, found: &StoredApproval) -> Result<(), Error> {
    match wanted_account(context) {
        Some(name) if name != found.account => Err(Error::usage(format!(
            "approval {} belongs to the account `{}`, not to `{}`; change --account",
            found.id,
            shown(&found.account),
            shown(&name)
        ))),
        _ => Ok(()),
    }
}

fn output(approval: &StoredApproval, text: String) -> Output {
    Output::text(text, document("approval", approval.to_json()))
}

fn shown(text: &str) -> String {
    text::printable(text, 200)
}

fn row(approval: &StoredApproval, look: &Look) -> Value {
    let document = approval.to_json();
    let until = match approval.state {
        ApprovalState::Pending => &document["expires_at"],
        ApprovalState::Approved => &document["valid_until"],
        _ => &Value::Null,
    };
    json!({
        "function": approval.function,
        "arguments": short(&approval.arguments, look),
        "state": approval.state.as_str(),
        "asked by": asked_by(
            &approval.front_end,
            approval.client.as_deref(),
            approval.agent.as_deref(),
        ),
        "created": document["created_at"],
        "until": until,
        "account": approval.account,
        "id": approval.id,
    })
}

/// Returns arguments on one line; on a terminal, cut to fit a table.
pub(super) fn short(arguments: &Value, look: &Look) -> String {
    if look.is_for_person() && arguments.as_object().is_some_and(Map::is_empty) {
        return String::new();
    }
    let most = match look.width {
        Some(width) if look.is_for_person() => {
            usize::from(width.max(2 * OTHER_COLUMNS) - OTHER_COLUMNS)
        }
        _ => usize::MAX,
    };
    text::printable(&text::spaced_json(arguments), most)
}

/// Returns the agent, the front end and the client of a call, such as `assistant via mcp (client 1.0)`.
pub(super) fn asked_by(front_end: &str, client: Option<&str>, agent: Option<&str>) -> String {
    let front_end = match client {
        Some(client) => format!("{front_end} ({})", text::printable(client, 40)),
        None => front_end.to_owned(),
    };
    match agent {
        Some(agent) => format!("{} via {front_end}", text::printable(agent, 40)),
        None => front_end,
    }
}

fn show(context: &Context, approval: &StoredApproval) -> String {
    let document = approval.to_json();
    let mut head = json!({
        "approval": approval.id,
        "state": approval.state.as_str(),
        "account": approval.account,
        "api": approval.api,
        "function": approval.function,
        "rule": approval.rule,
        "asked by": asked_by(
            &approval.front_end,
            approval.client.as_deref(),
            approval.agent.as_deref(),
        ),
        "created": document["created_at"],
    });
    for (name, member) in
        [("decided", "decided_at"), ("valid until", "valid_until"), ("used", "used_at")]
    {
        if !document[member].is_null() {
            head[name] = document[member].clone();
        }
    }
    let id = &approval.id;
    let next = match approval.state {
        ApprovalState::Pending => {
            head["expires"] = document["expires_at"].clone();
            format!(
                "\nto allow this one call: whereby approvals approve {id}\n\
                 to deny it: whereby approvals deny {id}\n"
            )
        }
        ApprovalState::Approved => format!("\nto revoke it: whereby approvals deny {id}\n"),
        _ => String::new(),
    };
    let look = context.look();
    let head = render::body(&head, &look);
    let zone = look.zone_line();
    let gap = if zone.is_empty() { "" } else { "\n" };
    let sentence = sentence(approval, &look);
    format!("{sentence}\n{head}{gap}{zone}\narguments:\n{}{next}", arguments(approval))
}

/// Returns a description of the call that is now allowed.
fn approved_text(context: &Context, approval: &StoredApproval) -> String {
    let look = context.look();
    let until = render::body(&approval.to_json()["valid_until"], &look);
    let what = format!(
        "approved: one call of {} by the account `{}` at {}, until {}, with exactly these arguments:",
        shown(&approval.function),
        shown(&approval.account),
        shown(&approval.api),
        until.trim_end(),
    );
    format!(
        "{}{}{}\n{}to revoke it before it is used: whereby approvals deny {}\n",
        table::paragraph(&what, &look),
        arguments(approval),
        sentence(approval, &look),
        look.zone_line(),
        approval.id,
    )
}

/// Returns the full arguments. Nothing that a person approves is cut.
fn arguments(approval: &StoredApproval) -> String {
    let text = serde_json::to_string_pretty(&approval.arguments).unwrap_or_default();
    text::printable_lines(&text) + "\n"
}

/// Returns what the call does, in one sentence.
fn sentence(approval: &StoredApproval, look: &Look) -> String {
    let sentence = Sentence::of(&approval.function, &approval.arguments);
    table::paragraph(&sentence.to_string(), look)
}
