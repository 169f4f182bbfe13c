//! Reads a client's JSON-RPC messages, and refuses malformed ones.
//!
//! A malformed request is refused here, with its ID if that can be read: the SDK would drop it or
//! mistake it for another request. Notifications and responses never get a response, even if they are
//! malformed.
#![expect(deprecated, reason = "clients of the protocols before 2026-07-28 use logging")]

use super::{MAX_MESSAGE_BYTES, budget, parameters};
use crate::strict_json;
use rmcp::model::{
    CallToolRequest, CancelTaskRequest, ClientJsonRpcMessage, ClientNotification, ClientRequest,
    CustomRequest, DiscoverRequest, ErrorCode, ErrorData, GetMeta as _, GetTaskRequest,
    InitializeRequest, JsonObject, ListResourceTemplatesRequest, ListResourcesRequest,
    ListToolsRequest, PingRequest, ProtocolVersion, ReadResourceRequest, RequestId,
    RequestMetaObject, SetLevelRequest, SubscriptionsListenRequest, UpdateTaskRequest,
};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value, json};
use whereby_authority::text;

/// The maximum length of an ID that is read from a message that is too long, in bytes.
const MAX_ID_BYTES: usize = 256;

/// The members of `_meta` that this server reads: two names, and one prefix.
const PROGRESS: &str = "progressToken";
const TRACE: &str = "traceparent";
const PROTOCOL: &str = "io.modelcontextprotocol/";

/// The member of `_meta` that names the protocol of a request, since 2026-07-28.
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// A message from a client.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A message that can be served.
    Message(Box<ClientJsonRpcMessage>),
    /// A notification that this server does not use, or a malformed response.
    Ignored,
    /// A message that gets an error response.
    Refused(Refusal),
}

/// The error response to a message.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    /// The message's ID, or null if it has none that can be read.
    pub(super) id: Value,
    pub(super) error: ErrorData,
}

impl Refusal {
    /// Returns the response as a JSON-RPC message. The SDK's type omits an ID that is null.
    pub(super) fn to_json(&self) -> Value {
        json!({"jsonrpc": "2.0", "id": self.id, "error": self.error})
    }

    fn invalid(id: Value, message: impl Into<String>) -> Self {
        Self { id, error: ErrorData::invalid_request(message.into(), None) }
    }
}

impl From<Refusal> for Incoming {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Returns the error for a method that this server does not have.
pub(super) fn unknown_method(method: &str) -> ErrorData {
    let message = format!("unknown method `{}`", text::printable(method, 100));
    ErrorData::new(ErrorCode::METHOD_NOT_FOUND, message, None)
}

/// A message that arrives in parts. If it is too long, only its ID is kept.
#[derive(Default)]
pub(super) struct Arriving {
    bytes: Vec<u8>,
    too_long: Option<IdScanner>,
}

impl Arriving {
    pub(super) fn push(&mut self, part: &[u8]) {
        if let Some(scanner) = &mut self.too_long {
            scanner.push(part);
        } else if self.bytes.len() + part.len() > MAX_MESSAGE_BYTES {
            let mut scanner = IdScanner::default();
            scanner.push(&self.bytes);
            scanner.push(part);
            self.bytes = Vec::new();
            self.too_long = Some(scanner);
        } else {
            self.bytes.extend_from_slice(part);
        }
    }

    /// Returns whether only white space has arrived.
    pub(super) fn is_blank(&self) -> bool {
        self.too_long.is_none() && self.bytes.trim_ascii().is_empty()
    }

    /// Estimates the memory that the message uses once it is parsed, in KiB.
    pub(super) fn weight(&self) -> u32 {
        budget::weight(&self.bytes)
    }

    pub(super) fn is_too_long(&self) -> bool {
        self.too_long.is_some()
    }

