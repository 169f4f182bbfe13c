//! The messages of the protocol: JSON-RPC, one a request.

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

/// The code of the error about a version that is not spoken, of the later protocols.
const UNSUPPORTED_VERSION: i32 = -32022;

/// The byte order mark that some programs write before a text.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// What every client is told about the tools together.
const INSTRUCTIONS: &str = "Video meetings on Whereby: rooms that exist now, and past meetings.";

/// The same, where nothing can be changed.
const INSTRUCTIONS_READ_ONLY: &str = "Video meetings on Whereby: rooms that exist now, and past \
    meetings. This server only reads: it creates and deletes no rooms.";

/// An error of the protocol.
type Refused = (i32, String);

/// The answer to the body of a request; `version` is whether the version that its head names is spoken.
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
                Ok(Json::List(_)) => {
                    (INVALID_REQUEST, "batches are not taken: send one message a request".into())
                }
                Ok(_) => (INVALID_REQUEST, "a message is a JSON object".into()),
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
        return refuse("a message has \"jsonrpc\": \"2.0\"");
    }
    let is_response = get(&message, "result").or(get(&message, "error")).is_some();
    let method = match take(&mut message, "method") {
        Some(Json::Text(method)) => method,
        // Nothing was asked of the client, so there is nothing to do with what it answers.
        None if is_response => return Reply::accepted(),
        _ => return refuse("a message has a \"method\""),
    };
    match given {
        // Some clients write the id that a notification does not have as null.
        Some(Json::Null) if method.starts_with("notifications/") => return Reply::accepted(),
        None => return Reply::accepted(),
        Some(Json::Text(_) | Json::Integer(_) | Json::Negative(_)) => {}
        Some(_) => return refuse("an id is a text or a whole number"),
    }
    if let (false, Err(data)) = (method == "initialize", version) {
        let message = "this version of the protocol is not spoken here";
        return Reply::error(400, &id, UNSUPPORTED_VERSION, message, Some(data));
    }
    let answered = params(&mut message).and_then(|params| call(&method, params, settings, make));
    match answered {
        Ok(result) => Reply::result(&id, &result),
        Err((code, message)) => Reply::error(200, &id, code, &message, None),
    }
}

/// The parameters of a message; none where it has none.
fn params(message: &mut Members) -> Result<Members, Refused> {
    match take(message, "params") {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::Object(params)) => Ok(params),
        Some(_) => Err(invalid("params is an object")),
    }
}

/// The result of a method, as JSON.
fn call(
    method: &str,
    params: Members,
    settings: &Settings,
    make: Make<'_>,
) -> Result<String, Refused> {
    match method {
        "initialize" => initialize(&params, settings),
        "ping" => Ok("{}".to_owned()),
        "tools/list" => match get(&params, "cursor") {
            None | Some(Json::Null) => Ok(tools::list(settings)),
            Some(_) => Err(invalid("the list has one page, so there is no cursor of it")),
        },
        "tools/call" => call_tool(params, settings, make),
        _ => Err((METHOD_NOT_FOUND, format!("there is no method `{}`", shown(method)))),
    }
}

fn initialize(params: &Members, settings: &Settings) -> Result<String, Refused> {
    let Some(wanted) = get(params, "protocolVersion").and_then(Json::as_text) else {
        return Err(invalid("protocolVersion is a text"));
    };
    // A client that does not speak the version that it is offered instead ends the connection.
    let known = VERSIONS.iter().find(|version| **version == wanted).or(VERSIONS.first());
    let instructions = match tools::offered(settings).any(|tool| tool.writes) {
        true => INSTRUCTIONS,
        false => INSTRUCTIONS_READ_ONLY,
    };
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

fn call_tool(mut params: Members, settings: &Settings, make: Make<'_>) -> Result<String, Refused> {
    let Some(Json::Text(name)) = take(&mut params, "name") else {
        return Err(invalid("name is a text"));
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
        Some(_) => return Err(invalid("arguments is an object")),
    };
    Ok(tools::call(tool, arguments, settings, make).compact())
}

fn invalid(message: impl Into<String>) -> Refused {
    (INVALID_PARAMS, message.into())
}

#[cfg(test)]
mod tests;
