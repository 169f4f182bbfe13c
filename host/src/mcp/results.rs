//! What came of a call, as the result of a tool.

use crate::error::Error;
use crate::session::call::Outcome;
use rmcp::model::{CallToolResult, ContentBlock, MetaObject};
use serde_json::{Value, json};
use whereby_authority::grant::WriteOutcome;
use whereby_authority::text;

/// Under this name the result of a failed call has the error as a document.
const ERROR_META: &str = "whereby/error";

/// The result of a call: structured where it succeeded, in plain words where it failed.
pub(super) fn of(outcome: Outcome) -> CallToolResult {
    match outcome.result {
        Ok(data) => {
            // A client that does not read structured results has everything in the text, too.
            let readable = serde_json::to_string_pretty(&data).unwrap_or_default();
            let mut result = CallToolResult::success(vec![ContentBlock::text(readable)]);
            result.structured_content = Some(data);
            result
        }
        Err(error) => failure(&error, outcome.write, outcome.approval.as_deref()),
    }
}

/// A failed call, as an agent is told of it. The text says all that a model needs; programs read the
/// document beside it.
///
/// It is no structured result: that would have to fit the tool's schema.
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
