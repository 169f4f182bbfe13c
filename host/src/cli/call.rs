//! `whereby call`: calls one function.

use super::pages::{MOST_PAGES, Pages, Read};
use super::signal::Signals;
use super::spinner::{self, Status};
use super::{Context, Document, Exit, Failure, Output, functions, prompt, table};
use crate::error::Error;
use crate::session::Session;
use crate::session::call::{Call, Outcome, Plan};
use crate::strict_json;
use crate::system::clock::milliseconds;
use serde_json::{Map, Value, json};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use whereby_authority::arguments::MAX_ARGUMENTS_BYTES;
use whereby_authority::policy::{Effect, Permission};
use whereby_authority::table::FunctionRule;
use whereby_authority::text;
use whereby_catalog::Type;

/// Calls one function and prints what it returns.
///
/// A call that the policy wants to be asked for is asked for where standard input and error are
/// terminals and --json is not given; elsewhere it is stored to be approved with `whereby approvals`, and
/// fails with exit status 5.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{}", Exit::TABLE))]
pub(super) struct Opts {
    /// The function: list_rooms, list-rooms, whereby.list_rooms or whereby.ACCOUNT.list_rooms
    #[arg(value_parser = functions::Name, hide_possible_values = true)]
    function: String,
    /// The arguments as one JSON object, or - to read them from standard input
    arguments: Option<String>,
    /// One argument, such as limit=10; a list or an object is written as JSON
    #[arg(long = "arg", value_name = "NAME=VALUE")]
    args: Vec<String>,
    /// Show the arguments, the decision and the permitted requests; ask, keep and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Make the call without asking where a person would be asked; overrides no denial
    #[arg(long)]
    force: bool,
    /// If the call needs approval, wait this long for a person to decide with `whereby approvals`
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: Option<u64>,
    /// Read all pages, at most 100. Each is a call of its own, and `limit` is the size of a page
    #[arg(long)]
    all: bool,
    /// Read all pages, and keep only rooms, or meetings in rooms, whose name begins with TEXT
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Succeed when the room to delete does not exist
    #[arg(long)]
    if_exists: bool,
}

/// What a call is made with.
struct Prepared {
    session: Session,
    account: Option<String>,
    arguments: Value,
    pages: Option<Pages>,
}

const EXAMPLES: &str = "\
Examples:
  whereby call list_rooms
  whereby call list_rooms '{\"limit\": 2}' --json
  whereby call list_rooms --prefix demo-
  whereby call get_room --arg room_name=daily-standup
  whereby call delete_room --arg room_name=daily-standup --if-exists
  echo '{\"room_mode\": \"group\"}' | whereby call create_room - --dry-run
  whereby call whereby.work.list_meetings --arg from_date=2026-03-01";

