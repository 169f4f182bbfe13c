//! The optional tool that runs Lua scripts, for clients whose models write code.
//!
//! Each call of a script goes through the session like any other call, with its own permission check,
//! approval and row in the audit log. The tool itself grants nothing.

use super::asking::{AskMode, Elicitation};
use crate::error::Error;
use crate::lua::{MAX_SOURCE_BYTES, Report, Runtime};
use crate::session::Session;
use crate::session::approval::{Answer, Approver, Channel, NobodyToAsk, Question};
use crate::session::call::Call;
use crate::store::Asker;
use crate::token::Verified;
use rmcp::RoleServer;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, Tool, ToolAnnotations, object};
use rmcp::service::RequestContext;
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use whereby_authority::text;

/// The tool's name.
pub(super) const NAME: &str = "whereby_run_lua";

/// The one argument.
const SCRIPT: &str = "script";

const DESCRIPTION: &str = "Run a Luau script that calls the Whereby functions, for work that takes \
    several calls. `app.integrations.whereby.list_rooms({ limit = 10 })` calls a function and returns a \
    table. `app.parallel{ function() … end, … }` runs functions in parallel. `print` writes output. The \
    script's return value is its result. A failed call raises a table with `kind`, `message` and \
    `hint`. `lua_read_doc(\"integrations.whereby\")` returns the guide. Scripts have no files, network \
    or packages. Each call has the permissions and approvals of a call to its own tool.";

pub(super) fn tool() -> Tool {
    let input = object(json!({
        "type": "object",
        "properties": {SCRIPT: {
            "type": "string",
            "maxLength": MAX_SOURCE_BYTES,
            "description": "The script. Example: return \
                #app.integrations.whereby.list_rooms({ limit = 100 }).data",
        }},
        "required": [SCRIPT],
        "additionalProperties": false,
    }));
    let output = object(json!({
        "type": "object",
        "properties": {
            "success": {"type": "boolean"},
            "output": {"type": "string", "description": "The printed text."},
            "result": {"description": "The return value; an array if there are several."},
            "error": {"type": ["object", "null"]},
            "calls": {"type": "array", "items": {"type": "object"}, "description": "The calls that the script made."},
            "duration_ms": {"type": "number"},
        },
        "required": ["success", "output", "result", "error", "calls", "duration_ms"],
    }));
    let annotations = ToolAnnotations::with_title("Run a Lua script")
        .read_only(false)
        .destructive(true)
        .idempotent(false)
        .open_world(true);
    Tool::new(NAME, DESCRIPTION, input)
        .with_title("Run a Lua script")
        .with_raw_output_schema(output.into())
        .with_annotations(annotations)
}

const MIB: usize = 1024 * 1024;

/// The memory for all running scripts, in MiB.
const ALL_SCRIPTS_MIB: u32 = 128;

/// The maximum time a script waits for its share of the memory.
const PATIENCE: Duration = Duration::from_secs(30);

/// The memory that is free for scripts, in MiB.
static MEMORY: Semaphore = Semaphore::const_new(ALL_SCRIPTS_MIB as usize);

/// The memory for scripts that wait for a person, in MiB. A person may take an hour, and must not make
/// other scripts wait.
const WAITING_SCRIPTS_MIB: u32 = ALL_SCRIPTS_MIB / 2;

/// The memory that is free for scripts that wait for a person, in MiB.
static WAITING: Semaphore = Semaphore::const_new(WAITING_SCRIPTS_MIB as usize);

/// Asks through the client. The time a person takes does not count as the script's.
struct Asking {
    elicitation: Elicitation,
    /// The script's share of the memory, in MiB.
    share: u32,
    open: Mutex<OpenQuestions>,
    asking: Arc<AtomicBool>,
}

/// The number of a script's open questions, and the memory that it keeps while it waits.
#[derive(Default)]
struct OpenQuestions {
    count: usize,
    memory: Option<SemaphorePermit<'static>>,
}

/// An open question. Dropping it closes the question, even if its call was abandoned.
struct Open<'a>(&'a Asking);

