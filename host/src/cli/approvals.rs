//! `whereby approvals`: lists stored calls; a person approves or denies them.

use super::render::{self, Look};
use super::{CommandError, Context, Output, document, prompt, table};
use crate::config::Settings;
use crate::error::Error;
use crate::session::approval::Answer;
use crate::store::{
    ApprovalState, Decider, Decision, MAX_USES, Place, StandingApproval, Store, StoredApproval,
    Terms,
};
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
/// approve, an MCP server makes the call by itself; in a shell or a script, make it again. Undecided
/// requests expire after an hour.
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
        /// The ID, or at least 6 characters of its beginning
        id: String,
    },
    /// Approve the call, even if it was denied before
    ///
    /// If an MCP server asked, it makes the call at once. Otherwise the call can be made once, within 15
    /// minutes. With --uses, the next calls like it are approved too: those with the same arguments, or
    /// with any arguments that fit --rooms.
    #[command(after_long_help = "Examples:\n  \
        whereby approvals approve 9f86d081\n  \
        whereby approvals approve 9f86d081 --uses 8 --for 2h --rooms 'bot-*'")]
    Approve {
        /// The ID, or at least 6 characters of its beginning
        id: String,
        #[command(flatten)]
        more: More,
    },
    /// Deny the call, or revoke an unused or standing approval
    #[command(
        override_usage = "whereby approvals deny [OPTIONS] <ID>\n       whereby approvals deny [OPTIONS] --all [--client <NAME>] [--yes]",
        group = clap::ArgGroup::new("calls").args(["id", "all"]).required(true),
        after_long_help = "Examples:\n  whereby approvals deny 9f86d081\n  whereby approvals deny --all --client my-agent"
    )]
    Deny {
        /// The ID, or at least 6 characters of its beginning
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

/// What a person allows besides the one call.
#[derive(Debug, clap::Args)]
struct More {
    /// Approve this many calls, this one included
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_USES)))]
    uses: Option<u32>,
    /// Approve them for this time, at most 7d
    #[arg(long = "for", value_name = "TIME", requires = "uses", default_value = "1h")]
    lasting: String,
    /// Approve calls with other arguments too, if the room's name matches one of these patterns, separated
    /// by commas, such as 'bot-*'
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',', requires = "uses")]
    rooms: Vec<String>,
    /// Approve several calls even if they delete something, or send audio, video or a transcript away
    #[arg(long, requires = "uses")]
    destructive: bool,
}

impl More {
    /// Returns the terms for calls like this one; `None` if only one call is approved.
    fn terms(&self, approval: &StoredApproval, now: i64) -> Result<Option<Terms>, Error> {
        // One use is that of this call.
        let Some(uses) = self.uses.filter(|uses| *uses > 1) else { return Ok(None) };
        let Self { lasting, rooms, destructive, .. } = self;
        Terms::parse(&approval.function, uses, lasting, rooms, *destructive, now).map(Some)
    }
}