impl Opts {
    pub(super) async fn run(self, context: &Context) -> Result<Output, Failure> {
        let (segment, function) = split_name(&self.function);
        let function = function.replace('-', "_");
        let known = whereby_catalog::function(&function).map(|function| function.json);
        let document = Document { dry_run: self.dry_run, ..Document::for_function(known) };
        let fail = |error: Error| Failure { error, document: Box::new(document.clone()) };
        if context.json {
            // Arguments may be read from a program that takes its time.
            let stopped = document.to_json(Err(&Error::Interrupted)).to_string();
            context.streams.set_last_words(Some(text::printable_json(&stopped)));
        }
        let prepared = match self.prepare(context, segment, &function) {
            Ok(prepared) => prepared,
            Err(error) => {
                // What was not understood may hold a secret anywhere.
                if !self.dry_run {
                    let account = segment.or(context.account.as_deref());
                    let call = Call::new(function, Value::Null).account(account);
                    context.record_refusal(call.asked_by(super::FRONT_END, None), &error).await;
                }
                return Err(fail(error));
            }
        };
        let Prepared { session, account, arguments, pages } = prepared;
        let status = Status::new(known.unwrap_or("a function"));
        let mut call = Call::new(function, arguments.clone())
            .account(account.as_deref())
            .force(self.force)
            .asked_by(super::FRONT_END, None);
        let waits_for = Arc::<OnceLock<String>>::default();
        if let Some(seconds) = self.wait {
            call = call.wait(Duration::from_secs(seconds));
            if !context.can_ask(self.force) {
                let streams = context.streams.clone();
                let (status, is_quiet) = (status.clone(), context.quiet);
                let waits_for = Arc::clone(&waits_for);
                let elsewhere = prompt::Elsewhere { streams, status, is_quiet, seconds, waits_for };
                call = call.approver(Arc::new(elsewhere));
            }
        }
        if self.dry_run {
            let plan = session.plan(call).map_err(fail)?;
            let mut document = Document::for_function(Some(plan.function.json));
            document.account = Some(plan.account.clone());
            document.dry_run = true;
            document.permission = Some(plan.verdict.permission);
            document.forced = plan.forced;
            if let Some(error) = plan.denial.clone() {
                document.data = Some(plan.to_json());
                document.shown = Some(show_plan(&plan));
                return Err(Failure { error, document: Box::new(document) });
            }
            let shown = show_plan(&plan);
            return Ok(Output::Plan(Box::new(document), shown, plan.to_json()));
        }
        let call = spinner::watched(context, &status, call);
        let mut signals = Signals::listen(&context.streams);
        let mut stopped = None;
        let until = async { stopped = Some(signals.next().await) };
        let read = async {
            match (pages, known.and_then(whereby_catalog::function)) {
                (Some(pages), Some(function)) => {
                    let page = |arguments| call.clone().arguments(arguments);
                    pages.read(&session, function, arguments, &status, page, until).await
                }
                _ => Read { outcome: session.run_until(call, until).await, pages: 0 },
            }
        };
        let Read { outcome, pages } = spinner::wait(context, &status, read).await;
        let is_stopped = matches!(outcome.result, Err(Error::Interrupted));
        if let Some(exit) = stopped.filter(|_| is_stopped) {
            let is_write = whereby_catalog::function(known.unwrap_or_default())
                .is_some_and(|function| FunctionRule::of(function).effect == Effect::Write);
            // A read has changed nothing, and whoever stopped it knows that it was stopped. Whoever
            // reads the document does not.
            let mut document = Document::of(&outcome);
            if let Some(id) = waits_for.get().filter(|_| outcome.requests.is_empty()) {
                document.approval = Some(id.clone());
                document.hint = Some(format!(
                    "nothing was sent, and a person can still decide; to withdraw the request: whereby \
                     approvals deny {id}"
                ));
            }
            return match is_write || context.json {
                true => Err(Failure::stopped(exit, document)),
                false => Ok(Output::Stopped(exit)),
            };
        }
        let document = Document { pages, ..Document::of(&outcome) };
        let Outcome { result, unrecorded, requests, .. } = outcome;
        let was_listed = requests.iter().all(|request| request.status == Some(200));
        if let Some(problem) = &unrecorded {
            context.warn(&format!("the audit log does not have all of this call: {problem}"));
        }
        match result {
            Ok(data) => {
                if pages == MOST_PAGES && !data["meta"]["nextCursor"].is_null() {
                    context.warn(&format!(
                        "stopped after {MOST_PAGES} pages, and there are more; continue with --arg \
                         cursor=CURSOR (nextCursor in the result)"
                    ));
                }
                Ok(Output::call(document, data))
            }
            // Only a list that was read can show that the room is not there.
            Err(Error::Function(error))
                if self.if_exists && error.kind == "not-found" && was_listed =>
            {
                let text = text::printable(&error.message, 500);
                let text =
                    table::paragraph(&format!("nothing is deleted: {text}"), &context.look());
                Ok(Output::Plan(Box::new(document), text, Value::Null))
            }
            Err(error) => Err(Failure { error, document: Box::new(document) }),
        }
    }