    /// Reads the message, and begins the next one.
    pub(super) fn finish(&mut self) -> Incoming {
        let Some(scanner) = self.too_long.take() else {
            let incoming = read(&self.bytes);
            self.bytes.clear();
            return incoming;
        };
        if let Some(unreadable) = scanner.unreadable_response() {
            return unreadable;
        }
        let message = format!("the message is longer than {MAX_MESSAGE_BYTES} bytes");
        Refusal::invalid(scanner.id, message).into()
    }
}

/// Reads a whole message.
pub(super) fn read(bytes: &[u8]) -> Incoming {
    let not_json = |problem: String| {
        let message = format!("the message is not JSON: {problem}");
        Refusal { id: Value::Null, error: ErrorData::parse_error(message, None) }.into()
    };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text::without_bom(text),
        Err(error) => return not_json(error.to_string()),
    };
    match strict_json::from_str(text) {
        Ok(Value::Object(message)) => of_object(message),
        Ok(Value::Array(_)) => {
            let message = "batches are not supported: send one message at a time";
            Refusal::invalid(Value::Null, message).into()
        }
        Ok(_) => Refusal::invalid(Value::Null, "a message must be a JSON object").into(),
        // It is JSON that this server refuses, such as a duplicate member. Its ID may still be readable.
        Err(error) if serde_json::from_str::<IgnoredAny>(text).is_ok() => {
            let mut scanner = IdScanner::default();
            scanner.push(text.as_bytes());
            if let Some(unreadable) = scanner.unreadable_response() {
                return unreadable;
            }
            Refusal::invalid(scanner.id, format!("the message cannot be read: {error}")).into()
        }
        Err(error) => not_json(error.to_string()),
    }
}

fn of_object(mut message: Map<String, Value>) -> Incoming {
    let is_response = message.contains_key("result") || message.contains_key("error");
    let id = message.get("id");
    let method = match message.get("method") {
        Some(Value::String(method)) => method.clone(),
        None if is_response => return of_response(message),
        None => return Refusal::invalid(echo(id), "`method` is missing").into(),
        Some(_) => return Refusal::invalid(echo(id), "`method` must be a string").into(),
    };
    // Some clients send a null ID with a notification.
    let is_notification = id.is_none_or(|id| id.is_null() && method.starts_with("notifications/"));
    if is_notification {
        message.remove("id");
        return of_notification(message);
    }
    let id = echo(id);
    let Ok(request_id) = RequestId::deserialize(&id) else {
        return Refusal::invalid(id, "`id` must be a string or an integer").into();
    };
    if message.get("jsonrpc").is_none_or(|version| version != "2.0") {
        return Refusal::invalid(id, "`jsonrpc` must be \"2.0\"").into();
    }
    if is_response {
        return Refusal::invalid(id, "a request must not have `result` or `error`").into();
    }
    match of_request(&method, message) {
        Ok(request) => {
            Incoming::Message(Box::new(ClientJsonRpcMessage::request(request, request_id)))
        }
        Err(error) => Refusal { id, error }.into(),
    }
}

/// Returns an ID as a response can carry it: a string, a number or null.
fn echo(id: Option<&Value>) -> Value {
    match id {
        Some(id @ (Value::String(_) | Value::Number(_))) => id.clone(),
        _ => Value::Null,
    }
}

fn of_response(mut message: Map<String, Value>) -> Incoming {
    // The IDs of this server's requests are numbers. Some clients return them as strings.
    let id = message.get("id").map(numbered).unwrap_or_default();
    message.insert("id".into(), id.clone());
    match ClientJsonRpcMessage::deserialize(Value::Object(message)) {
        Ok(response) => Incoming::Message(Box::new(response)),
        Err(_) => unreadable_response(&id),
    }
}

/// Returns the ID of a request of this server, as a number if it is one.
fn numbered(id: &Value) -> Value {
    let number = id.as_str().and_then(|id| id.parse::<i64>().ok());
    number.map_or_else(|| id.clone(), Value::from)
}

