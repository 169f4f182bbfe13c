//! Calls that wait for a person's approval, as tasks of the extension `io.modelcontextprotocol/tasks`, and
//! for other clients the tool that waits for them.
//!
//! A task is a stored approval, so it outlasts this process, and any program of the state directory may
//! make the call. Its id is that of the approval. Only the caller with the same agent and token has it.

use super::asking::is_new;
use super::results;
use crate::error::{Error, PendingApproval};
use crate::session::Session;
use crate::session::resume::{Asking, Progress};
use crate::store::Lifetime;
use crate::token::Verified;
use rmcp::RoleServer;
use rmcp::model::{
    CreateTaskResult, DetailedTask, ErrorData, JsonObject, Task, TaskPayload, TaskStatus, Tool,
    ToolAnnotations, object,
};
use rmcp::service::RequestContext;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use whereby_authority::timestamp::Timestamp;

/// The name of the tool.
pub(super) const NAME: &str = "whereby_resume";

const APPROVAL: &str = "approval_id";
const WAIT: &str = "wait_seconds";

/// The maximum and the default time that the tool waits, in seconds.
const MAX_WAIT: u64 = 60;
const DEFAULT_WAIT: u64 = 30;

/// How often a client should ask for a task, in milliseconds.
const POLL_MS: u64 = 2000;

const DESCRIPTION: &str = "Wait for a person's decision on a call that needs approval, and get the call's \
    result. Once a person has approved the call, it is made by itself, exactly once. Returns the result of \
    the call; or approval-required if nobody has decided yet, and denied if a person said no. If nobody has \
    decided, use it again later. It cannot approve anything.";

pub(super) fn tool() -> Tool {
    let input = object(json!({
        "type": "object",
        "properties": {
            APPROVAL: {
                "type": "string",
                "minLength": 32,
                "maxLength": 32,
                "description": "The approval_id in the result of the call.",
            },
            WAIT: {
                "type": "integer",
                "minimum": 0,
                "maximum": MAX_WAIT,
                "default": DEFAULT_WAIT,
                "description": "How long to wait for the decision.",
            },
        },
        "required": [APPROVAL],
        "additionalProperties": false,
    }));
    let title = "Wait for a person's approval";
    let annotations = ToolAnnotations::with_title(title)
        .read_only(false)
        .destructive(true)
        .idempotent(true)
        .open_world(true);
    Tool::new(NAME, DESCRIPTION, input).with_title(title).with_annotations(annotations)
}

/// Reads the arguments of the tool.
pub(super) fn arguments(mut arguments: JsonObject) -> Result<(String, Duration), Error> {
    let invalid = |message: String| Error::InvalidArgument { message };
    let id = match arguments.remove(APPROVAL) {
        Some(Value::String(id)) => id,
        None => return Err(invalid(format!("{NAME} needs `{APPROVAL}`: the id of an approval"))),
        Some(_) => return Err(invalid(format!("{APPROVAL} must be a string"))),
    };
    let seconds = match arguments.remove(WAIT) {
        None | Some(Value::Null) => DEFAULT_WAIT,
        Some(wait) => wait
            .as_u64()
            .filter(|wait| *wait <= MAX_WAIT)
            .ok_or_else(|| invalid(format!("{WAIT} must be an integer from 0 to {MAX_WAIT}")))?,
    };
    if let Some(other) = arguments.keys().next() {
        let other = whereby_authority::text::printable(other, 80);
        return Err(invalid(format!(
            "unknown argument `{other}`: {NAME} takes {APPROVAL}, {WAIT}"
        )));
    }
    Ok((id, Duration::from_secs(seconds)))
}

/// Who asks for an approval with this id.
pub(super) fn asking<'a>(
    id: &'a str,
    agent: Option<&'a str>,
    token: Option<&'a Arc<Verified>>,
) -> Asking<'a> {
    Asking { id, agent, token: token.map(|token| token.ids()) }
}

/// Returns whether a request's client has tasks. Earlier protocols have none, whatever it says.
pub(super) fn has_tasks(context: &RequestContext<RoleServer>) -> bool {
    is_new(context) && context.client_capabilities().is_some_and(|known| known.supports_tasks())
}

/// Returns the task of a call that was just stored for approval.
pub(super) fn created(pending: &PendingApproval, lifetime: &Lifetime) -> CreateTaskResult {
    CreateTaskResult::new(task(&pending.id, lifetime, TaskStatus::Working, WAITING))
}

const WAITING: &str = "A person must approve this call. It is made once they have.";

const APPROVED: &str =
    "A person has approved this call. It is made as soon as a program that can make it runs.";

fn task(id: &str, lifetime: &Lifetime, status: TaskStatus, message: &str) -> Task {
    let date = |unix_ms| {
        let time = Timestamp::of_unix_ms(unix_ms).map(Timestamp::to_rfc3339_ms);
        time.unwrap_or_else(|| "1970-01-01T00:00:00.000Z".into())
    };
    Task::new(id.to_owned(), status, date(lifetime.created_at), date(lifetime.changed_at))
        .with_status_message(message)
        .with_ttl_ms(lifetime.kept_ms)
        .with_poll_interval_ms(POLL_MS)
}

/// Returns a task as it is now.
pub(super) async fn get(session: &Session, asking: &Asking<'_>) -> Result<DetailedTask, ErrorData> {
    let lifetime = session.lifetime(asking).await.map_err(|error| not_found(&error))?;
    let progress = session.progress(asking).await.map_err(|error| not_found(&error))?;
    let own = |status, message| task(asking.id, &lifetime, status, message);
    Ok(match progress {
        Progress::Pending => {
            DetailedTask::new(own(TaskStatus::Working, WAITING), TaskPayload::Working)
        }
        Progress::UnderWay => {
            DetailedTask::new(own(TaskStatus::Working, APPROVED), TaskPayload::Working)
        }
        Progress::Withdrawn => {
            let task = own(TaskStatus::Cancelled, "The client has cancelled this call.");
            DetailedTask::new(task, TaskPayload::Cancelled)
        }
        Progress::Ended(outcome) => {
            let message = match &outcome.result {
                Ok(_) => "The call was made.",
                Err(_) => "The call failed, or was not made.",
            };
            let Ok(Value::Object(result)) = serde_json::to_value(results::of(*outcome)) else {
                return Err(ErrorData::internal_error("the result cannot be written", None));
            };
            DetailedTask::new(
                own(TaskStatus::Completed, message),
                TaskPayload::Completed { result },
            )
        }
    })
}

/// Returns the error for a task that a client does not have.
pub(super) fn not_found(error: &Error) -> ErrorData {
    match error {
        Error::Usage { .. } => {
            ErrorData::invalid_params("Failed to retrieve task: Task not found", None)
        }
        error => ErrorData::internal_error(format!("the task cannot be read: {error}"), None),
    }
}