    /// Checks what can be checked before there is a call.
    fn prepare(
        &self,
        context: &Context,
        segment: Option<&str>,
        function: &str,
    ) -> Result<Prepared, Error> {
        let account = match (context.account.as_deref(), segment) {
            (Some(flag), Some(segment)) if flag != segment => {
                return Err(Error::Usage {
                    message: format!(
                        "--account says `{}` and the function's name says `{}`; name one account",
                        text::printable(flag, 60),
                        text::printable(segment, 60)
                    ),
                });
            }
            (flag, segment) => flag.or(segment).map(str::to_owned),
        };
        let pages = match self.all || self.prefix.is_some() {
            true => Some(Pages { prefix: self.prefix.clone() }),
            false => None,
        };
        if pages.is_some() {
            Pages::check(function)?;
        }
        if self.if_exists
            && !whereby_catalog::function(function)
                .is_some_and(|function| FunctionRule::of(function).is_destructive)
        {
            let message = "--if-exists works only with functions that delete".to_owned();
            return Err(Error::Usage { message });
        }
        let arguments = self.arguments(context, function)?;
        let mut settings = context.settings()?;
        // It is one call, and room for more has to be made ready and taken down.
        settings.limits.concurrent_calls = 1;
        let session = context.session(settings, self.force)?;
        Ok(Prepared { session, account, arguments, pages })
    }

    /// The arguments of the JSON object and of `--arg` together.
    fn arguments(&self, context: &Context, function: &str) -> Result<Value, Error> {
        let usage = |message: String| Error::Usage { message };
        let text = match self.arguments.as_deref() {
            Some("-") => {
                let most = MAX_ARGUMENTS_BYTES * 2;
                let text = context.streams.read_to_end(most).map_err(|error| {
                    usage(format!("standard input does not hold the arguments: {error}"))
                })?;
                // The program that writes them may have failed; that is no call without arguments.
                if text.trim().is_empty() {
                    return Err(usage(
                        "standard input is empty; no arguments are written {}".into(),
                    ));
                }
                Some(text)
            }
            Some(text) => Some(text.to_owned()),
            None => None,
        };
        let text = text.as_deref().map(text::without_bom);
        let mut arguments = match text.map(str::trim) {
            None | Some("") => Value::Object(Map::new()),
            Some(text) => strict_json::from_str(text).map_err(|error| {
                let what = text::printable(&error.to_string(), 200);
                usage(match error.is_data() {
                    true => format!("the arguments are ambiguous: {what}; write it once"),
                    false => format!(
                        "the arguments are not JSON: {what}; they are one object, such as \
                         '{{\"limit\": 2}}', or given one by one, such as --arg limit=2"
                    ),
                })
            })?,
        };
        for arg in &self.args {
            let (name, value) = arg.split_once('=').ok_or_else(|| {
                usage(format!("--arg {} is not of the form name=value", text::printable(arg, 80)))
            })?;
            let object = arguments.as_object_mut().ok_or_else(|| {
                usage("--arg goes with a JSON object, and the arguments are none".into())
            })?;
            if object.insert(name.to_owned(), typed(function, name, value)?).is_some() {
                return Err(usage(format!(
                    "the argument `{}` is given twice",
                    text::printable(name, 80)
                )));
            }
        }
        Ok(arguments)
    }
}

/// A plan as people read it.
fn show_plan(plan: &Plan) -> String {
    let arguments = serde_json::to_string_pretty(&plan.arguments).unwrap_or_default();
    let forced = if plan.forced { ", and --force answers yes" } else { "" };
    format!(
        "a dry run: nothing is asked, kept or sent\n\n\
         account    {}, at {}\nfunction   {}\narguments  {}\ndecision   {}, by {}{forced}\n\
         may send   {}\n",
        plan.account,
        plan.api,
        plan.function.json,
        text::printable_lines(&arguments).replace('\n', "\n           "),
        plan.verdict.permission.as_str(),
        plan.verdict.rule,
        plan.requests.join(", "),
    )
}

