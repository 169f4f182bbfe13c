//! Scripts in Lua as one tool, for clients whose models write code. It is there where the user wants it.
//!
//! Each call of a script goes through the session like any other: it is decided on, asked for and
//! audited by itself. The tool as a whole allows nothing.

use super::asking::{Elicitation, Way};
use crate::error::Error;
use crate::lua::{MAX_SOURCE_BYTES, Report, Runtime};
use crate::session::Session;
use crate::session::approval::{Answer, Approver, Channel, NobodyToAsk, Question};
use crate::session::call::Call;
use crate::store::Asker;
use rmcp::RoleServer;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, Tool, ToolAnnotations};
use rmcp::service::RequestContext;
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use whereby_authority::text;

/// The tool's name.
pub(super) const NAME: &str = "whereby_run_lua";

/// The one argument.
const SCRIPT: &str = "script";

const DESCRIPTION: &str = "Run a script in Luau that calls the Whereby functions, for work that takes \
    several calls. `app.integrations.whereby.list_rooms({ limit = 10 })` calls a function and returns a \
    table; `app.parallel{ function() … end, … }` makes calls side by side; `print` writes output, and \
    what the script returns is its result. A call that fails raises a table with `kind`, `message` and \
    `hint`. `lua_read_doc(\"integrations.whereby\")` returns the whole guide. There are no files, no \
    network and no packages. Each call is decided on, and asked for, like one by its own tool.";

pub(super) fn tool() -> Tool {
    let object = |value: Value| match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    };
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
            "output": {"type": "string", "description": "What the script printed."},
            "result": {"description": "What it returned; a list where it returned several values."},
            "error": {"type": ["object", "null"]},
            "calls": {"type": "array", "items": {"type": "object"}, "description": "The calls that it made."},
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

/// How much memory all scripts of clients may have together, in MiB.
const ALL_SCRIPTS_MIB: u32 = 128;

/// How long a script waits for its share.
const PATIENCE: Duration = Duration::from_secs(30);

/// The memory that scripts can still have, in MiB.
static MEMORY: Semaphore = Semaphore::const_new(ALL_SCRIPTS_MIB as usize);

/// Asks by way of the client, and says meanwhile that the time is not the script's.
struct Asking {
    elicitation: Elicitation,
    /// How many questions of the script are open.
    open: AtomicUsize,
    asking: Arc<AtomicBool>,
}

/// A question that is open as long as this is there, also where nobody waits for its answer any more.
struct Open<'a>(&'a Asking);

impl<'a> Open<'a> {
    fn new(asking: &'a Asking) -> Self {
        asking.open.fetch_add(1, Ordering::SeqCst);
        asking.asking.store(true, Ordering::SeqCst);
        Self(asking)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let was_last = self.0.open.fetch_sub(1, Ordering::SeqCst) == 1;
        if was_last {
            self.0.asking.store(false, Ordering::SeqCst);
        }
    }
}

impl Approver for Asking {
    fn ask<'a>(
        &'a self,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(async move {
            let _open = Open::new(self);
            self.elicitation.ask(question).await
        })
    }

    fn channel(&self) -> Channel {
        Channel::Elicitation
    }
}

/// Runs the script of a request, until it is taken back; `notice` is told what the audit log misses.
pub(super) async fn run(
    session: Session,
    mut arguments: JsonObject,
    elicitation: Elicitation,
    context: &RequestContext<RoleServer>,
    asker: Asker,
    notice: impl Fn(&str) + Send + Sync + 'static,
) -> Result<CallToolResult, Error> {
    let script = match arguments.shift_remove(SCRIPT) {
        Some(Value::String(script)) => script,
        _ => {
            let message = format!("{NAME} needs `{SCRIPT}`: the text of the script");
            return Err(Error::InvalidArgument { message });
        }
    };
    if let Some(name) = arguments.keys().next() {
        let name = text::printable(name, 80);
        let message = format!("{NAME} takes `{SCRIPT}` and nothing else, not `{name}`");
        return Err(Error::InvalidArgument { message });
    }
    let share = u32::try_from(session.settings().lua.memory_bytes.div_ceil(MIB));
    let share = share.unwrap_or(u32::MAX).min(ALL_SCRIPTS_MIB);
    let memory = tokio::time::timeout(PATIENCE, MEMORY.acquire_many(share)).await;
    // The semaphore is never closed.
    let Ok(Ok(_memory)) = memory else {
        return Err(Error::Internal {
            message: format!(
                "other scripts use all the memory that scripts may have together ({ALL_SCRIPTS_MIB} \
                 MiB); try again when they have ended"
            ),
        });
    };
    let asking = Arc::new(AtomicBool::new(false));
    let approver: Arc<dyn Approver> = match Way::of(context) {
        Way::Waiting => {
            Arc::new(Asking { elicitation, open: AtomicUsize::new(0), asking: Arc::clone(&asking) })
        }
        // A script cannot be left and gone on with; what is to be asked for is stored.
        Way::None | Way::InputRequired => Arc::new(NobodyToAsk),
    };
    let client = super::handler::client_name(context);
    let runtime = Runtime::new(session).asking(asking).notice(notice).calls(
        move |account, function, arguments| {
            Call::new(function, arguments)
                .exact_account(account)
                .asked_by("mcp-lua", client.as_deref())
                .asker(asker.clone())
                .approver(Arc::clone(&approver))
        },
    );
    Ok(result(&runtime.run(&script, "script").await))
}

fn result(report: &Report) -> CallToolResult {
    let document = report.to_json();
    let readable = serde_json::to_string_pretty(&document).unwrap_or_default();
    let mut result = match report.success() {
        true => CallToolResult::success(vec![ContentBlock::text(readable)]),
        false => CallToolResult::error(vec![ContentBlock::text(readable)]),
    };
    result.structured_content = Some(document);
    result
}
