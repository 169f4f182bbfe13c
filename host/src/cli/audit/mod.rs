//! `whereby audit`: shows which calls were made, who allowed them, and their outcomes.

mod export;
mod otlp;
mod verify;
mod when;

use super::approvals::{asked_by, short, wanted_account};
use super::render::{self, Look, Rows};
use super::signal::Signals;
use super::{CommandError, Context, Exit, Output, document, functions};
use crate::error::Error;
use crate::store::{AuditFilter, AuditLog, AuditRow, Store};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
pub(super) use when::When;
use whereby_authority::table::FunctionRule;
use whereby_authority::text;
use whereby_catalog::FUNCTIONS;

/// The default number of calls in a table.
const DEFAULT_LIMIT: u32 = 50;

/// How often `--follow` looks for new rows.
const POLL: Duration = Duration::from_millis(500);

/// Show the calls that were made or refused, the newest last
///
/// Each decision of a person has a row too: who approved, denied, froze or configured something, and
/// where. Each call has a row, from any client: the function and arguments, the rule or person that decided,
/// and the outcome. A call without an outcome is in progress, or the program ended during the call; a
/// write may then have happened. Rows never change, and `whereby audit verify` checks that.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_long_help = concat!(
    "Examples:\n",
    "  whereby audit\n",
    "  whereby audit --since 2h --function delete_room\n",
    "  whereby audit --since 2026-03-01 --until 2026-04-01 --account work --json\n",
    "  whereby audit --outcome unfinished\n",
    "  whereby audit --room daily-standup --approved-by ana"
))]
pub(super) struct Opts {
    /// Only calls since this time: how long ago (30min, 2h, 7d), or a date or time (2026-03-01,
    /// 2026-03-01T09:00:00). The default time zone is that of the output: UTC in a pipe
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    since: Option<When>,
    /// Only calls before this time, in the same forms
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    until: Option<When>,
    /// Only calls of this function
    #[arg(long, value_name = "NAME", value_parser = functions::name(), hide_possible_values = true)]
    function: Option<String>,
    /// Only calls of this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Only calls with this outcome: success, failed, unfinished, unknown (a write that may have happened),
    /// or the kind of an error, such as denied
    #[arg(long, value_name = "OUTCOME", value_parser = outcome_name)]
    outcome: Option<String>,
    /// Only calls that were approved in this way or by this user, and such approvals: rule, force,
    /// terminal, elicitation, program, approval, standing, page, passkey, or a name
    #[arg(long, value_name = "WHO")]
    approved_by: Option<String>,
    /// Only calls about this room: its name or id
    #[arg(long, value_name = "ROOM")]
    room: Option<String>,
    /// Only the newest N calls (default: 50, or all with --json)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: Option<u32>,
    /// Keep showing new calls until Ctrl-C; with --json, one document per line. A write appears when
    /// it begins and again when it ends
    #[arg(long, conflicts_with = "file")]
    follow: bool,
    /// Show this archive instead of the log
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Export(export::Opts),
    Verify(verify::Opts),
    /// Print the hash of the newest row, to keep it elsewhere
    ///
    /// It covers every row so far: `whereby audit verify --expected-head HASH` fails if any of them is
    /// changed or removed later. `head_file` and `head_command` in `[audit]` of your configuration publish it
    /// automatically.
    Head,
    /// Move all calls to a new file and empty the log
    ///
    /// The file is a SQLite database that only you can read, with every call so far. The commands here
    /// read it with --file, and `whereby audit verify FILE` checks it. Calls that may be in progress also
    /// stay in the log. Approvals are not moved. Other programs can keep working.
    #[command(after_long_help = "Example:\n  whereby audit archive calls-of-2026.db")]
    Archive {
        /// The file, which must not exist yet
        file: PathBuf,
    },
}

