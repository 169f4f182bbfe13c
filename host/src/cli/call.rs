//! `whereby call`: calls one function.

use super::agents::AgentOpt;
use super::pages::{MAX_PAGES, Pages, Read};
use super::signal::Signals;
use super::spinner::{self, Status};
use super::{CommandError, Context, Document, Exit, Output, functions, prompt, render, table};
use crate::error::Error;
use crate::session::Session;
use crate::session::call::{Call, Outcome, Plan};
use crate::strict_json;
use crate::token::Verified;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use whereby_authority::arguments::MAX_ARGUMENTS_BYTES;
use whereby_authority::policy::Effect;
use whereby_authority::table::FunctionRule;
use whereby_authority::text;
use whereby_catalog::Type;

/// Call one function and print its result
///
/// If a call needs approval, the program asks on the terminal. It does not ask in a CI job, with --json,
/// or if standard input or error is not a terminal. The call then fails with exit status 5 and is stored;
/// you can approve it with `whereby approvals`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{}", Exit::TABLE))]
pub(super) struct Opts {
    /// The function: list_rooms, list-rooms, whereby.list_rooms or whereby.ACCOUNT.list_rooms
    #[arg(value_parser = functions::name(), hide_possible_values = true)]
    function: String,
    /// The arguments as a JSON object, or - to read them from standard input
    arguments: Option<String>,
    /// One argument, such as limit=10; arrays and objects are JSON
    #[arg(long = "arg", value_name = "NAME=VALUE")]
    args: Vec<String>,
    /// Show the arguments, the decision and the permitted requests; ask, store and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Make the call without asking for approval; does not override a denial
    #[arg(long)]
    force: bool,
    /// If the call needs approval, wait up to SECONDS for a person to approve or deny it
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: Option<u64>,
    /// Read all pages, at most 100. Each page is a separate call, and `limit` is the page size
    #[arg(long)]
    all: bool,
    /// Read all pages, and keep only rooms, or meetings in rooms, whose names begin with TEXT
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Succeed if the room to delete does not exist
    #[arg(long)]
    if_exists: bool,
    /// Make the call with the capability token in this file instead of $WHEREBY_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    agent: AgentOpt,
}