impl<'a> Open<'a> {
    /// Opens a question. Returns `None` if too many scripts wait for a person.
    fn new(asking: &'a Asking) -> Option<Self> {
        let mut open = asking.questions();
        if open.count == 0 {
            open.memory = Some(WAITING.try_acquire_many(asking.share).ok()?);
        }
        open.count += 1;
        asking.asking.store(true, Ordering::SeqCst);
        drop(open);
        Some(Self(asking))
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut open = self.0.questions();
        open.count -= 1;
        if open.count == 0 {
            open.memory = None;
            self.0.asking.store(false, Ordering::SeqCst);
        }
    }
}

impl Asking {
    fn questions(&self) -> MutexGuard<'_, OpenQuestions> {
        // A panic under the lock leaves the count correct.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Approver for Asking {
    fn ask<'a>(
        &'a self,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(async move {
            // The request is stored instead, for approval elsewhere.
            let Some(_open) = Open::new(self) else { return Answer::Nobody };
            self.elicitation.ask(question).await
        })
    }

    fn channel(&self) -> Channel {
        Channel::Elicitation
    }
}

/// Runs the script of a request. Dropping the future stops it. `notice` receives audit problems.
///
/// # Errors
///
/// Returns an error if the arguments are wrong, or if other scripts use all the memory.
pub(super) async fn run(
    session: Session,
    mut arguments: JsonObject,
    elicitation: Elicitation,
    context: &RequestContext<RoleServer>,
    (asker, token): (Asker, Option<Arc<Verified>>),
    notice: impl Fn(&str) + Send + Sync + 'static,
) -> Result<CallToolResult, Error> {
    let Some(Value::String(script)) = arguments.shift_remove(SCRIPT) else {
        let message = format!("{NAME} needs `{SCRIPT}`, a string");
        return Err(Error::InvalidArgument { message });
    };
    if let Some(name) = arguments.keys().next() {
        let name = text::printable(name, 80);
        let message = format!("unknown argument `{name}`; {NAME} takes only `{SCRIPT}`");
        return Err(Error::InvalidArgument { message });
    }
    let share = u32::try_from(session.settings().lua.memory_bytes.div_ceil(MIB));
    let share = share.unwrap_or(u32::MAX).min(ALL_SCRIPTS_MIB);
    let memory = tokio::time::timeout(PATIENCE, MEMORY.acquire_many(share)).await;
    // The semaphore is never closed.
    let Ok(Ok(_memory)) = memory else {
        return Err(Error::internal(format!(
            "other scripts use all the memory for scripts ({ALL_SCRIPTS_MIB} MiB); try again when \
                 they have ended"
        )));
    };
    let asking = Arc::new(AtomicBool::new(false));
    let approver: Arc<dyn Approver> = match AskMode::of(context) {
        AskMode::DuringCall => {
            let (share, asking) = (share.min(WAITING_SCRIPTS_MIB), Arc::clone(&asking));
            Arc::new(Asking { elicitation, share, open: Mutex::default(), asking })
        }
        // A script cannot be paused and resumed, so its approval requests are stored.
        AskMode::None | AskMode::InputRequired => Arc::new(NobodyToAsk),
    };
    let client = super::handler::client_name(context);
    let runtime = Runtime::new(session).asking(asking).notice(notice).calls(
        move |account, function, arguments| {
            Call::new(function, arguments)
                .exact_account(account)
                .asked_by("mcp-lua", client.as_deref())
                .asker(asker.clone())
                .token(token.as_ref())
                .approver(Arc::clone(&approver))
        },
    );
    Ok(result(&runtime.run(&script, "script").await))
}

fn result(report: &Report) -> CallToolResult {
    let document = report.to_json();
    let readable = serde_json::to_string_pretty(&document).unwrap_or_default();
    let content = vec![ContentBlock::text(readable)];
    let mut result = if report.success() {
        CallToolResult::success(content)
    } else {
        CallToolResult::error(content)
    };
    result.structured_content = Some(document);
    result
}