/// Returns the name of an outcome, or why there is none.
fn outcome_name(text: &str) -> Result<String, String> {
    let own = AuditFilter::OUTCOMES.iter().copied();
    let known: Vec<&str> = own.chain(crate::error::KINDS).collect();
    if known.contains(&text) {
        return Ok(text.to_owned());
    }
    let near = whereby_authority::suggest::did_you_mean(text, &known);
    Err(format!("no outcome is called that{near}; there are: {}", known.join(", ")))
}

/// Returns the log, or an archive that is read instead.
fn source(context: &Context, file: Option<&Path>) -> Result<AuditLog, Error> {
    match file {
        Some(file) => AuditLog::open(&context.environment.directory.join(file)),
        None => Ok(AuditLog::Live(context.store()?)),
    }
}

/// Refuses `--account` for a command that always covers all accounts.
fn refuse_account(context: &Context, command: &str) -> Result<(), Error> {
    let Some(account) = &context.global.account else { return Ok(()) };
    let account = text::printable(account, 40);
    Err(Error::usage(format!(
        "--account {account} does not apply to {command}, which always includes all accounts; omit it"
    )))
}

/// Adds what other processes have recorded. If that fails, the other rows can still be shown.
fn gather(context: &Context, log: &AuditLog) {
    if let AuditLog::Live(store) = log
        && let Err(error) = store.gather()
    {
        context.warn(&format!("the latest calls may be missing: {error}"));
    }
}

/// Adds what this process and ended ones have recorded.
fn move_rows(log: &AuditLog) {
    if let AuditLog::Live(store) = log {
        // Running programs move their own rows; those of dead ones can wait.
        let _ = store.flush();
    }
}

impl Opts {
    pub(super) async fn run(self, context: &Context) -> Result<Output, CommandError> {
        match self.command {
            Some(Command::Export(opts)) => return opts.run(context).await,
            Some(Command::Verify(opts)) => return opts.run(context),
            Some(Command::Head) => return verify::head(context, &source(context, None)?),
            Some(Command::Archive { file }) => {
                return archive(context, &*context.store()?, &file);
            }
            None => {}
        }
        let log = source(context, self.file.as_deref())?;
        let function = match self.function.as_deref() {
            Some(name) => Some(functions::find(name)?.json.to_owned()),
            None => None,
        };
        let time = |option: &str, when: Option<When>| -> Result<Option<i64>, Error> {
            let now = context.environment.clock.now();
            let time = when.map(|when| when.unix_ms(now, &context.look().zone())).transpose();
            time.map_err(|error| Error::usage(format!("{option}: {error}")))
        };
        let filter = AuditFilter {
            since: time("--since", self.since)?,
            until: time("--until", self.until)?,
            account: wanted_account(context),
            function,
            agent: self.agent,
            outcome: self.outcome,
            approved_by: self.approved_by,
            room: self.room,
            // JSON has no default limit.
            limit: self.limit.or((!context.global.json).then_some(DEFAULT_LIMIT)),
            ..AuditFilter::default()
        };
        gather(context, &log);
        if self.follow {
            return follow(context, &log, filter).await;
        }
        if context.global.json {
            listed_json(context, &log, &filter)
        } else {
            listed(context, &log, &filter)
        }
    }
}

/// Returns a table of the calls, with the number of calls beyond the limit.
fn listed(context: &Context, log: &AuditLog, filter: &AuditFilter) -> Result<Output, CommandError> {
    let rows = log.list(filter)?;
    if rows.is_empty() {
        return Ok(Output::text(format!("no calls\n{}", archived(log, filter)?), Value::Null));
    }
    let (shown, look) = (rows.len(), context.look());
    let rows = rows.iter().map(|found| row(found, &look).into()).collect();
    let mut table = render::render(&Value::Array(rows), &look);
    let earlier = earlier(log, filter, shown)?;
    if earlier > 0 {
        table.push_str(&not_shown(earlier));
        table.push('\n');
    }
    table.push_str(&archived(log, filter)?);
    Ok(Output::text(table, Value::Null))
}

