//! The messages of the protocol: JSON-RPC, one per request.

use crate::admission::VERSIONS;
use crate::arguments::shown;
use crate::json::{Json, Members, get, take};
use crate::prelude::*;
use crate::reply::Reply;
use crate::settings::Settings;
use crate::tools::{self, Make};

const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;

/// The error code for an unsupported version, from later versions of the protocol.
const UNSUPPORTED_VERSION: i32 = -32022;

/// The byte order mark that some programs write before the JSON.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// The instructions for clients.
const INSTRUCTIONS: &str = "Video meetings on Whereby: rooms that exist now, and past meetings.";

/// The instructions if writes are not allowed.
const INSTRUCTIONS_READ_ONLY: &str = "Video meetings on Whereby: rooms that exist now, and past \
    meetings. This server only reads: it creates and deletes no rooms.";

/// A JSON-RPC error: its code and message.
type RpcError = (i32, String);

/// Returns the response to the body of a request. `version` is the result of checking the version in its
/// head.
pub(crate) fn answer(
    body: &[u8],
    version: Result<(), Json>,
    settings: &Settings,
    make: Make<'_>,
) -> Reply {
    let mut id = "null".to_owned();
    let mut message = match Json::parse(body.strip_prefix(BOM).unwrap_or(body)) {
        Ok(Json::Object(message)) => message,
        other => {
            let (code, message) = match other {
                Ok(Json::List(_)) => (
                    INVALID_REQUEST,
                    "batches are not supported: send each message by itself".into(),
                ),
                Ok(_) => (INVALID_REQUEST, "a message must be a JSON object".into()),
                Err(error) if error.is_data() => {
                    (INVALID_REQUEST, format!("the message cannot be read: {error}"))
                }
                Err(error) => (PARSE_ERROR, format!("the body is not JSON: {error}")),
            };
            return Reply::error(400, &id, code, &message, None);
        }
    };
    let given = take(&mut message, "id");
    if let Some(given @ (Json::Text(_) | Json::Integer(_) | Json::Negative(_) | Json::Float(_))) =
        &given
    {
        id = given.compact();
    }
    let refuse = |message| Reply::error(400, &id, INVALID_REQUEST, message, None);
    if get(&message, "jsonrpc").and_then(Json::as_text) != Some("2.0") {
        return refuse("`jsonrpc` must be \"2.0\"");
    }
    let is_response = get(&message, "result").or(get(&message, "error")).is_some();
    let method = match take(&mut message, "method") {
        Some(Json::Text(method)) => method,
        // The gateway sends no requests, so it ignores responses.
        None if is_response => return Reply::accepted(),
        _ => return refuse("`method` must be a string"),
    };
    match given {
        // Some clients send notifications with a null id.
        Some(Json::Null) if method.starts_with("notifications/") => return Reply::accepted(),
        None => return Reply::accepted(),
        Some(Json::Text(_) | Json::Integer(_) | Json::Negative(_)) => {}
        Some(_) => return refuse("`id` must be a string or an integer"),
    }
    if let (false, Err(data)) = (method == "initialize", version) {
        let message = "this version of the protocol is not supported";
        return Reply::error(400, &id, UNSUPPORTED_VERSION, message, Some(data));
    }
    let answered = params(&mut message).and_then(|params| call(&method, params, settings, make));
    match answered {
        Ok(result) => Reply::result(&id, &result),
        Err((code, message)) => Reply::error(200, &id, code, &message, None),
    }
}

/// Takes the parameters out of a message; empty if it has none.
fn params(message: &mut Members) -> Result<Members, RpcError> {
    match take(message, "params") {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::Object(params)) => Ok(params),
        Some(_) => Err(invalid("`params` must be an object")),
    }
}

/// Returns the result of a method, as JSON.
fn call(
    method: &str,
    params: Members,
    settings: &Settings,
    make: Make<'_>,
) -> Result<String, RpcError> {
    match method {
        "initialize" => initialize(&params, settings),
        "ping" => Ok("{}".to_owned()),
        "tools/list" => match get(&params, "cursor") {
            None | Some(Json::Null) => Ok(tools::list(settings)),
            Some(_) => Err(invalid("the list has only one page; omit the cursor")),
        },
        "tools/call" => call_tool(params, settings, make),
        _ => Err((METHOD_NOT_FOUND, format!("there is no method `{}`", shown(method)))),
    }
}

fn initialize(params: &Members, settings: &Settings) -> Result<String, RpcError> {
    let Some(wanted) = get(params, "protocolVersion").and_then(Json::as_text) else {
        return Err(invalid("`protocolVersion` must be a string"));
    };
    // A client that does not support the offered version disconnects.
    let known = VERSIONS.iter().find(|version| **version == wanted).or(VERSIONS.first());
    let can_write = tools::offered(settings).any(|tool| tool.writes);
    let instructions = if can_write { INSTRUCTIONS } else { INSTRUCTIONS_READ_ONLY };
    let result = Json::object(vec![
        ("protocolVersion", known.map_or(Json::Null, |version| Json::word(version))),
        ("capabilities", Json::object(vec![("tools", Json::object(vec![]))])),
        (
            "serverInfo",
            Json::object(vec![
                ("name", Json::word("whereby")),
                ("title", Json::word("Whereby")),
                ("version", Json::word(env!("CARGO_PKG_VERSION"))),
            ]),
        ),
        ("instructions", Json::word(instructions)),
    ]);
    Ok(result.compact())
}

fn call_tool(mut params: Members, settings: &Settings, make: Make<'_>) -> Result<String, RpcError> {
    let Some(Json::Text(name)) = take(&mut params, "name") else {
        return Err(invalid("`name` must be a string"));
    };
    let tool = tools::find(&name).ok_or_else(|| {
        let offered = tools::offered(settings).map(|tool| tool.name);
        let near = whereby_catalog::respelled(&name, offered);
        let near = near.map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
        invalid(format!("no tool is called `{}`{near}; tools/list has them all", shown(&name)))
    })?;
    let arguments = match take(&mut params, "arguments") {
        None | Some(Json::Null) => Json::object(vec![]),
        Some(arguments @ Json::Object(_)) => arguments,
        Some(_) => return Err(invalid("`arguments` must be an object")),
    };
    Ok(tools::call(tool, arguments, settings, make).compact())
}

fn invalid(message: impl Into<String>) -> RpcError {
    (INVALID_PARAMS, message.into())
}

#[cfg(test)]
mod tests;