/// The value of `--arg`, of the type that the parameter has.
fn typed(function: &str, name: &str, value: &str) -> Result<Value, Error> {
    let ty = whereby_catalog::function(function)
        .and_then(|function| function.params.iter().find(|param| param.json == name))
        .map(|param| match param.ty {
            Type::Option(inner) => *inner,
            ty => ty,
        });
    match ty {
        None | Some(Type::String | Type::Enum(_)) => Ok(Value::from(value)),
        Some(_) => strict_json::from_str(value).map_err(|error| {
            let shown = text::printable(value, 80);
            Error::Usage {
                message: match error.is_data() {
                    true => format!("--arg {name}={shown} is ambiguous: {error}; write it once"),
                    false => format!(
                        "--arg {name}={shown} is not JSON ({error}); `{name}` is written as JSON, as \
                         in the examples of `whereby docs {function}`"
                    ),
                },
            }
        }),
    }
}

/// Splits `whereby.ACCOUNT.whereby_FUNCTION`. Everything but the function is optional.
pub(super) fn split_name(name: &str) -> (Option<&str>, &str) {
    let mut segments: Vec<&str> = name.split('.').collect();
    if segments.len() > 1 && segments[0] == "whereby" {
        segments.remove(0);
    }
    let plain = |function: &'_ str| -> usize {
        if function.starts_with("whereby_") || function.starts_with("whereby-") {
            "whereby_".len()
        } else {
            0
        }
    };
    match segments.as_slice() {
        [function] => (None, &function[plain(function)..]),
        [account, function] => (Some(account), &function[plain(function)..]),
        _ => (None, name),
    }
}

impl Document {
    fn of(outcome: &Outcome) -> Self {
        Self {
            account: outcome.account.clone(),
            permission: outcome.verdict.as_ref().map(|verdict| verdict.permission),
            forced: outcome.forced,
            write: outcome.write,
            approval: outcome.approval.clone(),
            requests: outcome.requests.len(),
            duration: outcome.duration,
            ..Self::for_function(outcome.function)
        }
    }

    /// What to do about an error, unless that does not apply here.
    pub(super) fn hint_for(&self, error: &Error) -> Option<String> {
        let hint = self.hint.clone().or_else(|| error.hint(self.write));
        hint.filter(|_| !self.no_hint)
    }

    /// The document that every call prints under `--json`.
    pub(super) fn to_json(&self, result: Result<&Value, &Error>) -> Value {
        let operation = self
            .function
            .and_then(whereby_catalog::function)
            .map(|function| FunctionRule::of(function).effect.as_str());
        let mut document = json!({
            "function": self.function,
            "success": result.is_ok(),
            "data": result.ok().or(self.data.as_ref()),
            "error": result.err().map(|error| error.to_json(self.write)),
            "meta": {
                "account": self.account,
                "operation": operation,
                "dry_run": self.dry_run,
                "permission": self.permission.map(Permission::as_str),
                "forced": self.forced,
                "approval_id": self.approval,
                "requests": self.requests,
            },
            "duration_ms": milliseconds(self.duration),
        });
        if let Err(error) = result {
            document["error"]["hint"] = self.hint_for(error).into();
        }
        if self.pages > 0 {
            document["meta"]["pages"] = self.pages.into();
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_named_in_many_ways() {
        for (name, expected) in [
            ("list_rooms", (None, "list_rooms")),
            ("list-rooms", (None, "list-rooms")),
            ("whereby_list_rooms", (None, "list_rooms")),
            ("whereby.list_rooms", (None, "list_rooms")),
            ("whereby.whereby_list_rooms", (None, "list_rooms")),
            ("whereby.work.list_rooms", (Some("work"), "list_rooms")),
            ("whereby.work.whereby_list_rooms", (Some("work"), "list_rooms")),
            ("whereby.default.list_rooms", (Some("default"), "list_rooms")),
            ("a.b.c.d", (None, "a.b.c.d")),
            ("", (None, "")),
        ] {
            assert_eq!(split_name(name), expected, "{name}");
        }
    }
}