/// Says where earlier rows are, if they were archived.
fn archived(log: &AuditLog, filter: &AuditFilter) -> Result<String, Error> {
    let (start, archived) = (log.start()?, log.archived()?);
    // A filter that asks for one approval or page of the log says itself what it wants.
    let Some(archived) = archived.filter(|_| start > 0 && filter.after_seq.is_none()) else {
        return Ok(String::new());
    };
    Ok(match archived.file {
        Some(file) => {
            let file = text::printable(&file, 300);
            format!(
                "earlier calls were archived, the last of them in {file}; --file shows an archive\n"
            )
        }
        None => "earlier calls were archived\n".into(),
    })
}

/// Returns the calls as JSON, built row by row because the log can be long.
fn listed_json(
    context: &Context,
    log: &AuditLog,
    filter: &AuditFilter,
) -> Result<Output, CommandError> {
    let mut json = String::from("{\"audit\":[");
    let mut shown = 0;
    log.each(filter, |row| {
        if shown > 0 {
            json.push(',');
        }
        json.push_str(&text::printable_json(&row.to_json().to_string()));
        shown += 1;
    })?;
    json.push(']');
    let earlier = earlier(log, filter, shown)?;
    if earlier > 0 {
        json.push_str(",\"truncated\":true");
        warn_not_shown(context, earlier);
    }
    json.push('}');
    Ok(Output::Document(json))
}

/// Returns how many earlier calls the limit leaves out.
fn earlier(log: &AuditLog, filter: &AuditFilter, shown: usize) -> Result<u64, Error> {
    let shown = shown as u64;
    match filter.limit {
        Some(limit) if shown >= u64::from(limit) => Ok(log.count(filter)?.saturating_sub(shown)),
        _ => Ok(0),
    }
}

fn not_shown(earlier: u64) -> String {
    let calls = if earlier == 1 { "call is" } else { "calls are" };
    format!(
        "{earlier} earlier {calls} not shown; --limit shows more; --json without --limit shows all"
    )
}

fn warn_not_shown(context: &Context, earlier: u64) {
    if !context.global.quiet {
        context.warn(&not_shown(earlier));
    }
}

fn archive(context: &Context, store: &Store, file: &Path) -> Result<Output, CommandError> {
    refuse_account(context, "archive")?;
    let calls = store.archive(&context.environment.directory.join(file))?;
    let shown = text::printable(&file.display().to_string(), 300);
    let noun = if calls == 1 { "call" } else { "calls" };
    Ok(Output::text(
        format!("archived {calls} {noun} in {shown}; the audit log is now empty\n"),
        document("archive", json!({"file": file.to_string_lossy(), "calls": calls})),
    ))
}

/// Prints the rows of the log, then new rows as they arrive, until a signal or until standard output is
/// closed.
async fn follow(
    context: &Context,
    log: &AuditLog,
    mut filter: AuditFilter,
) -> Result<Output, CommandError> {
    let mut signals = Signals::listen(&context.streams);
    let mut is_first = true;
    let mut rows = Rows::like(&typical(), context.look());
    if !context.global.json {
        // If standard output is closed, the first row fails.
        let _ = write!(context.streams.stdout(), "{}", rows.heading());
    }
    loop {
        let end = log.end()?.position;
        // If the end moved back, the log was replaced by another one.
        filter.after_seq = filter.after_seq.map(|seen| if end < seen { 0 } else { seen });
        let added = log.list(&filter)?;
        let earlier = if is_first { earlier(log, &filter, added.len())? } else { 0 };
        if earlier > 0 {
            warn_not_shown(context, earlier);
        }
        is_first = false;
        for row in added {
            // Later rows come in the next turn. An unfinished read is shown once it has ended.
            let is_whole = row.outcome.is_some() || row.decision.is_some();
            if row.seq > end || !(is_whole || row.is_unfinished_write()) {
                continue;
            }
            let line = if context.global.json {
                text::printable_json(&row.to_json().to_string()) + "\n"
            } else {
                rows.row(&self::row(&row, rows.look()))
            };
            // The caller prints it again, and reports the error.
            if context.streams.print(&line).is_err() {
                return Ok(Output::text(line, row.to_json()));
            }
        }
        filter.after_seq = Some(end);
        filter.limit = None;
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            _ = signals.next() => return Ok(Output::Nothing(Exit::Success)),
        }
        move_rows(log);
    }
}

