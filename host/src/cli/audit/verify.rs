//! `whereby audit verify` and `whereby audit head`.

use super::super::{CommandError, Context, Exit, Output, document};
use crate::error::Error;
use crate::store::{AuditLog, Problem, Start, Verified};
use crate::system::digest::{from_hex, hex};
use crate::system::file::shown;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;
use whereby_authority::text;

/// Check that no row of the log was changed, removed, added or moved
///
/// Each row has a hash over itself and the hash of the row before. Anyone who can write to the log can also
/// recompute all hashes or truncate it; only a hash stored somewhere else reveals that. With archives, checks
/// these too, in the given order: each must continue the one before, and the log must mention each.
#[derive(Debug, clap::Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  whereby audit verify\n",
    "  whereby audit verify --expected-head \"$(tail -n 1 heads.jsonl | jq -r .hash)\"\n",
    "  whereby audit verify calls-of-2025.db calls-of-2026.db\n\n",
    "Exits with 1 if something is wrong, and names the rows."
))]
pub(super) struct Opts {
    /// A hash that `whereby audit head` printed before. It must be the hash of a row
    #[arg(long, value_name = "HASH", value_parser = hash)]
    expected_head: Option<[u8; 32]>,
    /// Archives to check together with the log, the oldest first
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

fn hash(text: &str) -> Result<[u8; 32], String> {
    from_hex(text).ok_or_else(|| "expected a hash of 64 hexadecimal digits".into())
}

impl Opts {
    pub(super) fn run(self, context: &Context) -> Result<Output, CommandError> {
        super::refuse_account(context, "verify")?;
        let store = context.store()?;
        let directory = shown(store.directory());
        let own = AuditLog::Live(store);
        super::gather(context, &own);
        let expected = self.expected_head.as_ref();
        let mut parts = Vec::new();
        for file in &self.files {
            let log = AuditLog::open(&context.environment.directory.join(file))?;
            if let Some(verified) = log.verify(expected)? {
                parts.push(Part::of(Some(shown(file)), verified));
            }
        }
        match own.verify(expected)? {
            Some(verified) => parts.push(Part::of(None, verified)),
            None if self.files.is_empty() => {
                let message = format!("there is no audit log in {directory}");
                return Err(Error::configuration(message).into());
            }
            None => {}
        }
        for index in 1..parts.len() {
            let (earlier, later) = parts.split_at_mut(index);
            if let (Some(earlier), Some(later)) = (earlier.last(), later.first_mut())
                && later.file.is_some()
            {
                later.follows(earlier);
            }
        }
        let told: Vec<Start> =
            parts.iter().flat_map(|part| part.verified.archived.clone()).collect();
        let has_log = parts.iter().any(|part| part.file.is_none());
        for index in 0..parts.len() {
            let (earlier, later) = parts.split_at_mut(index);
            if let Some(part) = later.first_mut() {
                part.compare(&told, has_log, earlier.last());
            }
        }
        if let Some(expected) = expected
            && parts.iter().all(|part| part.verified.expected.is_none())
            && let Some(last) = parts.last_mut()
        {
            let start = last.verified.start.after.position;
            let where_else = match (last.file.is_none() && start > 0, self.files.is_empty()) {
                (true, true) => format!(
                    "; if it is the hash of a row up to {start}, name its archive: whereby audit verify \
                     --expected-head HASH FILE"
                ),
                _ => String::new(),
            };
            let what = format!(
                "no row has the expected hash {}: rows are missing, or all hashes were recomputed{where_else}",
                hex(expected)
            );
            last.verified.add(None, None, what);
        }
        Ok(report(&parts))
    }
}

/// The log, or one archive.
struct Part {
    /// Absent for the log.
    file: Option<String>,
    verified: Verified,
    /// Whether the log, or a later archive, has a row about this archive.
    is_confirmed: bool,
}

impl Part {
    fn of(file: Option<String>, verified: Verified) -> Self {
        Self { file, verified, is_confirmed: false }
    }

    fn follows(&mut self, earlier: &Self) {
        let (start, end) = (self.verified.start.after, earlier.verified.end);
        if start == end {
            return;
        }
        let earlier = earlier.file.as_deref().unwrap_or("the log");
        let what = if start.position == end.position {
            format!("it doesn't continue {earlier}: row {} has another hash there", end.position)
        } else {
            format!(
                "it doesn't continue {earlier}, which ends with row {}: it starts after row {}",
                end.position, start.position
            )
        };
        self.verified.add(None, None, what);
    }

