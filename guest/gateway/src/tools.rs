//! The functions as tools: which are offered, and what comes of calling one.

use crate::bindings::whereby::agent::types::Error;
use crate::failure;
use crate::functions::{Call, TOOLS, Tool};
use crate::json::Json;
use crate::prelude::*;
use crate::settings::Settings;

/// The greatest size of a call's arguments, as compact JSON, in bytes.
const MOST_ARGUMENTS_BYTES: usize = 64 * 1024;

/// What makes a call.
pub(crate) type Make<'a> = &'a mut dyn FnMut(Call) -> Result<Json, Error>;

/// The tools that may be called.
pub(crate) fn offered(settings: &Settings) -> impl Iterator<Item = &'static Tool> {
    let allow_writes = settings.allow_writes;
    TOOLS.iter().filter(move |tool| allow_writes || !tool.writes)
}

/// The result of `tools/list`, as JSON.
pub(crate) fn list(settings: &Settings) -> String {
    let listings: Vec<&str> = offered(settings).map(|tool| tool.listing).collect();
    format!(r#"{{"tools":[{}]}}"#, listings.join(","))
}

/// The tool with this name, offered or not.
pub(crate) fn find(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

/// The result of a call: structured where it succeeded, in plain words where it failed.
pub(crate) fn call(tool: &Tool, arguments: Json, settings: &Settings, make: Make<'_>) -> Json {
    if tool.writes && !settings.allow_writes {
        return failure::denied(tool);
    }
    let size = arguments.compact().len();
    if size > MOST_ARGUMENTS_BYTES {
        return failure::invalid_argument(format!(
            "the arguments have {size} bytes; at most {MOST_ARGUMENTS_BYTES} are taken"
        ));
    }
    match (tool.read)(arguments) {
        Err(message) => failure::invalid_argument(message),
        Ok(call) => match make(call) {
            Err(error) => failure::of_error(error, tool),
            Ok(data) => Json::object(vec![
                // A client that does not read structured results has everything in the text, too.
                ("content", Json::List(vec![failure::text_block(data.pretty())])),
                ("structuredContent", data),
                ("isError", Json::Bool(false)),
            ]),
        },
    }
}
