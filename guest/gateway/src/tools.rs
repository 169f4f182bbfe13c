//! The functions as MCP tools.

use crate::bindings::whereby::agent::types::Error;
use crate::failure;
use crate::functions::{Call, TOOLS, Tool};
use crate::json::Json;
use crate::prelude::*;
use crate::settings::Settings;

/// The maximum size of a call's arguments, as compact JSON, in bytes.
const MAX_ARGUMENTS_BYTES: usize = 64 * 1024;

/// The function that makes a call.
pub(crate) type Make<'a> = &'a mut dyn FnMut(Call) -> Result<Json, Error>;

/// Returns the tools that may be called.
pub(crate) fn offered(settings: &Settings) -> impl Iterator<Item = &'static Tool> {
    let allow_writes = settings.allow_writes;
    TOOLS.iter().filter(move |tool| allow_writes || !tool.writes)
}

/// Returns the result of `tools/list`, as JSON.
pub(crate) fn list(settings: &Settings) -> String {
    let listings: Vec<&str> = offered(settings).map(|tool| tool.listing).collect();
    format!(r#"{{"tools":[{}]}}"#, listings.join(","))
}

/// Returns the tool with this name, offered or not.
pub(crate) fn find(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

/// Calls a tool. Returns a structured result, or an error as text.
pub(crate) fn call(tool: &Tool, arguments: Json, settings: &Settings, make: Make<'_>) -> Json {
    if tool.writes && !settings.allow_writes {
        return failure::denied(tool);
    }
    let size = arguments.compact().len();
    if size > MAX_ARGUMENTS_BYTES {
        return failure::invalid_argument(format!(
            "the arguments have {size} bytes; at most {MAX_ARGUMENTS_BYTES} are taken"
        ));
    }
    match (tool.read)(arguments) {
        Err(message) => failure::invalid_argument(message),
        Ok(call) => match make(call) {
            Err(error) => failure::of_error(error, tool),
            Ok(data) => Json::object(vec![
                // The text has everything, for clients that do not read structured results.
                ("content", Json::List(vec![failure::text_block(data.pretty())])),
                ("structuredContent", data),
                ("isError", Json::Bool(false)),
            ]),
        },
    }
}