    /// Compares where an archive starts and ends with what rows about archives say.
    fn compare(&mut self, told: &[Start], has_log: bool, earlier: Option<&Self>) {
        if self.file.is_none() {
            return;
        }
        let (start, end) = (&self.verified.start, self.verified.end);
        let mut problems = Vec::new();
        let position = start.after.position;
        match told.iter().find(|told| told.after.position == position) {
            Some(told) if told == start => {}
            Some(_) => problems.push(format!(
                "it starts after row {position}, but not as the archive before it ended"
            )),
            // The log knows all archives. Without it, the archive before may be enough.
            None if position > 0 && (has_log || earlier.is_none()) => problems.push(format!(
                "rows up to {position} are missing: no archive ended there, as far as is known here"
            )),
            None => {}
        }
        match told.iter().find(|told| told.after.position == end.position) {
            Some(told) if told.after == end => self.is_confirmed = true,
            Some(_) => problems.push(format!(
                "it is not the file that was archived: row {} had another hash",
                end.position
            )),
            None if has_log => problems.push(format!(
                "no archive of this log ended with row {}: rows are missing, or it is of another log",
                end.position
            )),
            None => {}
        }
        for what in problems {
            self.verified.add(None, None, what);
        }
    }

    fn to_json(&self) -> Value {
        let Verified { rows, start, end, signatures, problems, count, expected, .. } =
            &self.verified;
        let problem = |problem: &Problem| json!({"position": problem.position, "id": problem.id, "problem": problem.what});
        json!({
            "file": self.file,
            "ok": *count == 0,
            "rows": rows,
            "first": (*rows > 0).then_some(start.after.position.saturating_add(1)),
            "last": (*rows > 0).then_some(end.position),
            "head": hex(&end.hash),
            "expected_head_position": expected,
            "signatures": signatures,
            "confirmed": self.file.as_ref().map(|_| self.is_confirmed),
            "problems": problems.iter().map(problem).collect::<Vec<_>>(),
            "problem_count": count,
        })
    }

    fn describe(&self) -> String {
        let Verified { rows, start, end, signatures, problems, count, expected, .. } =
            &self.verified;
        let mut said = String::new();
        let name = self.file.as_deref().unwrap_or("log");
        let start = start.after.position;
        let range = match rows {
            0 => "no rows".to_owned(),
            1 => format!("row {}", end.position),
            _ => format!("rows {} to {}", start.saturating_add(1), end.position),
        };
        let found = match (count, rows) {
            (0, 0) => "there are no rows".to_owned(),
            (0, 1) => format!("{range} is unchanged"),
            (0, _) => format!("{range} are unchanged"),
            (1, _) => format!("1 problem in {range}"),
            _ => format!("{count} problems in {range}"),
        };
        // Writing to a string does not fail.
        let _ = writeln!(said, "{name}: {found}\nhead: {}", hex(&end.hash));
        if let Some(position) = expected {
            let _ = writeln!(said, "expected head found: row {position}");
        }
        if *signatures > 0 {
            let noun = if *signatures == 1 { "signature" } else { "signatures" };
            let _ = writeln!(said, "{signatures} {noun} of passkeys verified");
        }
        if start > 0 && self.file.is_none() {
            let _ = writeln!(
                said,
                "rows up to {start} were archived and are not checked; to check them too, run: whereby audit \
                 verify FILE…"
            );
        }
        if self.file.is_some() && !self.is_confirmed && *count == 0 {
            let _ =
                writeln!(said, "not confirmed: there is no log here that mentions this archive");
        }
        for problem in problems {
            let id = problem
                .id
                .as_deref()
                .map_or(String::new(), |id| format!(" (call {})", text::printable(id, 60)));
            let _ = writeln!(said, "problem: {}{id}", problem.what);
        }
        let rest = count - problems.len() as u64;
        if rest > 0 {
            let _ = writeln!(said, "and {rest} more problems");
        }
        said
    }
}

fn report(parts: &[Part]) -> Output {
    let is_ok = parts.iter().all(|part| part.verified.count == 0);
    let text: Vec<String> = parts.iter().map(Part::describe).collect();
    let value = json!({"ok": is_ok, "parts": parts.iter().map(Part::to_json).collect::<Vec<_>>()});
    let exit = if is_ok { Exit::Success } else { Exit::Internal };
    Output::Report(text.join("\n"), document("verify", value), exit)
}

/// Prints the hash of the newest row.
pub(super) fn head(context: &Context, log: &AuditLog) -> Result<Output, CommandError> {
    super::refuse_account(context, "head")?;
    super::gather(context, log);
    let end = log.end()?;
    let hash = hex(&end.hash);
    let value = json!({"hash": hash, "position": end.position});
    Ok(Output::text(format!("{hash}\n"), document("head", value)))
}
