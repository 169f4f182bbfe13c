//! `whereby call --all`: reads every page of a function that returns pages. Each page is a separate call.

use super::spinner::Status;
use crate::error::Error;
use crate::session::Session;
use crate::session::call::{Call, Outcome};
use serde_json::Value;
use std::time::Duration;
use whereby_catalog::{FUNCTIONS, Function};

/// The maximum number of pages to read.
pub(super) const MAX_PAGES: usize = 100;

/// Which rows of all pages to keep.
pub(super) struct Pages {
    /// Keep only rows whose room name begins with this string, ignoring case.
    pub(super) prefix: Option<String>,
}

/// The combined outcome of all pages.
pub(super) struct Read {
    /// The outcome of the last page's call, with the rows and requests of all pages.
    pub(super) outcome: Outcome,
    /// How many pages were read.
    pub(super) pages: usize,
}

impl Pages {
    /// Checks that the function returns pages.
    pub(super) fn check(function: &str) -> Result<(), Error> {
        let has_pages = |function: &&Function| function.params.iter().any(|p| p.json == "cursor");
        if FUNCTIONS.iter().filter(has_pages).any(|known| known.json == function) {
            return Ok(());
        }
        let names: Vec<&str> = FUNCTIONS.iter().filter(has_pages).map(|f| f.json).collect();
        Err(Error::usage(format!(
            "--all and --prefix are for functions that return pages: {}",
            names.join(", ")
        )))
    }

    /// Reads all pages, or stops when `until` completes. `call` builds the call for one page from its
    /// arguments.
    pub(super) async fn read(
        &self,
        session: &Session,
        function: &'static Function,
        mut arguments: Value,
        status: &Status,
        call: impl Fn(Value) -> Call,
        until: impl Future<Output = ()>,
    ) -> Read {
        tokio::pin!(until);
        let largest = function.params.iter().find(|param| param.json == "limit");
        if let (Some((_, largest)), Some(object)) =
            (largest.and_then(|param| param.facts.range), arguments.as_object_mut())
            && object.get("limit").is_none_or(Value::is_null)
        {
            object.insert("limit".into(), largest.into());
        }
        let mut rows = Vec::new();
        let mut notices: Vec<String> = Vec::new();
        let mut requests = Vec::new();
        let mut duration = Duration::ZERO;
        let mut pages = 0;
        loop {
            status.doing(match pages {
                0 => function.json.to_owned(),
                _ => format!("{}, page {}, {} rows so far", function.json, pages + 1, rows.len()),
            });
            let mut outcome = session.run_until(call(arguments.clone()), until.as_mut()).await;
            requests.append(&mut outcome.requests);
            duration += outcome.duration;
            pages += 1;
            let next = match &mut outcome.result {
                Ok(page) => {
                    let found = page["data"].as_array_mut().map(std::mem::take).unwrap_or_default();
                    rows.extend(found.into_iter().filter(|row| self.wants(row)));
                    let next = page["meta"]["nextCursor"].as_str().map(str::to_owned);
                    let goes_on = next.is_some() && pages < MAX_PAGES;
                    let notice = page["meta"]["notice"].as_str().unwrap_or_default();
                    for sentence in notice.split_inclusive(". ").map(str::trim) {
                        // The notice about the next page does not apply if that page is read.
                        let is_obsolete = goes_on && sentence.contains("nextCursor");
                        if !is_obsolete && !notices.iter().any(|known| known == sentence) {
                            notices.push(sentence.to_owned());
                        }
                    }
                    next
                }
                Err(_) => None,
            };
            if let Some(cursor) = next.filter(|_| pages < MAX_PAGES) {
                arguments["cursor"] = cursor.into();
                continue;
            }
            if let Ok(page) = &mut outcome.result {
                page["data"] = Value::Array(rows);
                if !notices.is_empty() {
                    page["meta"]["notice"] = notices.join(" ").into();
                }
            }
            outcome.requests = requests;
            outcome.duration = duration;
            return Read { outcome, pages };
        }
    }

    fn wants(&self, row: &Value) -> bool {
        let Some(prefix) = &self.prefix else { return true };
        let begins = |name: &str| {
            name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
        };
        row["roomName"].as_str().is_some_and(begins)
    }
}
