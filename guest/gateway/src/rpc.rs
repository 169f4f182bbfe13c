//! The messages of the protocol: JSON-RPC, one a request.

use crate::admission::VERSIONS;
use crate::arguments::shown;
use crate::json::Json;
use crate::prelude::*;
use crate::reply::Reply;
use crate::settings::Settings;
use crate::tools::{self, Make};
use serde_json::{Map, Value};

const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;

/// What every client is told about the tools together.
const INSTRUCTIONS: &str = "Video meetings on Whereby: rooms that exist now, and past meetings.";

/// The same, where nothing can be changed.
const INSTRUCTIONS_READ_ONLY: &str = "Video meetings on Whereby: rooms that exist now, and past \
    meetings. This server only reads: it creates and deletes no rooms.";

/// An error of the protocol.
type Refused = (i32, String);

/// The answer to the body of a request.
pub(crate) fn answer(body: &[u8], settings: &Settings, make: Make<'_>) -> Reply {
    let refuse = |code, message: &str| Reply::error(400, "null", code, message, None);
    let message = match serde_json::from_slice(body) {
        Ok(Value::Object(message)) => message,
        Ok(Value::Array(_)) => {
            return refuse(INVALID_REQUEST, "batches are not taken: send one message a request");
        }
        Ok(_) => return refuse(INVALID_REQUEST, "a message is a JSON object"),
        Err(error) => return refuse(PARSE_ERROR, &format!("the body is not JSON: {error}")),
    };
    if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return refuse(INVALID_REQUEST, "a message has \"jsonrpc\": \"2.0\"");
    }
    let id = match message.get("id") {
        None => None,
        Some(id @ (Value::String(_) | Value::Number(_))) => Some(id.to_string()),
        Some(_) => return refuse(INVALID_REQUEST, "an id is a text or a number"),
    };
    let is_response = message.contains_key("result") || message.contains_key("error");
    let method = match message.get("method") {
        Some(Value::String(method)) => method.clone(),
        // Nothing was asked of the client, so there is nothing to do with what it answers.
        None if is_response && id.is_some() => return Reply::accepted(),
        _ => return refuse(INVALID_REQUEST, "a message has a \"method\""),
    };
    let Some(id) = id else { return Reply::accepted() };
    let answered = params(message).and_then(|params| call(&method, params, settings, make));
    match answered {
        Ok(result) => Reply::result(&id, &result),
        Err((code, message)) => Reply::error(200, &id, code, &message, None),
    }
}

/// The parameters of a message; none where it has none.
fn params(mut message: Map<String, Value>) -> Result<Map<String, Value>, Refused> {
    match message.remove("params") {
        None => Ok(Map::new()),
        Some(Value::Object(params)) => Ok(params),
        Some(_) => Err(invalid("params is an object")),
    }
}

/// The result of a method, as JSON.
fn call(
    method: &str,
    params: Map<String, Value>,
    settings: &Settings,
    make: Make<'_>,
) -> Result<String, Refused> {
    match method {
        "initialize" => initialize(&params, settings),
        "ping" => Ok("{}".to_owned()),
        "tools/list" => match params.get("cursor") {
            None | Some(Value::Null) => Ok(tools::list(settings)),
            Some(_) => Err(invalid("the list has one page, so there is no cursor of it")),
        },
        "tools/call" => call_tool(params, settings, make),
        _ => Err((METHOD_NOT_FOUND, format!("there is no method `{}`", shown(method)))),
    }
}

fn initialize(params: &Map<String, Value>, settings: &Settings) -> Result<String, Refused> {
    let Some(Value::String(wanted)) = params.get("protocolVersion") else {
        return Err(invalid("protocolVersion is a text"));
    };
    // A client that does not speak the version that it is offered instead ends the connection.
    let known = VERSIONS.iter().find(|version| *version == wanted).or(VERSIONS.first());
    let instructions = if settings.allow_writes { INSTRUCTIONS } else { INSTRUCTIONS_READ_ONLY };
    let result = Json::Object(vec![
        ("protocolVersion", known.map_or(Json::Null, |version| Json::Word(version))),
        ("capabilities", Json::Object(vec![("tools", Json::Object(vec![]))])),
        (
            "serverInfo",
            Json::Object(vec![
                ("name", Json::Word("whereby")),
                ("title", Json::Word("Whereby")),
                ("version", Json::Word(env!("CARGO_PKG_VERSION"))),
            ]),
        ),
        ("instructions", Json::Word(instructions)),
    ]);
    Ok(result.compact())
}

fn call_tool(
    mut params: Map<String, Value>,
    settings: &Settings,
    make: Make<'_>,
) -> Result<String, Refused> {
    let Some(Value::String(name)) = params.get("name") else {
        return Err(invalid("name is a text"));
    };
    let tool = tools::find(name).ok_or_else(|| {
        invalid(format!("no tool is called `{}`; tools/list has them all", shown(name)))
    })?;
    let arguments = match params.remove("arguments") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(arguments)) => arguments,
        Some(_) => return Err(invalid("arguments is an object")),
    };
    Ok(tools::call(tool, arguments, settings, make).compact())
}

fn invalid(message: impl Into<String>) -> Refused {
    (INVALID_PARAMS, message.into())
}

#[cfg(test)]
mod tests;
