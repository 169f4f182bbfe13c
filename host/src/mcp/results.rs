//! Converts the outcome of a call to the result of a tool.

use crate::error::Error;
use crate::session::call::Outcome;
use rmcp::model::{CallToolResult, ContentBlock, MetaObject};
use serde_json::{Value, json};
use whereby_authority::grant::WriteOutcome;
use whereby_authority::text;

/// The member of `_meta` that has a failed call's error as a JSON object.
const ERROR_META: &str = "whereby/error";

/// Returns the tool result of a call: structured content if it succeeded, and text if it failed.
pub(super) fn of(outcome: Outcome) -> CallToolResult {
    match outcome.result {
        Ok(data) => {
            // Some clients do not read structured content.
            let readable = serde_json::to_string_pretty(&data).unwrap_or_default();
            let mut result = CallToolResult::success(vec![ContentBlock::text(readable)]);
            result.structured_content = Some(data);
            result
        }
        Err(error) => failure(&error, outcome.write, outcome.approval.as_deref()),
    }
}

/// Returns the tool result of a failed call. Its text has all that a model needs, and `_meta` has the
/// error for programs. Structured content would have to match the tool's output schema.
pub(super) fn failure(
    error: &Error,
    write: WriteOutcome,
    approval: Option<&str>,
) -> CallToolResult {
    let error = error.clone().for_agent();
    let mut shown = format!("{}: {error}", error.kind());
    if let Some(hint) = error.hint(write) {
        shown.push_str(&format!("\nhint: {hint}"));
    }
    let mut document = error.to_json(write);
    document["approval_id"] = approval.map_or(Value::Null, Value::from);
    let shown = text::printable_lines(&shown);
    let mut result = CallToolResult::error(vec![ContentBlock::text(shown)]);
    let mut meta = MetaObject::default();
    meta.0.insert(ERROR_META.into(), json!(document));
    result.meta = Some(meta);
    result
}