/// Returns a row of the table.
fn row(row: &AuditRow, look: &Look) -> Map<String, Value> {
    let requests = row.outcome.as_ref().map_or(0, |outcome| outcome.requests.len());
    columns([
        row.to_json()["time"].clone(),
        row.function.clone().into(),
        outcome(row).into(),
        decision(row).into(),
        match &row.decision {
            Some(decision) => text::printable(&decision.user, 60).into(),
            None => asked_by(&row.front_end, row.client.as_deref(), row.agent.as_deref()).into(),
        },
        row.account.clone().into(),
        requests.into(),
        match &row.decision {
            Some(decision) => short(&details(row, &decision.details), look).into(),
            None => short(&row.arguments, look).into(),
        },
    ])
}

/// Returns what a decision was about, without the signature of a passkey, which `--json` has.
fn details(row: &AuditRow, details: &Value) -> Value {
    let mut shown = Map::new();
    if let Some(agent) = &row.agent {
        shown.insert("agent".into(), agent.clone().into());
    }
    if let Some(approval) = &row.approval {
        shown.insert("approval".into(), approval.clone().into());
    }
    let details = details.as_object().into_iter().flatten();
    let details = details.filter(|(name, value)| *name != "passkey" && !value.is_null());
    shown.extend(details.map(|(name, value)| (name.clone(), value.clone())));
    shown.into()
}

/// Returns a typical row, which sets the column widths before the rows are known.
fn typical() -> Map<String, Value> {
    let function = FUNCTIONS.iter().map(|function| function.json).max_by_key(|name| name.len());
    columns([
        "2026-01-01T00:00:00.000Z".into(),
        function.into(),
        "invalid-argument".into(),
        "ask (terminal)".into(),
        "cli".into(),
        "default".into(),
        1.into(),
        "{}".into(),
    ])
}

fn columns(values: [Value; 8]) -> Map<String, Value> {
    let names =
        ["time", "function", "outcome", "decision", "asked by", "account", "requests", "arguments"];
    names.map(str::to_owned).into_iter().zip(values).collect()
}

/// Returns the permission, and who approved the call.
fn decision(row: &AuditRow) -> String {
    if let Some(decision) = &row.decision {
        return text::printable(&decision.place, 20);
    }
    let permission = row.permission.as_deref().unwrap_or("none");
    match row.approved_by.as_deref() {
        None | Some("rule") => permission.to_owned(),
        Some(by) => format!("{permission} ({by})"),
    }
}

/// Returns the outcome in a few words.
fn outcome(row: &AuditRow) -> String {
    if let Some(decision) = &row.decision {
        return match decision.what.as_str() {
            "approve" => "approved".into(),
            "deny" => "denied".into(),
            "revoke" => "revoked".into(),
            "freeze" => "froze".into(),
            "unfreeze" => "unfroze".into(),
            "configure" => "configured".into(),
            other => text::printable(other, 20),
        };
    }
    match &row.outcome {
        None if row.is_unfinished_write() => "unfinished, effect unknown".into(),
        None => "unfinished".into(),
        Some(outcome) if outcome.success => {
            let Some(room) = &outcome.room_name else { return "success".into() };
            let function = row.function.as_deref().and_then(whereby_catalog::function);
            let is_deletion = function.is_some_and(|f| FunctionRule::of(f).is_destructive);
            let done = if is_deletion { "deleted" } else { "created" };
            format!("{done} {}", text::printable(room, 60))
        }
        Some(outcome) => {
            let kind = outcome.kind.as_deref().unwrap_or("failed");
            match outcome.effect.as_str() {
                "none" => kind.to_owned(),
                effect => format!("{kind}, effect {effect}"),
            }
        }
    }
}