/// Returns an error response in place of a malformed one, so that its request does not keep waiting.
fn unreadable_response(id: &Value) -> Incoming {
    let response = ClientJsonRpcMessage::deserialize(json!({
        "jsonrpc": "2.0",
        "id": numbered(id),
        "error": {"code": -32603, "message": "the response cannot be read"},
    }));
    response.map_or(Incoming::Ignored, |response| Incoming::Message(Box::new(response)))
}

fn of_notification(message: Map<String, Value>) -> Incoming {
    match ClientJsonRpcMessage::deserialize(Value::Object(message)) {
        Ok(ClientJsonRpcMessage::Notification(notification))
            if matches!(
                notification.notification,
                ClientNotification::CancelledNotification(_)
                    | ClientNotification::InitializedNotification(_)
            ) =>
        {
            Incoming::Message(Box::new(ClientJsonRpcMessage::Notification(notification)))
        }
        _ => Incoming::Ignored,
    }
}

fn of_request(method: &str, message: Map<String, Value>) -> Result<ClientRequest, ErrorData> {
    if is_removed(method, &message) {
        return Err(unknown_method(method));
    }
    match method {
        "initialize" => known(message, parameters::initialize, InitializeRequest::new),
        "ping" => known(message, parameters::any, |_: JsonObject| PingRequest::default()),
        "server/discover" => known(message, parameters::any, DiscoverRequest::new),
        "tools/list" => known(message, parameters::list, ListToolsRequest::with_param),
        "tools/call" => known(message, parameters::call, CallToolRequest::new),
        "resources/list" => known(message, parameters::list, ListResourcesRequest::with_param),
        "resources/templates/list" => {
            known(message, parameters::list, ListResourceTemplatesRequest::with_param)
        }
        "resources/read" => known(message, parameters::read, ReadResourceRequest::new),
        "tasks/get" => known(message, parameters::task, GetTaskRequest::new),
        "tasks/update" => known(message, parameters::task_update, UpdateTaskRequest::new),
        "tasks/cancel" => known(message, parameters::task, CancelTaskRequest::new),
        "logging/setLevel" => known(message, parameters::level, SetLevelRequest::new),
        "subscriptions/listen" => known(message, parameters::any, SubscriptionsListenRequest::new),
        // The handler refuses unknown methods, whatever their parameters.
        _ => Ok(CustomRequest::deserialize(Value::Object(message))
            .unwrap_or_else(|_| CustomRequest::new(method, None))
            .into()),
    }
}

/// Returns whether a request uses a protocol that has removed its method.
fn is_removed(method: &str, message: &Map<String, Value>) -> bool {
    let params = message.get("params");
    let version = params.and_then(|params| params["_meta"][VERSION].as_str());
    matches!(method, "initialize" | "logging/setLevel" | "ping")
        && version.is_some_and(|version| version >= ProtocolVersion::V_2026_07_28.as_str())
}

/// Builds the request of a known method. The SDK would report wrong parameters as an unknown method.
fn known<P: DeserializeOwned, R: Into<ClientRequest>>(
    mut message: Map<String, Value>,
    check: fn(&mut Map<String, Value>) -> Result<(), String>,
    make: impl FnOnce(P) -> R,
) -> Result<ClientRequest, ErrorData> {
    let wrong = |problem: String| {
        let problem = text::printable(&problem, 300);
        ErrorData::invalid_params(format!("invalid params: {problem}"), None)
    };
    let mut params = match message.remove("params") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => return Err(wrong("`params` must be an object".into())),
    };
    let meta = match params.remove("_meta") {
        None | Some(Value::Null) => None,
        Some(Value::Object(mut meta)) => {
            // Members that this server does not read would only use memory.
            meta.retain(|name, _| name == PROGRESS || name == TRACE || name.starts_with(PROTOCOL));
            parameters::meta(&mut meta).map_err(wrong)?;
            Some(meta)
        }
        Some(_) => return Err(wrong("`_meta` must be an object".into())),
    };
    check(&mut params).map_err(wrong)?;
    let params = Value::Object(params);
    let made = P::deserialize(&params).map_err(|_| {
        // The second pass finds the path of the wrong member.
        match serde_path_to_error::deserialize::<_, P>(&params) {
            Err(error) if error.path().iter().next().is_some() => {
                wrong(format!("`{}`: {}", error.path(), error.inner()))
            }
            Err(error) => wrong(error.inner().to_string()),
            Ok(_) => wrong("wrong structure".into()),
        }
    })?;
    let mut request = make(made).into();
    if let Some(meta) = meta {
        *request.get_meta_mut() = RequestMetaObject::from(meta);
    }
    Ok(request)
}

