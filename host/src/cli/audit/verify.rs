//! `whereby audit verify` and `whereby audit head`.

use super::super::{CommandError, Context, Exit, Output, document};
use crate::error::Error;
use crate::store::{AuditLog, Verified};
use crate::system::digest::{from_hex, hex};
use crate::system::file::shown;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;
use whereby_authority::text;

/// Check that no row of the log was changed, removed, added or moved
///
/// Each row has a hash over itself and all rows before it. Whoever can write the log can also compute all
/// hashes anew; only a hash that you keep elsewhere shows that. With archives, checks these files in the
/// given order: each must continue the one before, and the log must continue the last one, if it is the
/// newest.
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
    /// Archives to check instead of the log, the oldest first
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

fn hash(text: &str) -> Result<[u8; 32], String> {
    from_hex(text).ok_or_else(|| "expected a hash of 64 hexadecimal digits".into())
}

impl Opts {
    pub(super) fn run(self, context: &Context) -> Result<Output, CommandError> {
        let store = context.store()?;
        let own = AuditLog::Own(store);
        if self.files.is_empty() {
            super::gather(context, &own);
            let mut part = Part::of("log", own.verify(self.expected_head.as_ref())?);
            part.is_log = true;
            return Ok(report(&[part], self.expected_head.is_some()));
        }
        let mut parts = Vec::new();
        for file in &self.files {
            let log = AuditLog::open(&context.environment.directory.join(file))?;
            parts.push(Part::of(&shown(file), log.verify(self.expected_head.as_ref())?));
        }
        // The hash is in one of them.
        if let Some(expected) = self.expected_head
            && parts.iter().any(|part| part.verified.expected.is_some())
        {
            parts.iter_mut().for_each(|part| part.forget(&expected));
        }
        for index in 1..parts.len() {
            let (earlier, later) = parts.split_at_mut(index);
            if let (Some(earlier), Some(later)) = (earlier.last(), later.first_mut()) {
                later.follows(earlier);
            }
        }
        // What the log and the later files tell of the earlier ones.
        let mut archived = match own.verify(None) {
            Ok(log) => log.archived,
            Err(error) => {
                context.warn(&format!("the files were not compared with the log: {error}"));
                Vec::new()
            }
        };
        archived.extend(parts.iter().flat_map(|part| part.verified.archived.clone()));
        for part in &mut parts {
            part.compare(&archived);
        }
        Ok(report(&parts, self.expected_head.is_some()))
    }
}

/// The log, or one archive.
struct Part {
    name: String,
    is_log: bool,
    verified: Verified,
    /// Whether the log or a later archive tells of this one.
    is_known: bool,
}

impl Part {
    fn of(name: &str, verified: Verified) -> Self {
        Self { name: name.to_owned(), is_log: false, verified, is_known: false }
    }

    /// Takes back that the expected hash is missing, because it is in another part.
    fn forget(&mut self, expected: &[u8; 32]) {
        let hash = hex(expected);
        let problems = &mut self.verified.problems;
        let before = problems.len();
        problems.retain(|problem| problem.position.is_some() || !problem.what.contains(&hash));
        self.verified.count -= (before - self.verified.problems.len()) as u64;
    }

    fn follows(&mut self, earlier: &Self) {
        let (start, end) = (self.verified.start, earlier.verified.end);
        if start == end {
            return;
        }
        let what = if start.position == end.position {
            format!(
                "it does not continue {}: the hash of row {} is another one",
                earlier.name, end.position
            )
        } else {
            format!(
                "it does not continue {}, which ends with row {}: it starts after row {}",
                earlier.name, end.position, start.position
            )
        };
        self.verified.add(None, None, what);
    }

    /// Compares the last row with what the log tells of its archives.
    fn compare(&mut self, archived: &[crate::store::Link]) {
        let end = self.verified.end;
        let mut told = archived.iter().filter(|told| told.position == end.position);
        match told.next() {
            Some(told) if told.hash == end.hash => self.is_known = true,
            Some(_) => {
                let what = format!(
                    "it is not the file that was archived: the log has another hash of row {}",
                    end.position
                );
                self.verified.add(None, None, what);
            }
            None => {}
        }
    }

    fn to_json(&self) -> Value {
        let Verified { rows, start, end, signatures, problems, count, expected, .. } =
            &self.verified;
        json!({
            "file": (!self.is_log).then_some(&self.name),
            "ok": *count == 0,
            "rows": rows,
            "first": (*rows > 0).then_some(start.position + 1),
            "last": (*rows > 0).then_some(end.position),
            "head": hex(&end.hash),
            "expected_head_position": expected,
            "signatures": signatures,
            "archive_known": (!self.is_log).then_some(self.is_known),
            "problems": problems
                .iter()
                .map(|problem| {
                    json!({
                        "position": problem.position,
                        "id": problem.id,
                        "problem": problem.what,
                    })
                })
                .collect::<Vec<_>>(),
            "problem_count": count,
        })
    }

    fn describe(&self, wants_head: bool) -> String {
        let Verified { rows, start, end, signatures, problems, count, expected, .. } =
            &self.verified;
        let mut said = String::new();
        let name = text::printable(&self.name, 300);
        let range = match rows {
            0 => "no rows".to_owned(),
            1 => format!("row {}", end.position),
            _ => format!("rows {} to {}", start.position + 1, end.position),
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
        if wants_head && let Some(position) = expected {
            let _ = writeln!(said, "the expected head is that of row {position}");
        }
        if *signatures > 0 {
            let noun = if *signatures == 1 { "signature" } else { "signatures" };
            let _ = writeln!(said, "{signatures} {noun} of passkeys verified");
        }
        if start.position > 0 && self.is_log {
            let _ = writeln!(
                said,
                "the rows up to {} are in archives, which can be checked with: whereby audit verify FILE",
                start.position
            );
        }
        if !self.is_log {
            let known = if self.is_known {
                "the log tells of this archive"
            } else {
                "nothing here tells of this archive: name the later ones too, or compare the hash"
            };
            let _ = writeln!(said, "{known}");
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

fn report(parts: &[Part], wants_head: bool) -> Output {
    let is_ok = parts.iter().all(|part| part.verified.count == 0);
    let text: Vec<String> = parts.iter().map(|part| part.describe(wants_head)).collect();
    let value = json!({"ok": is_ok, "parts": parts.iter().map(Part::to_json).collect::<Vec<_>>()});
    let exit = if is_ok { Exit::Success } else { Exit::Internal };
    Output::Report(text.join("\n"), document("verify", value), exit)
}

/// Prints the hash of the newest row.
pub(super) fn head(context: &Context, log: &AuditLog) -> Result<Output, CommandError> {
    if context.global.account.is_some() {
        let message = "--account does not apply to head, which covers all accounts; omit it";
        return Err(Error::usage(message).into());
    }
    super::gather(context, log);
    let end = log.end()?;
    let hash = hex(&end.hash);
    let value = json!({"hash": hash, "position": end.position});
    Ok(Output::text(format!("{hash}\n"), document("head", value)))
}
