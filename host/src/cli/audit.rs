//! `whereby audit`: shows which calls were made, who allowed them, and their outcomes.

use super::approvals::{asked_by, short, wanted_account};
use super::render::{self, Look, Rows};
use super::signal::Signals;
use super::{CommandError, Context, Exit, Output, document, functions};
use crate::error::Error;
use crate::store::{AuditFilter, AuditRow, Store};
use jiff::Span;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use whereby_authority::table::FunctionRule;
use whereby_authority::text;
use whereby_authority::timestamp::Timestamp;
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
/// write may then have happened. Rows never change. `whereby audit archive` deletes them after it has
/// written them to a file.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_long_help = concat!(
    "Examples:\n",
    "  whereby audit\n",
    "  whereby audit --since 2h --function delete_room\n",
    "  whereby audit --since 2026-03-01 --account work --json\n",
    "  whereby audit archive calls-of-2026.db"
))]
pub(super) struct Opts {
    /// Only calls since this time: how long ago (30min, 2h, 7d), or a date or time (2026-03-01,
    /// 2026-03-01T09:00:00). The default time zone is that of the output: UTC in a pipe
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    since: Option<When>,
    /// Only calls of this function
    #[arg(long, value_name = "NAME", value_parser = functions::name(), hide_possible_values = true)]
    function: Option<String>,
    /// Only calls of this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Only the newest N calls (default: 50, or all with --json)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: Option<u32>,
    /// Keep showing new calls until Ctrl-C; with --json, one document per line. A write appears when
    /// it begins and again when it ends
    #[arg(long)]
    follow: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Move all calls to a new file and empty the log
    ///
    /// The file is a SQLite database that only you can read, with every call so far. To list it, copy
    /// it to DIR/whereby/state.db, where DIR is an absolute path and DIR/whereby has mode 700, and run:
    /// XDG_STATE_HOME=DIR whereby audit. Calls that may be in progress also stay in the log. Approvals
    /// are not moved. Other programs can keep working.
    #[command(after_long_help = "Example:\n  whereby audit archive calls-of-2026.db")]
    Archive {
        /// The file, which must not exist yet
        file: PathBuf,
    },
}

impl Opts {
    pub(super) async fn run(self, context: &Context) -> Result<Output, CommandError> {
        let store = context.store()?;
        if let Some(Command::Archive { file }) = self.command {
            return archive(context, &store, &file);
        }
        let function = match self.function.as_deref() {
            Some(name) => Some(functions::find(name)?.json.to_owned()),
            None => None,
        };
        let filter = AuditFilter {
            since: self
                .since
                .map(|when| when.unix_ms(context.environment.clock.now(), &context.look().zone()))
                .transpose()?,
            account: wanted_account(context),
            function,
            agent: self.agent,
            // JSON has no default limit.
            limit: self.limit.or((!context.global.json).then_some(DEFAULT_LIMIT)),
            ..AuditFilter::default()
        };
        // If this fails, the other rows can still be shown.
        if let Err(error) = store.gather() {
            context.warn(&format!("the latest calls may be missing: {error}"));
        }
        if self.follow {
            return follow(context, &store, filter).await;
        }
        if context.global.json {
            listed_json(context, &store, &filter)
        } else {
            listed(context, &store, &filter)
        }
    }
}

/// Returns a table of the calls, with the number of calls beyond the limit.
fn listed(context: &Context, store: &Store, filter: &AuditFilter) -> Result<Output, CommandError> {
    let rows = store.audit_as_it_is(filter)?;
    if rows.is_empty() {
        return Ok(Output::text("no calls\n", Value::Null));
    }
    let (shown, look) = (rows.len(), context.look());
    let rows = rows.iter().map(|found| row(found, &look).into()).collect();
    let mut table = render::render(&Value::Array(rows), &look);
    let earlier = earlier(store, filter, shown)?;
    if earlier > 0 {
        table.push_str(&not_shown(earlier));
        table.push('\n');
    }
    Ok(Output::text(table, Value::Null))
}

/// Returns the calls as JSON, built row by row because the log can be long.
fn listed_json(
    context: &Context,
    store: &Store,
    filter: &AuditFilter,
) -> Result<Output, CommandError> {
    let mut json = String::from("{\"audit\":[");
    let mut shown = 0;
    store.audit_each(filter, |row| {
        if shown > 0 {
            json.push(',');
        }
        json.push_str(&text::printable_json(&row.to_json().to_string()));
        shown += 1;
    })?;
    json.push(']');
    let earlier = earlier(store, filter, shown)?;
    if earlier > 0 {
        json.push_str(",\"truncated\":true");
        warn_not_shown(context, earlier);
    }
    json.push('}');
    Ok(Output::Document(json))
}