impl Opts {
    pub(super) fn run(self, context: &Context) -> Result<Output, CommandError> {
        let store = context.store()?;
        match self.command {
            Command::List { all } => {
                let account = wanted_account(context);
                let mut found = store.approvals(all)?;
                found.retain(|found| is_wanted(context, &found.account));
                let mut standing = store.standing()?;
                standing.retain(|own| is_wanted(context, &own.account));
                let documents: Vec<Value> = found.iter().map(StoredApproval::to_json).collect();
                let table = if !found.is_empty() || !standing.is_empty() {
                    let look = context.look();
                    let rows = found.iter().map(|found| row(found, &look));
                    let standing_rows = standing.iter().map(|own| standing_row(own, &look));
                    render::render(&rows.chain(standing_rows).collect(), &look)
                } else if all {
                    "no approvals\n".into()
                } else {
                    nothing_waits(account.as_deref(), None)
                };
                let mut document = document("approvals", documents.into());
                document["standing"] = standing.iter().map(StandingApproval::to_json).collect();
                Ok(Output::text(table, document))
            }
            Command::Show { id } => {
                let id = store.approval_id(&id)?;
                if let Some(standing) = store.standing_approval(&id)? {
                    check_standing_account(context, &standing)?;
                    let text = standing_shown(context, &standing);
                    return Ok(Output::text(text, document("standing", standing.to_json())));
                }
                let found = store.approval(&id)?.ok_or_else(|| {
                    Error::usage(format!(
                        "there is no approval {id}; run: whereby approvals list --all"
                    ))
                })?;
                check_account(context, &found)?;
                Ok(output(&found, show(context, &found)))
            }
            Command::Approve { id, more } => {
                let id = store.approval_id(&id)?;
                let found = store.approval(&id)?;
                if let Some(found) = &found {
                    check_account(context, found)?;
                    if let Ok(settings) = settings(context) {
                        settings.check_approvable(&found.account)?;
                    }
                }
                let now = context.environment.clock.unix_ms();
                let terms = found.map_or(Ok(None), |found| more.terms(&found, now))?;
                check_passkey(context, &store, &id)?;
                let (approved, standing) = match terms {
                    Some(terms) => {
                        let (approved, own) = store.approve_more(&id, &terms, &terminal())?;
                        (approved, Some(own))
                    }
                    None => (store.decide(&id, Decision::Approve, &terminal())?, None),
                };
                let mut text = approved_text(context, &approved);
                text += &standing.map_or_else(String::new, |own| standing_text(context, &own));
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
                let id = store.approval_id(&id)?;
                if let Some(standing) = store.standing_approval(&id)? {
                    check_standing_account(context, &standing)?;
                    let revoked = store.revoke_standing(&id, &terminal())?;
                    return Ok(Output::text(
                        format!(
                            "revoked: {} by the account `{}`; {} of {} calls were made\n",
                            shown(&revoked.function),
                            shown(&revoked.account),
                            revoked.used,
                            revoked.uses
                        ),
                        document("standing", revoked.to_json()),
                    ));
                }
                check_account_of(context, &store, &id)?;
                let denied = store.decide(&id, Decision::Deny, &terminal())?;
                let standing = match denied.revoked {
                    0 => "",
                    _ => "the standing approval that was given with it is revoked\n",
                };
                let text = format!(
                    "denied: {} by the account `{}`; the same call is not stored again for an hour\n\
                     {standing}to approve it after all: whereby approvals approve {}\n",
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
        is_wanted(context, &found.account)
            && client.is_none_or(|name| is_client(found.client.as_deref(), name))
    };
    let mut found = store.approvals(false)?;
    found.retain(is_meant);
    let mut standing = store.standing()?;
    // One does not say which client asked, but goes with the approval that it was given with.
    standing.retain(|own| {
        found.iter().any(|found| found.id == own.approval)
            || client.is_none() && is_wanted(context, &own.account)
    });
    let is_any = !found.is_empty() || !standing.is_empty();
    if is_any && !yes && !confirm(context, &found, &standing)? {
        let mut document = document("approvals", json!([]));
        document["standing"] = json!([]);
        return Ok(Output::text("nothing was denied\n", document));
    }
    // A call that was stored in the meantime was not shown.
    let ids: BTreeSet<&str> = found.iter().map(|found| found.id.as_str()).collect();
    let denied = store.deny_all_by(|open| ids.contains(open.id.as_str()), &terminal())?;
    let mut revoked = Vec::new();
    for own in standing {
        if denied.iter().any(|denied| denied.id == own.approval) {
            revoked.extend(store.standing_approval(&own.id)?);
            continue;
        }
        // One that has ended meanwhile needs no revocation.
        match store.revoke_standing(&own.id, &terminal()) {
            Err(Error::Usage { .. }) => {}
            result => revoked.push(result?),
        }
    }
    let mut text = match denied.len() {
        0 if !revoked.is_empty() => String::new(),
        0 => nothing_waits(account.as_deref(), client),
        1 => "denied 1 call; the same call is not stored again for an hour\n".into(),
        count => format!("denied {count} calls; the same calls are not stored again for an hour\n"),
    };
    text += &match revoked.len() {
        0 => String::new(),
        1 => "revoked 1 standing approval\n".into(),
        count => format!("revoked {count} standing approvals\n"),
    };
    let documents: Vec<Value> = denied.iter().map(StoredApproval::to_json).collect();
    let mut document = document("approvals", documents.into());
    document["standing"] = revoked.iter().map(StandingApproval::to_json).collect();
    Ok(Output::text(text, document))
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
fn confirm(
    context: &Context,
    found: &[StoredApproval],
    standing: &[StandingApproval],
) -> Result<bool, Error> {
    let counted = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        count => Some(format!("{count} {what}s")),
    };
    let counts = [counted(found.len(), "call"), counted(standing.len(), "standing approval")];
    let counts = counts.into_iter().flatten().collect::<Vec<_>>().join(" and ");
    if !context.can_ask(false) {
        return Err(Error::usage(format!(
            "denying {counts} needs confirmation, and there is no terminal; add --yes"
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
    let look = context.look();
    for own in standing {
        let line = format!("standing approval: {}", standing_line(own, &look));
        let _ = writeln!(context.streams.stderr(), "{}", text::printable(&line, most));
    }
    let question = match (found.len(), standing.len()) {
        (1, 0) => "Deny the one call (pending or approved but not used)? [y/N] ".into(),
        (count, 0) => format!("Deny all {count} calls (pending or approved but not used)? [y/N] "),
        _ => format!("Deny {counts}? [y/N] "),
    };
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
        && let Ok(settings) = settings(context)
        && let Ok(default) = settings.account_name(Some(name))
    {
        return Some(default.to_owned());
    }
    Some(name.to_owned())
}

/// Whether a row of an account is one of those that `--account` means. A row may be of an account called
/// `default` that is no longer configured.
fn is_wanted(context: &Context, account: &str) -> bool {
    context.global.account.as_deref() == Some(account)
        || wanted_account(context).is_none_or(|name| name == account)
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
    check_account_is(context, &found.id, &found.account)
}

fn check_standing_account(context: &Context, found: &StandingApproval) -> Result<(), Error> {
    check_account_is(context, &found.id, &found.account)
}

fn check_account_is(context: &Context, id: &str, account: &str) -> Result<(), Error> {
    if is_wanted(context, account) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "approval {id} belongs to the account `{}`, not to `{}`; change --account",
        shown(account),
        shown(&wanted_account(context).unwrap_or_default())
    )))
}

/// Refuses to approve a call where nothing but a passkey may. Without a configuration that can be read,
/// the call itself is refused.
fn check_passkey(context: &Context, store: &Store, id: &str) -> Result<(), Error> {
    let required = settings(context).ok().and_then(|own| own.policy.passkey_required_by());
    let Some(rule) = required else { return Ok(()) };
    let place = store.passkey_place(id);
    Err(Error::Blocked {
        message: "nothing was approved, because nothing but a passkey approves calls".into(),
        detail: format!("; {rule}"),
        fix: format!("approve it with a passkey {place}"),
        instead: String::new(),
    })
}

fn settings(context: &Context) -> Result<Settings, Error> {
    Settings::load(context.global.config.as_deref(), &context.environment)
}

/// Returns the person who runs this command.
fn terminal() -> Decider {
    Decider::at(Place::Terminal)
}

fn standing_row(standing: &StandingApproval, look: &Look) -> Value {
    let document = standing.to_json();
    let which = match standing.is_exact() {
        true => &standing.arguments,
        false => &document["conditions"],
    };
    json!({
        "function": standing.function,
        "arguments": short(which, look),
        "state": format!("standing, {} of {} left", standing.left(), standing.uses),
        "asked by": standing.agent,
        "created": document["created_at"],
        "until": document["valid_until"],
        "account": standing.account,
        "id": standing.id,
    })
}

/// Returns a description of the further calls that are now allowed.
fn standing_text(context: &Context, standing: &StandingApproval) -> String {
    let look = context.look();
    let what = format!("standing approval: {}", standing_line(standing, &look));
    format!(
        "{}to revoke it: whereby approvals deny {}\n",
        table::paragraph(&what, &look),
        standing.id
    )
}

/// Returns which further calls a standing approval allows, such as `7 more calls of create_room by the
/// account `work` with any arguments that fit rooms = ["bot-*"], until 12:00`.
pub(super) fn standing_line(standing: &StandingApproval, look: &Look) -> String {
    let until = render::body(&standing.to_json()["valid_until"], look);
    let which = match standing.conditions.as_slice() {
        [] => format!("with exactly the arguments {}", text::spaced_json(&standing.arguments)),
        conditions => {
            let terms = conditions.iter().map(|own| format!("{} = {}", own.name(), own.value()));
            format!("with any arguments that fit {}", terms.collect::<Vec<_>>().join(" and "))
        }
    };
    let agent = standing.agent.as_deref().map(|agent| format!(" and the agent `{}`", shown(agent)));
    format!(
        "{} more call{} of {} by the account `{}`{} {which}, until {}",
        standing.left(),
        if standing.left() == 1 { "" } else { "s" },
        shown(&standing.function),
        shown(&standing.account),
        agent.unwrap_or_default(),
        until.trim_end(),
    )
}

fn standing_shown(context: &Context, standing: &StandingApproval) -> String {
    let document = standing.to_json();
    let mut head = json!({
        "standing approval": standing.id,
        "account": standing.account,
        "api": standing.api,
        "function": standing.function,
        "agent": standing.agent,
        "calls": format!("{} of {} left", standing.left(), standing.uses),
        "created": document["created_at"],
        "until": document["valid_until"],
    });
    if !document["revoked_at"].is_null() {
        head["revoked"] = document["revoked_at"].clone();
    }
    let which = match standing.is_exact() {
        true => &standing.arguments,
        false => &document["conditions"],
    };
    head[if standing.is_exact() { "arguments" } else { "conditions" }] =
        text::spaced_json(which).into();
    render::render(&head, &context.look())
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
    let until = until.trim_end();
    let what = format!(
        "approved: one call of {} by the account `{}` at {}, until {until}, with exactly these arguments:",
        shown(&approval.function),
        shown(&approval.account),
        shown(&approval.api),
    );
    let next = match approval.is_made_by_itself {
        true => "The MCP server that asked makes the call now, or any other one that runs as you.",
        false => "Now make the same call again, or ask its caller to.",
    };
    format!(
        "{}{}{}{}\n{}to revoke it before it is used: whereby approvals deny {}\n",
        table::paragraph(&what, &look),
        arguments(approval),
        sentence(approval, &look),
        table::paragraph(next, &look),
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