/// A session and the call to make.
struct Prepared {
    session: Session,
    account: Option<String>,
    arguments: Value,
    pages: Option<Pages>,
    token: Option<Arc<Verified>>,
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
    pub(super) async fn run(self, context: &Context) -> Result<Output, CommandError> {
        let (segment, function) = split_name(&self.function);
        let function = function.replace('-', "_");
        let known = whereby_catalog::function(&function).map(|function| function.json);
        let document = Document { dry_run: self.dry_run, ..Document::for_function(known) };
        let fail = |error: Error| CommandError::of(error, document.clone());
        if context.global.json {
            // Reading the arguments can take long, and a signal can end the program meanwhile.
            let stopped = document.to_json(Err(&Error::Interrupted)).to_string();
            context.streams.set_last_words(Some(text::printable_json(&stopped)));
        }
        let agent = self.agent.name(context);
        let prepared = match self.prepare(context, segment, &function).await {
            Ok(prepared) => prepared,
            Err(error) => {
                // Unparsed arguments may contain a secret, so they are not recorded.
                if !self.dry_run {
                    let account = segment.or(context.global.account.as_deref());
                    let call = Call::new(function, Value::Null).account(account);
                    let call = call.agent(agent.as_deref());
                    context.record_refusal(call.asked_by(super::FRONT_END, None), &error).await;
                }
                return Err(fail(error));
            }
        };
        let Prepared { session, account, arguments, pages, token } = prepared;
        let status = Status::new(known.unwrap_or("a function"));
        let mut call = Call::new(function, arguments.clone())
            .account(account.as_deref())
            .agent(agent.as_deref())
            .token(token.as_ref())
            .force(self.force)
            .asked_by(super::FRONT_END, None);
        let waits_for = Arc::<OnceLock<String>>::default();
        if let Some(seconds) = self.wait {
            call = call.wait(Duration::from_secs(seconds));
            if !context.can_ask(self.force) {
                let streams = context.streams.clone();
                let (status, is_quiet) = (status.clone(), context.global.quiet);
                let waits_for = Arc::clone(&waits_for);
                let approver =
                    prompt::ShowCommand { streams, status, is_quiet, seconds, waits_for };
                call = call.approver(Arc::new(approver));
            }
        }
        if self.dry_run {
            let plan = session.plan(call).map_err(fail)?;
            let (shown, data) = (show_plan(&plan), plan.to_json());
            let mut document = Document {
                account: Some(plan.account),
                dry_run: true,
                permission: Some(plan.verdict.permission),
                forced: plan.forced,
                ..Document::for_function(Some(plan.function.json))
            };
            let Some(error) = plan.denial else {
                return Ok(Output::text(shown, document.to_json(Ok(&data))));
            };
            (document.data, document.shown) = (Some(data), Some(shown));
            return Err(CommandError::of(error, document));
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
            // A read changed nothing, and the person who stopped it knows. A program that reads JSON
            // does not.
            let mut document = Document::of(&outcome);
            if let Some(id) = waits_for.get().filter(|_| outcome.requests.is_empty()) {
                document.approval = Some(id.clone());
                document.hint = Some(format!(
                    "nothing was sent, and a person can still approve the call; to withdraw it: whereby \
                     approvals deny {id}"
                ));
            }
            return if is_write || context.global.json {
                Err(CommandError::stopped(exit, document))
            } else {
                Ok(Output::Nothing(exit))
            };
        }
        let document = Document { pages, ..Document::of(&outcome) };
        let Outcome { result, unrecorded, requests, .. } = outcome;
        let was_listed = requests.iter().all(|request| request.status == Some(200));
        if let Some(problem) = &unrecorded {
            context.warn(&format!("this call is not fully recorded in the audit log: {problem}"));
        }
        match result {
            Ok(data) => {
                if pages == MAX_PAGES && !data["meta"]["nextCursor"].is_null() {
                    context.warn(&format!(
                        "stopped after {MAX_PAGES} pages, and there are more; to continue, pass nextCursor of \
                         the result as --arg cursor=CURSOR"
                    ));
                }
                let shown = render::render(&data, &context.look());
                Ok(Output::text(shown, document.to_json(Ok(&data))))
            }
            // Only a complete list shows that the room does not exist.
            Err(Error::Function(error))
                if self.if_exists && error.kind == "not-found" && was_listed =>
            {
                let text = text::printable(&error.message, 500);
                let text = table::paragraph(&format!("nothing to delete: {text}"), &context.look());
                Ok(Output::text(text, document.to_json(Ok(&Value::Null))))
            }
            Err(error) => Err(CommandError::of(error, document)),
        }
    }

    /// Checks the options, and builds the session and arguments.
    async fn prepare(
        &self,
        context: &Context,
        segment: Option<&str>,
        function: &str,
    ) -> Result<Prepared, Error> {
        let account = match (context.global.account.as_deref(), segment) {
            (Some(flag), Some(segment)) if flag != segment => {
                return Err(Error::usage(format!(
                    "--account is `{}`, but the function name has `{}`; use one account",
                    text::printable(flag, 60),
                    text::printable(segment, 60)
                )));
            }
            (flag, segment) => flag.or(segment).map(str::to_owned),
        };
        let pages =
            (self.all || self.prefix.is_some()).then(|| Pages { prefix: self.prefix.clone() });
        if pages.is_some() {
            Pages::check(function)?;
        }
        if self.if_exists
            && !whereby_catalog::function(function)
                .is_some_and(|function| FunctionRule::of(function).is_destructive)
        {
            return Err(Error::usage("--if-exists works only with functions that delete"));
        }
        let arguments = self.arguments(context, function)?;
        let mut settings = context.settings()?;
        // The session makes one call at a time, so it need not prepare for more.
        settings.limits.concurrent_calls = 1;
        let session = context.session(settings, self.force)?;
        let token = super::token::open(context, &session, self.token_file.as_ref()).await?;
        Ok(Prepared { session, account, arguments, pages, token })
    }