/// Finds the ID of a message without keeping the message.
#[derive(Default)]
struct IdScanner {
    id: Value,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// The name or value that is being read, at the top level of the message.
    token: Vec<u8>,
    is_id: bool,
    has_id: bool,
    has_method: bool,
    has_result: bool,
}

impl IdScanner {
    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.end_member();
                    self.depth = self.depth.saturating_sub(1);
                    continue;
                }
                b',' => {
                    self.end_member();
                    continue;
                }
                b':' if self.depth == 1 => {
                    let name = self.token.trim_ascii();
                    self.is_id = name == b"\"id\"";
                    self.has_method |= name == b"\"method\"";
                    self.has_result |= matches!(name, b"\"result\"" | b"\"error\"");
                    self.token.clear();
                    continue;
                }
                _ => {}
            }
            // One byte more than the maximum shows that the token is too long.
            if self.depth == 1 && self.token.len() <= MAX_ID_BYTES && byte != b'{' {
                self.token.push(byte);
            }
        }
    }

    /// Returns an error response in place of the message, if it is a response.
    fn unreadable_response(&self) -> Option<Incoming> {
        (self.has_result && !self.has_method).then(|| unreadable_response(&self.id))
    }

    fn end_member(&mut self) {
        if self.depth != 1 {
            return;
        }
        if self.is_id {
            let is_readable = !self.has_id && self.token.len() <= MAX_ID_BYTES;
            let id = is_readable.then(|| serde_json::from_slice(&self.token).ok()).flatten();
            // With two IDs, neither counts.
            self.id = echo(id.as_ref());
            self.has_id = true;
        }
        self.is_id = false;
        self.token.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_long_message_is_found_wherever_it_is_split() {
        let long = "x".repeat(MAX_ID_BYTES);
        for (message, id) in [
            (r#"{"id":1}"#, json!(1)),
            (r#" { "jsonrpc" : "2.0" , "id" : "a\"é" , "params" : [ { } ] }"#, json!("a\"é")),
            (r#"{"params":{"id":1,"a":[{"id":2}],"b":"},\"id\":3"},"id":-4,"x":{}}"#, json!(-4)),
            (r#"{"params":["id",1],"x":"id"}"#, Value::Null),
            (r#"{"id":1,"params":{"a":"#, json!(1)),
            (r#"{"params":{"a":"#, Value::Null),
            (r#"{"id":null}"#, Value::Null),
            (r#"{"id":{"id":1}}"#, Value::Null),
            (r#"{"id":[1]}"#, Value::Null),
            (r#"{"id":nonsense}"#, Value::Null),
            (r#"{"id":1,"id":2}"#, Value::Null),
            (r#"[{"id":1}]"#, Value::Null),
            (r#"["id",1]"#, Value::Null),
            (r#"]}"id":1"#, Value::Null),
            (&format!(r#"{{"id":"{long}"}}"#), Value::Null),
        ] {
            let bytes = message.as_bytes();
            for at in 0..bytes.len() {
                let mut scanner = IdScanner::default();
                scanner.push(&bytes[..at]);
                scanner.push(&bytes[at..]);
                assert_eq!(scanner.id, id, "{message} split at {at}");
            }
        }
    }
}
