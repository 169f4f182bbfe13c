//! `whereby audit`: which calls were made, by whose leave, and what came of them.

use super::approvals::{asked_by, short, wanted_account};
use super::signal::Signals;
use super::{Context, Failure, Output, discover, document, render};
use crate::store::{AuditFilter, AuditRow, Store};
use crate::text;
use crate::timestamp::Timestamp;
use jiff::tz::TimeZone;
use jiff::{Span, Zoned};
use serde_json::{Value, json};
use std::time::Duration;

/// How often it is looked whether there is something new.
const POLL: Duration = Duration::from_millis(500);

/// Shows the calls that were made or refused, the newest last
///
/// There is a row for each call, whoever made it: what was to be done, which rule or person decided,
/// and what came of it. A call without an outcome is under way, or the program ended in the middle of
/// it; whether a write was then made is not known. Rows are never changed or deleted.
#[derive(Debug, clap::Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  whereby audit\n",
    "  whereby audit --since 2h --function delete_room\n",
    "  whereby audit --since 2026-03-01 --account work --limit 1000 --json"
))]
pub(super) struct Opts {
    /// Only calls since then: a date (2026-03-01, or with a time and in UTC where no offset is given),
    /// or how long ago (30min, 2h, 7d)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<i64>,
    /// Only calls of this function
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// At most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Go on showing calls as they are made, until Ctrl-C; with --json one document a line. A write
    /// is shown when it begins and again when it ends
    #[arg(long)]
    follow: bool,
}

impl Opts {
    pub(super) async fn run(self, context: &Context) -> Result<Output, Failure> {
        let store = context.store()?;
        let function = match self.function.as_deref() {
            Some(name) => Some(discover::find(name)?.json.to_owned()),
            None => None,
        };
        let filter = AuditFilter {
            since: self.since,
            account: wanted_account(context),
            function,
            limit: Some(self.limit),
            after_seq: None,
        };
        // What can be shown is shown, and what is missing is said.
        if let Err(error) = store.gather() {
            context.warn(&format!("the last calls may be missing here: {error}"));
        }
        if self.follow {
            return follow(context, &store, filter).await;
        }
        let rows = store.audit_as_it_is(&filter)?;
        let table = match rows.is_empty() {
            true => "no calls\n".into(),
            false => {
                let rows = rows.iter().map(row).collect();
                render::render(&Value::Array(rows), &context.look())
            }
        };
        let documents: Vec<Value> = rows.iter().map(AuditRow::to_json).collect();
        Ok(Output::Text(table, document("audit", documents.into())))
    }
}

/// Shows what there is, and then what is added, until it is stopped or nobody reads any more.
async fn follow(
    context: &Context,
    store: &Store,
    mut filter: AuditFilter,
) -> Result<Output, Failure> {
    let mut signals = Signals::listen(&context.streams);
    loop {
        let end = store.log_end()?;
        for row in store.audit_as_it_is(&filter)? {
            // What is added meanwhile comes next time; a read is worth a line when it is over.
            if row.seq > end || (row.outcome.is_none() && !row.is_unfinished_write()) {
                continue;
            }
            let line = match context.json {
                true => text::printable_json(&row.to_json().to_string()) + "\n",
                false => line(context, &row),
            };
            let written = {
                let mut stdout = context.streams.stdout();
                write!(stdout, "{line}").and_then(|()| stdout.flush())
            };
            // It is printed once more where every command prints, which says what is wrong.
            if written.is_err() {
                return Ok(Output::Text(line, row.to_json()));
            }
        }
        filter.after_seq = Some(end);
        filter.limit = None;
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            _ = signals.next() => return Ok(Output::Nothing),
        }
        // Others move their rows themselves; what dead ones have left can wait for better times.
        let _ = store.flush();
    }
}

/// A row of the table.
fn row(row: &AuditRow) -> Value {
    let requests = row.outcome.as_ref().map_or(0, |outcome| outcome.requests.len());
    json!({
        "time": row.to_json()["time"],
        "account": row.account,
        "function": row.function,
        "arguments": short(&row.arguments),
        "asked by": asked_by(&row.front_end, row.client.as_deref()),
        "decision": decision(row),
        "outcome": outcome(row),
        "requests": requests,
    })
}

/// A row by itself, where the rows to come are not known.
fn line(context: &Context, row: &AuditRow) -> String {
    let time = render::render(&row.to_json()["time"], &context.look());
    let text = |text: &Option<String>| text::printable(text.as_deref().unwrap_or("-"), 200);
    format!(
        "{}  {:<10}  {:<16}  {:<18}  {:<14}  {}\n",
        time.trim_end(),
        text(&row.account),
        text(&row.function),
        text::printable(&decision(row), 200),
        text::printable(&outcome(row), 200),
        short(&row.arguments),
    )
}

/// By whose leave the call was made.
fn decision(row: &AuditRow) -> String {
    let permission = row.permission.as_deref().unwrap_or("none");
    match row.approved_by.as_deref() {
        None | Some("rule") => permission.to_owned(),
        Some(by) => format!("{permission}: {by}"),
    }
}

/// What came of it, in few words.
fn outcome(row: &AuditRow) -> String {
    match &row.outcome {
        None if row.is_unfinished_write() => "unfinished, effect unknown".into(),
        None => "unfinished".into(),
        Some(outcome) if outcome.success => "success".into(),
        Some(outcome) => {
            let kind = outcome.kind.as_deref().unwrap_or("failed");
            match outcome.effect.as_str() {
                "none" => kind.to_owned(),
                effect => format!("{kind}, effect {effect}"),
            }
        }
    }
}

/// A point in time, as people name it, in milliseconds since 1970.
fn moment(text: &str) -> Result<i64, String> {
    if let Ok(moment) = Timestamp::parse_argument(text, true) {
        return Ok(moment.to_unix_ms());
    }
    let ago = || -> Option<i64> {
        let span: Span = text.parse().ok()?;
        let now = Zoned::now().with_time_zone(TimeZone::UTC);
        Some(now.checked_sub(span.abs()).ok()?.timestamp().as_millisecond())
    };
    ago().ok_or_else(|| {
        "neither a date, such as 2026-03-02 or 2026-03-02T09:00:00Z, nor how long ago, such as \
         30min, 2h or 7d"
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_or_how_long_ago() {
        for (text, expected) in [
            ("2026-03-02T09:00:00Z", 1_772_442_000_000),
            ("2026-03-02T09:00:00", 1_772_442_000_000),
            ("2026-03-02T10:00:00+01:00", 1_772_442_000_000),
            ("2026-03-02", 1_772_409_600_000),
        ] {
            assert_eq!(moment(text), Ok(expected), "{text}");
        }
        let hour = 60 * 60 * 1000;
        for (text, ago) in [("2h", 2 * hour), ("90min", hour * 3 / 2), ("1w 1d", 8 * 24 * hour)] {
            // The clock goes on between the two.
            let named = moment(text).expect(text);
            let found = Timestamp::now().to_unix_ms() - named;
            assert!((ago..ago + hour / 2).contains(&found), "{text}: {found}");
        }
        for text in ["", "7", "yesterday", "2026-13-01", "99999999y", "2h\u{1b}[2J"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