/// Returns how many earlier calls the limit leaves out.
fn earlier(store: &Store, filter: &AuditFilter, shown: usize) -> Result<u64, Error> {
    let shown = shown as u64;
    match filter.limit {
        Some(limit) if shown >= u64::from(limit) => {
            Ok(store.audit_count(filter)?.saturating_sub(shown))
        }
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
    if let Some(account) = &context.global.account {
        let message = format!(
            "--account {} does not apply to archive, which always includes all accounts; omit it",
            text::printable(account, 40)
        );
        return Err(Error::usage(message).into());
    }
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
    store: &Store,
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
        let end = store.log_end()?;
        // If the end moved back, the log was archived and a new one began.
        filter.after_seq = filter.after_seq.map(|seen| if end < seen { 0 } else { seen });
        let added = store.audit_as_it_is(&filter)?;
        let earlier = if is_first { earlier(store, &filter, added.len())? } else { 0 };
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
        // Running programs move their own rows; those of dead ones can wait.
        let _ = store.flush();
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
            Some(decision) => short(&decision.details, look).into(),
            None => short(&row.arguments, look).into(),
        },
    ])
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

/// A point in time on the command line.
#[derive(Clone, Debug)]
pub(super) enum When {
    /// In milliseconds since 1970.
    At(i64),
    /// Without an offset: in the time zone of the output.
    Local(DateTime),
    Ago(Span),
}

impl When {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(moment) = Timestamp::parse(text) {
            return Ok(Self::At(moment.to_unix_ms()));
        }
        if let Ok(local) = text.parse() {
            return Ok(Self::Local(local));
        }
        let ago = text.parse::<Span>().ok().map(|span| Self::Ago(span.abs()));
        // Rejects a span that reaches beyond the range of dates.
        let ago = ago.filter(|ago| ago.unix_ms(SystemTime::now(), &TimeZone::UTC).is_ok());
        ago.ok_or_else(|| {
            "expected a date, such as 2026-03-02 or 2026-03-02T09:00:00Z, or how long ago, such as \
             30min, 2h or 7d"
                .into()
        })
    }

    pub(super) fn unix_ms(&self, now: SystemTime, zone: &TimeZone) -> Result<i64, Error> {
        match self {
            Self::At(moment) => Ok(*moment),
            Self::Local(local) => {
                let there = local.to_zoned(zone.clone());
                let none = |_| Error::usage(format!("--since {local}: no such time"));
                Ok(there.map_err(none)?.timestamp().as_millisecond())
            }
            Self::Ago(span) => {
                let ago = jiff::Timestamp::try_from(now)
                    .and_then(|now| now.to_zoned(TimeZone::UTC).checked_sub(*span));
                let too_long =
                    |_| Error::usage(format!("--since {span} is too far in the past; use a date"));
                Ok(ago.map_err(too_long)?.timestamp().as_millisecond())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_or_how_long_ago() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_772_442_000_000);
        for (text, expected) in [
            ("2026-03-02T09:00:00Z", 1_772_442_000_000),
            ("2026-03-02T09:00:00", 1_772_442_000_000),
            ("2026-03-02T10:00:00+01:00", 1_772_442_000_000),
            ("2026-03-02", 1_772_409_600_000),
            ("2h", 1_772_442_000_000 - 2 * 60 * 60 * 1000),
            ("90min", 1_772_442_000_000 - 90 * 60 * 1000),
            ("1w 1d", 1_772_442_000_000 - 8 * 24 * 60 * 60 * 1000),
        ] {
            let when = When::parse(text).expect(text);
            assert_eq!(when.unix_ms(now, &TimeZone::UTC).expect(text), expected, "{text}");
        }
        // What is shown in a time zone is read back in it.
        let zone = TimeZone::posix("XYZ-2").expect("a zone");
        let when = When::parse("2026-03-02 11:00:00").expect("a time");
        assert_eq!(when.unix_ms(now, &zone).expect("a time"), 1_772_442_000_000);
        for text in ["", "7", "yesterday", "2026-13-01", "99999999y", "2h\u{1b}[2J"] {
            assert!(When::parse(text).is_err(), "{text}");
        }
    }
}
