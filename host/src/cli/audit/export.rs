//! `whereby audit export`: every row of the log, in the order in which it was written.

use super::super::signal::Signals;
use super::super::{CommandError, Context, Exit, Output};
use super::otlp;
use crate::error::Error;
use crate::store::{AuditLog, AuditRow};
use serde_json::Value;
use std::path::PathBuf;
use whereby_authority::text;

/// How many rows are read and printed at a time.
const WINDOW: u32 = 500;

/// Print every call and decision of the log for another system, in order, without a limit
///
/// `position` is that of the last row about it: a call has one row for its beginning and one for its outcome.
/// To continue an export later, pass the last position with --after: nothing is then missing or repeated. A call that is in progress is printed without an outcome, and again when it has ended.
/// If rows after that position were archived meanwhile, this fails and names the archive.
#[derive(Debug, clap::Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  whereby audit export > calls.jsonl\n",
    "  whereby audit export --after \"$(tail -n 1 calls.jsonl | jq .position)\" >> calls.jsonl\n",
    "  whereby audit export --format otlp --follow\n",
    "  whereby audit export --file calls-of-2026.db"
))]
pub(super) struct Opts {
    /// Format: a JSON document per call, or OpenTelemetry log records (OTLP JSON), many per line
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// Only rows after this one: its position or, if no calls ran at the same time, its id
    #[arg(long, value_name = "ROW", value_parser = After::parse)]
    after: Option<After>,
    /// Keep printing new rows until Ctrl-C
    #[arg(long, conflicts_with = "file")]
    follow: bool,
    /// Export this archive instead of the log
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Jsonl,
    Otlp,
}

/// The last row that the reader has.
#[derive(Clone, Debug)]
enum After {
    Position(i64),
    Id(String),
}

impl After {
    fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Ok(Self::Id(text.to_ascii_lowercase()))
            }
            Ok(position) if position >= 0 => Ok(Self::Position(position)),
            _ => Err("expected the position of a row, such as 1200, or the id of a call".into()),
        }
    }
}

impl Opts {
    pub(super) async fn run(self, context: &Context) -> Result<Output, CommandError> {
        super::refuse_account(context, "export")?;
        let log = super::source(context, self.file.as_deref())?;
        super::gather(context, &log);
        let mut after = match &self.after {
            Some(After::Position(position)) => *position,
            Some(After::Id(id)) => log.position_of(id)?.ok_or_else(|| {
                Error::usage(format!("--after {id}: the log has no such call; give a position"))
            })?,
            None => {
                let start = log.start()?.max(0);
                if start > 0 && self.file.is_none() {
                    context
                        .warn(&format!("the export starts after row {start}: {}", where_is(&log)?));
                }
                start
            }
        };
        let end = log.end()?.position;
        if after > end {
            let message = format!("--after {after}: the log ends with row {end}");
            return Err(Error::usage(message).into());
        }
        let installation = match &log {
            AuditLog::Live(store) if matches!(self.format, Format::Otlp) => {
                Some(store.installation()?)
            }
            _ => None,
        };
        let mut signals = self.follow.then(|| Signals::listen(&context.streams));
        loop {
            while let Some((rows, through)) = log.next(after, WINDOW)? {
                // Looked at afterwards, because an archive may take the rows at any time.
                let start = log.start()?;
                if start > after {
                    let message = format!(
                        "rows after {after} are not in the log: {}; then continue with --after {start}",
                        where_is(&log)?
                    );
                    return Err(Error::usage(message).into());
                }
                // The caller prints it again, and reports the error.
                if let Some((text, json)) = self.print(context, &rows, installation.as_deref()) {
                    return Ok(Output::text(text, json));
                }
                after = through;
            }
            let Some(signals) = &mut signals else { return Ok(Output::Nothing(Exit::Success)) };
            tokio::select! {
                () = tokio::time::sleep(super::POLL) => {}
                _ = signals.next() => return Ok(Output::Nothing(Exit::Success)),
            }
            super::move_rows(&log);
        }
    }

    /// Prints rows. Returns what could not be printed.
    fn print(
        &self,
        context: &Context,
        rows: &[AuditRow],
        installation: Option<&str>,
    ) -> Option<(String, Value)> {
        let lines: Vec<Value> = match self.format {
            _ if rows.is_empty() => Vec::new(),
            Format::Jsonl => rows.iter().map(AuditRow::to_json).collect(),
            Format::Otlp => vec![otlp::logs(rows, installation)],
        };
        for line in lines {
            let text = text::printable_json(&line.to_string()) + "\n";
            if context.streams.print(&text).is_err() {
                return Some((text, line));
            }
        }
        None
    }
}

/// Says where rows are that are not in the log any more.
fn where_is(log: &AuditLog) -> Result<String, Error> {
    let Some(archived) = log.archived()? else { return Ok("earlier rows were archived".into()) };
    let through = archived.through;
    Ok(match archived.file {
        Some(file) => {
            let file = text::printable(&file, 300);
            // As a shell takes it literally.
            let quoted = file.replace('\'', r"'\''");
            format!(
                "the rows up to {through} were archived, the last of them in {file}; export them with: \
                 whereby audit export --file '{quoted}'"
            )
        }
        None => format!("the rows up to {through} were archived by an older version"),
    })
}