    /// Returns the arguments from the JSON object and `--arg`.
    fn arguments(&self, context: &Context, function: &str) -> Result<Value, Error> {
        let text = match self.arguments.as_deref() {
            Some("-") => {
                let most = MAX_ARGUMENTS_BYTES * 2;
                let text = context.streams.read_to_end(most).map_err(|error| {
                    Error::usage(format!(
                        "the arguments cannot be read from standard input: {error}"
                    ))
                })?;
                // Empty input may mean that the program before the pipe failed.
                if text.trim().is_empty() {
                    return Err(Error::usage(
                        "standard input is empty; to pass no arguments, write {}",
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
            Some(text) => arguments_of(text)?,
        };
        for arg in &self.args {
            let (name, value) = arg.split_once('=').ok_or_else(|| {
                Error::usage(format!(
                    "--arg {} has no value; write --arg NAME=VALUE",
                    text::printable(arg, 80)
                ))
            })?;
            let object = arguments.as_object_mut().ok_or_else(|| {
                Error::usage("--arg needs the other arguments to be a JSON object")
            })?;
            if object.insert(name.to_owned(), typed(function, name, value)?).is_some() {
                return Err(Error::usage(format!(
                    "argument `{}` is given twice; remove one",
                    text::printable(name, 80)
                )));
            }
        }
        Ok(arguments)
    }
}

/// Formats a plan for people.
fn show_plan(plan: &Plan) -> String {
    let arguments = serde_json::to_string_pretty(&plan.arguments).unwrap_or_default();
    let forced = if plan.forced { "; --force skips the question" } else { "" };
    format!(
        "dry run: nothing is asked, stored or sent\n\n\
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

/// Parses the value of `--arg` according to the parameter's type.
fn typed(function: &str, name: &str, value: &str) -> Result<Value, Error> {
    let ty = whereby_catalog::function(function)
        .and_then(|function| function.params.iter().find(|param| param.json == name))
        .map(|param| match param.ty {
            Type::Option(inner) => *inner,
            ty => ty,
        });
    match ty {
        None | Some(Type::String | Type::Enum(_)) => Ok(Value::from(value)),
        Some(ty) => strict_json::from_str(value).map_err(|error| {
            let shown = text::printable(value, 80);
            let expected = match ty {
                Type::Bool => "expected true or false",
                Type::U16 | Type::U32 | Type::U64 => "expected an integer",
                Type::F64 => "expected a number",
                _ => "expected JSON",
            };
            Error::usage(if error.is_data() {
                format!("--arg {name}={shown} is ambiguous: {error}; write it once")
            } else {
                format!(
                    "--arg {name}={shown}: {expected}; for examples, see `whereby docs {function}`"
                )
            })
        }),
    }
}

/// Splits `whereby.ACCOUNT.whereby_FUNCTION` into account and function. Only the function is required.
pub(super) fn split_name(name: &str) -> (Option<&str>, &str) {
    let mut segments: Vec<&str> = name.split('.').collect();
    if segments.len() > 1 && segments[0] == "whereby" {
        segments.remove(0);
    }
    match segments.as_slice() {
        [function] => (None, plain(function)),
        [account, function] => (Some(account), plain(function)),
        _ => (None, name),
    }
}

/// Returns the name of a function without the prefix of a tool.
fn plain(function: &str) -> &str {
    let rest = function.strip_prefix("whereby").and_then(|rest| rest.strip_prefix(['_', '-']));
    rest.unwrap_or(function)
}

/// Reads arguments that are given as one JSON object.
pub(super) fn arguments_of(text: &str) -> Result<Value, Error> {
    strict_json::from_str(text).map_err(|error| {
        let what = text::printable(&error.to_string(), 200);
        Error::usage(if error.is_data() {
            format!("the arguments are ambiguous: {what}; write it once")
        } else {
            format!(
                "the arguments are not JSON: {what}; pass an object, such as '{{\"limit\": 2}}', or \
                 single arguments, such as --arg limit=2"
            )
        })
    })
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
